// expect: strata: a call asks for caching, but no layer of its stack caches: add strata::cache<>
// needs: sqlite
#include "cached.hpp"

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.all<std::string>(names);
#else
    db.all<std::string>(cached(names));
#endif
}
