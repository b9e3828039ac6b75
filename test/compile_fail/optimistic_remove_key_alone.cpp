// expect: strata: a key alone does not say which version is removed: remove_versioned<T>(key, strata::expect_version{...})
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.remove_versioned<row>(7, strata::expect_version{3});
    db.remove_versioned<row>(r);
#else
    db.remove_versioned<row>(7);
#endif
}
