// expect: strata: this driver has no COPY: write rows by execute_many, and read them by rows()
// needs: sqlite
#include "face.hpp"

#include <strata/copy.hpp>

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.execute_many("insert into account values (:id)"_sql, std::vector<int>{1});
#else
    static_cast<void>(db.copy_in("account", std::vector<int>{1}));
#endif
}
