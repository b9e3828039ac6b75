// expect: strata: add_numbers is for fields that can be added and subtracted
// needs: sqlite
#include "optimistic.hpp"

void f(strata::database<store>& db, const strata::versioned<row>& read) {
#ifdef STRATA_CONTROL
    db.update_versioned(read, strata::merge{strata::field<"name">(strata::append_lists)});
#else
    db.update_versioned(read, strata::merge{strata::field<"name">(strata::add_numbers)});
#endif
}
