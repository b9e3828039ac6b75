// The bank: its stack of policies, its tables as structs, its statements. Only the driver at the bottom tells a bank in a file from
// one on a server.
#ifndef EXAMPLE_BANK_BANK_HPP
#define EXAMPLE_BANK_BANK_HPP

#include <strata/driver/postgres.hpp>
#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <cstdint>

namespace bank {

using namespace strata::literals;

// Read downwards: a call falls from the top to the driver, its result climbs back.
template <class Driver>
using stack = strata::stack<
    strata::metrics<>,          // counts operations, outcomes and latencies
    strata::total_timeout,      // bounds a call with all its attempts
    strata::retry<>,            // repeats what failed for a passing reason and left no trace
    strata::circuit_breaker<>,  // leaves an ill database alone for a while
    strata::attempt_timeout,    // bounds each attempt
    strata::chaos,              // makes attempts fail on order, for the fault drill
    strata::pool<>,             // a few connections for all clients
    Driver>;                    // strata::sqlite or strata::postgres

using file_bank = strata::database<stack<strata::sqlite>>;
using server_bank = strata::database<stack<strata::postgres>>;

// What a teller writes down: one transaction of the bank. Its members are found by the parameters' names.
struct transfer {
    std::int64_t id;
    std::int64_t account;
    std::int64_t teller;
    std::int64_t branch;
    std::int64_t delta;
};

// The sums that must agree, and how many transactions the history holds.
struct books {
    std::int64_t branches;
    std::int64_t tellers;
    std::int64_t accounts;
    std::int64_t history;
    std::int64_t history_rows;

    [[nodiscard]] bool agree() const { return branches == tellers && tellers == accounts && accounts == history; }
};

inline constexpr std::int64_t tellers = 10;  // of the one branch

// The statements of a transaction, with the names under which metrics count them. A wrong or missing argument does not compile.
inline constexpr auto credit_account = "update accounts set balance = balance + :delta where id = :account"_sql.named("credit_account");
inline constexpr auto account_balance = "select balance from accounts where id = :account"_sql.named("account_balance");
inline constexpr auto credit_teller = "update tellers set balance = balance + :delta where id = :teller"_sql.named("credit_teller");
inline constexpr auto credit_branch = "update branches set balance = balance + :delta where id = :branch"_sql.named("credit_branch");
inline constexpr auto write_history =
    "insert into history (id, account, teller, branch, delta, at) values (:id, :account, :teller, :branch, :delta, current_timestamp)"_sql
        .named("write_history");

}  // namespace bank

BOOST_HANA_ADAPT_STRUCT(bank::transfer, id, account, teller, branch, delta);
BOOST_HANA_ADAPT_STRUCT(bank::books, branches, tellers, accounts, history, history_rows);

#endif
