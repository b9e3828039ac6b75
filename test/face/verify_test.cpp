// Statements held against an SQLite file: what SQLite knows before it runs them, and nothing is executed.
#include "fixture.hpp"

#include <strata/verify.hpp>

using namespace strata_test;
using strata::expecting;

TEST_CASE("all misfits that SQLite can know are in one report", "[face][verify]") {
    file_of_its_own f;
    strata::database<plain_stack> db{f.target};
    db.execute("create table account (id integer primary key, holder text not null, balance integer not null)"_sql());
    db.execute("insert into account values (1, 'a', 5)"_sql());
    const auto report = strata::verify(
        db, expecting<account>(find_account("id"_arg = 7)), expecting<account>("select * from account"_sql.named("all")),
        "select 1 from nowhere"_sql.named("lost"), "delete from account"_sql, expecting<std::pair<int, int>>("select id from account"_sql),
        add_balance("amount"_arg = 1, "id"_arg = 1), "pragma user_version = 7"_sql.named("pragma"),
        strata::statement{"delete from account; delete from account"}, strata::statement{"select 'unterminated"});
    INFO(report.to_string());
    CHECK(report.statements == 9);
    REQUIRE(report.misfits.size() == 7);
    CHECK(report.misfits[0].message == "no such column: owner");
    CHECK(report.misfits[1].statement == "all");
    CHECK(report.misfits[1].part == "column \"owner\"");
    CHECK(report.misfits[2].message == "no such table: nowhere");
    CHECK(report.misfits[3].message.find("wanted 2 columns") != std::string::npos);
    CHECK(report.misfits[4].statement == "pragma");
    CHECK(report.misfits[5].message.find("several statements") != std::string::npos);
    CHECK(report.misfits[6].message.find("no end") != std::string::npos);
    CHECK(db.one<std::int64_t>(count_accounts) == 1);
    CHECK(db.session().one<int>("pragma user_version"_sql) == 0);
}
