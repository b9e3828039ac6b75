// Generated from include/strata/policy/throttle.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_THROTTLE_HPP
#define STRATA_SINGLE_POLICY_THROTTLE_HPP

#include <strata/strata.hpp>

#include <atomic>

// Sending less to a database that cannot keep up: the more of late it did not answer, the larger the share that is refused here.
//
// Client-side throttling (Beyer et al., Site Reliability Engineering, 2016, chapter 21): with `requests` and `accepts` of the last two
// minutes an attempt is refused with probability max(0, (requests - K * accepts) / (requests + 1)). Unlike a circuit breaker it has no
// two states: a database that does half its work gets about K times what it can take. Requests are counted before they are sent, those
// refused here too. Accepted is what the database answered, an error too (policy/conditions.hpp); what says nothing of its health is
// taken back from where it was counted.
#ifndef STRATA_POLICY_THROTTLE_HPP
#define STRATA_POLICY_THROTTLE_HPP

namespace strata::inline STRATA_ABI {

struct throttle_options {
    double k = 2.0;                             ///< how many times what was accepted may be sent; at least 1
    duration window = std::chrono::minutes{2};  ///< what "of late" means; at least 10 microseconds
    double max_refused = 0.9;                   ///< never a larger share than this, so that recovery is seen; in [0, 1)
    std::uint32_t minimum_requests = 20;        ///< below so many in the window nothing is refused
    condition_judge judge = nullptr;            ///< what counts as an answer, where it is not the table

    [[nodiscard]] error validate() const {
        if (!(k >= 1.0 && k <= 1e6)) return detail::bad_option("throttle_options.k", "must lie in 1 to 1,000,000");
        if (window < std::chrono::microseconds{10})
            return detail::bad_option("throttle_options.window", "must be at least 10 microseconds");
        if (!(max_refused >= 0.0 && max_refused < 1.0))
            return detail::bad_option("throttle_options.max_refused", "must lie in 0 to 1, without 1");
        return {};
    }
    friend bool operator==(const throttle_options&, const throttle_options&) = default;
};

/// What a throttle sees in its window, and has done so far.
struct throttle_snapshot {
    std::uint64_t requests = 0;  ///< in the window, those refused here too
    std::uint64_t accepts = 0;   ///< of these, answered
    double share = 0;            ///< that would be refused now
    std::uint64_t refused = 0;   ///< so far
};

/// Thread-safe. A success costs two atomic increments and a few loads; every tenth of the window one call takes a short lock, and so
/// does what is taken back.
/// A refusal is `errc::refused`.
template <class Tag = void>
class throttle {
public:
    using options = detail::options_for<Tag, throttle_options>;
    static constexpr auto place = strata::place::throttle;
    static constexpr bool holds = true;
    struct frame {
        unset<duration::rep> turn;  ///< the end of the slice that it is counted in
    };

    throttle() : throttle(options{}) {}
    explicit throttle(const options& o) noexcept : options_(detail::untagged(o)) {}

    STRATA_INLINE verdict admit(auto&, frame& f, moment m) noexcept {
        f.turn = turn_.load(std::memory_order_relaxed);
        if (m.now.time_since_epoch().count() >= f.turn) [[unlikely]]
            f.turn = turn(m);
        const double accepts = since(accepts_.load(std::memory_order_relaxed), old_accepts_);
        const double requests = since(requests_.fetch_add(1, std::memory_order_relaxed), old_requests_);
        if (requests <= options_.k * accepts) [[likely]]
            return proceed();
        return perhaps(requests, accepts, m);
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome& result) noexcept {
        if (result.ok()) [[likely]]
            accepts_.fetch_add(1, std::memory_order_relaxed);
        else
            count_failure(f, sign_of(result.error(), op, options_.judge));
    }
    void abandon(frame& f) noexcept { take_back(f); }

    [[nodiscard]] throttle_snapshot snapshot() const noexcept {
        const double requests = since(requests_.load(std::memory_order_relaxed), old_requests_);
        const double accepts = since(accepts_.load(std::memory_order_relaxed), old_accepts_);
        return {static_cast<std::uint64_t>(requests), static_cast<std::uint64_t>(accepts), share(requests, accepts),
                refused_.load(std::memory_order_relaxed)};
    }

private:
    static constexpr std::size_t slices = 10;

    /// What of `total` lies in the window. Not below 0: the two are not read in one moment.
    [[nodiscard]] static double since(std::int64_t total, const std::atomic<std::int64_t>& before) noexcept {
        const std::int64_t n = total - before.load(std::memory_order_relaxed);
        return n > 0 ? static_cast<double>(n) : 0.0;
    }

    [[nodiscard]] double share(double requests, double accepts) const noexcept {
        if (requests < options_.minimum_requests) return 0;
        const double p = (requests - options_.k * accepts) / (requests + 1);
        return p < 0 ? 0 : p < options_.max_refused ? p : options_.max_refused;
    }

    STRATA_COLD verdict perhaps(double requests, double accepts, moment m) noexcept {
        const double p = share(requests, accepts);
        if (p == 0 || m.random_unit() >= p) return proceed();
        refused_.fetch_add(1, std::memory_order_relaxed);
        return refuse(errc::refused);
    }
    STRATA_COLD void count_failure(frame& f, health_sign sign) noexcept {
        if (sign == health_sign::good) accepts_.fetch_add(1, std::memory_order_relaxed);
        if (sign == health_sign::none) take_back(f);
    }
    /// As if it had never been: in all that was noted down since it was counted, so that what began before the window is no loss to it.
    STRATA_COLD void take_back(frame& f) noexcept {
        hold guard{lock_};
        const auto turns = static_cast<std::size_t>(duration{turn_.load(std::memory_order_relaxed) - f.turn} / (options_.window / slices));
        requests_.fetch_sub(1, std::memory_order_relaxed);
        for (std::size_t i = 1; i <= turns && i <= slices; ++i) --begun_[(at_ + slices - i) % slices].requests;
        if (turns > slices) old_requests_.fetch_sub(1, std::memory_order_relaxed);
    }

    /// A slice of the window has passed, or several: what was counted before the oldest one is forgotten. The end of the new one.
    STRATA_COLD duration::rep turn(moment m) noexcept {
        hold guard{lock_};
        const duration slice = options_.window / slices;
        time_point next{duration{turn_.load(std::memory_order_relaxed)}};
        if (m.now < next) return next.time_since_epoch().count();  // another was faster
        std::size_t passed = static_cast<std::size_t>((m.now - next) / slice) + 1;
        next += slice * passed;
        if (passed > slices + 1) passed = slices + 1;  // then even the latest slice is too old
        const std::int64_t requests = requests_.load(std::memory_order_relaxed), accepts = accepts_.load(std::memory_order_relaxed);
        for (; passed > 0; --passed) {
            old_requests_.store(begun_[at_].requests, std::memory_order_relaxed);
            old_accepts_.store(begun_[at_].accepts, std::memory_order_relaxed);
            begun_[at_] = {requests, accepts};
            at_ = at_ + 1 == slices ? 0 : at_ + 1;
        }
        turn_.store(next.time_since_epoch().count(), std::memory_order_relaxed);
        return next.time_since_epoch().count();
    }

    struct counts {
        std::int64_t requests = 0;
        std::int64_t accepts = 0;
    };

    const throttle_options options_;
    std::atomic<std::int64_t> requests_{0}, accepts_{0};          ///< since the beginning
    std::atomic<std::int64_t> old_requests_{0}, old_accepts_{0};  ///< of these, before the window
    std::atomic<duration::rep> turn_{0};                          ///< when the next slice begins
    inline_lock lock_;
    counts begun_[slices];  ///< at the begin of each slice
    std::size_t at_ = 0;    ///< the oldest
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
