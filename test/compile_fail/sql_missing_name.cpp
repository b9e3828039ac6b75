// expect: strata: a parameter has no argument
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select :id, :owner"_sql("id"_arg = 1, "owner"_arg = 2);
#else
auto b = "select :id, :owner"_sql("id"_arg = 1);
#endif
