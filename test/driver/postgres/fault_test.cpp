// Faults that must be survived: each ends as an error with the right condition, phase and effect, and the next call works.
#include "fault_fixture.hpp"

#include <random>

using namespace strata_test;
using strata::effect;
using strata::phase;

namespace {

strata::pool_options none_yet() {
    return {.min_size = 0, .max_size = 1};
}

/// The numbers at which a conversation of that many bytes is cut: all in a full run, else some, never the same.
std::vector<std::uint64_t> cuts_in(std::uint64_t bytes) {
    static std::mt19937 random{std::random_device{}()};
    const std::uint64_t stride = count<std::uint64_t>(std::max<std::uint64_t>(bytes / 25, 1), 1);
    std::vector<std::uint64_t> cuts;
    for (std::uint64_t n = stride == 1 ? 0 : random() % stride; n <= bytes; n += stride) cuts.push_back(n);
    return cuts;
}

/// What an error may say of a call that was to write row `n` and whose connection was reset.
void is_truthful(proxied_bank& b, const strata::error& e, std::int64_t n, bool in_transaction) {
    CAPTURE(e.to_string());
    CHECK((e.code() == errc::connection_lost || e.code() == errc::cannot_connect || e.code() == errc::outcome_unknown));
    CHECK((e.code() == errc::cannot_connect) == (e.phase() == phase::connect));
    CHECK((e.code() == errc::outcome_unknown) == (e.phase() == phase::commit));
    if (e.phase() == phase::connect || e.phase() == phase::prepare) CHECK((e.effect() == effect::none || in_transaction));
    if (e.phase() == phase::commit) CHECK(e.effect() == effect::unknown);
    CHECK(e.effect() != effect::applied);
    if (in_transaction && e.phase() == phase::execute) CHECK(e.effect() != effect::unknown);
    if (e.effect() != effect::unknown) CHECK(!b.holds(n));
}

/// Cuts the conversation `talk` has after each number of bytes in each direction. `prepare` is before the cut.
template <class Prepare, class Talk>
void cut_everywhere(proxied_bank& b, bool in_transaction, Prepare prepare, Talk talk) {
    std::int64_t n = in_transaction ? 1'000'000 : 0;
    for (const way w : {way::to_server, way::to_client}) {
        std::uint64_t bytes = 0;
        {
            strata::database<plain_stack> db{b.options(), none_yet()};
            prepare(db);
            bytes = b.proxy.bytes(w);
            REQUIRE(talk(db, ++n));
            bytes = b.proxy.bytes(w) - bytes;
        }
        REQUIRE(bytes > 50);
        int failed = 0;
        for (const std::uint64_t cut : cuts_in(bytes)) {
            CAPTURE(static_cast<int>(w), cut, bytes);
            strata::database<plain_stack> db{b.options(), none_yet()};
            prepare(db);
            b.proxy.cut_after(w, cut);
            const auto r = talk(db, ++n);
            b.proxy.do_not_cut();
            if (r) {
                CHECK(*r == n);
                CHECK(b.holds(n));
            } else {
                ++failed;
                is_truthful(b, r.error(), n, in_transaction);
            }
            CHECK(db.one<std::int64_t>(echo(n)) == n);
            CHECK(all_returned(db.connections()));
        }
        CHECK(failed > 0);
    }
}

}  // namespace

TEST_CASE("a connection that is reset after any number of bytes", "[postgres][fault][reset]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    const auto nothing = [](auto&) {};
    const auto warm = [](auto& db) { CHECK(db.template one<std::int64_t>(echo(0)) == 0); };
    const auto insert = [](auto& db, std::int64_t n) { return db.template try_one<std::int64_t>(insert_echo(n)); };
    SECTION("connecting, too") {
        cut_everywhere(b, false, nothing, insert);
    }
    SECTION("in a statement") {
        cut_everywhere(b, false, warm, insert);
    }
    SECTION("in a transaction") {
        cut_everywhere(b, true, warm, [](auto& db, std::int64_t n) {
            return db.try_transaction([&](auto& tx) { return tx.template one<std::int64_t>(insert_echo(n)); });
        });
    }
}

TEST_CASE("a stream that is reset has given true rows, and ends with an error", "[postgres][fault][reset]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    strata::database<plain_stack> db{b.options(), none_yet()};
    constexpr auto many = "select i from generate_series(1::int8, 5000) i"_sql;
    CHECK(db.all<std::int64_t>(many()).size() == 5000);
    const std::uint64_t before = b.proxy.bytes(way::to_client);
    CHECK(db.all<std::int64_t>(many()).size() == 5000);
    const std::uint64_t bytes = b.proxy.bytes(way::to_client) - before;
    for (int i = 0; i < count(10, 300); ++i) {
        b.proxy.cut_after(way::to_client, bytes * static_cast<std::uint64_t>(i) / static_cast<std::uint64_t>(count(10, 300)));
        std::int64_t rows = 0;
        auto stream = db.rows<std::int64_t>(many());
        strata::error end;
        for (;;) {
            auto row = stream.try_next();
            if (row.has_error()) end = row.error();
            if (row.has_error() || *row == nullptr) break;
            if (**row != ++rows) FAIL("row " << rows << " is " << **row);
        }
        CHECK(end.code() == errc::connection_lost);
        CHECK(rows < 5000);
        b.proxy.do_not_cut();
        CHECK(db.one<std::int64_t>(echo(i)) == i);
        static_cast<void>(db.all<std::int64_t>(many()));  // prepared again
    }
    CHECK(db.connections().idle == 1);
}

TEST_CASE("a stream whose session the server ends has given true rows", "[postgres][fault][stream]") {
    bank<> b{0, 1, [](strata::postgres_options o) {
                 o.application_name = victim("strata-stream");
                 return o;
             }};
    for (const std::int64_t after : {1, 2, 700}) {
        auto stream = b.db.rows<std::int64_t>("select generate_series(1::int8, 1000000000)"_sql());
        std::int64_t rows = 0;
        strata::error end;
        for (bool more = true; more;) {
            if (rows == after) {
                CHECK(b.in.admin().one<std::int64_t>("select count(pg_terminate_backend(pid)) from pg_stat_activity"
                                                     " where application_name = :name"_sql(victim("strata-stream"))) == 1);
            }
            auto row = stream.try_next();
            more = row.has_value() && *row != nullptr;
            if (row.has_error()) end = row.error();
            if (more && **row != ++rows) FAIL("row " << rows << " is " << **row);
        }
        CHECK(end.code() == errc::connection_lost);
        CHECK(rows >= after);
    }
    CHECK(b.db.one<std::int64_t>(echo(1)) == 1);
}

TEST_CASE("a COMMIT whose answer is lost is unknown, and is not repeated", "[postgres][fault][commit]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{2};
    strata::database<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> db{b.options(), none_yet()};
    const auto move = [&](way w) {
        int runs = 0;
        const auto r = db.try_transaction([&](auto& tx) {
            ++runs;
            tx.execute(add_balance(-10, 1));
            tx.execute(add_balance(+10, 2));
            b.proxy.cut_after(w, 0);
        });
        CHECK(r.error().code() == errc::outcome_unknown);
        CHECK(r.error().effect() == effect::unknown);
        CHECK(r.error().phase() == phase::commit);
        CHECK(r.error().health() >= strata::health::lost);
        CHECK(runs == 1);
        b.proxy.do_not_cut();
    };
    move(way::to_client);  // the server has committed, and its answer does not arrive
    CHECK(comes_true([&] { return b.behind.balance_of(1) == 90; }));
    move(way::to_server);  // it never heard of the COMMIT
    CHECK(b.behind.balance_of(1) == 90);
    CHECK(b.behind.balance_of(2) == 110);
    CHECK(db.one<std::int64_t>(echo(1)) == 1);

    // Before the COMMIT it is certain, and a retry makes it good.
    int runs = 0;
    db.transaction([&](auto& tx) {
        tx.execute(add_balance(-10, 1));
        if (++runs == 1) b.proxy.cut();
        tx.execute(add_balance(+10, 2));
    });
    CHECK(runs == 2);
    CHECK(b.behind.balance_of(1) == 80);
    CHECK(b.behind.balance_of(2) == 120);
}

TEST_CASE("a network that swallows everything: every bound is kept", "[postgres][fault][black-hole]") {
    if (!proxied_bank::is_there()) return;
    const std::ptrdiff_t held = descriptors();
    {
        const in_time guard;
        proxied_bank b{2};
        strata::postgres_options o = b.options();
        o.cancel_grace = 50ms;
        o.finish_limit = 50ms;
        strata::database<plain_stack> db{o, none_yet()};
        CHECK(db.one<std::int64_t>(echo(1)) == 1);
        const auto began = strata::clock::now();
        SECTION("a call's deadline, then the grace of its cancel") {
            b.proxy.black_hole(true);
            const strata::error e = db.try_one<std::int64_t>(echo(2), {.deadline = 30ms}).error();
            CHECK(e.code() == errc::timeout);
            CHECK(e.health() >= strata::health::lost);
            CHECK(strata::clock::now() - began >= 80ms);
        }
        SECTION("a call's deadline while a statement is being prepared") {
            b.proxy.black_hole(true);
            const strata::error e = db.try_execute(insert_echo(2), {.deadline = 30ms}).error();
            CHECK(e.code() == errc::timeout);
            CHECK(e.phase() == phase::prepare);
            CHECK(e.effect() == effect::none);
        }
        SECTION("connecting") {
            b.proxy.black_hole(true);
            o.connect_timeout = 40ms;
            strata::database<plain_stack> other{o, none_yet()};
            const strata::error e = other.try_one<std::int64_t>(echo(2)).error();
            CHECK(e.code() == errc::timeout);
            CHECK(e.phase() == phase::connect);
            CHECK(e.effect() == effect::none);
            CHECK(strata::clock::now() - began >= 40ms);
        }
        SECTION("connecting, under a call's deadline") {
            b.proxy.black_hole(true);
            strata::database<plain_stack> other{o, none_yet()};
            const strata::error e = other.try_one<std::int64_t>(echo(2), {.deadline = 30ms}).error();
            CHECK(e.code() == errc::timeout);
            CHECK(e.phase() == phase::acquire);
            CHECK_THAT(e.message(), contains_text("1 more is being opened"));
        }
        SECTION("COMMIT, which no deadline ends") {
            const auto r = db.try_transaction([&](auto& tx) {
                tx.execute(add_balance(-1, 1));
                b.proxy.black_hole(true);
            });
            CHECK(r.error().code() == errc::outcome_unknown);
            CHECK(r.error().effect() == effect::unknown);
            CHECK(strata::clock::now() - began >= 50ms);
            b.proxy.cut();  // the COMMIT never gets there
        }
        SECTION("ROLLBACK") {
            const auto fail = [&](auto& tx) {
                tx.execute(add_balance(-1, 1));
                b.proxy.black_hole(true);
                throw 7;
            };
            CHECK_THROWS_AS(db.try_transaction(fail), int);
            CHECK(strata::clock::now() - began >= 50ms);
        }
        b.proxy.black_hole(false);
        CHECK(db.one<std::int64_t>(echo(3)) == 3);
        CHECK(all_returned(db.connections()));
        CHECK(b.behind.balance_of(1) == 100);
    }
    CHECK(comes_true([&] { return descriptors() == held; }));  // the cancels' connections, too
}

TEST_CASE("a cancel that the server gets before the statement is sent again", "[postgres][fault][cancel]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    strata::postgres_options o = b.options();
    o.cancel_grace = 30s;
    strata::database<plain_stack> db{o, none_yet()};
    constexpr auto sleep = "select pg_sleep(:seconds)::text"_sql;
    CHECK(db.one<std::string>(sleep(0.0)).empty());
    const std::uint64_t sent = b.proxy.taken(way::to_server);
    b.proxy.delay(1s);  // of what is sent now: the statement
    std::thread hurry([&] {
        CHECK(comes_true([&] { return b.proxy.taken(way::to_server) > sent; }));
        b.proxy.delay(0s);  // the cancel, which overtakes it
    });
    const strata::error e = db.try_one<std::string>(sleep(3600.0), {.deadline = 100ms}).error();
    hurry.join();
    CHECK(e.code() == errc::timeout);
    CHECK(e.health() == strata::health::good);
    CHECK(b.proxy.accepted() >= 3);  // the session, a cancel in vain, another
    CHECK(db.one<std::int64_t>(echo(1)) == 1);
    CHECK(db.connections().opened == 1);
}

TEST_CASE("a cancel that arrives late hits nothing else", "[postgres][fault][cancel]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    strata::database<plain_stack> db{b.options(), none_yet()};
    constexpr auto sleep = "select pg_sleep(:seconds)::text"_sql;
    CHECK(db.one<std::string>(sleep(0.0)).empty());
    int late = 0;
    for (int i = 0; i < count(8, 100); ++i) {
        const std::uint64_t sent = b.proxy.taken(way::to_server);
        std::thread slow([&] {  // the statement gets through, its cancel is on its way for longer than the statement lasts
            CHECK(comes_true([&] { return b.proxy.taken(way::to_server) > sent; }));
            b.proxy.delay(way::to_server, std::chrono::milliseconds{20 + i % 30});
        });
        const auto r = db.try_one<std::string>(sleep(0.03), {.deadline = 15ms});
        slow.join();
        b.proxy.delay(0s);
        if (r.has_error()) CHECK(r.error().code() == errc::timeout);
        late += r.has_error() ? 0 : 1;
        REQUIRE(db.try_one<std::string>(sleep(0.03)).has_value());
    }
    INFO(late << " ended before their cancel");
    CHECK(db.connections().opened == 1);
}

TEST_CASE("refused connections, and a server with no room", "[postgres][fault][connect]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    strata::database<plain_stack> db{b.options(), none_yet()};
    b.proxy.refuse(true);
    for (int i = 0; i < 3; ++i) {
        const strata::error e = db.try_one<std::int64_t>(echo(1)).error();
        CHECK((e.code() == errc::cannot_connect || e.code() == errc::pool_unreachable));  // of an attempt, or until the next one
        CHECK_THAT(e.message(), contains_text("refused"));
        CHECK(e.effect() == effect::none);
    }
    b.proxy.refuse(false);
    CHECK(comes_true([&] { return db.try_one<std::int64_t>(echo(1)).has_value(); }));
    b.proxy.refuse(true);
    CHECK(db.one<std::int64_t>(echo(2)) == 2);  // a connection that stands is not touched

    // 53300 for a role that may have one connection; the server's own limit reads the same.
    auto& admin = b.behind.in.admin();
    const std::string role = b.behind.in.schema() + "_one";
    if (admin.try_execute(strata::statement{"create role " + role + " login password 'hunter2' connection limit 1"}).has_error()) {
        WARN("the server's user may not make roles: 53300 is left out");
        return;
    }
    {
        strata::postgres_options o = at(server_url(), "127.0.0.1", setting_of(server_url(), "port"));
        o.user = role;
        o.password = "hunter2";
        strata::database<plain_stack> narrow{o, strata::pool_options{.min_size = 1, .max_size = 3}};
        auto first = narrow.session();
        CHECK(first.one<std::int64_t>(echo(1)) == 1);
        const strata::error e = narrow.try_one<std::int64_t>(echo(2), {.deadline = 300ms}).error();
        CHECK(e.code() == errc::timeout);  // the other connection might have come back
        CHECK(e.effect() == effect::none);
        CHECK_THAT(e.texts().detail, contains_text("too many connections"));
        CHECK(e.to_string().find("hunter2") == std::string::npos);
        CHECK(first.one<std::int64_t>(echo(3)) == 3);
    }
    CHECK(comes_true([&] { return !admin.try_execute(strata::statement{"drop role " + role}).has_error(); }));
}

TEST_CASE("a server that is stopped, started, or has crashed", "[postgres][fault][restart]") {
    const own_server own;
    if (own.url().empty()) {
        WARN("no server can be started here: this is left out");
        return;
    }
    const in_time guard;
    strata::database<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> db{
        strata::postgres_options{.connection = own.url() + "?options=-csynchronous_commit%3Don"},
        strata::pool_options{.min_size = 1, .max_size = 4}};
    db.execute("create table account (id bigint primary key, balance bigint not null)"_sql());
    db.execute("insert into account values (1, 0)"_sql());
    const auto add_one = [&] { return db.try_execute("update account set balance = balance + 1 where id = 1"_sql()); };
    const auto balance = [&] { return db.one<std::int64_t>("select balance from account where id = 1"_sql()); };
    std::int64_t sure = 0, maybe = 0;
    for (const char* const what : {"restart", "crash", "restart"}) {
        CAPTURE(what);
        std::atomic<bool> stop{false};
        std::thread other([&] { own.run(what), stop = true; });
        while (!stop) {
            const auto r = add_one();
            if (r)
                ++sure;
            else if (r.error().effect() == effect::unknown)
                ++maybe;
        }
        other.join();
        CHECK(comes_true([&] { return add_one().has_value() && ++sure != 0; }));
        CHECK(balance() >= sure);
        CHECK(balance() <= sure + maybe);
        CHECK(comes_true([&] { return all_returned(db.connections()); }));
    }
    own.run("down");
    const strata::error gone = db.try_one<std::int64_t>("select balance from account where id = 1"_sql(), {.deadline = 2s}).error();
    CHECK((gone.code() == errc::cannot_connect || gone.code() == errc::connection_lost || gone.code() == errc::timeout ||
           gone.code() == errc::pool_unreachable));
    own.run("up");
    CHECK(comes_true([&] { return add_one().has_value(); }));
    CHECK(balance() > sure);
}
