// What a transaction's closure returns, and whether that is an error: a result that holds one rolls back.
#ifndef STRATA_TRANSACTION_CLOSURE_HPP
#define STRATA_TRANSACTION_CLOSURE_HPP

#include <strata/core/result.hpp>

#include <functional>
#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Closure, class Handle>
using closure_value = std::remove_cvref_t<std::invoke_result_t<Closure&, Handle&>>;

template <class T, class Handle>
inline constexpr bool lets_out = std::is_same_v<T, Handle> || std::is_same_v<T, Handle*> || std::is_same_v<T, const Handle*> ||
                                 std::is_same_v<T, std::reference_wrapper<Handle>>;

/// A stream of rows on a connection that somebody else holds.
template <class T>
concept stream_inside = requires { requires T::state_type::inside_transaction; };

/// The handle stays where it is, and so does what reads through it.
template <class Value, class Handle>
constexpr void assert_kept() {
    static_assert(!lets_out<Value, Handle>,
                  "strata: a transaction's handle must not leave its closure, with which the transaction ends: return values, or use "
                  "db.begin() for a transaction that you end by hand");
    static_assert(
        !stream_inside<Value>,
        "strata: a stream of rows must not leave the closure of its transaction, which ends before the first row is read: read the "
        "rows within the closure, or return tx.all<T>(...)");
}

/// `void` as something that can be stored.
struct nothing {};
template <class T>
using storable = std::conditional_t<std::is_void_v<T>, nothing, T>;

template <class T>
concept error_valued = requires(const T& v) {
    { v.has_error() } -> std::convertible_to<bool>;
};

/// `std::expected` and its relatives.
template <class T>
concept expected_valued = !error_valued<T> && requires(const T& v) {
    { v.has_value() } -> std::convertible_to<bool>;
    v.error();
};

template <class T>
[[nodiscard]] bool holds_error(const T& v) noexcept {
    if constexpr (error_valued<T>)
        return v.has_error();
    else if constexpr (expected_valued<T>)
        return !v.has_value();
    else
        return false;
}

/// A result whose error is ours.
template <class T>
concept our_result = requires { typename T::error_type; } && std::is_same_v<typename T::error_type, error>;

/// What a form that does not throw returns for a closure's value: a result, but no result in a result.
template <class T>
struct as_result {
    using type = result<T>;
};
template <our_result T>
struct as_result<T> {
    using type = T;
};

/// The closure's error-valued result with what became of it: ours learns the effect, another's comes out as it is.
template <class T>
[[nodiscard]] T failed_value(T&& returned, error&& e) {
    if constexpr (our_result<T>)
        return T{std::move(e)};
    else
        return std::move(returned);
}

/// The error that the outcome carries for an error-valued result: ours as it is, another type's as `user_error`.
template <class T>
[[nodiscard]] error error_in(const T& v) {
    if constexpr (requires {
                      { v.error() } -> std::convertible_to<const error&>;
                  })
        return v.error();
    else
        return error{errc::user_error, "the closure returned an error", phase::execute};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
