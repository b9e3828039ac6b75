// expect: strata: this callable is a coroutine, which would run after its run: write guard.async(executor).async_run(...)
// needs: asio
#include <strata/async/guard.hpp>
#include <strata/policy/retry.hpp>

using guarded = strata::guard<strata::stack<strata::retry<>>>;
boost::asio::awaitable<int> seven() { co_return 7; }

#ifdef STRATA_CONTROL
auto f(guarded& g, const boost::asio::any_io_executor& ex) { return g.async(ex).async_run(seven); }
#else
auto f(guarded& g) { return g.run(seven); }
#endif
