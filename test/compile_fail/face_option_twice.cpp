// expect: strata: the same kind of options is given twice
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f() { strata::database<bank> db{strata::sqlite_options{.path = "a.db"}, strata::pool_options{}}; }
#else
void f() { strata::database<bank> db{strata::sqlite_options{.path = "a.db"}, strata::pool_options{}, strata::pool_options{.max_size = 2}}; }
#endif
