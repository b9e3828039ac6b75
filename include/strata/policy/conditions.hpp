// What a condition means to the policies that decide by it: the one table of retry and circuit breaker.
//
// Two questions, answered for each condition. Is it transient: may the same call succeed a little later? And
// what does it say of the database's health? Whether a repetition is *safe* is another matter: that is told by
// the error's effect and the operation's idempotence (see `retry`).
#ifndef STRATA_POLICY_CONDITIONS_HPP
#define STRATA_POLICY_CONDITIONS_HPP

#include <strata/core/operation.hpp>

namespace strata::inline STRATA_ABI {

/// What an outcome tells about the database: nothing, that it answered, or that it is ill.
enum class health_sign : std::uint8_t { none, good, ill };

/// One line of the table.
struct condition_traits {
    bool transient;
    health_sign sign;
};

/// The table. Contention (busy, deadlock ...) is transient and a sign of life: the database answered, another caller was in
/// the way. A violated constraint or a syntax error is an answer too. What the caller or this process did says nothing.
[[nodiscard]] constexpr condition_traits traits_of(errc code) noexcept {
    constexpr condition_traits answer{false, health_sign::good}, contention{true, health_sign::good}, silence{false, health_sign::none},
        illness{false, health_sign::ill}, hiccup{true, health_sign::ill};
    switch (code) {
        // contention
        case errc::busy:
        case errc::busy_snapshot:
        case errc::locked:
        case errc::serialization_failure:
        case errc::deadlock:
        case errc::lock_not_available:
            return contention;
        // ill, and perhaps well again soon
        case errc::cannot_connect:
        case errc::connection_lost:
        case errc::timeout:
            return hiccup;
        // ill, and no pause of ours will help
        case errc::disk_full:
        case errc::io_error:
        case errc::corrupt:
        case errc::out_of_memory:
        case errc::not_a_database:
            return illness;
        // nobody knows whether it took place: transient for those who may repeat it all the same
        case errc::outcome_unknown:
            return hiccup;
        // answers
        case errc::ok:
        case errc::unique_violation:
        case errc::foreign_key_violation:
        case errc::not_null_violation:
        case errc::check_violation:
        case errc::constraint_violation:
        case errc::syntax_error:
        case errc::undefined_object:
        case errc::read_only:
        case errc::too_big:
        case errc::permission_denied:
        case errc::no_rows:
        case errc::too_many_rows:
        case errc::missing_column:
        case errc::type_mismatch:
        case errc::out_of_range:
        case errc::null_value:
        case errc::transaction_aborted:
        case errc::commit_rolled_back:
            return answer;
        // refused here, the caller's own doing, or never sent
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::shutting_down:
        case errc::refused:
        case errc::access_denied:
        case errc::cancelled:
        case errc::not_run:
        case errc::commit_pending:
        case errc::heuristic_outcome:
        case errc::invalid_argument:
        case errc::invalid_statement:
        case errc::user_exception:
        case errc::user_error:
        case errc::misuse:
        case errc::unsupported:
        case errc::unknown:
            return silence;
    }
    return silence;
}

/// Refused for a while by a layer of this process: nothing is wrong with the call. Not what has come to its end (`shutting_down`), nor what
/// the caller may not do (`access_denied`).
[[nodiscard]] constexpr bool is_refusal(errc code) noexcept {
    switch (code) {
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::refused:
            return true;
        default:
            return false;
    }
}

/// A user's line for an error, given that of the table: to count a disk that is full as a passing fault, or to leave an SQLSTATE of an
/// extension out (`e.texts().native_code`). Must not block. An option of `retry`, `circuit_breaker` and `throttle`; null: the table.
/// A call that succeeded with a value that means failure is judged where the value is known: `strata::judged` (guard.hpp).
using condition_judge = condition_traits (*)(const error& e, condition_traits by_table) noexcept;

[[nodiscard]] inline condition_traits traits_of(const error& e, condition_judge judge) noexcept {
    const condition_traits by_table = traits_of(e.code());
    return judge == nullptr ? by_table : judge(e, by_table);
}

/// What an attempt that failed with `e` tells about the database. A refusal of this process tells nothing; nor does a timeout
/// before a connection was there, or one that an outer deadline made shorter than attempt_timeout allows.
[[nodiscard]] inline health_sign sign_of(const error& e, const operation_base& op, condition_judge judge = nullptr) noexcept {
    if (e.local()) return health_sign::none;
    if (e.code() == errc::timeout && (op.hurried || e.phase() == phase::admission || e.phase() == phase::acquire)) return health_sign::none;
    return traits_of(e, judge).sign;
}

}  // namespace strata::inline STRATA_ABI

#endif
