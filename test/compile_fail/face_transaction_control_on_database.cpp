// expect: strata: begin, commit, rollback and savepoint are not statements here: write db.transaction(
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.session().execute("begin"_sql); }
#else
void f(strata::database<bank>& db) { db.execute("begin"_sql); }
#endif
