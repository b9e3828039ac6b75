// expect: strata: a layer stands twice in the stack: give one of them a tag type
#include "layers.hpp"

#ifdef STRATA_CONTROL
static_assert(accepted<strata::stack<outer, inner, source, driver>>);
#else
static_assert(accepted<strata::stack<outer, outer, source, driver>>);
#endif
