// Not too many a second: the generic cell rate algorithm, exact and without a window.
//
// GCRA (ATM Forum, Traffic Management 4.0, 1996) keeps one number: the moment at which all that was admitted so far would be due if it
// were spread evenly. An operation is admitted when that moment, with its own cost added, lies at most a burst ahead of now. It is one
// compare-and-swap; nothing is ever reset, so there is no edge at which twice the rate passes.
//
// Who comes too early may reserve: its place in the order is taken at once, and it waits for its time, in the order of reservations.
#ifndef STRATA_POLICY_RATE_LIMIT_HPP
#define STRATA_POLICY_RATE_LIMIT_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/total_timeout.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

struct rate_limit_options {
    std::uint32_t permits = 100;                ///< so many ...
    duration period = std::chrono::seconds{1};  ///< ... in each period; together at most 1 in a nanosecond and 1 in 10 years
    std::uint32_t burst = 1;                    ///< so many may come at one moment; 1 to 1,000,000
    duration max_wait{};                        ///< who comes too early waits up to so long; zero: is refused. Not negative
    /// What an operation costs, in permits; null: 1 each. One that costs more than `burst` is always refused; 0 passes free of charge.
    std::uint32_t (*cost)(const operation_base& op) noexcept = nullptr;

    [[nodiscard]] error validate() const {
        if (permits < 1) return detail::bad_option("rate_limit_options.permits", "must be at least 1");
        if (period < duration{permits} || period > std::chrono::hours{87'600})
            return detail::bad_option("rate_limit_options.period", "must be at least a nanosecond for each permit, and at most 10 years");
        if (burst < 1 || burst > 1'000'000) return detail::bad_option("rate_limit_options.burst", "must lie in 1 to 1,000,000");
        if (period.count() / permits > (std::int64_t{1} << 58) / burst)
            return detail::bad_option("rate_limit_options.burst", "times the time between two permits must not exceed 9 years");
        if (max_wait < duration::zero()) return detail::bad_option("rate_limit_options.max_wait", "must not be negative");
        return {};
    }
    friend bool operator==(const rate_limit_options&, const rate_limit_options&) = default;
};

/// What a rate limit has done so far.
struct rate_limit_snapshot {
    std::uint64_t waited = 0;   ///< came too early and reserved
    std::uint64_t refused = 0;  ///< came too early
};

/// Thread-safe; lock-free. The time between two permits is rounded up to whole nanoseconds, so the rate is never above what was asked,
/// and below it by at most one part in (period / permits in nanoseconds). A refusal is `errc::rate_limited`, with the time after which
/// it would pass as `retry_after`. A wait never goes beyond the operation's deadline: what could not begin in time is refused at once.
/// `Where` is `place::rate`, inside the retry: each attempt is counted; or `place::bound`: each operation.
template <class Tag = void, strata::place Where = strata::place::rate>
class rate_limit {
    static_assert(Where == strata::place::rate || Where == strata::place::bound,
                  "strata: a rate limit stands at place::rate (per attempt) or at place::bound (per operation)");

public:
    using options = detail::options_for<Tag, rate_limit_options>;
    static constexpr auto place = Where;
    static constexpr bool holds = true;
    static constexpr bool asks_priority = true;  // for the user's `cost`
    struct frame {
        duration reserved{};       ///< while it waits: what it will give back if it never goes, and is the last
        unset<duration::rep> due;  ///< the moment that it reserved up to
    };

    rate_limit() : rate_limit(options{}) {}
    explicit rate_limit(const options& o) noexcept
        : options_(detail::untagged(o)), interval_((options_.period.count() + options_.permits - 1) / options_.permits),
          burst_(interval_ * options_.burst), max_wait_(detail::cut_limit(options_.max_wait)) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        if (f.reserved != duration::zero()) [[unlikely]] {  // its time has come
            f.reserved = duration::zero();
            return proceed();
        }
        const duration::rep now = m.now.time_since_epoch().count();
        const duration::rep asked = options_.cost == nullptr ? interval_ : cost_of(op);
        if (asked == 0) return proceed();
        duration::rep due = due_.load(std::memory_order_relaxed);
        for (;;) {
            const duration::rep then = (due > now ? due : now) + asked;
            if (then - now > burst_) [[unlikely]] {
                const verdict v = too_early(op, f, due, then, asked, m);
                if (v.kind != verdict::what::proceed) return v;  // otherwise `due` has been read anew
            } else if (due_.compare_exchange_weak(due, then, std::memory_order_relaxed)) {
                return proceed();
            }
        }
    }
    void abandon(frame& f) noexcept {
        // Those behind it keep their moments, so a turn in the middle lapses.
        duration::rep last = f.due;
        if (f.reserved != duration::zero()) due_.compare_exchange_strong(last, last - f.reserved.count(), std::memory_order_relaxed);
    }

    [[nodiscard]] rate_limit_snapshot snapshot() const noexcept {
        return {waited_.load(std::memory_order_relaxed), refused_.load(std::memory_order_relaxed)};
    }

private:
    [[nodiscard]] duration::rep cost_of(const operation_base& op) const noexcept {
        const std::uint32_t permits = options_.cost(op);
        return permits <= options_.burst ? interval_ * permits : burst_ + 1;
    }

    /// `proceed` here means: try once more.
    STRATA_COLD verdict too_early(const operation_base& op, frame& f, duration::rep& due, duration::rep then, duration::rep asked,
                                  moment m) noexcept {
        const duration wait = time_point{duration{then - burst_}} - m.now;
        if (asked > burst_) return refused({});
        if (wait > max_wait_ || add_saturated(m.now, wait) >= op.deadline) return refused(wait);
        if (!due_.compare_exchange_weak(due, then, std::memory_order_relaxed)) return proceed();
        waited_.fetch_add(1, std::memory_order_relaxed);
        f.reserved = duration{asked};
        f.due = then;
        return park(nullptr, m.now + wait);
    }
    [[nodiscard]] verdict refused(duration wait) noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return refuse(errc::rate_limited, wait);
    }

    const rate_limit_options options_;
    const duration::rep interval_;  ///< nanoseconds between two permits
    const duration::rep burst_;
    const duration max_wait_;
    std::atomic<duration::rep> due_{0};  ///< the theoretical arrival time of the next one
    std::atomic<std::uint64_t> waited_{0};
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
