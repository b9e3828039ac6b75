// overhead.breaker.reject: a call that an open breaker refuses, on the try_ path.
//   ours_refusal CALLS
#include "../measure.hpp"
#include "null_driver.hpp"

#include <strata/policy/circuit_breaker.hpp>
#include <strata/strata.hpp>

using namespace strata::literals;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    using guarded = strata::stack<strata::circuit_breaker<>, strata::single, bench::null_driver>;
    strata::database<guarded> db{
        bench::null_options{.broken = true},
        strata::circuit_breaker_options{
            .consecutive_failures = 1, .open_time = std::chrono::hours{1}, .max_open_time = std::chrono::hours{1}}};
    constexpr auto statement = "update account set balance = 0 where id = :id"_sql;
    if (!db.try_execute(statement("id"_arg = 7)).has_error()) bench::give_up("the first call should fail and open the breaker");
    bench::checksum sum;
    long refused = 0;
    const auto once = [&](long) {
        const auto r = db.try_execute(statement("id"_arg = 7));
        refused += r.has_error();
    };
    for (long i = 0; i < 1000; ++i) once(i);
    bench::repeat(calls, sum, once);
    if (refused != calls + 1000) bench::give_up("not every call was refused");
}
