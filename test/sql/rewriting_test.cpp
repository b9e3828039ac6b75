// What the lexer finds and leaves alone, text by text, under both dialects.
#include <sql/rewriting.hpp>
#include <support/catch.hpp>

using namespace strata_test;
using strata::dialect;
using strata::text_problem;

namespace {

struct example {
    std::string text;
    std::string postgres;  // rewritten; empty: does not fit
    std::string sqlite;
};

const std::string same_in_both = "=";

void check(const std::vector<example>& examples) {
    for (const example& e : examples) {
        CAPTURE(e.text);
        CHECK(rewrite(e.text, dialect::postgres).text == (e.postgres == same_in_both ? e.text : e.postgres));
        CHECK(rewrite(e.text, dialect::sqlite).text == (e.sqlite == same_in_both ? e.text : e.sqlite));
    }
}

void refused(const std::string& text, dialect d, text_problem problem, std::size_t position) {
    CAPTURE(text);
    const auto r = rewrite(text, d);
    CHECK(r.facts.problem == problem);
    CHECK(r.facts.position == position);
}

}  // namespace

TEST_CASE("sql: parameters are numbered by their first appearance", "[sql][rewriting]") {
    check({{"select :a, :b, :a", "select $1, $2, $1", "select ?1, ?2, ?1"},
           {":a", "$1", "?1"},
           {"(:a,:b)", "($1,$2)", "(?1,?2)"},
           {":_a1 :A", "$1 $2", "?1 ?2"},
           {":n\xc3\xa4me", "$1", "?1"},
           {":a:b", "$1 $2", "?1 ?2"},
           {"a=:a;b=:b", "a=$1;b=$2", "a=?1;b=?2"},
           {":a.:b", "$1.$2", "?1.?2"},
           {"select 1", "=", "="},
           {"", "", ""}});
    const auto many = rewrite(":a :b :c :d :e :f :g :h :i :j :k :a", dialect::postgres);
    CHECK(many.text == "$1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $1");
    CHECK(many.names.size() == 11);
}

TEST_CASE("sql: a placeholder never joins the word before it", "[sql][rewriting]") {
    check({{"limit:n", "limit $1", "limit ?1"},
           {"select a:b", "select a $1", "select a ?1"},
           {"1:a", "1 $1", "1 ?1"},
           {"\xc3\xa4:b", "\xc3\xa4 $1", "\xc3\xa4 ?1"}});
}

TEST_CASE("sql: nothing is rewritten in strings", "[sql][rewriting]") {
    check({{"':a' :b", "':a' $1", "':a' ?1"},
           {"'it''s :a' :b", "'it''s :a' $1", "'it''s :a' ?1"},
           {"'\\' :b", "'\\' $1", "'\\' ?1"},
           {"'' :a ''", "'' $1 ''", "'' ?1 ''"},
           {"''':a''' :b", "''':a''' $1", "''':a''' ?1"},
           {"E'\\' :a' :b", "E'\\' :a' $1", ""},
           {"e'\\\\' :a", "e'\\\\' $1", "e'\\\\' ?1"},
           {"E'a\\'' :a '' :b", "E'a\\'' $1 '' $2", ""},
           {"E'''\\':a' :b", "E'''\\':a' $1", ""},
           {"xe'\\' :a", "xe'\\' $1", "xe'\\' ?1"},
           {"E 'a\\' :a", "E 'a\\' $1", "E 'a\\' ?1"},
           {"U&':a' :b", "U&':a' $1", "U&':a' ?1"},
           {"u&'\\' :b", "u&'\\' $1", "u&'\\' ?1"},
           {"B'01' N':a' :b", "B'01' N':a' $1", "B'01' N':a' ?1"},
           {"x'00:a' :b", "x'00:a' $1", ""},
           {"x'00' X'fF' :b", "x'00' X'fF' $1", "x'00' X'fF' ?1"}});
}

TEST_CASE("sql: PostgreSQL's strings go on over line breaks by the rules of their beginning", "[sql][rewriting]") {
    check({{"E'a'\n'\\' :b' :c", "E'a'\n'\\' :b' $1", ""},
           {"E'a' -- it's :x\n '\\' :b' :c", "E'a' -- it's :x\n '\\' :b' $1", ""},
           {"E'a'\r\n\t'\\' :b' :c", "E'a'\r\n\t'\\' :b' $1", ""},
           {"E'a' '\\' :b", "E'a' '\\' $1", "E'a' '\\' ?1"},
           {"E'a' /*\n*/ '\\' :b", "E'a' /*\n*/ '\\' $1", "E'a' /*\n*/ '\\' ?1"},
           {"'a'\n'\\' :b", "'a'\n'\\' $1", "'a'\n'\\' ?1"}});
}

TEST_CASE("sql: nothing is rewritten between dollars", "[sql][rewriting]") {
    check({{"$$ :a $$ :b", "$$ :a $$ $1", ""},
           {"$t$ :a $$ $u$ $t$ :b", "$t$ :a $$ $u$ $t$ $1", ""},
           {"$t$ $t $t$ :b", "$t$ $t $t$ $1", ""},
           {"$$'$$ :b", "$$'$$ $1", ""},
           {"a$b$ :c", "a$b$ $1", "a$b$ ?1"},
           {"$_1\xc3\xa4$ :a $_1\xc3\xa4$", "=", ""}});
    refused("$1", dialect::postgres, text_problem::placeholder, 0);
    refused("a = $12", dialect::sqlite, text_problem::placeholder, 4);
    refused("a = $name", dialect::sqlite, text_problem::placeholder, 4);
    refused("a = $name", dialect::postgres, text_problem::bad_character, 4);
    refused("$a$ $A$", dialect::postgres, text_problem::unterminated_string, 0);
    refused(":a$b", dialect::postgres, text_problem::bad_parameter, 0);
    refused(":a$$x$$", dialect::postgres, text_problem::bad_parameter, 0);
}

TEST_CASE("sql: nothing is rewritten in quoted names", "[sql][rewriting]") {
    check({{"\":a\" :b", "\":a\" $1", "\":a\" ?1"},
           {"\"\"\":a\"\"\" :b", "\"\"\":a\"\"\" $1", "\"\"\":a\"\"\" ?1"},
           {"U&\":a\" :b", "U&\":a\" $1", "U&\":a\" ?1"},
           {"`:a` :b", "`$1` $2", "`:a` ?1"},
           {"`a``:a` :b", "`a``$1` $2", "`a``:a` ?1"},
           {"[:a] :b", "[$1] $2", "[:a] ?1"},
           {"[a]]", "=", ""},
           {"[it's :a] :b", "", "[it's :a] ?1"}});
}

TEST_CASE("sql: nothing is rewritten in comments", "[sql][rewriting]") {
    check({{"-- :a\n:b", "-- :a\n$1", "-- :a\n?1"},
           {"-- :a\r:b", "-- :a\r$1", "="},
           {"--:a", "=", "="},
           {"/* :a */ :b", "/* :a */ $1", "/* :a */ ?1"},
           {"/* /* :a */ :b */ :c", "/* /* :a */ :b */ $1", "/* /* :a */ ?1 */ ?2"},
           {"/* /* */ :b", "", "/* /* */ ?1"},
           {"/**/:a/***/:b/*/*/", "", "/**/?1/***/?2/*/*/"},
           {"/*--*/:a", "/*--*/$1", "/*--*/?1"},
           {"--/*\n:a", "--/*\n$1", "--/*\n?1"},
           {"'/*' :a '*/'", "'/*' $1 '*/'", "'/*' ?1 '*/'"},
           {"- - :a", "- - $1", "- - ?1"},
           {"=--:a\n:b", "=--:a\n$1", "=--:a\n?1"},
           {"+/*:a*/:b", "+/*:a*/$1", "+/*:a*/?1"},
           {"a / *b :c", "a / *b $1", "a / *b ?1"}});
}

TEST_CASE("sql: casts, assignments and slices keep their colons", "[sql][rewriting]") {
    check({{"a::int", "=", ""},
           {":a::int", "$1::int", ""},
           {"a :: int[] , :b", "a :: int[] , $1", ""},
           {"f(a := 1, b := :b)", "f(a := 1, b := $1)", ""},
           {"arr[1:2]", "=", "="},
           {"arr[:2]", "=", "="},
           {"arr[1:]", "=", "="},
           {"arr[:]", "=", "="},
           {"arr[1:n]", "=", "="},
           {"arr[m:n]", "=", "="},
           {"arr[f(x):n]", "=", "="},
           {"arr[b[1]:n]", "=", ""},
           {"arr[:n]", "arr[$1]", "="},
           {"arr[1 : :n]", "arr[1 : $1]", "="},
           {"arr[:m : :n]", "arr[$1 : $2]", "="},
           {"arr[:m:n]", "arr[$1:n]", "="},
           {"arr[:m::int:n]", "arr[$1::int:n]", "="},
           {"arr[i + :n]", "arr[i + $1]", "="},
           {"arr[(:n)]", "arr[($1)]", "="},
           {"arr[f(a,:n):m]", "arr[f(a,$1):m]", "="},
           {"array[:a, :b]", "array[$1, $2]", "="},
           {"arr[case when a then:x end]", "arr[case when a then $1 end]", "="},
           {"(a :n)", "(a $1)", "(a ?1)"},
           {"a[1]:n", "a[1]$1", "a[1]?1"}});
    refused("x::int", dialect::sqlite, text_problem::bad_character, 1);
    refused("a = :1", dialect::postgres, text_problem::placeholder, 4);
    refused("a = : b", dialect::sqlite, text_problem::bad_character, 4);
}

TEST_CASE("sql: operators with question marks belong to PostgreSQL", "[sql][rewriting]") {
    check({{"j ? :k", "j ? $1", ""},
           {"j ?| :k", "j ?| $1", ""},
           {"j ?& array[:k]", "j ?& array[$1]", ""},
           {"j @? :p", "j @? $1", ""},
           {"j ?:k", "j ?$1", ""},
           {"j ? 'a'", "=", ""},
           {"(j) ? 'a' and x[1] ? 'b'", "=", ""},
           {"j @> :p", "j @> $1", ""},
           {"@ :a", "@ $1", ""},
           {"a # b ^ :c", "a # b ^ $1", ""},
           {"a != :a", "a != $1", "a != ?1"},
           {"a <> :a and a >= :b", "a <> $1 and a >= $2", "a <> ?1 and a >= ?2"},
           {"a ->> :a || :b", "a ->> $1 || $2", "a ->> ?1 || ?2"},
           {"a ! b", "=", ""},
           {"=:a", "=$1", "=?1"}});
    for (const std::string text :
         {"a = ?", "values (?, ?)", "limit ?", "a in (?)", "a = ?1", "f(a, ?)", "? = a", "a = ? ;", "where ? and b", "a >= ?"})
        for (const dialect d : {dialect::postgres, dialect::sqlite}) refused(text, d, text_problem::placeholder, text.find('?'));
    refused("a =?", dialect::postgres, text_problem::placeholder, 2);
    refused("a =?", dialect::sqlite, text_problem::placeholder, 3);
    refused("@name", dialect::sqlite, text_problem::placeholder, 0);
    refused("#1", dialect::sqlite, text_problem::bad_character, 0);
}

TEST_CASE("sql: numbers", "[sql][rewriting]") {
    check({{"1e5 :a", "1e5 $1", "1e5 ?1"},
           {"1.5e-10+:a", "1.5e-10+$1", "1.5e-10+?1"},
           {"0x1F,:a", "0x1F,$1", "0x1F,?1"},
           {"0b01 0o17 1_000", "=", "="},
           {".5 :a", ".5 $1", ".5 ?1"},
           {"1..2", "=", "="},
           {"1..:b", "1..$1", "1..?1"},
           {"1. :b", "1. $1", "1. ?1"},
           {"t1.a", "=", "="},
           {"5-:a", "5-$1", "5-?1"}});
    for (const std::string text : {"1a", "1e", "0x", "0xg", "1_", "1.5x", ".5e", "1__0", "1$", "12e+"})
        for (const dialect d : {dialect::postgres, dialect::sqlite}) refused(text, d, text_problem::bad_number, 0);
}

TEST_CASE("sql: what is wrong is told with its byte", "[sql][rewriting]") {
    for (const dialect d : {dialect::postgres, dialect::sqlite}) {
        refused("select 'abc", d, text_problem::unterminated_string, 7);
        refused("select ''' :a", d, text_problem::unterminated_string, 7);
        refused("select \"abc", d, text_problem::unterminated_name, 7);
        refused("select 1 /* abc", d, text_problem::unterminated_comment, 9);
        refused("/*/", d, text_problem::unterminated_comment, 0);
        refused("/*", d, text_problem::unterminated_comment, 0);
        refused("a {", d, text_problem::bad_character, 2);
        refused("a \\ b", d, text_problem::bad_character, 2);
        refused("a \v b", d, text_problem::bad_character, 2);
        refused(std::string("a \0 b", 5), d, text_problem::nul_character, 2);
        refused(std::string("a '\0' b", 7), d, text_problem::nul_character, 2);
        refused(std::string("a \"\0\" b", 7), d, text_problem::nul_character, 2);
        refused(std::string("a -- \0 b", 8), d, text_problem::nul_character, 5);
        refused(std::string("a /* \0 */ b", 11), d, text_problem::nul_character, 2);
        refused(std::string("a\0", 2), d, text_problem::nul_character, 1);
        refused(std::string(65, '('), d, text_problem::too_deep, 64);
        refused("a (:ids...)", d, text_problem::list, 3);
        refused("a in (1, :ids...)", d, text_problem::list, 9);
        refused("a in (:ids..., 1)", d, text_problem::list, 6);
        refused("values (:ids...)", d, text_problem::list, 8);
        refused("a in :ids...", d, text_problem::list, 5);
        CHECK(rewrite("a in (:ids...)", d).facts.fits());
        CHECK(rewrite("a NOT /* */ IN ( :ids... )", d).facts.fits());
    }
    refused("E'\\", dialect::postgres, text_problem::unterminated_string, 0);
    refused("E'a\\'", dialect::postgres, text_problem::unterminated_string, 0);
    refused(std::string("E'\\\0'", 5), dialect::postgres, text_problem::nul_character, 0);
    refused(std::string("$$\0$$", 5), dialect::postgres, text_problem::nul_character, 0);
    refused("$$ $", dialect::postgres, text_problem::unterminated_string, 0);
    refused("[abc", dialect::sqlite, text_problem::unterminated_name, 0);
    refused("`abc``", dialect::sqlite, text_problem::unterminated_name, 0);
    refused("x'0'", dialect::sqlite, text_problem::bad_blob, 0);
    refused("x'0g'", dialect::sqlite, text_problem::bad_blob, 0);
    refused("]", dialect::sqlite, text_problem::bad_character, 0);
    CHECK(rewrite(std::string(64, '('), dialect::sqlite).facts.fits());
    CHECK(rewrite("]))", dialect::postgres).facts.fits());
}
