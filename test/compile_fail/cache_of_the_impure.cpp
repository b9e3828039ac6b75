// expect: strata: this statement may give another result each time
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>(cached("select random()"_sql.idempotent()));
#else
    db.one<int>(cached("select random()"_sql));
#endif
}
