// The bank's books: making them, filling them, checking them. All of it through the blocking face.
#ifndef EXAMPLE_BANK_LEDGER_HPP
#define EXAMPLE_BANK_LEDGER_HPP

#include "bank.hpp"

#include <string>
#include <vector>

namespace bank {

// Whether the file is empty or holds a bank of ours, so that nothing of anybody else's is lost.
bool may_be_replaced(database& db);

// Makes the tables anew, with one branch and its tellers.
void create(database& db);

// Opens the accounts, with progress. Returns how many there are: fewer than asked for after Ctrl-C.
std::int64_t load(database& db, std::int64_t accounts);

// The sums of the four tables in one moment.
books audit(database& db);

// Which of the numbers that the file holds, one a line, are not in the history.
std::vector<std::int64_t> missing_in_history(database& db, const std::string& file);

}  // namespace bank

#endif
