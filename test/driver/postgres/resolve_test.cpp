// What PostgreSQL makes of a transaction's options, and what is known of a COMMIT whose answer was lost.
#include "fault_fixture.hpp"

#include <strata/transaction/modes.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <thread>

using namespace strata_test;
using strata::effect;
using strata::isolation;

namespace {

using retrying_stack = strata::stack<strata::retry<>, strata::pool<>, strata::postgres>;
using tx_options = strata::transaction_options<strata::postgres>;

struct settings {
    std::string isolation, read_only, deferrable;
};

constexpr auto show =
    "select current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as read_only, "
    "current_setting('transaction_deferrable') as deferrable"_sql;
const strata::retry_options soon{.max_attempts = 5, .base = 1ms, .cap = 5ms};
const strata::pool_options none_yet{.min_size = 0, .max_size = 1};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(settings, isolation, read_only, deferrable);

TEST_CASE("the server runs a transaction as its options say", "[postgres][transaction]") {
    bank<> b{1};
    const auto what = [&](const tx_options& o) { return b.db.transaction([](auto& tx) { return tx.template one<settings>(show()); }, o); };
    for (const bool reads : {false, true}) {
        const std::string r = reads ? "on" : "off";
        CHECK(what({.read_only = reads}).read_only == r);
        CHECK(what({.read_only = reads}).isolation == "read committed");
        CHECK(what({.read_only = reads, .isolation = isolation::read_committed}).isolation == "read committed");
        CHECK(what({.read_only = reads, .isolation = isolation::repeatable_read}).isolation == "repeatable read");
        CHECK(what({.read_only = reads, .isolation = isolation::serializable}).isolation == "serializable");
        CHECK(what({.read_only = reads, .isolation = isolation::serializable}).read_only == r);
        CHECK(what({.read_only = reads, .isolation = isolation::serializable}).deferrable == "off");
    }
    const settings s = what({.read_only = true, .isolation = isolation::serializable, .deferrable = true});
    CHECK(s.isolation == "serializable");
    CHECK(s.read_only == "on");
    CHECK(s.deferrable == "on");
}

TEST_CASE("automatic transactions have the stack's isolation; what cannot run in one runs alone", "[postgres][transaction]") {
    using stack = strata::stack<strata::transactions<strata::automatic>, strata::retry<>, strata::pool<>, strata::postgres>;
    server in;
    strata::database<stack> db{in.options(), server::one(), soon,
                               strata::transactions_options{.isolation = isolation::serializable, .resolve_commit = true}};
    CHECK(db.one<settings>(show()).isolation == "serializable");
    CHECK(db.one<settings>(show()).read_only == "on");
    db.execute("create table t (n bigint primary key)"_sql());
    CHECK(db.execute("insert into t values (1), (2)"_sql()).affected == 2);
    CHECK(db.execute("vacuum t"_sql()).affected == 0);
    const auto twice = db.try_execute("insert into t values (2)"_sql());
    CHECK(twice.error().code() == errc::unique_violation);
    CHECK(twice.error().effect() == effect::rolled_back);
    CHECK(db.one<std::int64_t>("select count(*) from t"_sql()) == 2);
}

TEST_CASE("a conflict in a savepoint runs the whole closure again, though the closure swallows it", "[postgres][transaction]") {
    bank<retrying_stack> b{2};
    int runs = 0;
    b.db.transaction(
        [&](auto& tx) {
            ++runs;
            static_cast<void>(tx.template one<std::int64_t>("select balance from account where id = 1"_sql()));
            if (runs == 1) b.db.execute(add_balance(5, 1));
            tx.execute(add_balance(1, 2));
            static_cast<void>(tx.try_transaction([](auto& inner) { inner.execute(add_balance(1, 1)); }));
        },
        {.isolation = isolation::repeatable_read});
    CHECK(runs == 2);
    CHECK(b.balance_of(1) == 106);
    CHECK(b.balance_of(2) == 101);
}

TEST_CASE("those who escalate come one after the other", "[postgres][transaction][escalation]") {
    bank<retrying_stack> b{1, 6};
    constexpr std::int64_t key = 0x7374726174610001;
    std::atomic<int> inside{0}, most{0}, escalated{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 4; ++i)
        clients.emplace_back([&] {
            strata::database<retrying_stack> db{b.in.options(), server::one(),
                                                strata::retry_options{.max_attempts = 60, .base = 1ms, .budget = 0}};
            for (int n = 0; n < 15; ++n)
                db.transaction(
                    [&](auto& tx) {
                        if (tx.attempt() >= 2) {
                            ++escalated;
                            int now = ++inside, seen = most;
                            while (seen < now && !most.compare_exchange_weak(seen, now)) {
                            }
                        }
                        const auto before = tx.template one<std::int64_t>("select balance from account where id = 1"_sql());
                        std::this_thread::sleep_for(1ms);
                        if (tx.attempt() >= 2) --inside;
                        tx.execute("update account set balance = :n where id = 1"_sql(before + 1));
                    },
                    {.isolation = isolation::repeatable_read,
                     .escalation = {.from = 2, .isolation = isolation::serializable, .lock = key}});
        });
    for (auto& c : clients) c.join();
    CHECK(b.balance_of(1) == 160);
    CHECK(escalated > 0);
    CHECK(most == 1);
    CHECK(b.db.one<std::int64_t>("select count(*) from pg_locks where locktype = 'advisory' and objid = :k"_sql(key & 0xffffffff)) == 0);
}

TEST_CASE("a lock of those who escalate that cannot be given back goes with its connection", "[postgres][transaction][escalation]") {
    constexpr std::int64_t key = 0x7374726174610002;
    bank<> b{1};
    auto o = b.in.options();
    o.connection += "%2Cpg_catalog";  // so that the server finds a function of ours first
    b.db.execute(
        "create function pg_advisory_unlock(bigint) returns bool language plpgsql as $$ begin raise exception 'not now'; end $$"_sql());
    strata::database<retrying_stack> db{o, none_yet, soon};
    int runs = 0;
    db.transaction(
        [&](auto& tx) {
            if (++runs == 1) strata::throw_failure(strata::error{errc::deadlock, strata::phase::execute});
            tx.execute(add_balance(1, 1));
        },
        {.escalation = {.from = 2, .lock = key}});
    CHECK(runs == 2);
    CHECK(b.balance_of(1) == 101);
    constexpr auto holders = "select count(*) from pg_locks where locktype = 'advisory' and objid = :k"_sql;
    CHECK(comes_true([&] { return b.db.one<std::int64_t>(holders(key & 0xffffffff)) == 0; }));
}

TEST_CASE("what another server says of an id is no answer", "[postgres][fault][resolve]") {
    if (!proxied_bank::is_there()) return;
    const own_server elsewhere;
    if (elsewhere.url().empty()) {
        WARN("no programs of a server here: this is left out");
        return;
    }
    proxied_bank b;
    strata::database<plain_stack> other{strata::postgres_options{.connection = elsewhere.url()}, server::one()};
    const std::string user = setting_of(server_url(), "user"), password = setting_of(server_url(), "password");
    if (user != setting_of(elsewhere.url(), "user")) other.execute(strata::statement{"create role " + user + " login superuser"});
    other.execute(strata::statement{"alter role " + user + " password '" + password + "'"});
    // It has used the same number for something of its own that it rolled back, as a standby does that was promoted without having heard
    // of the COMMIT.
    constexpr auto take_number = "select pg_current_xact_id()::text::int8"_sql;
    const auto far = b.behind.db.one<std::int64_t>(take_number()) + 100;
    for (std::int64_t n = 0; n < far;) {
        auto tx = other.begin();
        n = tx.one<std::int64_t>(take_number());
    }
    auto o = at(server_url(), "127.0.0.1,127.0.0.1", std::to_string(b.proxy.port()) + "," + setting_of(elsewhere.url(), "port"),
                "sslmode=disable gssencmode=disable options='-csearch_path=" + b.behind.in.schema() + "'");
    o.finish_limit = 100ms;
    strata::database<plain_stack> db{o, none_yet};
    int unknown = 0;
    for (std::int64_t n = 1; n <= 40; ++n) {
        b.proxy.refuse(false);
        const auto r = db.try_transaction(
            [&](auto& tx) {
                tx.execute(insert_echo(n));
                b.proxy.refuse(true);
                b.proxy.cut_after(way::to_client, 50 + 8 * static_cast<std::uint64_t>(n));  // COMMIT's answer is among these bytes
            },
            {.resolve_commit = true});
        b.proxy.do_not_cut();
        CAPTURE(n, r ? "committed" : r.error().to_string());
        if (r) {
            CHECK(b.holds(n));
        } else if (r.error().effect() == effect::unknown) {
            ++unknown;
        } else {
            CHECK(r.error().effect() == effect::rolled_back);
            CHECK(!b.holds(n));
        }
    }
    CHECK(unknown > 0);
}

TEST_CASE("a COMMIT whose answer is lost is resolved", "[postgres][fault][resolve]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    strata::database<retrying_stack> db{b.options(), none_yet, soon};
    std::int64_t n = 0;
    int runs = 0;
    std::vector<std::string> seen;
    const auto body = [&](auto& tx) {
        ++runs;
        tx.on_commit([&] { seen.push_back("+"); });
        tx.on_rollback([&] { seen.push_back("-"); });
        return tx.template one<std::int64_t>(insert_echo(n));
    };
    CHECK(db.one<std::int64_t>(echo(0)) == 0);

    SECTION("wherever the conversation breaks, the outcome is known and true") {
        for (const way w : {way::to_server, way::to_client}) {
            int committed_unheard = 0, repeated = 0, failed = 0;
            const std::uint64_t longest = w == way::to_client ? 520 : 420;  // with the questions which server it is
            for (std::uint64_t cut = 0; cut < longest; cut += count<std::uint64_t>(5, 1)) {
                ++n;
                runs = 0;
                seen.clear();
                CAPTURE(static_cast<int>(w), cut, n);
                CHECK(db.one<std::int64_t>(echo(n)) == n);
                const bool once = n % 2 == 0;
                const int cuts = b.proxy.struck();
                const auto cut_later = [&](auto& tx) {
                    const auto v = body(tx);
                    if (runs == 1) b.proxy.cut_after(w, cut);
                    return v;
                };
                const auto r = once ? db.try_transaction(strata::once(cut_later), {.resolve_commit = true})
                                    : db.try_transaction(cut_later, {.resolve_commit = true});
                b.proxy.do_not_cut();
                const bool was_cut = b.proxy.struck() != cuts;
                if (r) {
                    CHECK(*r == n);
                    CHECK(b.holds(n));
                    CHECK(seen.back() == "+");
                    CHECK(seen.size() == static_cast<std::size_t>(runs));
                    committed_unheard += was_cut && runs == 1;
                    repeated += runs > 1;
                    CHECK((runs == 1 || !once));
                } else {
                    ++failed;
                    CAPTURE(r.error().to_string());
                    CHECK(once);
                    CHECK(r.error().effect() == effect::rolled_back);
                    CHECK(r.error().code() == errc::connection_lost);
                    CHECK(!b.holds(n));
                    CHECK(seen == std::vector<std::string>{"-"});
                }
            }
            CHECK(repeated > 0);
            CHECK(failed > 0);
            if (w == way::to_client) CHECK(committed_unheard > 0);
        }
    }
}

namespace {

/// COMMIT of a row takes so many seconds.
void slow_commit(proxied_bank& b, double seconds) {
    b.behind.db.execute(strata::statement{"create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(" +
                                          std::to_string(seconds) + "); return null; end $$"});
    b.behind.db.execute(
        "create constraint trigger slow after insert on echo deferrable initially deferred for each row execute function "
        "slow()"_sql());
}

}  // namespace

TEST_CASE("what is still going on is waited for, within the bound", "[postgres][fault][resolve]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    std::vector<std::string> seen;
    std::string id;
    int runs = 0;
    const auto body = [&](auto& tx) {
        ++runs;
        tx.on_commit([&] { seen.push_back("+"); });
        tx.on_rollback([&] { seen.push_back("-"); });
        tx.execute(insert_echo(7));
        id = tx.template one<std::string>("select pg_current_xact_id_if_assigned()::text"_sql());
        return 5;
    };
    SECTION("the answer is lost while COMMIT runs") {
        slow_commit(b, 1.0);
        strata::database<retrying_stack> db{b.options(), none_yet, soon};
        std::thread cutter([&] {
            CHECK(comes_true([&] {
                return b.behind.db.one<bool>(
                    "select exists (select from pg_stat_activity where query = 'commit' and state = 'active')"_sql());
            }));
            b.proxy.cut();
        });
        CHECK(db.transaction(body, {.resolve_commit = true}) == 5);
        cutter.join();
        CHECK(runs == 1);
        CHECK(seen == std::vector<std::string>{"+"});
        CHECK(b.holds(7));
        CHECK(db.one<std::int64_t>(echo(1)) == 1);
        CHECK(all_returned(db.connections()));
    }
    SECTION("COMMIT takes longer than anybody waits: unknown, with the id") {
        slow_commit(b, 6.0);
        auto o = b.options();
        o.finish_limit = 1s;
        strata::database<retrying_stack> db{o, none_yet, soon};
        const auto began = strata::clock::now();
        const auto r = db.try_transaction(body, {.resolve_commit = true});
        CHECK(strata::clock::now() - began < 5s);
        CHECK(runs == 1);
        CHECK(seen.empty());
        REQUIRE(!r);
        CAPTURE(r.error().to_string());
        CHECK(r.error().code() == errc::outcome_unknown);
        CHECK(r.error().effect() == effect::unknown);
        CHECK(r.error().texts().detail.find("transaction " + id + ": the server says: in progress") == 0);
        CHECK(r.error().texts().hint.find("pg_xact_status('" + id + "')") != std::string::npos);
        CHECK(r.error().texts().detail.find("neither on_commit nor on_rollback") != std::string::npos);
        CHECK(comes_true([&] { return b.holds(7); }));  // it would have been wrong to guess
    }
}

namespace {

/// A server of its own behind a proxy, whose role `plain` has a table with a slow COMMIT.
struct slow_server {
    own_server server;
    std::optional<strata::database<plain_stack>> admin;
    std::optional<tcp_proxy> proxy;

    [[nodiscard]] static std::uint16_t port_of(const own_server& s) {
        return static_cast<std::uint16_t>(std::stoi(setting_of(s.url(), "port")));
    }
    /// False, which is said, where there are no programs of a server.
    [[nodiscard]] bool start() {
        if (server.url().empty()) {
            WARN("no programs of a server here: this is left out");
            return false;
        }
        connect();
        make_role(*admin);
        admin->execute("create table echo (n bigint primary key)"_sql());
        admin->execute("grant all on echo to plain"_sql());
        admin->execute(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$"_sql());
        admin->execute(
            "create constraint trigger slow after insert on echo deferrable initially deferred for each row execute function slow()"_sql());
        proxy.emplace(port_of(server));
        return true;
    }
    void connect() {
        admin.emplace(strata::postgres_options{.connection = server.url()}, strata::pool_options{.min_size = 0, .max_size = 1});
    }
    static void make_role(strata::database<plain_stack>& db) { db.execute("create role plain login password 'plain'"_sql()); }
    /// `before`: of a server that stands first in the list of hosts.
    [[nodiscard]] strata::postgres_options options(std::uint16_t before) const {
        const std::string own = std::to_string(proxy->port());
        return {.connection = (before != 0 ? "host=127.0.0.1,127.0.0.1 port=" + std::to_string(before) + "," : "host=127.0.0.1 port=") +
                              own + " user=plain password=plain dbname=" + setting_of(server.url(), "dbname") +
                              " sslmode=disable gssencmode=disable",
                .finish_limit = 20s};
    }
    /// Inserts n; `strike` is called while COMMIT is under way.
    template <class Strike>
    [[nodiscard]] strata::result<void> insert(std::int64_t n, Strike strike, std::uint16_t before = 0) {
        strata::database<plain_stack> db{options(before), none_yet};
        std::thread other([&] {
            static_cast<void>(comes_true([&] {
                return admin->one<bool>("select exists (select from pg_stat_activity where query = 'commit' and state = 'active')"_sql());
            }));
            strike();
        });
        auto r = db.try_transaction([&](auto& tx) { tx.execute(insert_echo(n)); }, {.resolve_commit = true});
        other.join();
        return r;
    }
    [[nodiscard]] bool holds(std::int64_t n) { return admin->one<bool>("select exists (select from echo where n = :n)"_sql(n)); }
};

}  // namespace

TEST_CASE("another cluster behind the same address is not believed", "[postgres][fault][resolve]") {
    const in_time guard;
    slow_server s;
    const own_server elsewhere;
    if (!s.start()) return;
    strata::database<plain_stack> other{strata::postgres_options{.connection = elsewhere.url()}, server::one()};
    slow_server::make_role(other);
    // It has rolled back what has the same number there.
    constexpr auto take_number = "select pg_current_xact_id()::text::int8"_sql;
    const auto far = s.admin->one<std::int64_t>(take_number()) + 20;
    for (std::int64_t n = 0; n < far;) {
        auto tx = other.begin();
        n = tx.one<std::int64_t>(take_number());
    }
    const auto r = s.insert(1, [&] {
        s.proxy->lead_to(slow_server::port_of(elsewhere));
        s.proxy->cut();
    });
    REQUIRE(!r);
    CAPTURE(r.error().to_string());
    CHECK(r.error().code() == errc::outcome_unknown);
    CHECK(r.error().effect() == effect::unknown);
    CHECK_THAT(r.error().texts().detail, contains_text("another server"));
    CHECK(comes_true([&] { return s.holds(1); }));

    // Of several hosts the right one is asked.
    s.proxy->lead_to(slow_server::port_of(s.server));
    tcp_proxy first{slow_server::port_of(elsewhere)};
    first.refuse(true);
    CHECK(s.insert(
               2,
               [&] {
                   first.refuse(false);
                   s.proxy->cut();
               },
               first.port())
              .has_value());
    CHECK(s.holds(2));
}

TEST_CASE("a server is known again by its cluster, or by its start where nobody may see that", "[postgres][fault][resolve]") {
    const in_time guard;
    slow_server s;
    if (!s.start()) return;
    const auto cut = [&] { s.proxy->cut(); };
    const auto restart = [&] {
        s.server.run("restart");
        s.connect();
    };
    CHECK(s.insert(1, cut).has_value());
    auto r = s.insert(2, restart);
    CHECK(r.error().code() == errc::connection_lost);
    CHECK(r.error().effect() == effect::rolled_back);
    s.admin->execute("revoke execute on function pg_control_system() from public"_sql());
    CHECK(s.insert(3, cut).has_value());
    CHECK(s.holds(3));
    r = s.insert(4, restart);
    CAPTURE(r.error().to_string());
    CHECK(r.error().code() == errc::outcome_unknown);
    CHECK_THAT(r.error().texts().detail, contains_text("another server"));
    CHECK(!s.holds(4));
}

TEST_CASE("the server is asked for no id where no statement was run", "[postgres][resolve]") {
    bank<> b{1};
    strata::database<plain_stack> db{b.in.options(), none_yet};
    const auto pid = db.one<int>("select pg_backend_pid()"_sql());
    const auto last = [&] { return b.db.one<std::string>("select query from pg_stat_activity where pid = :pid"_sql(pid)); };
    db.transaction([](auto&) {}, {.resolve_commit = true});
    CHECK(last() == "select pg_backend_pid()");
    db.transaction([](auto& tx) { tx.execute(add_balance(1, 1)); }, {.resolve_commit = true});
    CHECK(last() == "commit");
    CHECK(b.balance_of(1) == 101);
}

TEST_CASE("a transaction that only read has no id, and costs no question where it is said to read", "[postgres][resolve]") {
    bank<retrying_stack> b{1};
    CHECK(b.db.transaction([](auto& tx) { return tx.template one<std::int64_t>("select count(*) from account"_sql()); },
                           {.resolve_commit = true}) == 1);
    CHECK(b.db.transaction([](auto& tx) { return tx.template one<std::int64_t>("select count(*) from account"_sql()); },
                           {.read_only = true, .resolve_commit = true}) == 1);
    // A failed statement that the closure swallows: COMMIT answers ROLLBACK, which is an error of its own.
    const auto r = b.db.try_transaction(
        [](auto& tx) {
            tx.execute(add_balance(1, 1));
            static_cast<void>(tx.try_execute("select 1 / 0"_sql()));
        },
        {.resolve_commit = true});
    CHECK(r.error().code() == errc::commit_rolled_back);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(b.balance_of(1) == 100);
}
