// The scripted driver: what it answers, how it fails, what it writes down.
#include <support/catch.hpp>

#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_world.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::effect;
using strata::errc;

struct scripted_city {
    std::int64_t id;
    std::string name;
    std::optional<double> area;
};
BOOST_HANA_ADAPT_STRUCT(scripted_city, id, name, area);

namespace {

using plain = strata::stack<strata::pool<>, strata::scripted>;
using journal = std::vector<std::string>;

constexpr auto find = "select id, name, area from city where id = :id"_sql;
constexpr auto rename_it = "update city set name = :name where id = :id"_sql.named("rename");

struct fixture {
    strata::script script;
    strata::simulated_world world;
    strata::database<plain, strata::simulated_world> db{world, strata::scripted_options{script}};
};

}  // namespace

TEST_CASE("a statement is known by its literal, its name, or its text", "[scripted]") {
    fixture f;
    f.script.on(find).returns(scripted_city{1, "Rome", 1285.0});
    f.script.on("rename").affected(3, 9);
    f.script.on("select  count(*)\n from city").rows({{7}});
    CHECK(f.db.one<scripted_city>(find(1)).name == "Rome");
    const auto e = f.db.execute(rename_it("Roma", 1));
    CHECK(e.affected == 3);
    CHECK(e.last_id == 9);
    CHECK(f.db.one<int>("select count(*) from city"_sql) == 7);
    CHECK(f.script.journal() ==
          journal{"select id, name, area from city where id = :id [1]", "rename ['Roma', 1]", "select count(*) from city"});
}

TEST_CASE("rows come as structs, tuples, values and dynamic rows", "[scripted]") {
    fixture f;
    f.script.on("select 1").columns({"id", "name", "area"}).rows({{1, "Rome", 0.5}, {2, "Oslo", nullptr}});
    const auto structs = f.db.all<scripted_city>("select 1"_sql);
    REQUIRE(structs.size() == 2);
    CHECK(structs[0].area == 0.5);
    CHECK(structs[1].name == "Oslo");
    CHECK_FALSE(structs[1].area);
    const auto tuples = f.db.all<std::tuple<int, std::string, std::optional<double>>>("select 1"_sql);
    CHECK(std::get<1>(tuples[0]) == "Rome");
    int rows = 0;
    for (const auto& c : f.db.rows<scripted_city>("select 1"_sql)) rows += static_cast<int>(c.id);
    CHECK(rows == 3);
    f.script.on("select 2").returns(1, 2, 3);
    CHECK(f.db.all<int>("select 2"_sql) == std::vector<int>{1, 2, 3});
}

TEST_CASE("a statement without an answer is told with what there is", "[scripted]") {
    fixture f;
    f.script.on(find).rows({});
    f.script.on(find).rows({});
    f.script.on("rename").affected(1);
    const auto r = f.db.try_one<int>("select 1"_sql);
    REQUIRE(r.has_error());
    CHECK(r.error().code() == errc::misuse);
    CHECK(r.error().to_string() ==
          "misuse: the script has no answer for this statement: select 1; it has answers for 'select id, name, area from city where id = "
          ":id', "
          "'rename'; hint: script.on(...), or script.on_any()");
    CHECK(f.script.journal() == journal{"select 1"});
    f.script.on_any().rows({{5}});
    CHECK(f.db.one<int>("select 1"_sql) == 5);
    CHECK(f.db.connections().lost == 0);
}

TEST_CASE("answers are given in order, the last one for ever; the newest script counts until it is used up", "[scripted]") {
    fixture f;
    f.script.on("select 1").returns(1).returns(2).times(2).returns(3);
    std::vector<int> got;
    for (int i = 0; i < 5; ++i) got.push_back(f.db.one<int>("select 1"_sql));
    CHECK(got == std::vector<int>{1, 2, 2, 3, 3});
    f.script.on("select 1").returns(10).times(1);
    f.script.on("select 1").times(1).fails(errc::busy);
    CHECK(f.db.try_one<int>("select 1"_sql).error().code() == errc::busy);
    CHECK(f.db.one<int>("select 1"_sql) == 10);
    CHECK(f.db.one<int>("select 1"_sql) == 3);
}

TEST_CASE("what does not fit the wanted type fails as with a database", "[scripted]") {
    fixture f;
    f.script.on("select 1").columns({"x"}).rows({{"seven"}});
    const auto r = f.db.try_one<int>("select 1"_sql);
    CHECK(r.error().code() == errc::type_mismatch);
    CHECK(r.error().texts().column == "x");
    CHECK(r.error().texts().statement == "select 1");
    f.script.on("select 2").rows({{1, "Rome", 2.0}});
    const auto s = f.db.try_one<scripted_city>("select 2"_sql);
    CHECK(s.error().code() == errc::missing_column);
    CHECK_THAT(s.error().texts().hint, strata_test::contains_text("columns({\"id\", ...})"));
    f.script.on("select 3").rows({});
    CHECK(f.db.try_one<scripted_city>("select 3"_sql).error().code() == errc::no_rows);
    CHECK_FALSE(f.db.maybe_one<scripted_city>("select 3"_sql));
    CHECK_THROWS_AS(f.script.on("select 4").rows({{1, 2}, {3}}), strata::failure);
}

TEST_CASE("arguments are written down as the database would get them", "[scripted]") {
    fixture f;
    f.script.on_any().affected(1);
    const std::string name = "O'Hara";
    const strata::blob bytes{std::byte{0}, std::byte{255}};
    f.db.execute("insert into t values(:a, :b, :c, :d, :e, :f)"_sql(1, 0.25, name, true, std::optional<int>{}, bytes));
    const auto calls = f.script.calls();
    REQUIRE(calls.size() == 1);
    CHECK(calls[0].arguments == std::vector<strata::scripted_value>{1, 0.25, "O'Hara", true, nullptr, bytes});
    CHECK(calls[0].to_string() == "insert into t values(:a, :b, :c, :d, :e, :f) [1, 0.25, 'O'Hara', true, null, x'00ff']");
    CHECK(calls[0].connection == 1);
    f.script.forget_calls();
    CHECK(f.script.calls().empty());
}

TEST_CASE("statements composed at run time are scripted by their text", "[scripted]") {
    fixture f;
    f.script.on("select name from city where id = :id").columns({"name"}).rows({{"Rome"}});
    strata::statement q{"select name from city"};
    q += " where id = :id"_sql("id"_arg = 4);
    CHECK(f.db.one<std::string>(q) == "Rome");
    CHECK(f.script.journal() == journal{"select name from city where id = :id [4]"});
}

TEST_CASE("an answer takes its time in the world, and a deadline cuts it short", "[scripted]") {
    fixture f;
    f.script.on("select 1").takes(20ms).returns(1);
    CHECK(f.db.one<int>("select 1"_sql) == 1);
    CHECK(f.world.elapsed() == strata::duration{20ms});
    const auto r = f.db.try_one<int>("select 1"_sql, {.deadline = 5ms});
    CHECK(r.error().code() == errc::timeout);
    CHECK(f.world.elapsed() == strata::duration{25ms});
    CHECK(f.db.one<int>("select 1"_sql, {.deadline = 20ms}) == 1);  // just in time
    CHECK(f.db.connections().idle == 1);
}

TEST_CASE("transactions fail where the script says", "[scripted]") {
    fixture f;
    f.script.on("rename").affected(1);
    f.script.on_begin().fails(errc::busy).times(1);
    const auto run = [&] { return f.db.try_transaction([&](auto& tx) { tx.execute(rename_it("x", 1)); }); };
    CHECK(run().error().code() == errc::busy);
    CHECK(f.script.journal() == journal{"begin immediate"});

    f.script.forget_calls();
    f.script.on_commit().fails(errc::serialization_failure, effect::rolled_back).times(1);
    auto r = run();
    CHECK(r.error().code() == errc::serialization_failure);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(r.error().phase() == strata::phase::commit);
    CHECK(f.script.journal() == journal{"begin immediate", "rename ['x', 1]", "commit"});  // nothing is left to roll back

    f.script.forget_calls();
    f.script.on_commit().fails(errc::foreign_key_violation).times(1);
    r = run();
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(f.script.journal() == journal{"begin immediate", "rename ['x', 1]", "commit", "rollback"});

    f.script.on("rename").fails(errc::connection_lost).times(1);
    r = run();
    CHECK(r.error().code() == errc::connection_lost);
    CHECK(r.error().effect() == effect::rolled_back);  // never committed
    CHECK(f.db.connections().lost == 1);
    CHECK(run().has_value());
}

TEST_CASE("savepoints are scripted too", "[scripted]") {
    fixture f;
    f.script.on("rename").affected(1);
    f.db.transaction([&](auto& tx) {
        tx.transaction([&](auto& inner) { inner.execute(rename_it("x", 1)); });
        f.script.on_savepoint().fails(errc::io_error).times(1);
        CHECK_THROWS_AS(tx.transaction([&](auto&) {}), strata::failure);
    });
    CHECK(f.script.journal() == journal{"begin immediate", "savepoint 1", "rename ['x', 1]", "release 1", "savepoint 1", "commit"});
}

TEST_CASE("connecting takes time, fails and hangs as told", "[scripted]") {
    strata::script script;
    script.on_connect().takes(10ms).fails(errc::cannot_connect, effect::none, "no route").takes(5ms).times(2);
    strata::simulated_world world;
    strata::database<plain, strata::simulated_world> db{world, strata::scripted_options{script}, strata::pool_options{.min_size = 0}};
    script.on_any().returns(1);
    for (int i = 0; i < 2; ++i) {
        const auto r = db.try_one<int>("select 1"_sql);
        CHECK(r.error().code() == errc::cannot_connect);
        CHECK(r.error().message() == "no route");
        CHECK(r.error().phase() == strata::phase::connect);
    }
    CHECK(world.elapsed() >= strata::duration{15ms});  // with the pause between
    CHECK(world.elapsed() <= strata::duration{20ms});
    world.run_for(1s);
    script.on_connect().takes(200ms).times(1);
    CHECK(db.try_one<int>("select 1"_sql, {.deadline = 50ms}).error().code() == errc::pool_unreachable);
    CHECK(db.one<int>("select 1"_sql) == 1);
    CHECK(db.connections().idle == 1);
    script.on_connect().hangs().times(1);
    db.source().retire_all();
    CHECK(db.try_one<int>("select 1"_sql, {.deadline = 50ms}).error().code() == errc::timeout);
}

TEST_CASE("it stands in for PostgreSQL, whose dialect it then takes", "[scripted]") {
    strata::script script;
    script.on_any().columns({"id"}).rows({{1}});
    strata::database<strata::stack<strata::pool<>, strata::scripted_postgres>> db{strata::scripted_options{script}};
    CHECK(db.one<int>("select id from t where tags @> array[:tag]::text[]"_sql("x")) == 1);
}

TEST_CASE("many threads may use one script", "[scripted]") {
    strata::script script;
    script.on("select 1").returns(1);
    strata::database<plain> db{strata::scripted_options{script}};
    std::vector<std::thread> all;
    std::atomic<int> sum{0};
    for (int t = 0; t < 4; ++t) {
        all.emplace_back([&] {
            for (int i = 0; i < 50; ++i) {
                sum += db.one<int>("select 1"_sql);
                if (i % 10 == 0) script.on("select 1").returns(1);  // a rule counts from its first answer on
            }
        });
    }
    for (std::thread& t : all) t.join();
    CHECK(sum == 200);
    CHECK(script.calls().size() == 200);
}
