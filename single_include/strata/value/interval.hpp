// Generated from include/strata/value/interval.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_INTERVAL_HPP
#define STRATA_SINGLE_VALUE_INTERVAL_HPP

#include <strata/strata.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

// Digits to numbers and back, for the texts of timestamps and uuids: without locale, format or streams.
#ifndef STRATA_VALUE_DIGITS_HPP
#define STRATA_VALUE_DIGITS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// 128 bits where arithmetic must not overflow; not part of ISO C++, hence the keyword.
__extension__ using int128 = __int128;
__extension__ using uint128 = unsigned __int128;

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Takes exactly `count` digits off the front; false when they are not there.
[[nodiscard]] constexpr bool take_digits(std::string_view& text, std::size_t count, int& out) noexcept {
    if (text.size() < count) return false;
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (!is_digit(text[i])) return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    out = value;
    return true;
}

[[nodiscard]] constexpr bool take_char(std::string_view& text, char c) noexcept {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

/// Writes `count` digits of `value`, with leading zeros; returns the end.
constexpr char* put_digits(char* at, int value, std::size_t count) noexcept {
    for (std::size_t i = count; i > 0; --i) {
        at[i - 1] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Intervals as PostgreSQL counts them: months, days and microseconds apart, since none has a fixed number of the next.
#ifndef STRATA_VALUE_INTERVAL_HPP
#define STRATA_VALUE_INTERVAL_HPP

namespace strata::inline STRATA_ABI {

/// A span of calendar and clock. Equal are intervals with equal parts: a month is not 30 days here, and there is no order.
struct interval {
    std::int32_t months = 0;
    std::int32_t days = 0;
    std::int64_t microseconds = 0;

    [[nodiscard]] constexpr bool operator==(const interval&) const noexcept = default;

    /// Reads ISO 8601 with designators, each part with its own sign, a part at most once: `P1Y2M-3DT4H5M6.5S`, weeks as seven days.
    /// `type_mismatch` for any other text and for more than six digits behind a point, `out_of_range` for a sum that does not fit.
    [[nodiscard]] static constexpr errc parse(std::string_view text, interval& out) noexcept {
        constexpr std::string_view units = "YMWDTHMS";  // in the order in which they stand
        interval found;
        std::size_t next = 0;
        if (!detail::take_char(text, 'P') || text.empty()) return errc::type_mismatch;
        while (!text.empty()) {
            if (next <= 4 && detail::take_char(text, 'T')) {
                next = 5;
                if (text.empty()) return errc::type_mismatch;
                continue;
            }
            const bool negative = detail::take_char(text, '-');
            if (!negative) static_cast<void>(detail::take_char(text, '+'));
            std::int64_t whole = 0;
            std::int64_t fraction = 0;
            bool has_fraction = false;
            if (const errc e = take_number(text, whole, fraction, has_fraction); e != errc::ok) return e;
            if (text.empty()) return errc::type_mismatch;
            const std::size_t unit = units.find(text.front(), next);
            if (unit == units.npos || units[unit] == 'T' || (next <= 4) != (unit < 4) || (has_fraction && units[unit] != 'S'))
                return errc::type_mismatch;
            text.remove_prefix(1);
            next = unit + 1;
            if (!found.add(unit, negative ? -whole : whole, negative ? -fraction : fraction)) return errc::out_of_range;
        }
        out = found;
        return errc::ok;
    }

    /// ISO 8601, which PostgreSQL reads exactly: `P14M-3DT4H5M6.500000S`; nothing is `PT0S`.
    [[nodiscard]] std::string to_string() const {
        std::string text = "P";
        const auto part = [&text](std::int64_t n, char unit) {
            if (n != 0) text.append(std::to_string(n)) += unit;
        };
        part(months, 'M');
        part(days, 'D');
        if (microseconds != 0) {
            text += 'T';
            part(microseconds / 3'600'000'000, 'H');
            part(microseconds / 60'000'000 % 60, 'M');
            if (const std::int64_t rest = microseconds % 60'000'000; rest != 0) {
                if (rest < 0) text += '-';
                const auto size = static_cast<int>(rest < 0 ? -rest : rest);
                char digits[9];
                detail::put_digits(digits, size / 1'000'000, 2);
                digits[2] = '.';
                detail::put_digits(digits + 3, size % 1'000'000, 6);
                text.append(digits, sizeof digits) += 'S';
            }
        }
        return text.size() > 1 ? text : "PT0S";
    }

private:
    static constexpr errc take_number(std::string_view& text, std::int64_t& whole, std::int64_t& fraction, bool& has_fraction) noexcept {
        if (text.empty() || !detail::is_digit(text.front())) return errc::type_mismatch;
        for (; !text.empty() && detail::is_digit(text.front()); text.remove_prefix(1)) {
            if (__builtin_mul_overflow(whole, std::int64_t{10}, &whole) ||
                __builtin_add_overflow(whole, std::int64_t{text.front() - '0'}, &whole))
                return errc::out_of_range;
        }
        has_fraction = detail::take_char(text, '.');
        if (!has_fraction) return errc::ok;
        if (text.empty() || !detail::is_digit(text.front())) return errc::type_mismatch;
        for (std::int64_t unit = 100'000; !text.empty() && detail::is_digit(text.front()); unit /= 10, text.remove_prefix(1)) {
            if (unit == 0) return errc::type_mismatch;
            fraction += unit * (text.front() - '0');
        }
        return errc::ok;
    }
    constexpr bool add(std::size_t unit, std::int64_t n, std::int64_t fraction) noexcept {
        switch (unit) {
            case 0:
                return add_to(months, n, 12);
            case 1:
                return add_to(months, n, 1);
            case 2:
                return add_to(days, n, 7);
            case 3:
                return add_to(days, n, 1);
            case 5:
                return add_to(microseconds, n, 3'600'000'000);
            case 6:
                return add_to(microseconds, n, 60'000'000);
            default:
                return add_to(microseconds, n, 1'000'000) && add_to(microseconds, fraction, 1);
        }
    }
    template <class Int>
    static constexpr bool add_to(Int& sum, std::int64_t n, std::int64_t factor) noexcept {
        const detail::int128 total = static_cast<detail::int128>(n) * factor + sum;
        if (total < std::numeric_limits<Int>::min() || total > std::numeric_limits<Int>::max()) return false;
        sum = static_cast<Int>(total);
        return true;
    }
};

/// Text in ISO 8601, as which the PostgreSQL driver shows its intervals, too.
template <>
struct codec<interval> {
    static constexpr std::string_view name = "interval";
    static constexpr std::string_view hint = "an interval is text like P1Y2M3DT4H5M6.5S";
    static constexpr column_classes takes{column_type::text};

    template <column_reader R>
    static errc read(const R& in, interval& out) {
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        return interval::parse(in.text(), out);
    }
    template <parameter_writer W>
    static errc write(W& out, const interval& value) {
        out.text_copy(value.to_string());
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
