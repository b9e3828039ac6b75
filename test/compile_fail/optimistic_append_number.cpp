// expect: strata: append_lists is for fields that are lists or texts
// needs: sqlite
#include "optimistic.hpp"

struct counter {
    std::int64_t id, hits, version;
};
BOOST_HANA_ADAPT_STRUCT(counter, id, hits, version);
template <>
struct strata::mapping<counter> : strata::mapping<row> {};

void f(strata::database<store>& db, const strata::versioned<counter>& read) {
#ifdef STRATA_CONTROL
    db.update_versioned(read, strata::merge{strata::field<"hits">(strata::add_numbers)});
#else
    db.update_versioned(read, strata::merge{strata::field<"hits">(strata::append_lists)});
#endif
}
