// Waiting on a 32-bit word until it changes, with a deadline: the one blocking primitive of the library.
//
// On Linux it is the futex system call. Elsewhere (or with STRATA_PORTABLE_FUTEX) the word is polled with
// growing pauses of at most a millisecond: correct, but neither exact nor free.
#ifndef STRATA_CORE_FUTEX_HPP
#define STRATA_CORE_FUTEX_HPP

#include <strata/core/time.hpp>

#include <atomic>
#include <cstdint>

#if defined(__linux__) && !defined(STRATA_PORTABLE_FUTEX)
#define STRATA_HAS_FUTEX 1
#include <climits>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define STRATA_HAS_FUTEX 0
#include <thread>
#endif

namespace strata::inline STRATA_ABI {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t), "strata: a futex word must be a plain 32-bit word");

/// Sleeps while `word == expected`, at most until `until`. May return early without a cause.
STRATA_COLD inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, time_point until = never) noexcept {
#if STRATA_HAS_FUTEX
    std::timespec at{};
    if (until != never) {
        const auto since = until.time_since_epoch();  // steady_clock is CLOCK_MONOTONIC, which FUTEX_WAIT_BITSET takes as it is
        const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(since);
        at.tv_sec = static_cast<std::time_t>(seconds.count());
        at.tv_nsec = static_cast<long>((since - seconds).count());
        if (at.tv_sec < 0 || at.tv_nsec < 0) return;
    }
    ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, until == never ? nullptr : &at, nullptr, FUTEX_BITSET_MATCH_ANY);
#else
    auto pause = std::chrono::microseconds{10};
    while (word.load(std::memory_order_acquire) == expected && clock::now() < until) {
        std::this_thread::sleep_for(pause);
        if (pause < std::chrono::milliseconds{1}) pause *= 2;
    }
#endif
}

/// Wakes at most one thread that sleeps on the word at this address. The word itself is not read: it may be gone already.
STRATA_COLD inline void futex_wake_one(std::atomic<std::uint32_t>* word) noexcept {
#if STRATA_HAS_FUTEX
    ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
#else
    static_cast<void>(word);
#endif
}

}  // namespace strata::inline STRATA_ABI

#endif
