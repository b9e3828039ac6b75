// expect: strata: this key is of another type than the row's key: give what the member of its column holds
// needs: sqlite
#include "row_lock.hpp"

template <>
struct strata::mapping<account> {
    static constexpr std::string_view table = "account";
    static constexpr std::string_view key = "id";
};

void f(strata::database<locking_bank>::transaction_type& tx) {
#ifdef STRATA_CONTROL
    static_cast<void>(tx.lock_one<account>(7));
#else
    static_cast<void>(tx.lock_one<account>("7"));
#endif
}
