// Records, ranges, intervals, hstore and enums by name, both ways: the server's own text is the judge.
#include "fixture.hpp"

#include <strata/sql/statement.hpp>
#include <strata/value/array.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/composite.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/enum_name.hpp>
#include <strata/value/hstore.hpp>
#include <strata/value/interval.hpp>
#include <strata/value/range.hpp>

#include <boost/describe/enum.hpp>

#include <random>

namespace {

enum class mood { sad, ok, happy };
BOOST_DESCRIBE_ENUM(mood, sad, ok, happy)
enum class colour { red, light_blue };

struct address {
    std::string street;
    std::optional<int> number;
    strata::decimal rent;
    bool operator==(const address&) const = default;
};
struct person {
    std::string name;
    mood feels = mood::ok;
    std::vector<std::string> tags;
    std::optional<address> home;
    std::vector<std::optional<address>> others;
    bool operator==(const person&) const = default;
};
struct swapped {  // the members stand in another order than the attributes
    int b = 0;
    int a = 0;
    bool operator==(const swapped&) const = default;
};
struct stranger {
    int a = 0;
    int c = 0;
};
struct row_with_column {
    std::int64_t id = 0;
    address home;
};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(address, street, number, rent);
BOOST_HANA_ADAPT_STRUCT(person, name, feels, tags, home, others);
BOOST_HANA_ADAPT_STRUCT(swapped, b, a);
BOOST_HANA_ADAPT_STRUCT(stranger, a, c);
BOOST_HANA_ADAPT_STRUCT(row_with_column, id, home);

template <>
struct strata::codec<mood> : strata::enum_codec<mood> {};
template <>
struct strata::codec<colour> : strata::enum_codec<colour> {
    static constexpr strata::enum_name<colour> names[] = {{colour::red, "red"}, {colour::light_blue, "light blue"}};
};
template <>
struct strata::codec<address> : strata::composite_codec<address> {};
template <>
struct strata::codec<person> : strata::composite_codec<person> {};
template <>
struct strata::codec<swapped> : strata::composite_codec<swapped> {};
template <>
struct strata::codec<stranger> : strata::composite_codec<stranger> {};

using namespace strata_test;

namespace {

struct types {
    server s;
    strata::database<plain_stack> db;

    explicit types(bool prepare = true) : db(options(s, prepare), server::one()) {
        db.execute("create type mood as enum ('sad', 'ok', 'happy')"_sql());
        db.execute("create type colour as enum ('red', 'light blue')"_sql());
        db.execute("create domain rent as numeric check (value >= 0)"_sql());
        db.execute("create type address as (street text, number int, rent rent)"_sql());
        db.execute("create type person as (name text, feels mood, tags text[], home address, others address[])"_sql());
        db.execute("create type pair as (a int, b int)"_sql());
    }
    static strata::postgres_options options(const server& s, bool prepare) {
        auto o = s.options();
        o.prepare = prepare;
        return o;
    }
    /// Sends a value, reads it back, and compares the server's text of it with that of the text sent.
    template <class T>
    void round_trip(const std::string& type, const T& value) {
        strata::statement q{"select v, v::text from (select :v::" + type + " as v) t"};
        const auto [back, text] = db.one<std::tuple<T, std::string>>(q.set("v"_arg = value));
        INFO(type << ": " << text);
        CHECK(back == value);
        strata::statement again{"select v from (select :v::text::" + type + " as v) t"};
        CHECK(db.one<T>(again.set("v"_arg = text)) == value);
    }
};

std::string awkward_text(std::mt19937_64& random) {
    static constexpr std::string_view pieces[] = {"\"", "\\", "{", "}", ",", "NULL", "(", ")", " ", "a", "ß", "[", "]", "'", "\n", "=>"};
    std::string out;
    for (std::uint64_t n = random() % 6; n > 0; --n) out += pieces[random() % std::size(pieces)];
    return out;
}

}  // namespace

TEST_CASE("composites go into adapted structs by the names of their attributes, and back", "[postgres][nested]") {
    types t;
    const address here{"Main \"St\", (1)", 7, strata::decimal{"950.50"}};
    t.round_trip("address", here);
    t.round_trip("address", address{"", std::nullopt, strata::decimal{"0"}});
    t.round_trip("person", person{"Ada", mood::happy, {"a,b", "\"c\""}, here, {here, std::nullopt}});
    t.round_trip("person", person{"", mood::sad, {}, std::nullopt, {}});
    t.round_trip("address[]", std::vector<std::optional<address>>{here, std::nullopt});
    std::mt19937_64 random{20261121};
    for (int i = 0; i < count(50, 2000); ++i) {
        const auto make = [&] {
            return address{awkward_text(random), static_cast<int>(random()), strata::decimal{static_cast<std::uint32_t>(random())}};
        };
        t.round_trip("person",
                     person{awkward_text(random), mood::ok, {awkward_text(random), awkward_text(random)}, make(), {make(), make()}});
    }
    CHECK(t.db.one<swapped>("select row(1, 2)::pair"_sql()) == swapped{2, 1});
    CHECK(t.db.one<std::string>("select (:p::pair)::text"_sql(swapped{2, 1})) == "(1,2)");
    CHECK(strata::any_session{t.db}.one<std::string>("select (:p::pair)::text"_sql(swapped{2, 1})) == "(1,2)");
    CHECK(t.db.one<swapped>("select row(1, 2)"_sql()) == swapped{1, 2});  // an anonymous record has no names
    CHECK(t.db.one<row_with_column>("select 1::int8 as id, row('x', null, 1)::address as home"_sql()).home.street == "x");
    CHECK(t.db.one<bool>("select (:p::address).street = 'x'"_sql(address{"x", 1, strata::decimal{1}})));
}

TEST_CASE("a composite that does not fit its struct is refused", "[postgres][nested]") {
    types t;
    const auto plan = t.db.try_one<stranger>("select null::pair p"_sql());
    REQUIRE(plan.has_error());
    CHECK(plan.error().code() == errc::type_mismatch);
    CHECK(plan.error().phase() == strata::phase::prepare);
    CHECK(plan.error().message().find("pair") != std::string::npos);
    CHECK(t.db.try_one<swapped>("select row('x', null, 1)::address"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_one<swapped>("select row(1, 'x')"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_one<swapped>("select row(1, 2, 3)"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_one<swapped>("select row(1, null)::pair"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_execute("select :p::pair"_sql(stranger{1, 2})).error().code() == errc::type_mismatch);
    CHECK(t.db.try_execute("select :p::address"_sql(swapped{1, 2})).error().code() == errc::type_mismatch);
    CHECK(t.db.try_execute("select :p::address"_sql(address{"x", 1, strata::decimal{-1}})).error().code() == errc::check_violation);
}

TEST_CASE("enums are read and written by name", "[postgres][nested]") {
    types t;
    for (const mood m : {mood::sad, mood::ok, mood::happy}) t.round_trip("mood", m);
    t.round_trip("colour", colour::light_blue);
    t.round_trip("mood[]", std::vector<mood>{mood::ok, mood::sad});
    CHECK(t.db.one<colour>("select 'light blue'"_sql()) == colour::light_blue);
    CHECK(t.db.try_one<mood>("select 'furious'"_sql()).error().code() == errc::out_of_range);
    CHECK(t.db.try_execute("select :m::mood"_sql(static_cast<mood>(9))).error().code() == errc::out_of_range);
    CHECK(t.db.try_one<mood>("select 1"_sql()).error().code() == errc::type_mismatch);
}

TEST_CASE("ranges and multiranges keep their bounds", "[postgres][nested]") {
    types t;
    using days = strata::range<std::chrono::year_month_day>;
    using time = std::chrono::sys_time<std::chrono::microseconds>;
    const auto day = [](int d) { return std::chrono::year_month_day{std::chrono::sys_days{std::chrono::days{d}}}; };
    t.round_trip("int4range", strata::range<int>{.lower = 1, .upper = 10});
    t.round_trip("int4range", strata::range<int>{.empty = true});
    t.round_trip("int8range", strata::range<std::int64_t>{.lower = -5});
    t.round_trip("int8range", strata::range<std::int64_t>{.upper = -5});
    t.round_trip("int8range", strata::range<std::int64_t>{});
    t.round_trip("numrange", strata::range<strata::decimal>{strata::decimal{"-1.50"}, strata::decimal{"2"}, false, true});
    t.round_trip("numrange", strata::range<strata::decimal>{strata::decimal{"1"}, strata::decimal{"2"}, true, true});
    t.round_trip("daterange", days{.lower = day(0), .upper = day(31)});
    t.round_trip("tstzrange", strata::range<time>{time{std::chrono::microseconds{1}}, std::nullopt, false});
    t.round_trip("tsrange", strata::range<time>{.upper = time{std::chrono::microseconds{-1}}, .upper_included = true});
    t.round_trip("int4multirange", strata::multirange<int>{{{.upper = 0}, {.lower = 5, .upper = 7}, {.lower = 9}}});
    t.round_trip("nummultirange", strata::multirange<strata::decimal>{});
    t.round_trip("int4range[]", std::vector<strata::range<int>>{{.lower = 1}, {.empty = true}});
    std::mt19937_64 random{20261121};
    for (int i = 0; i < count(100, 2000); ++i) {
        strata::range<strata::decimal> r;
        const auto low = static_cast<std::int64_t>(random() % 1000) - 500;
        if (random() % 4 != 0) r.lower = strata::decimal{low};
        if (random() % 4 != 0) r.upper = strata::decimal{low + 1 + static_cast<std::int64_t>(random() % 9)};
        r.lower_included = random() % 2 != 0;
        r.upper_included = random() % 2 != 0;
        t.round_trip("numrange", r);
    }
    CHECK(t.db.one<strata::range<int>>("select '[1,9]'::int4range"_sql()) == strata::range<int>{.lower = 1, .upper = 10});
    t.db.execute("create type words as range (subtype = text)"_sql());
    t.round_trip("words", strata::range<std::string>{.lower = "a\"b\\", .upper = "b,)"});
    CHECK(t.db.one<bool>("select :r @> 3"_sql("r"_arg.as("int4range") = strata::range<int>{.lower = 1})));
    CHECK(t.db.try_one<strata::range<std::string>>("select '[1,2)'::int4range r"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_one<strata::range<int>>("select '{}'::int4multirange r"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_execute("select :r::int4range"_sql(strata::range<int>{.lower = 2, .upper = 1})).error().effect() ==
          strata::effect::none);
}

TEST_CASE("intervals keep months, days and microseconds", "[postgres][nested]") {
    types t;
    using strata::interval;
    t.round_trip("interval", interval{});
    t.round_trip("interval", interval{14, -3, 14'706'500'000});
    t.round_trip("interval", interval{-1, 0, -1});
    t.round_trip("interval[]", std::vector<interval>{{1, 2, 3}, {}});
    std::mt19937_64 random{20261121};
    for (int i = 0; i < count(300, 10000); ++i) {
        const interval v{static_cast<int>(random() % 4'000'000) - 2'000'000, static_cast<int>(random()),
                         static_cast<std::int64_t>(random()) >> (1 + random() % 50)};
        INFO(v.to_string());
        t.round_trip("interval", v);
    }
    CHECK(t.db.one<interval>("select interval '1 year 2 mons -3 days 04:05:06.5'"_sql()) == interval{14, -3, 14'706'500'000});
}

TEST_CASE("times of day are read and written, midnight at the end among them", "[postgres][nested]") {
    types t;
    using time = std::chrono::hh_mm_ss<std::chrono::microseconds>;
    for (const std::int64_t us :
         {std::int64_t{0}, std::int64_t{1}, std::int64_t{45'296'789'012}, std::int64_t{86'399'999'999}, std::int64_t{86'400'000'000}}) {
        const time v{std::chrono::microseconds{us}};
        CHECK(t.db.one<time>("select :v::time"_sql(v)).to_duration() == v.to_duration());
        CHECK(t.db.one<bool>(
            "select :v::time = time '00:00' + :us::int8 * interval '1 microsecond' or :us = 86400000000"_sql("v"_arg = v, "us"_arg = us)));
    }
    CHECK(t.db.try_execute("select :v::time"_sql(time{std::chrono::microseconds{-1}})).error().code() == errc::out_of_range);
    CHECK(t.db.try_one<time>("select '12:00+02'::timetz"_sql()).error().code() == errc::type_mismatch);
    CHECK(t.db.try_one<std::chrono::hh_mm_ss<std::chrono::seconds>>("select '12:00:00.5'::time"_sql()).error().code() ==
          errc::out_of_range);
}

TEST_CASE("hstore is a map of texts that may be NULL", "[postgres][nested]") {
    types t;
    if (!t.db.one<bool>("select exists (select from pg_available_extensions where name = 'hstore')"_sql())) return;
    t.db.execute("create extension hstore"_sql());
    t.round_trip("hstore", strata::hstore{});
    t.round_trip("hstore", strata::hstore{{"a", "1"}, {"", std::nullopt}, {"NULL", "NULL"}, {"\"\\", "=>,"}});
    std::mt19937_64 random{20261121};
    for (int i = 0; i < count(50, 1000); ++i) {
        strata::hstore h;
        for (std::uint64_t n = random() % 5; n > 0; --n)
            h[awkward_text(random)] = random() % 3 == 0 ? std::nullopt : std::optional{awkward_text(random)};
        t.round_trip("hstore", h);
    }
    CHECK(t.db.try_one<strata::hstore>("select '{}'::jsonb h"_sql()).error().code() == errc::type_mismatch);
}

TEST_CASE("what has no codec is a clear error, and comes as text on request", "[postgres][nested]") {
    types t;
    for (const char* column : {"'1.50'::money", "'(1,2)'::point", "'1 & 2'::tsquery", "'{1,2}'::money[]"}) {
        const auto r = t.db.try_one<std::string>(strata::statement{"select " + std::string{column} + " as c"});
        INFO(column);
        REQUIRE(r.has_error());
        CHECK(r.error().code() == errc::type_mismatch);
        CHECK(r.error().texts().column == "c");
        CHECK(!t.db.one<std::string>(strata::statement{"select (" + std::string{column} + ")::text"}).empty());
    }
}

TEST_CASE("without prepared statements composites and ranges go by position, as text", "[postgres][nested]") {
    types t{false};
    CHECK(t.db.one<std::string>("select (:p::pair)::text"_sql(swapped{1, 2})) == "(1,2)");
    CHECK(t.db.one<std::string>("select (:r::int4range)::text"_sql(strata::range<int>{.lower = 1, .upper = 4})) == "[1,4)");
    CHECK(t.db.one<strata::range<int>>("select '[1,9]'::int4range"_sql()) == strata::range<int>{.lower = 1, .upper = 10});
}
