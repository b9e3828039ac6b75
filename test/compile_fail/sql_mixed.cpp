// expect: strata: give all arguments by name
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = "select :a, :b"_sql(1, 2);
#else
auto b = "select :a, :b"_sql(1, "b"_arg = 2);
#endif
