// expect: strata: what or_else(...) is given is neither a value for the call
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.one<int>(or_else("select 1"_sql, [] { return strata::result<int>{2}; }));
#else
    db.one<int>(or_else("select 1"_sql, [] { return "2"; }));
#endif
}
