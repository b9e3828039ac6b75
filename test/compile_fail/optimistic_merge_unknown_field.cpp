// expect: strata: a rule of this merge names a field that the row has not
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const strata::versioned<row>& read) {
#ifdef STRATA_CONTROL
    db.update_versioned(read, strata::merge{strata::field<"name">(strata::take_ours)});
#else
    db.update_versioned(read, strata::merge{strata::field<"nam">(strata::take_ours)});
#endif
}
