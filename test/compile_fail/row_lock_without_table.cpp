// expect: strata: a row lock needs mapping<T>::table, the table's name
// needs: sqlite
#include "row_lock.hpp"

template <>
struct strata::mapping<account> {
#ifdef STRATA_CONTROL
    static constexpr std::string_view table = "account";
#endif
    static constexpr std::string_view key = "id";
};

void f(strata::database<locking_bank>::transaction_type& tx) {
    static_cast<void>(tx.lock_one<account>(7, strata::for_share | strata::nowait));
}
