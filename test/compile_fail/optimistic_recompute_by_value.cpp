// expect: strata: the function of recompute changes the row in place
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db) {
#ifdef STRATA_CONTROL
    db.update_versioned<row>(7, strata::recompute{[](auto& r) { r.name = "x"; }});
#else
    db.update_versioned<row>(7, strata::recompute{[](row r) {
                                 r.name = "x";
                                 return r;
                             }});
#endif
}
