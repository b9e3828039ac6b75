// expect: strata: this type keeps a view (std::string_view, std::span) into the row, which is gone when the call returns
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) { db.all<std::tuple<int, std::string>>("select id, owner from account"_sql); }
#else
void f(strata::database<bank>& db) { db.all<std::tuple<int, std::string_view>>("select id, owner from account"_sql); }
#endif
