// PostgreSQL's SQLSTATEs and messages as `strata::error`: what happened, to what, and what is known about the effect.
#ifndef STRATA_DRIVER_POSTGRES_ERROR_HPP
#define STRATA_DRIVER_POSTGRES_ERROR_HPP

#include <strata/core/error.hpp>

#include <libpq-fe.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The five characters of an SQLSTATE as a number, so that a switch can tell them apart.
[[nodiscard]] constexpr std::uint64_t sqlstate(std::string_view s) noexcept {
    std::uint64_t n = 0;
    for (const char c : s) n = n << 8 | static_cast<unsigned char>(c);
    return n;
}

}  // namespace detail

/// The portable condition of an SQLSTATE (PostgreSQL 15, appendix A): the exact code where it matters, else its class.
[[nodiscard]] constexpr errc postgres_condition(std::string_view state) noexcept {
    using detail::sqlstate;
    if (state.size() != 5) return errc::unknown;
    switch (sqlstate(state)) {
        case sqlstate("40001"):
            return errc::serialization_failure;
        case sqlstate("40P01"):
            return errc::deadlock;
        case sqlstate("40002"):
            return errc::constraint_violation;
        case sqlstate("40003"):
            return errc::outcome_unknown;
        case sqlstate("55P03"):
            return errc::lock_not_available;
        case sqlstate("23505"):
            return errc::unique_violation;
        case sqlstate("23503"):
            return errc::foreign_key_violation;
        case sqlstate("23502"):
            return errc::not_null_violation;
        case sqlstate("23514"):
            return errc::check_violation;
        case sqlstate("08001"):
        case sqlstate("08004"):
        case sqlstate("57P03"):
        case sqlstate("53300"):
            return errc::cannot_connect;
        case sqlstate("57P01"):
        case sqlstate("57P02"):
        case sqlstate("57P04"):
        case sqlstate("57P05"):
            return errc::connection_lost;
        case sqlstate("25P03"):
        case sqlstate("25P04"):
            return errc::connection_lost;
        case sqlstate("57014"):
            return errc::cancelled;
        case sqlstate("25006"):
            return errc::read_only;
        case sqlstate("25P02"):
            return errc::transaction_aborted;
        case sqlstate("42501"):
            return errc::permission_denied;
        case sqlstate("42601"):
            return errc::syntax_error;
        case sqlstate("42P01"):
        case sqlstate("42703"):
        case sqlstate("42883"):
        case sqlstate("42704"):
        case sqlstate("42P02"):
        case sqlstate("3D000"):
        case sqlstate("3F000"):
        case sqlstate("26000"):
        case sqlstate("34000"):
            return errc::undefined_object;
        case sqlstate("42804"):
        case sqlstate("42P18"):
        case sqlstate("42846"):
        case sqlstate("22P02"):
        case sqlstate("22P03"):
            return errc::invalid_argument;
        case sqlstate("22003"):
        case sqlstate("22008"):
            return errc::out_of_range;
        case sqlstate("22001"):
            return errc::too_big;
        case sqlstate("22004"):
            return errc::null_value;
        case sqlstate("53100"):
            return errc::disk_full;
        case sqlstate("53200"):
            return errc::out_of_memory;
        case sqlstate("58030"):
            return errc::io_error;
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return errc::corrupt;
        case sqlstate("0A000"):
            return errc::unsupported;
        case sqlstate("P0001"):
            return errc::user_error;
        default:
            break;
    }
    switch (sqlstate(state.substr(0, 2))) {
        case sqlstate("08"):
            return errc::connection_lost;
        case sqlstate("22"):
            return errc::invalid_argument;
        case sqlstate("23"):
            return errc::constraint_violation;
        case sqlstate("28"):
            return errc::permission_denied;
        case sqlstate("40"):
            return errc::serialization_failure;
        case sqlstate("42"):
            return errc::invalid_statement;
        case sqlstate("54"):
            return errc::too_big;
        case sqlstate("58"):
            return errc::io_error;
        default:
            return errc::unknown;
    }
}

/// Whether a connection that reported this SQLSTATE can serve the next caller: not after the server's farewell, nor on a
/// server that has become a standby. `in_hot_standby`: the setting of this name as the server has reported it (14 and newer), null where
/// it has not: a write that was refused in a read-only transaction of the user's own says nothing about the connection.
[[nodiscard]] constexpr health postgres_health(std::string_view state, const char* in_hot_standby) noexcept {
    using detail::sqlstate;
    if (state.substr(0, 2) == "08") return health::lost;
    switch (sqlstate(state)) {
        case sqlstate("57P01"):
        case sqlstate("57P02"):
            return health::all_lost;
        case sqlstate("25006"):
            return in_hot_standby == nullptr ? health::lost : std::string_view{in_hot_standby} == "on" ? health::all_lost : health::good;
        case sqlstate("57P04"):
        case sqlstate("57P05"):
        case sqlstate("25P03"):
        case sqlstate("25P04"):
        case sqlstate("40003"):
        case sqlstate("58030"):
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return health::lost;
        default:
            return health::good;
    }
}

namespace detail {

[[nodiscard]] inline std::string_view field_of(const PGresult* r, int field) noexcept {
    const char* const text = ::PQresultErrorField(r, field);
    return text != nullptr ? std::string_view{text} : std::string_view{};
}

/// Characters to bytes: the server counts the characters of a UTF-8 text from 1, we count bytes from 0.
[[nodiscard]] inline std::int64_t byte_of_character(std::string_view text, long character) noexcept {
    if (character <= 0) return -1;
    std::size_t at = 0;
    for (long n = 1; at < text.size(); ++at) {
        if ((static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) continue;
        if (n++ == character) return static_cast<std::int64_t>(at);
    }
    return static_cast<std::int64_t>(text.size());
}

/// The error of a result of `c`. `sent` is the text as the server saw it.
[[nodiscard]] STRATA_COLD inline error make_postgres_error(const PGconn* c, const PGresult* r, phase at, std::string_view written,
                                                           std::string_view sent) {
    const std::string_view state = field_of(r, PG_DIAG_SQLSTATE);
    error e{postgres_condition(state), std::string{field_of(r, PG_DIAG_MESSAGE_PRIMARY)}, at};
    e.set(postgres_health(state, c != nullptr ? ::PQparameterStatus(c, "in_hot_standby") : nullptr));
    error_texts& t = e.edit_texts();
    if (t.message.empty()) t.message = ::PQresultErrorMessage(r);
    t.native_code = state;
    t.detail = field_of(r, PG_DIAG_MESSAGE_DETAIL);
    if (t.detail.empty() && e.code() == errc::lock_not_available) t.detail = field_of(r, PG_DIAG_CONTEXT);  // which names what is locked
    t.hint = field_of(r, PG_DIAG_MESSAGE_HINT);
    t.constraint = field_of(r, PG_DIAG_CONSTRAINT_NAME);
    t.table = field_of(r, PG_DIAG_TABLE_NAME);
    t.column = field_of(r, PG_DIAG_COLUMN_NAME);
    t.statement = written.empty() ? sent : written;
    const std::string_view position = field_of(r, PG_DIAG_STATEMENT_POSITION);
    if (!position.empty()) t.position = byte_of_character(sent, std::strtol(std::string{position}.c_str(), nullptr, 10));
    return e;
}

/// libpq's sentences, which stand on lines of their own or go on behind a tab, in one line.
[[nodiscard]] STRATA_COLD inline std::string one_line(std::string_view text) {
    std::string line;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        const std::string_view part = text.substr(at, end == text.npos ? end : end - at);
        const std::size_t begin = part.find_first_not_of(" \t");
        if (begin != part.npos) {
            const bool goes_on = begin != 0 && part[begin] >= 'a' && part[begin] <= 'z';
            line.append(line.empty() ? "" : goes_on ? " " : "; ").append(part.substr(begin));
        }
        at += part.size() + 1;
    }
    return line;
}

/// Of a server's error: it does not know the prepared statement any more, or the columns of its result have changed.
[[nodiscard]] STRATA_COLD inline bool tells_stale_plan(const error& e) {
    const std::string& code = e.texts().native_code;
    return code == "26000" || (code == "0A000" && e.message().find("cached plan") != std::string::npos);
}

/// The connection broke, or libpq itself failed. libpq's sentences show no secret.
[[nodiscard]] STRATA_COLD inline error make_connection_error(PGconn* c, errc code, phase at, effect did) {
    std::string text = c != nullptr ? one_line(::PQerrorMessage(c)) : "no memory for a connection";
    if (text.empty()) text = "the connection to the server is gone";
    return error{code, std::move(text), at, did}.set(health::lost);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
