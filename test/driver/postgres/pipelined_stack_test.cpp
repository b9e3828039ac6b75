// Shared connections beside what else a stack and a program do: a fork, other options, independent work, what is kept apart, age.
#include "pipelined_fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/independent.hpp>
#include <strata/policy/metrics.hpp>

#include <boost/asio/io_context.hpp>

#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <sys/wait.h>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using db1 = strata::database<shared_stack<1>>;

}  // namespace

TEST_CASE("a forked child leaves the shared connections to its parent", "[postgres][pipelined][fork]") {
    server in;
    db1 db{in.options(), server::one()};
    const int shared = db.one<int>(shared_backend());
    const pid_t child = ::fork();
    if (child == 0) {
        const auto r = db.try_one<int>(shared_backend(), {.deadline = 5s});
        db.source().retire_all();
        ::_exit(!r && r.error().code() == errc::misuse && r.error().message().find("forked") != std::string::npos ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    CHECK(db.one<int>(shared_backend()) == shared);
    CHECK(db.source().shared_snapshot().lost == 0);
}

TEST_CASE("shared connections cannot be turned to options that they cannot have", "[postgres][pipelined][options]") {
    server in;
    db1 db{in.options(), server::one()};
    const int shared = db.one<int>(shared_backend());
    strata::postgres_options o = in.options();
    o.prepare = false;
    const strata::error e = db.source().rotate(o);
    CHECK(e.code() == errc::invalid_argument);
    CHECK_THAT(e.message(), contains_text("postgres_options.prepare"));
    CHECK(db.one<int>(shared_backend()) == shared);
}

TEST_CASE("independent work does not share", "[postgres][pipelined][independent]") {
    server in;
    db1 db{in.options(), strata::pool_options{.min_size = 1, .max_size = 1, .reserved = 1}};
    const int shared = db.one<int>(shared_backend());
    db.transaction([&](auto& tx) {
        const int here = tx.template one<int>(shared_backend());
        const int beside = db.independent().template one<int>(shared_backend());
        CHECK(beside != here);
        CHECK(beside != shared);
        int streamed = 0;
        for (const int pid : db.independent().template rows<int>(shared_backend())) streamed = pid;
        CHECK(streamed == beside);
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        int later = 0;
        adb.independent().template async_one<int>(shared_backend(), [&](std::exception_ptr p, int pid) {
            CHECK(p == nullptr);
            later = pid;
        });
        io.run();
        CHECK(later == beside);
    });
}

TEST_CASE("select into does not share, for it may make a temporary table", "[postgres][pipelined]") {
    server in;
    db1 db{in.options(), server::one()};
    db.execute("select 1 as n into temp mine"_sql());
    CHECK(db.try_one<int>("select n from mine"_sql()).error().code() == errc::undefined_object);
    const int shared = db.one<int>(shared_backend());
    db.execute("create table backend (pid int)"_sql());
    CHECK(db.one<int>("with made as (insert into backend values (pg_backend_pid()) returning pid) select pid from made"_sql()) == shared);
}

TEST_CASE("reads that share a transaction are in no deadlock that they would not be in alone", "[postgres][pipelined][deadlock]") {
    server in;
    strata::postgres_options o = in.options();
    o.connection += "%20-cdeadlock_timeout%3D300";  // they find out first
    db1 db{o, strata::pipelined_options{.slow = {}}, server::one()};
    strata::database<plain_stack> other{in.options(), server::one()};
    other.execute("create table first (n int)"_sql());
    other.execute("create table second (n int)"_sql());
    other.execute("insert into first values (1)"_sql());
    other.execute("insert into second values (2)"_sql());
    constexpr auto of_first = "select n from first"_sql, of_second = "select n from second"_sql;
    CHECK(db.one<int>(of_first()) + db.one<int>(of_second()) == 3);  // prepared from now on

    auto tx = other.begin();
    tx.execute("lock table second in access exclusive mode"_sql());
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    std::vector<ending> got(3);
    const auto note = [](ending& e) {
        return [&e](std::exception_ptr p, int n) {
            ++e.times;
            if (p) e.fail(p);
            e.value = std::to_string(n);
        };
    };
    adb.async_one<int>(of_first(), note(got[0]));
    adb.async_one<int>(of_second(), note(got[1]));
    adb.async_one<int>(of_first(), note(got[2]));
    std::thread loop([&] { io.run(); });
    const auto waiting =
        "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and query like 'select n from second%'"_sql;
    while (in.admin().one<int>(waiting()) == 0) std::this_thread::yield();
    tx.execute("lock table first in access exclusive mode"_sql());
    tx.commit();
    loop.join();
    const std::string expected[] = {"1", "2", "1"};
    for (std::size_t i = 0; i < 3; ++i) {
        INFO(i << ": " << got[i]);
        CHECK(got[i].times == 1);
        CHECK(got[i].code == errc::ok);
        CHECK(got[i].value == expected[i]);
    }
}

namespace {

/// Which connections a statement and one beside it were on, both begun in one turn.
struct both {
    ending first, beside;
};
template <class Statement>
both beside_each_other(db1& db, const Statement& first, const strata::call_options& o = {}) {
    both got;
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    const auto note = [](ending& e) {
        return [&e](std::exception_ptr p, int pid) {
            ++e.times;
            if (p) e.fail(p);
            e.value = std::to_string(pid);
        };
    };
    adb.template async_one<int>(first(), o, note(got.first));
    adb.template async_one<int>(shared_backend(), note(got.beside));
    io.run();
    CHECK(got.first.times == 1);
    CHECK(got.beside.code == errc::ok);
    return got;
}
template <class Statement>
bool is_apart(db1& db, const Statement& s) {
    return db.source().shared().keeps_apart(s().text().hash.low);
}

constexpr auto sleeper = "select pg_backend_pid() from pg_sleep(0.05)"_sql.idempotent();
constexpr strata::duration apart_for = STRATA_TEST_SANITIZED ? 3s : 1s;

}  // namespace

TEST_CASE("what keeps others waiting moves to the pool, and is tried again", "[postgres][pipelined][apart]") {
    server in;
    db1 db{in.options(), strata::pipelined_options{.slow = 20ms, .apart_for = apart_for}, server::one()};
    const std::string shared = std::to_string(db.one<int>(shared_backend()));
    CHECK(db.one<int>(sleeper()) == std::stoi(shared));
    for (int i = 0; i < 5; ++i) CHECK(db.one<int>(sleeper()) == std::stoi(shared));  // nobody waits for it
    for (int i = 0; i < 2; ++i) {
        const both now = beside_each_other(db, sleeper);
        CHECK(now.first.value == shared);
        CHECK(now.beside.value == shared);
    }
    const auto moved = std::chrono::steady_clock::now();
    CHECK(is_apart(db, sleeper));
    CHECK_FALSE(is_apart(db, shared_backend));
    const both apart = beside_each_other(db, sleeper);
    CHECK(apart.first.code == errc::ok);
    CHECK(apart.first.value != shared);
    CHECK(apart.beside.value == shared);
    std::this_thread::sleep_until(moved + apart_for + 50ms);
    CHECK(beside_each_other(db, sleeper).first.value == shared);  // once more, and it goes for twice as long
    const auto again = std::chrono::steady_clock::now();
    CHECK(is_apart(db, sleeper));
    std::this_thread::sleep_until(again + apart_for + 50ms);
    CHECK(is_apart(db, sleeper));
    std::this_thread::sleep_until(again + 2 * apart_for + 50ms);
    CHECK_FALSE(is_apart(db, sleeper));
    CHECK(db.source().shared_snapshot().lost == 0);
}

TEST_CASE("what keeps others waiting moves also when its own callers do not wait for it", "[postgres][pipelined][apart]") {
    server in;
    db1 db{in.options(), strata::pipelined_options{.slow = 20ms, .apart_for = 1min}, server::one()};
    static_cast<void>(db.one<int>(shared_backend()));
    static_cast<void>(db.one<int>(sleeper()));
    for (int i = 0; i < 2; ++i) {
        CHECK_FALSE(is_apart(db, sleeper));
        CHECK(beside_each_other(db, sleeper, {.deadline = 10ms}).first.code == errc::timeout);
    }
    CHECK(is_apart(db, sleeper));
    CHECK_FALSE(is_apart(db, shared_backend));
}

TEST_CASE("what brings much moves to the pool at once, and is tried again", "[postgres][pipelined][apart]") {
    server in;
    db1 db{in.options(), strata::pipelined_options{.slow = {}, .apart_for = apart_for}, server::one()};
    constexpr auto big = "select owner from account where id = :id"_sql;
    db.execute("create table account (id int, owner text)"_sql());
    db.execute("insert into account values (1, repeat('x', 400000)), (2, 'short')"_sql());
    CHECK(db.one<std::string>(big(2)) == "short");
    CHECK_FALSE(is_apart(db, [=] { return big(2); }));
    const auto before = std::chrono::steady_clock::now();
    CHECK(db.one<std::string>(big(1)).size() == 400'000);
    CHECK(is_apart(db, [=] { return big(2); }));
    CHECK(db.one<std::string>(big(2)) == "short");
    CHECK(db.one<std::string>(big(1)).size() == 400'000);  // there nobody judges it
    std::this_thread::sleep_until(before + apart_for + 100ms);
    CHECK_FALSE(is_apart(db, [=] { return big(2); }));
    CHECK(db.one<std::string>(big(2)) == "short");
}

TEST_CASE("shared connections end by their age, and nobody notices", "[postgres][pipelined][lifetime]") {
    server in;
    strata::database<shared_stack<2>> db{
        in.options(), strata::pipelined_options{.slow = {}},
        strata::pool_options{.min_size = 1, .max_size = 2, .max_lifetime = 300ms, .lifetime_jitter = 0.5, .check_interval = 50ms}};
    std::set<int> pids;
    std::mutex guard;
    std::vector<std::thread> crowd;
    const auto end = std::chrono::steady_clock::now() + 1500ms;
    for (int t = 0; t < 3; ++t)
        crowd.emplace_back([&] {
            while (std::chrono::steady_clock::now() < end) {
                const auto pid = db.try_one<int>(shared_backend(), {.deadline = 10s});
                const std::lock_guard hold(guard);
                CHECK(pid.has_value());
                if (pid) pids.insert(*pid);
            }
        });
    for (std::thread& t : crowd) t.join();
    CHECK(pids.size() >= 6);
    CHECK(db.source().shared_snapshot().lost == 0);
    CHECK(db.source().shared_snapshot().open <= 2);
}
