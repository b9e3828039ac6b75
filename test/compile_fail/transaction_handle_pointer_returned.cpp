// expect: strata: a transaction's handle must not leave its closure, with which the transaction ends: return values
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto& tx) { tx.transaction([](auto&) {}); });
#else
    db.transaction([](auto& tx) { static_cast<void>(tx.transaction([](auto& inner) { return &inner; })); });
#endif
}
