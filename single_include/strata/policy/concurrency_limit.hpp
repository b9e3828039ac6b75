// Generated from include/strata/policy/concurrency_limit.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_CONCURRENCY_LIMIT_HPP
#define STRATA_SINGLE_POLICY_CONCURRENCY_LIMIT_HPP

#include <strata/strata.hpp>

#include <cmath>

// A number of permits, and the queue of those who wait for one: what a bulkhead and a concurrency limit are made of.
//
// While nobody waits a permit is taken and given back by one compare-and-swap. The lowest bit of the word closes that path: it is set
// while somebody waits, or while there are fewer permits than are out. Then everything goes under the lock, and a permit that comes
// back is handed to whoever waits longest in the highest priority, so nobody overtakes. The hooks of both are here too.
#ifndef STRATA_POLICY_PERMITS_HPP
#define STRATA_POLICY_PERMITS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

class permits {
public:
    /// What an operation remembers of its wait, in its layer's frame.
    struct place {
        bool waits = false;
        unset<priority> of;  ///< where
        waiter node;
    };

    explicit permits(std::uint32_t count) noexcept : word_(count * one), count_(count) {}

    /// True when the caller holds a permit now.
    [[nodiscard]] STRATA_INLINE bool try_take() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        while (w >= one && (w & closed) == 0)
            if (word_.compare_exchange_weak(w, w - one, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }

    STRATA_INLINE void give_back() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        while ((w & closed) == 0)
            if (word_.compare_exchange_weak(w, w + one, std::memory_order_release, std::memory_order_relaxed)) return;
        hand_on();
    }

    /// In `admit`: whether it proceeds at once. Otherwise what `admit_slowly` answers.
    [[nodiscard]] STRATA_INLINE bool admits(const place& at) noexcept { return !at.waits && try_take(); }
    /// Takes a permit after all, or waits for one up to `patience`; refuses where `most` wait already, unless one of lower priority stands
    /// there, whose youngest then gives way. Asked again after the wait it says whether a permit came.
    [[nodiscard]] STRATA_COLD verdict admit_slowly(place& at, operation_base& op, moment m, std::size_t most, duration patience) noexcept {
        if (std::exchange(at.waits, false)) return at.node.gift != nullptr ? proceed() : refused();
        if (most == 0) return refused();
        waker* const wakes = op.waking();
        wake_call gone;
        {
            hold guard{lock_};
            if (take_or_close()) return proceed();
            if (waiting() >= most && !displace(op.priority, most, gone)) {
                reopen();
                return refused();
            }
            at.waits = true;
            at.of = op.priority;
            at.node.prepare(wakes);
            queue_of(at.of).push(at.node);
            ++waits_;
        }
        gone();
        return park(&at.node, add_saturated(m.now, patience), errc::bulkhead_full);
    }
    /// In `abandon`, whatever became of it: it was inside, or waits, and perhaps a permit came meanwhile.
    void abandon(place& at) noexcept {
        if (!at.waits || leave(at)) give_back();
    }

    /// From now on there are `count`. What is out beyond that is missing when it comes back.
    STRATA_COLD void resize(std::uint32_t count) noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard{lock_};
                if (count_ >= count) {
                    if (count_ > count) shrink(count_ - count);
                    count_ = count;
                    return;
                }
                ++count_;
                put_back(wake);
            }
            wake();
        }
    }

    [[nodiscard]] std::uint32_t count() noexcept {
        hold guard{lock_};
        return count_;
    }
    /// Permits that are out.
    [[nodiscard]] std::size_t taken() noexcept {
        hold guard{lock_};
        return count_ + missing_ - word_.load(std::memory_order_relaxed) / one;
    }
    [[nodiscard]] std::size_t queue_size() noexcept {
        hold guard{lock_};
        return waiting();
    }
    /// Operations that had to wait.
    [[nodiscard]] std::uint64_t waits() noexcept {
        hold guard{lock_};
        return waits_;
    }
    /// Those that found no place in the queue, or had to leave it for a higher priority.
    [[nodiscard]] std::uint64_t refusals() const noexcept { return refused_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uint64_t closed = 1;
    static constexpr std::uint64_t one = 2;

    [[nodiscard]] wait_queue& queue_of(priority p) noexcept { return queues_[static_cast<std::size_t>(p)]; }
    [[nodiscard]] std::size_t waiting() const noexcept { return queues_[0].size() + queues_[1].size() + queues_[2].size(); }

    [[nodiscard]] verdict refused() noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return refuse(errc::bulkhead_full);
    }
    /// True when a permit has come meanwhile.
    [[nodiscard]] STRATA_COLD bool leave(place& at) noexcept {
        hold guard{lock_};
        if (at.node.is_granted()) return at.node.gift != nullptr;
        static_cast<void>(at.node.withdraw());
        queue_of(at.of).remove(at.node);
        reopen();
        return false;
    }

    // All of these under the lock.

    /// Takes one that is free, or closes the fast path, so that whatever comes back is seen here.
    [[nodiscard]] bool take_or_close() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool free = w >= one && (w & closed) == 0;
            if (word_.compare_exchange_weak(w, free ? w - one : w | closed, std::memory_order_acq_rel, std::memory_order_relaxed))
                return free;
        }
    }
    /// The fast path opens when nobody waits and none is missing.
    void reopen() noexcept {
        if (missing_ == 0 && waiting() == 0) word_.fetch_and(~closed, std::memory_order_release);
    }
    void put_back(wake_call& wake) noexcept {
        if (missing_ > 0) {
            --missing_;
        } else if (!queue_of(priority::high).grant_first(this, wake) && !queue_of(priority::normal).grant_first(this, wake) &&
                   !queue_of(priority::low).grant_first(this, wake)) {
            word_.fetch_add(one, std::memory_order_relaxed);
        }
        reopen();
    }
    void shrink(std::uint32_t by) noexcept {
        const std::uint64_t free = word_.fetch_or(closed, std::memory_order_acquire) / one;  // nobody else changes it from here on
        const std::uint64_t now = free < by ? free : by;
        word_.fetch_sub(now * one, std::memory_order_relaxed);
        missing_ += by - static_cast<std::uint32_t>(now);
        reopen();
    }
    /// Makes room for one of priority `p`: those that have given up are dropped, then the youngest of the lowest priority below is sent
    /// away.
    [[nodiscard]] bool displace(priority p, std::size_t most, wake_call& wake) noexcept {
        if (p == priority::low) return false;
        for (const priority of : {priority::low, priority::normal})
            while (waiter* w = p == of ? nullptr : queue_of(of).back()) {
                queue_of(of).remove(*w);
                if (w->grant(nullptr, wake) || waiting() < most) return true;
            }
        return false;
    }

    STRATA_COLD void hand_on() noexcept {
        wake_call wake;
        {
            hold guard{lock_};
            put_back(wake);
        }
        wake();
    }

    std::atomic<std::uint64_t> word_;  ///< free permits * 2 + closed; with `closed` only written under the lock
    inline_lock lock_;
    std::uint32_t count_;
    std::uint32_t missing_ = 0;  ///< are out, and will not be put back
    std::uint64_t waits_ = 0;
    wait_queue queues_[3];
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

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

#endif
