// expect: strata: an argument has a name that this statement does not know
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select :id"_sql("id"_arg = 1);
#else
auto b = "select :id"_sql("idd"_arg = 1);
#endif
