// Work on reserved connections, within a transaction that holds the last other one.
#include <support/catch.hpp>

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
using strata_test::contains_text;

namespace {

/// PostgreSQL's dialect: all connections write.
using client = strata::database<strata::stack<strata::pool<>, strata::scripted_postgres>>;

}  // namespace

TEST_CASE("independent work goes through while its caller holds the last connection", "[independent]") {
    strata::script script;
    script.on_any().returns(1);
    client db{strata::scripted_options{script}, strata::pool_options{.max_size = 1, .reserved = 1, .max_wait = 10ms}};
    db.transaction([&](auto& tx) {
        CHECK(tx.template one<int>("select 1"_sql) == 1);
        CHECK(db.try_one<int>("select 1"_sql).error().code() == errc::pool_exhausted);
        CHECK(db.independent().template one<int>("select 1"_sql) == 1);
        db.independent().transaction([&](auto& other) {
            other.execute("insert into audit values (1)"_sql);
            CHECK(db.independent().template try_one<int>("select 1"_sql).error().code() == errc::pool_exhausted);
        });
    });
    CHECK(script.calls().back().connection == 1);
    CHECK(db.connections().open == 1);
    CHECK(db.source().reserve()->snapshot().opened == 1);
    db.source().retire_all();
    CHECK(db.source().reserve()->snapshot().open == 0);
    db.close();
    CHECK(db.independent().template try_one<int>("select 1"_sql).error().code() == errc::shutting_down);
}

TEST_CASE("independent work needs connections that are reserved", "[independent]") {
    strata::script script;
    client db{strata::scripted_options{script}};
    try {
        static_cast<void>(db.independent());
        FAIL("there are none");
    } catch (const strata::failure& f) {
        CHECK(f.code() == errc::misuse);
        CHECK_THAT(f.error().message(), contains_text("pool_options.reserved"));
    }
}
