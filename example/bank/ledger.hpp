// The bank's books: making them, filling them, checking them. It neither knows nor cares in which database they lie.
#ifndef EXAMPLE_BANK_LEDGER_HPP
#define EXAMPLE_BANK_LEDGER_HPP

#include "bank.hpp"

#include <string>
#include <vector>

namespace bank {

// Whether the database is empty or holds a bank of ours, so that nothing of anybody else's is lost. On a server other tables may lie
// beside it, but none of the bank's names.
bool may_be_replaced(strata::any_session db);

// Where the bank lies, for the report, if that is a server.
std::string server_of(strata::any_session db);

// Makes the tables anew, with one branch and its tellers.
void create(strata::any_session db);

// Opens the accounts, with progress. Returns how many there are: fewer than asked for after Ctrl-C.
std::int64_t load(strata::any_session db, std::int64_t accounts);

// The sums of the four tables in one moment.
books audit(strata::any_session db);

// Which of the numbers that the file holds, one a line, are not in the history.
std::vector<std::int64_t> missing_in_history(strata::any_session db, const std::string& file);

}  // namespace bank

#endif
