// expect: strata: a guard runs callables without a database: leave the source and the driver out of its stack
#include <strata/guard.hpp>
#include <strata/policy/retry.hpp>
#include <strata/source/pool.hpp>

#ifdef STRATA_CONTROL
using layers = strata::stack<strata::retry<>>;
#else
using layers = strata::stack<strata::retry<>, strata::pool<>>;
#endif
int main() { return strata::guard<layers>{}.run([] { return 0; }); }
