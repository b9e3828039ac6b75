// expect: strata: an SQLite database by itself needs no distributed transaction
// needs: sqlite
#include "face.hpp"

#include <strata/distributed_transaction.hpp>

void f(strata::transaction_coordinator& c, strata::database<bank>& db) {
    strata::distributed_transaction t{c, db};
    t.recover();
}
