// expect: strata: or_else(...) needs a database whose type is known: in a transaction or a session a failure must be seen
// needs: sqlite
#include "cached.hpp"

void f(strata::database<cached_bank>& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto& tx) { tx.template one<int>(cached("select 1"_sql)); });
#else
    db.transaction([](auto& tx) { tx.template one<int>(or_else("select 1"_sql, 2)); });
#endif
}
