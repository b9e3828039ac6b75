#include "fixture.hpp"

#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

using namespace strata;
using namespace std::chrono_literals;
using strata_test::contains_text;
using strata_test::endless;
using strata_test::failing;
using strata_test::run;
using strata_test::scalar;
using strata_test::temp_folder;

namespace {

/// Runs a statement on the native handle, where it can be interrupted.
error interrupted(sqlite_connection& c, std::string_view sql) {
    const int code = ::sqlite3_exec(c.native_handle(), std::string{sql}.c_str(), nullptr, nullptr, nullptr);
    REQUIRE(code != SQLITE_OK);
    return c.error_of(code);
}

}  // namespace

TEST_CASE("a connection knows how long it has waited for locks, and tells its pool's planner", "[sqlite][locks]") {
    const temp_folder folder;
    const std::string path = folder.file("a.db");
    sqlite_connection a;
    sqlite_connection b;
    strata_test::open(a, {.path = path});
    strata_test::open(b, {.path = path, .busy_timeout = 60ms});
    CHECK(a.waited_for_locks() == 0ms);
    for (int i = 1; i <= 2; ++i) {
        run(a, "begin immediate");
        const time_point start = clock::now();
        const duration before = b.waited_for_locks();
        CHECK(failing(b, "begin immediate").code() == errc::busy);
        const duration waited = b.waited_for_locks() - before;
        CHECK(waited >= 50ms);
        CHECK(waited <= clock::now() - start);
        run(a, "rollback");
        run(b, "begin immediate");
        run(b, "commit");
        CHECK(b.waited_for_locks() - before == waited);  // it had not to wait
    }
    CHECK(a.waited_for_locks() == 0ms);

    struct recorder final : pool_planner {
        pool_plan plan(const pool_usage& u, moment) noexcept override {
            locked += u.locked.count();
            besides += u.besides;
            return {.ask_again = 300ms};
        }
        [[nodiscard]] duration look_every() const noexcept override { return 1ms; }
        [[nodiscard]] duration ask_for_locks_every() const noexcept override { return 1ms; }
        std::atomic<duration::rep> locked{0};
        std::atomic<std::size_t> besides{0};
    };
    const auto planner = std::make_shared<recorder>();
    database<stack<pool<>, sqlite>> db{sqlite_options{.path = path, .busy_timeout = 60ms}, pool_options{.max_size = 3, .planner = planner}};
    std::this_thread::sleep_for(20ms);
    run(a, "begin immediate");
    const time_point start = clock::now();
    CHECK(db.try_execute(statement{"create table t (id int)"}).error().code() == errc::busy);
    const duration waited = clock::now() - start;
    run(a, "rollback");
    for (int i = 0; i < 5'000 && planner->locked < duration{40ms}.count(); ++i) std::this_thread::sleep_for(1ms);
    CHECK(planner->locked >= duration{40ms}.count());  // a round may end in between
    CHECK(planner->locked <= waited.count());
    CHECK(planner->besides == 0);  // a file is asked for nothing
}

TEST_CASE("a connection waits for a lock as long as busy_timeout says", "[sqlite][busy]") {
    const temp_folder folder;
    sqlite_connection a;
    sqlite_connection b;
    strata_test::open(a, {.path = folder.file("a.db")});
    strata_test::open(b, {.path = folder.file("a.db"), .busy_timeout = 60ms});
    run(a, "begin immediate");

    SECTION("and then says busy") {
        const time_point start = clock::now();
        const error e = failing(b, "begin immediate");
        const duration waited = clock::now() - start;
        CHECK(e.code() == errc::busy);
        CHECK(e.effect() == effect::none);
        CHECK(e.health() == health::good);
        CHECK_FALSE(e.texts().hint.empty());
        CHECK(waited >= 60ms);
        CHECK(waited < 5s);
    }
    SECTION("and goes on when the lock is released in time") {
        b.close();
        strata_test::open(b, {.path = folder.file("a.db"), .busy_timeout = 20s});
        std::thread other{[&] {
            std::this_thread::sleep_for(50ms);
            static_cast<void>(a.control("commit"));
        }};
        const error e = b.control("begin immediate");
        other.join();
        CHECK_FALSE(e);
    }
    SECTION("but not beyond its deadline") {
        b.close();
        strata_test::open(b, {.path = folder.file("a.db"), .busy_timeout = 60s});
        interruption i;
        i.deadline = clock::now() + 40ms;
        b.guard(&i);
        const error e = failing(b, "begin immediate");
        CHECK(e.code() == errc::timeout);
        CHECK(e.texts().native_code == std::to_string(SQLITE_BUSY));
        CHECK(clock::now() >= i.deadline);
        CHECK(clock::now() < i.deadline + 5s);
        b.guard(nullptr);
    }
    SECTION("and not when it is cancelled") {
        b.close();
        strata_test::open(b, {.path = folder.file("a.db"), .busy_timeout = 60s});
        interruption i;
        b.guard(&i);
        std::thread other{[&] {
            std::this_thread::sleep_for(30ms);
            i.cancelled.store(true);
        }};
        const error e = b.control("begin immediate");
        other.join();
        CHECK(e.code() == errc::cancelled);
        b.guard(nullptr);
    }
    SECTION("or not at all") {
        b.close();
        strata_test::open(b, {.path = folder.file("a.db"), .busy_timeout = 0ns});
        CHECK(failing(b, "begin immediate").code() == errc::busy);
    }
    SECTION("a later failure is not blamed on an earlier deadline") {
        interruption i;
        i.deadline = clock::now();
        b.guard(&i);
        CHECK(failing(b, "begin immediate").code() == errc::timeout);
        b.guard(nullptr);
        CHECK(failing(b, "begin immediate").code() == errc::busy);
    }
}

TEST_CASE("another process holds the lock", "[sqlite][busy]") {
    const temp_folder folder;
    const std::string path = folder.file("a.db");
    {
        sqlite_connection c;
        strata_test::open(c, {.path = path});
    }
    int locked[2];
    int leave[2];
    REQUIRE(::pipe(locked) == 0);
    REQUIRE(::pipe(leave) == 0);
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        char byte = 0;
        sqlite_connection c;
        if (!c.open({.path = path}) && !c.control("begin immediate")) byte = 1;
        const bool told = ::write(locked[1], &byte, 1) == 1 && ::read(leave[0], &byte, 1) == 1;
        ::_exit(told ? 0 : 1);
    }
    char byte = 0;
    REQUIRE(::read(locked[0], &byte, 1) == 1);
    REQUIRE(byte == 1);
    sqlite_connection c;
    strata_test::open(c, {.path = path, .busy_timeout = 30ms});
    CHECK(c.control("begin immediate").code() == errc::busy);
    REQUIRE(::write(leave[1], &byte, 1) == 1);
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    for (const int fd : {locked[0], locked[1], leave[0], leave[1]}) ::close(fd);
    run(c, "begin immediate");
}

TEST_CASE("contention that waiting does not heal is told apart", "[sqlite][busy]") {
    const temp_folder folder;
    sqlite_connection a;
    sqlite_connection b;

    SECTION("an old snapshot cannot write") {
        strata_test::open(a, {.path = folder.file("a.db")});
        strata_test::open(b, {.path = folder.file("a.db")});
        run(a, "create table t(a)");
        run(b, "begin");
        CHECK(scalar(b, "select count(*) from t") == "0");
        run(a, "insert into t values (1)");
        const error e = failing(b, "insert into t values (2)");
        CHECK(e.code() == errc::busy_snapshot);
        CHECK(e.effect() == effect::none);
        CHECK_THAT(e.texts().hint, contains_text("IMMEDIATE"));
        CHECK(b.in_transaction());
    }
    SECTION("a statement of the same connection is still running") {
        strata_test::open(a, {.path = folder.file("a.db")});
        run(a, "create table t(a)");
        run(a, "insert into t values (1), (2)");
        ::sqlite3_stmt* reading = nullptr;
        REQUIRE(::sqlite3_prepare_v2(a.native_handle(), "select a from t", -1, &reading, nullptr) == SQLITE_OK);
        REQUIRE(::sqlite3_step(reading) == SQLITE_ROW);
        CHECK(failing(a, "drop table t").code() == errc::locked);
        ::sqlite3_finalize(reading);
        run(a, "drop table t");
    }
    SECTION("a table of a shared cache") {
        strata_test::open(a, {.path = "file:strata_cache?mode=memory&cache=shared"});
        strata_test::open(b, {.path = "file:strata_cache?mode=memory&cache=shared"});
        run(a, "create table t(a)");
        run(a, "begin");
        run(a, "insert into t values (1)");
        const error e = failing(b, "select * from t");
        CHECK(e.code() == errc::locked);
        CHECK(e.texts().native_code == std::to_string(SQLITE_LOCKED_SHAREDCACHE));
    }
}

TEST_CASE("a running statement ends at its deadline or when it is cancelled", "[sqlite][interrupt]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    interruption i;

    SECTION("deadline") {
        i.deadline = clock::now() + 30ms;
        c.guard(&i);
        const error e = interrupted(c, endless);
        CHECK(e.code() == errc::timeout);
        CHECK(e.health() == health::good);
        CHECK(clock::now() >= i.deadline);
    }
    SECTION("cancelled from another thread") {
        c.guard(&i);
        std::thread other{[&] {
            std::this_thread::sleep_for(20ms);
            i.cancelled.store(true);
        }};
        const error e = interrupted(c, endless);
        other.join();
        CHECK(e.code() == errc::cancelled);
    }
    SECTION("what the user's own sqlite3_interrupt ends is cancelled, whatever ended an earlier call") {
        i.deadline = clock::now();
        c.guard(&i);
        CHECK(interrupted(c, endless).code() == errc::timeout);
        i.deadline = never;
        std::thread other{[&] {
            std::this_thread::sleep_for(20ms);
            ::sqlite3_interrupt(c.native_handle());
        }};
        const error e = interrupted(c, endless);
        other.join();
        CHECK(e.code() == errc::cancelled);
    }
    c.guard(nullptr);
    run(c, "select 1");
}

TEST_CASE("COMMIT is not interrupted", "[sqlite][interrupt]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a)");
    interruption i;
    i.deadline = clock::now();
    i.cancelled.store(true);
    for (int n = 0; n < 2000; ++n) {  // the handler is asked every thousand steps, however they are spread
        run(c, "begin");
        c.guard(&i);
        const error e = c.control("commit");
        c.guard(nullptr);
        REQUIRE_FALSE(e);
    }
}

TEST_CASE("tidy leaves no transaction and no guard", "[sqlite][connection]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a)");
    CHECK(c.tidy() == health::good);
    interruption i;
    i.cancelled.store(true);
    c.guard(&i);
    run(c, "begin");
    run(c, "savepoint s");
    run(c, "insert into t values (1)");
    CHECK(c.in_transaction());
    CHECK(c.tidy() == health::good);
    CHECK_FALSE(c.in_transaction());
    CHECK(c.guard() == nullptr);
    CHECK(scalar(c, "select count(*) from t") == "0");
    c.close();
    CHECK(c.tidy() == health::lost);
    c.close();
}

TEST_CASE("the roles of connections", "[sqlite][connection]") {
    const temp_folder folder;
    sqlite_connection writer;
    sqlite_connection reader;
    strata_test::open(writer, {.path = folder.file("a.db")}, connection_role::writer);
    strata_test::open(reader, {.path = folder.file("a.db")}, connection_role::reader);
    run(writer, "create table t(a)");
    run(writer, "insert into t values (7)");
    CHECK(scalar(reader, "select a from t") == "7");
    CHECK(failing(reader, "insert into t values (8)").code() == errc::read_only);
    run(writer, "begin immediate");
    run(writer, "insert into t values (8)");
    CHECK(scalar(reader, "select count(*) from t") == "1");
    run(writer, "commit");
    CHECK(scalar(reader, "select count(*) from t") == "2");
}

TEST_CASE("a handle of the user's own can be adopted", "[sqlite][connection]") {
    const temp_folder folder;
    ::sqlite3* handle = nullptr;
    REQUIRE(::sqlite3_open(folder.file("a.db").c_str(), &handle) == SQLITE_OK);
    {
        sqlite_connection c;
        CHECK(c.adopt(nullptr).code() == errc::invalid_argument);
        CHECK(c.adopt(handle, {.busy_timeout = -1ns}).code() == errc::invalid_argument);
        CHECK(c.adopt(handle, {.statement_cache = std::size_t{1} << 62}).code() == errc::invalid_argument);
        REQUIRE_FALSE(c.adopt(handle));
        CHECK(c.native_handle() == handle);
        CHECK(c.adopt(handle).code() == errc::misuse);
        run(c, "create table t(a unique)");
        run(c, "insert into t values (1)");
        // The handle reports primary codes, as its owner chose; the error knows better.
        const error e = failing(c, "insert into t values (1)");
        CHECK(e.code() == errc::unique_violation);
        CHECK(e.texts().column == "a");
        interruption i;
        i.cancelled.store(true);
        c.guard(&i);
        CHECK(interrupted(c, endless).code() == errc::cancelled);
    }
    int one = 0;  // our handlers are gone, and so are our statements
    CHECK(::sqlite3_next_stmt(handle, nullptr) == nullptr);
    const auto set = [](void* to, int, char**, char**) { return *static_cast<int*>(to) = 1, 0; };
    CHECK(::sqlite3_exec(handle, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9999) select max(i) from n", set,
                         &one, nullptr) == SQLITE_OK);
    CHECK(one == 1);
    {
        sqlite_connection c;
        REQUIRE_FALSE(c.adopt(handle, {}, true));  // and closed
        run(c, "select 1");
    }
}

TEST_CASE("a database may work on a handle of the user's own", "[sqlite][connection]") {
    using namespace strata::literals;
    ::sqlite3* handle = nullptr;
    REQUIRE(::sqlite3_open(":memory:", &handle) == SQLITE_OK);
    REQUIRE(::sqlite3_exec(handle, "create table t(a); insert into t values (7)", nullptr, nullptr, nullptr) == SQLITE_OK);
    {
        strata::database<strata::stack<strata::single, strata::sqlite>> db{strata::sqlite_options{.handle = handle}};
        CHECK(db.one<int>("select a from t"_sql()) == 7);
        db.transaction([](auto& tx) { tx.execute("insert into t values (8)"_sql()); });
    }
    CHECK(::sqlite3_total_changes(handle) == 2);  // it is there still
    CHECK(::sqlite3_next_stmt(handle, nullptr) == nullptr);
    CHECK_THROWS_WITH((strata::database<strata::stack<strata::pool<>, strata::sqlite>>{sqlite_options{.handle = handle}}),
                      strata_test::contains_text("sqlite_options.handle"));
    CHECK(::sqlite3_close(handle) == SQLITE_OK);
}

TEST_CASE("a closed connection can be opened again", "[sqlite][connection]") {
    const temp_folder folder;
    sqlite_connection c;
    for (int i = 0; i < 3; ++i) {
        strata_test::open(c, {.path = folder.file("a.db")});
        run(c, "create table if not exists t(a)");
        run(c, "begin");
        run(c, "insert into t values (1)");
        c.close();  // in a transaction: nothing of it stays
        CHECK_FALSE(c.is_open());
        CHECK(c.native_handle() == nullptr);
    }
    strata_test::open(c, {.path = folder.file("a.db")});
    CHECK(scalar(c, "select count(*) from t") == "0");
}
