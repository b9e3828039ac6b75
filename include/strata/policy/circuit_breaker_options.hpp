// The numbers and names of a circuit breaker, apart from its machinery.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP

#include <strata/policy/tagged.hpp>

#include <string_view>

namespace strata::inline STRATA_ABI {

enum class circuit_state : std::uint8_t {
    closed,    ///< attempts pass and are sampled
    open,      ///< attempts are refused until the open time is over
    half_open  ///< a few attempts pass as probes and decide
};

[[nodiscard]] constexpr std::string_view to_string(circuit_state s) noexcept {
    constexpr std::string_view names[] = {"closed", "open", "half_open"};
    return names[static_cast<std::size_t>(s)];
}

/// A breaker went from one state to another.
struct circuit_change {
    circuit_state from;
    circuit_state to;
    time_point at;
};

/// Two rules may be used, alone or together; at least one must be.
struct circuit_breaker_options {
    unsigned consecutive_failures = 5;                  ///< opens after so many failures in a row; 0: not by this rule
    double failure_rate = 0;                            ///< opens when this share of the window has failed, in (0, 1]; 0: not by this rule
    unsigned window = 100;                              ///< how many of the latest attempts the rate looks at; 1 to 1,000,000
    unsigned minimum_calls = 20;                        ///< the rate is silent below so many; 1 to `window`
    duration open_time = std::chrono::seconds{5};       ///< positive; doubles with each failed probe
    duration max_open_time = std::chrono::seconds{60};  ///< not below `open_time`
    double jitter = 0.1;                                ///< up to this share of an open time is left out at random, in [0, 1)
    unsigned half_open_permits = 1;                     ///< so many probes at a time, and so many must succeed to close; at least 1
    /// Told of each change, after it, from the thread that caused it; must not block. Null costs nothing.
    void (*on_change)(void* context, const circuit_change& change) noexcept = nullptr;
    void* context = nullptr;  ///< handed to `on_change`

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return detail::bad_option(std::string{"circuit_breaker_options."}.append(field), rule);
        };
        if (!(failure_rate >= 0.0 && failure_rate <= 1.0)) return bad("failure_rate", "must lie in 0 to 1");
        if (consecutive_failures == 0 && failure_rate == 0.0)
            return bad("consecutive_failures", "is 0, and so is failure_rate: nothing could open it");
        if (window < 1 || window > 1'000'000) return bad("window", "must lie in 1 to 1,000,000");
        if (failure_rate > 0.0 && (minimum_calls < 1 || minimum_calls > window)) return bad("minimum_calls", "must lie in 1 to window");
        if (open_time <= duration::zero()) return bad("open_time", "must be positive");
        if (max_open_time < open_time) return bad("max_open_time", "must not be less than open_time");
        if (!(jitter >= 0.0 && jitter < 1.0)) return bad("jitter", "must lie in 0 to 1, without 1");
        if (half_open_permits < 1) return bad("half_open_permits", "must be at least 1");
        return {};
    }
};

/// What a breaker has seen and done so far.
struct circuit_breaker_snapshot {
    circuit_state state = circuit_state::closed;
    std::uint64_t opened = 0;  ///< changes to open, also from half_open
    std::uint64_t half_opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t refused = 0;   ///< attempts refused
    std::uint64_t failures = 0;  ///< attempts counted as failed
    std::uint64_t stale = 0;     ///< results dropped because the breaker had changed since they were admitted
};

}  // namespace strata::inline STRATA_ABI

#endif
