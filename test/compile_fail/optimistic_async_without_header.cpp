// expect: strata: asynchronous versioned calls need  #include <strata/async/optimistic_locking.hpp>
// needs: sqlite
#include "optimistic.hpp"

#include <strata/async.hpp>

void f(strata::async_database<store>& adb, const row& r) {
    static_cast<void>(adb.async_update_versioned(r));
}
