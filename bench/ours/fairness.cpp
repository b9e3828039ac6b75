// pool.fairness: the waits of the pool in a simulated world, two callers a connection. A caller holds its connection by a transaction of
// the scripted driver whose closure sleeps in the world; how long it waited is seen where the closure begins.
//   ours_fairness ACQUIRES CONNECTIONS SEED
#include "../closed_queue.hpp"

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

int main(int argc, char** argv) {
    const long acquires = bench::number(argc, argv, 1);
    const auto connections = static_cast<std::size_t>(bench::number(argc, argv, 2));
    const auto seed = static_cast<std::uint64_t>(bench::number(argc, argv, 3));
    using task = strata::simulated_task<>;
    using database = strata::simulated_database<strata::stack<strata::pool<>, strata::scripted>>;

    strata::simulated_world world{seed};
    const auto later = [&] { return world.sleep(strata::duration{bench::exponential(world.random())}); };
    bench::waits waits{acquires};
    {
        strata::script script;
        database db{world, strata::scripted_options{.script = script},
                    strata::pool_options{.min_size = connections, .max_size = connections}};
        const auto caller = [&]() -> task {
            while (!waits.enough()) {
                co_await later();
                const strata::time_point asked = world.now();
                const auto hold = [&](database::transaction_type&) -> task {
                    waits.add((world.now() - asked).count());
                    co_await later();
                };
                co_await db.transaction(hold);
                script.forget_calls();
            }
        };
        for (std::size_t i = 0; i < 2 * connections; ++i) world.spawn("caller", caller);
        world.run();
    }
    std::printf("p999=%lld p99=%lld digest=%016llx steps=%llu\n", static_cast<long long>(waits.quantile(0.999)),
                static_cast<long long>(waits.quantile(0.99)), static_cast<unsigned long long>(world.digest()),
                static_cast<unsigned long long>(world.steps()));
}
