// expect: strata: only what reads can be cached
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>(cached("select 1"_sql));
#else
    db.one<int>(cached("delete from city returning 1"_sql));
#endif
}
