// expect: async_execute
// needs: asio
#include "face.hpp"

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>

void f(strata::async_database<bank>& db, strata::hedge& h) {
#ifdef STRATA_CONTROL
    db.hedged(h).async_all<int>("select 1"_sql, [](std::exception_ptr, std::vector<int>) {});
#else
    db.hedged(h).async_execute("select 1"_sql, [](std::exception_ptr, strata::execution) {});
#endif
}
