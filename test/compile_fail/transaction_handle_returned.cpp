// expect: strata: a transaction's handle must not leave its closure, with which the transaction ends: return values
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    static_cast<void>(db.transaction([](auto& tx) { return tx.attempt(); }));
#else
    static_cast<void>(db.transaction([](auto& tx) -> auto& { return tx; }));
#endif
}
