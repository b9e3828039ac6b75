// expect: strata: what follows the row is a strategy: strata::recompute{function}
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.update_versioned(r, strata::recompute{[](row& fresh) { fresh.name = "x"; }});
#else
    db.update_versioned(r, [](row& fresh) { fresh.name = "x"; });
#endif
}
