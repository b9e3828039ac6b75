// expect: strata: this call says what stands for a failure, but no layer of the stack decides when: add strata::fallback<>
// needs: sqlite
#include "cached.hpp"

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>("select 1"_sql);
#else
    db.one<int>(or_else("select 1"_sql, 2));
#endif
}
