// What an interceptor's hook answers: go on, refuse, fail, wait, answer; or, going out, accept or try again.
#ifndef STRATA_CORE_VERDICT_HPP
#define STRATA_CORE_VERDICT_HPP

#include <strata/core/error.hpp>
#include <strata/core/waiter.hpp>

#include <type_traits>

namespace strata::inline STRATA_ABI {

/// Each kind writes only what it uses, for most verdicts lie on the hot path of every layer.
struct [[nodiscard]] verdict {
    enum class what : std::uint8_t { proceed, refuse, fail, park, answer, accept, again };

    what kind;
    errc code;                ///< refuse, fail; park: what the end of `until` is refused with, where the operation's own deadline is later
    bool works;               ///< park: the wait stands for work, so running out of time fails the attempt instead of refusing it
    duration after;           ///< refuse: retry_after; again: the pause
    unset<time_point> until;  ///< park: how long at most
    waiter* node;             ///< park: who is waited for; null means just time

    explicit verdict(what k) noexcept : kind(k) {}
    verdict(what k, errc c, duration d) noexcept : kind(k), code(c), after(d) {}
    verdict(waiter* on, time_point end, bool busy, errc at_end) noexcept
        : kind(what::park), code(at_end), works(busy), after{}, until(end), node(on) {}
};

static_assert(sizeof(verdict) <= 32 && std::is_trivially_copyable_v<verdict>);

/// admit: let it pass.
[[nodiscard]] inline verdict proceed() noexcept {
    return verdict{verdict::what::proceed};
}
/// admit: not now. A local refusal: nothing was sent, no breaker counts it; repeated only if `retry_after` is positive.
[[nodiscard]] inline verdict refuse(errc code, duration retry_after = {}) noexcept {
    return {verdict::what::refuse, code, retry_after};
}
/// admit: this attempt has failed, as if the database had said so. For fault injection.
[[nodiscard]] inline verdict fail(errc code) noexcept {
    return {verdict::what::fail, code, {}};
}
/// admit: wait for the node's gift (or just for time) and ask me again. The end of time or a cancel is a refusal here: with `at_end`
/// where it was `until` that came, not the operation's deadline. `errc::ok`: then I am asked again too, and find the node without a gift.
[[nodiscard]] inline verdict park(waiter* node, time_point until, errc at_end = errc::timeout) noexcept {
    return {node, until, false, at_end};
}
/// admit: the attempt is busy until then (injected latency). A park for time whose end by deadline is the attempt's own failure.
[[nodiscard]] inline verdict work_until(time_point until) noexcept {
    return {nullptr, until, true, errc::timeout};
}
/// admit: the result already lies in the operation's slot (cache).
[[nodiscard]] inline verdict answer() noexcept {
    return {verdict::what::answer, errc::ok, {}};
}
/// settle: pass the outcome on.
[[nodiscard]] inline verdict accept() noexcept {
    return verdict{verdict::what::accept};
}
/// settle: sleep for `after`, then enter again below me.
[[nodiscard]] inline verdict again(duration after) noexcept {
    return {verdict::what::again, errc::ok, after};
}

}  // namespace strata::inline STRATA_ABI

#endif
