// expect: member named 'update_versioned'
// needs: sqlite
#include "optimistic.hpp"

#ifdef STRATA_CONTROL
using stack = store;
#else
using stack = strata::stack<strata::pool<>, strata::sqlite>;
#endif

void f(strata::database<stack>& db, const row& r) { db.update_versioned(r); }
