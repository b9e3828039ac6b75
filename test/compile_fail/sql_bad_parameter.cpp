// expect: strata: a parameter's name is letters, digits and _, not followed by $
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select :a"_sql;
#else
constexpr auto q = "select :a$b"_sql;
#endif
