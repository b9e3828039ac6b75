// expect: strata: a hook of a transaction is a plain function without arguments that returns nothing
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto& tx) { tx.on_commit([] {}); });
#else
    db.transaction([](auto& tx) { tx.on_commit([] { return 7; }); });
#endif
}
