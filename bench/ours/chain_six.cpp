// chain.six: the six interceptors of overhead.chain.blocking with what they can do switched on, around the same empty call.
//   ours_chain_six CALLS LAYERS DEPTH     LAYERS is 0 (the same call without them) or 6; DEPTH the sum of
//
//    1  the statement has a name, so metrics keeps counters of its own for it
//    2  the call says a deadline and that it is idempotent
//    4  a part of retry's budget is spent, so each success gives back
//    8  the breaker has all three rules, over a window of time, a judge and a hook: each result is counted
//   16  chaos throws its die for each attempt
#include "../allocations.hpp"
#include "../measure.hpp"
#include "chain.hpp"

using namespace strata::literals;
using namespace std::chrono_literals;

namespace {

enum depth : long { name = 1, deadline = 2, budget = 4, window = 8, die = 16 };

template <class Database>
void run(Database& db, long calls, const auto& statement, const strata::call_options& options) {
    bench::checksum sum;
    const auto call = [&](long) { sum.add(db.execute(statement("id"_arg = 7), options).affected); };
    for (long i = 0; i < 1000; ++i) call(i);
    const long before = bench::allocations;
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < calls; ++i) call(i);
    bench::report(sum, std::chrono::steady_clock::now() - start, bench::allocations - before);
}
template <class Database>
void run(Database& db, long calls, long depth) {
    constexpr auto statement = "update account set balance = 0 where id = :id"_sql;
    strata::call_options options;
    if ((depth & deadline) != 0) options = {.deadline = 30s, .idempotent = true};
    if ((depth & name) != 0)
        run(db, calls, statement.named("empty_account"), options);
    else
        run(db, calls, statement, options);
}

void on_change(void* changes, const strata::circuit_change&) noexcept {
    ++*static_cast<long*>(changes);
}

void run_six(long calls, long depth) {
    constexpr unsigned reserve = 20'000;  // tokens; a success gives back a tenth of one
    long changes = 0;
    strata::circuit_breaker_options breaker;
    if ((depth & window) != 0) {
        breaker.failure_rate = breaker.slow_rate = 0.5;
        breaker.slow_call = 1s;
        breaker.window_time = 10s;
        breaker.half_open_permits = 3;
        breaker.judge = [](const strata::error&, strata::condition_traits by_table) noexcept { return by_table; };
        breaker.on_change = on_change;
        breaker.context = &changes;
    }
    strata::database<bench::six_layers> db{
        breaker, strata::total_timeout_options{.limit = 10s}, strata::attempt_timeout_options{.limit = 1s},
        strata::retry_options{.max_attempts = reserve, .base = {}, .budget = reserve, .backoff = strata::backoff::constant}};
    auto& chaos = db.policy<strata::chaos>();
    if ((depth & budget) != 0) {
        chaos.set_rate(1);  // conflicts, which say nothing ill of the database
        if (db.try_execute("delete from account where id = :id"_sql("id"_arg = 7)).has_value()) bench::give_up("nothing failed");
        chaos.set_rate(0);
    }
    if ((depth & die) != 0) chaos.set_rate(0x1p-32);
    run(db, calls, depth);
    if ((depth & budget) != 0 && db.policy<strata::retry<>>().snapshot().tokens >= reserve) bench::give_up("the budget is full");
    if (changes != 0) bench::give_up("the breaker opened");
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1), layers = bench::number(argc, argv, 2), depth = bench::number(argc, argv, 3);
    if (layers != 0) {
        run_six(calls, depth);
    } else {
        strata::database<bench::no_layers> db;
        run(db, calls, depth);
    }
}
