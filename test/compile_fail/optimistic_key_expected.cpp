// expect: strata: a key alone does not say what to write: update_versioned<T>(key, strata::recompute{
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.update_versioned<row>(r, strata::expect_version{3});
#else
    db.try_update_versioned<row>(7, strata::expect_version{3});
#endif
}
