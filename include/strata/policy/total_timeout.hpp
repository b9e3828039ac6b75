// A bound on the whole operation: all attempts, the pauses between them, the waits for a connection.
#ifndef STRATA_POLICY_TOTAL_TIMEOUT_HPP
#define STRATA_POLICY_TOTAL_TIMEOUT_HPP

#include <strata/core/interceptor.hpp>
#include <strata/policy/tagged.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Longer limits are cut, so that now + limit cannot overflow.
inline constexpr duration longest_limit = std::chrono::hours{24 * 365 * 100};

[[nodiscard]] constexpr duration cut_limit(duration d) noexcept {
    return d < longest_limit ? d : longest_limit;
}

}  // namespace detail

struct total_timeout_options {
    duration limit = std::chrono::seconds{30};  ///< from admission to the end; must be positive (to have none, leave the layer out)

    [[nodiscard]] error validate() const {
        return limit > duration::zero() ? error{} : detail::bad_option("total_timeout_options.limit", "must be positive");
    }
    friend bool operator==(const total_timeout_options&, const total_timeout_options&) = default;
};

/// Narrows the operation's deadline; whoever waits or works below keeps to it and reports `errc::timeout`.
/// Thread-safe; no shared state. A call's own, nearer deadline stays.
class total_timeout {
public:
    using options = total_timeout_options;
    static constexpr auto place = strata::place::bound;
    struct frame {
        unset<time_point> outer;
    };

    total_timeout() : total_timeout(options{}) {}
    explicit total_timeout(const options& o) noexcept : limit_(detail::cut_limit(o.limit)) {}

    STRATA_INLINE void admit(auto& op, frame& f, moment m) noexcept {
        const time_point ours = m.now + limit_;
        const time_point outer = op.deadline;
        f.outer = outer;
        if (ours < outer) op.deadline = ours;
    }
    STRATA_INLINE void settle(auto& op, frame& f, outcome&) noexcept { op.deadline = f.outer; }

private:
    duration limit_;
};

}  // namespace strata::inline STRATA_ABI

#endif
