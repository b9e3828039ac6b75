// expect: strata: a statement is "..."_sql, such a literal called with its arguments, or a strata::statement
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.execute("delete from account"_sql); }
#else
void f(strata::database<bank>& db) { db.execute("delete from account"); }
#endif
