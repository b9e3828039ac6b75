// expect: strata: an argument's name is that of the parameter without its colon
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select :id"_sql("id"_arg = 1);
#else
auto a = ":id"_arg = 1;
#endif
