// expect: strata: rows one after the other are neither cached nor replaced: use all
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    for (const std::string& name : db.all<std::string>(cached(names))) static_cast<void>(name);
#else
    for (const std::string& name : db.rows<std::string>(cached(names))) static_cast<void>(name);
#endif
}
