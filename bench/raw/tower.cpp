// What overhead.chain.async stands beside: the same six layers as coroutines that await one another, each doing its
// share by hand: a clock and a histogram, a deadline, attempts, a breaker's count, a shorter deadline, a die.
//   raw_tower CALLS LAYERS     LAYERS is 0 (the empty call) or 6
// The empty call is one hop through the executor, as an asynchronous call makes it.
#include "../allocations.hpp"
#include "../measure.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <atomic>
#include <string>

namespace {

namespace asio = boost::asio;
using clock_type = std::chrono::steady_clock;

struct context {
    clock_type::time_point deadline = clock_type::time_point::max();
    unsigned attempt = 1;
};

struct shared {
    std::atomic<std::uint64_t> count[2]{};
    std::atomic<std::uint64_t> bucket[64]{};
    std::atomic<int> breaker{0};
    std::atomic<int> failures{0};
    std::atomic<std::uint64_t> threshold{0};
    std::int64_t rows = 0;
};

asio::awaitable<int> empty_call(shared& s, context&) {
    co_await asio::post(asio::use_awaitable);
    ++s.rows;
    co_return 0;
}

asio::awaitable<int> chaos(shared& s, context& c) {
    const std::uint64_t threshold = s.threshold.load(std::memory_order_relaxed);
    if (threshold != 0 && static_cast<std::uint64_t>(c.attempt) * 0x9e3779b97f4a7c15u < threshold) co_return 1;
    const int code = co_await empty_call(s, c);
    co_return code;
}

asio::awaitable<int> attempt_timeout(shared& s, context& c) {
    const auto saved = c.deadline;
    const auto mine = clock_type::now() + std::chrono::seconds{1};
    if (mine < saved) c.deadline = mine;
    const int code = co_await chaos(s, c);
    c.deadline = saved;
    co_return code;
}

asio::awaitable<int> breaker(shared& s, context& c) {
    if (s.breaker.load(std::memory_order_acquire) != 0) co_return 2;
    const int code = co_await attempt_timeout(s, c);
    if (code == 0) {
        if (s.failures.load(std::memory_order_relaxed) != 0) s.failures.store(0, std::memory_order_relaxed);
    } else if (s.failures.fetch_add(1, std::memory_order_relaxed) + 1 >= 5) {
        s.breaker.store(1, std::memory_order_release);
    }
    co_return code;
}

asio::awaitable<int> retry(shared& s, context& c) {
    int code = 0;
    for (c.attempt = 1; c.attempt <= 3; ++c.attempt) {
        code = co_await breaker(s, c);
        if (code == 0) break;
    }
    co_return code;
}

asio::awaitable<int> total_timeout(shared& s, context& c) {
    const auto saved = c.deadline;
    const auto mine = clock_type::now() + std::chrono::seconds{5};
    if (mine < saved) c.deadline = mine;
    const int code = co_await retry(s, c);
    c.deadline = saved;
    co_return code;
}

asio::awaitable<int> metrics(shared& s, context& c) {
    const auto started = clock_type::now();
    const int code = co_await total_timeout(s, c);
    const auto took = static_cast<std::uint64_t>((clock_type::now() - started).count());
    s.count[code != 0].fetch_add(1, std::memory_order_relaxed);
    s.bucket[63 - __builtin_clzll(took | 1)].fetch_add(1, std::memory_order_relaxed);
    co_return code;
}

template <class Call>
asio::awaitable<void> run(long calls, shared& s, Call call) {
    context c;
    bench::checksum sum;
    for (long i = 0; i < 1000; ++i) {
        const int code = co_await call(s, c);
        sum.add(code == 0);
    }
    const long before = bench::allocations;
    const auto start = clock_type::now();
    for (long i = 0; i < calls; ++i) {
        const int code = co_await call(s, c);
        sum.add(code == 0);
    }
    bench::report(sum, clock_type::now() - start, bench::allocations - before);
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    const long layers = bench::number(argc, argv, 2);
    asio::io_context io{1};
    shared s;
    const auto done = [](std::exception_ptr e) {
        if (e) std::rethrow_exception(e);
    };
    if (layers == 0) asio::co_spawn(io, run(calls, s, empty_call), done);
    else asio::co_spawn(io, run(calls, s, metrics), done);
    io.run();
}
