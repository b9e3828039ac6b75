// expect: strata: pipelined needs a database to which many statements can be on their way on one connection, which is PostgreSQL
// needs: sqlite
#include <strata/driver/sqlite.hpp>
#include <strata/source/pipelined.hpp>
#include <strata/strata.hpp>

#ifdef STRATA_CONTROL
using bank = strata::stack<strata::pool<>, strata::sqlite>;
#else
using bank = strata::stack<strata::pipelined<2, strata::pool<>>, strata::sqlite>;
#endif

void f() {
    strata::database<bank> db{strata::sqlite_options{.path = "bank.db"}};
}
