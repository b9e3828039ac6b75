// expect: strata: this driver's database cannot prepare transactions, and is no SQLite database
#include <strata/distributed_transaction.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

struct unable : strata::detail::scripted_driver<strata::dialect::postgres, false> {};  // says nothing of `two_phase`

using able_stack = strata::stack<strata::pool<>, strata::scripted_postgres>;
using unable_stack = strata::stack<strata::pool<>, unable>;

#ifdef STRATA_CONTROL
void f(strata::transaction_coordinator& c, strata::database<able_stack>& a, strata::database<able_stack>& b) {
#else
void f(strata::transaction_coordinator& c, strata::database<able_stack>& a, strata::database<unable_stack>& b) {
#endif
    strata::distributed_transaction t{c, a, b};
    t.recover();
}
