// Distributed transactions over two real servers: what they do, what they say when a connection breaks at any step, and what is left
// when the coordinator's process is killed at any step of its protocol.
#include "fault_fixture.hpp"

#include <strata/distributed_transaction.hpp>
#include <strata/driver/sqlite.hpp>

#include <algorithm>
#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include <signal.h>
#include <sys/wait.h>

using namespace strata_test;
using strata::effect;
using strata::two_phase_step;

namespace {

using bank_database = strata::database<plain_stack>;
using file_database = strata::database<strata::stack<strata::pool<>, strata::sqlite>>;

constexpr auto add = "update account set balance = balance + :amount where id = :id"_sql;
constexpr auto book = "insert into transfer values (:id, :amount)"_sql;
constexpr auto total = "select (sum(balance))::int8 from account"_sql;
constexpr auto transfers = "select id from transfer order by id"_sql;
constexpr int accounts = 20;

/// One for all tests of this file; it lives as long as the process.
own_server& second_server() {
    static own_server server;
    return server;
}

/// Servers, and the right to prepare on them: otherwise it is said, and false.
bool are_there() {
    bank_database db{strata::postgres_options{.connection = server_url()}, server::one()};
    if (db.one<std::int64_t>("select current_setting('max_prepared_transactions')::int8"_sql()) < 5) {
        WARN("the server has max_prepared_transactions below 5: this is left out");
        return false;
    }
    if (!proxied_bank::is_there()) return false;
    if (second_server().url().empty()) {
        WARN("no programs of a server here: this is left out");
        return false;
    }
    return true;
}

/// Plain TCP to a server, perhaps through a proxy, seeing a schema first.
strata::postgres_options way_to(const std::string& url, const std::string& port, const std::string& schema,
                                const std::string& name = "strata_test") {
    return at(url, "127.0.0.1", port,
              "sslmode=disable gssencmode=disable application_name=" + name + " options='-csearch_path=" + schema + "'");
}

void fill(bank_database& db) {
    db.execute("create table account (id bigint primary key, balance bigint not null check (balance >= -1000000))"_sql());
    db.execute("create table transfer (id bigint primary key, amount bigint not null)"_sql());
    db.execute("insert into account select i, 100 from generate_series(1, :n) i"_sql(accounts));
}

void fill_file(file_database& db) {
    db.execute("create table account (id integer primary key, balance integer not null)"_sql());
    db.execute("create table transfer (id integer primary key, amount integer not null)"_sql());
    for (int i = 1; i <= accounts; ++i) db.execute("insert into account values (:id, 100)"_sql(i));
}

template <class Database>
std::int64_t sum_of(Database& db) {
    if constexpr (Database::dialect == strata::dialect::postgres)
        return db.template one<std::int64_t>(total());
    else
        return db.template one<std::int64_t>("select sum(balance) from account"_sql());
}

/// Two banks on two servers, the second behind a proxy, and a folder for logs.
struct two_banks {
    server first_schema;
    std::string schema = "two_phase_" + std::to_string(::getpid());
    bank_database second_admin{strata::postgres_options{.connection = second_server().url()}, server::one()};
    strata::postgres_options first_way = way_to(server_url(), setting_of(server_url(), "port"), first_schema.schema());
    strata::postgres_options second_direct = way_to(second_server().url(), setting_of(second_server().url(), "port"), schema);
    tcp_proxy proxy{static_cast<std::uint16_t>(std::stoi(setting_of(second_server().url(), "port")))};
    std::optional<bank_database> first, second;
    std::string folder = (std::filesystem::temp_directory_path() / "strata-two-phase.XXXXXX").string();

    two_banks() {
        REQUIRE(::mkdtemp(folder.data()) != nullptr);
        second_admin.execute(strata::statement{"drop schema if exists " + schema + " cascade"});
        second_admin.execute(strata::statement{"create schema " + schema});
        first.emplace(first_way, pool());
        second.emplace(way_to(second_server().url(), std::to_string(proxy.port()), schema), pool());
        fill(*first);
        fill(*second);
    }
    ~two_banks() { std::filesystem::remove_all(folder); }

    static strata::pool_options pool() { return {.min_size = 0, .max_size = 4}; }
    [[nodiscard]] std::string log() const { return folder + "/decisions"; }
    [[nodiscard]] std::int64_t sum() { return sum_of(*first) + sum_of(*second); }
    /// How many prepared transactions of this program there are.
    [[nodiscard]] std::int64_t prepared() {
        constexpr auto count = "select count(*) from pg_prepared_xacts where gid like 'strata:test-%'"_sql;
        return first->one<std::int64_t>(count()) + second->one<std::int64_t>(count());
    }
    [[nodiscard]] std::vector<std::int64_t> booked(bank_database& db) { return db.all<std::int64_t>(transfers()); }
};

/// From the first bank to the second.
template <class Transaction>
strata::result<void> transfer(Transaction& t, std::int64_t id, std::int64_t amount, const strata::distributed_transaction_options& o = {}) {
    return t.try_run(
        [&](auto& a, auto& b) {
            a.execute(add(-amount, 1 + id % accounts));
            b.execute(add(amount, 1 + (id * 7) % accounts));
            a.execute(book(id, amount));
            b.execute(book(id, amount));
        },
        o);
}

}  // namespace

TEST_CASE("both databases or none", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    std::vector<std::string> steps;
    strata::transaction_coordinator coordinator{
        {.name = "test-both", .log = b.log(), .on_step = [&](two_phase_step s, std::size_t i, bool done) {
             if (!done) steps.push_back(std::string{to_string(s)} + " " + std::to_string(i));
         }}};
    strata::distributed_transaction t{coordinator, *b.first, *b.second};
    REQUIRE(transfer(t, 1, 30));
    CHECK(steps == std::vector<std::string>{"begin 0", "begin 1", "work 0", "ask 0", "ask 1", "prepare 0", "prepare 1", "decide 0",
                                            "commit_prepared 0", "commit_prepared 1", "forget 0"});
    CHECK(b.booked(*b.first) == std::vector<std::int64_t>{1});
    CHECK(b.booked(*b.second) == std::vector<std::int64_t>{1});

    // A value comes out; an exception, and a result that holds an error, roll back in both.
    CHECK(t.run([](auto& x, auto& y) { return x.template one<int>("select 3"_sql()) + y.template one<int>("select 4"_sql()); }) == 7);
    const auto failing = [](auto& x, auto& y) {
        x.execute(book(2, 1));
        y.execute(book(2, 1));
        throw std::domain_error("no");
    };
    CHECK_THROWS_AS(t.run(failing), std::domain_error);
    CHECK_THROWS_AS(t.try_run(failing), std::domain_error);
    const strata::result<int> refused = t.run([](auto& x, auto& y) -> strata::result<int> {
        x.execute(book(2, 1));
        y.execute(book(2, 1));
        return strata::error{errc::user_error, "too much", strata::phase::execute};
    });
    CHECK(refused.error().message() == "too much");
    CHECK(refused.error().effect() == effect::rolled_back);
    // A statement that fails in one, which the closure lets out.
    const strata::error twice = transfer(t, 1, 5).error();
    CHECK(twice.code() == errc::unique_violation);
    CHECK(twice.effect() == effect::rolled_back);
    // One that fails in the second, which the closure hides: the database must not be taken for one that agrees.
    const auto hidden = t.try_run([](auto& x, auto& y) {
        x.execute(book(2, 1));
        static_cast<void>(y.try_execute(book(1, 1)));
    });
    CHECK(hidden.error().effect() == effect::rolled_back);
    CHECK(b.booked(*b.first) == std::vector<std::int64_t>{1});
    CHECK(b.booked(*b.second) == std::vector<std::int64_t>{1});
    CHECK(b.prepared() == 0);
    CHECK(coordinator.pending().empty());
    CHECK(all_returned(b.first->connections()));
    CHECK(all_returned(b.second->connections()));
}

TEST_CASE("a database that wrote nothing is not prepared, and one that alone wrote commits plainly", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    std::vector<std::string> steps;
    strata::transaction_coordinator coordinator{
        {.name = "test-few", .log = b.log(), .on_step = [&](two_phase_step s, std::size_t i, bool done) {
             if (!done && s > two_phase_step::ask) steps.push_back(std::string{to_string(s)} + " " + std::to_string(i));
         }}};
    strata::distributed_transaction t{coordinator, *b.first, *b.second};
    t.run([](auto& x, auto& y) { x.template one<std::int64_t>(total()), y.template one<std::int64_t>(total()); });
    CHECK(steps == std::vector<std::string>{"commit 0", "commit 1"});
    steps.clear();
    t.run([](auto& x, auto& y) { x.template one<std::int64_t>(total()), y.execute(book(1, 1)); });
    CHECK(steps == std::vector<std::string>{"commit 0", "commit 1"});
    steps.clear();
    t.run([](auto& x, auto& y) { x.execute(book(1, 1)), y.template one<std::int64_t>(total()); });
    CHECK(steps == std::vector<std::string>{"commit 1", "commit 0"});
    CHECK(b.booked(*b.first) == b.booked(*b.second));
}

TEST_CASE("what the server answers to a failed transaction's PREPARE is not taken for success", "[postgres][two_phase]") {
    if (!are_there()) return;
    strata::postgres_connection c;
    REQUIRE(!c.open({.connection = server_url()}));
    REQUIRE(!c.control("begin"));
    CHECK(c.control("select 1/0"));
    const strata::error e = c.control("prepare transaction 'strata:test-tag:1'");
    CHECK(e.code() == errc::commit_rolled_back);
    CHECK(e.effect() == effect::rolled_back);
    CHECK_FALSE(c.in_transaction());
    CHECK(c.control("commit prepared 'strata:test-tag:1'").code() == errc::undefined_object);
}

TEST_CASE("a server that prepares nothing is found out at the start, with the remedy", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    strata::transaction_coordinator coordinator{{.name = "test-none", .log = b.log()}};
    b.second_admin.execute("alter system set max_prepared_transactions = 0"_sql());
    second_server().run("restart");
    const auto open = [&] { strata::distributed_transaction t{coordinator, *b.first, *b.second}; };
    static_cast<void>(b.second->try_execute("select 1"_sql()));  // the old connections are noticed
    strata::error e;
    try {
        open();
    } catch (const strata::failure& f) {
        e = f.error();
    }
    CHECK(e.code() == errc::unsupported);
    CHECK_THAT(e.message(), contains_text("max_prepared_transactions is 0"));
    CHECK_THAT(e.texts().hint, contains_text("postgresql.conf"));
    static_cast<void>(b.second_admin.try_execute("select 1"_sql()));
    b.second_admin.execute("alter system reset max_prepared_transactions"_sql());
    second_server().run("restart");
    static_cast<void>(b.second->try_execute("select 1"_sql()));
    CHECK_NOTHROW(open());
}

TEST_CASE("connections that break at any step: the effect that is told is the truth", "[postgres][two_phase]") {
    if (!are_there()) return;
    const in_time guard;
    two_banks b;
    enum class fault { cut, cut_and_refuse, lose_answer };
    struct point {
        two_phase_step step = two_phase_step::ended;
        std::size_t participant = 0;
        bool done = false;
        fault what = fault::cut;
    } now;
    int struck = 0;
    strata::transaction_coordinator coordinator{
        {.name = "test-cut", .log = b.log(), .on_step = [&](two_phase_step s, std::size_t i, bool done) {
             if (s != now.step || i != now.participant || done != now.done) return;
             ++struck;
             if (now.what == fault::lose_answer) return b.proxy.cut_after(way::to_client, 0);
             b.proxy.cut();
             if (now.what == fault::cut_and_refuse) b.proxy.refuse(true);
         }}};
    strata::distributed_transaction t{coordinator, *b.first, *b.second};
    using enum two_phase_step;
    int points = 0, committed = 0, rolled_back = 0, pending = 0;
    std::int64_t id = 0;
    std::vector<std::int64_t> there;
    for (const two_phase_step step : {begin, work, ask, prepare, decide, commit_prepared, forget}) {
        for (std::size_t participant = 0; participant < 2; ++participant) {
            if (participant == 1 && (step == work || step == decide || step == forget)) continue;
            for (const bool done : {false, true}) {
                for (const fault what : {fault::cut, fault::cut_and_refuse, fault::lose_answer}) {
                    ++points;
                    ++id;
                    now = {step, participant, done, what};
                    INFO(to_string(step) << " of " << participant << (done ? " done" : " to be done") << ", fault "
                                         << static_cast<int>(what));
                    const strata::result<void> r = transfer(t, id, id, {.finish_within = 300ms});
                    now = {};
                    b.proxy.do_not_cut();
                    b.proxy.refuse(false);
                    const strata::error e = r ? strata::error{} : r.error();
                    INFO(e.to_string());
                    if (!r) {
                        CHECK(e.effect() != effect::unknown);  // a coordinator that lives always knows
                        CHECK((e.effect() == effect::applied) == (e.code() == errc::commit_pending));
                    }
                    pending += e.code() == errc::commit_pending ? 1 : 0;
                    CHECK(comes_true([&] { return t.recover().complete() && b.prepared() == 0; }, 10s));
                    CHECK(coordinator.pending().empty());
                    if (!r && e.effect() != effect::applied) {
                        ++rolled_back;
                    } else {
                        ++committed;
                        there.push_back(id);
                    }
                    CHECK(b.booked(*b.first) == there);
                    CHECK(b.booked(*b.second) == there);
                }
            }
        }
    }
    CHECK(struck == points);
    CHECK(committed > 5);
    CHECK(rolled_back > 5);
    CHECK(pending > 1);
    CHECK(coordinator.heuristics().empty());
    CHECK(b.sum() == 2 * accounts * 100);
}

TEST_CASE("what somebody ends by hand is told, kept and acknowledged", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    int told = 0;
    two_phase_step at = two_phase_step::commit_prepared;
    const auto by_hand = [&](const char* how) {
        strata::postgres_connection c;
        REQUIRE(!c.open(b.second_direct));
        for (const std::string& id : b.second->all<std::string>("select gid from pg_prepared_xacts where gid like 'strata:test-%'"_sql()))
            CHECK(!c.control(how + (" prepared '" + id + "'")));
    };
    const char* how = "rollback";
    strata::transaction_coordinator coordinator{{.name = "test-hand",
                                                 .log = b.log(),
                                                 .on_heuristic = [&](const strata::heuristic_outcome&) { ++told; },
                                                 .on_step =
                                                     [&](two_phase_step s, std::size_t i, bool done) {
                                                         if (s == at && i == 1 && !done) by_hand(how);
                                                     }}};
    strata::distributed_transaction t{coordinator, *b.first, *b.second};
    const strata::error e = transfer(t, 1, 10).error();
    CHECK(e.code() == errc::heuristic_outcome);
    CHECK(e.effect() == effect::applied);
    CHECK_THAT(e.message(), contains_text("rolled back by hand"));
    CHECK(told == 1);
    REQUIRE(coordinator.heuristics().size() == 1);
    CHECK(coordinator.heuristics()[0].branch.branch == 1);
    CHECK_FALSE(coordinator.heuristics()[0].committed);
    CHECK(coordinator.pending().empty());

    // As decided, though by hand: nobody needs to know.
    how = "commit";
    CHECK(transfer(t, 2, 10));
    CHECK(told == 1);
    CHECK(t.recover().complete());
    CHECK(b.booked(*b.first) == std::vector<std::int64_t>{1, 2});
    CHECK(b.booked(*b.second) == std::vector<std::int64_t>{2});
    coordinator.acknowledge_heuristics();
    CHECK(coordinator.heuristics().empty());
}

TEST_CASE("recovery touches its own coordinator's branches only, and none that is on its way", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    // Of somebody else, and of another log of the same name.
    const auto leave = [&](const std::string& id) {
        strata::postgres_connection c;
        REQUIRE(!c.open(b.second_direct));
        REQUIRE(!c.control("begin"));
        REQUIRE(!c.control("create table of_" + std::to_string(std::hash<std::string>{}(id) % 100000) + " (n int)"));
        REQUIRE(!c.control("prepare transaction '" + id + "'"));
    };
    const std::string foreign = "foreign-" + std::to_string(::getpid()), other = "strata:test-own:0123456789abcdef:1.1.0";
    leave(foreign);
    leave(other);

    strata::distributed_transaction<bank_database, bank_database>* recovering = nullptr;
    std::size_t ended = 0, calls = 0;
    std::vector<strata::in_doubt_transaction> seen;
    strata::transaction_coordinator coordinator{{.name = "test-own", .log = b.log(), .on_step = [&](two_phase_step s, std::size_t, bool) {
                                                     if (s < two_phase_step::prepare) return;
                                                     const auto report = recovering->recover();  // at every moment of a transaction
                                                     ended +=
                                                         report.committed + report.rolled_back + report.remaining + report.errors.size();
                                                     ++calls;
                                                     if (s == two_phase_step::decide) seen = recovering->in_doubt();
                                                 }}};
    strata::distributed_transaction t{coordinator, *b.first, *b.second};
    recovering = &t;
    CHECK(transfer(t, 1, 10));
    CHECK(calls > 8);
    CHECK(ended == 0);

    using kind = strata::in_doubt_transaction::kind;
    const auto count = [&](kind k) { return std::count_if(seen.begin(), seen.end(), [&](const auto& s) { return s.what == k; }); };
    CHECK(count(kind::in_flight) == 2);
    CHECK(count(kind::other_coordinator) == 1);
    CHECK(count(kind::foreign) >= 1);
    for (const auto& s : seen) {
        CHECK(s.age >= 0s);
        CHECK(s.age < 60s);
        CHECK_FALSE(s.owner.empty());
        CHECK((s.id == foreign) == (s.what == kind::foreign && s.database == 1));
    }
    const auto left = b.second->all<std::string>("select gid from pg_prepared_xacts where gid in (:a, :b) order by 1"_sql(foreign, other));
    CHECK(left == std::vector<std::string>{foreign, other});
    strata::postgres_connection c;
    REQUIRE(!c.open(b.second_direct));
    for (const std::string& id : left) CHECK(!c.control("rollback prepared '" + id + "'"));
}

// ------------------------------------------------------------------------------------------------------- the killed

namespace {

std::string variable(const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr ? value : "";
}

constexpr two_phase_step deadly[] = {two_phase_step::begin,   two_phase_step::work,          two_phase_step::ask,
                                     two_phase_step::prepare, two_phase_step::decide,        two_phase_step::commit_prepared,
                                     two_phase_step::forget,  two_phase_step::note_decision, two_phase_step::commit};
constexpr int all_moments = static_cast<int>(std::size(deadly)) * 2 * 2;  // of either participant, before and after
constexpr int moments = all_moments - 2 * 4;                              // without those of a last resource

/// This program once more, as a coordinator that will not live long.
::pid_t start_child(const char* kind, const std::vector<std::pair<std::string, std::string>>& variables) {
    const ::pid_t child = ::fork();
    if (child != 0) return child;
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    const int nowhere = ::open("/dev/null", O_RDWR);
    ::dup2(nowhere, 1);
    ::execl("/proc/self/exe", "test", kind, static_cast<char*>(nullptr));
    ::_exit(99);
}

}  // namespace

namespace {

/// What a child does to a bank and the second server's until it kills itself, or is killed.
template <class First>
void transfer_until_killed(First& first) {
    const int die_at = std::stoi(variable("STRATA_TEST_TWO_PHASE_DIE_AT"));
    const std::int64_t first_id = std::stoll(variable("STRATA_TEST_TWO_PHASE_ID"));
    const std::string acknowledged = variable("STRATA_TEST_TWO_PHASE_LOG") + ".acknowledged";
    std::atomic<int> until{static_cast<int>(first_id / 1000 % 7)};  // the first time, or a later one
    bank_database second{strata::postgres_options{.connection = variable("STRATA_TEST_TWO_PHASE_SECOND")}, two_banks::pool()};
    strata::transaction_coordinator coordinator{
        {.name = "test-kill", .log = variable("STRATA_TEST_TWO_PHASE_LOG"), .on_step = [&](two_phase_step s, std::size_t i, bool done) {
             if (die_at < 0 || s != deadly[die_at / 4] || done != (die_at % 2 == 1)) return;
             const bool both = s == two_phase_step::begin || s == two_phase_step::ask || s == two_phase_step::prepare ||
                               s == two_phase_step::commit_prepared;
             if (both && i != static_cast<std::size_t>(die_at / 2 % 2)) return;
             if (until-- == 0) ::kill(::getpid(), SIGKILL);
         }}};
    strata::distributed_transaction t{coordinator, first, second};
    static_cast<void>(t.recover());
    const int out = ::open(acknowledged.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    std::vector<std::thread> threads;
    std::atomic<std::int64_t> next{first_id};
    for (int n = 0; n < 3; ++n)
        threads.emplace_back([&] {
            while (next < first_id + 999) {
                const std::int64_t id = next++;
                if (!transfer(t, id, id % 90 - 45)) continue;
                const std::string line = std::to_string(id) + "\n";
                static_cast<void>(!::write(out, line.data(), line.size()));
            }
        });
    for (std::thread& thread : threads) thread.join();
}

/// Kills children until enough have died, at each of these moments and at any, and sees after what they leave.
template <class First>
void kill_coordinators(two_banks& b, First& first, const std::string& where_first, int rounds, const std::vector<int>& points) {
    const std::string name = victim("two-phase");
    const auto gone = [&](bank_database& db) {
        return db.one<bool>("select not exists (select from pg_stat_activity where application_name = :name)"_sql(name));
    };
    const strata::decision_log fresh{b.log() + ".fresh", "test-kill"};
    std::mt19937 random{static_cast<unsigned>(Catch::rngSeed())};
    std::size_t acknowledged = 0, recovered = 0, by_committing = 0;
    for (int round = 0; round < rounds; ++round) {
        const std::size_t point = static_cast<std::size_t>(round) % (points.size() + 1);
        const int die_at = point < points.size() ? points[point] : -1;
        const std::int64_t id = (round + 1) * std::int64_t{1000};
        INFO("round " << round << ", moment " << die_at);
        const std::string second = way_to(second_server().url(), setting_of(second_server().url(), "port"), b.schema, name).connection;
        const char* const kind = std::is_same_v<First, bank_database> ? "[.two_phase_child]" : "[.two_phase_file_child]";
        const ::pid_t child = start_child(kind, {{"STRATA_TEST_TWO_PHASE_DIE_AT", std::to_string(die_at)},
                                                 {"STRATA_TEST_TWO_PHASE_ID", std::to_string(id)},
                                                 {"STRATA_TEST_TWO_PHASE_LOG", b.log()},
                                                 {"STRATA_TEST_TWO_PHASE_FIRST", where_first},
                                                 {"STRATA_TEST_TWO_PHASE_SECOND", second}});
        REQUIRE(child > 0);
        if (die_at < 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds{50 + random() % 250});
            ::kill(child, SIGKILL);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        REQUIRE(WTERMSIG(status) == SIGKILL);

        if (round % 3 == 2 && round + 1 < rounds) continue;  // the next one recovers
        strata::transaction_coordinator coordinator{{.name = "test-kill", .log = b.log()}};
        strata::distributed_transaction t{coordinator, first, *b.second};
        const strata::recovery_report early = t.recover();
        CHECK(comes_true([&] { return gone(*b.first) && gone(*b.second); }));  // servers notice the end of a client when they next look
        const strata::recovery_report report = t.recover();
        for (const strata::error& e : report.errors) INFO(e.to_string());
        CHECK(report.complete());
        recovered += early.committed + early.rolled_back + report.committed + report.rolled_back;
        by_committing += early.committed + report.committed;
        CHECK(b.prepared() == 0);
        CHECK(coordinator.pending().empty());
        CHECK(coordinator.log().size() == fresh.size());
        CHECK(coordinator.heuristics().empty());
        CHECK(sum_of(first) + sum_of(*b.second) == 2 * accounts * 100);
        const auto there = first.template all<std::int64_t>(transfers());
        CHECK(there == b.booked(*b.second));
        std::ifstream in{b.log() + ".acknowledged"};
        acknowledged = 0;
        for (std::int64_t a = 0; in >> a; ++acknowledged) {
            INFO("transfer " << a << " was acknowledged");
            CHECK(std::binary_search(there.begin(), there.end(), a));
        }
    }
    CHECK(acknowledged > static_cast<std::size_t>(rounds));
    CHECK(recovered > 5);
    CHECK(by_committing > 2);
    WARN(rounds << " coordinators killed: " << acknowledged << " transfers acknowledged, " << recovered << " branches ended by recovery, "
                << by_committing << " of them committed");
}

}  // namespace

TEST_CASE("a coordinator that will not live long", "[.two_phase_child]") {
    bank_database first{strata::postgres_options{.connection = variable("STRATA_TEST_TWO_PHASE_FIRST")}, two_banks::pool()};
    transfer_until_killed(first);
}

TEST_CASE("a coordinator with a file that will not live long", "[.two_phase_file_child]") {
    file_database first{strata::sqlite_options{.path = variable("STRATA_TEST_TWO_PHASE_FIRST")}};
    transfer_until_killed(first);
}

TEST_CASE("transfers whose coordinator is killed at every step lose nothing and leave nothing", "[postgres][two_phase][kill]") {
    if (!are_there()) return;
    two_banks b;
    std::vector<int> points(moments);
    std::iota(points.begin(), points.end(), 0);
    kill_coordinators(b, *b.first,
                      way_to(server_url(), setting_of(server_url(), "port"), b.first_schema.schema(), victim("two-phase")).connection,
                      count(60, 200), points);
}

TEST_CASE("the same where an SQLite file decides", "[postgres][two_phase][kill]") {
    if (!are_there()) return;
    two_banks b;
    const std::string path = b.folder + "/bank.db";
    file_database file{strata::sqlite_options{.path = path}};
    fill_file(file);
    std::vector<int> points;  // of the server, the second participant, and of the file's decision
    for (int m = 0; m < all_moments; ++m) {
        const two_phase_step s = deadly[m / 4];
        const bool of_server = m / 2 % 2 == 1, of_file = s == two_phase_step::note_decision || s == two_phase_step::commit;
        if (s != two_phase_step::decide && (of_file ? m / 2 % 2 == 0 : of_server)) points.push_back(m);
    }
    kill_coordinators(b, file, path, count(30, 100), points);
}

TEST_CASE("an SQLite file as the last resource of a server's transaction", "[postgres][two_phase]") {
    if (!are_there()) return;
    two_banks b;
    file_database file{strata::sqlite_options{.path = b.folder + "/bank.db"}};
    fill_file(file);
    const auto booked = [&] { return file.all<std::int64_t>(transfers()); };

    two_phase_step break_at = two_phase_step::ended;
    bool done = false;
    strata::transaction_coordinator coordinator{
        {.name = "test-last", .log = b.log(), .on_step = [&](two_phase_step s, std::size_t, bool d) {
             if (s != break_at || d != done) return;
             b.proxy.cut();
             b.proxy.refuse(true);
         }}};
    strata::distributed_transaction t{coordinator, *b.second, file};
    std::vector<std::int64_t> there;
    using enum two_phase_step;
    std::int64_t id = 0;
    for (const two_phase_step step : {ended, prepare, note_decision, commit, commit_prepared, forget}) {
        for (const bool when : {false, true}) {
            break_at = step;
            done = when;
            INFO(to_string(step) << (when ? " done" : ""));
            const strata::result<void> r = transfer(t, ++id, 10, {.finish_within = 300ms});
            break_at = ended;
            b.proxy.refuse(false);
            const bool committed = r || r.error().effect() == effect::applied;
            if (!r) INFO(r.error().to_string());
            CHECK(committed == (step != prepare || when));
            if (committed) there.push_back(id);
            CHECK(booked() == there);
            CHECK(comes_true([&] { return t.recover().complete() && b.prepared() == 0; }, 10s));
            CHECK(b.booked(*b.second) == there);
        }
    }
    CHECK(coordinator.pending().empty());  // its log was not asked to decide anything
    CHECK(file.one<std::int64_t>("select count(*) from strata_decision where id like 'strata:%'"_sql()) == 0);

    // Without the file nothing is known: what it may have decided is left alone.
    break_at = commit_prepared;
    done = false;
    CHECK(transfer(t, ++id, 10, {.finish_within = 300ms}).error().code() == errc::commit_pending);
    break_at = ended;
    b.proxy.refuse(false);
    strata::distributed_transaction without{coordinator, *b.second};
    const strata::recovery_report report = without.recover();
    CHECK(report.remaining == 1);
    CHECK(b.prepared() == 1);
    CHECK(t.recover().complete());
    there.push_back(id);
    CHECK(b.booked(*b.second) == there);
}
