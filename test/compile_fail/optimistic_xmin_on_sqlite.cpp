// expect: strata: by_xmin needs PostgreSQL: give the table a version column
// needs: sqlite
#define NO_MAPPING
#include "optimistic.hpp"

template <>
struct strata::mapping<row> {
    static constexpr std::string_view table = "row";
    static constexpr std::string_view key = "id";
};
#ifdef STRATA_CONTROL
using way = strata::by_row_hash;
#else
using way = strata::by_xmin;
#endif

void f(strata::database<strata::stack<strata::optimistic_locking<way>, strata::pool<>, strata::sqlite>>& db) {
    db.find_versioned<row>(7);
}
