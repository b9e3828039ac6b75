// expect: strata: what follows the rows is a strategy: strata::recompute{function}
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const std::vector<row>& all) {
#ifdef STRATA_CONTROL
    db.update_all_versioned(all, strata::fail_fast{}, {.deadline = std::chrono::seconds{1}});
#else
    db.update_all_versioned(all, strata::call_options{.deadline = std::chrono::seconds{1}});
#endif
}
