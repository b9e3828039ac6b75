// expect: strata: transactions<> takes strata::automatic, strata::manual or strata::none
#include "transactions.hpp"

void f() {
#ifdef STRATA_CONTROL
    static_cast<void>(sizeof(bank_of<strata::manual>));
#else
    bank_of<int> other{strata::scripted_options{}}; static_cast<void>(other);
#endif
}
