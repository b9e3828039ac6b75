// expect: strata: db.pipeline(...) needs  #include <strata/pipeline.hpp>
// needs: sqlite
#include "face.hpp"

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from account"_sql);
#else
    static_cast<void>(db.pipeline("delete from account"_sql));
#endif
}
