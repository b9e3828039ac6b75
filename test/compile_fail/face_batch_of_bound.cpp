// expect: strata: execute_many takes a literal without its arguments: each element brings them
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.execute_many("delete from account where id = :id"_sql, std::vector<int>{1}); }
#else
void f(strata::database<bank>& db) { db.execute_many("delete from account where id = :id"_sql(1), std::vector<int>{1}); }
#endif
