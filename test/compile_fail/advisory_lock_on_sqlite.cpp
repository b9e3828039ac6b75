// expect: strata: this database has no advisory locks: SQLite lies in one file, whose only lock is that of a transaction that writes
// needs: sqlite
#include "face.hpp"

#include <strata/advisory_lock.hpp>

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto& tx) { tx.execute("delete from account"_sql); });
#else
    db.transaction([](auto& tx) { strata::advisory_lock(tx, "import"); });
#endif
}
