// Trying again what failed for a passing reason and may safely be repeated.
//
// What is repeated: an operation whose error is transient (policy/conditions.hpp) and left no trace (effect none or
// rolled back), or whose effect is unknown but which is idempotent. A refusal of this process is repeated only if it says
// when (`retry_after`), and soon (`patience`): an open breaker is there to fail fast. Never: what the caller cancelled, what
// reached the user already, what could not begin before the deadline.
//
// Between attempts a pause is drawn, by default with full jitter (Brooker 2015: the least work under contention). With bound = base * 2^n
// (or base, where it is constant), never above cap:
//
//     full          uniform in [0, bound)
//     equal         bound / 2 + uniform in [0, bound / 2)
//     decorrelated  min(cap, uniform in [base, 3 * the pause before))
//     none          bound
//
// Over all operations: a budget of tokens (Brooker 2022). A repetition costs one, a success gives back a tenth, so a long
// outage is met with at most a tenth more load than without retry. When the budget is empty the original error goes out.
#ifndef STRATA_POLICY_RETRY_HPP
#define STRATA_POLICY_RETRY_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/conditions.hpp>
#include <strata/policy/tagged.hpp>

#include <atomic>
#include <type_traits>

namespace strata::inline STRATA_ABI {

/// How chance enters the pauses between attempts, so that callers which failed together do not come back together.
enum class jitter : std::uint8_t { full, equal, decorrelated, none };
/// How pauses grow from attempt to attempt (`decorrelated` grows by itself).
enum class backoff : std::uint8_t { exponential, constant };

struct retry_options {
    unsigned max_attempts = 3;                      ///< the first one included; 1 to 65535
    duration base = std::chrono::milliseconds{10};  ///< bound of the first pause; not negative
    duration cap = std::chrono::seconds{1};         ///< bound of every pause; not below `base`
    duration patience = std::chrono::seconds{1};    ///< a refusal that says to come back later than this goes out at once
    unsigned budget = 100;                          ///< repetitions in reserve over all operations; 0: no budget is kept
    double refund = 0.1;                            ///< what a success gives back, in [0, 1]
    strata::jitter jitter = strata::jitter::full;
    strata::backoff backoff = strata::backoff::exponential;
    condition_judge judge = nullptr;  ///< what is worth another attempt, where it is not the table; never overrules safety

    [[nodiscard]] error validate() const {
        if (max_attempts < 1 || max_attempts > 65535)
            return detail::bad_option("retry_options.max_attempts", "must be between 1 and 65535");
        if (base < duration::zero()) return detail::bad_option("retry_options.base", "must not be negative");
        if (cap < base) return detail::bad_option("retry_options.cap", "must not be less than base");
        if (cap > std::chrono::hours{87'600}) return detail::bad_option("retry_options.cap", "must be at most 10 years");
        if (patience < duration::zero()) return detail::bad_option("retry_options.patience", "must not be negative");
        if (budget > 1'000'000) return detail::bad_option("retry_options.budget", "must be at most 1,000,000");
        if (!(refund >= 0.0 && refund <= 1.0)) return detail::bad_option("retry_options.refund", "must lie in 0 to 1");
        return {};
    }
    friend bool operator==(const retry_options&, const retry_options&) = default;
};

/// What a `retry` has done so far.
struct retry_snapshot {
    std::uint64_t repeats = 0;           ///< attempts that were ordered after a failure
    std::uint64_t attempts_used_up = 0;  ///< operations that failed in their last attempt
    std::uint64_t budget_used_up = 0;    ///< operations that were not repeated for lack of tokens
    double tokens = 0;                   ///< what the budget holds now
};

/// Thread-safe. A success costs one relaxed load (and one addition while the budget is not full).
template <class Tag = void>
class retry {
public:
    using options = detail::options_for<Tag, retry_options>;
    static constexpr auto place = strata::place::repeat;
    struct frame {
        unsigned made = 0;       ///< attempts that went further than a refusal of this process
        unsigned pauses = 0;     ///< with it the two are one store
        unset<duration> paused;  ///< the latest of these
    };

    retry() : retry(options{}) {}
    explicit retry(const options& o) noexcept
        : options_(detail::untagged(o)), full_(std::int64_t{options_.budget} * token),
          refund_(static_cast<std::int64_t>(options_.refund * token)) {}

    STRATA_INLINE verdict settle(auto& op, frame& f, outcome& result, moment m) noexcept {
        if (!result.ok()) [[unlikely]]
            return after_failure(op, op.idempotent(), f, result.error(), m);
        if (spent_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            give_back();
        return accept();
    }

    /// For one who repeats an operation beside this layer (a hedged read): takes a repetition from the budget. False: it is empty.
    [[nodiscard]] bool take_repetition() noexcept { return take_token(); }

    [[nodiscard]] retry_snapshot snapshot() const noexcept {
        return {repeats_.load(std::memory_order_relaxed), attempts_used_up_.load(std::memory_order_relaxed),
                budget_used_up_.load(std::memory_order_relaxed),
                static_cast<double>(full_ - spent_.load(std::memory_order_relaxed)) / static_cast<double>(token)};
    }

private:
    static constexpr std::int64_t token = 1000;

    STRATA_COLD verdict after_failure(operation_base& op, bool idempotent, frame& f, error& e, moment m) noexcept {
        if (!e.local()) ++f.made;
        e.set_attempts(f.made);
        if (!may_help(e) || !is_safe(e, idempotent)) return accept();
        if (op.attempt >= options_.max_attempts) {
            attempts_used_up_.fetch_add(1, std::memory_order_relaxed);
            return accept();
        }
        // Who was told when to come back waits at least so long; the jitter on top spreads those who were told the same.
        const duration drawn = draw(op.attempt - 1, f.pauses++ == 0 ? duration::zero() : duration{f.paused}, m);
        f.paused = drawn;
        const duration pause = add_saturated(time_point{e.retry_after()}, drawn).time_since_epoch();
        if (!op.may_repeat(pause, m)) return accept();  // the engine would refuse it too; here it costs no token
        if (!take_token()) {
            budget_used_up_.fetch_add(1, std::memory_order_relaxed);
            return accept();
        }
        repeats_.fetch_add(1, std::memory_order_relaxed);
        return again(pause);
    }

    [[nodiscard]] bool may_help(const error& e) const noexcept {
        if (e.retry_after() > options_.patience) return false;
        if (e.local()) return e.retry_after() > duration::zero() && e.code() != errc::cancelled && e.code() != errc::shutting_down;
        return traits_of(e, options_.judge).transient;
    }

    [[nodiscard]] static bool is_safe(const error& e, bool idempotent) noexcept {
        switch (e.effect()) {
            case effect::none:
            case effect::rolled_back:
                return true;
            case effect::unknown:
                return idempotent;
            case effect::applied:
                break;
        }
        return false;
    }

    /// The pause after attempt n, from 0.
    [[nodiscard]] duration draw(unsigned n, duration before, moment m) const noexcept {
        if (options_.jitter == strata::jitter::decorrelated) {
            const duration from = options_.base, last = before > from ? before : from;
            const duration drawn = from + part(last * 3 - from, m);
            return drawn < options_.cap ? drawn : options_.cap;
        }
        duration bound = options_.base;
        if (options_.backoff == strata::backoff::exponential && bound > duration::zero())
            for (; n > 0 && bound < options_.cap; --n) bound = bound <= options_.cap / 2 ? bound * 2 : options_.cap;
        if (options_.jitter == strata::jitter::none) return bound;
        if (options_.jitter == strata::jitter::equal) return bound / 2 + part(bound - bound / 2, m);
        return part(bound, m);
    }
    [[nodiscard]] static duration part(duration of, moment m) noexcept {
        return duration{static_cast<duration::rep>(static_cast<double>(of.count()) * m.random_unit())};
    }

    [[nodiscard]] bool take_token() noexcept {
        if (full_ == 0) return true;
        std::int64_t spent = spent_.load(std::memory_order_relaxed);
        while (spent + token <= full_)
            if (spent_.compare_exchange_weak(spent, spent + token, std::memory_order_relaxed)) return true;
        return false;
    }
    STRATA_COLD void give_back() noexcept {
        std::int64_t spent = spent_.load(std::memory_order_relaxed);
        while (spent > 0)
            if (spent_.compare_exchange_weak(spent, spent > refund_ ? spent - refund_ : 0, std::memory_order_relaxed)) return;
    }

    const retry_options options_;
    const std::int64_t full_;
    const std::int64_t refund_;
    std::atomic<std::int64_t> spent_{0};  ///< of the budget, in thousandths of a token
    std::atomic<std::uint64_t> repeats_{0};
    std::atomic<std::uint64_t> attempts_used_up_{0};
    std::atomic<std::uint64_t> budget_used_up_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif
