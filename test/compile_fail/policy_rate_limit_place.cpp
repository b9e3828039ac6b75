// expect: strata: a rate limit stands at place::rate (per attempt) or at place::bound (per operation)
#include <strata/policy/rate_limit.hpp>

#ifdef STRATA_CONTROL
constexpr auto where = strata::place::bound;
#else
constexpr auto where = strata::place::bulkhead;
#endif
constexpr std::size_t size = sizeof(strata::rate_limit<void, where>);
