// Databases for the negative tests of transactions.
#ifndef STRATA_TEST_COMPILE_FAIL_TRANSACTIONS_HPP
#define STRATA_TEST_COMPILE_FAIL_TRANSACTIONS_HPP

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/transaction/modes.hpp>

#include <vector>

using namespace strata::literals;
using sqlite_bank = strata::database<strata::stack<strata::single, strata::scripted>>;
using postgres_bank = strata::database<strata::stack<strata::single, strata::scripted_postgres>>;
template <class Mode>
using bank_of = strata::database<strata::stack<strata::transactions<Mode>, strata::single, strata::scripted>>;

#endif
