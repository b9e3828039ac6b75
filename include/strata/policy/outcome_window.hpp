// What a circuit breaker remembers of the latest attempts: how many there were, how many of them failed, how many were slow.
#ifndef STRATA_POLICY_OUTCOME_WINDOW_HPP
#define STRATA_POLICY_OUTCOME_WINDOW_HPP

#include <strata/core/heap_array.hpp>
#include <strata/core/time.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

struct outcome_counts {
    std::uint64_t calls = 0;
    std::uint64_t failures = 0;
    std::uint64_t slow = 0;

    constexpr void add(const outcome_counts& o) noexcept {
        calls += o.calls;
        failures += o.failures;
        slow += o.slow;
    }
    constexpr void remove(const outcome_counts& o) noexcept {
        calls -= o.calls;
        failures -= o.failures;
        slow -= o.slow;
    }
};

/// The latest `size` attempts, or those of the latest `time` (in ten slices, so a slice more or less). A ring whose sum is kept. Not
/// synchronised.
class outcome_window {
public:
    /// `time` zero: by number. `size` 0 and no time: remembers nothing.
    outcome_window(std::size_t size, duration time)
        : parts_(time > duration::zero() ? slices : size), size_(time > duration::zero() ? slices : size), slice_(time / slices) {}

    void add(bool failed, bool slow, time_point now) noexcept {
        if (size_ == 0) return;
        const outcome_counts one{1, failed ? 1u : 0u, slow ? 1u : 0u};
        if (slice_ > duration::zero()) {
            forget_until(now);
            parts_[at_].add(one);
        } else {
            sum_.remove(parts_[at_]);
            parts_[at_] = one;
            step();
        }
        sum_.add(one);
    }
    void clear() noexcept {
        for (std::size_t i = 0; i < size_; ++i) parts_[i] = {};
        sum_ = {};
    }
    [[nodiscard]] const outcome_counts& sum() const noexcept { return sum_; }

private:
    static constexpr std::size_t slices = 10;

    void step() noexcept { at_ = at_ + 1 == size_ ? 0 : at_ + 1; }

    void forget_until(time_point now) noexcept {
        if (now < next_) return;
        const auto passed = static_cast<std::uint64_t>((now - next_) / slice_) + 1;
        next_ += slice_ * passed;
        for (std::uint64_t i = 0; i < passed && i < slices; ++i) {
            step();
            sum_.remove(parts_[at_]);
            parts_[at_] = {};
        }
    }

    heap_array<outcome_counts> parts_;
    std::size_t size_;
    std::size_t at_ = 0;
    outcome_counts sum_;
    duration slice_;
    time_point next_{};  ///< when the next slice begins
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
