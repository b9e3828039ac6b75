// expect: strata: something in the stack is no layer: every layer states its place
#include "layers.hpp"

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<outer, source, driver>>);
#else
static_assert(accepted<strata::stack<int, source, driver>>);
#endif
