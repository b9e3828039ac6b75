// Time as the library sees it: monotonic points and nanoseconds. Simulated worlds use the same types
// with a virtual origin, so nothing above a world can tell them apart.
#ifndef STRATA_CORE_TIME_HPP
#define STRATA_CORE_TIME_HPP

#include <strata/core/config.hpp>

#include <chrono>
#include <cstdint>
#include <ctime>
#include <type_traits>

namespace strata::inline STRATA_ABI {

using clock = std::chrono::steady_clock;
using duration = std::chrono::nanoseconds;
using time_point = std::chrono::time_point<clock, duration>;

/// "No deadline": later than every other point.
inline constexpr time_point never = time_point::max();

/// `clock::now()` without the way through the C++ library, which on Linux asks `CLOCK_MONOTONIC` too: read twice by each call.
[[nodiscard]] STRATA_INLINE time_point steady_now() noexcept {
#if defined(__linux__)
    std::timespec t;
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return time_point{duration{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec}};
#else
    return clock::now();
#endif
}

/// What is left until `until`, but never more than `most`; nothing, however long ago it was. Far from the end a coarse clock tells, which
/// costs little (4 ns against 60 measured); near it the exact one does.
[[nodiscard]] inline duration time_left(time_point until, duration most) noexcept {
    if (until == never) return most;
#if defined(__linux__)
    constexpr duration lag = std::chrono::milliseconds{20};  // it moves with the kernel's tick, 10 ms where that is slowest
    std::timespec t;
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    const time_point about{duration{std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec}};
    if (until > about && until - about >= most + lag) return most;
#endif
    const time_point now = steady_now();
    if (until <= now) return duration::zero();  // the difference may be more than a duration can hold
    return until - now < most ? until - now : most;
}

/// `at + by` that stops at `never` instead of overflowing. `by` must not be negative.
[[nodiscard]] constexpr time_point add_saturated(time_point at, duration by) noexcept {
    return by >= never - at ? never : at + by;
}

/// A value that is written before it is read, and so not first set to zero: for members on hot paths.
template <class T>
class unset {
public:
    unset() noexcept {}
    unset(T value) noexcept : value_(value) {}
    operator T() const noexcept { return value_; }

private:
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
    union {
        T value_;
    };
};

/// A stream of random numbers for all threads of a world: splitmix64 (Steele, Lea, Flood 2014) over an
/// atomic counter would be shared state; worlds decide. A policy draws through `moment::random()`.
class random_source {
public:
    virtual std::uint64_t next() noexcept = 0;

protected:
    ~random_source() = default;
};

/// What the engine gives a policy with every hook: the time, read once a hop, and randomness, drawn only when asked.
struct moment {
    time_point now;
    random_source* source = nullptr;

    /// 64 uniform random bits; 0 in a world without randomness.
    [[nodiscard]] std::uint64_t random() const noexcept { return source != nullptr ? source->next() : 0; }

    /// Uniform in [0, 1): the upper 53 bits of `random()`.
    [[nodiscard]] double random_unit() const noexcept { return static_cast<double>(random() >> 11) * 0x1.0p-53; }
};

}  // namespace strata::inline STRATA_ABI

#endif
