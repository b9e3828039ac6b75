// expect: strata: session state would land on some connection of the pool: pin one with db.session()
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.session().execute("pragma cache_size = 10"_sql); }
#else
void f(strata::database<bank>& db) { db.execute("pragma cache_size = 10"_sql); }
#endif
