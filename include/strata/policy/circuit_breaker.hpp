// Leaving an ill database alone: after enough failures attempts are refused at once, then a few probes decide.
//
// Each attempt remembers the state it was admitted in, with that state's generation; a result of another generation is
// dropped, so what began before a change can neither open nor close anything after it. A probe that never comes
// back does not hold the breaker half-open for ever: after another open time one more probe is let through.
// What counts as failure is told by policy/conditions.hpp.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_HPP

#include <strata/core/heap_array.hpp>
#include <strata/core/interceptor.hpp>
#include <strata/core/lock.hpp>
#include <strata/policy/circuit_breaker_options.hpp>
#include <strata/policy/conditions.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The latest outcomes of up to `size` attempts, with the number of failures among them. Not synchronised.
class outcome_window {
public:
    explicit outcome_window(std::size_t size) : failed_(size), size_(size) {}

    void add(bool failed) noexcept {
        if (count_ == size_)
            failures_ -= failed_[next_] ? 1u : 0u;
        else
            ++count_;
        failed_[next_] = failed;
        failures_ += failed ? 1u : 0u;
        next_ = next_ + 1 == size_ ? 0 : next_ + 1;
    }
    void clear() noexcept { next_ = count_ = failures_ = 0; }
    [[nodiscard]] std::size_t count() const noexcept { return count_; }
    [[nodiscard]] std::size_t failures() const noexcept { return failures_; }

private:
    heap_array<bool> failed_;
    std::size_t size_;
    std::size_t next_ = 0;
    std::size_t count_ = 0;
    std::size_t failures_ = 0;
};

}  // namespace detail

/// Thread-safe. A success while nothing is on record costs two relaxed loads and no store; with `failure_rate` each
/// result takes a short lock. A refusal takes none: it is `errc::circuit_open` and says when to come back.
template <class Tag = void>
class circuit_breaker {
public:
    using options = detail::options_for<Tag, circuit_breaker_options>;
    static constexpr auto place = strata::place::breaker;
    static constexpr bool holds = true;
    struct frame {
        unset<std::uint64_t> admitted;  ///< state and generation at admission
    };

    circuit_breaker() : circuit_breaker(options{}) {}
    explicit circuit_breaker(const options& o)
        : options_(detail::untagged(o)), window_(options_.failure_rate > 0.0 ? options_.window : 0), quiet_(options_.failure_rate <= 0.0) {}

    STRATA_INLINE verdict admit(auto&, frame& f, moment m) noexcept {
        const std::uint64_t now = word_.load(std::memory_order_acquire);
        if (state_of(now) != circuit_state::closed) [[unlikely]] {
            const time_point until = open_until();
            if (state_of(now) != circuit_state::open || m.now >= until) return admit_probe(f, m);
            refused_.fetch_add(1, std::memory_order_relaxed);
            return refuse(errc::circuit_open, until - m.now);
        }
        f.admitted = now;
        return proceed();
    }

    STRATA_INLINE void settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (result.ok() && quiet_.load(std::memory_order_relaxed)) [[likely]]
            return;
        sample(f, result.ok() ? health_sign::good : sign_of(result.error(), op), m);
    }

    /// A probe's permit goes back; nothing is counted.
    void abandon(frame& f) noexcept {
        if (state_of(f.admitted) == circuit_state::half_open) sample(f, health_sign::none, moment{});
    }

    /// The state now; an open breaker says `open` until an attempt finds that its time is over.
    [[nodiscard]] circuit_state state() const noexcept { return state_of(word_.load(std::memory_order_acquire)); }

    [[nodiscard]] circuit_breaker_snapshot snapshot() const noexcept {
        const auto read = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
        return {state(), read(opened_), read(half_opened_), read(closed_), read(refused_), read(failures_), read(stale_)};
    }

private:
    [[nodiscard]] static constexpr circuit_state state_of(std::uint64_t word) noexcept { return static_cast<circuit_state>(word & 3); }

    STRATA_COLD verdict admit_probe(frame& f, moment m) noexcept {
        hold guard{lock_};
        const circuit_state before = state();
        if (before == circuit_state::open && m.now >= open_until()) {
            taken_ = succeeded_ = 0;
            change_to(circuit_state::half_open, half_opened_);
        }
        f.admitted = word_.load(std::memory_order_relaxed);
        const circuit_state now = state_of(f.admitted);
        if (now == circuit_state::half_open && (taken_ < options_.half_open_permits || m.now >= open_until())) {
            ++taken_;
            set_open_until(add_saturated(m.now, open_for_));  // if this probe is never heard of again, another may go then
        } else if (now != circuit_state::closed) {
            refused_.fetch_add(1, std::memory_order_relaxed);
            return refuse(errc::circuit_open, open_until() - m.now);
        }
        guard.unlock();
        if (before != now) tell({before, now, m.now});
        return proceed();
    }

    STRATA_COLD void sample(const frame& f, health_sign sign, moment m) noexcept {
        hold guard{lock_};
        if (word_.load(std::memory_order_relaxed) != f.admitted) {
            stale_.fetch_add(1, std::memory_order_relaxed);
            return;
        }
        const circuit_state before = state_of(f.admitted);
        if (sign == health_sign::ill) failures_.fetch_add(1, std::memory_order_relaxed);
        if (before == circuit_state::closed)
            sample_closed(sign, m);
        else
            sample_probe(sign, m);
        const circuit_state now = state();
        guard.unlock();
        if (before != now) tell({before, now, m.now});
    }

    void sample_closed(health_sign sign, moment m) noexcept {
        if (sign == health_sign::none) return;
        const bool failed = sign == health_sign::ill;
        in_a_row_ = failed ? in_a_row_ + 1 : 0;
        bool too_many = options_.consecutive_failures != 0 && in_a_row_ >= options_.consecutive_failures;
        if (options_.failure_rate > 0.0) {
            window_.add(failed);
            const auto count = static_cast<double>(window_.count());
            too_many |=
                window_.count() >= options_.minimum_calls && static_cast<double>(window_.failures()) >= options_.failure_rate * count;
        } else {
            quiet_.store(!failed, std::memory_order_relaxed);
        }
        if (too_many) {
            open_time_ = options_.open_time;
            open(m);
        }
    }

    void sample_probe(health_sign sign, moment m) noexcept {
        switch (sign) {
            case health_sign::none:
                --taken_;
                break;
            case health_sign::good:
                if (++succeeded_ < options_.half_open_permits) break;
                in_a_row_ = 0;
                window_.clear();
                change_to(circuit_state::closed, closed_);
                quiet_.store(options_.failure_rate <= 0.0, std::memory_order_relaxed);
                break;
            case health_sign::ill:
                open_time_ = open_time_ <= options_.max_open_time / 2 ? open_time_ * 2 : options_.max_open_time;
                open(m);
                break;
        }
    }

    void open(moment m) noexcept {
        const double share = 1.0 - options_.jitter * m.random_unit();
        open_for_ = duration{static_cast<duration::rep>(static_cast<double>(open_time_.count()) * share)};
        set_open_until(add_saturated(m.now, open_for_));
        quiet_.store(false, std::memory_order_relaxed);
        change_to(circuit_state::open, opened_);
    }

    /// Publishes what was written before it.
    void change_to(circuit_state s, std::atomic<std::uint64_t>& counter) noexcept {
        const std::uint64_t generation = (word_.load(std::memory_order_relaxed) >> 2) + 1;
        counter.fetch_add(1, std::memory_order_relaxed);
        word_.store(generation << 2 | static_cast<std::uint64_t>(s), std::memory_order_release);
    }

    void tell(const circuit_change& change) const noexcept {
        if (options_.on_change != nullptr) options_.on_change(options_.context, change);
    }

    [[nodiscard]] time_point open_until() const noexcept { return time_point{duration{open_until_.load(std::memory_order_relaxed)}}; }
    void set_open_until(time_point at) noexcept { open_until_.store(at.time_since_epoch().count(), std::memory_order_relaxed); }

    std::atomic<std::uint64_t> word_{0};        ///< generation << 2 | state; written under the lock
    std::atomic<duration::rep> open_until_{0};  ///< open: when a probe may go; half_open: when one more may
    const circuit_breaker_options options_;

    inline_lock lock_;
    detail::outcome_window window_;
    unsigned in_a_row_ = 0;
    unsigned taken_ = 0;      ///< permits given out in this half-open state
    unsigned succeeded_ = 0;  ///< probes that succeeded in it
    duration open_time_{};    ///< before jitter
    duration open_for_{};     ///< with jitter

    std::atomic<bool> quiet_;  ///< closed, no failure on record, no window: a success changes nothing
    std::atomic<std::uint64_t> opened_{0}, half_opened_{0}, closed_{0}, refused_{0}, failures_{0}, stale_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
