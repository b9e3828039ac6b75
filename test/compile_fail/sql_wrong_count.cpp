// expect: strata: the number of arguments is wrong
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select :a, :b, :a"_sql(1, 2);
#else
auto b = "select :a, :b, :a"_sql(1, 2, 3);
#endif
