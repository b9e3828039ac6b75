// expect: strata: this driver has no pipeline: run the statements one by one, or by execute_many
// needs: sqlite
#include "face.hpp"

#include <strata/pipeline.hpp>

void f(strata::database<bank>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from account"_sql);
#else
    static_cast<void>(db.pipeline("delete from account"_sql));
#endif
}
