// expect: strata: this database has no row locks: SQLite locks the whole file from the beginning of a transaction that writes
// needs: sqlite
#include "row_lock.hpp"

template <>
struct strata::mapping<account> {
    static constexpr std::string_view table = "account";
    static constexpr std::string_view key = "id";
};

#ifdef STRATA_CONTROL
void f(strata::database<locking_bank>::transaction_type& tx) {
#else
void f(strata::database<bank>::transaction_type& tx) {
#endif
    static_cast<void>(tx.lock_one<account>(7));
}
