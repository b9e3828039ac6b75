// expect: strata: an option given to the guard belongs to no layer of its stack: add the layer, or remove the option
#include <strata/guard.hpp>
#include <strata/policy/bulkhead.hpp>
#include <strata/policy/retry.hpp>

#ifdef STRATA_CONTROL
using layers = strata::stack<strata::retry<>, strata::bulkhead<>>;
#else
using layers = strata::stack<strata::retry<>>;
#endif
int main() { return strata::guard<layers>{strata::bulkhead_options{}}.run([] { return 0; }); }
