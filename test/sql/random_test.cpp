// Random texts: the lexer agrees with a plain one, and never touches what lies in strings, names, comments and casts.
#include <sql/reference_lexer.hpp>
#include <sql/rewriting.hpp>
#include <support/catch.hpp>

#include <sqlite3.h>

#include <random>

using namespace strata_test;
using strata::dialect;

namespace {

using generator = std::mt19937_64;

std::size_t below(generator& g, std::size_t n) {
    return static_cast<std::size_t>(g() % n);
}

const std::string& one_of(generator& g, const std::vector<std::string>& all) {
    return all[below(g, all.size())];
}

const std::vector<std::string> pieces{
    "'",      "''",  "\"",   "\"\"", "`",        "[",      "]",   "(",      ")",      "--",  "/*",  "*/", "\n",   "\r",
    " ",      " ",   "\t",   ":",    "::",       ":=",     ":a",  ":bc",    ":a",     ":1",  "$1",  "$$", "$t$",  "$",
    "?",      "?|",  "@?",   "@",    "E'",       "e'x\\'", "U&'", "u&\"",   "x'0f'",  "X'",  "b'1", "n'", "\\",   "\\'",
    "1",      "1e5", "0x1F", "1_0",  ".5",       "1..",    "..",  "...",    "a",      "abc", "e",   "u",  "and",  "then",
    "select", ",",   ";",    "=",    "<>",       "-",      "+",   "*",      "/",      "!",   "!=",  "#",  "^",    "||",
    "&",      "~",   "%",    "{",    "\xc3\xa4", "_",      ".",   "a[1:n]", "x::int", "5",   "0",   "\f", "limit"};

std::string soup(generator& g) {
    std::string s;
    for (std::size_t n = below(g, 14) + 1; n > 0; --n) s += below(g, 3000) == 0 ? std::string(1, '\0') : one_of(g, pieces);
    return s;
}

/// Random bytes of a small alphabet, so that every pair of neighbours occurs.
std::string noise(generator& g) {
    static const std::string alphabet = "'\"`[]()-*/ \n\r:$?@\\eExXuU&ab01._;,=<!|#t";
    std::string s;
    for (std::size_t n = below(g, 12) + 1; n > 0; --n) s += alphabet[below(g, alphabet.size())];
    return s;
}

void compare(const std::string& text, dialect d) {
    const rewritten found = rewrite(text, d);
    if (text.find("...") == std::string::npos) {  // lists have tests of their own
        const auto expected = reference_lexer::parameters(text, d == dialect::postgres);
        if (found.facts.fits() != expected.has_value() || (expected && *expected != found.places)) {
            CAPTURE(text, d == dialect::sqlite, found.facts.problem, found.facts.position, found.text);
            CHECK(found.facts.fits() == expected.has_value());
            if (expected) CHECK(*expected == found.places);
        }
    }
    // where the lexer says that both dialects read the text in the same way, they do
    if (found.facts.neutral) {
        const auto other = rewrite(text, d == dialect::postgres ? dialect::sqlite : dialect::postgres);
        if (other.places != found.places || other.facts.kind != found.facts.kind || other.facts.statements != found.facts.statements ||
            other.facts.idempotent != found.facts.idempotent || other.facts.problem != found.facts.problem ||
            other.facts.position != found.facts.position || !other.facts.neutral) {
            CAPTURE(text, d == dialect::sqlite);
            CHECK(other.places == found.places);
            CHECK(other.facts.kind == found.facts.kind);
            CHECK(other.facts.problem == found.facts.problem);
            CHECK(other.facts.position == found.facts.position);
        }
    }
}

/// A piece of SQL that is an expression in both dialects or one, as it is to be after rewriting.
struct atom {
    std::string text;
    std::string rewritten;
};

std::string inside(generator& g) {
    static const std::vector<std::string> all{":a", ":b ", "::", "$1", "?", "--", "/", "x", " ", ":c...", "in (:d...)", "1"};
    std::string s;
    for (std::size_t n = below(g, 5); n > 0; --n) s += one_of(g, all);
    return s;
}

std::string doubled(std::string s, char quote) {
    for (std::size_t i = 0; (i = s.find(quote, i)) != std::string::npos; i += 2) s.insert(i, 1, quote);
    return s;
}

class well_formed {
public:
    well_formed(generator& g, dialect d) : g_(g), postgres_(d == dialect::postgres) {}

    atom next() {
        const std::string text = inside(g_) + (below(g_, 3) == 0 ? "'" : "") + (below(g_, 3) == 0 ? "\"" : "");
        switch (below(g_, 9)) {
            case 0:
                return plain("'" + doubled(text, '\'') + "'");
            case 1:
                return plain("1 as \"a" + doubled(text, '"') + "\"");
            case 2:
                return plain("1 /*" + inside(g_) + " */");
            case 3:
                return plain("1 --" + inside(g_) + "\n");
            case 4:
                if (postgres_) return plain("E'" + doubled(inside(g_), '\'') + "\\' :a" + "'");
                return plain("1 as [a" + inside(g_) + "]");
            case 5:
                if (postgres_) return plain("$q$" + text + "$q$");
                return plain("1 as `a" + doubled(inside(g_) + "`", '`') + "`");
            case 6:
                if (postgres_) return plain("x::int");
                return plain("x'0fAB'");
            case 7:
                if (postgres_) return plain("arr[1:2]");
                return plain("0x1F");
            default:
                return parameter();
        }
    }
    std::size_t parameters() const { return names_.size(); }

private:
    static atom plain(const std::string& text) { return {text, text}; }
    atom parameter() {
        const std::string name = std::string(1, static_cast<char>('a' + below(g_, 5)));
        std::size_t n = 0;
        while (n < names_.size() && names_[n] != name) ++n;
        if (n == names_.size()) names_.push_back(name);
        return {":" + name, (postgres_ ? "$" : "?") + std::to_string(n + 1)};
    }

    generator& g_;
    bool postgres_;
    std::vector<std::string> names_;
};

}  // namespace

TEST_CASE("sql: the lexer agrees with a plain one on random texts", "[sql][random]") {
    generator g{20240611};
    for (int i = 0, n = count(60'000, 3'000'000); i < n; ++i) {
        const std::string text = i % 2 == 0 ? soup(g) : noise(g);
        compare(text, dialect::postgres);
        compare(text, dialect::sqlite);
    }
}

TEST_CASE("sql: only parameters are rewritten, and SQLite counts as many", "[sql][random]") {
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    generator g{7};
    for (int i = 0, n = count(3'000, 200'000); i < n; ++i) {
        const dialect d = i % 2 == 0 ? dialect::postgres : dialect::sqlite;
        well_formed make(g, d);
        std::string text = "select ";
        std::string expected = text;
        const std::size_t atoms = below(g, 6) + 1;
        for (std::size_t a = 0; a < atoms; ++a) {
            const atom one = make.next();
            const std::string between = a == 0 ? "" : ", ";
            text += between + one.text;
            expected += between + one.rewritten;
        }
        const rewritten found = rewrite(text, d);
        if (found.text != expected) CHECK(found.text == expected);
        if (d == dialect::postgres || found.text != expected) continue;
        sqlite3_stmt* statement = nullptr;
        const int code = sqlite3_prepare_v2(db, found.text.c_str(), static_cast<int>(found.text.size()), &statement, nullptr);
        if (code != SQLITE_OK || sqlite3_bind_parameter_count(statement) != static_cast<int>(make.parameters()) ||
            sqlite3_column_count(statement) != static_cast<int>(atoms)) {
            CAPTURE(found.text, sqlite3_errmsg(db));
            CHECK(code == SQLITE_OK);
            CHECK(sqlite3_bind_parameter_count(statement) == static_cast<int>(make.parameters()));
            CHECK(sqlite3_column_count(statement) == static_cast<int>(atoms));
        }
        sqlite3_finalize(statement);
    }
    sqlite3_close(db);
}

TEST_CASE("sql: what SQLite runs as a write is never a read here", "[sql][random]") {
    static const std::vector<std::string> words{"select", "with",         "a",       "as",        "(",     ")",
                                                "delete", "from",         "t",       "insert",    "into",  "values",
                                                "1",      "update",       "set",     "=",         ",",     "*",
                                                ";",      "replace",      "explain", "query",     "plan",  "create",
                                                "table",  "drop",         "begin",   "commit",    "end",   "pragma",
                                                "x",      "user_version", "union",   "returning", "where", "/* select */",
                                                "-- x\n", "'select'",     "\"a\"",   "[select]",  "if",    "exists"};
    static const std::vector<std::string> starts{
        "", "with x as (select 1) ", "with x as (values (1)) ", "explain ", "select ", "delete from t ", "insert into t ", "(", ""};
    sqlite3* db = nullptr;
    REQUIRE(sqlite3_open(":memory:", &db) == SQLITE_OK);
    REQUIRE(sqlite3_exec(db, "create table t (a)", nullptr, nullptr, nullptr) == SQLITE_OK);
    generator g{11};
    int prepared = 0;
    for (int i = 0, n = count(40'000, 4'000'000); i < n; ++i) {
        std::string text = one_of(g, starts);
        for (std::size_t k = below(g, 8) + 1; k > 0; --k) text += one_of(g, words) + " ";
        sqlite3_stmt* statement = nullptr;
        if (sqlite3_prepare_v2(db, text.c_str(), -1, &statement, nullptr) == SQLITE_OK && statement != nullptr) {
            ++prepared;
            const bool writes = sqlite3_stmt_readonly(statement) == 0;
            const rewritten r = rewrite(text, dialect::sqlite);
            if (writes && r.facts.kind == strata::statement_kind::read) {
                CAPTURE(text);
                CHECK(r.facts.kind != strata::statement_kind::read);
            }
        }
        sqlite3_finalize(statement);
    }
    CHECK(prepared > 100);
    sqlite3_close(db);
}
