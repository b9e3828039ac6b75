// expect: strata: the layers of the stack stand in the wrong order; outermost first
#include "layers.hpp"

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<outer, source, driver>>);
#else
static_assert(accepted<strata::stack<source, outer, driver>>);
#endif
