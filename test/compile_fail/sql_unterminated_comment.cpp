// expect: strata: a comment of this statement has no end: close it with */
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select 1 /* one */"_sql;
#else
constexpr auto q = "select 1 /* one"_sql;
#endif
