// expect: strata: a list (:name...) is expanded at run time: use strata::statement
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#ifdef STRATA_CONTROL
constexpr auto q = "select * from t where a in (:a, :b)"_sql;
#else
constexpr auto q = "select * from t where a in (:ids...)"_sql;
#endif
