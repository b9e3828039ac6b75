// expect: strata: this database has no arrays, records and ranges as parameters; for a list write in (:ids...)
// needs: sqlite
// A vector is a parameter where the database has arrays only.
#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>
#include <strata/value/array.hpp>
using namespace strata::literals;

using stack = strata::stack<strata::single, strata::sqlite>;
#ifdef STRATA_CONTROL
void f(strata::database<stack>& db, const std::vector<int>& ids) { db.execute("delete from t where id = :id"_sql(ids[0])); }
#else
void f(strata::database<stack>& db, const std::vector<int>& ids) { db.execute("delete from t where id = any(:ids)"_sql(ids)); }
#endif
