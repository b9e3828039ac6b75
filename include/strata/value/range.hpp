// Ranges and multiranges of a database that has them (PostgreSQL): from a bound to a bound, either of which may be missing.
#ifndef STRATA_VALUE_RANGE_HPP
#define STRATA_VALUE_RANGE_HPP

#include <strata/value/codec.hpp>
#include <strata/value/nested.hpp>

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

/// `strata::range<int>{.lower = 1, .upper = 10}` is `[1,10)`. The database brings ranges of integers and days into this form itself:
/// `[1,9]` comes back as `[1,10)`.
template <class T>
struct range {
    std::optional<T> lower = {};  ///< none: without end
    std::optional<T> upper = {};
    bool lower_included = true;  ///< says nothing of a bound that is missing
    bool upper_included = false;
    bool empty = false;  ///< holds nothing; then the bounds say nothing

    [[nodiscard]] friend bool operator==(const range& a, const range& b) {
        if (a.empty || b.empty) return a.empty == b.empty;
        return a.lower == b.lower && a.upper == b.upper && (!a.lower || a.lower_included == b.lower_included) &&
               (!a.upper || a.upper_included == b.upper_included);
    }
};

/// Ranges that the database keeps in order and apart from each other (PostgreSQL >= 14).
template <class T>
struct multirange {
    std::vector<range<T>> ranges;

    [[nodiscard]] bool operator==(const multirange&) const = default;
};

namespace detail {

inline constexpr std::string_view range_affix = "range of ";
inline constexpr std::string_view multirange_affix = "multirange of ";

}  // namespace detail

template <has_codec T>
struct codec<range<T>> {
    static_assert(!detail::is_view<T>(), "strata: the bounds of a range are read into values of their own: use std::string");
    static constexpr std::string_view name = detail::name_around<codec<T>::name, detail::range_affix, detail::no_affix>::value;
    static constexpr column_classes takes{column_type::other};

    template <column_reader R>
    static errc read(const R& in, range<T>& out) {
        return detail::read_nested(in, nesting::range, [&](auto& parts) {
            const std::uint8_t flags = parts.flags();
            out = {};
            out.empty = (flags & range_flag::empty) != 0;
            if (out.empty) return errc::ok;
            out.lower_included = (flags & range_flag::lower_included) != 0;
            out.upper_included = (flags & range_flag::upper_included) != 0;
            if ((flags & range_flag::lower_infinite) == 0)
                if (const errc e = codec<T>::read(parts.next(), out.lower.emplace()); e != errc::ok) return e;
            if ((flags & range_flag::upper_infinite) == 0) return codec<T>::read(parts.next(), out.upper.emplace());
            return errc::ok;
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return c.is(nesting::range) && detail::fits_type<T>(c.part());
    }
    template <parameter_writer W>
    static errc write(W& out, const range<T>& value) {
        unsigned flags = value.empty ? range_flag::empty : 0;
        if (!value.lower) flags |= range_flag::lower_infinite;
        if (!value.upper) flags |= range_flag::upper_infinite;
        if (value.lower && value.lower_included) flags |= range_flag::lower_included;
        if (value.upper && value.upper_included) flags |= range_flag::upper_included;
        return detail::write_nested(out, nesting::range, {}, static_cast<std::uint8_t>(flags), [&](W& to) {
            if (value.empty) return errc::ok;
            if (value.lower)
                if (const errc e = codec<T>::write(to, *value.lower); e != errc::ok) return e;
            return value.upper ? codec<T>::write(to, *value.upper) : errc::ok;
        });
    }
};

template <has_codec T>
struct codec<multirange<T>> {
    static constexpr std::string_view name = detail::name_around<codec<T>::name, detail::multirange_affix, detail::no_affix>::value;
    static constexpr column_classes takes{column_type::other};

    template <column_reader R>
    static errc read(const R& in, multirange<T>& out) {
        return detail::read_nested(in, nesting::multirange, [&](auto& parts) {
            out.ranges.clear();
            out.ranges.reserve(parts.size());
            for (std::size_t left = parts.size(); left > 0; --left)
                if (const errc e = codec<range<T>>::read(parts.next(), out.ranges.emplace_back()); e != errc::ok) return e;
            return errc::ok;
        });
    }
    template <class Type>
    static bool fits(const Type& c) {
        return c.is(nesting::multirange) && detail::fits_type<range<T>>(c.part());
    }
    template <parameter_writer W>
    static errc write(W& out, const multirange<T>& value) {
        return detail::write_nested(out, nesting::multirange, {}, 0, [&](W& to) {
            for (const range<T>& one : value.ranges)
                if (const errc e = codec<range<T>>::write(to, one); e != errc::ok) return e;
            return errc::ok;
        });
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
