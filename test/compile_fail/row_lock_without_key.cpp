// expect: strata: a row lock needs mapping<T>::key, one to nine columns
// needs: sqlite
#include "row_lock.hpp"

template <>
struct strata::mapping<account> {
    static constexpr std::string_view table = "account";
#ifdef STRATA_CONTROL
    static constexpr std::string_view key = "id";
#endif
};

void f(strata::database<locking_bank>::transaction_type& tx) {
    static_cast<void>(tx.claim<account>(7));
}
