// A bound on one attempt: from its admission, through the wait for a connection, to its end. A retry outside may try again.
#ifndef STRATA_POLICY_ATTEMPT_TIMEOUT_HPP
#define STRATA_POLICY_ATTEMPT_TIMEOUT_HPP

#include <strata/policy/total_timeout.hpp>

namespace strata::inline STRATA_ABI {

struct attempt_timeout_options {
    duration limit = std::chrono::seconds{10};  ///< for each attempt; must be positive (to have none, leave the layer out)

    [[nodiscard]] error validate() const {
        return limit > duration::zero() ? error{} : detail::bad_option("attempt_timeout_options.limit", "must be positive");
    }
    friend bool operator==(const attempt_timeout_options&, const attempt_timeout_options&) = default;
};

/// Narrows the deadline for one attempt, and marks the attempt as `hurried` when the operation's own deadline is nearer:
/// then a timeout says nothing about the database, and a circuit breaker outside does not count it.
/// Thread-safe; no shared state.
class attempt_timeout {
public:
    using options = attempt_timeout_options;
    static constexpr auto place = strata::place::attempt;
    struct frame {
        unset<time_point> outer;
    };

    attempt_timeout() : attempt_timeout(options{}) {}
    explicit attempt_timeout(const options& o) noexcept : limit_(detail::cut_limit(o.limit)) {}

    STRATA_INLINE void admit(auto& op, frame& f, moment m) noexcept {
        const time_point ours = m.now + limit_;
        const time_point outer = op.deadline;
        f.outer = outer;
        op.hurried = outer < ours;
        if (ours < outer) op.deadline = ours;
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome&) noexcept { op.deadline = f.outer; }

private:
    duration limit_;
};

}  // namespace strata::inline STRATA_ABI

#endif
