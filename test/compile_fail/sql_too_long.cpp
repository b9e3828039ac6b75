// expect: strata: a literal has at most 16 KiB: use strata::statement, or several statements
#include <strata/sql/literal.hpp>
using namespace strata::literals;

#define STRATA_K64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STRATA_K1 \
    STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64 \
    STRATA_K64 STRATA_K64 STRATA_K64 STRATA_K64
#define STRATA_K15 \
    STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 STRATA_K1 \
    STRATA_K1 STRATA_K1

#ifdef STRATA_CONTROL
constexpr auto q = "select '" STRATA_K15 "'"_sql;
#else
constexpr auto q = "select '" STRATA_K15 STRATA_K1 "'"_sql;
#endif
