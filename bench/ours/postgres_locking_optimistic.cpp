// locking.optimistic: the update of bench/raw/postgres_locking_optimistic.cpp through the bank's stack and optimistic_locking.
//   ours_postgres_locking_optimistic CALLS URL
#include "locking.hpp"
#include "postgres_bank.hpp"

using stack = strata::stack<strata::optimistic_locking<>, strata::metrics<>, strata::total_timeout, strata::retry<>,
                            strata::circuit_breaker<>, strata::attempt_timeout, strata::chaos, strata::pool<>, strata::postgres>;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    strata::database<stack> db{strata::postgres_options{.connection = std::string{bench::text(argc, argv, 2)}},
                               strata::pool_options{.min_size = 1, .max_size = 1}};
    bench::update_versioned(db, calls);
}
