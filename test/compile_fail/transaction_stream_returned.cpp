// expect: strata: a stream of rows must not leave the closure of its transaction, which ends before the first row is read
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    static_cast<void>(db.transaction([](auto& tx) { return tx.template all<std::int64_t>("select 1"_sql()); }));
#else
    static_cast<void>(db.transaction([](auto& tx) { return tx.template rows<std::int64_t>("select 1"_sql()); }));
#endif
}
