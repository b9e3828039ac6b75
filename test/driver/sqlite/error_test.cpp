#include "fixture.hpp"

#include <chrono>
#include <cstdint>

using namespace strata;
using namespace std::chrono_literals;
using strata_test::contains_text;
using strata_test::failing;
using strata_test::run;
using strata_test::scalar;
using strata_test::temp_folder;

TEST_CASE("a violated constraint names what it can", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a integer primary key, b not null, c check (c > 0), d, e, unique (d, e))");
    run(c, "create table child(t references t(a))");
    run(c, "create table strict_one(n integer) strict");
    run(c, "create unique index by_expression on t(abs(c))");
    run(c, "insert into t values (1, 1, 1, 1, 1)");

    const error pk = failing(c, "insert into t values (1, 1, 2, 2, 2)");
    CHECK(pk.code() == errc::unique_violation);
    CHECK(pk.texts().table == "t");
    CHECK(pk.texts().column == "a");
    CHECK(pk.texts().native_code == std::to_string(SQLITE_CONSTRAINT_PRIMARYKEY));
    CHECK(pk.texts().statement == "insert into t values (1, 1, 2, 2, 2)");
    CHECK(pk.phase() == phase::execute);
    CHECK(pk.effect() == effect::none);
    CHECK(pk.health() == health::good);

    const error unique = failing(c, "insert into t values (2, 1, 2, 1, 1)");
    CHECK(unique.code() == errc::unique_violation);
    CHECK(unique.texts().table == "t");
    CHECK(unique.texts().column == "d, e");

    const error expression = failing(c, "insert into t values (2, 1, 1, 2, 2)");
    CHECK(expression.code() == errc::unique_violation);
    CHECK(expression.texts().constraint == "by_expression");

    const error null = failing(c, "insert into t values (2, null, 2, 2, 2)");
    CHECK(null.code() == errc::not_null_violation);
    CHECK(null.texts().table == "t");
    CHECK(null.texts().column == "b");

    const error check = failing(c, "insert into t values (2, 1, -2, 2, 2)");
    CHECK(check.code() == errc::check_violation);
    CHECK(check.texts().constraint == "c > 0");

    const error foreign = failing(c, "insert into child values (99)");
    CHECK(foreign.code() == errc::foreign_key_violation);

    const error type = failing(c, "insert into strict_one values ('x')");
    CHECK(type.code() == errc::constraint_violation);
    CHECK(type.texts().table == "strict_one");
    CHECK(type.texts().column == "n");

    const error mismatch = failing(c, "insert into t(a, b) values ('x', 1)");
    CHECK(mismatch.code() == errc::type_mismatch);
}

TEST_CASE("names with dots are understood", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table \"my.table\"(\"a.b\", plain, unique (\"a.b\", plain))");
    run(c, "insert into \"my.table\" values (1, 1)");
    const error e = failing(c, "insert into \"my.table\" values (1, 1)");
    CHECK(e.texts().table == "my.table");
    CHECK(e.texts().column == "a.b, plain");
}

TEST_CASE("a deferred foreign key fails at COMMIT and leaves the transaction open", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table parent(a primary key)");
    run(c, "create table child(p references parent(a) deferrable initially deferred)");
    run(c, "begin");
    run(c, "insert into child values (1)");
    const error e = failing(c, "commit");
    CHECK(e.code() == errc::foreign_key_violation);
    CHECK(e.phase() == phase::commit);
    CHECK(e.effect() == effect::none);
    CHECK(c.in_transaction());
    CHECK(c.tidy() == health::good);
    CHECK_FALSE(c.in_transaction());
}

TEST_CASE("texts that SQLite does not understand", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a)");

    const error syntax = failing(c, "select a fro t");
    CHECK(syntax.code() == errc::syntax_error);
    CHECK(syntax.phase() == phase::prepare);
    CHECK(syntax.texts().position == 13);
    CHECK(failing(c, "select (1").code() == errc::syntax_error);
    CHECK(failing(c, "select 'abc").code() == errc::syntax_error);

    const error column = failing(c, "select b from t");
    CHECK(column.code() == errc::undefined_object);
    CHECK(column.texts().position == 7);
    CHECK(failing(c, "select * from nowhere").code() == errc::undefined_object);
    CHECK(failing(c, "select no_function(1)").code() == errc::undefined_object);
    CHECK(failing(c, "insert into t(z) values (1)").code() == errc::undefined_object);
    CHECK(failing(c, "select a from t order by a collate no_collation").code() == errc::undefined_object);

    CHECK(failing(c, "").code() == errc::invalid_statement);
    CHECK(failing(c, " -- nothing\n /* at all */ ;").code() == errc::invalid_statement);
    CHECK(failing(c, std::string_view{"select 1\0, 2", 12}).code() == errc::invalid_statement);
    CHECK(failing(c, "select 1; select 2").code() == errc::invalid_statement);
    CHECK(failing(c, "select ?1").code() == errc::invalid_statement);
    run(c, "/* first */ ; -- then\n select 1 ; -- the end");
    run(c, "select 1; /* not closed");
}

TEST_CASE("a position is given in the text as it was written", "[sqlite][error]") {
    using detail::position_as_written;
    CHECK(position_as_written("select :a, :b fro", "select ?1, ?2 fro", 14) == 14);
    CHECK(position_as_written("select :name, :b, x", "select ?1, ?2, x", 15) == 18);
    CHECK(position_as_written("select :name, x", "select ?1, x", 7) == 7);
    CHECK(position_as_written("select a", "select a", 7) == 7);
    CHECK(position_as_written("select a", "other text", 7) == -1);
    CHECK(position_as_written("select a in (:ids...), x", "select a in (?1, ?2, ?3), x", 26) == 23);
    CHECK(position_as_written("select a in (:ids...), x", "select a in (?1), x", 18) == 23);
    CHECK(position_as_written("select a in (:ids...), x", "select a in (select 1), x", 25) == -1);
}

TEST_CASE("run-time errors of expressions", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    CHECK(failing(c, "select abs(-9223372036854775807 - 1)").code() == errc::out_of_range);
    CHECK(failing(c, "select zeroblob(2000000000)").code() == errc::too_big);
    CHECK(failing(c, "commit").code() == errc::misuse);
    CHECK(failing(c, "rollback").code() == errc::misuse);
    CHECK(failing(c, "release no_savepoint").code() == errc::misuse);
    run(c, "begin");
    CHECK(failing(c, "begin").code() == errc::misuse);
    run(c, "create table t(a)");
    run(c, "create trigger no before insert on t begin select raise(abort, 'not today'); end");
    const error raised = failing(c, "insert into t values (1)");
    CHECK(raised.code() == errc::constraint_violation);
    CHECK(raised.message() == "not today");
}

TEST_CASE("the effect of a failure is what SQLite did", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a unique)");
    run(c, "insert into t values (3)");

    SECTION("a failed statement is undone, and the transaction goes on") {
        run(c, "begin");
        run(c, "insert into t values (10)");
        const error e = failing(c, "insert into t values (1), (2), (3)");
        CHECK(e.effect() == effect::none);
        CHECK(c.in_transaction());
        run(c, "commit");
        CHECK(scalar(c, "select count(*) from t") == "2");
    }
    SECTION("or rollback ends the transaction") {
        run(c, "begin");
        run(c, "insert into t values (10)");
        const error e = failing(c, "insert or rollback into t values (3)");
        CHECK(e.code() == errc::unique_violation);
        CHECK(e.effect() == effect::rolled_back);
        CHECK_FALSE(c.in_transaction());
        CHECK(scalar(c, "select count(*) from t") == "1");
    }
}

TEST_CASE("files that cannot be opened", "[sqlite][error]") {
    const temp_folder folder;
    sqlite_connection c;

    SECTION("a missing folder") {
        const error e = c.open({.path = folder.file("no/such/folder.db")});
        CHECK(e.code() == errc::cannot_connect);
        CHECK(e.phase() == phase::connect);
        CHECK_THAT(e.message(), contains_text(folder.file("no/such/folder.db")));
        CHECK_THAT(e.texts().detail, contains_text("No such file"));
        CHECK_FALSE(c.is_open());
    }
    SECTION("a missing file that must not be made") {
        CHECK(c.open({.path = folder.file("a.db"), .create = false}).code() == errc::cannot_connect);
        CHECK(c.open({.path = folder.file("a.db"), .read_only = true}).code() == errc::cannot_connect);
        CHECK_FALSE(std::filesystem::exists(folder.file("a.db")));
    }
    SECTION("something else than a database") {
        strata_test::write_file(folder.file("a.db"), std::string(4096, 'x'));
        const error e = c.open({.path = folder.file("a.db")});
        CHECK(e.code() == errc::not_a_database);
        CHECK(e.health() == health::lost);
        CHECK_THAT(e.message(), contains_text("a.db"));
    }
    SECTION("opening twice") {
        strata_test::open(c, {.path = folder.file("a.db")});
        CHECK(c.open({.path = folder.file("a.db")}).code() == errc::misuse);
        CHECK(c.is_open());
    }
}

TEST_CASE("a file that may only be read", "[sqlite][error]") {
    const temp_folder folder;
    const std::string path = folder.file("a.db");
    {
        sqlite_connection c;
        strata_test::open(c, {.path = path, .journal = sqlite_journal::rollback});
        run(c, "create table t(a)");
    }
    sqlite_connection c;
    strata_test::open(c, {.path = path, .read_only = true});
    CHECK(scalar(c, "select count(*) from t") == "0");
    const error e = failing(c, "insert into t values (1)");
    CHECK(e.code() == errc::read_only);
    CHECK(e.effect() == effect::none);
    CHECK(e.health() == health::good);
}

TEST_CASE("a file that was damaged", "[sqlite][error]") {
    const temp_folder folder;
    const std::string path = folder.file("a.db");
    {
        sqlite_connection c;
        strata_test::open(c, {.path = path, .journal = sqlite_journal::rollback});
        run(c, "create table t(a)");
        run(c, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 5000) insert into t select 'row ' || i from n");
    }
    {
        std::fstream file{path, std::ios::in | std::ios::out | std::ios::binary};
        file.seekp(4096);
        file << std::string(4096 * 4, '\x7f');
    }
    sqlite_connection c;
    strata_test::open(c, {.path = path, .journal = sqlite_journal::as_is});
    const error e = failing(c, "select sum(length(a)) from t");
    CHECK(e.code() == errc::corrupt);
    CHECK(e.health() == health::lost);
    CHECK_FALSE(e.texts().hint.empty());

    const auto findings = sqlite_integrity_check(c);
    CHECK((findings.has_error() || !findings.value().empty()));
}

TEST_CASE("a full disk", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    run(c, "create table t(a)");
    run(c, "pragma max_page_count = 10");
    run(c, "begin");
    const error e = failing(c, "insert into t values (zeroblob(1000000))");
    CHECK(e.code() == errc::disk_full);
    CHECK(e.effect() == (c.in_transaction() ? effect::none : effect::rolled_back));
}

TEST_CASE("all codes have a condition and a sensible health", "[sqlite][error]") {
    CHECK(sqlite_condition(SQLITE_OK) == errc::ok);
    CHECK(sqlite_condition(SQLITE_BUSY) == errc::busy);
    CHECK(sqlite_condition(SQLITE_BUSY_RECOVERY) == errc::busy);
    CHECK(sqlite_condition(SQLITE_BUSY_SNAPSHOT) == errc::busy_snapshot);
    CHECK(sqlite_condition(SQLITE_LOCKED) == errc::locked);
    CHECK(sqlite_condition(SQLITE_LOCKED_SHAREDCACHE) == errc::locked);
    CHECK(sqlite_condition(SQLITE_ABORT_ROLLBACK) == errc::transaction_aborted);
    CHECK(sqlite_condition(SQLITE_NOMEM) == errc::out_of_memory);
    CHECK(sqlite_condition(SQLITE_IOERR_NOMEM) == errc::out_of_memory);
    CHECK(sqlite_condition(SQLITE_IOERR_READ) == errc::io_error);
    CHECK(sqlite_condition(SQLITE_CORRUPT_INDEX) == errc::corrupt);
    CHECK(sqlite_condition(SQLITE_FULL) == errc::disk_full);
    CHECK(sqlite_condition(SQLITE_READONLY_DBMOVED) == errc::read_only);
    CHECK(sqlite_condition(SQLITE_AUTH) == errc::permission_denied);
    CHECK(sqlite_condition(SQLITE_TOOBIG) == errc::too_big);
    CHECK(sqlite_condition(SQLITE_RANGE) == errc::invalid_argument);
    CHECK(sqlite_condition(SQLITE_MISUSE) == errc::misuse);
    CHECK(sqlite_condition(SQLITE_CONSTRAINT_TRIGGER) == errc::constraint_violation);
    CHECK(sqlite_condition(SQLITE_CONSTRAINT_ROWID) == errc::unique_violation);
    CHECK(sqlite_condition(SQLITE_INTERRUPT) == errc::cancelled);
    CHECK(sqlite_condition(12345) == errc::unknown);

    using detail::health_after;
    CHECK(health_after(SQLITE_IOERR_READ) == health::lost);
    CHECK(health_after(SQLITE_IOERR_NOMEM) == health::good);
    CHECK(health_after(SQLITE_NOTADB) == health::lost);
    CHECK(health_after(SQLITE_CORRUPT) == health::lost);
    CHECK(health_after(SQLITE_READONLY_DBMOVED) == health::lost);
    CHECK(health_after(SQLITE_READONLY) == health::good);
    CHECK(health_after(SQLITE_BUSY) == health::good);
}

TEST_CASE("when the disk fails during a commit, nobody knows", "[sqlite][error]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    detail::sqlite_circumstances commit{.code = SQLITE_IOERR_FSYNC, .was_in_transaction = true, .commits = true};
    CHECK(detail::effect_after(c.native_handle(), SQLITE_IOERR_FSYNC, commit) == effect::unknown);
    commit.commits = false;
    CHECK(detail::effect_after(c.native_handle(), SQLITE_IOERR_READ, commit) == effect::rolled_back);
    commit.was_in_transaction = false;
    CHECK(detail::effect_after(c.native_handle(), SQLITE_IOERR_READ, commit) == effect::none);
}
