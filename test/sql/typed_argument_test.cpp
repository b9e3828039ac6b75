// Names of types: what the grammar takes, and that every other text is refused.
#include <strata/sql/literal.hpp>
#include <strata/sql/statement.hpp>

#include <support/catch.hpp>

#include <random>
#include <string>

using strata::detail::is_type_name;
using namespace strata::literals;

TEST_CASE("names of types follow a closed grammar", "[sql][typed]") {
    for (const char* good : {"jsonb",
                             "int",
                             "_int4",
                             "app.mood",
                             "a.b.c",
                             "\"My Type\"",
                             "app.\"a \"\"b\"\"\"",
                             "double precision",
                             "double precision[]",
                             "character varying",
                             "character varying(10)",
                             "bit varying(3)[]",
                             "timestamp",
                             "timestamp with time zone",
                             "timestamp(3) with time zone",
                             "time(0) without time zone[]",
                             "timestamptz",
                             "numeric(10,2)",
                             "numeric(10, -2)",
                             "text[]",
                             "int[3][]",
                             "größe",
                             "a$1",
                             "timestamps",
                             "double_",
                             "pg_catalog.int4"})
        CHECK(is_type_name(good));
    for (const char* bad : {"",
                            " ",
                            "jsonb ",
                            " jsonb",
                            "1a",
                            "a.",
                            ".a",
                            "a b",
                            "\"",
                            "\"\"",
                            "\"a",
                            "a\"b\"",
                            "double",
                            "double  precision",
                            "numeric(",
                            "numeric()",
                            "numeric(a)",
                            "numeric(1,)",
                            "numeric(1)(2)",
                            "text[",
                            "text]",
                            "text[-1]",
                            "text[] ",
                            "text[]x",
                            "a;b",
                            "jsonb); drop table account --",
                            "jsonb--",
                            "a/*x*/",
                            "a::b",
                            "text with time zone",
                            "a'b",
                            "$1",
                            "int varying",
                            "a.\"\""})
        CHECK_FALSE(is_type_name(bad));
    CHECK_FALSE(is_type_name(std::string_view("a\0b", 3)));
    CHECK_FALSE(is_type_name(std::string_view("\"a\0b\"", 5)));
}

TEST_CASE("what the grammar takes holds nothing outside quotes that ends a type's name", "[sql][typed]") {
    std::mt19937 random{20261121};
    static constexpr std::string_view pieces[] = {"a",         "jsonb",
                                                  ".",         "\"",
                                                  "\"\"",      "(",
                                                  ")",         "1",
                                                  ",",         "[",
                                                  "]",         " ",
                                                  ";",         "-",
                                                  "'",         " with time zone",
                                                  "timestamp", "double precision",
                                                  "/",         "\\",
                                                  ":",         "$"};
    int taken = 0;
    for (int i = 0; i < strata_test::count(200000, 2000000); ++i) {
        std::string name;
        for (std::size_t n = 1 + random() % 6; n > 0; --n) name += pieces[random() % std::size(pieces)];
        if (!is_type_name(name)) continue;
        ++taken;
        bool quoted = false;
        int depth = 0;
        for (const char c : name) {
            if (c == '"') quoted = !quoted;
            if (quoted) continue;
            depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
            REQUIRE(depth >= 0);
            REQUIRE(std::string_view{";'/\\:"}.find(c) == std::string_view::npos);
        }
        REQUIRE(!quoted);
        REQUIRE(depth == 0);
    }
    CHECK(taken > 100);
}

TEST_CASE("a typed argument is kept as others are, and tells its type", "[sql][typed]") {
    std::string text = "{}";
    constexpr auto query = "select :v, :w"_sql;
    const auto bound = query("v"_arg.as("jsonb") = text, "w"_arg = 1);
    const auto types = [](const auto& b) {
        std::vector<std::string> all;
        b.for_each_argument([&](std::size_t, const auto& value) { all.emplace_back(strata::detail::type_of_argument(value)); });
        return all;
    };
    CHECK(types(bound) == std::vector<std::string>{"jsonb", ""});
    const auto own = bound.own();
    text = "changed";
    CHECK(std::get<0>(own.arguments).value == "{}");
    CHECK(std::get<0>(bound.arguments).value == "changed");
    CHECK(types(own) == types(bound));
    const auto c = query("v"_arg.as("app.mood") = "ok", "w"_arg = 1).own();
    CHECK(std::get<0>(c.arguments).value == std::string{"ok"});
    strata::statement q{"select :v, :w"};
    q.set("v"_arg.as("text[]") = "{}", "w"_arg = 2);
    CHECK(types(q) == std::vector<std::string>{"text[]", ""});
}
