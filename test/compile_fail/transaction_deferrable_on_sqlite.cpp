// expect: strata: this database has no deferrable transactions, and needs none
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto&) {}, {.read_only = true, .isolation = strata::isolation::serializable});
#else
    db.transaction([](auto&) {}, {.read_only = true, .isolation = strata::isolation::serializable, .deferrable = true});
#endif
}
