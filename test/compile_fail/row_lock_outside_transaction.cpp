// expect: strata: a row lock ends with its transaction, here with the very statement: write db.transaction(
// needs: sqlite
#include "row_lock.hpp"

template <>
struct strata::mapping<account> {
    static constexpr std::string_view table = "account";
    static constexpr std::string_view key = "id";
};

void f(strata::database<locking_bank>& db) {
#ifdef STRATA_CONTROL
    db.transaction([](auto& tx) { static_cast<void>(tx.template claim<account, "id > :least">(7, "least"_arg = 3)); });
#else
    static_cast<void>(db.claim<account>(7));
#endif
}
