// overhead.chain.blocking: an empty call through no or six interceptors.
//   ours_chain_blocking CALLS LAYERS     LAYERS is 0 or 6
#include "../allocations.hpp"
#include "../measure.hpp"
#include "chain.hpp"

#include <string>

using namespace strata::literals;

namespace {

template <class Stack>
void run(long calls) {
    strata::database<Stack> db;
    constexpr auto statement = "update account set balance = 0 where id = :id"_sql;
    bench::checksum sum;
    const auto call = [&](long) { sum.add(db.execute(statement("id"_arg = 7)).affected); };
    for (long i = 0; i < 1000; ++i) call(i);
    const long before = bench::allocations;
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < calls; ++i) call(i);
    bench::report(sum, std::chrono::steady_clock::now() - start, bench::allocations - before);
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    if (bench::number(argc, argv, 2) == 0) run<bench::no_layers>(calls);
    else run<bench::six_layers>(calls);
}
