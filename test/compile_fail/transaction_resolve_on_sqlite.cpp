// expect: strata: COMMIT always answers where the database is part of this process
#include "transactions.hpp"

void f(sqlite_bank& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto&) {}, {.read_only = false});
#else
    db.transaction([](auto&) {}, {.resolve_commit = true});
#endif
}
