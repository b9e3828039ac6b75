// locking.optimistic on SQLite, whose update takes some microseconds: bench/raw/locking_optimistic.cpp through the bank's stack and
// optimistic_locking.
//   ours_locking_optimistic CALLS FILE
#include "bank.hpp"
#include "locking.hpp"

using stack = strata::stack<strata::optimistic_locking<>, strata::metrics<>, strata::total_timeout, strata::retry<>,
                            strata::circuit_breaker<>, strata::attempt_timeout, strata::chaos, strata::pool<>, strata::sqlite>;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    strata::database<stack> db{strata::sqlite_options{.path = bench::text(argc, argv, 2), .synchronous = strata::sqlite_synchronous::off},
                               strata::pool_options{.min_size = 1, .max_size = 1}};
    bench::update_versioned(db, calls);
}
