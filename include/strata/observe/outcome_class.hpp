// Outcomes sorted into few classes, for counting: some fifty conditions are too many for a table that people read.
#ifndef STRATA_OBSERVE_OUTCOME_CLASS_HPP
#define STRATA_OBSERVE_OUTCOME_CLASS_HPP

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

enum class outcome_class : std::uint8_t {
    ok,
    refused,  ///< by this process: open breaker, full pool, shutdown; nothing was sent
    timeout,
    cancelled,   ///< by the caller
    contention,  ///< busy, deadlock, serialization failure
    connection,  ///< none, or lost
    constraint,
    statement,  ///< wrong text, arguments or rights
    result,     ///< not the rows that were asked for
    machine,    ///< disk, memory, corruption
    in_doubt,   ///< nobody knows whether it took place
    user,       ///< the caller's closure threw or failed
    other
};
inline constexpr std::size_t outcome_classes = 13;

[[nodiscard]] constexpr std::string_view to_string(outcome_class c) noexcept {
    constexpr std::string_view names[] = {"ok",        "refused", "timeout", "cancelled", "contention", "connection", "constraint",
                                          "statement", "result",  "machine", "in_doubt",  "user",       "other"};
    static_assert(sizeof(names) / sizeof(names[0]) == outcome_classes);
    return names[static_cast<std::size_t>(c)];
}

[[nodiscard]] constexpr outcome_class class_of(errc code) noexcept {
    switch (code) {
        case errc::ok:
            return outcome_class::ok;
        case errc::circuit_open:
        case errc::bulkhead_full:
        case errc::rate_limited:
        case errc::pool_exhausted:
        case errc::pool_unreachable:
        case errc::shutting_down:
        case errc::refused:
        case errc::access_denied:
            return outcome_class::refused;
        case errc::timeout:
            return outcome_class::timeout;
        case errc::cancelled:
            return outcome_class::cancelled;
        case errc::cannot_connect:
        case errc::connection_lost:
            return outcome_class::connection;
        case errc::busy:
        case errc::busy_snapshot:
        case errc::locked:
        case errc::serialization_failure:
        case errc::deadlock:
        case errc::lock_not_available:
            return outcome_class::contention;
        case errc::unique_violation:
        case errc::foreign_key_violation:
        case errc::not_null_violation:
        case errc::check_violation:
        case errc::constraint_violation:
            return outcome_class::constraint;
        case errc::syntax_error:
        case errc::undefined_object:
        case errc::invalid_argument:
        case errc::invalid_statement:
        case errc::read_only:
        case errc::too_big:
        case errc::permission_denied:
            return outcome_class::statement;
        case errc::no_rows:
        case errc::too_many_rows:
        case errc::missing_column:
        case errc::type_mismatch:
        case errc::out_of_range:
        case errc::null_value:
            return outcome_class::result;
        case errc::disk_full:
        case errc::io_error:
        case errc::corrupt:
        case errc::out_of_memory:
        case errc::not_a_database:
            return outcome_class::machine;
        case errc::outcome_unknown:
        case errc::commit_pending:
        case errc::heuristic_outcome:
            return outcome_class::in_doubt;
        case errc::user_exception:
        case errc::user_error:
            return outcome_class::user;
        case errc::transaction_aborted:
        case errc::commit_rolled_back:
        case errc::not_run:
        case errc::misuse:
        case errc::unsupported:
        case errc::unknown:
            return outcome_class::other;
    }
    return outcome_class::other;
}

}  // namespace strata::inline STRATA_ABI

#endif
