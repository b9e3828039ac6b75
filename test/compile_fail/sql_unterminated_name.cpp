// expect: strata: a quoted name of this statement has no end: close it
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select \"a\""_sql;
#else
constexpr auto q = "select \"a"_sql;
#endif
