// expect: deleted
// A double has lost the digits: a decimal is not made of one.
#include <strata/value/decimal.hpp>

#ifdef STRATA_CONTROL
strata::decimal price{"0.10"};
#else
strata::decimal price{0.10};
#endif
