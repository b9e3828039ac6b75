// expect: strata: db.async(...) needs  #include <strata/async.hpp>
// needs: sqlite
#include "face.hpp"
struct executor {};

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.close(); }
#else
void f(strata::database<bank>& db) { auto adb = db.async(executor{}); }
#endif
