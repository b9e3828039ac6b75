// expect: strata: two SQLite databases cannot be committed together
// needs: sqlite
#include "face.hpp"

#include <strata/distributed_transaction.hpp>
#include <strata/testing/scripted.hpp>

using server = strata::stack<strata::pool<>, strata::scripted_postgres>;

void f(strata::transaction_coordinator& c, strata::database<server>& db, strata::database<bank>& one, strata::database<bank>& two) {
#ifdef STRATA_CONTROL
    static_cast<void>(two);
    strata::distributed_transaction t{c, db, one};
#else
    strata::distributed_transaction t{c, db, one, two};
#endif
    t.recover();
}
