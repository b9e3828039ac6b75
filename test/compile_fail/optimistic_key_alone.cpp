// expect: strata: a key alone does not say what to write: update_versioned<T>(key, strata::recompute{
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db) {
#ifdef STRATA_CONTROL
    db.update_versioned<row>(7, strata::recompute{[](row& r) { r.name = "x"; }});
#else
    db.update_versioned<row>(7, strata::fail_fast{});
#endif
}
