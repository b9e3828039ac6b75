// expect: strata: pipelined opens its connections behind its callers, which a pool for one thread cannot: write pipelined<2, pool<>>
#include <strata/source/pipelined.hpp>
#include <strata/strata.hpp>

#ifdef STRATA_CONTROL
using layer = strata::pipelined<2, strata::pool<>>;
#else
using layer = strata::pipelined<2, strata::pool<strata::no_lock>>;
#endif

constexpr auto place = layer::place;
