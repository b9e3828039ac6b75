#include "fixture.hpp"

#include <chrono>
#include <thread>
#include <vector>

using namespace strata;
using namespace std::chrono_literals;
using strata_test::contains_text;
using strata_test::scalar;
using strata_test::temp_folder;

namespace {

std::string refusal(const sqlite_options& o) {
    const error e = o.validate();
    CHECK(e.code() == errc::invalid_argument);
    sqlite_connection c;
    CHECK(c.open(o).code() == errc::invalid_argument);
    CHECK_FALSE(c.is_open());
    return e.message();
}

}  // namespace

TEST_CASE("options that make no sense are refused by the name of their field", "[sqlite][options]") {
    CHECK_THAT(refusal({}), contains_text("sqlite_options.path"));
    CHECK_THAT(refusal({.path = std::string{"a\0b", 3}}), contains_text("sqlite_options.path"));
    CHECK_THAT(refusal({.path = "a.db", .busy_timeout = -1ns}), contains_text("sqlite_options.busy_timeout"));
    CHECK_THAT(refusal({.path = "a.db", .cache_size = std::int64_t{4} << 40}), contains_text("sqlite_options.cache_size"));
    CHECK_THAT(refusal({.path = "a.db", .cache_size = 0}), contains_text("sqlite_options.cache_size"));
    CHECK_THAT(refusal({.path = "a.db", .mmap_size = -1}), contains_text("sqlite_options.mmap_size"));
    CHECK_THAT(refusal({.path = "a.db", .statement_cache = 65537}), contains_text("sqlite_options.statement_cache"));
    CHECK_THAT(refusal({.path = "a.db", .extensions = {""}}), contains_text("sqlite_options.extensions"));
    CHECK_THAT(refusal({.path = "a.db", .pragmas = {"pragma x", ""}}), contains_text("sqlite_options.pragmas"));
    CHECK_FALSE(sqlite_options{.path = "a.db"}.validate());
}

TEST_CASE("options reach SQLite", "[sqlite][options]") {
    const temp_folder folder;
    sqlite_connection c;

    SECTION("by default: WAL, full, foreign keys") {
        strata_test::open(c, {.path = folder.file("a.db")});
        CHECK(scalar(c, "pragma journal_mode") == "wal");
        CHECK(scalar(c, "pragma synchronous") == "2");
        CHECK(scalar(c, "pragma foreign_keys") == "1");
        CHECK(scalar(c, "pragma query_only") == "0");
    }
    SECTION("others") {
        strata_test::open(c, {.path = folder.file("a.db"),
                              .journal = sqlite_journal::rollback,
                              .synchronous = sqlite_synchronous::normal,
                              .foreign_keys = false,
                              .cache_size = 4'000'000,
                              .mmap_size = 1 << 20,
                              .pragmas = {"pragma temp_store = memory", "create temp table mine(a)"}});
        CHECK(scalar(c, "pragma journal_mode") == "delete");
        CHECK(scalar(c, "pragma synchronous") == "1");
        CHECK(scalar(c, "pragma foreign_keys") == "0");
        CHECK(scalar(c, "pragma cache_size") == "-3907");
        CHECK(scalar(c, "pragma mmap_size") == "1048576");
        CHECK(scalar(c, "pragma temp_store") == "2");
        CHECK(scalar(c, "select count(*) from temp.mine") == "0");
    }
    SECTION("as_is leaves the journal alone, and a reader sets none") {
        strata_test::open(c, {.path = folder.file("a.db"), .journal = sqlite_journal::as_is, .synchronous = sqlite_synchronous::off});
        CHECK(scalar(c, "pragma journal_mode") == "delete");
        CHECK(scalar(c, "pragma synchronous") == "0");
        sqlite_connection reader;
        strata_test::open(reader, {.path = folder.file("a.db")}, connection_role::reader);
        CHECK(scalar(reader, "pragma journal_mode") == "delete");
        CHECK(strata_test::failing(reader, "create table t(a)").code() == errc::read_only);
    }
    SECTION("a quoted name that does not exist is an error, unless it is asked for") {
        strata_test::open(c, {.path = ":memory:"});
        CHECK(strata_test::failing(c, "select \"nothing\"").code() == errc::undefined_object);
        c.close();
        strata_test::open(c, {.path = ":memory:", .double_quoted_strings = true});
        strata_test::run(c, "select \"nothing\"");
    }
    SECTION("a bad statement of the user's own names itself") {
        const error e = c.open({.path = folder.file("a.db"), .pragmas = {"pragma temp_store = memory", "select * from nowhere"}});
        CHECK(e.code() == errc::undefined_object);
        CHECK(e.phase() == phase::connect);
        CHECK(e.texts().statement == "select * from nowhere");
        CHECK_FALSE(c.is_open());
    }
}

TEST_CASE("a URI is a path", "[sqlite][options]") {
    const temp_folder folder;
    sqlite_connection c;
    strata_test::open(c, {.path = "file:" + folder.file("a.db") + "?mode=rwc"});
    CHECK(scalar(c, "pragma journal_mode") == "wal");
}

TEST_CASE("several connections share a memory database, and only a private one is refused to a pool", "[sqlite][options]") {
    sqlite_connection a;
    sqlite_connection b;
    strata_test::open(a, {.path = "file:/strata_shared?vfs=memdb"});
    strata_test::open(b, {.path = "file:/strata_shared?vfs=memdb"});
    strata_test::run(a, "create table t(a)");
    strata_test::run(b, "insert into t values (1)");
    CHECK(scalar(a, "select count(*) from t") == "1");

    CHECK_FALSE(sqlite::check_shared({.path = "file:/strata_shared?vfs=memdb"}));
    CHECK_FALSE(sqlite::check_shared({.path = "bank.db"}));
    CHECK_FALSE(sqlite::check_reopened({.path = "bank.db"}));
    for (const char* const memory : {":memory:", "file:/strata_shared?vfs=memdb", "file:x?mode=memory&cache=shared"})
        CHECK_THAT(sqlite::check_reopened({.path = memory}).message(), strata_test::contains_text("sqlite_options.path"));
    CHECK_FALSE(sqlite::check_shared({.path = "file:bank.db"}));
    CHECK_FALSE(sqlite::check_shared({.path = "file:x?mode=memory&cache=shared"}));
    for (const char* path : {":memory:", "file::memory:", "file:x?mode=memory", "file:x?vfs=memdb"}) {
        const error e = sqlite::check_shared({.path = path});
        INFO(path);
        CHECK(e.code() == errc::invalid_argument);
        CHECK_THAT(e.message(), contains_text("file:/name?vfs=memdb"));
    }
}

TEST_CASE("many connections may open a new file at once", "[sqlite][options]") {
    const temp_folder folder;
    const sqlite_options options{.path = folder.file("a.db")};
    std::vector<error> errors(8);
    std::vector<std::thread> threads;
    for (error& e : errors) {
        threads.emplace_back([&options, &e] {
            sqlite_connection c;
            e = c.open(options);
        });
    }
    for (std::thread& t : threads) t.join();
    for (const error& e : errors) {
        INFO(e.to_string());
        CHECK_FALSE(e);
    }
}

TEST_CASE("extensions load only while the connection opens, and only those named", "[sqlite][options]") {
    const temp_folder folder;
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    const error e = strata_test::failing(c, "select load_extension('anything')");
    CHECK_THAT(e.message(), contains_text("not authorized"));
    char* why = nullptr;
    CHECK(::sqlite3_load_extension(c.native_handle(), "anything", nullptr, &why) == SQLITE_ERROR);
    REQUIRE(why != nullptr);
    CHECK(std::string_view{why} == "not authorized");
    ::sqlite3_free(why);

    sqlite_connection other;
    const error missing = other.open({.path = ":memory:", .extensions = {folder.file("nothing.so")}});
    CHECK(missing.code() == errc::unsupported);
    CHECK_THAT(missing.message(), contains_text("nothing.so"));
}

TEST_CASE("control texts are made without allocation", "[sqlite][driver]") {
    static_assert(sqlite::begin(sqlite_locking::immediate) == "begin immediate");
    static_assert(sqlite::commit() == "commit" && sqlite::rollback() == "rollback");
    static_assert(std::string_view{sqlite::savepoint(0)} == "savepoint strata_0");
    static_assert(std::string_view{sqlite::release(17)} == "release strata_17");
    static_assert(std::string_view{sqlite::rollback_to(4294967295u)} == "rollback to strata_4294967295");
    static_assert(sqlite::role_of(true, true) == connection_role::reader && sqlite::role_of(false, true) == connection_role::writer);
    static_assert(sqlite::role_of(true, false) == connection_role::both);

    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    strata_test::run(c, "create table t(a)");
    strata_test::run(c, sqlite::begin(sqlite_locking::deferred));
    strata_test::run(c, sqlite::savepoint(1));
    strata_test::run(c, "insert into t values (1)");
    strata_test::run(c, sqlite::rollback_to(1));
    strata_test::run(c, sqlite::release(1));
    strata_test::run(c, sqlite::commit());
    CHECK(scalar(c, "select count(*) from t") == "0");
}
