// expect: strata: the stack says transactions<none>: run statements one by one, or take that layer out of the stack
#include "transactions.hpp"

void f(bank_of<strata::none>& db) {
#ifdef STRATA_CONTROL
    db.execute("delete from t"_sql);
#else
    db.execute_many("delete from t where n = :n"_sql, std::vector<int>{1});
#endif
}
