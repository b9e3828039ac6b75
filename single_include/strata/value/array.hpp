// Generated from include/strata/value/array.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_ARRAY_HPP
#define STRATA_SINGLE_VALUE_ARRAY_HPP

#include <strata/strata.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// Values that hold values: arrays, records, ranges. How a driver offers them to codecs, beyond what every database has.
//
// A codec opens the value and reads or writes what lies in it by the codecs of its parts, which see an ordinary reader or writer.
#ifndef STRATA_VALUE_NESTED_HPP
#define STRATA_VALUE_NESTED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A type's name with something around it, made at compile time: `name_around<codec<int>::name, "", "[]">` is `int32[]`.
template <const std::string_view& Name, const std::string_view& Before, const std::string_view& After>
struct name_around {
    static constexpr auto characters = []() {
        std::array<char, Before.size() + Name.size() + After.size()> all{};
        std::size_t at = 0;
        for (const std::string_view part : {Before, Name, After})
            for (const char c : part) all[at++] = c;
        return all;
    }();
    static constexpr std::string_view value{characters.data(), characters.size()};
};

inline constexpr std::string_view no_affix{};
inline constexpr std::string_view array_affix = "[]";

}  // namespace detail

/// What may be opened in a reader: `in.open(nesting::array)`. The result answers `ok()` (the value is one, and its bytes were sound so
/// far), `size()` (its parts; never more than its bytes can hold), `next()` (the next part, a `column_reader`), and for an array
/// `dimensions()`, for a record `part_name()` (of the next part; empty where nobody knows), for a range `flags()`.
template <class R>
concept nested_reader = column_reader<R> && requires(const R& in) {
    { in.open(nesting::array).ok() } -> std::same_as<bool>;
    { in.open(nesting::array).next() } -> column_reader;
};

/// The type of a column, which a codec looks at before any row (`fits`): `type()` is its class, `is(nesting)` whether its values hold
/// others, `part()` the type of an array's elements, a range's bounds, a multirange's ranges; `parts()` of a record how many (-1: not
/// known), `part(i)` and `part_name(i)` each.
template <class Type>
concept nested_type = requires(const Type& c) {
    { c.type() } -> std::same_as<column_type>;
    { c.is(nesting::array) } -> std::same_as<bool>;
    { c.part() } -> std::same_as<Type>;
    { c.parts() } -> std::same_as<int>;
    { c.part(0) } -> std::same_as<Type>;
    { c.part_name(0) } -> std::same_as<std::string_view>;
};

/// What may be opened in a writer: `open` once, each part written as if it were a parameter, `close` once. When `close` answers false,
/// the parts are wanted once more, from `open` on: this database's short form did not fit them all. `part_name(i)`: of a record that is
/// open, what part `i` is to be; empty where nobody knows, or there is no such part.
template <class W>
concept nested_writer = parameter_writer<W> && requires(W& out, std::span<const array_dimension> dimensions) {
    { out.open(nesting::array, dimensions, std::uint8_t{}) } -> std::same_as<bool>;
    { out.close() } -> std::same_as<bool>;
    { out.part_name(std::size_t{}) } -> std::same_as<std::string_view>;
};

namespace detail {

/// Opens `in` and hands what is in it to `read`; an error of a driver that has no such values.
template <class R, class Read>
[[nodiscard]] errc read_nested(const R& in, nesting what, Read&& read) {
    const column_type found = in.type();
    if (found == column_type::null) return errc::null_value;
    if constexpr (nested_reader<R>) {
        auto parts = in.open(what);
        if (!parts.ok()) return errc::type_mismatch;
        const errc e = read(parts);
        if (e != errc::ok) return e == errc::null_value ? errc::type_mismatch : e;  // a part is NULL, not the value
        return parts.ok() ? errc::ok : errc::type_mismatch;
    } else {
        static_assert(std::is_same_v<R, any_column_reader>,
                      "strata: this database has no arrays, records and ranges; read text or JSON, or a table of its own");
        return errc::type_mismatch;  // a row without its driver: strata::row, any_session
    }
}

/// Opens a nested value of `out`, which `write` fills.
template <class W, class Write>
[[nodiscard]] errc write_nested(W& out, nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags, Write&& write) {
    static_assert(nested_writer<W>,
                  "strata: this database has no arrays, records and ranges as parameters; for a list write in (:ids...) in a "
                  "strata::statement, or pass JSON");
    if constexpr (nested_writer<W>) {
        do {
            if (!out.open(what, dimensions, flags)) return errc::unsupported;
            if (const errc e = write(out); e != errc::ok) return e;
        } while (!out.close());
    }
    return errc::ok;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Arrays of a database that has them (PostgreSQL): `std::vector`, `std::span` and `std::array` of whatever has a codec, and
// `strata::array` for several dimensions.
//
// `where id = any(:ids)`, `unnest(:a, :b)`, `tags && :wanted`, `array_agg(x)`. `std::vector<std::byte>` and spans of bytes stay blobs.
#ifndef STRATA_VALUE_ARRAY_HPP
#define STRATA_VALUE_ARRAY_HPP

namespace strata::inline STRATA_ABI {

/// An array of several dimensions, each with a lower bound of its own, as PostgreSQL has it. The elements lie in one row, the last
/// dimension varying fastest. Elements that may be NULL are `std::optional<T>`. `{{1,2,3},{4,5,6}}` has the dimensions {2, 3}.
template <class T>
struct array {
    /// None for an empty array; at most 6 in PostgreSQL.
    std::vector<array_dimension> dimensions;
    /// As many as the product of the dimensions' sizes; else a parameter is `errc::invalid_argument`.
    std::vector<T> elements;

    [[nodiscard]] bool operator==(const array&) const = default;
};

namespace detail {

template <class T>
inline constexpr bool is_array = false;
template <class T>
inline constexpr bool is_array<std::optional<T>> = is_array<T>;
template <class T>
inline constexpr bool is_array<std::vector<T>> = !std::is_same_v<T, std::byte>;
template <class T>
inline constexpr bool is_array<array<T>> = true;
template <class T, std::size_t Size>
inline constexpr bool is_array<std::array<T, Size>> = true;

/// The name of an array of T, which must not be an array itself.
template <class T>
struct name_of_array : name_around<codec<T>::name, no_affix, array_affix> {
    static_assert(!is_array<T>, "strata: an array's elements are no arrays; several dimensions are strata::array<T>");
};

/// True when the elements are as many as the dimensions say.
[[nodiscard]] constexpr bool is_filled(std::span<const array_dimension> dimensions, std::size_t elements) noexcept {
    if (dimensions.empty()) return elements == 0;
    std::uint64_t product = 1;
    for (const array_dimension& d : dimensions) {
        if (d.size <= 0 || __builtin_mul_overflow(product, static_cast<std::uint64_t>(d.size), &product)) return false;
    }
    return product == elements;
}

template <class Parts, class T>
[[nodiscard]] errc read_elements(Parts& parts, std::vector<T>& out) {
    static_assert(!is_view<T>(), "strata: the elements of an array are read into values of their own: use std::string or strata::blob");
    out.clear();
    out.reserve(parts.size());
    for (std::size_t left = parts.size(); left > 0; --left) {
        const auto& part = parts.next();
        if constexpr (std::is_same_v<T, bool>) {  // std::vector<bool> has no bool to refer to
            bool value = false;
            if (const errc e = codec<bool>::read(part, value); e != errc::ok) return e;
            out.push_back(value);
        } else {
            if (const errc e = codec<T>::read(part, out.emplace_back()); e != errc::ok) return e;
        }
    }
    return errc::ok;
}

/// True when T can be read from the elements of a column whose type `c` tells.
template <class T, class Type>
[[nodiscard]] bool fits_elements(const Type& c) {
    return c.is(nesting::array) && fits_type<T>(c.part());
}

template <class T, class W, class Elements>
[[nodiscard]] errc write_elements(W& out, std::span<const array_dimension> dimensions, const Elements& elements) {
    return write_nested(out, nesting::array, dimensions, 0, [&](W& to) {
        for (const auto& element : elements)
            if (const errc e = codec<T>::write(to, element); e != errc::ok) return e;
        return errc::ok;
    });
}

template <class T, class W, class Elements>
[[nodiscard]] errc write_list(W& out, const Elements& elements) {
    if (elements.size() > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) return errc::too_big;
    const array_dimension one[] = {{static_cast<std::int32_t>(elements.size()), 1}};
    return write_elements<T>(out, {one, elements.empty() ? 0U : 1U}, elements);
}

}  // namespace detail

/// Arrays of one dimension; an empty array is an empty vector. An array of several dimensions is a `type_mismatch` (its shape would be
/// lost: read `strata::array<T>`), as is a NULL among elements that are no `std::optional`.
template <has_codec T>
    requires(!std::is_same_v<T, std::byte>)
struct codec<std::vector<T>> {
    static constexpr std::string_view name = detail::name_of_array<T>::value;
    static constexpr column_classes takes{column_type::other};
    static constexpr std::string_view hint =
        "a vector takes an array of one dimension with elements of its own type; elements that may be NULL are std::optional, several "
        "dimensions strata::array";

    template <column_reader R>
    static errc read(const R& in, std::vector<T>& out) {
        return detail::read_nested(in, nesting::array, [&](auto& parts) {
            if (parts.dimensions().size() > 1) return errc::type_mismatch;
            return detail::read_elements(parts, out);
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return detail::fits_elements<T>(c);
    }
    template <parameter_writer W>
    static errc write(W& out, const std::vector<T>& value) {
        return detail::write_list<T>(out, value);
    }
};

/// Parameters only: elements that live until the call ends.
template <class T, std::size_t Extent>
    requires(!std::is_same_v<std::remove_const_t<T>, std::byte> && has_codec<std::remove_const_t<T>>)
struct codec<std::span<T, Extent>> {
    static constexpr std::string_view name = detail::name_of_array<std::remove_const_t<T>>::value;

    template <parameter_writer W>
    static errc write(W& out, std::span<T, Extent> value) {
        return detail::write_list<std::remove_const_t<T>>(out, value);
    }
};

/// Parameters only.
template <has_codec T, std::size_t Size>
    requires(!std::is_same_v<T, std::byte>)
struct codec<std::array<T, Size>> {
    static constexpr std::string_view name = detail::name_of_array<T>::value;

    template <parameter_writer W>
    static errc write(W& out, const std::array<T, Size>& value) {
        return detail::write_list<T>(out, value);
    }
};

/// Arrays of any number of dimensions.
template <has_codec T>
struct codec<array<T>> {
    static constexpr std::string_view name = detail::name_of_array<T>::value;
    static constexpr column_classes takes{column_type::other};
    static constexpr std::string_view hint = "elements of an array that may be NULL are std::optional";

    template <column_reader R>
    static errc read(const R& in, array<T>& out) {
        return detail::read_nested(in, nesting::array, [&](auto& parts) {
            const std::span<const array_dimension> found = parts.dimensions();
            out.dimensions.assign(found.begin(), found.end());
            return detail::read_elements(parts, out.elements);
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return detail::fits_elements<T>(c);
    }
    template <parameter_writer W>
    static errc write(W& out, const array<T>& value) {
        if (value.dimensions.size() > 6 || !detail::is_filled(value.dimensions, value.elements.size())) return errc::invalid_argument;
        return detail::write_elements<T>(out, value.dimensions, value.elements);
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
