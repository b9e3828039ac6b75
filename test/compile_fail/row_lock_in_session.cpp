// expect: strata: a row lock ends with its transaction, here with the very statement: write db.transaction(
// needs: sqlite
#include "row_lock.hpp"

void f(strata::database<locking_bank>::session_type& session) {
#ifdef STRATA_CONTROL
    session.transaction([](auto& tx) { tx.set_lock_timeout(std::chrono::seconds{1}); });
#else
    session.set_lock_timeout(std::chrono::seconds{1});
#endif
}
