// How a transaction begins, and what is done when it meets a conflict.
//
//   db.transaction(pay, {.isolation = strata::isolation::serializable});
//   db.transaction(report, {.read_only = true, .isolation = strata::isolation::serializable, .deferrable = true});   // PostgreSQL
//   db.transaction(book, {.isolation = strata::isolation::repeatable_read, .escalation = {.from = 3, .lock = 4711}});
//
// What is left out is as the stack says (policy/transactions.hpp), or else as the database does it by default.
#ifndef STRATA_TRANSACTION_OPTIONS_HPP
#define STRATA_TRANSACTION_OPTIONS_HPP

#include <strata/call_options.hpp>
#include <strata/core/transaction_mode.hpp>

#include <optional>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// An option that a database does not have: it may be left out, and nothing else compiles.
struct no_locking_option {
    constexpr no_locking_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_locking_option>)
    constexpr no_locking_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database locks rows when statements need them, not at BEGIN: leave .locking out, and write .isolation "
                      "= strata::isolation::serializable, or lock rows by `select ... for update`");
    }
};
struct no_deferrable_option {
    constexpr no_deferrable_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_deferrable_option>)
    constexpr no_deferrable_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database has no deferrable transactions, and needs none, for a transaction that only reads never meets "
                      "a conflict there: leave .deferrable out, and write .read_only = true");
    }
};
struct no_resolve_option {
    constexpr no_resolve_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_resolve_option>)
    constexpr no_resolve_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: COMMIT always answers where the database is part of this process, so there is nothing to resolve: leave "
                      ".resolve_commit out");
    }
};
struct no_lock_option {
    constexpr no_lock_option() noexcept = default;
    template <class T>
        requires(!std::is_same_v<std::remove_cvref_t<T>, no_lock_option>)
    constexpr no_lock_option(T&&) noexcept {
        static_assert(sizeof(T) == 0,
                      "strata: this database has no advisory locks: leave .lock out; from attempt .from on the transaction takes the "
                      "write lock at its beginning, which nobody else can hold then");
    }
    [[nodiscard]] constexpr bool has_value() const noexcept { return false; }
};

template <class Driver>
struct locking_of {
    using kind = no_locking;
    using option = no_locking_option;
};
template <class Driver>
    requires requires { typename Driver::locking; }
struct locking_of<Driver> {
    using kind = typename Driver::locking;
    using option = std::optional<kind>;
};
template <class Driver>
inline constexpr bool defers = requires { requires Driver::deferrable; };
template <class Driver>
inline constexpr bool resolves_commits = requires { requires Driver::resolves_commits; };
template <class Driver>
inline constexpr bool has_advisory_locks = requires { requires Driver::advisory_locks; };

/// A session of a stack that says transactions<none>; asked where the session's type is to be forgotten.
template <class Session>
inline constexpr bool begins_no_transaction = requires { requires Session::runtime_type::interceptors::forbids_transactions; };

template <class Driver>
using mode_of = transaction_mode<typename locking_of<Driver>::kind>;

}  // namespace detail

/// Against livelock: closures that are repeated again and again, because they conflict with each other. For closures only.
template <class Driver>
struct transaction_escalation {
    /// The attempt from which on it holds, from 2; 0: never. On SQLite the transaction then takes the write lock at its beginning.
    unsigned from = 0;
    /// At least so isolated then.
    std::optional<strata::isolation> isolation = std::nullopt;
    /// PostgreSQL: the advisory lock of this number is taken before the attempt begins, and given back when it has ended, so that those who
    /// escalate come one after the other. A session's lock, for a transaction would have its snapshot before it has the lock; so not
    /// behind a pooler that gives each transaction another server.
    std::conditional_t<detail::has_advisory_locks<Driver>, std::optional<std::int64_t>, detail::no_lock_option> lock = {};
};

/// Options of one transaction on `Driver`'s database. What the database cannot do does not compile.
template <class Driver>
struct transaction_options {
    duration deadline{};  ///< over all attempts, from the start of the call; zero: none of its own
    std::span<const tag> tags = {};
    std::string_view name = {};                            ///< for metrics and logs
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    /// Only reads: runs on a reading connection, where a write fails with `errc::read_only`. A pool of one connection has
    /// none; there it is the caller's promise.
    bool read_only = false;
    /// At least so isolated.
    std::optional<strata::isolation> isolation = std::nullopt;
    /// PostgreSQL: a serializable transaction that only reads waits at its beginning for a snapshot with which it cannot meet a conflict.
    /// With others it is `errc::invalid_argument`.
    std::conditional_t<detail::defers<Driver>, std::optional<bool>, detail::no_deferrable_option> deferrable = {};
    /// SQLite: when the locks are taken. By default `deferred` with `read_only`, else `immediate`, so that what may write never finds that
    /// another has written since it read.
    typename detail::locking_of<Driver>::option locking = {};
    /// PostgreSQL: a COMMIT whose answer was lost is looked up on a new connection, by the transaction's id, which costs a round trip
    /// before each COMMIT of what has run a statement, and two more before a connection's first. Only the host is asked that the connection
    /// led to, and only if it is the same server still. It takes up to `postgres_options::finish_limit`; what is still not known then is
    /// `errc::outcome_unknown` with the id. Not asked for where the transaction only reads.
    std::conditional_t<detail::resolves_commits<Driver>, std::optional<bool>, detail::no_resolve_option> resolve_commit = {};
    transaction_escalation<Driver> escalation = {};
};

/// Marks a closure that must not run twice: `db.transaction(strata::once([&](auto& tx) { ... }))` is never repeated.
template <class Closure>
struct once {
    Closure closure;
    explicit once(Closure c) : closure(std::move(c)) {}
    template <class Transaction>
    decltype(auto) operator()(Transaction& tx) {
        return closure(tx);
    }
    template <class Transaction>
    decltype(auto) operator()(Transaction& tx) const {
        return closure(tx);
    }
};

namespace detail {

template <class Closure>
inline constexpr bool runs_once = false;
template <class Closure>
inline constexpr bool runs_once<once<Closure>> = true;
template <class Closure>
inline constexpr bool runs_once<const once<Closure>> = true;

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
