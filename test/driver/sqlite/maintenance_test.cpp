#include "fixture.hpp"

#include <chrono>
#include <vector>

using namespace strata;
using namespace std::chrono_literals;
using strata_test::failing;
using strata_test::run;
using strata_test::scalar;
using strata_test::temp_folder;

namespace {

void fill(sqlite_connection& c, int rows) {
    run(c, "create table t(a)");
    run(c, "with recursive n(i) as (select 1 union all select i + 1 from n where i < " + std::to_string(rows) +
               ") insert into t select printf('%0100d', i) from n");
}

}  // namespace

TEST_CASE("a backup copies the whole database, step by step", "[sqlite][maintenance]") {
    const temp_folder folder;
    sqlite_connection c;
    strata_test::open(c, {.path = folder.file("a.db")});
    fill(c, 5000);

    SECTION("into a file") {
        std::vector<sqlite_backup_progress> seen;
        const error e = sqlite_backup(c, folder.file("b.db"), [&](const sqlite_backup_progress& p) { seen.push_back(p); }, 16);
        INFO(e.to_string());
        REQUIRE_FALSE(e);
        REQUIRE(seen.size() > 5);
        CHECK(seen.back().remaining == 0);
        CHECK(seen.front().remaining == seen.front().total - 16);
        sqlite_connection copy;
        strata_test::open(copy, {.path = folder.file("b.db"), .create = false});
        CHECK(scalar(copy, "select count(*) from t") == "5000");
    }
    SECTION("into a connection, which it replaces") {
        sqlite_connection copy;
        strata_test::open(copy, {.path = ":memory:"});
        run(copy, "create table other(a)");
        int steps = 0;
        REQUIRE_FALSE(sqlite_backup(c, copy, [&](const sqlite_backup_progress&) { ++steps; }, -1));
        CHECK(steps == 1);
        CHECK(scalar(copy, "select count(*) from t") == "5000");
        CHECK(failing(copy, "select * from other").code() == errc::undefined_object);
    }
    SECTION("while others write, the copy is one state") {
        sqlite_connection writer;
        strata_test::open(writer, {.path = folder.file("a.db")});
        int steps = 0;
        const error e = sqlite_backup(c, folder.file("b.db"), [&](const sqlite_backup_progress&) {
            if (++steps == 3) run(writer, "delete from t");
        }, 16);
        REQUIRE_FALSE(e);
        sqlite_connection copy;
        strata_test::open(copy, {.path = folder.file("b.db")});
        CHECK(scalar(copy, "select count(*) from t") == "0");
    }
    SECTION("and can be ended; the target then holds what it held") {
        sqlite_connection copy;
        strata_test::open(copy, {.path = folder.file("b.db")});
        run(copy, "create table other(a)");
        interruption i;
        c.guard(&i);
        int steps = 0;
        const auto stop = [&](const sqlite_backup_progress&) {
            if (++steps == 2) i.cancelled.store(true);
        };
        CHECK(sqlite_backup(c, copy, stop, 16).code() == errc::cancelled);
        CHECK(steps == 2);
        CHECK(scalar(copy, "select count(*) from other") == "0");
        CHECK(copy.guard() == nullptr);
        i.cancelled.store(false);
        i.deadline = clock::now();
        CHECK(sqlite_backup(c, copy, stop, 16).code() == errc::timeout);
        c.guard(nullptr);
    }
    SECTION("errors") {
        const auto ignore = [](const sqlite_backup_progress&) {};
        CHECK(sqlite_backup(c, folder.file("no/folder.db"), ignore).code() == errc::cannot_connect);
        CHECK(sqlite_backup(c, folder.file("b.db"), ignore, 0).code() == errc::invalid_argument);
        CHECK(sqlite_backup(c, c, ignore));  // onto itself
        sqlite_connection copy;
        strata_test::open(copy, {.path = folder.file("b.db"), .busy_timeout = 10ms});
        sqlite_connection other;
        strata_test::open(other, {.path = folder.file("b.db")});
        run(other, "begin exclusive");
        CHECK(sqlite_backup(c, copy, ignore).code() == errc::busy);
    }
}

TEST_CASE("a checkpoint moves the log into the file", "[sqlite][maintenance]") {
    const temp_folder folder;
    sqlite_connection c;
    strata_test::open(c, {.path = folder.file("a.db"), .busy_timeout = 20ms, .pragmas = {"pragma wal_autocheckpoint = 0"}});
    fill(c, 1000);

    const sqlite_checkpoint_counts passive = sqlite_checkpoint(c).value();
    CHECK(passive.log > 10);
    CHECK(passive.checkpointed == passive.log);
    CHECK(std::filesystem::file_size(folder.file("a.db-wal")) > 0);
    const sqlite_checkpoint_counts truncated = sqlite_checkpoint(c, sqlite_checkpoint_mode::truncate).value();
    CHECK(truncated.log == 0);
    CHECK(std::filesystem::file_size(folder.file("a.db-wal")) == 0);

    sqlite_connection reader;
    strata_test::open(reader, {.path = folder.file("a.db")});
    run(reader, "begin");
    CHECK(scalar(reader, "select count(*) from t") == "1000");
    run(c, "delete from t");
    const auto waited = sqlite_checkpoint(c, sqlite_checkpoint_mode::restart);
    REQUIRE(waited.has_error());
    CHECK(waited.error().code() == errc::busy);

    sqlite_connection plain;
    strata_test::open(plain, {.path = folder.file("b.db"), .journal = sqlite_journal::rollback});
    run(plain, "create table t(a)");
    CHECK(sqlite_checkpoint(plain).value().log == -1);
}

TEST_CASE("the integrity check finds nothing in a sound file and can be ended", "[sqlite][maintenance]") {
    const temp_folder folder;
    sqlite_connection c;
    strata_test::open(c, {.path = folder.file("a.db")});
    fill(c, 2000);
    run(c, "create index i on t(a)");
    CHECK(sqlite_integrity_check(c).value().empty());
    CHECK(sqlite_integrity_check(c, true).value().empty());

    interruption i;
    i.cancelled.store(true);
    c.guard(&i);
    const auto ended = sqlite_integrity_check(c);
    REQUIRE(ended.has_error());
    CHECK(ended.error().code() == errc::cancelled);
    c.guard(nullptr);

    // An index that lacks a row: only the full check compares.
    run(c, "pragma writable_schema = on");
    run(c, "update sqlite_schema set sql = 'create index i on t(a, a)' where name = 'i'");
    c.close();
    strata_test::open(c, {.path = folder.file("a.db")});
    const auto findings = sqlite_integrity_check(c, false, 5);
    if (findings.has_value()) CHECK(findings.value().size() <= 5);
    CHECK((findings.has_error() || !findings.value().empty()));
}
