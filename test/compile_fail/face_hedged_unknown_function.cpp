// expect: strata: only a read that may be repeated can be hedged
// needs: asio
#include "face.hpp"

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>

void f(strata::async_database<bank>& db, strata::hedge& h) {
#ifdef STRATA_CONTROL
    db.hedged(h).async_one<int>("select next_number()"_sql.idempotent(), [](std::exception_ptr, int) {});
#else
    db.hedged(h).async_one<int>("select next_number()"_sql, {.idempotent = true}, [](std::exception_ptr, int) {});
#endif
}
