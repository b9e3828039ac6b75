// expect: strata: this type keeps a view (std::string_view, std::span) into the row, which is gone when the call returns
// needs: sqlite
#include "face.hpp"

#ifdef STRATA_CONTROL
void f(strata::database<bank>& db) {
    for (std::string_view owner : db.rows<std::string_view>("select owner from account"_sql)) static_cast<void>(owner);
}
#else
void f(strata::database<bank>& db) { db.one<std::string_view>("select owner from account"_sql); }
#endif
