// expect: strata: this advisory lock ends with its transaction: write db.transaction([&](auto& tx) { strata::advisory_lock(tx, key); ... })
// needs: sqlite
#include "face.hpp"

#include <strata/advisory_lock.hpp>

struct locking_driver : strata::sqlite {
    static constexpr bool advisory_locks = true;
};

void f(strata::database<strata::stack<strata::pool<>, locking_driver>>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from account"_sql);
#else
    strata::advisory_lock(db, "import");
#endif
}
