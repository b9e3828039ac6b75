// What a circuit breaker remembers of the latest attempts: how many there were, how many of them failed, how many were slow.
//
// All is counted from the beginning of time, and the window is what has been counted since it begins. So a good attempt is one
// addition; what is rare (a failure, a slow attempt, a new slice of time) moves the window, under the breaker's lock.
#ifndef STRATA_POLICY_OUTCOME_WINDOW_HPP
#define STRATA_POLICY_OUTCOME_WINDOW_HPP

#include <strata/core/heap_array.hpp>
#include <strata/core/time.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

namespace detail {

struct outcome_counts {
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
    std::uint64_t slow = 0;
};

/// The latest `size` attempts, or those of the latest `time` (in ten slices, so a slice more or less). Exact for one thread; a good
/// attempt that another thread counts while the window moves lies on the one or the other side of its edge.
class outcome_window {
public:
    /// `time` zero: by number. `size` 0 and no time: forgets nothing. Below `minimum` attempts every one is for `add`.
    outcome_window(std::size_t size, duration time, unsigned minimum)
        : size_(time > duration::zero() ? 0 : size), slice_(time / slices), minimum_(minimum), enough_(minimum),
          slice_ends_(slice_ > duration::zero() ? 0 : duration::max().count()) {
        if (size_ != 0) bad_ = heap_array<bad_one>(size_);
        if (slice_ > duration::zero()) starts_ = heap_array<outcome_counts>(slices);
    }

    /// Thread-safe, for a good attempt that cannot make a rate worse. False: it may, so it was not counted, and is for `add`.
    [[nodiscard]] STRATA_INLINE bool count_good(time_point now) noexcept {
        if (now.time_since_epoch().count() >= slice_ends_.load(std::memory_order_relaxed) ||
            calls_.load(std::memory_order_relaxed) < enough_.load(std::memory_order_relaxed))
            return false;
        calls_.fetch_add(1, std::memory_order_relaxed);
        return true;
    }

    // Under the lock.

    /// What the window holds with this one.
    outcome_counts add(bool failed, bool slow, time_point now) noexcept {
        if (starts_) forget_until(now);
        const std::uint64_t calls = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (bad_) forget_before(calls);
        failures_ += failed ? 1u : 0u;
        slow_ += slow ? 1u : 0u;
        if (bad_ && (failed || slow)) bad_[(oldest_ + bad_count_++) % size_] = {calls, failed, slow};
        return {calls - begin_.calls, failures_ - begin_.failures, slow_ - begin_.slow};
    }
    void clear() noexcept {
        bad_count_ = 0;
        begin_at(so_far());
        for (std::size_t i = 0; starts_ && i < slices; ++i) starts_[i] = begin_;
    }

private:
    static constexpr std::size_t slices = 10;

    struct bad_one {
        std::uint64_t number = 0;  ///< its own, from 1
        bool failed = false;
        bool slow = false;
    };

    [[nodiscard]] outcome_counts so_far() const noexcept { return {calls_.load(std::memory_order_relaxed), failures_, slow_}; }

    void begin_at(const outcome_counts& from) noexcept {
        begin_ = from;
        enough_.store(from.calls + minimum_, std::memory_order_relaxed);
    }

    /// By number: attempt `last` is the last one of the window.
    void forget_before(std::uint64_t last) noexcept {
        if (last - begin_.calls <= size_) return;
        begin_.calls = last - size_;
        for (; bad_count_ != 0 && bad_[oldest_].number <= begin_.calls; --bad_count_) {
            begin_.failures += bad_[oldest_].failed ? 1u : 0u;
            begin_.slow += bad_[oldest_].slow ? 1u : 0u;
            oldest_ = (oldest_ + 1) % size_;
        }
    }
    /// By time: a slice that begins takes the place of the oldest one.
    void forget_until(time_point now) noexcept {
        const time_point end{duration{slice_ends_.load(std::memory_order_relaxed)}};
        if (now < end) return;
        const duration::rep passed = (now - end) / slice_ + 1;
        slice_ends_.store((end + slice_ * passed).time_since_epoch().count(), std::memory_order_relaxed);
        for (duration::rep i = 0; i < passed && i < duration::rep{slices}; ++i) {
            starts_[oldest_] = so_far();
            oldest_ = (oldest_ + 1) % slices;
        }
        begin_at(starts_[oldest_]);
    }

    const std::size_t size_;
    const duration slice_;
    const unsigned minimum_;
    heap_array<bad_one> bad_;            ///< by number, else null: a ring of those in the window
    heap_array<outcome_counts> starts_;  ///< by time, else null: a ring of what had been counted when each slice began
    std::size_t oldest_ = 0;             ///< in its ring
    std::size_t bad_count_ = 0;
    std::uint64_t failures_ = 0, slow_ = 0;
    outcome_counts begin_;  ///< what had been counted when the window began

    std::atomic<std::uint64_t> calls_{0};
    std::atomic<std::uint64_t> enough_;  ///< with so many calls the window holds its minimum
    std::atomic<duration::rep> slice_ends_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
