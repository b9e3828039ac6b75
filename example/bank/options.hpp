// What the user may choose.
#ifndef EXAMPLE_BANK_OPTIONS_HPP
#define EXAMPLE_BANK_OPTIONS_HPP

#include <cstdint>
#include <string>

namespace bank {

struct options {
    std::int64_t clients = 16;
    std::int64_t transactions = 10'000;
    std::int64_t accounts = 100'000;
    std::string file;           // empty: a temporary one
    bool is_temporary = false;  // `file` is one
    std::string server;         // a URL; not empty: the bank lies there and in no file
    std::uint64_t seed = 1;     // of the clients' choices
    bool faults = true;
    bool json = false;
    std::string acknowledge;    // file for the numbers of acknowledged transactions
    bool check = false;         // only look at `file` or `server`
    bool help = false;
};

inline constexpr const char* help =
    R"(usage: bank [OPTION]...
       bank --check FILE|URL [--acknowledge FILE]

A bank after TPC-B (the tables of pgbench: branches, tellers, accounts, history) in an SQLite file or on a PostgreSQL
server, behind a full stack of policies. Loads 1 branch, 10 tellers and the accounts; lets clients move money; drills what
happens when the database is busy, gone, and back again; reports; and checks the books. The last line is
`balances: consistent` and the status 0 when the sums of the four tables agree, the history holds exactly the transactions
that were acknowledged, and each fault was met. Otherwise the status is 1; 2 for a wrong option or a database that cannot
be used.

  --clients N        concurrent clients, each a coroutine (16)
  --transactions N   how many they do before the drill (10000)
  --accounts N       how many to load (100000)
  --file FILE        where the bank lies; a bank that is there already is replaced, any other file refused.
                     Without it: a temporary file (in TMPDIR), removed at the end
  --database URL     postgresql://... : the bank lies there, in the first schema of the search path. A bank that is there
                     already is replaced; other tables of its names are refused
  --seed N           for the clients' choices (1)
  --no-faults        without the fault drill
  --json             the report as one JSON object on standard output; all else goes to standard error
  -h, --help         this

  --acknowledge FILE append the number of each transaction to FILE, a line each, once its commit is acknowledged
  --check FILE|URL   only check the bank there, such as one whose program was killed: that its sums agree and, with
                     --acknowledge FILE, that each number in that file is in the history

Ctrl-C lets the running transactions end, then reports and checks as usual; a second one ends the program at once.
)";

// Throws `example::usage_error`.
options parse(int argc, char** argv);

}  // namespace bank

#endif
