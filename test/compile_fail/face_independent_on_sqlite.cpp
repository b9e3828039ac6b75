// expect: strata: this database has one writer, so independent work would wait for the transaction it is independent of
// needs: sqlite
#include "face.hpp"

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from account"_sql);
#else
    db.independent().execute("delete from account"_sql);
#endif
}
