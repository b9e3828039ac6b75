// expect: strata: or_else(...) is said twice of one statement
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>(cached(or_else("select 1"_sql, 2)));
#else
    db.one<int>(or_else(or_else("select 1"_sql, 2), 3));
#endif
}
