// expect: strata: this row does not carry its version
// needs: sqlite
#define NO_MAPPING
#include "optimistic.hpp"

template <>
struct strata::mapping<row> {
    static constexpr std::string_view table = "row";
    static constexpr std::string_view key = "id";
};
using hashed = strata::stack<strata::optimistic_locking<strata::by_row_hash>, strata::pool<>, strata::sqlite>;

void f(strata::database<hashed>& db, const row& r) {
#ifdef STRATA_CONTROL
    db.update_versioned(r, strata::expect_version{"abc"});
#else
    db.update_versioned(r);
#endif
}
