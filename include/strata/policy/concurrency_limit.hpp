// As many at once as the database serves well: a limit that follows the time an attempt takes.
//
// After each so many samples their mean, smoothed, is held against the usual time, as in Netflix's concurrency-limits ("Gradient2"):
//
//     gradient = clamp(tolerance * usual / recent, 0.5, 1)
//     limit    = 0.8 * limit + 0.2 * (limit * gradient + sqrt(limit))
//
// so the limit grows by a little while times stay as they were, and falls when they become longer by more than `tolerance`. If the
// database failed meanwhile (policy/conditions.hpp) the limit is multiplied by `backoff` instead. What would mislead it is left out: an
// attempt that waited for a connection, one that met contention (its time is another caller's), refusals, cancels. It does not grow while
// less than half of it is in use, for then the application is what limits.
//
// Where Gradient2 takes an average over everything as usual, which a lasting overload lifts until nothing seems unusual any more, this
// one learns longer times only while less than half of the limit is in use, or when a limit lowered by half did not make the times
// shorter: then it is not the number of callers that makes the database slow.
#ifndef STRATA_POLICY_CONCURRENCY_LIMIT_HPP
#define STRATA_POLICY_CONCURRENCY_LIMIT_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/conditions.hpp>
#include <strata/policy/permits.hpp>
#include <strata/policy/tagged.hpp>

#include <cmath>

namespace strata::inline STRATA_ABI {

struct concurrency_limit_options {
    std::uint32_t initial = 20;                   ///< the limit at the beginning; between `min` and `max`
    std::uint32_t min = 1;                        ///< at least 1
    std::uint32_t max = 200;                      ///< at most 1,000,000
    double tolerance = 1.5;                       ///< how many times its usual time an attempt may take; at least 1
    double backoff = 0.9;                         ///< what is left of the limit when the database failed; in (0, 1)
    std::uint32_t samples = 20;                   ///< so many decide, or as many as the limit where that is more; 1 to 10,000
    std::size_t max_waiting = 0;                  ///< so many callers may wait for a slot; 0: who finds none is refused at once
    duration max_wait = std::chrono::seconds{1};  ///< how long; not negative

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return detail::bad_option(std::string{"concurrency_limit_options."}.append(field), rule);
        };
        if (min < 1) return bad("min", "must be at least 1");
        if (max < min || max > 1'000'000) return bad("max", "must lie in `min` to 1,000,000");
        if (initial < min || initial > max) return bad("initial", "must lie in `min` to `max`");
        if (!(tolerance >= 1.0 && tolerance <= 1e6)) return bad("tolerance", "must lie in 1 to 1,000,000");
        if (!(backoff > 0.0 && backoff < 1.0)) return bad("backoff", "must lie between 0 and 1");
        if (samples < 1 || samples > 10'000) return bad("samples", "must lie in 1 to 10,000");
        if (max_wait < duration::zero()) return bad("max_wait", "must not be negative");
        return {};
    }
    friend bool operator==(const concurrency_limit_options&, const concurrency_limit_options&) = default;
};

/// Where a concurrency limit stands. Not one moment's state.
struct concurrency_limit_snapshot {
    std::uint32_t limit = 0;
    std::size_t inside = 0;     ///< on their way now
    std::size_t waiting = 0;    ///< in the queue now
    std::uint64_t refused = 0;  ///< found no slot
    duration usual{};           ///< the time that it holds for usual; zero before the first decision
};

/// Thread-safe. While there is room it costs a compare-and-swap each way and two atomic additions; a decision takes a short
/// lock. A refusal is `errc::bulkhead_full`. Each attempt takes a slot, in order of priority (see `bulkhead`).
template <class Tag = void>
class concurrency_limit {
public:
    using options = detail::options_for<Tag, concurrency_limit_options>;
    static constexpr auto place = strata::place::limit;
    static constexpr bool holds = true;
    static constexpr bool asks_priority = true;
    struct frame : detail::permits::place {
        unset<time_point> started;
    };

    concurrency_limit() : concurrency_limit(options{}) {}
    explicit concurrency_limit(const options& o) noexcept
        : options_(detail::untagged(o)), permits_(options_.initial),
          needed_(options_.initial > options_.samples ? options_.initial : options_.samples), limit_(options_.initial) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        f.started = m.now;
        if (permits_.admits(f)) [[likely]]
            return proceed();
        return permits_.admit_slowly(f, op, m, options_.max_waiting, options_.max_wait);
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (result.ok() ? !op.waited_for_lease : tells_time(op, result.error())) [[likely]] {
            sum_.fetch_add(static_cast<std::uint64_t>((m.now - time_point{f.started}).count()), std::memory_order_relaxed);
            if (count_.fetch_add(1, std::memory_order_relaxed) + 1 >= needed_.load(std::memory_order_relaxed)) [[unlikely]]
                decide();
        }
        permits_.give_back();  // only now, so that it counts as in use
    }
    void abandon(frame& f) noexcept { permits_.abandon(f); }

    [[nodiscard]] concurrency_limit_snapshot snapshot() noexcept {
        concurrency_limit_snapshot s{permits_.count(), permits_.taken(), permits_.queue_size(), permits_.refusals(), {}};
        hold guard{lock_};
        s.usual = duration{static_cast<duration::rep>(usual_)};
        return s;
    }

private:
    /// Whether the time of an attempt that failed is a sample; takes note of illness.
    [[nodiscard]] STRATA_COLD bool tells_time(const operation_base& op, const error& e) noexcept {
        const health_sign sign = sign_of(e, op);
        if (sign == health_sign::ill) ill_.store(true, std::memory_order_relaxed);
        if (sign == health_sign::ill) return true;  // whatever it waited for: its time is not looked at
        return sign != health_sign::none && !op.waited_for_lease && !(sign == health_sign::good && traits_of(e.code()).transient);
    }

    STRATA_COLD void decide() noexcept {
        hold guard{lock_};
        if (count_.load(std::memory_order_relaxed) < needed_.load(std::memory_order_relaxed)) return;  // another was faster
        const auto sum = static_cast<double>(sum_.exchange(0, std::memory_order_relaxed));
        const double mean = sum / count_.exchange(0, std::memory_order_relaxed);
        const bool ill = ill_.exchange(false, std::memory_order_relaxed);
        limit_ = ill ? limit_ * options_.backoff : followed(mean > 1 ? mean : 1);
        limit_ = limit_ < options_.min ? options_.min : limit_ > options_.max ? options_.max : limit_;
        const auto now = static_cast<std::uint32_t>(limit_);
        needed_.store(now > options_.samples ? now : options_.samples, std::memory_order_relaxed);
        permits_.resize(now);
    }
    [[nodiscard]] double followed(double mean) noexcept {
        const bool first = usual_ == 0;
        recent_ += (mean - recent_) * (first ? 1 : 0.5);
        if (static_cast<double>(permits_.taken()) < limit_ / 2) {
            usual_ += (recent_ - usual_) * (first ? 1 : 0.1);
            begin_fall(limit_);
            return limit_;
        }
        if (first || recent_ < usual_) usual_ += (recent_ - usual_) * (first ? 1 : 0.05);
        double gradient = options_.tolerance * usual_ / recent_;
        gradient = gradient < 0.5 ? 0.5 : gradient > 1 ? 1 : gradient;
        const double next = 0.8 * limit_ + 0.2 * (limit_ * gradient + std::sqrt(limit_));
        if (gradient == 1) {
            begin_fall(next);
        } else if (next > 0.7 * fell_from_) {
            if (recent_ > recent_then_) recent_then_ = recent_;  // what is on its way was admitted under the higher limit
        } else if (next <= 0.5 * fell_from_ || next <= options_.min) {
            if (recent_ > 0.85 * recent_then_) usual_ += (recent_ - usual_) * 0.5;  // falling did not help
            begin_fall(next);
        }
        return next;
    }
    void begin_fall(double limit) noexcept {
        fell_from_ = limit;
        recent_then_ = recent_;
    }

    const concurrency_limit_options options_;
    detail::permits permits_;
    std::atomic<std::uint64_t> sum_{0};  ///< of the samples' nanoseconds
    std::atomic<std::uint32_t> count_{0};
    std::atomic<std::uint32_t> needed_;  ///< so many decide
    std::atomic<bool> ill_{false};
    inline_lock lock_;
    double limit_;      ///< with what lies behind the point
    double usual_ = 0;  ///< nanoseconds
    double recent_ = 0;
    double fell_from_ = 0;    ///< the limit when times began to be too long
    double recent_then_ = 0;  ///< how long they were
};

}  // namespace strata::inline STRATA_ABI

#endif
