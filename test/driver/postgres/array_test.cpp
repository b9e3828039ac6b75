// Arrays both ways: the server's own text and its own comparison judge what we read and what we send.
#include "fixture.hpp"

#include <strata/sql/statement.hpp>
#include <strata/value/array.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/row.hpp>
#include <strata/value/uuid.hpp>

#include <limits>
#include <list>
#include <random>

using namespace strata_test;

namespace {

using database = strata::database<plain_stack>;
using time_us = std::chrono::sys_time<std::chrono::microseconds>;

/// Sends `value`, reads it back, and lets the server hold both against each other as `type`.
template <class T>
void round_trip(database& db, const std::string& type, const T& value) {
    strata::statement q{"select v, v::text, coalesce(v::text, 'null') = coalesce((:w::" + type +
                        ")::text, 'null') from (select :v::" + type + " as v) t"};
    const auto [back, text, same] = db.one<std::tuple<T, std::optional<std::string>, bool>>(q.set("v"_arg = value).set("w"_arg = value));
    INFO(type << ": " << text.value_or("null"));
    CHECK(back == value);
    CHECK(same);
}

struct dice {
    std::mt19937_64 random{20261121};

    std::uint64_t below(std::uint64_t n) { return random() % n; }
    template <class T>
    T integer() {
        if (below(8) == 0) return std::numeric_limits<T>::min();
        if (below(8) == 0) return std::numeric_limits<T>::max();
        return static_cast<T>(random() >> below(64));
    }
    std::string text() {
        static constexpr std::string_view pieces[] = {"\"", "\\", "{", "}", ",", "NULL", "null", " ",
                                                      "a",  "ß",  "",  "(", ")", "'",    "\n",   "=>"};
        std::string out;
        for (std::uint64_t n = below(6); n > 0; --n) out += pieces[below(std::size(pieces))];
        return out;
    }
    strata::decimal decimal() {
        std::string digits = below(2) != 0 ? "-" : "";
        for (std::uint64_t n = 1 + below(20); n > 0; --n) digits += static_cast<char>('0' + below(10));
        digits += '.';
        for (std::uint64_t n = 1 + below(10); n > 0; --n) digits += static_cast<char>('0' + below(10));
        return strata::decimal{digits};
    }
    time_us time() {
        return time_us{std::chrono::microseconds{static_cast<std::int64_t>(below(10'000'000'000'000'000)) - 5'000'000'000'000'000}};
    }
    strata::uuid uuid() {
        strata::uuid u;
        for (std::byte& b : u.bytes) b = static_cast<std::byte>(random());
        return u;
    }
    strata::blob blob() {
        strata::blob b(below(5));
        for (std::byte& x : b) x = static_cast<std::byte>(random());
        return b;
    }
    template <class Make>
    auto list(Make make) {
        std::vector<decltype(make())> out;
        for (std::uint64_t n = below(6); n > 0; --n) out.push_back(make());
        return out;
    }
    template <class Make>
    auto holes(Make make) {
        return list([&] { return below(3) == 0 ? std::nullopt : std::optional{make()}; });
    }
    template <class Make>
    auto cube(Make make) {
        strata::array<std::optional<decltype(make())>> out;
        std::size_t size = 1;
        for (std::uint64_t n = 1 + below(4); n > 0; --n) {
            out.dimensions.push_back({static_cast<std::int32_t>(1 + below(3)), static_cast<std::int32_t>(below(7)) - 3});
            size *= static_cast<std::size_t>(out.dimensions.back().size);
        }
        for (; size > 0; --size) out.elements.push_back(below(4) == 0 ? std::nullopt : std::optional{make()});
        return out;
    }
};

}  // namespace

TEST_CASE("the tables of built-in types are those of the server's catalogue", "[postgres][array]") {
    server s;
    auto& db = s.admin();
    const strata::detail::type_catalogue none;
    for (const strata::detail::array_type& a : strata::detail::array_types) {
        INFO(a.name);
        const auto found = db.maybe_one<std::tuple<std::int64_t, std::string>>(
            "select typelem::int8, format_type(oid, null) from pg_type where oid = :o::oid"_sql(std::int64_t{a.array}));
        REQUIRE(found);
        CHECK(std::get<0>(*found) == a.element);
        CHECK(std::get<1>(*found) == a.name);
    }
    for (const auto& [type, sub] : db.all<std::tuple<std::int64_t, std::int64_t>>(
             "select rngtypid::int8, rngsubtype::int8 from pg_range where rngtypid < 10000 union all "
             "select rngmultitypid::int8, rngtypid::int8 from pg_range where rngtypid < 10000"_sql()))
        CHECK(none.shape(static_cast<::Oid>(type)).part == sub);
    for (const auto& [type, size] :
         db.all<std::tuple<std::int64_t, std::int16_t>>("select oid::int8, typlen from pg_type where oid < 10000"_sql())) {
        const int fixed = strata::detail::fixed_size(static_cast<::Oid>(type));
        INFO(type);
        CHECK((fixed == -1 || fixed == size));
    }
}

TEST_CASE("random arrays of every type with a codec come back as they went", "[postgres][array]") {
    server s;
    auto& db = s.admin();
    dice d;
    const int rounds = count(20, 400);
    for (int i = 0; i < rounds; ++i) {
        round_trip(db, "int2[]", d.list([&] { return d.integer<std::int16_t>(); }));
        round_trip(db, "int4[]", d.list([&] { return d.integer<std::int32_t>(); }));
        round_trip(db, "int8[]", d.holes([&] { return d.integer<std::int64_t>(); }));
        round_trip(db, "oid[]", d.list([&] { return d.integer<std::uint32_t>(); }));
        round_trip(db, "numeric[]", d.holes([&] { return d.decimal(); }));
        round_trip(db, "float8[]", d.holes([&] { return static_cast<double>(d.integer<std::int64_t>()) / 7; }));
        round_trip(db, "float4[]", d.list([&] { return static_cast<float>(d.integer<std::int16_t>()) / 7; }));
        round_trip(db, "bool[]", d.list([&] { return d.below(2) != 0; }));
        round_trip(db, "bool[]", d.holes([&] { return d.below(2) != 0; }));
        round_trip(db, "text[]", d.holes([&] { return d.text(); }));
        round_trip(db, "varchar[]", d.list([&] { return d.text(); }));
        round_trip(db, "bytea[]", d.holes([&] { return d.blob(); }));
        round_trip(db, "uuid[]", d.holes([&] { return d.uuid(); }));
        round_trip(db, "timestamptz[]", d.holes([&] { return d.time(); }));
        round_trip(db, "timestamp[]", d.list([&] { return d.time(); }));
        round_trip(db, "date[]", d.list([&] { return std::chrono::year_month_day{std::chrono::floor<std::chrono::days>(d.time())}; }));
        round_trip(db, "int4[]", d.cube([&] { return d.integer<std::int32_t>(); }));
        round_trip(db, "text[]", d.cube([&] { return d.text(); }));
        round_trip(db, "numeric[]", d.cube([&] { return d.decimal(); }));
    }
    round_trip(db, "int4[]", std::optional<std::vector<int>>{});
    round_trip(db, "int4[]", strata::array<int>{});
}

TEST_CASE("arrays are read as the server prints them", "[postgres][array]") {
    server s;
    auto& db = s.admin();
    const auto grid = db.one<strata::array<std::optional<int>>>("select '[2:3][-1:1]={{1,2,null},{4,5,6}}'::int4[]"_sql());
    CHECK(grid.dimensions == std::vector<strata::array_dimension>{{2, 2}, {3, -1}});
    CHECK(grid.elements == std::vector<std::optional<int>>{1, 2, std::nullopt, 4, 5, 6});
    CHECK(db.one<std::vector<std::string>>("select array_agg(n::numeric / 4) from generate_series(1, 3) n"_sql()) ==
          std::vector<std::string>{"0.25000000000000000000", "0.50000000000000000000", "0.75000000000000000000"});
    CHECK(db.one<std::vector<std::int64_t>>("select '{1,2}'::int2[]"_sql()) == std::vector<std::int64_t>{1, 2});
    CHECK(db.one<std::vector<std::string>>("select '{12:00,13:30:15.25}'::time[]"_sql()) ==
          std::vector<std::string>{"12:00:00", "13:30:15.25"});
    CHECK(db.one<std::vector<std::string>>("select array['{\"a\": 1}']::jsonb[]"_sql()) == std::vector<std::string>{"{\"a\": 1}"});
    CHECK(db.one<std::vector<std::string>>("select '{10.0.0.0/8,::1}'::inet[]"_sql()) == std::vector<std::string>{"10.0.0.0/8", "::1"});
    CHECK(db.one<std::vector<int>>("select '[5:6]={7,8}'::int4[]"_sql()) == std::vector<int>{7, 8});
    CHECK(db.one<std::vector<int>>("select '{}'::int4[]"_sql()).empty());
}

TEST_CASE("any, unnest and the operators of arrays take vectors, spans and std::array", "[postgres][array]") {
    bank<> b{10};
    const std::vector<std::int64_t> ids{2, 3, 5, 99};
    constexpr auto among = "select id from account where id = any(:ids) order by id"_sql;
    CHECK(b.db.all<std::int64_t>(among(ids)) == std::vector<std::int64_t>{2, 3, 5});
    CHECK(b.db.all<std::int64_t>(among(std::span<const std::int64_t>{ids}.first(1))) == std::vector<std::int64_t>{2});
    CHECK(b.db.all<std::int64_t>(among("ids"_arg = std::array<int, 2>{7, 8})) == std::vector<std::int64_t>{7, 8});
    CHECK(b.db.all<std::int64_t>(among(std::vector<std::int64_t>{})).empty());
    CHECK(b.db.all<std::int64_t>(strata::statement{"select id from account where id = any(:ids) order by id"}.set("ids"_arg = ids)) ==
          std::vector<std::int64_t>{2, 3, 5});
    CHECK(b.db.all<std::int64_t>(strata::statement{"select id from account where id in (:ids...) order by id"}.set("ids"_arg = ids)) ==
          std::vector<std::int64_t>{2, 3, 5});
    const std::vector<std::string> owners{"Ada \"A\"", "{Bob}", "NULL"};
    b.db.execute("insert into account select * from unnest(:ids::int8[], :owners::text[], :balances::int8[])"_sql(
        std::vector<std::int64_t>{101, 102, 103}, owners, std::vector<int>{1, 2, 3}));
    CHECK(b.db.all<std::string>("select owner from account where id > 100 order by id"_sql()) == owners);
    CHECK(b.db.one<bool>("select array[1, 2, 3] @> :v"_sql(std::vector<int>{2})));
    CHECK(b.db.one<bool>("select array['a', 'b'] && :v"_sql(std::vector<std::string_view>{"x", "b"})));
    strata::any_session any{b.db};
    CHECK(any.all<std::int64_t>(among(ids)) == std::vector<std::int64_t>{2, 3, 5});
}

TEST_CASE("arrays of the database's own types are known by its catalogue", "[postgres][array]") {
    server s;
    strata::database<plain_stack> db{s.options(), server::one()};
    db.execute("create type mood as enum ('sad', 'ok', 'happy')"_sql());
    db.execute("create domain amount as numeric check (value >= 0)"_sql());
    db.execute("create domain short as amount check (value < 1000)"_sql());
    CHECK(db.one<std::string>("select 'ok'::mood"_sql()) == "ok");
    CHECK(db.one<std::vector<std::optional<std::string>>>("select array['sad', null, 'happy']::mood[]"_sql()) ==
          std::vector<std::optional<std::string>>{"sad", std::nullopt, "happy"});
    CHECK(db.one<std::vector<strata::decimal>>("select '{1.50,2}'::short[]"_sql()) ==
          std::vector<strata::decimal>{strata::decimal{"1.50"}, strata::decimal{"2"}});
    CHECK(db.one<bool>("select 'ok'::mood = any(:moods::mood[])"_sql(std::vector<std::string>{"sad", "ok"})));
    CHECK(db.one<bool>("select 1.5 = any(:list::short[])"_sql(std::vector<strata::decimal>{strata::decimal{"1.5"}})));
    CHECK(db.try_execute("select :list::short[]"_sql(std::vector<int>{-1})).error().code() == errc::check_violation);
    CHECK(db.one<std::vector<std::string>>("select array_agg(domain_name::information_schema.sql_identifier order by domain_name) from "
                                           "information_schema.domains where domain_schema = current_schema"_sql()) ==
          std::vector<std::string>{"amount", "short"});
}

TEST_CASE("an array that does not fit is an error that names the column", "[postgres][array]") {
    server s;
    auto& db = s.admin();
    const auto refused = [&](auto result, std::string_view text) {
        REQUIRE(result.has_error());
        const strata::error& e = result.error();
        CHECK(e.code() == errc::type_mismatch);
        CHECK(e.texts().column == "v");
        INFO(e.message() << " | " << e.texts().hint);
        CHECK((e.message() + e.texts().hint).find(text) != std::string::npos);
    };
    refused(db.try_one<std::vector<int>>("select '{{1,2},{3,4}}'::int4[] v"_sql()), "strata::array");
    refused(db.try_one<std::vector<int>>("select '{1,null}'::int4[] v"_sql()), "std::optional");
    refused(db.try_one<std::vector<int>>("select '{a}'::text[] v"_sql()), "text[]");
    refused(db.try_one<std::vector<int>>("select 1 v"_sql()), "integer");
    refused(db.try_one<int>("select '{1}'::int4[] v"_sql()), "integer[]");
    CHECK(db.try_one<std::vector<int>>("select null::int4[] v"_sql()).error().code() == errc::null_value);
    CHECK(db.try_one<std::vector<std::int16_t>>("select '{40000}'::int4[] v"_sql()).error().code() == errc::out_of_range);

    const auto not_sent = [&](auto bound, errc code) {
        const auto r = db.try_execute(bound);
        REQUIRE(r.has_error());
        CHECK(r.error().code() == code);
        CHECK(r.error().effect() == strata::effect::none);
        CHECK(r.error().message().find("argument 1") == 0);
    };
    not_sent("select :v::int4"_sql(std::vector<int>{1}), errc::type_mismatch);
    not_sent("select :v::text"_sql(std::vector<int>{1}), errc::type_mismatch);
    not_sent("select :v::int2[]"_sql(std::vector<int>{1, 40000}), errc::out_of_range);
    not_sent("select :v::int4[]"_sql(std::vector<double>{1.5}), errc::type_mismatch);
    not_sent("select :v::text[]"_sql(std::vector<std::string>{std::string("a\0b", 3)}), errc::invalid_argument);
    not_sent("select :v::int4[]"_sql(strata::array<int>{{{2, 1}}, {1, 2, 3}}), errc::invalid_argument);
    CHECK(db.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("without prepared statements arrays go as text", "[postgres][array]") {
    server s;
    auto options = s.options();
    options.prepare = false;
    strata::database<plain_stack> db{options, server::one()};
    CHECK(db.one<std::vector<int>>("select :v::int4[]"_sql(std::vector<int>{3, 1, 2})) == std::vector<int>{3, 1, 2});
    const std::vector<std::optional<std::string>> texts{"a\"b", std::nullopt, "\\", ""};
    CHECK(db.one<std::vector<std::optional<std::string>>>("select :v::text[]"_sql(texts)) == texts);
    const std::vector<strata::blob> bytes{{std::byte{0}, std::byte{255}}, {}};
    CHECK(db.one<std::vector<strata::blob>>("select :v::bytea[]"_sql(bytes)) == bytes);
}

TEST_CASE("hostile bytes are no array and are never read beyond their end", "[postgres][array]") {
    strata::detail::reading_memory memory;
    const auto read = [&](const std::string& bytes, auto& out) {
        const std::vector<std::byte> exact = [&] {
            std::vector<std::byte> v(bytes.size());
            for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<std::byte>(bytes[i]);
            v.shrink_to_fit();
            return v;
        }();
        const strata::postgres_column column{1007, std::span<const std::byte>{exact}, 0, memory};
        return strata::codec<std::remove_cvref_t<decltype(out)>>::read(column, out);
    };
    const auto n = [](std::uint32_t v) {
        return std::string{static_cast<char>(v >> 24), static_cast<char>(v >> 16), static_cast<char>(v >> 8), static_cast<char>(v)};
    };
    const std::string good = n(1) + n(0) + n(23) + n(2) + n(1) + n(4) + n(7) + n(4) + n(8);
    std::vector<std::int32_t> v;
    REQUIRE(read(good, v) == errc::ok);
    REQUIRE(v == std::vector<std::int32_t>{7, 8});
    for (std::size_t size = 0; size < good.size(); ++size) CHECK(read(good.substr(0, size), v) == errc::type_mismatch);
    CHECK(read(good + '\0', v) == errc::type_mismatch);
    CHECK(read(n(1) + n(0) + n(23) + n(0x7fffffff) + n(1), v) == errc::type_mismatch);  // a huge count: nothing is allocated
    CHECK(v.capacity() < 1000);
    CHECK(read(n(7) + n(0) + n(23), v) == errc::type_mismatch);
    CHECK(read(n(1) + n(0) + n(23) + n(0xffffffff) + n(1), v) == errc::type_mismatch);
    CHECK(read(n(1) + n(0) + n(23) + n(1) + n(1) + n(2) + "xx", v) == errc::type_mismatch);  // an integer of two bytes
    strata::array<int> cube;
    std::string six = n(6) + n(0) + n(23);
    for (int i = 0; i < 6; ++i) six += n(0x10000) + n(1);
    CHECK(read(six, cube) == errc::type_mismatch);  // the product overflows
    std::mt19937 random{7};
    for (int i = 0; i < count(20000, 1000000); ++i) {
        std::string bad = good;
        for (int k = 0; k < 3; ++k) bad[random() % bad.size()] = static_cast<char>(random());
        static_cast<void>(read(bad, v));
        static_cast<void>(read(bad, cube));
    }
}
