// expect: strata: a statement is "..."_sql, such a literal called with its arguments, or a strata::statement
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
auto b = strata::detail::as_bound("select 1"_sql);
#else
auto b = strata::detail::as_bound("select 1");
#endif
