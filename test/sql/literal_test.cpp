// Literals: their types, what a call keeps, the descriptor.
#include <strata/sql/literal.hpp>
#include <support/catch.hpp>

#include <bit>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

using namespace strata::literals;
using strata::bound;
using strata::dialect;
using strata::known;
using strata::statement_kind;

namespace {

constexpr auto find = "select id, owner from account where id = :id and owner <> :owner and :id > 0"_sql;

template <class B, class... Args>
constexpr bool holds = std::is_same_v<decltype(B::arguments), std::tuple<Args...>>;

template <class B>
std::vector<std::string> shown(const B& b) {
    std::vector<std::string> all;
    b.for_each_argument([&](std::size_t i, const auto& value) {
        CHECK(i == all.size());
        if constexpr (std::is_convertible_v<decltype(value), std::string_view>)
            all.emplace_back(std::string_view(value));
        else
            all.push_back(std::to_string(value));
    });
    return all;
}

using strings = std::vector<std::string>;

}  // namespace

TEST_CASE("sql: a literal is rewritten for both dialects", "[sql][literal]") {
    const strata::descriptor& d = find.text();
    CHECK(d.text == "select id, owner from account where id = :id and owner <> :owner and :id > 0");
    CHECK(d.postgres_text == "select id, owner from account where id = $1 and owner <> $2 and $1 > 0");
    CHECK(d.sqlite_text == "select id, owner from account where id = ?1 and owner <> ?2 and ?1 > 0");
    for (const std::string_view text : {d.text, d.postgres_text, d.sqlite_text}) CHECK(text.data()[text.size()] == '\0');
    REQUIRE(d.parameters == 2);
    CHECK(d.names[0] == "id");
    CHECK(d.parameter(1) == "owner");
    CHECK(d.parameter(2).empty());
    CHECK(d.kind == statement_kind::read);
    CHECK(d.idempotent);
    CHECK(d.statements == 1);
    CHECK(d.fits(dialect::postgres));
    CHECK(d.fits(dialect::sqlite));
    CHECK(d.text_for(dialect::sqlite).data() == d.sqlite_text.data());
}

TEST_CASE("sql: a text without parameters is stored once", "[sql][literal]") {
    const strata::descriptor& d = "begin"_sql.text();
    CHECK(d.text.data() == d.postgres_text.data());
    CHECK(d.text.data() == d.sqlite_text.data());
    CHECK(""_sql.text().text.empty());
    CHECK(""_sql.text().statements == 0);
    static_assert(decltype(""_sql())::facts.kind == statement_kind::other);
}

TEST_CASE("sql: the type carries facts and names, never the text", "[sql][literal]") {
    static_assert(std::is_same_v<decltype("select a from t where b = :x"_sql), decltype("select c from s where :x > d"_sql)>);
    static_assert(!std::is_same_v<decltype("select a from t where b = :x"_sql), decltype("select a from t where b = :y"_sql)>);
    static_assert(std::is_same_v<decltype("select :a"_sql(1)), decltype("select :b"_sql(1))>);
    static_assert(!std::is_same_v<decltype("select :a"_sql(1)), decltype("delete from t where a = :a"_sql(1))>);
    static_assert(sizeof(find) == sizeof(void*) + sizeof(std::string_view));
    static_assert(std::is_trivially_copyable_v<decltype(find)>);
    static_assert(find.label().empty());
    static_assert(find.named("find").label() == "find");
    CHECK(find.named("find")(1, 2).label() == "find");
    CHECK(&find.named("find").text() == &find.text());
}

TEST_CASE("sql: facts of a call", "[sql][literal]") {
    using read = decltype(find(1, 2));
    static_assert(read::facts.kind == statement_kind::read && read::facts.kind_known);
    static_assert(read::facts.idempotent == known::yes && read::facts.statements == 1);
    static_assert(read::facts.fits_postgres && read::facts.fits_sqlite);
    static_assert(read::kind() == statement_kind::read && read::idempotent());
    using write = decltype("update t set a = 1"_sql());
    static_assert(write::facts.kind == statement_kind::write && write::facts.idempotent == known::no);
    using said = decltype("update t set a = 1"_sql.idempotent()());
    static_assert(said::facts.kind == statement_kind::write && said::facts.idempotent == known::yes);
    using cast = decltype("select :a::int"_sql(1));
    static_assert(cast::facts.fits_postgres && !cast::facts.fits_sqlite);
    using quoted = decltype("select [it's]"_sql());
    static_assert(!quoted::facts.fits_postgres && quoted::facts.fits_sqlite);
    CHECK("select [it's]"_sql.text().postgres_text.data() == nullptr);
    CHECK_FALSE("select :a::int"_sql.text().fits(dialect::sqlite));
    using two = decltype("select 1; delete from t"_sql());
    static_assert(two::facts.statements == 2 && two::facts.kind == statement_kind::write);
}

TEST_CASE("sql: where the dialects see different parameters the call decides", "[sql][literal]") {
    constexpr auto odd = "select [:x] from t where a = :y"_sql;
    using sqlite = decltype(odd("y"_arg = 1));
    using postgres = decltype(odd("y"_arg = 1, "x"_arg = 2));
    static_assert(sqlite::facts.fits_sqlite && !sqlite::facts.fits_postgres);
    static_assert(postgres::facts.fits_postgres && !postgres::facts.fits_sqlite);
    CHECK(odd("y"_arg = 1).text().parameters == 1);
    CHECK(odd("y"_arg = 1).text().names[0] == "y");
    CHECK(odd("y"_arg = 1).text().sqlite_text == "select [:x] from t where a = ?1");
    CHECK(odd("y"_arg = 1, "x"_arg = 2).text().postgres_text == "select [$1] from t where a = $2");
    CHECK(shown(odd("y"_arg = 1, "x"_arg = 2)) == strings{"2", "1"});
    CHECK(shown(odd(1)) == strings{"1"});
    CHECK(odd(1).text().sqlite_text == odd.text().sqlite_text);

    constexpr auto turned = "select [:a], :b, :a"_sql;  // the same names in another order: numbered alike
    using both = decltype(turned("b"_arg = 1, "a"_arg = 2));
    static_assert(both::facts.fits_postgres && both::facts.fits_sqlite);
    CHECK(turned.text().postgres_text == "select [$1], $2, $1");
    CHECK(turned.text().sqlite_text == "select [:a], ?2, ?1");
    CHECK(shown(turned("b"_arg = 1, "a"_arg = 2)) == strings{"2", "1"});

    constexpr auto comment = "select 1 /* /* */ + :a /* */ */"_sql;
    static_assert(!decltype(comment())::facts.fits_sqlite);
    CHECK(comment().text().parameters == 0);
    using differing = decltype("select 1 /* /* */; delete from t -- */ */"_sql());
    static_assert(differing::facts.fits_postgres && differing::facts.fits_sqlite);
    static_assert(differing::facts.kind == statement_kind::write && differing::facts.idempotent == known::no &&
                  differing::facts.statements == 2);
}

TEST_CASE("sql: arguments are found by name or by position", "[sql][literal]") {
    CHECK(shown(find("id"_arg = 7, "owner"_arg = "x")) == strings{"7", "x"});
    CHECK(shown(find("owner"_arg = "x", "id"_arg = 7)) == strings{"7", "x"});
    CHECK(shown(find(7, "x")) == strings{"7", "x"});
    CHECK(shown("select 1"_sql()).empty());
    CHECK(shown("select :a, :b, :c, :d"_sql("d"_arg = 4, "b"_arg = 2, "a"_arg = 1, "c"_arg = 3)) == strings{"1", "2", "3", "4"});
    constexpr auto bound_early = find("id"_arg = 7, "owner"_arg = 8);
    static_assert(std::get<0>(bound_early.arguments) == 7);
    const int id = 1;
    const std::tuple members{"other"_arg = 3, "owner"_arg = 2, "id"_arg = id};
    CHECK(shown(find(strata::argument_set{members})) == strings{"1", "2"});
    CHECK(shown("select 1"_sql(strata::argument_set{members})).empty());
}

TEST_CASE("sql: a call keeps rvalues by value and lvalues by reference", "[sql][literal]") {
    int id = 7;
    const std::string owner = "Ada";
    auto b = find(id, owner);
    static_assert(holds<decltype(b), const int&, const std::string&>);
    id = 8;
    CHECK(shown(b) == strings{"8", "Ada"});
    static_assert(holds<decltype(find(7, std::string("x"))), int, std::string>);
    static_assert(holds<decltype(find("id"_arg = id, "owner"_arg = std::string())), const int&, std::string>);
    static_assert(holds<decltype(find(std::as_const(id), std::move(id))), const int&, int>);
    static_assert(holds<decltype(find(std::nullopt, std::optional<int>())), const std::nullopt_t&, std::optional<int>>);
    auto named = "id"_arg = id;
    static_assert(holds<decltype("select :id"_sql(named)), const int&>);
    auto valued = "id"_arg = std::string("x");
    static_assert(holds<decltype("select :id"_sql(valued)), std::string>);
    CHECK(shown("select :id"_sql(valued)) == strings{"x"});
    CHECK(valued.value == "x");
}

TEST_CASE("sql: C strings become views, and copies in calls that outlive them", "[sql][literal]") {
    const char* pointer = "abc";
    char array[8] = "def";
    const char full[3] = {'g', 'h', 'i'};
    constexpr auto three = "select :a, :b, :c"_sql;
    auto b = three(pointer, array, full);
    b.for_each_argument([](std::size_t, const auto& value) { static_assert(std::is_same_v<decltype(value), const std::string_view&>); });
    CHECK(shown(b) == strings{"abc", "def", "ghi"});
    auto own = b.own();
    static_assert(holds<decltype(own), std::string, std::string, std::string>);
    array[0] = 'D';
    CHECK(shown(b)[1] == "Def");
    CHECK(shown(own)[1] == "def");
    CHECK(shown(three("", "a\0b", std::string("a\0b", 3))) == strings{"", "a", std::string("a\0b", 3)});

    const char* null = nullptr;
    try {
        static_cast<void>(three(null, array, full));
        FAIL("a null pointer was taken for a text");
    } catch (const strata::failure& f) {
        CHECK(f.code() == strata::errc::null_value);
        CHECK(f.error().texts().hint.find("std::nullopt") != std::string::npos);
    }
}

TEST_CASE("sql: own() leaves views that a user made", "[sql][literal]") {
    const std::string_view view = "abc";
    const std::vector<int> list{1, 2};
    int x = 1;
    auto b = "select :a, :b, :c, :d"_sql(view, std::span<const int>(list), std::ref(x), x);
    static_assert(holds<decltype(b), const std::string_view&, std::span<const int>, std::reference_wrapper<int>, const int&>);
    static_assert(holds<decltype(b.own()), std::string_view, std::span<const int>, std::reference_wrapper<int>, int>);
    auto moved = "select :a"_sql(std::make_unique<int>(3));
    auto kept = std::move(moved).own();
    static_assert(holds<decltype(kept), std::unique_ptr<int>>);
    CHECK(*std::get<0>(kept.arguments) == 3);
    CHECK(kept.what == moved.what);
}

TEST_CASE("sql: faces take bound statements and literals without parameters", "[sql][literal]") {
    static_assert(strata::bound_statement<decltype(find(1, 2))>);
    static_assert(strata::bound_statement<decltype(find(1, 2).own())>);
    static_assert(!strata::bound_statement<int>);
    const auto b = find(1, 2);
    CHECK(&strata::detail::as_bound(b) == &b);
    static_assert(std::is_same_v<decltype(strata::detail::as_bound(find(1, 2))), decltype(find(1, 2))&&>);
    CHECK(strata::detail::as_bound("commit"_sql).text().text == "commit");
    CHECK_FALSE(strata::detail::check_statement(b, dialect::sqlite));
}

TEST_CASE("sql: the hash belongs to the text", "[sql][literal]") {
    CHECK("select 1"_sql.text().hash == strata::hash_text("select 1"));
    std::vector<strata::hash128> seen;
    const auto fresh = [&](const std::string& text) {
        const strata::hash128 h = strata::hash_text(text);
        for (const strata::hash128& other : seen) {
            if (other.high == h.high || other.low == h.low) return false;
        }
        seen.push_back(h);
        return true;
    };
    for (std::size_t n = 0; n < 40; ++n) CHECK(fresh(std::string(n, '\0')));
    for (std::size_t n = 1; n < 40; ++n) CHECK(fresh(std::string(n, 'a')));
    for (int i = 0; i < 500; ++i) CHECK(fresh("select a from t where b = " + std::to_string(i)));
    const std::string base = "select id, owner from account";
    for (std::size_t i = 0; i < base.size() * 8; ++i) {  // a flipped bit changes half of the others
        std::string changed = base;
        changed[i / 8] = static_cast<char>(changed[i / 8] ^ (1 << (i % 8)));
        const auto a = strata::hash_text(base);
        const auto b = strata::hash_text(changed);
        const int bits = std::popcount(a.high ^ b.high) + std::popcount(a.low ^ b.low);
        CHECK(bits > 30);
        CHECK(bits < 98);
    }
}

TEST_CASE("sql: a hash is the same everywhere", "[sql][literal]") {
    // A change of these numbers changes the names of prepared statements and the keys of every cache.
    CHECK(strata::hash_text("") == strata::hash128{0xf54d3c3f24bcea14ULL, 0x057dcb86fa7c21f5ULL});
    CHECK(strata::hash_text("select 1") == strata::hash128{0x7fe741eea1f61fbaULL, 0xa4a4f529ca099052ULL});
}
