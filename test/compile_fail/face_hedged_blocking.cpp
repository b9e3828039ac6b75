// expect: strata: hedged reads belong to the asynchronous face
// needs: sqlite
#include "face.hpp"

#include <strata/policy/hedge.hpp>

void f(strata::database<bank>& db, strata::hedge& h) {
#ifdef STRATA_CONTROL
    static_cast<void>(db.one<int>("select 1"_sql));
    static_cast<void>(h.snapshot());
#else
    static_cast<void>(db.hedged(h));
#endif
}
