// expect: deleted
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](sqlite_bank::transaction_type& tx) { auto& same = tx; same.execute("delete from t"_sql); });
#else
    db.transaction([](sqlite_bank::transaction_type& tx) { auto copy = tx; copy.execute("delete from t"_sql); });
#endif
}
