// expect: strata: a stack needs exactly one source right above its driver
#include "layers.hpp"

struct another { static constexpr auto place = strata::place::source; };

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<outer, source, driver>>);
#else
static_assert(accepted<strata::stack<outer, source, another, driver>>);
#endif
