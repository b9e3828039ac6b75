// expect: strata: a string of this statement has no end: close it with ' and write a quote inside it twice
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select 'it''s'"_sql;
#else
constexpr auto q = "select 'it's'"_sql;
#endif
