// expect: strata: ? and $1 are placeholders of drivers: write :name
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select * from t where a = :a"_sql;
#else
constexpr auto q = "select * from t where a = ?"_sql;
#endif
