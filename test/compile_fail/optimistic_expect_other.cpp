// expect: strata: strata::expect_version{...} holds another type than this row's versions
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.update_versioned(r, strata::expect_version{3});
    db.remove_versioned<row>(7, strata::expect_version{3});
#else
    db.update_versioned(r, strata::expect_version{"3"});
#endif
}
