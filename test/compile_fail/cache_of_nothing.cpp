// expect: strata: what is cached, or replaced after a failure, is a result: use one, maybe_one or all
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.all<std::string>(cached(names));
#else
    db.execute(cached(names));
#endif
}
