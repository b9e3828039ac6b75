// expect: strata: an option given to the database belongs to no layer of its stack: add the layer, or remove the option
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f() { strata::database<bank> db{strata::sqlite_options{.path = "a.db"}, strata::pool_options{}}; }
#else
void f() { strata::database<bank> db{strata::sqlite_options{.path = "a.db"}, strata::retry_options{}}; }
#endif
