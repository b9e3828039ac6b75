// expect: strata: COPY needs  #include <strata/copy.hpp>
// needs: sqlite
#include "face.hpp"

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from account"_sql);
#else
    static_cast<void>(db.copy_in("account", std::vector<int>{1}));
#endif
}
