// expect: strata: this key is of another type than the row's key: give what the member of its column holds
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db) {
#ifdef STRATA_CONTROL
    db.find_versioned<row>(7u);
#else
    db.find_versioned<row>("seven");
#endif
}
