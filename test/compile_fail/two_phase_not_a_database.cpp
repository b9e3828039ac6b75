// expect: strata: a distributed transaction takes databases
#include <strata/distributed_transaction.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

using server = strata::stack<strata::pool<>, strata::scripted_postgres>;

#ifdef STRATA_CONTROL
void f(strata::transaction_coordinator& c, strata::database<server>& a, strata::database<server>& b) {
#else
void f(strata::transaction_coordinator& c, strata::database<server>& a, strata::any_session& b) {
#endif
    strata::distributed_transaction t{c, a, b};
}
