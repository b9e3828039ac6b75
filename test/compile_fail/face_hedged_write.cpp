// expect: strata: only a read that may be repeated can be hedged
// needs: asio
#include "face.hpp"

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>

void f(strata::async_database<bank>& db, strata::hedge& h) {
#ifdef STRATA_CONTROL
    db.hedged(h).async_one<int>("select id from account where id = :id"_sql(7), [](std::exception_ptr, int) {});
#else
    db.hedged(h).async_one<int>("delete from account where id = :id returning id"_sql(7), [](std::exception_ptr, int) {});
#endif
}
