// expect: deleted
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](sqlite_bank::transaction_type& tx) { auto* same = &tx; same->execute("delete from t"_sql); });
#else
    db.transaction([](sqlite_bank::transaction_type& tx) { auto moved = std::move(tx); moved.execute("delete from t"_sql); });
#endif
}
