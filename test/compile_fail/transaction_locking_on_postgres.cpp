// expect: strata: this database locks rows when statements need them, not at BEGIN: leave .locking out
#include "transactions.hpp"

void f(postgres_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto&) {}, {.isolation = strata::isolation::serializable});
#else
    db.transaction([](auto&) {}, {.locking = strata::scripted_locking::immediate});
#endif
}
