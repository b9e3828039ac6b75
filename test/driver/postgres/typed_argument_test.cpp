// Parameters whose type is said: the server takes them as that type, and keeps the statements apart.
#include "fixture.hpp"

#include <strata/sql/statement.hpp>
#include <strata/value/array.hpp>
#include <strata/value/decimal.hpp>

using namespace strata_test;

TEST_CASE("an argument's type is what it says, where the server would infer another or none", "[postgres][typed]") {
    server s;
    strata::database<plain_stack> db{s.options(), server::one()};
    constexpr auto type_of = "select pg_typeof(:v)::text"_sql;
    CHECK(db.one<std::string>(type_of("v"_arg.as("jsonb") = "{\"a\": 1}")) == "jsonb");
    CHECK(db.one<std::string>(type_of("v"_arg.as("int") = 7)) == "integer");
    CHECK(db.one<std::string>(type_of("v"_arg.as("timestamp with time zone") = "now")) == "timestamp with time zone");
    CHECK(db.one<std::string>(type_of("v"_arg.as("numeric(10,2)") = strata::decimal{"1.5"})) == "numeric");
    CHECK(db.one<std::string>(type_of("v"_arg.as("double precision[]") = std::vector<double>{1, 2})) == "double precision[]");
    CHECK(db.one<std::string>(type_of("v"_arg.as("jsonb") = std::optional<std::string>{})) == "jsonb");
    CHECK(db.one<std::string>(strata::statement{"select pg_typeof(:v)::text"}.set("v"_arg.as("uuid[]") = "{}")) == "uuid[]");
    CHECK(strata::any_session{db}.one<std::string>(type_of("v"_arg.as("date") = "2024-02-29")) == "date");
    db.execute("create schema if not exists \"odd Schema\""_sql());
    db.execute("create type \"odd Schema\".\"my \"\"Mood\"\"\" as enum ('ok')"_sql());
    CHECK(db.one<std::string>(type_of("v"_arg.as("\"odd Schema\".\"my \"\"Mood\"\"\"") = "ok")) == "\"odd Schema\".\"my \"\"Mood\"\"\"");
    db.execute("drop schema \"odd Schema\" cascade"_sql());
    CHECK(db.all<std::string>("select a || b from unnest(:a, :b) t(a, b)"_sql("a"_arg.as("int8[]") = std::vector<int>{1, 2},
                                                                              "b"_arg.as("text[]") = std::vector<std::string>{"x", "y"})) ==
          std::vector<std::string>{"1x", "2y"});
    // what fits the said type is asked of the writer, too
    CHECK(db.try_one<std::string>(type_of("v"_arg.as("int2") = 40000)).error().code() == errc::out_of_range);
}

TEST_CASE("a statement is prepared once for each choice of types", "[postgres][typed]") {
    server s;
    strata::postgres_connection c;
    REQUIRE(!c.open(s.options()));
    const auto run = [&](auto bound) {
        strata::one_sink<std::string> sink;
        strata::postgres_connection::query<decltype(bound), decltype(sink)> q{c, bound, sink};
        const bool done = q.resume() == strata::signal::done;
        INFO(q.failure().message());
        REQUIRE(done);
        return std::move(sink).take();
    };
    constexpr auto type_of = "select pg_typeof(:v)::text || pg_typeof(:w)::text"_sql;
    for (int i = 0; i < 3; ++i) {
        CHECK(run(type_of("v"_arg.as("date") = "2024-01-01", "w"_arg.as("text") = "a")) == "datetext");
        CHECK(run(type_of("v"_arg.as("text") = "2024-01-01", "w"_arg.as("date") = "2024-01-01")) == "textdate");
        CHECK(run(type_of("v"_arg.as("text") = "a", "w"_arg.as("text") = "a")) == "texttext");
    }
    CHECK(c.prepared() == 3);
}

TEST_CASE("a type that the server does not have is an error that names it", "[postgres][typed]") {
    server s;
    strata::database<plain_stack> db{s.options(), server::one()};
    const auto r = db.try_one<std::string>("select :v"_sql("v"_arg.as("no_such_type") = "x"));
    REQUIRE(r.has_error());
    CHECK(r.error().message().find("no_such_type") != std::string::npos);
    CHECK(r.error().effect() == strata::effect::none);
    CHECK(r.error().phase() == strata::phase::prepare);
    CHECK(db.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("types are said without prepared statements, too", "[postgres][typed]") {
    server s;
    auto options = s.options();
    options.prepare = false;
    strata::database<plain_stack> db{options, server::one()};
    CHECK(db.one<std::string>("select pg_typeof(:v)::text"_sql("v"_arg.as("jsonb") = "{}")) == "jsonb");
    CHECK(db.one<std::string>("select pg_typeof(:v)::text"_sql("v"_arg.as("int8[]") = std::vector<int>{1})) == "bigint[]");
}
