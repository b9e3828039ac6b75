// expect: strata: a statement must not contain a NUL character
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select 1"_sql;
#else
constexpr auto q = "select \0 1"_sql;
#endif
