// What is known about a statement: its kind, whether it may be repeated, which dialect it fits.
#ifndef STRATA_SQL_FACTS_HPP
#define STRATA_SQL_FACTS_HPP

#include <strata/core/known.hpp>
#include <strata/sql/dialect.hpp>

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What a text does. `read` only routes (to a reader, a replica); what is not understood is `other`, never `read`.
enum class statement_kind : std::uint8_t {
    read,                 ///< select, values, table, explain without analyze: changes nothing that its text shows
    write,                ///< insert, update, delete, merge, replace; a query that locks, writes or calls a function known to
    ddl,                  ///< create, alter, drop, ...
    transaction_control,  ///< begin, commit, rollback, savepoint, release, prepare transaction
    session,              ///< pragma, set, show, reset, attach, listen, ...: acts on this connection
    other                 ///< everything else
};

/// Static storage.
[[nodiscard]] constexpr std::string_view to_string(statement_kind k) noexcept {
    constexpr std::string_view names[] = {"read", "write", "ddl", "transaction_control", "session", "other"};
    return names[static_cast<unsigned>(k)];
}

/// The facts of a bound statement's type; structural, so that statements of equal facts share one type.
struct statement_facts {
    statement_kind kind = statement_kind::other;
    bool kind_known = true;        ///< false: ask the object (`kind()`), `kind` means nothing
    known idempotent = known::no;  ///< may be repeated after it may have been sent
    bool fits_postgres = true;     ///< text and arguments are right under PostgreSQL's rules
    bool fits_sqlite = true;       ///< the same under SQLite's
    std::uint16_t statements = 1;  ///< how many statements the text holds; 0 for none, or when only known at run time

    friend constexpr bool operator==(const statement_facts&, const statement_facts&) noexcept = default;
};

namespace detail {

/// The kind of a text whose statements are of kinds `a` and `b`, or which two dialects read as `a` and as `b`: the one that
/// demands most of where it runs, so that no COMMIT hides among other statements.
[[nodiscard]] constexpr statement_kind join_kinds(statement_kind a, statement_kind b) noexcept {
    using enum statement_kind;
    if (a == b) return a;
    for (const statement_kind demanding : {transaction_control, session, other, ddl})
        if (a == demanding || b == demanding) return demanding;
    return write;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
