// Leaving an ill database alone: after enough failures attempts are refused at once, then a few probes decide.
//
// Each attempt remembers the state it was admitted in, with that state's generation; a result of another generation is
// dropped, so what began before a change can neither open nor close anything after it. Probes that never come back
// do not hold the breaker half-open for ever: after `half_open_time` it is open once more.
// What counts as failure is told by policy/conditions.hpp. A breaker for each shard or host: policy/keyed.hpp.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_HPP

#include <strata/core/interceptor.hpp>
#include <strata/core/lock.hpp>
#include <strata/policy/circuit_breaker_options.hpp>
#include <strata/policy/outcome_window.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

/// Thread-safe. A success while nothing is on record costs two relaxed loads; with a rate rule it is counted by one atomic addition.
/// A refusal by an open breaker is `errc::circuit_open` and says when to come back. A short lock is taken by a failure, a slow
/// attempt, the first success after a failure, results below `minimum_calls`, and the first one in each tenth of `window_time`.
///
/// With many threads the row of failures is exact: the n-th one opens it, unless a success was counted in between. The rates may miss
/// a success that another thread counts in the moment of the decision, or have one of the moment before.
template <class Tag = void>
class circuit_breaker {
public:
    using options = detail::options_for<Tag, circuit_breaker_options>;
    static constexpr auto place = strata::place::breaker;
    static constexpr bool holds = true;
    struct frame {
        unset<std::uint64_t> admitted;  ///< the word at admission
        unset<time_point> started;
    };

    circuit_breaker() : circuit_breaker(options{}) {}
    explicit circuit_breaker(const options& o)
        : options_(detail::untagged(o)), slow_call_(options_.slow_rate > 0.0 ? options_.slow_call : duration::max()),
          window_(options_.has_window() ? options_.window : 0, options_.has_window() ? options_.window_time : duration{},
                  options_.minimum_calls) {
        set_meaning();
    }

    STRATA_INLINE verdict admit(auto&, frame& f, moment m) noexcept {
        const std::uint64_t now = word_.load(std::memory_order_acquire);
        if ((now & position_bits) != closed) [[unlikely]] {
            duration left = open_until() - m.now;
            if ((now & (position_bits | observed)) != open || left <= duration::zero()) {
                left = admit_otherwise(f, m);
                if (left < duration::zero()) return proceed();
            }
            refused_.fetch_add(1, std::memory_order_relaxed);
            return refuse(errc::circuit_open, left);
        }
        f.admitted = now;
        f.started = m.now;
        return proceed();
    }

    STRATA_INLINE void settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (result.ok() && success_.load(std::memory_order_relaxed) == meaning::nothing) [[likely]]
            return;
        sample_result(op, f, result, m);
    }

    /// A probe's permit goes back; nothing is counted.
    void abandon(frame& f) noexcept {
        if ((f.admitted & position_bits) == half_open) sample(f, health_sign::none, errc::ok, moment{});
    }

    /// The state now; an open breaker says `open` until an attempt finds that its time is over.
    [[nodiscard]] circuit_state state() const noexcept { return state_of(word_.load(std::memory_order_acquire)); }
    [[nodiscard]] circuit_mode mode() const noexcept { return mode_of(word_.load(std::memory_order_acquire)); }
    /// A mode is in force that somebody set; see `keyed`.
    [[nodiscard]] bool is_set_by_hand() const noexcept { return mode() != circuit_mode::automatic; }

    /// Takes the decision away from the breaker, or gives it back; then it begins closed, with nothing on record. `reason` is kept
    /// for the snapshot. `at`: now, in the time of the database's world.
    void set_mode(circuit_mode mode, std::string_view reason = {}, time_point at = steady_now()) {
        std::string said{reason};
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        if (mode == mode_of(before)) return reason_.swap(said);
        const bool decides = mode == circuit_mode::automatic || mode == circuit_mode::observing;
        std::uint64_t to = before & position_bits;
        if (!decides) {
            to = mode == circuit_mode::forced_open ? forced_open : mode == circuit_mode::forced_closed ? forced_closed : disabled;
        } else if (to > half_open) {
            to = closed;
        } else if (to == half_open) {  // permits taken in the other mode are void: begin with new ones
            to = open;
            set_open_until(at);
        }
        if (to != open) {
            in_a_row_ = 0;
            window_.clear();
        }
        reason_.swap(said);
        last_ = {state_of(before), state_of(to), at, circuit_cause::user};
        set_word(to | (mode == circuit_mode::observing ? observed : 0));
        announce(guard, before);
    }

    [[nodiscard]] circuit_breaker_snapshot snapshot() const {
        hold guard{lock_};
        return {state(), mode(), last_, reason_, opens_, half_opens_, closes_, refused_.load(std::memory_order_relaxed), failures_, stale_};
    }

private:
    // The word: a position, whether the breaker is only observed, and above these the generation.
    static constexpr std::uint64_t closed = 0, open = 1, half_open = 2, forced_open = 3, forced_closed = 4, disabled = 5;
    static constexpr std::uint64_t position_bits = 7, observed = 8, generation = 16;
    static constexpr std::uint64_t no_sample = ~std::uint64_t{0};  ///< the word of nobody
    static constexpr duration no_refusal{-1};

    enum class meaning : std::uint8_t {
        nothing,
        one_more,  ///< in the window
        a_change
    };

    [[nodiscard]] static constexpr circuit_state state_of(std::uint64_t word) noexcept {
        const std::uint64_t p = word & position_bits;
        return p == open || p == forced_open ? circuit_state::open : p == half_open ? circuit_state::half_open : circuit_state::closed;
    }
    [[nodiscard]] static constexpr circuit_mode mode_of(std::uint64_t word) noexcept {
        const std::uint64_t p = word & position_bits;
        if (p > half_open) return static_cast<circuit_mode>(p - forced_open + static_cast<std::uint64_t>(circuit_mode::forced_open));
        return (word & observed) != 0 ? circuit_mode::observing : circuit_mode::automatic;
    }

    /// How long to stay away, which is never negative, or `no_refusal`.
    [[nodiscard]] STRATA_COLD duration admit_otherwise(frame& f, moment m) noexcept {
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        const std::uint64_t found = before & position_bits;
        if (found == open && m.now >= open_until()) {
            taken_ = succeeded_ = 0;
            ++half_opens_;
            set_open_until(add_saturated(m.now, options_.half_open_time));
            change_to(half_open, circuit_cause::open_time_over, errc::ok, m);
        } else if (found == half_open && m.now >= open_until()) {
            if (taken_ > succeeded_)
                open_longer(circuit_cause::probes_unanswered, errc::ok, m);
            else  // nobody is on the way: there were too few callers
                set_open_until(add_saturated(m.now, options_.half_open_time));
        }
        const std::uint64_t now = word_.load(std::memory_order_relaxed), position = now & position_bits;
        const bool probe = position == half_open && taken_ < options_.half_open_permits;
        if (probe) ++taken_;
        const bool passes = probe || (position != open && position != half_open && position != forced_open);
        f.admitted = passes ? now : no_sample;
        f.started = m.now;
        duration left = position == forced_open ? duration::zero() : open_until() - m.now;
        if (position == half_open && left > options_.open_time) left = options_.open_time;  // the probes will have decided by then
        announce(guard, before);
        if (passes) return no_refusal;
        if ((now & observed) == 0) return left > duration::zero() ? left : duration::zero();
        refused_.fetch_add(1, std::memory_order_relaxed);  // as it would have been
        return no_refusal;
    }

    STRATA_NOINLINE void sample_result(const operation_base& op, const frame& f, const outcome& result, moment m) noexcept {
        if (!result.ok() || !is_one_more(f, m)) sample_more(op, f, result, m);
    }
    /// A success that the window has counted, and that has no other consequence.
    [[nodiscard]] STRATA_INLINE bool is_one_more(const frame& f, moment m) noexcept {
        return success_.load(std::memory_order_relaxed) == meaning::one_more && word_.load(std::memory_order_relaxed) == f.admitted &&
               m.now - time_point{f.started} <= slow_call_ && window_.count_good(m.now);
    }
    STRATA_COLD void sample_more(const operation_base& op, const frame& f, const outcome& result, moment m) noexcept {
        sample(f, result.ok() ? health_sign::good : sign_of(result.error(), op, options_.judge), result.code(), m, op.waited_for_lease);
    }

    STRATA_COLD void sample(const frame& f, health_sign sign, errc code, moment m, bool waited = false) noexcept {
        if (f.admitted == no_sample) return;
        const bool slow = !waited && m.now - time_point{f.started} > slow_call_;
        hold guard{lock_};
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        if (before != f.admitted) {
            ++stale_;
            return;
        }
        const std::uint64_t position = before & position_bits;
        if (sign == health_sign::ill && position != disabled) ++failures_;
        if (position == closed && sign != health_sign::none) sample_closed(sign == health_sign::ill, slow, code, m);
        if (position == half_open) sample_probe(sign, slow, code, m);
        announce(guard, before);
    }

    // Under the lock.

    void sample_closed(bool failed, bool slow, errc code, moment m) noexcept {
        in_a_row_ = failed ? in_a_row_ + 1 : 0;
        const circuit_cause broken = broken_rule(window_.add(failed, slow, m.now));
        set_meaning();
        if (broken == circuit_cause::start) return;
        open_time_ = options_.open_time;
        open_for_now(broken, code, m);
    }
    /// `start`: none.
    [[nodiscard]] circuit_cause broken_rule(const detail::outcome_counts& n) const noexcept {
        if (options_.consecutive_failures != 0 && in_a_row_ >= options_.consecutive_failures) return circuit_cause::consecutive_failures;
        if (n.calls < options_.minimum_calls) return circuit_cause::start;
        const auto reached = [&n](std::uint64_t count, double rate) {
            return rate > 0.0 && static_cast<double>(count) >= rate * static_cast<double>(n.calls);
        };
        if (reached(n.failures, options_.failure_rate)) return circuit_cause::failure_rate;
        return reached(n.slow, options_.slow_rate) ? circuit_cause::slow_rate : circuit_cause::start;
    }

    void sample_probe(health_sign sign, bool slow, errc code, moment m) noexcept {
        if (sign == health_sign::none) {
            --taken_;
        } else if (sign == health_sign::ill || slow) {
            open_longer(sign == health_sign::ill ? circuit_cause::probe_failed : circuit_cause::slow_rate, code, m);
        } else if (++succeeded_ == options_.half_open_permits) {
            in_a_row_ = 0;
            window_.clear();
            ++closes_;
            change_to(closed, circuit_cause::probes_succeeded, errc::ok, m);
        }
    }

    void open_longer(circuit_cause why, errc code, moment m) noexcept {
        open_time_ = open_time_ <= options_.max_open_time / 2 ? open_time_ * 2 : options_.max_open_time;
        open_for_now(why, code, m);
    }
    void open_for_now(circuit_cause why, errc code, moment m) noexcept {
        const double share = 1.0 - options_.jitter * m.random_unit();
        set_open_until(add_saturated(m.now, duration{static_cast<duration::rep>(static_cast<double>(open_time_.count()) * share)}));
        ++opens_;
        change_to(open, why, code, m);
    }

    void change_to(std::uint64_t position, circuit_cause why, errc code, moment m) noexcept {
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        last_ = {state_of(before), state_of(position), m.now, why, code};
        set_word(position | (before & observed));
    }
    /// A new generation. Publishes what was written before it.
    void set_word(std::uint64_t low) noexcept {
        const std::uint64_t before = word_.load(std::memory_order_relaxed);
        word_.store((before / generation + 1) * generation | low, std::memory_order_release);
        set_meaning();
    }
    void set_meaning() noexcept {
        const std::uint64_t position = word_.load(std::memory_order_relaxed) & position_bits;
        meaning m = meaning::a_change;
        if (position == disabled) m = meaning::nothing;
        if (position == closed && in_a_row_ == 0) m = options_.has_window() ? meaning::one_more : meaning::nothing;
        success_.store(m, std::memory_order_relaxed);
    }

    /// Ends the lock, then tells of the change that was made under it, if there was one.
    void announce(hold<inline_lock>& guard, std::uint64_t before) const noexcept {
        const bool changed = word_.load(std::memory_order_relaxed) != before && last_.from != last_.to;
        if (!changed || options_.on_change == nullptr) return guard.unlock();
        const circuit_change change = last_;
        guard.unlock();
        options_.on_change(options_.context, change);
    }

    [[nodiscard]] time_point open_until() const noexcept { return time_point{duration{open_until_.load(std::memory_order_relaxed)}}; }
    void set_open_until(time_point at) noexcept { open_until_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }

    std::atomic<std::uint64_t> word_{0};        ///< written under the lock
    std::atomic<duration::rep> open_until_{0};  ///< open: when a probe may go; half-open: when that has lasted too long
    const circuit_breaker_options options_;
    const duration slow_call_;                        ///< more than this is slow
    std::atomic<meaning> success_{meaning::nothing};  ///< what it means now

    mutable inline_lock lock_;
    detail::outcome_window window_;
    unsigned in_a_row_ = 0;
    unsigned taken_ = 0;      ///< permits given out in this half-open state
    unsigned succeeded_ = 0;  ///< probes that succeeded in it
    duration open_time_{};    ///< before jitter
    circuit_change last_{circuit_state::closed, circuit_state::closed, {}};
    std::string reason_;
    std::uint64_t opens_ = 0, half_opens_ = 0, closes_ = 0, failures_ = 0, stale_ = 0;

    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
