// expect: strata: this statement is not written in the dialect of the session's database
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.one<std::string>("select 'text'"_sql); }
#else
void f(strata::database<bank>& db) { db.one<std::string>("select $$text$$"_sql); }
#endif
