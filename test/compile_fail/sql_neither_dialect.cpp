// expect: strata: this text fits neither PostgreSQL nor SQLite: outside of strings it has a character that neither knows
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select 1 -- {"_sql;
#else
constexpr auto q = "select {"_sql;
#endif
