// A pool that follows its planner: what it tells it, and what it does.
#include "probe.hpp"

#include <strata/source/pool_planner.hpp>
#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

#include <cmath>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using task = strata::simulated_task<>;

namespace {

/// Writes down what it is told, and says what it was told to say.
struct recording_planner final : strata::pool_planner {
    strata::pool_plan plan(const strata::pool_usage& u, strata::moment) noexcept override {
        told.push_back(u);
        return says;
    }
    [[nodiscard]] strata::duration look_every() const noexcept override { return 1ms; }

    std::vector<strata::pool_usage> told{};
    strata::pool_plan says{.ask_again = 100ms};
};

}  // namespace

TEST_CASE("a planner is told how the pool is used", "[planner]") {
    const auto planner = std::make_shared<recording_planner>();
    pool_of<> p{{.min_size = 2, .max_size = 4, .max_wait = 30ms, .planner = planner}};
    p.world.run_for(100ms + 500us);
    REQUIRE(planner->told.size() == 2);
    CHECK(planner->told[1].limit == 4);
    CHECK(planner->told[1].ended == 0);
    CHECK(planner->told[1].lent == strata::duration{});
    CHECK(planner->told[1].wall == p.world.wall_now() - 500us);
    for (int i = 0; i < 6; ++i)
        p.client("client", [&]() -> task { co_await lease(p.r, {.takes = 40ms, .ends_with = errc::unique_violation}); });
    p.client("unlucky", [&]() -> task {
        co_await p.world.sleep(60ms);
        co_await lease(p.r, {.takes = 5ms, .ends_with = errc::timeout});
        co_await lease(p.r, {.takes = 5ms, .ends_with = errc::connection_lost});
    });
    p.world.run();
    p.world.run_for(100ms);
    REQUIRE(planner->told.size() >= 3);
    const strata::pool_usage& u = planner->told[2];
    CHECK(u.peak == 4);
    CHECK(u.waiting == 2);
    CHECK(u.ended == 6);  // two of the callers gave up
    CHECK(u.faults == 2);
    CHECK(u.lent >= strata::duration{165ms});
    CHECK(u.lent <= strata::duration{175ms});
}

namespace {

/// Writes down what it is told, and wants to know of locks.
struct lock_planner final : strata::pool_planner {
    strata::pool_plan plan(const strata::pool_usage& u, strata::moment) noexcept override {
        told.push_back(u);
        return {.ask_again = 100ms};
    }
    [[nodiscard]] strata::duration look_every() const noexcept override { return 1ms; }
    [[nodiscard]] strata::duration ask_for_locks_every() const noexcept override { return every; }

    std::vector<strata::pool_usage> told{};
    strata::duration every = 5ms;
};

}  // namespace

TEST_CASE("a planner is told how long leases waited for locks, of which the server is asked only while callers wait", "[planner]") {
    const auto planner = std::make_shared<lock_planner>();
    pool_of<> p{{.min_size = 3, .max_size = 3, .planner = planner}};
    const auto ended = [&](std::size_t round) -> const strata::pool_usage& {
        while (planner->told.size() <= round) p.world.run_for(1ms);
        return planner->told[round];
    };
    ended(0);
    for (int i = 0; i < 3; ++i)  // all are lent out, and nobody waits
        p.client("calm", [&]() -> task { co_await lease(p.r, {.takes = 20ms, .locks = true}); });
    CHECK(ended(1).locked == strata::duration{});
    CHECK(ended(1).besides == 1);
    CHECK(p.log.asked_for_locks.empty());
    CHECK(p.log.watches_made == 0);

    for (int i = 0; i < 4; ++i)  // three for 60 ms, of which two wait for 20 and 40; the fourth waits, and needs no lock
        p.client("busy", [&, i]() -> task { co_await lease(p.r, {.takes = 20ms, .locks = i < 3}); });
    const strata::pool_usage& u = ended(2);
    CHECK(u.locked >= strata::duration{35ms});  // while somebody waited for a connection: two for 20 ms
    CHECK(u.locked <= strata::duration{45ms});
    CHECK(u.lent >= strata::duration{135ms});
    CHECK(p.log.asked_for_locks.size() >= 4);
    CHECK(p.log.asked_for_locks.size() <= 5);
    for (std::size_t i = 1; i < p.log.asked_for_locks.size(); ++i) CHECK(p.log.asked_for_locks[i] - p.log.asked_for_locks[i - 1] >= 5ms);
    CHECK(p.log.watches == 1);
    ended(3);
    CHECK(p.log.watches == 0);  // a calm round has ended

    planner->every = {};
    const std::size_t before = p.log.asked_for_locks.size();
    p.use(10, 10ms);
    CHECK(p.log.asked_for_locks.size() == before);
    CHECK(ended(4).besides == 0);
}

TEST_CASE("what connections say of their waits for locks is told to the planner", "[planner]") {
    const auto planner = std::make_shared<lock_planner>();
    strata::simulated_world world;
    strata::script script;
    script.on("half").takes(40ms).waits_for_lock(15ms).returns(1);
    script.on("free").takes(40ms).returns(1);
    strata::simulated_database<strata::stack<strata::pool<>, strata::scripted>> db{
        world, strata::scripted_options{script}, strata::pool_options{.min_size = 2, .max_size = 2, .planner = planner}};
    for (int i = 0; i < 4; ++i)
        world.spawn("caller", [db, i, &world]() mutable -> task {
            const auto first = co_await db.try_one<int>(strata::statement{i < 3 ? "half" : "free"});
            CHECK(first.has_value());
            if (i != 0) co_return;
            co_await world.sleep(100ms);
            const auto late = co_await db.try_one<int>(strata::statement{"half"}, {.deadline = 10ms});  // it ends before the lock is had
            CHECK(late.error().code() == errc::timeout);
        });
    world.run();
    world.run_for(350ms);
    REQUIRE(planner->told.size() >= 4);
    strata::duration locked{};
    for (const strata::pool_usage& u : planner->told) locked += u.locked;
    CHECK(locked == strata::duration{3 * 15ms + 10ms});
    for (const strata::pool_usage& u : planner->told) CHECK(u.besides == 0);
    CHECK(planner->told.back().locked == strata::duration{});
}

TEST_CASE("a server that does not say who waits for locks is seldom asked, and what leads elsewhere is asked anew", "[planner]") {
    const auto planner = std::make_shared<lock_planner>();
    pool_of<> p{{.min_size = 2, .max_size = 2, .planner = planner}};
    const auto press = [&](strata::duration how_long) {
        const strata::time_point end = p.world.now() + how_long;
        for (int i = 0; i < 5; ++i)
            p.client("caller", [&p, end]() -> task {
                while (p.world.now() < end) co_await lease(p.r, {.takes = 11ms, .locks = true});
            });
        p.world.run();
    };
    p.log.keeps_locks_secret = true;
    press(150s);
    CHECK(p.log.asked_for_locks.size() == 3);
    CHECK(p.log.watches == 0);
    for (const strata::pool_usage& u : planner->told) REQUIRE(u.locked == strata::duration{});
    p.log.keeps_locks_secret = false;
    press(50s);  // the minute ends
    const int made = p.log.watches_made;
    press(150s);
    CHECK(p.log.watches_made - made >= 2);  // once a minute
    CHECK(p.log.watches_made - made <= 4);
    REQUIRE(planner->told.size() > 2);
    CHECK(planner->told[planner->told.size() - 2].locked > strata::duration{80ms});
    const int then = p.log.watches_made;
    CHECK_FALSE(p.source.rotate(probe_options{&p.log}));
    press(1s);
    CHECK(p.log.watches_made == then + 1);
    CHECK(p.log.watches == 1);
}

TEST_CASE("a pool does what its planner says", "[planner]") {
    const auto planner = std::make_shared<recording_planner>();
    planner->says = {.size = 3, .ready = 3, .ask_again = 100ms};
    pool_of<> p{{.min_size = 1, .max_size = 8, .max_idle = 50ms, .planner = planner}};
    p.world.run_for(10ms);
    CHECK(p.now().idle == 3);
    p.use(6, 1ms);
    CHECK(p.now().open == 3);
    planner->says = {.size = 6, .ready = 0, .ask_again = 100ms};
    p.world.run_for(500ms);
    CHECK(p.now().idle == 1);  // what it need not hold ready goes as ever
    p.use(8, 1ms);
    CHECK(p.log.most_in_use == 6);
    planner->says = {.size = 0, .ready = 100, .ask_again = 100ms};
    p.world.run_for(500ms);
    CHECK(p.now().idle == 6);  // as many as there may be
}

TEST_CASE("connections are ready when their hours begin, and go when these are over", "[planner]") {
    using std::chrono::hours;
    const auto planner = std::make_shared<strata::adaptive_planner>(
        strata::planner_options{.warm = {.hours = {{8h, 10h, 5}, {22h, 2h, 3}}, .utc_offset = 60min, .lead = 5min}});
    pool_of<> p{{.min_size = 1, .max_size = 8, .max_idle = 60s, .planner = planner}, 20ms};  // the world begins at 1:00 local time
    p.world.run_for(1s);
    CHECK(p.now().idle == 3);
    p.world.run_for(1h + 2min);
    CHECK(p.now().idle == 1);
    p.world.run_for(4h + 52min);  // 6:54
    CHECK(p.now().idle == 1);
    p.world.run_for(1h + 2min);  // 7:56
    CHECK(p.now().idle == 5);
    p.world.run_for(2h + 6min);  // 10:02
    CHECK(p.now().idle == 1);
    p.world.run_for(12h);
    CHECK(p.now().idle == 3);
    CHECK_THROWS_AS(strata::adaptive_planner(strata::planner_options{.warm = {.hours = {{8h, 8h, 1}}}}), strata::failure);
}

TEST_CASE("what was needed each day at noon is there on the next days before noon", "[planner]") {
    const auto planner =
        std::make_shared<strata::adaptive_planner>(strata::planner_options{.learned = strata::learned_demand_options{.lead = 5min}});
    pool_of<> p{{.min_size = 1, .max_size = 8, .max_idle = 60s, .planner = planner}};
    const strata::time_point begin = p.world.now();
    for (int day = 0; day < 4; ++day) {  // Thursday to Sunday; the last two are of another kind
        p.world.run_until(begin + day * 24h + 11h + 59min);
        CHECK(p.now().idle == (day == 1 || day == 3 ? 7u : 1u));
        p.world.run_until(begin + day * 24h + 12h + 5min);
        p.use(7, 2s);
    }
}

namespace {

/// Callers without an end against a database with room for `knee` statements at once: more only wait inside of it.
void press(pool_of<>& p, int callers, double knee, strata::duration each, strata::duration how_long, std::uint64_t& served,
           double share_that_locks = 0) {
    const strata::time_point end = p.world.now() + how_long;
    for (int i = 0; i < callers; ++i)
        p.client("caller", [&p, &served, knee, each, end, share_that_locks]() -> task {
            while (p.world.now() < end) {
                const double load = static_cast<double>(p.log.in_use + 1) - static_cast<double>(p.log.count_locked());
                const bool locks = static_cast<double>(p.world.below(1'000'000)) < 1e6 * share_that_locks;
                const double unit = static_cast<double>(p.world.below(1'000'000) + 1) / 1e6;
                const double slowed = load > knee ? load / knee * (1 + 0.05 * (load - knee)) : 1.0;
                const went w = co_await lease(
                    p.r,
                    {.takes = strata::duration{static_cast<std::int64_t>(static_cast<double>(each.count()) * slowed * -std::log(unit))},
                     .locks = locks});
                if (!w.error) ++served;
            }
        });
    p.world.run();
}

}  // namespace

TEST_CASE("the size finds what the database can do, from either side", "[planner]") {
    const std::size_t from = GENERATE(2u, 40u);
    const auto planner = std::make_shared<strata::adaptive_planner>(
        strata::planner_options{.sizing = strata::sizing_options{.min = 2, .max = 40, .period = 500ms}});
    pool_of<> p{{.min_size = 1, .max_size = 40, .planner = planner}, 5ms};
    p.source.resize(from);
    std::uint64_t served = 0;
    press(p, 100, 10, 10ms, 120s, served);
    const std::size_t size = planner->decision().target;
    INFO("from " << from << " to " << size);
    CHECK(size >= 6);
    CHECK(size <= 16);
    served = 0;
    press(p, 100, 10, 10ms, 20s, served);
    CHECK(served >= 20 * 1'000 * 75 / 100);  // ten at once, 10 ms each: 1,000 a second at best
}

TEST_CASE("a pool whose callers wait for one lock stays as it is; the same load as work makes it larger", "[planner]") {
    struct load {
        double locks;
        bool asks;
        std::size_t least, most;
    };
    const load l =
        GENERATE(load{1, true, 5, 5}, load{1, false, 1, 40}, load{0, true, 8, 20}, load{0.02, true, 8, 20}, load{0.5, true, 5, 5});
    for (const bool dry : {false, true}) {
        const auto planner = std::make_shared<strata::adaptive_planner>(
            strata::planner_options{.sizing = strata::sizing_options{.max = 40, .period = 500ms, .dry_run = dry}, .ask_for_locks = l.asks});
        pool_of<> p{{.min_size = 1, .max_size = 40, .planner = planner}, 5ms};
        p.source.resize(5);
        std::uint64_t served = 0;
        press(p, 60, 10, 10ms, 60s, served, l.locks);
        const strata::sizing_decision d = planner->decision();
        const std::size_t size = dry ? 5 : d.target;
        INFO("locks " << l.locks << (l.asks ? ", asked" : "") << (dry ? ", dry" : "") << ": " << size << ", waits " << d.lock_waits);
        CHECK(p.log.most_in_use >= 5);
        CHECK((p.log.most_in_use > 5) == (!dry && (l.least > 5 || !l.asks)));
        if (!dry) {
            CHECK(size >= l.least);
            CHECK(size <= l.most);
        }
        if (l.locks == 1) {
            CHECK(d.apply == false);
            CHECK((l.asks ? d.lock_waits > 3.5 : d.lock_waits == 0));
        } else if (l.locks == 0) {
            CHECK(d.lock_waits == 0);
        }
    }
}

TEST_CASE("a dry run only tells, and the server's budget is kept", "[planner]") {
    const bool dry = GENERATE(true, false), asks = GENERATE(true, false);
    const std::size_t most = asks ? 3 : 4;  // one to ask for locks
    const auto planner = std::make_shared<strata::adaptive_planner>(
        strata::planner_options{.sizing = strata::sizing_options{.min = 1, .max = 40, .period = 500ms, .dry_run = dry},
                                .budget = {.max_connections = 15, .superuser_reserved = 3, .instances = 3},
                                .ask_for_locks = asks});
    pool_of<> p{{.min_size = 1, .max_size = 40, .planner = planner}, 5ms};
    std::uint64_t served = 0;
    press(p, 60, 30, 10ms, 20s, served);
    CHECK(planner->decision().target <= most);
    CHECK(planner->decision().target >= most - 1);  // a smaller one is tried at times
    CHECK(p.now().open + (p.log.watches > 0) <= (dry ? 41 : 4));
    if (dry) CHECK(p.now().open == 40);
    planner->set_budget({.max_connections = 9, .superuser_reserved = 3, .instances = 3});
    press(p, 60, 30, 10ms, 1s, served);
    CHECK(planner->decision().target == most - 2);
    CHECK(planner->decision().apply == false);
}
