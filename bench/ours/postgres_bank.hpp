// The bank's eight layers over PostgreSQL. Chaos is there and injects nothing.
#ifndef BENCH_OURS_POSTGRES_BANK_HPP
#define BENCH_OURS_POSTGRES_BANK_HPP

#include <strata/driver/postgres.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>

namespace bench {

using postgres_bank = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>,
                                    strata::attempt_timeout, strata::chaos, strata::pool<>, strata::postgres>;

}  // namespace bench

#endif
