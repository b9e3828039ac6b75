// A pool that follows its planner: what it tells it, and what it does.
#include "probe.hpp"

#include <strata/source/pool_planner.hpp>

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
void press(pool_of<>& p, int callers, double knee, strata::duration each, strata::duration how_long, std::uint64_t& served) {
    const strata::time_point end = p.world.now() + how_long;
    for (int i = 0; i < callers; ++i)
        p.client("caller", [&p, &served, knee, each, end]() -> task {
            while (p.world.now() < end) {
                const double load = static_cast<double>(p.log.in_use + 1);
                const double unit = static_cast<double>(p.world.below(1'000'000) + 1) / 1e6;
                const double slowed = load > knee ? load / knee * (1 + 0.05 * (load - knee)) : 1.0;
                const went w = co_await lease(
                    p.r,
                    {.takes = strata::duration{static_cast<std::int64_t>(static_cast<double>(each.count()) * slowed * -std::log(unit))}});
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

TEST_CASE("a dry run only tells, and the server's budget is kept", "[planner]") {
    const bool dry = GENERATE(true, false);
    const auto planner = std::make_shared<strata::adaptive_planner>(
        strata::planner_options{.sizing = strata::sizing_options{.min = 1, .max = 40, .period = 500ms, .dry_run = dry},
                                .budget = {.max_connections = 15, .superuser_reserved = 3, .instances = 3}});
    pool_of<> p{{.min_size = 1, .max_size = 40, .planner = planner}, 5ms};
    std::uint64_t served = 0;
    press(p, 60, 30, 10ms, 20s, served);
    CHECK(planner->decision().target == 4);
    CHECK(planner->decision().apply == false);
    CHECK(p.now().open == (dry ? 40 : 4));
}
