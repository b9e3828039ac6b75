// Arguments of statements: `"id"_arg = 7`, and how a call keeps what it is given.
//
// Rvalues are kept by value, lvalues by reference to const; C strings become views that know where they came from, so
// that a call which outlives its expression copies them, but not the views that a user made.
#ifndef STRATA_SQL_ARGUMENTS_HPP
#define STRATA_SQL_ARGUMENTS_HPP

#include <strata/core/error.hpp>
#include <strata/sql/fixed_string.hpp>
#include <strata/sql/typed_argument.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

[[noreturn]] STRATA_COLD inline void throw_null_text() {
    error e{errc::null_value, "an argument is a null char pointer", phase::admission};
    e.edit_texts().hint = "for NULL pass std::nullopt or a std::optional, for an empty text \"\"";
    throw_failure(std::move(e));
}

namespace plain {  // a namespace of its own: bound statements name it, and must not draw in our functions where a user calls theirs

/// A view of a C string or character array. Codecs never see it: it is handed on as a `string_view`.
struct c_text {
    std::string_view view;

    /// An array up to its first NUL, or whole; a pointer up to the NUL. A null pointer is a mistake as often as it is meant
    /// for NULL or for an empty text, so it is none of them: it throws `failure` (`errc::null_value`).
    template <class T>
    [[nodiscard]] static constexpr c_text of(const T& text) noexcept(std::is_array_v<T>) {
        if constexpr (std::is_array_v<T>) {
            std::size_t length = 0;
            while (length < std::extent_v<T> && text[length] != '\0') ++length;
            return {{text, length}};
        } else {
            if (text == nullptr) [[unlikely]]
                throw_null_text();
            return {std::string_view(text)};
        }
    }
};

}  // namespace plain

using plain::c_text;

template <class T>
inline constexpr bool is_c_text = false;
template <>
inline constexpr bool is_c_text<char*> = true;
template <>
inline constexpr bool is_c_text<const char*> = true;
template <std::size_t Size>
inline constexpr bool is_c_text<char[Size]> = true;

/// How a call keeps an argument given as `T&&`.
template <class T>
using kept =
    std::conditional_t<is_c_text<std::remove_cvref_t<T>>, c_text,
                       std::conditional_t<std::is_lvalue_reference_v<T>, const std::remove_reference_t<T>&, std::remove_cvref_t<T>>>;

template <class T>
[[nodiscard]] constexpr kept<T> keep(T&& value) {
    if constexpr (std::is_same_v<kept<T>, c_text>)
        return c_text::of(value);
    else
        return static_cast<T&&>(value);
}

/// What a call that outlives its expression keeps of a kept argument.
template <class Kept>
struct owned_of {
    using type = std::remove_cvref_t<Kept>;
    static_assert(!std::is_array_v<type>, "strata: an array cannot be kept by a call: pass a std::array, std::vector or std::span");
};
template <>
struct owned_of<c_text> {
    using type = std::string;
};
template <class Kept>
struct owned_of<typed<Kept>> {
    using type = typed<typename owned_of<Kept>::type>;
};
template <class Kept>
using owned = typename owned_of<Kept>::type;

/// From a kept argument, moved if it is an rvalue.
template <class Kept, class Given>
[[nodiscard]] constexpr owned<Kept> own_argument(Given&& given) {
    if constexpr (std::is_same_v<Kept, c_text>)
        return std::string(given.view);
    else
        return static_cast<Given&&>(given);
}
template <class Kept, class Given>
    requires is_typed<Kept>
[[nodiscard]] constexpr owned<Kept> own_argument(Given&& given) {
    using value = decltype(Kept::value);
    return {given.type, own_argument<value>(static_cast<Given&&>(given).value)};
}

/// What codecs see of a kept argument.
[[nodiscard]] constexpr const std::string_view& shown(const c_text& text) noexcept {
    return text.view;
}
template <class T>
[[nodiscard]] constexpr const T& shown(const T& value) noexcept {
    return value;
}

[[nodiscard]] constexpr bool is_name(std::string_view name) noexcept {
    for (std::size_t i = 0; i < name.size(); ++i) {
        const auto c = static_cast<unsigned char>(name[i]);
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
        if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
    }
    return !name.empty();
}

}  // namespace detail

/// As the value itself; a database that infers types takes no notice of the name.
template <class Kept>
struct codec<detail::typed<Kept>> {
    using value_codec = codec<std::remove_cvref_t<decltype(detail::shown(std::declval<const Kept&>()))>>;
    static constexpr std::string_view name = value_codec::name;

    template <parameter_writer W>
    static errc write(W& out, const detail::typed<Kept>& argument) {
        return value_codec::write(out, detail::shown(argument.value));
    }
};

/// A named argument: made by `"id"_arg = value`. `Kept` is `T` for an rvalue and `const T&` for an lvalue.
template <fixed_string Name, class Kept>
struct argument {
    Kept value;

    [[nodiscard]] static constexpr std::string_view name() noexcept { return Name.view(); }
};

/// The name of an argument with the name of its type, waiting for its value.
template <fixed_string Name>
struct typed_argument_name {
    std::string_view type;

    /// Keeps an rvalue by value and an lvalue by reference.
    template <class T>
    [[nodiscard]] constexpr argument<Name, detail::typed<detail::kept<T>>> operator=(T&& value) const {  // NOLINT: as below
        return {{type, detail::keep(static_cast<T&&>(value))}};
    }
};

/// The name of an argument, waiting for its value.
template <fixed_string Name>
struct argument_name {
    /// Says the parameter's type, where the server cannot infer it: `"settings"_arg.as("jsonb") = text`, `"ids"_arg.as("bigint[]") = ids`.
    /// PostgreSQL's names of types: qualified (`app.mood`) or quoted, with a modifier (`numeric(10,2)`, which only names the type) or
    /// `[]`. Another text does not compile; a type that the server does not have is its error when the statement is prepared. Cost: one
    /// more round trip when a connection prepares the statement, none after. SQLite takes no notice.
    [[nodiscard]] consteval typed_argument_name<Name> as(detail::checked_type_name type) const { return {type.text()}; }

    /// Keeps an rvalue by value and an lvalue by reference.
    template <class T>
    [[nodiscard]] constexpr argument<Name, detail::kept<T>> operator=(T&& value) const {  // NOLINT: makes an argument, assigns nothing
        return {detail::keep(static_cast<T&&>(value))};
    }
};

/// Arguments that belong together, such as the members of a struct: a statement takes those it names and ignores the others.
template <class... Arguments>
struct argument_set {
    std::tuple<Arguments...> arguments;
};
template <class... Arguments>
argument_set(std::tuple<Arguments...>) -> argument_set<Arguments...>;

namespace literals {

/// `"id"_arg = 7` gives the parameter `:id` its value.
template <fixed_string Name>
[[nodiscard]] consteval argument_name<Name> operator""_arg() noexcept {
    static_assert(detail::is_name(Name.view()),
                  "strata: an argument's name is that of the parameter without its colon: \"id\"_arg for :id");
    return {};
}

}  // namespace literals
}  // namespace strata::inline STRATA_ABI

#endif
