// expect: strata: this database has no advisory locks: SQLite lies in one file, whose only lock is that of a transaction that writes
// needs: sqlite
#include "face.hpp"

#include <strata/advisory_lock.hpp>

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    static_cast<void>(db.session());
#else
    static_cast<void>(strata::hold_advisory_lock(db, "import"));
#endif
}
