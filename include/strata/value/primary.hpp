// `codec<T>`: how a C++ type is read from a column and written as a parameter. The one customisation point.
#ifndef STRATA_VALUE_PRIMARY_HPP
#define STRATA_VALUE_PRIMARY_HPP

#include <strata/core/error.hpp>
#include <strata/value/concepts.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
inline constexpr bool no_codec_for = false;  // depends on T, so that a static_assert waits for one

/// What a codec answers to a class that it does not read.
[[nodiscard]] constexpr errc unreadable(column_type found) noexcept {
    return found == column_type::null ? errc::null_value : errc::type_mismatch;
}

}  // namespace detail

/// The customisation point: specialise it for a type of yours. All members are static, none throws for a bad value:
///
/// ```cpp
/// struct celsius { double degrees; };
///
/// template <>
/// struct strata::codec<celsius> {
///     static constexpr std::string_view name = "celsius";            // for error texts
///     // optional: static constexpr std::string_view hint = "...";   // what to do when a value cannot be read
///     // optional: static constexpr bool view = true;                // the object points into the row
///     // optional: static constexpr column_classes takes{column_type::real};   // a column of another class is refused before any row
///
///     template <strata::column_reader R>
///     static strata::errc read(const R& in, celsius& out) { return strata::codec<double>::read(in, out.degrees); }
///
///     template <strata::parameter_writer W>
///     static strata::errc write(W& out, const celsius& value) { return strata::codec<double>::write(out, value.degrees); }
/// };
/// ```
///
/// `read` answers `ok`, `null_value`, `type_mismatch` or `out_of_range`; `write` calls the writer exactly once and answers `ok`,
/// or does not call it and answers `out_of_range` or `invalid_argument`. A type that is only read, or only written, has one of both.
template <class T>
struct codec {
    /// No codec of its own: see `has_codec`.
    using unspecialised = void;
    static constexpr std::string_view name = "unknown";

    template <class R>
    static errc read(const R&, T&) {
        refuse<R>();
        return errc::unsupported;
    }
    template <class W>
    static errc write(W&, const T&) {
        refuse<W>();
        return errc::unsupported;
    }

private:
    template <class Other>
    static void refuse() {
        static_assert(detail::no_codec_for<Other>,
                      "strata: this type is neither a column nor a parameter. Specialise strata::codec<T> with `name`, `read` and "
                      "`write` (strata/value/primary.hpp shows how), include the header that has its codec (strata/value/json.hpp ...), "
                      "or, for a row, adapt the struct with BOOST_HANA_ADAPT_STRUCT or BOOST_DESCRIBE_STRUCT");
    }
};

/// True for a T that is a column, a parameter, or both.
template <class T>
concept has_codec = !requires { typename codec<T>::unspecialised; };

namespace detail {

template <class T, class R>
concept column_of = requires(const R& in, T& out) {
    { codec<T>::read(in, out) } -> std::same_as<errc>;
};

template <class T, class W>
concept parameter_of = requires(W& out, const T& value) {
    { codec<T>::write(out, value) } -> std::same_as<errc>;
};

template <class T>
[[nodiscard]] constexpr std::string_view hint_of() noexcept {
    if constexpr (requires { codec<T>::hint; }) return codec<T>::hint;
    else return {};
}

/// The classes of columns that T can be read from.
template <class T>
[[nodiscard]] constexpr column_classes classes_of() noexcept {
    if constexpr (requires { codec<T>::takes; }) return codec<T>::takes;
    else return {};
}

/// True when T can be read from a column whose type `c` tells.
template <class T, class Type>
[[nodiscard]] bool fits_type(const Type& c) {
    if constexpr (requires { codec<T>::fits(c); }) return codec<T>::fits(c);
    else return classes_of<T>().has(c.type());
}

/// True when a T that was read points into the row.
template <class T>
[[nodiscard]] constexpr bool is_view() noexcept {
    if constexpr (requires { codec<T>::view; }) return codec<T>::view;
    else return false;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
