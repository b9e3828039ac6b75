// expect: strata: row locks need  #include <strata/row_lock.hpp>
// needs: sqlite
#include "face.hpp"

void f(strata::database<bank>::transaction_type& tx) {
#ifdef STRATA_CONTROL
    tx.execute("delete from account"_sql);
#else
    static_cast<void>(tx.lock_one<int>(7));
#endif
}
