// A statement with its arguments: what faces take and drivers run. Its type carries facts and argument types, never the text.
#ifndef STRATA_SQL_BOUND_HPP
#define STRATA_SQL_BOUND_HPP

#include <strata/core/error.hpp>
#include <strata/sql/arguments.hpp>
#include <strata/sql/descriptor.hpp>

#include <concepts>

namespace strata::inline STRATA_ABI {

/// A literal called with its arguments, kept in the order of its parameters: `T` for rvalues, `const T&` for lvalues.
/// A call that outlives its expression keeps `own()` instead.
template <statement_facts Facts, class... Args>
struct bound {
    static constexpr statement_facts facts = Facts;

    const descriptor* what;
    std::string_view name;  ///< from `.named()`, for metrics; may be empty
    std::tuple<Args...> arguments;

    [[nodiscard]] constexpr const descriptor& text() const noexcept { return *what; }
    [[nodiscard]] constexpr std::string_view label() const noexcept { return name; }
    [[nodiscard]] static constexpr statement_kind kind() noexcept { return Facts.kind; }
    [[nodiscard]] static constexpr bool idempotent() noexcept { return Facts.idempotent == known::yes; }

    /// Calls `f(index, value)` for each argument, in order, index from 0 as `std::size_t`, value as `const T&`.
    template <class F>
    constexpr void for_each_argument(F&& f) const {
        each(f, std::index_sequence_for<Args...>{});
    }

    /// The same with nothing kept by reference: lvalues copied, C strings as `std::string`. What a user passed as
    /// `string_view`, `span` or `reference_wrapper` stays what it is.
    [[nodiscard]] constexpr bound<Facts, detail::owned<Args>...> own() const& { return own_all(*this, std::index_sequence_for<Args...>{}); }
    [[nodiscard]] constexpr bound<Facts, detail::owned<Args>...> own() && {
        return own_all(std::move(*this), std::index_sequence_for<Args...>{});
    }

private:
    template <class F, std::size_t... I>
    constexpr void each(F& f, std::index_sequence<I...>) const {
        (static_cast<void>(f(I, detail::shown(std::get<I>(arguments)))), ...);
    }
    template <class Self, std::size_t... I>
    static constexpr auto own_all(Self&& self, std::index_sequence<I...>) {
        return bound<Facts, detail::owned<Args>...>{
            self.what, self.name,
            std::tuple<detail::owned<Args>...>(detail::own_argument<Args>(std::get<I>(std::forward<Self>(self).arguments))...)};
    }
};

namespace detail {
template <class T>
inline constexpr bool is_bound = false;
template <statement_facts Facts, class... Args>
inline constexpr bool is_bound<bound<Facts, Args...>> = true;

/// A statement with a wish of its caller's: see sql/marked.hpp.
template <class S>
inline constexpr bool is_marked = false;

struct argument_probe {
    template <class T>
    void operator()(std::size_t, const T&) const noexcept {}
};
}  // namespace detail

/// What can be run: `bound`, or `strata::statement`, whose facts are known at run time only.
template <class B>
concept bound_statement = requires(const B& b) {
    requires std::same_as<std::remove_cvref_t<decltype(B::facts)>, statement_facts>;
    { b.text() } -> std::same_as<const descriptor&>;  // of a run-time statement: throws where check() returns an error
    { b.label() } -> std::convertible_to<std::string_view>;
    { b.kind() } -> std::same_as<statement_kind>;
    { b.idempotent() } -> std::same_as<bool>;
    b.for_each_argument(detail::argument_probe{});
    b.own();
};

namespace detail {

/// What is wrong with a statement under a dialect, before anything is sent. Nothing for a bound literal, whose face has
/// asserted that it fits; a run-time statement is read here, and `text()` does not throw any more after it passed.
template <bound_statement B>
[[nodiscard]] error check_statement(const B& b, dialect d) {
    if constexpr (requires { b.check(d); })
        return b.check(d);
    else
        return error{};
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
