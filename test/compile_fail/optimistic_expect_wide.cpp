// expect: strata: strata::expect_version{...} holds another type than this row's versions
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, std::optional<std::int64_t> version) {
#ifdef STRATA_CONTROL
    db.remove_versioned<row>(7, strata::expect_version{*version});
#else
    db.remove_versioned<row>(7, strata::expect_version{version});
#endif
}
