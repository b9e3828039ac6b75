// Codecs of the types that need no header of their own: numbers, bool, text and blobs (text.hpp), optional, enums.
//
// Exact by default: a value that does not fit its target is an error, never a wrap, a truncation or a guess, and only
// `std::optional` takes NULL. `codec` itself is in primary.hpp.
#ifndef STRATA_VALUE_CODEC_HPP
#define STRATA_VALUE_CODEC_HPP

#include <strata/value/primary.hpp>
#include <strata/value/text.hpp>

#include <limits>
#include <optional>
#include <type_traits>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Integers that are numbers: not bool, and not the types that are nothing but characters.
template <class T>
concept number = std::integral<T> && !std::same_as<T, bool> && !std::same_as<T, wchar_t> && !std::same_as<T, char8_t> &&
                 !std::same_as<T, char16_t> && !std::same_as<T, char32_t>;

template <number T>
[[nodiscard]] constexpr std::string_view integer_name() noexcept {
    constexpr std::string_view names[2][4] = {{"uint8", "uint16", "uint32", "uint64"}, {"int8", "int16", "int32", "int64"}};
    constexpr int log = sizeof(T) == 1 ? 0 : sizeof(T) == 2 ? 1 : sizeof(T) == 4 ? 2 : 3;
    return names[std::is_signed_v<T> ? 1 : 0][log];
}

/// `value` as a T, exactly.
template <number T>
[[nodiscard]] constexpr errc narrow(std::int64_t value, T& out) noexcept {
    const T narrowed = static_cast<T>(value);
    if constexpr (!std::is_signed_v<T>) {
        if (value < 0) [[unlikely]] return errc::out_of_range;
    }
    if constexpr (sizeof(T) < sizeof(std::int64_t)) {
        if (static_cast<std::int64_t>(narrowed) != value) [[unlikely]] return errc::out_of_range;
    }
    out = narrowed;
    return errc::ok;
}

/// `std::reference_wrapper`, `boost::reference_wrapper`, without their headers.
template <class T>
concept reference_like = std::is_class_v<T> && requires(const T& r) {
    typename T::type;
    { r.get() } -> std::same_as<typename T::type&>;
};

}  // namespace detail

/// All integers, `char` among them (as a number). Reads integers only: neither a real nor a text is taken for one.
template <detail::number T>
struct codec<T> {
    static_assert(sizeof(T) <= sizeof(std::int64_t), "strata: integers of more than 64 bits have no codec; strata::decimal has 38 digits");
    static constexpr std::string_view name = detail::integer_name<T>();
    static constexpr column_classes takes{column_type::integer};

    template <column_reader R>
    static errc read(const R& in, T& out) {
        const column_type found = in.type();
        if (found != column_type::integer) [[unlikely]] return detail::unreadable(found);
        return detail::narrow(in.integer(), out);
    }
    template <parameter_writer W>
    static errc write(W& out, T value) {
        if constexpr (!std::is_signed_v<T> && sizeof(T) == sizeof(std::int64_t)) {
            if (value > static_cast<T>(std::numeric_limits<std::int64_t>::max())) return errc::out_of_range;
        }
        out.integer(static_cast<std::int64_t>(value));
        return errc::ok;
    }
};

/// Reads booleans, and the integers 0 and 1; any other integer is out of range.
template <>
struct codec<bool> {
    static constexpr std::string_view name = "bool";
    static constexpr column_classes takes{column_type::boolean, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, bool& out) {
        const column_type found = in.type();
        if (found == column_type::boolean) {
            out = in.boolean();
            return errc::ok;
        }
        if (found != column_type::integer) return detail::unreadable(found);
        const std::int64_t value = in.integer();
        if (value != 0 && value != 1) return errc::out_of_range;
        out = value == 1;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, bool value) {
        out.boolean(value);
        return errc::ok;
    }
};

/// Reads reals, and integers that a double holds exactly (a database stores 2.0 as 2 where it may).
template <>
struct codec<double> {
    static constexpr std::string_view name = "double";
    static constexpr column_classes takes{column_type::real, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, double& out) {
        const column_type found = in.type();
        if (found == column_type::real) [[likely]] {
            out = in.real();
            return errc::ok;
        }
        if (found != column_type::integer) return detail::unreadable(found);
        const std::int64_t value = in.integer();
        const double rounded = static_cast<double>(value);
        // 2^63 itself would overflow on the way back
        if (rounded >= 0x1p63 || static_cast<std::int64_t>(rounded) != value) return errc::out_of_range;
        out = rounded;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, double value) {
        out.real(value);
        return errc::ok;
    }
};

/// As `double`: an integer must be held exactly. A real is rounded to the nearest float, as every assignment does, and is out of
/// range when it is finite but greater than every float. What must keep its digits is a `double`.
template <>
struct codec<float> {
    static constexpr std::string_view name = "float";
    static constexpr column_classes takes{column_type::real, column_type::integer};

    template <column_reader R>
    static errc read(const R& in, float& out) {
        double wide = 0;
        if (const errc e = codec<double>::read(in, wide); e != errc::ok) return e;
        constexpr double most = std::numeric_limits<float>::max();
        constexpr double infinite = std::numeric_limits<double>::infinity();
        if ((wide > most && wide != infinite) || (wide < -most && wide != -infinite)) return errc::out_of_range;
        if (in.type() == column_type::integer && static_cast<double>(static_cast<float>(wide)) != wide) return errc::out_of_range;
        out = static_cast<float>(wide);
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, float value) {
        out.real(static_cast<double>(value));
        return errc::ok;
    }
};

/// NULL or a value: `std::nullopt` is NULL, in both directions.
template <class T>
struct codec<std::optional<T>> {
    static constexpr std::string_view name = codec<T>::name;
    static constexpr std::string_view hint = detail::hint_of<T>();
    static constexpr bool view = detail::is_view<T>();
    static constexpr column_classes takes = detail::classes_of<T>();

    template <column_reader R>
        requires detail::column_of<T, R>
    static errc read(const R& in, std::optional<T>& out) {
        if (in.type() == column_type::null) {
            out.reset();
            return errc::ok;
        }
        const errc e = codec<T>::read(in, out.emplace());
        if (e != errc::ok) out.reset();
        return e;
    }
    template <parameter_writer W>
        requires detail::parameter_of<T, W>
    static errc write(W& out, const std::optional<T>& value) {
        if (value) return codec<T>::write(out, *value);
        out.null();
        return errc::ok;
    }
    template <class Type>
        requires requires(const Type& c) { codec<T>::fits(c); }
    static bool fits(const Type& c) {
        return codec<T>::fits(c);
    }
};

/// NULL as a parameter.
template <>
struct codec<std::nullopt_t> {
    static constexpr std::string_view name = "null";

    template <parameter_writer W>
    static errc write(W& out, std::nullopt_t) {
        out.null();
        return errc::ok;
    }
};

/// By default an enumeration is its underlying integer; that it has an enumerator for the value is not checked. Specialise
/// `codec` for one that is stored as text.
template <class T>
    requires std::is_enum_v<T>
struct codec<T> {
    using underlying = std::underlying_type_t<T>;
    static constexpr std::string_view name = codec<underlying>::name;
    static constexpr column_classes takes = detail::classes_of<underlying>();

    template <column_reader R>
    static errc read(const R& in, T& out) {
        underlying value{};
        const errc e = codec<underlying>::read(in, value);
        if (e == errc::ok) out = static_cast<T>(value);
        return e;
    }
    template <parameter_writer W>
    static errc write(W& out, T value) {
        return codec<underlying>::write(out, static_cast<underlying>(value));
    }
};

/// Parameters only: what a `std::ref` refers to, which must live until the call ends.
template <detail::reference_like T>
struct codec<T> {
    using referred = std::remove_cv_t<typename T::type>;
    static constexpr std::string_view name = codec<referred>::name;

    template <parameter_writer W>
    static errc write(W& out, const T& value) {
        return codec<referred>::write(out, value.get());
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
