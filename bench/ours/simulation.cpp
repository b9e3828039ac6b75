// simulation.steps: clients of a database in a simulated world, two a connection. Each thinks, sends a statement, which takes a
// millisecond, and so on: CALLS in all. A step is that a client goes on: after a sleep, after a wait for a connection, after its statement.
//   ours_simulation CALLS CLIENTS SEED
#include "../closed_queue.hpp"

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

using namespace strata::literals;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    const auto clients = static_cast<std::size_t>(bench::number(argc, argv, 2));
    const auto seed = static_cast<std::uint64_t>(bench::number(argc, argv, 3));
    constexpr auto pay = "update account set balance = balance - :amount where id = :id"_sql;

    strata::script script;
    script.on(pay).takes(strata::duration{static_cast<std::int64_t>(bench::mean_ns)}).affected(1);
    strata::simulated_world world{seed};
    strata::simulated_database<strata::stack<strata::pool<>, strata::scripted>> db{
        world, strata::scripted_options{.script = script},
        strata::pool_options{.min_size = clients / 2, .max_size = clients / 2, .max_waiting = clients}};
    bench::checksum sum;
    long left = calls;
    const auto client = [&]() -> strata::simulated_task<> {
        while (left-- > 0) {
            co_await world.sleep(strata::duration{bench::exponential(world.random())});
            const strata::execution done = co_await db.execute(pay("amount"_arg = 1, "id"_arg = left));
            sum.add(done.affected);
            script.forget_calls();
        }
    };
    for (std::size_t i = 0; i < clients; ++i) world.spawn("client", client);
    const long long cpu = bench::cpu_ns();
    const auto start = std::chrono::steady_clock::now();
    world.run();
    char more[80];
    std::snprintf(more, sizeof(more), " steps=%llu digest=%016llx", static_cast<unsigned long long>(world.steps()),
                  static_cast<unsigned long long>(world.digest()));
    bench::report(sum, start, cpu, more);
}
