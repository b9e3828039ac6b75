// expect: strata: this key is a std::optional, and no row has an absent key: look whether it is there, and give *key
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const std::optional<std::int64_t>& key) {
#ifdef STRATA_CONTROL
    db.find_versioned<row>(*key);
#else
    db.find_versioned<row>(key);
#endif
}
