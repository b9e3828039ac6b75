// expect: strata: this database has no advisory locks: leave .lock out
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto&) {}, {.escalation = {.from = 3}});
#else
    db.transaction([](auto&) {}, {.escalation = {.from = 3, .lock = 7}});
#endif
}
