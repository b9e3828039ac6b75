#include "fixture.hpp"

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

using namespace strata;
using detail::cached_statement;
using detail::statement_cache;
using strata_test::run;

namespace {

struct cache_fixture {
    cache_fixture() { REQUIRE(::sqlite3_open(":memory:", &db) == SQLITE_OK); }
    ~cache_fixture() {
        cache.clear();
        CHECK(::sqlite3_next_stmt(db, nullptr) == nullptr);  // every statement was finalized
        CHECK(::sqlite3_close(db) == SQLITE_OK);
    }
    cache_fixture(const cache_fixture&) = delete;
    cache_fixture& operator=(const cache_fixture&) = delete;

    static hash128 key(unsigned n) { return {n, n % 3}; }  // few buckets: chains are used

    cached_statement* put(unsigned n, bool keep = true) {
        auto* const fresh = new cached_statement;
        fresh->key = key(n);
        const std::string sql = "select " + std::to_string(n);
        REQUIRE(::sqlite3_prepare_v2(db, sql.c_str(), -1, &fresh->handle, nullptr) == SQLITE_OK);
        return cache.put(fresh, keep);
    }
    /// Takes or prepares, and gives back: a use.
    bool hit(unsigned n) {
        cached_statement* s = cache.take(key(n));
        const bool found = s != nullptr;
        statement_cache::give_back(found ? s : put(n));
        return found;
    }

    ::sqlite3* db = nullptr;
    statement_cache cache;
};

}  // namespace

TEST_CASE_METHOD(cache_fixture, "the least recently used statement goes first", "[sqlite][cache]") {
    cache.reset(3);
    CHECK_FALSE(hit(1));
    CHECK_FALSE(hit(2));
    CHECK_FALSE(hit(3));
    CHECK(hit(1));  // now 2 is the oldest
    CHECK_FALSE(hit(4));
    CHECK(cache.size() == 3);
    CHECK_FALSE(cache.holds(key(2)));
    CHECK(hit(1));
    CHECK(hit(3));
    CHECK(hit(4));
}

TEST_CASE_METHOD(cache_fixture, "a statement in use is given out once and not evicted", "[sqlite][cache]") {
    cache.reset(2);
    cached_statement* const streaming = put(1);
    CHECK(cache.take(key(1)) == nullptr);
    cached_statement* const second = put(1);
    CHECK(second->loose);
    CHECK(second != streaming);
    statement_cache::give_back(second);
    CHECK(cache.holds(key(1)));

    CHECK_FALSE(hit(2));
    CHECK_FALSE(hit(3));  // evicts 2, although 1 is older
    CHECK(cache.holds(key(1)));
    CHECK_FALSE(cache.holds(key(2)));

    cached_statement* const third = cache.take(key(3));
    REQUIRE(third != nullptr);
    cached_statement* const fourth = put(4);  // every place is in use
    CHECK(fourth->loose);
    CHECK(cache.size() == 2);
    statement_cache::give_back(fourth);
    statement_cache::give_back(third);
    statement_cache::give_back(streaming);
    CHECK(hit(1));
    CHECK(hit(3));
}

TEST_CASE_METHOD(cache_fixture, "a statement in use outlives a cache that is emptied", "[sqlite][cache]") {
    cache.reset(4);
    CHECK_FALSE(hit(1));
    cached_statement* const streaming = put(2);
    cache.clear();
    CHECK(cache.size() == 0);
    CHECK(::sqlite3_step(streaming->handle) == SQLITE_ROW);
    statement_cache::give_back(streaming);
    CHECK_FALSE(hit(1));
}

TEST_CASE_METHOD(cache_fixture, "a cache of size zero keeps nothing", "[sqlite][cache]") {
    CHECK(cache.take(key(1)) == nullptr);  // before any reset
    cache.reset(0);
    CHECK_FALSE(hit(1));
    CHECK_FALSE(hit(1));
    CHECK(cache.size() == 0);
}

TEST_CASE_METHOD(cache_fixture, "what should not be kept is not kept", "[sqlite][cache]") {
    cache.reset(4);
    statement_cache::give_back(put(1, false));
    CHECK(cache.size() == 0);
}

TEST_CASE_METHOD(cache_fixture, "the text is compared when a hash could have been forged", "[sqlite][cache]") {
    cache.reset(4);
    statement_cache::give_back(put(12));
    CHECK(cache.take(key(12), "select 13") == nullptr);
    CHECK(cache.take(key(12), "select 123") == nullptr);
    cached_statement* const s = cache.take(key(12), "select 12 ; -- the same");
    REQUIRE(s != nullptr);
    statement_cache::give_back(s);
}

TEST_CASE_METHOD(cache_fixture, "the cache behaves like a simple model of it", "[sqlite][cache]") {
    std::mt19937 random{20240229};
    for (std::size_t bound : {1u, 2u, 5u, 8u}) {
        cache.reset(bound);
        std::vector<unsigned> model;  // newest first
        for (int step = 0; step < strata_test::count(2000, 50'000); ++step) {
            const unsigned n = static_cast<unsigned>(random() % 12);
            const auto at = std::find(model.begin(), model.end(), n);
            REQUIRE(hit(n) == (at != model.end()));
            if (at != model.end()) model.erase(at);
            model.insert(model.begin(), n);
            if (model.size() > bound) model.pop_back();
            REQUIRE(cache.size() == model.size());
        }
    }
}

TEST_CASE("control statements are prepared once", "[sqlite][cache]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:", .statement_cache = 2});
    for (int i = 0; i < 3; ++i) {
        run(c, "begin");
        run(c, "commit");
    }
    CHECK(c.cached_statements() == 2);
    run(c, "select 1");
    CHECK(c.cached_statements() == 2);
    CHECK(c.control("not sql"));
    CHECK(c.cached_statements() == 2);
}

TEST_CASE("which statements set a last row id", "[sqlite][scan]") {
    using detail::inserts_rows;
    static_assert(inserts_rows("insert into t values (1)"));
    static_assert(inserts_rows(" /* x */ -- y\n REPLACE into t values (1)"));
    static_assert(inserts_rows("with a as (select 'insert)' from \"delete\"), b(c) as (values (1)) Insert into t select * from a"));
    static_assert(inserts_rows("with [select] as (select 1) insert into t select 1"));
    static_assert(!inserts_rows("with a as (select 1) delete from t"));
    static_assert(!inserts_rows("with a as (select 1) select replace('insert', 'a', 'b') from a"));
    static_assert(!inserts_rows("update t set a = 'insert'"));
    static_assert(!inserts_rows("delete from t"));
    static_assert(!inserts_rows("pragma insert"));
    static_assert(!inserts_rows(""));
    static_assert(!inserts_rows("with 'it''s"));
    CHECK(inserts_rows("insert or ignore into t values (1)"));
}

TEST_CASE("what is blank", "[sqlite][scan]") {
    using detail::is_blank_sql;
    static_assert(is_blank_sql(""));
    static_assert(is_blank_sql(" ;\t\r\n\v\f ;; -- a comment\n /* and ; another */ --"));
    static_assert(is_blank_sql("/* not closed"));
    static_assert(!is_blank_sql("- -"));
    static_assert(!is_blank_sql("; select 1"));
    static_assert(!is_blank_sql("/**/ x"));
    CHECK(is_blank_sql(" "));
}
