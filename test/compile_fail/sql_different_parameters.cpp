// expect: strata: a parameter has no argument
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
// PostgreSQL sees x and y, SQLite only y
auto p = "select [:x] from t where a = :y"_sql("x"_arg = 1, "y"_arg = 2);
auto s = "select [:x] from t where a = :y"_sql("y"_arg = 2);
#else
auto b = "select [:x] from t where a = :y"_sql("x"_arg = 1);
#endif
