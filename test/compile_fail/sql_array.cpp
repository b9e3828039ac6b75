// expect: strata: an array cannot be kept by a call: pass a std::array, std::vector or std::span
#include <strata/sql/literal.hpp>

#include <span>
using namespace strata::literals;

#ifdef STRATA_CONTROL
void f(const int (&a)[2]) { static_cast<void>("select :a"_sql(std::span<const int>(a))); }
#else
void f(const int (&a)[2]) { static_cast<void>("select :a"_sql(a)); }
#endif
