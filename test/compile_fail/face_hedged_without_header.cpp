// expect: strata: adb.hedged(h) needs  #include <strata/async/hedged.hpp>
// needs: asio
#include "face.hpp"

#include <strata/async.hpp>
#include <strata/policy/hedge.hpp>

void f(strata::async_database<bank>& db, strata::hedge& h) {
#ifdef STRATA_CONTROL
    static_cast<void>(db.connections());
    static_cast<void>(h.snapshot());
#else
    static_cast<void>(db.hedged(h));
#endif
}
