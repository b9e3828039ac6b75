// expect: strata: a versioned row is a struct adapted with
// needs: sqlite
#include "optimistic.hpp"

struct stranger {
    std::int64_t id;
};

void f(strata::database<store>& db) {
#ifdef STRATA_CONTROL
    db.find_versioned<row>(7);
#else
    db.find_versioned<stranger>(7);
#endif
}
