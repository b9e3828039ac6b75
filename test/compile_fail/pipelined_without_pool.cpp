// expect: strata: pipelined holds a pool for what cannot share: write pipelined<2, pool<>>
#include <strata/source/pipelined.hpp>
#include <strata/source/single.hpp>
#include <strata/strata.hpp>

#ifdef STRATA_CONTROL
using layer = strata::pipelined<2, strata::pool<>>;
#else
using layer = strata::pipelined<2, strata::single>;
#endif

constexpr auto place = layer::place;
