// expect: strata: a bulkhead stands at place::bulkhead (per attempt) or at place::bound (per operation)
#include <strata/policy/bulkhead.hpp>

#ifdef STRATA_CONTROL
constexpr auto where = strata::place::bound;
#else
constexpr auto where = strata::place::attempt;
#endif
constexpr std::size_t size = sizeof(strata::bulkhead<void, where>);
