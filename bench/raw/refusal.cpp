// The base of overhead.breaker.reject: an open breaker by hand. It looks at its state and at the clock and answers an
// error as a value, in a result that could also hold a number or the texts of a database's error.
//   raw_refusal CALLS
#include "../measure.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <variant>

namespace {

struct failure {
    int code = 0;
    std::chrono::nanoseconds retry_after{};
    std::unique_ptr<std::string> message;
};

struct breaker {
    std::atomic<int> state{1};
    std::atomic<std::int64_t> until{INT64_MAX};
};

[[gnu::noinline]] std::variant<std::int64_t, failure> call(breaker& b) {
    if (b.state.load(std::memory_order_acquire) != 0) {
        const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
        const std::chrono::nanoseconds until{b.until.load(std::memory_order_relaxed)};
        if (now < until) return failure{7, until - now, nullptr};
    }
    return std::int64_t{1};
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    bench::checksum sum;
    breaker b;
    long refused = 0;
    const auto once = [&](long) {
        const auto r = call(b);
        if (const failure* f = std::get_if<failure>(&r)) refused += f->code == 7;
    };
    for (long i = 0; i < 1000; ++i) once(i);
    bench::repeat(calls, sum, once);
    if (refused != calls + 1000) bench::give_up("not every call was refused");
}
