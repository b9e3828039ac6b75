// expect: strata: merge needs the row as it was read: give what find_versioned returned
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db) {
    const strata::versioned<row> read = *db.find_versioned<row>(7);
#ifdef STRATA_CONTROL
    db.update_versioned(read, strata::merge{});
#else
    db.update_versioned(*read, strata::merge{});
#endif
}
