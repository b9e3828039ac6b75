// The six interceptors of the bank over a driver that does nothing, and the same database without them.
#ifndef BENCH_OURS_CHAIN_HPP
#define BENCH_OURS_CHAIN_HPP

#include "null_driver.hpp"

#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>

namespace bench {

using no_layers = strata::stack<strata::single, null_driver>;
using six_layers = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>,
                                 strata::attempt_timeout, strata::chaos, strata::single, null_driver>;

}  // namespace bench

#endif
