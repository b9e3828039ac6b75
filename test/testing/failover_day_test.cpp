// A day of a service whose server fails now and then, in virtual time: what callers meet, what the server meets, and that a day is repeated
// exactly by its seed.
#include <support/catch.hpp>

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

#include <algorithm>
#include <string>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
using strata_test::count;
using task = strata::simulated_task<>;

namespace {

using service = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>, strata::pool<>,
                              strata::scripted_postgres>;

struct day {
    explicit day(std::uint64_t seed)
        : world(seed), db{world, strata::scripted_options{script}, strata::total_timeout_options{.limit = 2s},
                          strata::circuit_breaker_options{.open_time = 1s, .max_open_time = 10s},
                          strata::pool_options{.min_size = 4, .max_size = 8, .longest_pause = 5s, .max_lifetime = 1h, .max_idle = 5min}} {
        up();
        script.forget_calls();
    }

    void up() {
        script.on_connect().takes(20ms);
        script.on_any().returns(1).takes(3ms);
        is_up = true;
        since = world.now();
    }
    void down() {
        script.on_connect().fails(errc::cannot_connect).takes(5ms);
        script.on_any().fails(errc::connection_lost).takes(1ms);
        is_up = false;
        since = world.now();
    }
    [[nodiscard]] strata::duration in_this_state() const { return world.now() - since; }

    task server() {
        while (world.now() < end) {
            co_await world.sleep(world.between(20min, 90min));
            down();
            const std::uint64_t before = db.source().snapshot().opened;
            const std::size_t asked_before = asked;
            co_await world.sleep(world.between(2s, 3min));
            CHECK(db.source().snapshot().opened == before);
            // Each probe of the breaker may cost three attempts, and the pool's prober tries every 2.5 seconds at most.
            CHECK(asked - asked_before <= 30 + static_cast<std::size_t>(in_this_state() / 1s) * 4);
            up();
            ++outages;
        }
    }
    task client() {
        while (world.now() < end) {
            co_await world.sleep(world.between(500ms, 9500ms));
            // However long the outage was: 12 seconds later (the breaker's longest open time, and the pool's pause) all is as before.
            const bool must_succeed = is_up && in_this_state() > strata::duration{16s};
            const strata::time_point begin = world.now();
            const auto r = co_await db.try_one<int>("select 1"_sql);
            const strata::duration took = world.now() - begin;
            slowest = std::max(slowest, took);
            ++calls;
            if (r) {
                ++served;
            } else {
                ++failed[static_cast<std::size_t>(r.error().code())];
                if (must_succeed && is_up) ++unexplained;
            }
            world.note(static_cast<std::uint64_t>(r ? errc::ok : r.error().code()));
            world.note(static_cast<std::uint64_t>(took.count()));
        }
    }
    /// What the server was asked; its notes are thrown away now and then.
    task counts() {
        while (world.now() < end) {
            co_await world.sleep(100ms);
            asked += script.calls().size();
            script.forget_calls();
        }
    }

    std::uint64_t run() {
        for (int i = 0; i < count(6, 20); ++i) world.spawn("client", [this] { return client(); });
        world.spawn("server", [this] { return server(); });
        world.spawn("counts", [this] { return counts(); });
        world.run();
        return world.digest();
    }

    strata::simulated_world world;
    strata::script script;
    strata::simulated_database<service> db;
    strata::time_point end = world.now() + 24h;
    bool is_up = true;
    strata::time_point since{};
    std::uint64_t calls = 0, served = 0, outages = 0, unexplained = 0;
    std::uint64_t failed[64] = {};
    std::size_t asked = 0;
    strata::duration slowest{};
};

}  // namespace

TEST_CASE("a day of failovers: whoever calls while the server is there is served, and two runs of one seed are the same",
          "[simulated][day]") {
    day first{7};
    const std::uint64_t digest = first.run();
    INFO(first.calls << " calls, " << first.served << " served, " << first.outages << " outages");
    CHECK(first.outages >= 14);
    CHECK(first.calls > 90'000);
    CHECK(first.served > first.calls * 95 / 100);
    CHECK(first.served < first.calls);
    CHECK(first.unexplained == 0);
    CHECK(first.slowest <= strata::duration{2s});
    std::uint64_t explained = first.served;
    for (const errc c : {errc::connection_lost, errc::cannot_connect, errc::pool_unreachable, errc::circuit_open, errc::timeout})
        explained += first.failed[static_cast<std::size_t>(c)];
    CHECK(explained == first.calls);
    const strata::pool_snapshot pool = first.db.source().snapshot();
    CHECK(pool.open >= 4);
    CHECK(pool.open <= 8);
    CHECK(pool.waiting == 0);

    day again{7}, other{8};
    CHECK(again.run() == digest);
    CHECK(other.run() != digest);
}
