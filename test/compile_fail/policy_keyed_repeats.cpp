// expect: strata: only a policy that admits or settles can be keyed, and none that repeats
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/keyed.hpp>
#include <strata/policy/retry.hpp>

#ifdef STRATA_CONTROL
using policy = strata::circuit_breaker<>;
#else
using policy = strata::retry<>;
#endif
constexpr std::size_t size = sizeof(strata::keyed<policy>);
