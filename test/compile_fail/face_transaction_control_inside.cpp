// expect: strata: begin, commit, rollback and savepoint are not statements here
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>::transaction_type& tx) { tx.transaction([](auto&) {}); }
#else
void f(strata::database<bank>::transaction_type& tx) { tx.execute("savepoint a"_sql); }
#endif
