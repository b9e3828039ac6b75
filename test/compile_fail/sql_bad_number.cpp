// expect: strata: letters follow a number in this statement: put a space between them
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select 1 and 2"_sql;
#else
constexpr auto q = "select 1and 2"_sql;
#endif
