// expect: strata: a hedged read may go on for a while after its result is there
// needs: asio
#include "face.hpp"

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>

void f(strata::async_database<bank>& db, strata::hedge& h, std::string_view owner) {
    constexpr auto find = "select id from account where owner = :owner"_sql;
#ifdef STRATA_CONTROL
    db.hedged(h).async_one<int>(find("owner"_arg = std::string(owner)), [](std::exception_ptr, int) {});
    db.hedged(h).async_one<int>(find("owner"_arg = "Ada"), [](std::exception_ptr, int) {});
#else
    db.hedged(h).async_one<int>(find("owner"_arg = std::optional<std::string_view>(owner)), [](std::exception_ptr, int) {});
#endif
}
