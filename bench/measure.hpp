// What every program of the bench shares: its arguments, its stop watch, its checksum and the line that it prints.
// Nothing of strata, because the bases use it too.
//
//   PROGRAM CALLS [MORE...]   prints   checksum=C ns=NANOSECONDS_OF_ALL_CALLS cpu_ns=CPU_TIME_OF_ALL_CALLS
//
// What comes before the calls is the same whatever CALLS is, so that the difference of two runs counts calls alone.
#ifndef BENCH_MEASURE_HPP
#define BENCH_MEASURE_HPP

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace bench {

[[noreturn]] inline void give_up(const char* why) {
    std::fprintf(stderr, "bench: %s\n", why);
    std::exit(1);
}

/// Argument `i` as a number.
inline long number(int argc, char** argv, int i) {
    if (i >= argc) give_up("an argument is missing");
    char* end = nullptr;
    const long n = std::strtol(argv[i], &end, 10);
    if (end == argv[i] || *end != '\0' || n < 0) give_up("an argument is not a number");
    return n;
}

inline const char* text(int argc, char** argv, int i) {
    if (i >= argc) give_up("an argument is missing");
    return argv[i];
}

/// Depends on every value and on their order.
struct checksum {
    std::uint64_t sum = 0xcbf29ce484222325u;

    void add(std::int64_t v) noexcept { sum = (sum ^ static_cast<std::uint64_t>(v)) * 0x100000001b3u; }
    void add(std::string_view s) noexcept {
        add(static_cast<std::int64_t>(s.size()));
        add(s.empty() ? 0 : s.front() * 256 + s.back());
    }
};

/// The line of a program that also counts what it takes from the heap.
inline void report(const checksum& sum, std::chrono::steady_clock::duration took, long taken) {
    std::printf("checksum=%016llx ns=%lld allocations=%ld\n", static_cast<unsigned long long>(sum.sum),
                static_cast<long long>(std::chrono::nanoseconds{took}.count()), taken);
}

/// What this process has used of the processors, in user and system mode, all threads.
inline long long cpu_ns() noexcept {
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    const auto us = [](const timeval& t) { return t.tv_sec * 1'000'000LL + t.tv_usec; };
    return (us(used.ru_utime) + us(used.ru_stime)) * 1000;
}

/// The line of a program that ran its calls by itself.
inline void report(const checksum& sum, std::chrono::steady_clock::time_point start, long long cpu_at_start, const char* more = "") {
    const auto took = std::chrono::steady_clock::now() - start;
    const long long cpu = cpu_ns() - cpu_at_start;
    std::printf("checksum=%016llx ns=%lld cpu_ns=%lld%s\n", static_cast<unsigned long long>(sum.sum),
                static_cast<long long>(std::chrono::nanoseconds{took}.count()), cpu, more);
}

/// Runs `body(i)` for i = 0 ... calls-1 and prints what it cost. `more` goes at the end of the line.
template <class Body>
void repeat(long calls, const checksum& sum, Body body, const char* more = "") {
    const long long cpu = cpu_ns();
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < calls; ++i) body(i);
    report(sum, start, cpu, more);
}

}  // namespace bench

#endif
