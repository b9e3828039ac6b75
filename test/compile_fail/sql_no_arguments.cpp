// expect: strata: a parameter has no argument
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select 1"_sql();
#else
auto b = "select :id"_sql();
#endif
