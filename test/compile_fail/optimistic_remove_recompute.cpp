// expect: strata: a removal is neither merged nor recomputed
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.remove_versioned(r, strata::last_writer_wins{});
#else
    db.remove_versioned(r, strata::recompute{[](row&) {}});
#endif
}
