// expect: strata: pipelined needs a connection at least that is shared: write pipelined<1, pool<>>
#include <strata/source/pipelined.hpp>
#include <strata/strata.hpp>

#ifdef STRATA_CONTROL
using layer = strata::pipelined<1, strata::pool<>>;
#else
using layer = strata::pipelined<0, strata::pool<>>;
#endif

constexpr auto place = layer::place;
