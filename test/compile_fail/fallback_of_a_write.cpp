// expect: strata: or_else(...) is for what reads: that a write has failed must be seen
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>(or_else("select 1"_sql, 2));
#else
    db.one<int>(or_else("delete from city returning 1"_sql, 2));
#endif
}
