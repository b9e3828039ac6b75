// The bank's eight layers, as example/bank has them, over SQLite. Chaos is there and injects nothing.
#ifndef BENCH_OURS_BANK_HPP
#define BENCH_OURS_BANK_HPP

#include "../account.hpp"

#include <strata/driver/sqlite.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>

#include <boost/hana/adapt_struct.hpp>

BOOST_HANA_ADAPT_STRUCT(account, id, owner, balance, version);

namespace bench {

using bank = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>, strata::attempt_timeout,
                           strata::chaos, strata::pool<>, strata::sqlite>;

}  // namespace bench

#endif
