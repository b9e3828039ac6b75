// Rows into structs, tuples, single values and dynamic rows; what is said when they do not fit.
#include <value/fakes.hpp>

#include <strata/value/row.hpp>
#include <strata/value/sinks.hpp>

#include <boost/describe/class.hpp>
#include <boost/hana/adapt_struct.hpp>
#include <boost/hana/define_struct.hpp>

using namespace strata_test;
using strata::column_type;
using strata::errc;

namespace {

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::optional<int> version;
};

struct base {
    int id = 0;
};
struct described : base {
    std::string owner;
    inline static int count = 0;
    [[nodiscard]] bool good() const { return true; }
};
BOOST_DESCRIBE_STRUCT(base, (), (id))
BOOST_DESCRIBE_STRUCT(described, (base), (owner, count, good))

class described_class {
public:
    int id = 0;

private:
    [[maybe_unused]] int secret_ = 0;
    BOOST_DESCRIBE_CLASS(described_class, (), (id), (), (secret_))
};

struct defined {
    BOOST_HANA_DEFINE_STRUCT(defined, (int, id), (std::string, owner));
};

struct viewing {
    int id = 0;
    std::string_view owner;
};

struct wide {
    int a0 = 0, a1 = 0, a2 = 0, a3 = 0, a4 = 0, a5 = 0, a6 = 0, a7 = 0, a8 = 0, a9 = 0;
    int b0 = 0, b1 = 0, b2 = 0, b3 = 0, b4 = 0, b5 = 0, b6 = 0;
};

struct renaming {
    int id = 0;
    std::string owner;
    int version = 0;
};

/// Plans and decodes; the error, or none.
template <class T>
strata::error decode(const fake_row& row, T& out) {
    strata::row_plan plan;
    strata::error e = strata::row_decoder<T>::plan(row, plan);
    if (e) return e;
    CHECK(plan.tag == strata::row_decoder<T>::tag());
    const bool good = strata::row_decoder<T>::decode(row, plan, out, e);
    CHECK(good == !e);
    return e;
}
template <class T>
strata::error decode(const fake_row& row) {
    T out{};
    return decode(row, out);
}

fake_row account_row() {
    return {{"id", "owner", "balance", "version"},
            {integer(7), text("Ada"), integer(100), null_value()},
            {"INTEGER", "TEXT", "INTEGER", ""}};
}

}  // namespace

BOOST_HANA_ADAPT_STRUCT(account, id, owner, balance, version);
BOOST_HANA_ADAPT_STRUCT(viewing, id, owner);
BOOST_HANA_ADAPT_STRUCT(wide, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, b0, b1, b2, b3, b4, b5, b6);
BOOST_HANA_ADAPT_STRUCT(renaming, id, owner, version);

template <>
struct strata::mapping<renaming> {
    static constexpr std::string_view table = "renamings";
    static constexpr std::string_view key = "key";
    static constexpr std::string_view version = "version";
    static constexpr strata::renamed columns[] = {{.member = "id", .column = "key"}, {.member = "owner", .column = "owner_name"}};
};

TEST_CASE("members are known by name, for Hana and Describe alike", "[members]") {
    static_assert(strata::adapted_struct<account> && strata::adapted_struct<described> && strata::adapted_struct<defined> &&
                  strata::adapted_struct<described_class>);
    static_assert(!strata::adapted_struct<std::string> && !strata::adapted_struct<int> && !strata::adapted_struct<std::optional<account>>);
    static_assert(strata::member_count<account> == 4 && strata::member_name<account>(3) == "version");
    static_assert(strata::member_index<account>("balance") == 2 && strata::member_index<account>("x") == -1);
    // bases first; neither static members nor functions nor private ones
    static_assert(strata::member_count<described> == 2);
    static_assert(strata::member_name<described>(0) == "id" && strata::member_name<described>(1) == "owner");
    static_assert(strata::member_count<described_class> == 1);
    static_assert(strata::member_count<defined> == 2 && strata::member_name<defined>(1) == "owner");

    const account a{1, "Ada", 5, {}};
    std::string seen;
    strata::for_each_member(a, [&](std::string_view name, const auto&) { seen.append(name).append(" "); });
    CHECK(seen == "id owner balance version ");
    CHECK(strata::get_member<1>(a) == "Ada");
    described d;
    strata::get_member<0>(d) = 3;
    CHECK(d.id == 3);
    static_assert(strata::column_names<renaming>[0] == "key" && strata::column_names<renaming>[2] == "version");
    static_assert(strata::key_columns<renaming>.size() == 1 && strata::key_columns<account>.empty());
}

TEST_CASE("a row becomes a struct by column name", "[row]") {
    account a;
    REQUIRE_FALSE(decode(account_row(), a));
    CHECK(a.id == 7);
    CHECK(a.owner == "Ada");
    CHECK(a.balance == 100);
    CHECK_FALSE(a.version);

    const fake_row shuffled{{"more", "VERSION", "Balance", "owner", "id"}, {text("?"), integer(3), integer(1), text("Bob"), integer(9)}};
    REQUIRE_FALSE(decode(shuffled, a));
    CHECK(a.id == 9);
    CHECK(a.owner == "Bob");
    CHECK(a.version == 3);

    described d;
    REQUIRE_FALSE(decode(account_row(), d));
    CHECK((d.id == 7 && d.owner == "Ada"));
    defined f;
    REQUIRE_FALSE(decode(account_row(), f));
    CHECK((f.id == 7 && f.owner == "Ada"));
    described_class c;
    REQUIRE_FALSE(decode(account_row(), c));
    CHECK(c.id == 7);
}

TEST_CASE("an equal name is preferred to one of other case", "[row]") {
    viewing v;
    const fake_row row{{"ID", "id", "OWNER"}, {integer(1), integer(2), text("x")}};
    REQUIRE_FALSE(decode(row, v));
    CHECK(v.id == 2);
    CHECK(v.owner.data() == row.values[2].bytes.data());
    const fake_row unclear{{"ID", "Id", "owner"}, {integer(1), integer(2), text("x")}};
    CHECK(decode<viewing>(unclear).code() == errc::invalid_statement);
}

TEST_CASE("more members than a plan holds inline", "[row]") {
    fake_row row;
    for (int i = 0; i < 17; ++i) {
        row.names.insert(row.names.begin(), (i < 10 ? "a" : "b") + std::to_string(i % 10));
        row.values.insert(row.values.begin(), integer(i));
    }
    wide w;
    REQUIRE_FALSE(decode(row, w));
    CHECK((w.a0 == 0 && w.a9 == 9 && w.b6 == 16));
    strata::row_plan first;
    strata::row_plan plan;
    REQUIRE_FALSE(strata::row_decoder<wide>::plan(row, first));
    plan = std::move(first);
    strata::error e;
    wide again;
    REQUIRE(strata::row_decoder<wide>::decode(row, plan, again, e));
    CHECK(again.b5 == 15);
}

TEST_CASE("renamed columns", "[row]") {
    renaming r;
    REQUIRE_FALSE(decode(fake_row{{"key", "owner_name", "version"}, {integer(1), text("Ada"), integer(2)}}, r));
    CHECK((r.id == 1 && r.owner == "Ada" && r.version == 2));
    const strata::error e = decode<renaming>(fake_row{{"id", "owner", "version"}, {integer(1), text("Ada"), integer(2)}});
    CHECK(e.code() == errc::missing_column);
    CHECK(e.texts().column == "key");
}

TEST_CASE("each value's class is asked for once", "[row]") {
    int asked = 0;
    fake_row row = account_row();
    for (fake_value& v : row.values) v.asked = &asked;
    account a;
    REQUIRE_FALSE(decode(row, a));
    CHECK(asked == 4);
}

TEST_CASE("errors of rows name column, wanted and found type", "[row]") {
    SECTION("missing") {
        fake_row row = account_row();
        row.names[2] = "amount";
        const strata::error e = decode<account>(row);
        CHECK(e.code() == errc::missing_column);
        CHECK(e.phase() == strata::phase::result);
        CHECK(e.texts().column == "balance");
        CHECK(e.message() == "the statement returns no column \"balance\" (wanted int64); it returns id, owner, amount, version");
    }
    SECTION("no columns at all") {
        const strata::error e = decode<account>(fake_row{});
        CHECK(e.code() == errc::missing_column);
        CHECK_THAT(e.texts().hint, contains_text("RETURNING"));
        CHECK(decode<int>(fake_row{}).code() == errc::missing_column);
        CHECK(decode<strata::row>(fake_row{}).code() == errc::missing_column);
    }
    SECTION("twice") {
        fake_row row = account_row();
        row.names[2] = "owner";
        row.names.push_back("balance");
        row.values.push_back(integer(1));
        const strata::error e = decode<account>(row);
        CHECK(e.code() == errc::invalid_statement);
        CHECK(e.texts().column == "owner");
        CHECK_THAT(e.message(), contains_text("more than one column is named \"owner\""));
    }
    SECTION("twice, but not wanted") {
        fake_row row = account_row();
        row.names.insert(row.names.end(), {"x", "x"});
        CHECK_FALSE(decode<account>(row));
    }
    SECTION("null") {
        fake_row row = account_row();
        row.values[1] = null_value();
        const strata::error e = decode<account>(row);
        CHECK(e.code() == errc::null_value);
        CHECK(e.texts().column == "owner");
        CHECK(e.message() == "column \"owner\" is NULL, wanted string (the column is declared TEXT)");
        CHECK_THAT(e.texts().hint, contains_text("std::optional"));
    }
    SECTION("type") {
        fake_row row = account_row();
        row.values[2] = text("12345");
        const strata::error e = decode<account>(row);
        CHECK(e.code() == errc::type_mismatch);
        CHECK(e.texts().column == "balance");
        CHECK(e.message() == "column \"balance\": wanted int64, found text (the column is declared INTEGER)");
    }
    SECTION("range") {
        fake_row row = account_row();
        row.values[3] = integer(std::int64_t{1} << 40);
        const strata::error e = decode<account>(row);
        CHECK(e.code() == errc::out_of_range);
        CHECK(e.message() == "column \"version\": the integer found does not fit int32");
    }
}

TEST_CASE("tuples and pairs are read by position", "[row]") {
    std::tuple<int, std::string> t;
    REQUIRE_FALSE(decode(fake_row{{"a", "a"}, {integer(1), text("x")}}, t));
    CHECK(t == std::tuple{1, std::string{"x"}});
    std::pair<int, std::optional<int>> p;
    REQUIRE_FALSE(decode(fake_row{{"a", "b"}, {integer(1), null_value()}}, p));
    CHECK(p == std::pair{1, std::optional<int>{}});

    const strata::error few = decode<std::tuple<int, std::string>>(fake_row{{"a"}, {integer(1)}});
    CHECK(few.code() == errc::missing_column);
    CHECK(few.message() == "wanted 2 columns (int32, string), the statement returns 1");
    CHECK(decode<std::pair<int, int>>(account_row()).code() == errc::type_mismatch);
    const strata::error wrong = decode<std::tuple<int, std::string>>(fake_row{{"a", "b"}, {integer(1), integer(2)}});
    CHECK(wrong.code() == errc::type_mismatch);
    CHECK(wrong.texts().column == "b");
}

TEST_CASE("a single value takes a single column", "[row]") {
    int n = 0;
    REQUIRE_FALSE(decode(fake_row{{"count(*)"}, {integer(5)}}, n));
    CHECK(n == 5);
    const strata::error e = decode<int>(account_row());
    CHECK(e.code() == errc::type_mismatch);
    CHECK(e.message() == "wanted 1 column (int32), the statement returns 4");
    std::optional<std::string> s = "was";
    REQUIRE_FALSE(decode(fake_row{{"max(owner)"}, {null_value()}}, s));
    CHECK_FALSE(s);
}

TEST_CASE("tags tell plans apart", "[row]") {
    using strata::row_decoder;
    CHECK(row_decoder<account>::tag() != row_decoder<viewing>::tag());
    CHECK(row_decoder<account>::tag() != nullptr);
    CHECK(row_decoder<int>::tag() != row_decoder<std::pair<int, int>>::tag());
    CHECK(row_decoder<std::pair<int, int>>::tag() != (row_decoder<std::tuple<int, int, int>>::tag()));
    CHECK(row_decoder<strata::row>::tag() != row_decoder<int>::tag());
    // the same columns: one plan serves both
    CHECK(row_decoder<viewing>::tag() == row_decoder<defined>::tag());
}

TEST_CASE("a dynamic row owns its values", "[row]") {
    strata::row r;
    CHECK(r.empty());
    {
        fake_row source = account_row();
        source.names.insert(source.names.end(), {"share", "photo", "on", "odd"});
        source.values.insert(source.values.end(), {real(0.5), blob("\x01\x02"), boolean(true), other()});
        REQUIRE_FALSE(decode(source, r));
    }
    CHECK(r.size() == 8);
    CHECK(r["owner"].as<std::string>() == "Ada");
    CHECK(r["OWNER"].as<std::string_view>() == "Ada");
    CHECK(r[0].as<int>() == 7);
    CHECK(r["version"].is_null());
    CHECK_FALSE(r["version"].as<std::optional<int>>());
    CHECK(r["share"].as<double>() == 0.5);
    CHECK(r["photo"].as<strata::blob>() == strata::blob{std::byte{1}, std::byte{2}});
    CHECK(r["on"].as<bool>());
    CHECK(r["odd"].type() == column_type::other);
    CHECK(r["id"].declared_type() == "INTEGER");

    std::string seen;
    for (const strata::row_value v : r) seen.append(v.name()).append(":").append(to_string(v.type())).append(" ");
    CHECK(seen == "id:integer owner:text balance:integer version:null share:real photo:blob on:boolean odd:other ");

    CHECK_FALSE(r.find("nothing"));
    CHECK(r.find("id")->as<int>() == 7);
    int n = 0;
    CHECK_FALSE(r["balance"].try_as(n));
    CHECK(n == 100);
    CHECK(r["owner"].try_as(n).code() == errc::type_mismatch);
    CHECK(r["owner"].try_as(n).texts().column == "owner");
    CHECK(r["odd"].try_as(n).code() == errc::type_mismatch);

    const auto code_of = [](auto f) {
        try {
            f();
        } catch (const strata::failure& thrown) {
            return thrown.code();
        }
        return errc::ok;
    };
    CHECK(code_of([&] { static_cast<void>(r["nothing"]); }) == errc::missing_column);
    CHECK(code_of([&] { static_cast<void>(r[8]); }) == errc::missing_column);
    CHECK(code_of([&] { static_cast<void>(r["version"].as<int>()); }) == errc::null_value);
    CHECK(code_of([&] { static_cast<void>(strata::row{}["x"]); }) == errc::missing_column);

    const strata::row copy = r;
    r = {};
    CHECK(copy["owner"].as<std::string>() == "Ada");

    strata::row twice;
    REQUIRE_FALSE(decode(fake_row{{"a", "a"}, {integer(1), integer(2)}}, twice));
    CHECK(twice[1].as<int>() == 2);
    CHECK(code_of([&] { static_cast<void>(twice["a"]); }) == errc::invalid_statement);
}
