// expect: strata: no such layer in the stack
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.policy<strata::metrics<>>().snapshot(); }
#else
void f(strata::database<bank>& db) { db.policy<strata::retry<>>().snapshot(); }
#endif
