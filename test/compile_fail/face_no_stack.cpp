// expect: strata: a database takes a stack: write strata::database<strata::stack<..., strata::pool<>, strata::sqlite>>
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.close(); }
#else
void f(strata::database<strata::sqlite>& db) { db.close(); }
#endif
