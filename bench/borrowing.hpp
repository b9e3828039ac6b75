// What both pools are put through: CALLS borrowings by each of THREADS threads, over a pool of CONNECTIONS. Nothing of strata.
//
//   PROGRAM CALLS THREADS CONNECTIONS
//
// One thread is this one, so that callgrind counts nothing else. `ns` is the time of all threads from the first borrowing to the last.
// There has been another thread before: glibc's mutexes take no atomic instruction as long as there never was one.
#ifndef BENCH_BORROWING_HPP
#define BENCH_BORROWING_HPP

#include "allocations.hpp"
#include "measure.hpp"

#include <barrier>
#include <thread>
#include <vector>

namespace bench {

/// What is measured between two points of the program.
struct stretch {
    void begin() noexcept {
        taken = allocations;
        cpu = cpu_ns();
        started = std::chrono::steady_clock::now();
    }
    void end() noexcept {
        took = std::chrono::steady_clock::now() - started;
        cpu = cpu_ns() - cpu;
        taken = allocations - taken;
    }
    std::chrono::steady_clock::time_point started;
    std::chrono::nanoseconds took{};
    long long cpu = 0;
    long taken = 0;
};

/// `make(connections)` returns a pool with `borrow()`: one borrowing, which adds one to what it was lent, and back; and with `lent()`: the
/// sum of that over all connections. It is not exact where two had the same connection at a time.
template <class Make>
int borrow(int argc, char** argv, Make make) {
    const long calls = number(argc, argv, 1), threads = number(argc, argv, 2), connections = number(argc, argv, 3);
    constexpr long warm_up = 1000;
    std::thread{[] {}}.join();
    auto pool = make(static_cast<std::size_t>(connections));
    for (long i = 0; i < warm_up; ++i) pool.borrow();
    const auto all_calls = [&] {
        for (long i = 0; i < calls; ++i) pool.borrow();
    };
    stretch measured;
    if (threads == 1) {
        measured.begin();
        all_calls();
        measured.end();
    } else {
        std::barrier together{threads + 1};
        std::vector<std::thread> running;
        for (long t = 0; t < threads; ++t)
            running.emplace_back([&] {
                together.arrive_and_wait();
                all_calls();
                together.arrive_and_wait();
            });
        measured.begin();
        together.arrive_and_wait();
        together.arrive_and_wait();
        measured.end();
        for (std::thread& t : running) t.join();
    }
    if (pool.lent() != warm_up + calls * threads) give_up("a connection was lent to two at a time");
    checksum sum;
    sum.add(pool.lent());
    std::printf("checksum=%016llx ns=%lld cpu_ns=%lld allocations=%ld\n", static_cast<unsigned long long>(sum.sum),
                static_cast<long long>(measured.took.count()), measured.cpu, measured.taken);
    return 0;
}

}  // namespace bench

#endif
