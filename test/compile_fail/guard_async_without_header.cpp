// expect: strata: guard.async(...) needs  #include <strata/async/guard.hpp>
#include <strata/guard.hpp>
#include <strata/policy/retry.hpp>
struct executor {};

#ifdef STRATA_CONTROL
void f(strata::guard<strata::stack<strata::retry<>>>& g) { g.run([] {}); }
#else
void f(strata::guard<strata::stack<strata::retry<>>>& g) { auto ag = g.async(executor{}); }
#endif
