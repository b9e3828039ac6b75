// Generated from include/strata/value/hstore.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_HSTORE_HPP
#define STRATA_SINGLE_VALUE_HSTORE_HPP

#include <strata/strata.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

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

// PostgreSQL's extension hstore: texts by key, each of which may be NULL.
#ifndef STRATA_VALUE_HSTORE_HPP
#define STRATA_VALUE_HSTORE_HPP

namespace strata::inline STRATA_ABI {

/// What an hstore holds.
using hstore = std::map<std::string, std::optional<std::string>>;

template <>
struct codec<hstore> {
    static constexpr std::string_view name = "hstore";
    static constexpr column_classes takes{column_type::other};

    template <column_reader R>
    static errc read(const R& in, hstore& out) {
        return detail::read_nested(in, nesting::pairs, [&](auto& parts) {
            out.clear();
            std::string key;
            for (std::size_t left = parts.size() / 2; left > 0; --left) {
                if (const errc e = codec<std::string>::read(parts.next(), key); e != errc::ok) return e;
                if (const errc e = codec<std::optional<std::string>>::read(parts.next(), out[key]); e != errc::ok) return e;
            }
            return errc::ok;
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return c.is(nesting::pairs);
    }
    template <parameter_writer W>
    static errc write(W& out, const hstore& value) {
        return detail::write_nested(out, nesting::pairs, {}, 0, [&](W& to) {
            for (const auto& [key, one] : value) {
                if (const errc e = codec<std::string>::write(to, key); e != errc::ok) return e;
                if (const errc e = codec<std::optional<std::string>>::write(to, one); e != errc::ok) return e;
            }
            return errc::ok;
        });
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
