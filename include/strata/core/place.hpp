// Where in a stack a layer may stand. `stack.hpp` checks that places never ascend towards the top;
// layers of equal place stand in any order.
#ifndef STRATA_CORE_PLACE_HPP
#define STRATA_CORE_PLACE_HPP

#include <strata/core/config.hpp>

#include <cstdint>

namespace strata::inline STRATA_ABI {

/// Outermost first. DESIGN: what stands further out sees an operation as a whole, what stands inside `repeat` sees each attempt.
enum class place : std::uint8_t {
    extend,    ///< members of the faces only, no hooks: transactions, optimistic locking
    observe,   ///< metrics, logs, tracing: the logical operation, cached answers and all retries as one
    shape,     ///< validation, access control, masking
    fallback,  ///< a value for a failure
    cache,     ///< inside observation, outside repetition
    bound,     ///< total_timeout and limits per operation
    repeat,    ///< retry
    rate,      ///< rate limit per attempt
    throttle,  ///< client-side throttling per attempt
    breaker,   ///< circuit breaker: samples attempts
    bulkhead,  ///< concurrent attempts
    limit,     ///< adaptive concurrency limit
    attempt,   ///< one attempt, after admission: attempt_timeout, chaos
    source,    ///< exactly one: where a connection comes from
    driver     ///< exactly one: the database
};

}  // namespace strata::inline STRATA_ABI

#endif
