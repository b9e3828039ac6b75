// The numbers and names of a circuit breaker, apart from its machinery.
#ifndef STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP
#define STRATA_POLICY_CIRCUIT_BREAKER_OPTIONS_HPP

#include <strata/policy/conditions.hpp>
#include <strata/policy/tagged.hpp>

#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

enum class circuit_state : std::uint8_t {
    closed,    ///< attempts pass and are sampled
    open,      ///< attempts are refused until the open time is over
    half_open  ///< a few attempts pass as probes and decide
};

/// Who decides: the breaker, or the user (`circuit_breaker::set_mode`).
enum class circuit_mode : std::uint8_t {
    automatic,      ///< the breaker
    forced_open,    ///< all attempts are refused, until another mode is set; the refusal names no time
    forced_closed,  ///< all pass; failures are counted, but open nothing
    disabled,       ///< all pass, and nothing is counted
    observing       ///< the breaker changes its state as ever and counts what it would refuse, but all pass
};

/// Why a breaker is in its state.
enum class circuit_cause : std::uint8_t {
    start,                 ///< nothing has happened yet
    consecutive_failures,  ///< opened by that rule
    failure_rate,
    slow_rate,
    probe_failed,
    probes_unanswered,  ///< half-open for `half_open_time` without a decision
    open_time_over,
    probes_succeeded,
    user  ///< `set_mode`
};

[[nodiscard]] constexpr std::string_view to_string(circuit_state s) noexcept {
    constexpr std::string_view names[] = {"closed", "open", "half_open"};
    return names[static_cast<std::size_t>(s)];
}
[[nodiscard]] constexpr std::string_view to_string(circuit_mode m) noexcept {
    constexpr std::string_view names[] = {"automatic", "forced_open", "forced_closed", "disabled", "observing"};
    return names[static_cast<std::size_t>(m)];
}
[[nodiscard]] constexpr std::string_view to_string(circuit_cause c) noexcept {
    constexpr std::string_view names[] = {"start",          "consecutive_failures", "failure_rate",
                                          "slow_rate",      "probe_failed",         "probes_unanswered",
                                          "open_time_over", "probes_succeeded",     "user"};
    return names[static_cast<std::size_t>(c)];
}

/// A breaker went from one state to another.
struct circuit_change {
    circuit_state from;
    circuit_state to;
    time_point at;
    circuit_cause cause = circuit_cause::start;
    errc failure = errc::ok;  ///< the failure that opened it; ok where it was none
};

/// Three rules may be used, alone or together; at least one must be.
struct circuit_breaker_options {
    unsigned consecutive_failures = 5;  ///< opens after so many failures in a row; 0: not by this rule
    double failure_rate = 0;            ///< opens when this share of the window has failed, in (0, 1]; 0: not by this rule
    double slow_rate = 0;               ///< opens when this share of the window was slow, in (0, 1]; 0: not by this rule
    duration slow_call{};         ///< an attempt is slow when it takes longer, waits in layers below included, but not one for a connection
    unsigned window = 100;        ///< how many of the latest attempts the rates look at; 1 to 1,000,000
    duration window_time{};       ///< positive: they look at the attempts of so long instead; at least 1 microsecond
    unsigned minimum_calls = 20;  ///< the rates are silent below so many; 1 to `window`
    duration open_time = std::chrono::seconds{5};       ///< positive; doubles with each failed probe
    duration max_open_time = std::chrono::seconds{60};  ///< not below `open_time`
    double jitter = 0.1;                                ///< up to this share of an open time is left out at random, in [0, 1)
    unsigned half_open_permits = 1;                     ///< so many probes at a time, and so many must succeed to close; at least 1
    /// Half-open no longer than this: if the probes have not decided by then, the next attempt finds it open once more. Positive.
    duration half_open_time = std::chrono::seconds{30};
    condition_judge judge = nullptr;  ///< what counts as failure, where it is not the table
    /// Told of each change, after it, from the thread that caused it; must not block. Null costs nothing.
    void (*on_change)(void* context, const circuit_change& change) noexcept = nullptr;
    void* context = nullptr;  ///< handed to `on_change`

    [[nodiscard]] bool has_window() const noexcept { return failure_rate > 0.0 || slow_rate > 0.0; }

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return detail::bad_option(std::string{"circuit_breaker_options."}.append(field), rule);
        };
        if (!(failure_rate >= 0.0 && failure_rate <= 1.0)) return bad("failure_rate", "must lie in 0 to 1");
        if (!(slow_rate >= 0.0 && slow_rate <= 1.0)) return bad("slow_rate", "must lie in 0 to 1");
        if (consecutive_failures == 0 && !has_window())
            return bad("consecutive_failures", "is 0, and so are failure_rate and slow_rate: nothing could open it");
        if (slow_call < duration::zero() || (slow_rate > 0.0 && slow_call == duration::zero()))
            return bad("slow_call", "must be positive where slow_rate is given");
        if (window < 1 || window > 1'000'000) return bad("window", "must lie in 1 to 1,000,000");
        if (window_time != duration::zero() && window_time < std::chrono::microseconds{1})
            return bad("window_time", "must be at least 1 microsecond, or zero");
        if (has_window() && (minimum_calls < 1 || (minimum_calls > window && window_time == duration::zero())))
            return bad("minimum_calls", "must lie in 1 to window");
        if (open_time <= duration::zero()) return bad("open_time", "must be positive");
        if (max_open_time > std::chrono::hours{87'600}) return bad("max_open_time", "must be at most 10 years");
        if (max_open_time < open_time) return bad("max_open_time", "must not be less than open_time");
        if (!(jitter >= 0.0 && jitter < 1.0)) return bad("jitter", "must lie in 0 to 1, without 1");
        if (half_open_permits < 1) return bad("half_open_permits", "must be at least 1");
        if (half_open_time <= duration::zero()) return bad("half_open_time", "must be positive");
        return {};
    }
    friend bool operator==(const circuit_breaker_options&, const circuit_breaker_options&) = default;
};

/// What a breaker has seen and done so far. The first four are of one moment.
struct circuit_breaker_snapshot {
    circuit_state state = circuit_state::closed;
    circuit_mode mode = circuit_mode::automatic;
    circuit_change last{circuit_state::closed, circuit_state::closed, {}};  ///< the latest change, with its cause
    std::string reason{};                                                   ///< what the user said in `set_mode`
    std::uint64_t opened = 0;                                               ///< changes to open, also from half_open
    std::uint64_t half_opened = 0;
    std::uint64_t closed = 0;
    std::uint64_t refused = 0;   ///< attempts refused; in mode `observing` those that would have been
    std::uint64_t failures = 0;  ///< attempts counted as failed
    std::uint64_t stale = 0;     ///< results dropped because the breaker had changed since they were admitted
};

}  // namespace strata::inline STRATA_ABI

#endif
