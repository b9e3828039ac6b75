// expect: strata: a key has as many parts as strata::mapping<T>::key columns
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db) {
#ifdef STRATA_CONTROL
    db.find_versioned<row>(std::tuple{7});
#else
    db.find_versioned<row>(std::tuple{7, 8});
#endif
}
