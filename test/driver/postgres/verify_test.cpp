// Statements held against the server: all that does not fit is told, in one report, and nothing is executed.
#include "fixture.hpp"

#include <bank/ledger.cpp>  // the statements of the example, which must pass

#include <strata/sql/statement.hpp>
#include <strata/value/array.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/uuid.hpp>
#include <strata/verify.hpp>

#include <utility>

using namespace strata_test;
using strata::expecting;

namespace {

constexpr auto find_account = "select id, owner, balance from account where id = :id"_sql.named("find_account");

/// The parts of the misfits, in their order.
std::vector<std::string> parts(const strata::verification& report) {
    std::vector<std::string> all;
    for (const strata::misfit& m : report.misfits) all.push_back(m.statement + "|" + m.part + "|" + m.wanted + "|" + m.found);
    return all;
}

}  // namespace

TEST_CASE("statements that fit pass, and none is executed", "[postgres][verify]") {
    strata_test::bank<> b{1};
    const auto report = strata::verify(b.db, expecting<account>(find_account("id"_arg = 7)), expecting<account>(find_account),
                                       add_balance("amount"_arg = 1, "id"_arg = 1), "delete from account"_sql,
                                       expecting<std::int64_t>("select count(*) from account"_sql),
                                       expecting<std::tuple<std::int64_t, std::string>>("select id, owner from account"_sql));
    INFO(report.to_string());
    CHECK(report.ok());
    CHECK(report.statements == 6);
    CHECK(report.to_string() == "0 misfits in 6 statements");
    CHECK(b.balance_of(1) == 100);
}

TEST_CASE("all misfits of all statements are in one report", "[postgres][verify]") {
    server s;
    strata::database<plain_stack> db{s.options(), server::one()};
    db.execute("create table account (id bigint primary key, holder text not null, balance numeric not null, at timestamptz)"_sql());
    constexpr auto all_of = "select * from account where id = :id"_sql.named("all_of");
    const std::string text = "7";
    const auto report =
        strata::verify(db, expecting<account>(all_of("id"_arg = text)), "select 1 from nowhere"_sql.named("lost"),
                       "update account set at = :at, holder = :holder where id = :id"_sql.named("touch")("at"_arg = 1.5,
                                                                                                         "holder"_arg = true, "id"_arg = 7),
                       expecting<std::pair<int, int>>("select id from account"_sql), expecting<account>("delete from account"_sql));
    INFO(report.to_string());
    CHECK(parts(report) == std::vector<std::string>{"all_of|parameter \"id\"|bigint|string", "all_of|column \"owner\"|string|",
                                                    "all_of|column \"balance\"|int64|numeric", "lost|||",
                                                    "touch|parameter \"at\"|timestamp with time zone|double",
                                                    "touch|parameter \"holder\"|text|bool", "select id from account||row|",
                                                    "delete from account||row|"});
    CHECK(report.statements == 5);
    CHECK(report.to_string().substr(0, 30) == "8 misfits in 5 statements\nall_");
    CHECK(report.misfits[3].message.find("nowhere") != std::string::npos);
    CHECK(report.misfits[0].message == "parameter \"id\": the database wants bigint, the argument is of type string");
}

TEST_CASE("which arguments fit which parameters", "[postgres][verify]") {
    server s;
    strata::database<plain_stack> db{s.options(), server::one()};
    db.execute("create type mood as enum ('ok')"_sql());
    db.execute("create domain age as int"_sql());
    auto session = db.session();
    // The words of a type, and an argument: whether it passes.
    const auto fits = [&](const std::string& type, const auto& value) {
        strata::statement probe{"select :v::" + type};  // for its text alone
        probe.set("v"_arg = 0);
        using bound = strata::bound<strata::statement_facts{.kind_known = false}, std::remove_cvref_t<decltype(value)>>;
        const auto report = strata::verify(session, bound{&probe.text(), {}, {value}});
        if (!report.ok()) CHECK(!report.misfits[0].part.empty());
        return report.ok();
    };
    for (const char* const type : {"int2", "int4", "int8", "float4", "float8", "numeric", "age"}) CHECK(fits(type, 7));
    for (const char* const type : {"bool", "text", "date", "uuid", "bytea", "jsonb", "mood", "int[]"}) CHECK(!fits(type, 7));
    for (const char* const type : {"float4", "float8", "numeric"}) CHECK(fits(type, 1.5));
    for (const char* const type : {"int4", "text", "bool"}) CHECK(!fits(type, 1.5));
    for (const char* const type : {"text", "varchar", "jsonb", "date", "uuid", "numeric", "mood"}) CHECK(fits(type, std::string{}));
    for (const char* const type : {"int4", "float8", "bool", "bytea", "age", "text[]"}) CHECK(!fits(type, std::string_view{}));
    CHECK(fits("bool", true));
    CHECK(!fits("int4", true));
    CHECK(fits("bytea", strata::blob{}));
    CHECK(!fits("text", strata::blob{}));
    CHECK(fits("int8", std::optional<int>{}));
    CHECK(!fits("text", std::optional<int>{}));
    CHECK(fits("text", std::nullopt));
    CHECK(fits("int8[]", std::vector<int>{}));
    CHECK(fits("numeric[]", std::vector<std::optional<int>>{}));
    CHECK(!fits("text[]", std::vector<int>{}));
    CHECK(!fits("int4", std::vector<int>{}));
    CHECK(fits("int4[]", std::span<const int>{}));
    CHECK(fits("numeric", strata::decimal{"1.5"}));
    CHECK(fits("uuid", strata::uuid{}));
    CHECK(fits("timestamptz", std::chrono::sys_time<std::chrono::microseconds>{}));
    CHECK(!fits("int8", std::chrono::sys_time<std::chrono::microseconds>{}));
}

TEST_CASE("without prepared statements the report says that it cannot know", "[postgres][verify]") {
    server s;
    auto options = s.options();
    options.prepare = false;
    strata::database<plain_stack> db{options, server::one()};
    const auto report = strata::verify(db, "select 1"_sql);
    REQUIRE(report.misfits.size() == 1);
    CHECK(report.misfits[0].message.find("postgres_options.prepare") != std::string::npos);
}

/// What a bank runs on either database, and a statement that only this one has.
template <class Database, class Own>
void check_bank(Database& db, const Own& own) {
    ::bank::create(db);
    constexpr std::int64_t n = 1;
    using namespace ::bank;
    const auto report =
        strata::verify(db, credit_account("delta"_arg = n, "account"_arg = n), expecting<std::int64_t>(account_balance("account"_arg = n)),
                       credit_teller("delta"_arg = n, "teller"_arg = n), credit_branch("delta"_arg = n, "branch"_arg = n),
                       write_history("id"_arg = n, "account"_arg = n, "teller"_arg = n, "branch"_arg = n, "delta"_arg = n), open_teller(n),
                       open_account(n), expecting<books>(sum_books), expecting<std::int64_t>(history_ids), expecting<std::int64_t>(own));
    INFO(report.to_string());
    CHECK(report.ok());
    CHECK(report.statements == 10);
}

TEST_CASE("the statements of the example bank fit its tables, on the server and in a file", "[postgres][verify]") {
    server s;
    strata::database<plain_stack> there{s.options(), server::one()};
    check_bank(there, ::bank::on_server::strangers);
    strata::database<strata::stack<strata::single, strata::sqlite>> here{strata::sqlite_options{.path = ":memory:"}};
    check_bank(here, ::bank::in_file::objects);
}
