// expect: strata: a stack ends with exactly one driver
#include "layers.hpp"

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<outer, source, driver>>);
#else
static_assert(accepted<strata::stack<outer, source>>);
#endif
