// How a transaction begins.
#ifndef STRATA_TRANSACTION_OPTIONS_HPP
#define STRATA_TRANSACTION_OPTIONS_HPP

#include <strata/call_options.hpp>

#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

/// Options of one transaction on `Driver`'s database.
template <class Driver>
struct transaction_options {
    duration deadline{};  ///< over all attempts, from the start of the call; zero: none of its own
    std::span<const tag> tags = {};
    std::string_view name = {};                            ///< for metrics and logs
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    /// Only reads: runs on a reading connection, where a write fails with `errc::read_only`. A pool of one connection has
    /// none; there it is the caller's promise.
    bool read_only = false;
    /// How the database locks; by default what is right for reading or writing (SQLite: deferred, immediate).
    std::optional<typename Driver::locking> locking = std::nullopt;

    [[nodiscard]] typename Driver::locking locking_or_default() const noexcept {
        if (locking) return *locking;
        return read_only ? Driver::locking::deferred : Driver::locking::immediate;
    }
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
