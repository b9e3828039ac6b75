// Statements that are put together at run time.
#include <strata/sql/statement.hpp>
#include <support/catch.hpp>

#include <sqlite3.h>

#include <list>
#include <random>
#include <set>

using namespace strata::literals;
using strata::dialect;
using strata::errc;
using strata::statement;
using strata::statement_kind;
using strata_test::contains_text;

namespace {

using strings = std::vector<std::string>;

/// Notes what is written.
class noting_writer final : public strata::any_parameter_writer {
public:
    std::string last;

    void null() override { last = "null"; }
    void boolean(bool value) override { last = value ? "true" : "false"; }
    void integer(std::int64_t value) override { last = std::to_string(value); }
    void real(double value) override { last = std::to_string(value); }
    void text(std::string_view value) override { last = "'" + std::string(value) + "'"; }
    void text_copy(std::string_view value) override { last = "copy '" + std::string(value) + "'"; }
    void blob(std::span<const std::byte> value) override { last = std::to_string(value.size()) + " bytes"; }
    void blob_copy(std::span<const std::byte> value) override { last = std::to_string(value.size()) + " copied bytes"; }
};

strings arguments(const statement& q) {
    strings all;
    q.for_each_argument([&](std::size_t i, const strata::erased_argument& a) {
        CHECK(i == all.size());
        noting_writer w;
        CHECK(strata::codec<strata::erased_argument>::write(w, a) == errc::ok);
        all.push_back(w.last);
    });
    return all;
}

strings names(const statement& q) {
    return {q.text().names, q.text().names + q.text().parameters};
}

void refused(const statement& q, const std::string& message, std::int64_t position) {
    const strata::error e = q.check();
    CHECK(e.code() == errc::invalid_statement);
    CHECK_THAT(e.message(), contains_text(message));
    CHECK(e.texts().position == position);
    CHECK(e.effect() == strata::effect::none);
    CHECK(e.phase() == strata::phase::prepare);
    CHECK(e.local());
    CHECK_THROWS_AS(q.text(), strata::failure);
    CHECK(q.kind() == statement_kind::other);
    CHECK_FALSE(q.idempotent());
}

}  // namespace

TEST_CASE("sql: a run-time statement is rewritten as a literal is", "[sql][statement]") {
    statement q{"select id from account where id = :id and owner <> :owner and :id > 0"};
    q.set("owner"_arg = "Ada", "id"_arg = 7);
    CHECK_FALSE(q.check());
    CHECK(q.text().postgres_text == "select id from account where id = $1 and owner <> $2 and $1 > 0");
    CHECK(q.text().sqlite_text == "select id from account where id = ?1 and owner <> ?2 and ?1 > 0");
    CHECK(q.text().sqlite_text.data()[q.text().sqlite_text.size()] == '\0');
    CHECK(names(q) == strings{"id", "owner"});
    CHECK(arguments(q) == strings{"7", "'Ada'"});
    CHECK(q.kind() == statement_kind::read);
    CHECK(q.idempotent());
    CHECK(q.text().statements == 1);
    static_assert(strata::bound_statement<statement>);
    static_assert(!statement::facts.kind_known && statement::facts.idempotent == strata::known::at_run_time);
    const statement all{"select 1"};
    CHECK(all.text().hash == "select 1"_sql.text().hash);
    CHECK(all.text().text == "select 1");
    CHECK(statement{}.text().text.empty());
    CHECK(statement{}.text().statements == 0);
}

TEST_CASE("sql: arguments can be set again", "[sql][statement]") {
    statement q{"update t set a = :a"};
    q.set("a"_arg = 1);
    const auto hash = q.text().hash;
    CHECK(arguments(q) == strings{"1"});
    q.set("a"_arg = std::string("x"));
    CHECK(arguments(q) == strings{"'x'"});
    CHECK(q.text().hash == hash);
    CHECK(q.kind() == statement_kind::write);
    CHECK_FALSE(q.idempotent());
    CHECK(q.set_idempotent().idempotent());
    CHECK_FALSE(q.set_idempotent(false).idempotent());
    CHECK(q.named("set a").label() == "set a");
    CHECK(arguments(q) == strings{"'x'"});
}

TEST_CASE("sql: fragments bring their own arguments", "[sql][statement]") {
    statement q{"select * from t where a = :x"};
    q.set("x"_arg = 1);
    q += " and b = :x"_sql("x"_arg = 2);
    q += " and c = :x and d = :y"_sql(3, 4);
    q += " and e = :x";  // the statement's own
    CHECK(q.text().postgres_text == "select * from t where a = $1 and b = $2 and c = $3 and d = $4 and e = $1");
    CHECK(arguments(q) == strings{"1", "2", "3", "4"});
    CHECK(names(q) == strings{"x", "x", "x", "y"});

    statement same{"select * from t where a = :x"};
    same.set("x"_arg = 1);
    same += " and b = :x";
    CHECK(same.text().postgres_text == "select * from t where a = $1 and b = $1");
    statement other{"select * from t where a = :x"};
    other.set("x"_arg = 1);
    other += " and b = :x"_sql(1);
    CHECK(other.text().text == same.text().text);
    CHECK_FALSE(other.text().hash == same.text().hash);  // not the same for a database
}

TEST_CASE("sql: literals without arguments take them from the statement", "[sql][statement]") {
    statement q = "select * from t where a = :a"_sql;
    q += " and b = :a and c = :c"_sql;
    q.set("c"_arg = 3, "a"_arg = 1);
    CHECK(q.text().sqlite_text == "select * from t where a = ?1 and b = ?1 and c = ?2");
    CHECK(arguments(q) == strings{"1", "3"});
    const statement from_bound = "select :a"_sql(5);
    CHECK(arguments(from_bound) == strings{"5"});
}

TEST_CASE("sql: statements are fragments too", "[sql][statement]") {
    statement filter{"a = :x"};
    filter.set("x"_arg = 1);
    filter += " or b = :x"_sql(2);
    static_cast<void>(filter.text());
    statement q{"select * from t where c = :x and ("};
    q.set("x"_arg = 0);
    q += filter;
    q += ") and not (";
    q += filter;
    q += ")";
    CHECK(q.text().postgres_text == "select * from t where c = $1 and (a = $2 or b = $3) and not (a = $4 or b = $5)");
    CHECK(arguments(q) == strings{"0", "1", "2", "1", "2"});
    statement twice{"(:a)"};
    twice.set("a"_arg = 1);
    twice += twice;
    CHECK(twice.text().postgres_text == "($1)($2)");
    filter.set("x"_arg = 9);
    CHECK(arguments(q) == strings{"0", "1", "2", "1", "2"});
}

TEST_CASE("sql: identifiers are quoted", "[sql][statement]") {
    statement q{"select * from "};
    q += strata::identifier("a\"; drop table t; --");
    q += " order by ";
    q += strata::identifier("s", "Name :x");
    CHECK(q.text().postgres_text == "select * from \"a\"\"; drop table t; --\" order by \"s\".\"Name :x\"");
    CHECK(q.text().statements == 1);
    CHECK(q.kind() == statement_kind::read);
    for (const std::string& bad : {std::string(), std::string("a\0b", 3)}) {
        statement r{"select * from "};
        r += strata::identifier(bad);
        refused(r, "identifier must not be empty", 14);
        statement s{"select 1 union "};
        s += r;
        refused(s, "identifier must not be empty", 29);
        statement t{"select "};
        t += strata::identifier("s", bad);
        refused(t, "identifier must not be empty", 7);
    }
    statement joined;
    joined += strata::identifier("a");
    joined += strata::identifier("b");
    refused(joined, "runs from one fragment into the next", 0);
    statement unicode{"select U&"};
    unicode += strata::identifier("a");
    CHECK(unicode.check(dialect::postgres).code() == errc::invalid_statement);
    CHECK_FALSE(unicode.check(dialect::sqlite));
}

TEST_CASE("sql: lists are expanded and padded", "[sql][statement]") {
    statement q{"select * from t where a in (:ids...) and b = :b"};
    q.set("b"_arg = "x");
    const auto with = [&](int n) {
        std::vector<int> ids;
        for (int i = 1; i <= n; ++i) ids.push_back(i);
        q.set("ids"_arg = ids);
    };
    with(1);
    CHECK(q.text().postgres_text == "select * from t where a in ($1) and b = $2");
    CHECK(arguments(q) == strings{"1", "'x'"});
    with(3);
    CHECK(q.text().postgres_text == "select * from t where a in ($1, $2, $3, $4) and b = $5");
    CHECK(q.text().sqlite_text == "select * from t where a in (?1, ?2, ?3, ?4) and b = ?5");
    CHECK(q.text().text == "select * from t where a in (:ids...) and b = :b");
    CHECK(arguments(q) == strings{"1", "2", "3", "3", "'x'"});
    CHECK(names(q) == strings{"ids", "ids", "ids", "ids", "b"});
    const auto hash = q.text().hash;
    with(4);
    CHECK(q.text().hash == hash);
    with(5);
    CHECK_FALSE(q.text().hash == hash);
    CHECK(q.text().parameters == 9);
    with(0);
    CHECK(q.text().postgres_text == "select * from t where a = any ('{}') and b = $1");
    CHECK(q.text().sqlite_text == "select * from t where a in (select null where 1=0) and b = ?1");
    CHECK(arguments(q) == strings{"'x'"});
    CHECK(q.kind() == statement_kind::read);

    std::set<std::uint64_t> texts;
    for (int n = 0; n <= 300; ++n) {
        with(n);
        texts.insert(q.text().hash.high);
    }
    CHECK(texts.size() == 11);  // 0, 1, 2, 4, ... 512
}

TEST_CASE("sql: lists in other forms", "[sql][statement]") {
    statement q{"select * from t where a not in ( :ids... ) or b NOT/**/IN(:ids...)"};
    q.set("ids"_arg = std::list<std::string>{"x", "y", "z"});
    CHECK(q.text().postgres_text == "select * from t where a not in ( $1, $2, $3, $4 ) or b NOT/**/IN($1, $2, $3, $4)");
    CHECK(arguments(q) == strings{"'x'", "'y'", "'z'", "'z'"});
    q.set("ids"_arg = std::set<int>{});
    CHECK(q.text().postgres_text == "select * from t where a <> all ('{}') or b <> all ('{}')");
    CHECK(q.text().sqlite_text == "select * from t where a not in ( select null where 1=0 ) or b NOT/**/IN(select null where 1=0)");
    q.set("ids"_arg = std::vector<bool>{true, false, true});
    CHECK(arguments(q) == strings{"true", "false", "true", "true"});
    q.set("ids"_arg = std::vector<std::optional<int>>{1, std::nullopt});
    CHECK(arguments(q) == strings{"1", "null"});
    statement f{"select 1"};
    f += " where a in (:x...)";
    f += " and b = :x"_sql(7);
    f.set("x"_arg = std::array{1, 2});
    CHECK(f.text().sqlite_text == "select 1 where a in (?1, ?2) and b = ?3");
    CHECK(arguments(f) == strings{"1", "2", "7"});
}

TEST_CASE("sql: lists that cannot be", "[sql][statement]") {
    statement q{"select * from t where a in (:ids...)"};
    refused(q, "parameter :ids has no argument", 28);
    q.set("ids"_arg = 7);
    refused(q, "is no range", 28);
    q.set("ids"_arg = std::string("abc"));
    refused(q, "is no range", 28);
    q.set("ids"_arg = std::vector<int>(32001));
    refused(q, "more than 32000 elements", 28);
    q.set("ids"_arg = std::vector<int>(32000));
    CHECK(q.text().parameters == 32000);
    q.set("ids"_arg = std::vector<int>(16385));
    CHECK(q.text().parameters == 32000);
    q += " or a in (:more...)";
    q.set("more"_arg = std::vector<int>(800));
    refused(q, "at most 32766 parameters", 55);
    statement values{"insert into t values (:ids...)"};
    values.set("ids"_arg = std::vector<int>{1});
    refused(values, "in (:name...)", 22);
    statement scalar{"select :ids"};
    scalar.set("ids"_arg = std::vector<int>{1});
    refused(scalar, "is a range: write in (:ids...)", 7);
    statement both{"select * from t where a in (:ids...) and b = :ids"};
    both.set("ids"_arg = std::vector<int>{1});
    refused(both, "is a range", 45);
}

TEST_CASE("sql: what is wrong is told with its byte, at the first use", "[sql][statement]") {
    refused(statement{"select 'abc"}, "a string has no end", 7);
    refused(statement{"select 1 /* abc"}, "a comment has no end", 9);
    refused(statement{"select * from t where a = ?"}, "write :name", 26);
    refused(statement{"select {"}, "belongs to no token", 7);
    refused(statement{std::string_view("select 1\0", 9)}, "NUL", 8);
    refused(statement{"select :a"}, "parameter :a has no argument", 7);
    statement unused{"select 1"};
    unused.set("a"_arg = 1);
    refused(unused, "argument a is no parameter of the text", 8);
    statement large{std::string(64 * 1024 + 1, ' ')};
    refused(large, "64 KiB", 64 * 1024);
    CHECK_FALSE(statement{std::string(64 * 1024, ' ')}.check());
    statement q{"select 'a"};
    CHECK(q.check().code() == errc::invalid_statement);
    q += "b'";  // text may be cut anywhere
    CHECK_FALSE(q.check());
    try {
        static_cast<void>(statement{"select 'abc"}.text());
        FAIL("no failure");
    } catch (const strata::failure& f) {
        CHECK(f.error().texts().position == 7);
        CHECK(f.error().texts().statement == "select 'abc");
    }
}

TEST_CASE("sql: a statement may fit one dialect only", "[sql][statement]") {
    statement q{"select :a::int"};
    q.set("a"_arg = 1);
    CHECK_FALSE(q.check());
    CHECK_FALSE(q.check(dialect::postgres));
    CHECK(q.check(dialect::sqlite).texts().position == 9);
    CHECK(q.text().sqlite_text.data() == nullptr);
    CHECK(q.text().postgres_text == "select $1::int");
    q += " where [b] = 1"_sql;
    CHECK_FALSE(q.check());
    q += " and [it's] = 1"_sql;
    CHECK(q.check());

    statement fragment{"select 1 "};
    fragment += "where a = :x::int"_sql(1);
    CHECK_FALSE(fragment.check(dialect::postgres));
    CHECK(fragment.check(dialect::sqlite));
    statement odd{"select [:x] from t where a = :y"};
    odd.set("y"_arg = 1);
    CHECK(odd.check(dialect::postgres).texts().position == 8);
    CHECK(odd.text().sqlite_text == "select [:x] from t where a = ?1");
    odd.set("x"_arg = 2);
    CHECK_FALSE(odd.check(dialect::postgres));
    CHECK(odd.check(dialect::sqlite));
    statement turned{"select [:a], :b, :a"};
    turned.set("a"_arg = 1, "b"_arg = 2);
    CHECK(turned.text().sqlite_text == "select [:a], ?2, ?1");
    CHECK(turned.text().postgres_text == "select [$1], $2, $1");
    CHECK(arguments(turned) == strings{"1", "2"});
}

TEST_CASE("sql: no token and no comment runs over the border of a fragment", "[sql][statement]") {
    const auto torn = [](const std::string& before, const std::string& after) {
        statement q{before};
        q += " and owner = :owner "_sql("owner"_arg = 1);
        q += after;
        CAPTURE(before, after);
        CHECK(q.check().code() == errc::invalid_statement);
    };
    torn("select 'x", "'");
    torn("select \"x", "\"");
    torn("select 1 -- all", "");
    torn("select 1 /* all", "*/");
    torn("select 1 /* -- ", "\n*/");
    const auto swallowed = [](auto fragment, const std::string& after, std::int64_t position) {
        statement q{"select 1"};
        q += fragment;
        q += after;
        refused(q, "runs from one fragment into the next", position);
    };
    swallowed(" -- note"_sql, " where a = 1", 8);  // behind the last token
    swallowed(" x"_sql, "y", 9);
    swallowed(" 'a'"_sql, "'b'", 9);
    statement next_line{"select 1 -- all\n"};
    next_line += "where a = :a"_sql(1);
    next_line += "-- x";
    CHECK(next_line.text().postgres_text == "select 1 -- all\nwhere a = $1-- x");
    statement dollars{"select $$"};
    dollars += " x "_sql;
    dollars += "$$";
    CHECK(dollars.check());
    statement text{"select 'a"};
    text += "b' -- c";
    text += "d\n, :e";
    text += "f";
    text.set("ef"_arg = 1);
    CHECK(text.text().postgres_text == "select 'ab' -- cd\n, $1");
    statement parameter{"select :a"};
    parameter += "b"_sql;
    CHECK(parameter.check());
    statement touching{"select * from"};
    touching += strata::identifier("t");
    touching += "where a = 1"_sql;
    CHECK(touching.text().postgres_text == "select * from\"t\"where a = 1");
}

TEST_CASE("sql: copies share what was read and change apart", "[sql][statement]") {
    statement q{"select :a"};
    q.set("a"_arg = 1);
    const statement copy = q.own();
    CHECK(&copy.text() == &q.text());
    CHECK(copy.text().text.data() == q.text().text.data());
    q += ", :b";
    q.set("b"_arg = 2);
    CHECK(copy.text().postgres_text == "select $1");
    CHECK(q.text().postgres_text == "select $1, $2");
    CHECK(arguments(copy) == strings{"1"});
    statement moved = std::move(q);
    CHECK(arguments(moved) == strings{"1", "2"});
}

TEST_CASE("sql: a statement owns its arguments but for views", "[sql][statement]") {
    statement q{"select :a, :b"};
    {
        std::string a = "a temporary that is longer than any small buffer";
        char b[4] = "bcd";
        q.set("a"_arg = a, "b"_arg = b);
        a = "changed";
        b[0] = 'x';
    }
    CHECK(arguments(q) == strings{"'a temporary that is longer than any small buffer'", "'bcd'"});
    statement f;
    {
        std::string a = "another temporary that is longer than any small buffer";
        f += "select :a, :b"_sql("a"_arg = a, "b"_arg = "literal");
    }
    CHECK(arguments(f) == strings{"'another temporary that is longer than any small buffer'", "'literal'"});
}

TEST_CASE("sql: SQLite answers lists as sets do", "[sql][statement]") {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "create table t (a); insert into t values (1), (2), (3), (4), (5), (6)", nullptr, nullptr, nullptr) ==
            SQLITE_OK);
    std::mt19937 g{3};
    for (int i = 0; i < 60; ++i) {
        std::vector<int> ids;
        for (auto n = g() % 6; n > 0; --n) ids.push_back(static_cast<int>(g() % 8));
        const bool negated = i % 2 == 0;
        statement q{negated ? "select count(*) from t where a not in (:ids...)" : "select count(*) from t where a in (:ids...)"};
        q.set("ids"_arg = ids);
        sqlite3_stmt* s = nullptr;
        REQUIRE(sqlite3_prepare_v2(db, q.text().sqlite_text.data(), -1, &s, nullptr) == SQLITE_OK);
        const strings values = arguments(q);
        for (std::size_t k = 0; k < values.size(); ++k) sqlite3_bind_int(s, static_cast<int>(k + 1), std::stoi(values[k]));
        REQUIRE(sqlite3_step(s) == SQLITE_ROW);
        int expected = 0;
        for (int a = 1; a <= 6; ++a) expected += (std::set<int>(ids.begin(), ids.end()).count(a) != 0) != negated ? 1 : 0;
        CHECK(sqlite3_column_int(s, 0) == expected);
        sqlite3_finalize(s);
    }
    sqlite3_close(db);
}
