// The row of a statement: its values are found by their distance, and are those that SQLite would hand out one by one.
#include <strata/driver/sqlite/reader.hpp>
#include <support/catch.hpp>

#include <sqlite3.h>

#include <string>

using namespace strata;

namespace {

struct rows {
    ::sqlite3* db = nullptr;
    ::sqlite3_stmt* statement = nullptr;

    explicit rows(const char* sql) {
        REQUIRE(::sqlite3_open(":memory:", &db) == SQLITE_OK);
        REQUIRE(::sqlite3_prepare_v2(db, sql, -1, &statement, nullptr) == SQLITE_OK);
    }
    rows(const rows&) = delete;
    rows& operator=(const rows&) = delete;
    ~rows() {
        ::sqlite3_finalize(statement);
        ::sqlite3_close(db);
    }
};

}  // namespace

TEST_CASE("the values of a row are read where SQLite has them", "[driver][sqlite][row]") {
    // every way in which a result row comes about: plain, compound, sorted, grouped, recursive, from a subquery
    const char* const queries[] = {
        "select 1, 'two', 3.5, null, x'05'",
        "select 1, 'a' union all select 2, 'b' union select 3, 'c'",
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) select i, i * 2, 'row ' || i from n order by 2 desc",
        "with n(i) as (values (1), (2), (3)) select count(*), sum(i), max(i), group_concat(i) from n group by i % 2",
        ("select a.column1, b.column2, b.column1 from (values (1, 'x'), (2, 'y')) a "
         "join (values (1, 'x'), (2, 'y')) b on a.column1 = b.column1"),
        "select 7",
    };
    for (const char* const sql : queries) {
        rows q{sql};
        const std::size_t distance = detail::distance_of_values(q.db);
        int seen = 0;
        for (; ::sqlite3_step(q.statement) == SQLITE_ROW; ++seen) {
            const sqlite_row found{q.statement, distance}, asked{q.statement};
            REQUIRE(found.size() == ::sqlite3_column_count(q.statement));
            for (int i = 0; i < found.size(); ++i) {
                INFO(sql << ", column " << i);
                const column_type type = asked.column(i).type();
                CHECK(found.column(i).type() == type);
                if (type == column_type::integer) CHECK(found.column(i).integer() == asked.column(i).integer());
                if (type == column_type::real) CHECK(found.column(i).real() == asked.column(i).real());
                if (type == column_type::text) CHECK(found.column(i).text() == asked.column(i).text());
                if (type == column_type::blob) CHECK(found.column(i).blob().size() == asked.column(i).blob().size());
            }
        }
        CHECK(seen > 0);
    }
}

TEST_CASE("a wide row from a table is read by distance", "[driver][sqlite][row]") {
    std::string wide = "with t(a, b, c) as (values (-9223372036854775807 - 1, 'text', 0.5)) select a";
    for (int i = 0; i < 200; ++i) wide += i % 3 == 0 ? ", b" : i % 3 == 1 ? ", c" : ", a + " + std::to_string(i);
    wide += " from t";
    rows q{wide.c_str()};
    const std::size_t distance = detail::distance_of_values(q.db);
    CHECK(distance != 0);  // so it is in every SQLite so far; without it reading is only slower
    REQUIRE(::sqlite3_step(q.statement) == SQLITE_ROW);
    const sqlite_row row{q.statement, distance};
    REQUIRE(row.size() == 201);
    CHECK(row.column(0).integer() == INT64_MIN);
    CHECK(row.column(199).text() == "text");
    CHECK(row.column(200).real() == 0.5);
    CHECK(row.column(198).integer() == INT64_MIN + 197);
}

TEST_CASE("classes, names and declared types of columns", "[driver][sqlite][row]") {
    rows q{"select 1 as a, 'x' as \"B c\", 0.5, null, x'01'"};
    REQUIRE(::sqlite3_step(q.statement) == SQLITE_ROW);
    const sqlite_row row{q.statement};
    CHECK(row.name(0) == "a");
    CHECK(row.name(1) == "B c");
    CHECK(row.declared_type(0).empty());
    CHECK(row.column(0).type() == column_type::integer);
    CHECK(row.column(1).type() == column_type::text);
    CHECK(row.column(2).type() == column_type::real);
    CHECK(row.column(3).type() == column_type::null);
    CHECK(row.column(4).type() == column_type::blob);

    ::sqlite3_exec(q.db, "create table t(a integer, b varchar(20))", nullptr, nullptr, nullptr);
    ::sqlite3_stmt* table = nullptr;
    REQUIRE(::sqlite3_prepare_v2(q.db, "select b, a from t", -1, &table, nullptr) == SQLITE_OK);
    CHECK(sqlite_row{table}.declared_type(0) == "varchar(20)");
    CHECK(sqlite_row{table}.declared_type(1) == "INTEGER");
    ::sqlite3_finalize(table);
}
