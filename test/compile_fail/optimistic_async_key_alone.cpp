// expect: strata: a key alone does not say what to write: update_versioned<T>(key, strata::recompute{
// needs: asio
#include "optimistic.hpp"

#include <strata/async.hpp>
#include <strata/async/optimistic_locking.hpp>

void f(strata::async_database<store>& adb) {
#ifdef STRATA_CONTROL
    static_cast<void>(adb.async_update_versioned<row>(7, strata::recompute{[](row& r) { r.name = "x"; }}));
#else
    adb.async_update_versioned<row>(7, strata::fail_fast{});
#endif
}
