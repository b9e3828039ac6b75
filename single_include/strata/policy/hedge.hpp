// Generated from include/strata/policy/hedge.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_HEDGE_HPP
#define STRATA_SINGLE_POLICY_HEDGE_HPP

#include <strata/strata.hpp>

#include <atomic>

// Hedged reads: when the first try has not answered in the time that such reads usually take, a second begins on another connection,
// and the first answer counts (Dean and Barroso, "The Tail at Scale", 2013).
//
// Not a layer of a stack: racing two operations is work of a face (`adb.hedged(h)`, strata/async/hedged.hpp). What is decided lies here:
//
//     when     after a percentile of what such reads took of late; before enough of them were seen, never
//     whether  within a budget: each read earns a share of a second try; the stack's retry must have a repetition to spare as well; and
//              only on a connection that is idle and that nobody waits for. Otherwise there is no second try, and nothing has failed
//     who wins whoever answers first; a failure that the other try need not share is no answer. If both fail it is the first one's
//
// A sample is what the first try took. If the second has answered before it, it is the time up to then: less than it would have been,
// but not less than the delay, so the percentile stays what it is. A try that waited for a connection, or was repeated, is none.
#ifndef STRATA_POLICY_HEDGE_HPP
#define STRATA_POLICY_HEDGE_HPP

namespace strata::inline STRATA_ABI {

struct hedge_options {
    bool enabled = true;                                ///< false: reads are counted and measured, and none gets a second try
    double percentile = 0.95;                           ///< a second try begins after the time in which this share has answered; in (0, 1)
    duration min_delay = std::chrono::milliseconds{1};  ///< but not before this; not negative
    duration max_delay = std::chrono::seconds{10};      ///< and not later than this; not below `min_delay`
    std::uint32_t minimum_samples = 100;                ///< before so many reads were measured there is no second try; at least 1
    duration window = std::chrono::minutes{1};          ///< what "of late" means, longer where reads are few; at least 1 ms
    double budget = 0.1;                                ///< second tries for each read, in [0, 1]: at most one for ten reads
    std::uint32_t burst = 10;                           ///< second tries that may be saved up; at least 1

    [[nodiscard]] error validate() const {
        if (!(percentile > 0.0 && percentile < 1.0)) return detail::bad_option("hedge_options.percentile", "must lie between 0 and 1");
        if (min_delay < duration::zero()) return detail::bad_option("hedge_options.min_delay", "must not be negative");
        if (max_delay < min_delay) return detail::bad_option("hedge_options.max_delay", "must not be less than min_delay");
        if (minimum_samples < 1) return detail::bad_option("hedge_options.minimum_samples", "must be at least 1");
        if (window < std::chrono::milliseconds{1}) return detail::bad_option("hedge_options.window", "must be at least 1 ms");
        if (!(budget >= 0.0 && budget <= 1.0)) return detail::bad_option("hedge_options.budget", "must lie in 0 to 1");
        if (burst < 1 || burst > 1'000'000) return detail::bad_option("hedge_options.burst", "must lie in 1 to 1,000,000");
        return {};
    }
};

/// What a hedge has done so far. Not one moment's state.
struct hedge_snapshot {
    std::uint64_t reads = 0;          ///< begun
    std::uint64_t samples = 0;        ///< of these, measured
    std::uint64_t hedged = 0;         ///< got a second try
    std::uint64_t won = 0;            ///< of these, answered by the second
    std::uint64_t no_connection = 0;  ///< were slow enough for one, but no connection was idle
    std::uint64_t no_budget = 0;      ///< the same, but this budget or that of the stack's retry was used up
    duration delay{};                 ///< after which a second try begins now; zero: there is none
    double tokens = 0;                ///< second tries that the budget holds now
};

namespace detail {
class hedged_read;
}

/// What is remembered of one kind of reads: give each statement, or group of statements that take about equally long, its own. Thread-safe;
/// must outlive the calls that use it (their losing tries may live longer). A read costs a few atomics; every now and then one of them
/// reckons the percentile, some microseconds. 23 KiB.
class hedge {
public:
    hedge() : hedge(hedge_options{}) {}
    /// Throws `failure` (`errc::invalid_argument`) for options that make no sense.
    explicit hedge(const hedge_options& o)
        : options_(checked(o)), share_(static_cast<std::int64_t>(o.budget * token)), due_(o.minimum_samples) {}
    hedge(const hedge&) = delete;
    hedge& operator=(const hedge&) = delete;

    [[nodiscard]] hedge_snapshot snapshot() const noexcept {
        const duration delay{delay_.load(std::memory_order_relaxed)};
        return {reads_.load(std::memory_order_relaxed),         samples_.load(std::memory_order_relaxed),
                hedged_.load(std::memory_order_relaxed),        won_.load(std::memory_order_relaxed),
                no_connection_.load(std::memory_order_relaxed), no_budget_.load(std::memory_order_relaxed),
                delay == duration::max() ? duration{} : delay,  static_cast<double>(tokens_.load(std::memory_order_relaxed)) / token};
    }

private:
    friend class detail::hedged_read;
    static constexpr std::int64_t token = 1'000'000;

    [[nodiscard]] static const hedge_options& checked(const hedge_options& o) {
        if (error e = o.validate()) throw_failure(std::move(e));
        return o;
    }
    /// A read begins. After which delay it may get a second try; the longest: never.
    [[nodiscard]] duration begin() noexcept {
        reads_.fetch_add(1, std::memory_order_relaxed);
        const std::int64_t full = std::int64_t{options_.burst} * token;
        std::int64_t held = tokens_.load(std::memory_order_relaxed);
        while (held < full) {
            const std::int64_t more = held + share_ < full ? held + share_ : full;
            if (tokens_.compare_exchange_weak(held, more, std::memory_order_relaxed)) break;
        }
        return options_.enabled ? duration{delay_.load(std::memory_order_relaxed)} : duration::max();
    }
    [[nodiscard]] bool take_token() noexcept {
        std::int64_t held = tokens_.load(std::memory_order_relaxed);
        while (held >= token)
            if (tokens_.compare_exchange_weak(held, held - token, std::memory_order_relaxed)) return true;
        return false;
    }

    void record(duration took, time_point now) noexcept {
        latency_.record(took);
        const std::uint64_t n = samples_.fetch_add(1, std::memory_order_relaxed) + 1;
        if (n >= due_.load(std::memory_order_relaxed) || now.time_since_epoch().count() >= turn_.load(std::memory_order_relaxed))
            estimate(now);
    }
    /// The delay is the end of the percentile's bucket, so that a try which loses after it falls into a later one: were they the same, the
    /// delay could only become shorter.
    [[nodiscard]] static duration end_of_bucket(duration d) noexcept {
        const std::size_t i = histogram::layout::index(static_cast<std::uint64_t>(d.count()));
        const std::uint64_t end = histogram::layout::lower(i) + histogram::layout::width(i);
        return end < static_cast<std::uint64_t>(duration::max().count()) ? duration{static_cast<duration::rep>(end)} : d;
    }
    /// What is remembered are two halves of the window, the latter still growing. Within a half the delay is reckoned after so many
    /// samples, then after twice as many, and so on.
    STRATA_COLD void estimate(time_point now) noexcept {
        hold guard{lock_};
        const std::uint64_t n = samples_.load(std::memory_order_relaxed), least = options_.minimum_samples;
        const bool turns = now.time_since_epoch().count() >= turn_.load(std::memory_order_relaxed) && n - half_began_ >= least;
        if (n < due_.load(std::memory_order_relaxed) && !turns) return;  // another was faster, or reads are few
        const histogram_snapshot all = latency_.snapshot();
        const histogram_snapshot lately = all.since(before_);
        const duration usual = end_of_bucket(lately.percentile(options_.percentile));
        const duration delay = usual < options_.min_delay ? options_.min_delay : usual < options_.max_delay ? usual : options_.max_delay;
        delay_.store(delay.count(), std::memory_order_relaxed);
        if (turns) {
            before_ = half_;
            half_ = all;
            half_began_ = n;
            turn_.store(add_saturated(now, options_.window / 2).time_since_epoch().count(), std::memory_order_relaxed);
        }
        const std::uint64_t in_half = n - half_began_;
        due_.store(n + (in_half > least ? in_half : least), std::memory_order_relaxed);
    }

    const hedge_options options_;
    const std::int64_t share_;             ///< of a token, for each read
    std::atomic<std::int64_t> tokens_{0};  ///< in millionths
    std::atomic<duration::rep> delay_{duration::max().count()};
    std::atomic<std::uint64_t> reads_{0}, samples_{0}, hedged_{0}, won_{0}, no_connection_{0}, no_budget_{0};
    std::atomic<std::uint64_t> due_;      ///< with so many samples the delay is reckoned
    std::atomic<duration::rep> turn_{0};  ///< when the next half of the window begins, if it has samples enough
    histogram latency_;
    inline_lock lock_;
    histogram_snapshot before_;     ///< when the half before this one began
    histogram_snapshot half_;       ///< when this one began
    std::uint64_t half_began_ = 0;  ///< at so many samples
};

namespace detail {

/// The decisions about one read. A face asks it in one thread at a time, runs the tries and keeps the time.
class hedged_read {
public:
    /// Whose outcome goes out now, and only now; the other try, if it is on its way, is cancelled.
    enum class ending : std::uint8_t { none, first, second };

    explicit hedged_read(hedge& h) noexcept : hedge_(&h) {}

    /// The first try begins. When `second_begins` is to be asked; `never`: not at all.
    [[nodiscard]] time_point begin(time_point now) noexcept {
        began_ = now;
        return add_saturated(now, hedge_->begin());
    }
    /// The caller does not want it any more: no second try begins.
    void cancel() noexcept { may_begin_ = false; }

    /// Asked once, when the delay is over: true when a second try is to begin. `is_idle`: a connection is idle, and nobody waits for one.
    /// `spend()`: takes a repetition from the budget of the stack's retry; false when there is none.
    template <class Spend>
    [[nodiscard]] bool second_begins(bool is_idle, Spend&& spend) noexcept {
        if (!may_begin_) return false;
        may_begin_ = false;
        if (!is_idle) return not_now(hedge_->no_connection_);
        if (!hedge_->take_token()) return not_now(hedge_->no_budget_);
        if (!spend()) {
            hedge_->tokens_.fetch_add(hedge::token, std::memory_order_relaxed);
            return not_now(hedge_->no_budget_);
        }
        count(hedge_->hedged_);
        second_ = at::on_its_way;
        return true;
    }

    /// `e`: empty after a success. `is_usual`: it neither waited for a connection nor was it repeated.
    [[nodiscard]] ending first_ended(const error& e, bool is_usual, time_point now) noexcept {
        first_ = at::ended;
        may_begin_ = false;
        if (over_) return ending::none;
        const bool answered = !e || (!e.local() && traits_of(e.code()).sign == health_sign::good && !traits_of(e.code()).transient);
        if (answered && is_usual) hedge_->record(now - began_, now);
        // Its time limits are those of the whole read, and it is the caller who cancels it before the end.
        const bool ends = answered || is_final(e) || e.code() == errc::timeout || e.code() == errc::cancelled;
        if (!ends && second_ == at::on_its_way) return ending::none;
        over_ = true;
        return ending::first;
    }
    [[nodiscard]] ending second_ended(const error& e, time_point now) noexcept {
        second_ = at::ended;
        if (over_) return ending::none;
        if (!e || (is_final(e) && e.code() != errc::cancelled)) {
            over_ = true;
            count(hedge_->won_);
            if (first_ == at::on_its_way) hedge_->record(now - began_, now);
            return ending::second;
        }
        if (first_ == at::on_its_way) return ending::none;
        over_ = true;
        return ending::first;
    }

private:
    enum class at : std::uint8_t { on_its_way, ended };

    static void count(std::atomic<std::uint64_t>& n) noexcept { n.fetch_add(1, std::memory_order_relaxed); }
    [[nodiscard]] static bool not_now(std::atomic<std::uint64_t>& why) noexcept {
        count(why);
        return false;
    }
    /// The other try would be told the same: what was asked for is wrong, or not there.
    [[nodiscard]] static bool is_final(const error& e) noexcept {
        const condition_traits t = traits_of(e.code());
        return !e.local() && !t.transient && t.sign != health_sign::ill;
    }

    hedge* hedge_;  // not looked at once it is over
    time_point began_{};
    at first_ = at::on_its_way;
    at second_ = at::ended;
    bool may_begin_ = true;
    bool over_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

#endif
