// Values both ways: what the server says in text is the judge of what we read in binary, and of what we send.
#include "fixture.hpp"

#include <strata/sql/statement.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/row.hpp>
#include <strata/value/uuid.hpp>

#include <limits>
#include <random>

using namespace strata_test;

namespace {

/// Reads a literal of a type in binary and compares with the server's own text.
void agrees(strata::database<plain_stack>& db, const std::string& type, const std::string& literal) {
    strata::statement q{"select v, format('%s', v) from (select '" + literal + "'::" + type + " as v) t"};
    const auto [ours, theirs] = db.one<std::tuple<std::string, std::string>>(q);
    INFO(type << " '" << literal << "'");
    CHECK(ours == theirs);
}

}  // namespace

TEST_CASE("values that have no class of their own read as the server's own text", "[postgres][value]") {
    server s;
    auto& db = s.admin();
    for (const char* v : {"0", "0.0", "-0.00", "1", "-1", "10000", "9999", "0.0001", "-0.00001", "123456789.987654321", "1e40", "1e-40",
                          "NaN", "Infinity", "-Infinity", "100000000000000000000000.000000000000000000001", "12340000", "0.50"})
        agrees(db, "numeric", v);
    for (const char* v : {"2000-01-01", "1999-12-31", "1969-12-31", "0001-01-01", "2024-02-29", "9999-12-31", "infinity", "-infinity"})
        agrees(db, "date", v);
    for (const char* v : {"5874897-12-31", "4713-01-01 BC", "0044-03-15 BC", "0001-12-31 BC"}) agrees(db, "date", v);
    for (const char* v : {"2000-01-01 00:00:00", "1969-12-31 23:59:59.999999", "1900-02-28 12:34:56.5", "0044-03-15 12:00:00 BC",
                          "infinity", "-infinity", "294276-12-31 23:59:59.999999"})
        agrees(db, "timestamp", v);
    for (const char* v : {"00:00:00", "23:59:59.999999", "24:00:00", "12:30:00.1"}) agrees(db, "time", v);
    for (const char* v : {"12:00:00+05:30", "12:00:00-08", "00:00:00.25+00", "12:00:00+01:02:03"}) agrees(db, "timetz", v);
    for (const char* v : {"01234567-89ab-cdef-0123-456789abcdef", "00000000-0000-0000-0000-000000000000"}) agrees(db, "uuid", v);
    for (const char* v :
         {"192.168.0.1", "10.0.0.0/8", "0.0.0.0/0", "::", "::1", "2001:db8::1/64", "2001:db8:0:1:0:0:0:1", "1:2:3:4:5:6:7:8", "fe80::"})
        agrees(db, "inet", v);
    for (const char* v : {"10.0.0.0/8", "2001:db8::/32", "1.2.3.4/32"}) agrees(db, "cidr", v);
    agrees(db, "macaddr", "08:00:2b:01:02:03");
    agrees(db, "macaddr8", "08:00:2b:01:02:03:04:05");
    for (const char* v : {"", "0", "10110", "111111111"}) agrees(db, "varbit", v);
    for (const char* v : {"{\"a\": [1, 2.50, null]}", "\"x\"", "null"}) agrees(db, "jsonb", v);
    agrees(db, "json", "{\"b\":1, \"b\":2}");
    agrees(db, "text", "Grüße, 世界");
    agrees(db, "name", "n");
    agrees(db, "char(4)", "ab  ");
}

TEST_CASE("random numbers, times and intervals keep every digit", "[postgres][value]") {
    server s;
    auto& db = s.admin();
    std::mt19937_64 random{20241121};
    const int rounds = std::getenv("STRATA_TEST_FULL") != nullptr ? 20000 : 1000;
    for (int i = 0; i < rounds; ++i) {
        std::string digits = random() % 2 != 0 ? "-" : "";
        for (std::uint64_t n = 1 + random() % 30; n > 0; --n) digits += static_cast<char>('0' + random() % 10);
        if (random() % 2 != 0) {
            digits += '.';
            for (std::uint64_t n = 1 + random() % 20; n > 0; --n)
                digits += static_cast<char>('0' + random() % (random() % 3 != 0 ? 10 : 1));
        }
        const auto us = static_cast<std::int64_t>(random() % 600'000'000'000'000'000) - 200'000'000'000'000'000;
        const int months = static_cast<int>(random() % 2000) - 1000, days = static_cast<int>(random() % 2000) - 1000;
        const auto span = static_cast<std::int64_t>(random() % 2'000'000'000'000) - 1'000'000'000'000;
        const auto [n, n_text, t, t_text, same] = db.one<std::tuple<std::string, std::string, std::string, std::string, bool>>(
            "select n, n::text, t, t::text, true from (select :n::text::numeric n, 'epoch'::timestamp + make_interval(secs => 0) + "
            ":us::bigint * interval '1 microsecond' t) x"_sql(digits, us));
        REQUIRE(n == n_text);
        REQUIRE(t == t_text);
        REQUIRE(same);
        const auto interval = db.one<std::string>(
            "select make_interval(months => :m, days => :d) + :us::bigint * interval '1 microsecond'"_sql(months, days, span));
        REQUIRE(
            db.one<bool>("select :i::interval is not distinct from make_interval(months => :m, days => :d) + :us::bigint * interval "
                         "'1 microsecond'"_sql(interval, months, days, span)));
    }
}

TEST_CASE("the first and last moments that eight bytes can hold are printed without an overflow", "[postgres][value]") {
    const auto printed = [](std::uint64_t us) {
        std::byte bytes[8];
        for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::byte>(us >> (56 - 8 * i));
        std::string out;
        CHECK(strata::detail::print_value(strata::oid::timestamp, bytes, out));
        return out;
    };
    CHECK(printed(0x7fffffffffffffff) == "infinity");
    CHECK(printed(0x8000000000000000) == "-infinity");
    CHECK(printed(0x8000000000000001) == "290279-12-22 19:59:05.224193 BC");
    CHECK(printed(0x7ffffffffffffffe) == "294277-01-09 04:00:54.775806");
}

TEST_CASE("arguments arrive as what they are, and what does not fit is refused before anything is sent", "[postgres][value]") {
    server s;
    auto& db = s.admin();
    CHECK(db.one<std::int16_t>("select :v::int2"_sql(std::int16_t{-32768})) == -32768);
    CHECK(db.one<std::int64_t>("select :v::int8"_sql(std::numeric_limits<std::int64_t>::min())) ==
          std::numeric_limits<std::int64_t>::min());
    CHECK(db.one<std::uint32_t>("select :v::oid"_sql(4'000'000'000u)) == 4'000'000'000u);
    CHECK(db.one<double>("select :v::float8"_sql(0.1)) == 0.1);
    CHECK(db.one<float>("select :v::float4"_sql(0.1F)) == 0.1F);
    CHECK(std::isnan(db.one<double>("select :v::float8"_sql(std::numeric_limits<double>::quiet_NaN()))));
    CHECK(db.one<bool>("select not :v::bool"_sql(false)));
    CHECK(db.one<strata::decimal>("select :v::numeric"_sql(strata::decimal{"12345678901234567890.0123"})) ==
          strata::decimal{"12345678901234567890.0123"});
    CHECK(db.one<std::string>("select :v::numeric"_sql(-7)) == "-7");
    CHECK(db.one<bool>("select :v::numeric = 0.1"_sql(0.1)));
    const auto id = strata::uuid::parse("01234567-89ab-cdef-0123-456789abcdef").value();
    CHECK(db.one<strata::uuid>("select :v::uuid"_sql(id)) == id);
    CHECK(db.one<bool>("select :a::text = E'it''s \\\\ \"quoted\"'"_sql("it's \\ \"quoted\"")));
    CHECK(db.one<std::optional<int>>("select :v::int4"_sql(std::nullopt)) == std::nullopt);
    const strata::blob bytes{std::byte{0}, std::byte{255}, std::byte{'\\'}};
    CHECK(db.one<strata::blob>("select :v::bytea"_sql(bytes)) == bytes);
    CHECK(db.one<int>("select length(:v::bytea)"_sql(bytes)) == 3);
    CHECK(db.one<std::string>("select :v::jsonb"_sql("{\"a\":1}")) == "{\"a\": 1}");

    const auto refused = [&](auto bound, errc code) {
        const auto r = db.try_execute(bound);
        REQUIRE(r.has_error());
        CHECK(r.error().code() == code);
        CHECK(r.error().effect() == strata::effect::none);
        CHECK(r.error().message().find("argument 1") == 0);
    };
    refused("select :v::int2"_sql(40000), errc::out_of_range);
    refused("select :v::int4"_sql(3'000'000'000), errc::out_of_range);
    refused("select :v::oid"_sql(-1), errc::out_of_range);
    refused("select :v::float8"_sql(9007199254740993), errc::out_of_range);
    refused("select :v::float4"_sql(16777217), errc::out_of_range);
    refused("select :v::float4"_sql(1e300), errc::out_of_range);
    refused("select :v::int4"_sql(1.5), errc::type_mismatch);
    refused("select :v::bool"_sql(1), errc::type_mismatch);
    refused("select :v::bytea"_sql("\\x00"), errc::type_mismatch);
    refused("select :v::text"_sql(std::string("a\0b", 3)), errc::invalid_argument);
    refused("select :v::date"_sql(bytes), errc::type_mismatch);
}

TEST_CASE("points of time are the same on both sides, whatever the session's time zone is", "[postgres][value]") {
    server s;
    auto& db = s.admin();
    REQUIRE(db.one<std::string>("select current_setting('TimeZone')"_sql()) != "UTC");
    using time = std::chrono::sys_time<std::chrono::microseconds>;
    for (const std::int64_t us : {std::int64_t{0}, std::int64_t{-1}, std::int64_t{1'732'190'400'123'456},
                                  std::int64_t{-2'208'988'800'000'001}, std::int64_t{946'684'800'000'000}}) {
        const time t{std::chrono::microseconds{us}};
        CHECK(db.one<time>("select :t::timestamptz"_sql(t)) == t);
        CHECK(db.one<time>("select :t::timestamp"_sql(t)) == t);
        CHECK(db.one<time>(strata::statement{"select :t::timestamptz"}.set("t"_arg = t)) == t);
        CHECK(strata::any_session{db}.one<time>("select :t::timestamptz"_sql(t)) == t);
        CHECK(db.one<bool>("select :t::timestamptz = 'epoch'::timestamptz + :us::bigint * interval '1 microsecond'"_sql(t, us)));
    }
    CHECK(db.one<time>("select '2024-02-29 12:00:00+05:30'::timestamptz"_sql()) ==
          time{std::chrono::sys_days{std::chrono::year{2024} / 2 / 29} + 6h + 30min});
    CHECK(db.try_one<time>("select 'infinity'::timestamptz"_sql()).error().code() == errc::type_mismatch);
    CHECK(db.one<std::string>("select 'infinity'::timestamptz"_sql()) == "infinity");
    const std::chrono::year_month_day day = std::chrono::year{1812} / 9 / 7;
    CHECK(db.one<std::chrono::year_month_day>("select :d::date"_sql(day)) == day);
}

TEST_CASE("a column that does not fit is an error that names column and types", "[postgres][value]") {
    server s;
    auto& db = s.admin();
    const auto null = db.try_one<int>("select null::int4 as amount"_sql());
    CHECK(null.error().code() == errc::null_value);
    CHECK(null.error().texts().column == "amount");
    CHECK(db.try_one<std::int16_t>("select 40000 as n"_sql()).error().code() == errc::out_of_range);
    CHECK(db.try_one<int>("select 'x' as n"_sql()).error().code() == errc::type_mismatch);
    const auto point = db.try_one<std::string>("select '(1,2)'::point as p"_sql());  // never silently wrong
    CHECK(point.error().code() == errc::type_mismatch);
    CHECK(db.one<std::string>("select '(1,2)'::point::text"_sql()) == "(1,2)");
    const auto missing = db.try_one<account>("select 1::int8 as id, 'x' as owner"_sql());
    CHECK(missing.error().code() == errc::missing_column);
    CHECK(missing.error().message().find("balance") != std::string::npos);
    const auto row = db.one<strata::row>("select 1 as one, 'two' as two, null::text as three"_sql());
    CHECK(row["two"].as<std::string>() == "two");
}

namespace {

struct wrong_balance {
    std::int64_t id = 0;
    std::string balance;
};
struct right_balance {
    std::int64_t id = 0;
    std::int64_t balance = 0;
};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(wrong_balance, id, balance);
BOOST_HANA_ADAPT_STRUCT(right_balance, id, balance);

TEST_CASE("a column type that does not fit is refused before anything is sent, be there rows or none", "[postgres][value]") {
    bank<> b{1};
    const auto refused = [&](auto result, std::string_view column, std::string_view wanted, std::string_view found) {
        REQUIRE(result.has_error());
        const strata::error& e = result.error();
        INFO(e.message());
        CHECK(e.code() == errc::type_mismatch);
        CHECK(e.phase() == strata::phase::prepare);
        CHECK(e.effect() == strata::effect::none);
        CHECK(e.texts().column == column);
        CHECK(e.message().find(wanted) != std::string::npos);
        CHECK(e.message().find(found) != std::string::npos);
    };
    refused(b.db.try_all<int>("select owner from account where false"_sql()), "owner", "int32", "text");
    refused(b.db.try_one<std::optional<int>>("select null::text as t"_sql()), "t", "int32", "text");
    refused(b.db.try_one<std::tuple<std::int64_t, std::string>>("select id, balance from account"_sql()), "balance", "string", "bigint");
    refused(b.db.try_all<std::vector<int>>("select array_agg(owner) as a from account"_sql()), "a", "int32[]", "text[]");
    refused(b.db.try_all<std::vector<std::optional<int>>>("select id as a from account"_sql()), "a", "int32[]", "bigint");
    refused(b.db.try_all<std::string>("select '(1,2)'::point p"_sql()), "p", "string", "other");
    refused(strata::any_session{b.db}.try_one<int>("select owner from account"_sql()), "owner", "int32", "text");
    // nothing was written
    refused(b.db.try_one<std::string>("insert into account values (2, 'x', 1) returning id"_sql()), "id", "string", "bigint");
    CHECK(b.db.one<int>("select count(*) from account"_sql()) == 1);
    // the plan of one row type is not taken for that of another which wants the same names
    constexpr auto both = "select id, balance from account"_sql;
    for (int i = 0; i < 3; ++i) {
        refused(b.db.try_one<wrong_balance>(both()), "balance", "string", "bigint");
        CHECK(b.db.one<right_balance>(both()).balance == 100);
    }
}
