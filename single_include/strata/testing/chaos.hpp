// Generated from include/strata/testing/chaos.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_TESTING_CHAOS_HPP
#define STRATA_SINGLE_TESTING_CHAOS_HPP

#include <strata/strata.hpp>

#include <atomic>
#include <memory>

// Faults on order: attempts that fail, are slow or lose their answer, as if the database had been the cause.
//
//   using tried = strata::stack<strata::retry<>, strata::circuit_breaker<>, strata::chaos, strata::chaos_outcome, strata::pool<>, ...>;
//   strata::database<tried> db{strata::chaos_options{.rate = 0.05}, ...};
//   db.policy<strata::chaos>().set({.rate = 1, .code = strata::errc::io_error, .only = writes});     // while in use
//
// Both stand innermost, so retry, breaker and timeouts meet the fault as they would meet a real one; statements inside of a transaction
// are not struck, but its whole attempt is. What each kind does, and to which attempts that `only` chooses:
//
//   kind       strikes               the attempt   the layers outside see                                    counted as
//   behaviour  before the attempt    is made       nothing; the function sees the operation                  behaviours, thrown
//   latency    before the attempt    is made late  time; beyond its deadline errc::timeout, effect none      delays
//   fault      in its stead          is not made   `code`, effect none: safe to repeat                       faults
//   outcome    one that succeeded    was made      `code`, effect unknown: repeated only if idempotent;      lost
//                                                  effect applied: never repeated
//
// Kinds strike independently of each other. One die for each attempt tells whether any does; which, is drawn in this order only then, and
// only then `only` is asked: an attempt that is spared costs one random number. Randomness comes from the world, so a seeded run is
// repeated exactly. `chaos_outcome` is a layer of its own, for it alone has something to do after an attempt.
#ifndef STRATA_TESTING_CHAOS_HPP
#define STRATA_TESTING_CHAOS_HPP

namespace strata::inline STRATA_ABI {

/// Chooses the operations that may be struck; null: all. Asked when the die has fallen, from any thread. What it throws is counted, and
/// chooses nothing.
using chaos_choice = shared_function<bool(const operation_base&, operation_kind)>;

/// Rates are shares of the attempts, in [0, 1].
struct chaos_options {
    double rate = 0;         ///< of attempts that fail
    errc code = errc::busy;  ///< by this; an error

    double latency_rate = 0;  ///< of attempts that are delayed
    duration latency{};       ///< by so much; not negative

    double behaviour_rate = 0;  ///< of attempts before which `behaviour` is called; from any thread, and it should not block
    shared_function<void(const operation_base&)> behaviour{};

    chaos_choice only{};

    [[nodiscard]] error validate() const;
    friend bool operator==(const chaos_options&, const chaos_options&) = default;
};

/// An answer that was lost on its way back: what succeeded is reported as a failure.
struct chaos_outcome_options {
    double rate = 0;                                  ///< share of the successful attempts, in [0, 1]
    errc code = errc::connection_lost;                ///< an error
    strata::effect effect = strata::effect::unknown;  ///< `unknown` or `applied`: it did take place
    chaos_choice only{};

    [[nodiscard]] error validate() const;
    friend bool operator==(const chaos_outcome_options&, const chaos_outcome_options&) = default;
};

/// What a `chaos` has done so far, in attempts.
struct chaos_snapshot {
    std::uint64_t faults = 0;
    std::uint64_t delays = 0;
    std::uint64_t behaviours = 0;  ///< calls of the function
    std::uint64_t thrown = 0;      ///< exceptions of the user's functions, which had no other effect
};

namespace detail {

[[nodiscard]] inline bool is_share(double d) noexcept {
    return d >= 0.0 && d <= 1.0;
}

/// The chance that at least one of these strikes.
[[nodiscard]] constexpr double any_of(double a, double b, double c) noexcept {
    return a + (1 - a) * (b + (1 - b) * c);
}

/// What is to be struck, exchanged as a whole while attempts are on their way.
template <class Options>
class chaos_plan {
public:
    explicit chaos_plan(const Options& o) : current_(std::make_shared<const Options>(o)), struck_(struck(o)) {}

    [[nodiscard]] STRATA_INLINE bool armed() const noexcept { return struck_.load(std::memory_order_relaxed) != 0; }
    /// Throws the die: whether any kind strikes.
    [[nodiscard]] STRATA_INLINE bool strikes(moment m) const noexcept {
        const std::uint64_t largest = struck_.load(std::memory_order_relaxed);
        return largest != 0 && falls(largest, m);
    }
    [[nodiscard]] std::shared_ptr<const Options> get() const noexcept {
        hold guard{lock_};
        return current_;
    }
    /// `change(options)`; throws `failure` when it makes no sense, and all stays as it was.
    template <class Change>
    void edit(Change&& change) {
        std::shared_ptr<const Options> next;  // the old one, in the end, and it goes without the lock
        hold guard{lock_};
        Options o = *current_;
        change(o);
        if (error e = o.validate()) throw_failure(std::move(e));
        next = std::make_shared<const Options>(std::move(o));
        current_.swap(next);
        struck_.store(struck(*current_), std::memory_order_relaxed);
    }

    /// Whether the user chooses this operation; `thrown` counts what he throws.
    [[nodiscard]] static bool chooses(const Options& o, const operation_base& op, operation_kind kind,
                                      std::atomic<std::uint64_t>& thrown) noexcept {
        if (!o.only) return true;
        try {
            return o.only(op, kind);
        } catch (...) {
            thrown.fetch_add(1, std::memory_order_relaxed);
            return false;
        }
    }

private:
    [[nodiscard]] STRATA_COLD static bool falls(std::uint64_t largest, moment m) noexcept { return m.random() <= largest; }

    /// The largest random number that strikes; 0: none does.
    [[nodiscard]] static std::uint64_t struck(const Options& o) noexcept {
        double share = o.rate;
        if constexpr (requires { o.latency_rate; }) share = any_of(o.behaviour_rate, o.latency_rate, o.rate);
        if (share <= 0) return 0;
        if (share >= 1) return ~std::uint64_t{0};
        const auto numbers = static_cast<std::uint64_t>(share * 0x1p64);
        return numbers > 2 ? numbers - 1 : 1;
    }

    mutable inline_lock lock_;
    std::shared_ptr<const Options> current_;
    std::atomic<std::uint64_t> struck_;
};

/// Which kinds strike, once it is known that one of them does: each in turn, by its chance given those before it.
class chaos_draw {
public:
    chaos_draw(double b, double l, double f, moment m) noexcept : m_(m) {
        behaves = draws(b, any_of(b, l, f));
        is_late = draws(l, behaves ? 1 : any_of(0, l, f));
        fails = draws(f, behaves || is_late ? 1 : f);
    }
    bool behaves, is_late, fails;

private:
    [[nodiscard]] bool draws(double rate, double of) const noexcept { return rate > 0 && (rate >= of || m_.random_unit() * of < rate); }

    moment m_;
};

}  // namespace detail

inline error chaos_options::validate() const {
    if (!detail::is_share(rate)) return detail::bad_option("chaos_options.rate", "must lie in 0 to 1");
    if (code == errc::ok) return detail::bad_option("chaos_options.code", "must be an error");
    if (!detail::is_share(latency_rate)) return detail::bad_option("chaos_options.latency_rate", "must lie in 0 to 1");
    if (latency < duration::zero()) return detail::bad_option("chaos_options.latency", "must not be negative");
    if (!detail::is_share(behaviour_rate)) return detail::bad_option("chaos_options.behaviour_rate", "must lie in 0 to 1");
    if (behaviour_rate > 0 && !behaviour) return detail::bad_option("chaos_options.behaviour", "must be there, since it has a rate");
    return {};
}

inline error chaos_outcome_options::validate() const {
    if (!detail::is_share(rate)) return detail::bad_option("chaos_outcome_options.rate", "must lie in 0 to 1");
    if (code == errc::ok) return detail::bad_option("chaos_outcome_options.code", "must be an error");
    if (effect != strata::effect::unknown && effect != strata::effect::applied)
        return detail::bad_option("chaos_outcome_options.effect", "must be unknown or applied: the attempt did take place");
    return {};
}

/// Behaviour, latency and faults. Thread-safe, and settable while in use. Without a rate it costs one relaxed load.
class chaos {
    using plan = detail::chaos_plan<chaos_options>;

public:
    using options = chaos_options;
    static constexpr auto place = strata::place::attempt;
    struct frame {
        bool delayed = false;
        unset<errc> then;  ///< what it fails with after the delay, drawn before it
    };

    chaos() : chaos(options{}) {}
    explicit chaos(const options& o) : plan_(o) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        if (!f.delayed && !plan_.strikes(m)) [[likely]]
            return proceed();
        return strike(op, f, m);
    }

    /// From now on these. Throws `failure` when a value makes no sense. What is delayed meanwhile ends as it was drawn.
    void set(options o) {
        plan_.edit([&](options& all) { all = std::move(o); });
    }
    [[nodiscard]] options current() const { return *plan_.get(); }
    void set_rate(double rate) {
        plan_.edit([&](options& o) { o.rate = rate; });
    }
    void set_code(errc code) {
        plan_.edit([&](options& o) { o.code = code; });
    }
    void set_latency(double rate, duration d) {
        plan_.edit([&](options& o) { o.latency_rate = rate, o.latency = d; });
    }

    /// Attempts that were made to fail.
    [[nodiscard]] std::uint64_t injected() const noexcept { return faults_.load(std::memory_order_relaxed); }
    [[nodiscard]] chaos_snapshot snapshot() const noexcept {
        return {injected(), delays_.load(std::memory_order_relaxed), behaviours_.load(std::memory_order_relaxed),
                thrown_.load(std::memory_order_relaxed)};
    }

private:
    template <class Op>
    STRATA_COLD verdict strike(const Op& op, frame& f, moment m) noexcept {
        return decide(op, op.kind(), f, m);
    }
    verdict decide(const operation_base& op, operation_kind kind, frame& f, moment m) noexcept {
        if (f.delayed) return end(f.then);
        const std::shared_ptr<const options> o = plan_.get();
        if (!plan::chooses(*o, op, kind, thrown_)) return proceed();
        const detail::chaos_draw drawn{o->behaviour_rate, o->latency_rate, o->rate, m};
        if (drawn.behaves) behave(*o, op);
        f.then = drawn.fails ? o->code : errc::ok;
        if (!drawn.is_late) return end(f.then);
        delays_.fetch_add(1, std::memory_order_relaxed);
        f.delayed = true;
        return work_until(add_saturated(m.now, o->latency));
    }
    [[nodiscard]] verdict end(errc code) noexcept {
        if (code == errc::ok) return proceed();
        faults_.fetch_add(1, std::memory_order_relaxed);
        return fail(code);
    }
    void behave(const options& o, const operation_base& op) noexcept {
        behaviours_.fetch_add(1, std::memory_order_relaxed);
        try {
            o.behaviour(op);
        } catch (...) {
            thrown_.fetch_add(1, std::memory_order_relaxed);
        }
    }

    plan plan_;
    std::atomic<std::uint64_t> faults_{0}, delays_{0}, behaviours_{0}, thrown_{0};
};

/// Lost answers. Thread-safe, and settable while in use. Without a rate it costs one relaxed load.
class chaos_outcome {
    using plan = detail::chaos_plan<chaos_outcome_options>;

public:
    using options = chaos_outcome_options;
    static constexpr auto place = strata::place::attempt;

    chaos_outcome() : chaos_outcome(options{}) {}
    explicit chaos_outcome(const options& o) : plan_(o) {}

    STRATA_INLINE void settle(auto& op, no_frame&, outcome& result, moment m) noexcept {
        if (result.ok() && plan_.strikes(m)) [[unlikely]]
            strike(op, result);
    }

    /// As `chaos::set`.
    void set(options o) {
        plan_.edit([&](options& all) { all = std::move(o); });
    }
    [[nodiscard]] options current() const { return *plan_.get(); }
    void set_rate(double rate) {
        plan_.edit([&](options& o) { o.rate = rate; });
    }

    /// Attempts that succeeded and were reported as failures.
    [[nodiscard]] std::uint64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }
    /// Exceptions of `only`.
    [[nodiscard]] std::uint64_t thrown() const noexcept { return thrown_.load(std::memory_order_relaxed); }

private:
    template <class Op>
    STRATA_COLD void strike(const Op& op, outcome& result) noexcept {
        decide(op, op.kind(), result);
    }
    void decide(const operation_base& op, operation_kind kind, outcome& result) noexcept {
        const std::shared_ptr<const options> o = plan_.get();
        if (!plan::chooses(*o, op, kind, thrown_)) return;
        lost_.fetch_add(1, std::memory_order_relaxed);
        result.replace(error{o->code, phase::result, o->effect});
    }

    plan plan_;
    std::atomic<std::uint64_t> lost_{0}, thrown_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
