// Generated from include/strata/value/chrono.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_CHRONO_HPP
#define STRATA_SINGLE_VALUE_CHRONO_HPP

#include <strata/strata.hpp>

#include <chrono>
#include <cstddef>
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

// Points of time, dates and durations as columns and parameters.
//
// * `std::chrono::sys_time` of any integral precision: text `YYYY-MM-DD HH:MM:SS.ffffff`, always UTC and always with six digits, so
//   that texts compare as the times do; or the driver's own timestamp, where it has one. Reading takes less, too: see `parse_timestamp`.
// * `std::chrono::year_month_day`: text `YYYY-MM-DD`.
// * `std::chrono::duration` of any precision: the number of its own periods. The column does not know the unit, the program does.
//
// Nothing is rounded: a time that is finer than the text (nanoseconds) or than the type it is read into (a fraction into
// `sys_seconds`) is `errc::out_of_range`. Points of other clocks have no codec.
#ifndef STRATA_VALUE_CHRONO_HPP
#define STRATA_VALUE_CHRONO_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// A point of time as texts have it.
struct text_time {
    std::int64_t seconds = 0;  ///< since 1970-01-01 00:00:00 UTC
    int nanoseconds = 0;       ///< 0 .. 999,999,999
};

inline constexpr std::int64_t first_text_second =
    std::chrono::sys_seconds{std::chrono::sys_days{std::chrono::year{0} / 1 / 1}}.time_since_epoch().count();
inline constexpr std::int64_t last_text_second =
    std::chrono::sys_seconds{std::chrono::sys_days{std::chrono::year{10000} / 1 / 1}}.time_since_epoch().count() - 1;

[[nodiscard]] constexpr bool take_date(std::string_view& text, std::chrono::year_month_day& out) noexcept {
    int y = 0;
    int m = 0;
    int d = 0;
    if (!take_digits(text, 4, y) || !take_char(text, '-') || !take_digits(text, 2, m) || !take_char(text, '-')) return false;
    if (!take_digits(text, 2, d)) return false;
    out = std::chrono::year{y} / std::chrono::month{static_cast<unsigned>(m)} / std::chrono::day{static_cast<unsigned>(d)};
    return out.ok();
}

/// `+HH`, `+HH:MM`, `-HH:MM` or `Z`, in seconds east of UTC; nothing is UTC.
[[nodiscard]] constexpr bool take_offset(std::string_view& text, std::int64_t& seconds) noexcept {
    seconds = 0;
    if (text.empty() || take_char(text, 'Z')) return true;
    const bool west = text.front() == '-';
    if (!west && text.front() != '+') return false;
    text.remove_prefix(1);
    int h = 0;
    int m = 0;
    if (!take_digits(text, 2, h) || (take_char(text, ':') && !take_digits(text, 2, m)) || h > 23 || m > 59) return false;
    seconds = (west ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

[[nodiscard]] constexpr errc parse_text_time(std::string_view text, text_time& out) noexcept {
    std::chrono::year_month_day date;
    if (!take_date(text, date)) return errc::type_mismatch;
    out.seconds = std::chrono::sys_seconds{std::chrono::sys_days{date}}.time_since_epoch().count();
    out.nanoseconds = 0;
    if (text.empty()) return errc::ok;
    if (!take_char(text, ' ') && !take_char(text, 'T')) return errc::type_mismatch;
    int h = 0;
    int m = 0;
    int s = 0;
    if (!take_digits(text, 2, h) || !take_char(text, ':') || !take_digits(text, 2, m)) return errc::type_mismatch;
    bool lost = false;
    if (take_char(text, ':')) {
        if (!take_digits(text, 2, s)) return errc::type_mismatch;
        if (take_char(text, '.')) {
            if (text.empty() || !is_digit(text.front())) return errc::type_mismatch;
            for (int unit = 100'000'000; !text.empty() && is_digit(text.front()); unit /= 10) {
                const int digit = text.front() - '0';
                text.remove_prefix(1);
                lost = lost || (unit == 0 && digit != 0);
                out.nanoseconds += digit * unit;
            }
        }
    }
    std::int64_t east = 0;
    if (h > 23 || m > 59 || s > 59 || !take_offset(text, east) || !text.empty()) return errc::type_mismatch;
    out.seconds += h * 3600 + m * 60 + s - east;
    return lost ? errc::out_of_range : errc::ok;
}

/// Periods that 128 bits carry: all that <chrono> names, and far more.
template <class D>
concept exact_duration = std::integral<typename D::rep> && sizeof(typename D::rep) <= 8 && (D::period::num <= (std::intmax_t{1} << 32)) &&
                         D::period::den <= (D::period::den % 1'000'000'000 == 0 ? 1'000'000'000'000'000'000 : 100'000'000'000'000'000);

/// `t` in units of D, exactly.
template <exact_duration D>
[[nodiscard]] constexpr errc from_text_time(const text_time& t, std::chrono::sys_time<D>& out) noexcept {
    using rep = typename D::rep;
    const int128 total = static_cast<int128>(t.seconds) * 1'000'000'000 + t.nanoseconds;  // |total| < 2^69
    // count = total * den / (num * 10^9); den is divided first where it can be, so that nothing overflows
    constexpr std::int64_t den = D::period::den;
    constexpr int128 common = den % 1'000'000'000 == 0 ? 1'000'000'000 : 1;
    constexpr int128 unit = static_cast<int128>(D::period::num) * (1'000'000'000 / common);
    const int128 scaled = total * (den / common);  // den / common <= 10^9 for whole decimal periods
    if (scaled % unit != 0) return errc::out_of_range;
    const int128 count = scaled / unit;
    if (count < static_cast<int128>(std::numeric_limits<rep>::min()) || count > static_cast<int128>(std::numeric_limits<rep>::max())) {
        return errc::out_of_range;
    }
    out = std::chrono::sys_time<D>{D{static_cast<rep>(count)}};
    return errc::ok;
}

/// `t` in microseconds, exactly, within the years 0 to 9999.
template <exact_duration D>
[[nodiscard]] constexpr errc to_microseconds(std::chrono::sys_time<D> t, std::int64_t& out) noexcept {
    const int128 scaled = static_cast<int128>(t.time_since_epoch().count()) * D::period::num * 1'000'000;  // < 2^116
    if (scaled % D::period::den != 0) return errc::out_of_range;
    const int128 us = scaled / D::period::den;
    if (us < static_cast<int128>(first_text_second) * 1'000'000 || us > static_cast<int128>(last_text_second) * 1'000'000 + 999'999) {
        return errc::out_of_range;
    }
    out = static_cast<std::int64_t>(us);
    return errc::ok;
}

constexpr char* put_date(char* at, std::chrono::year_month_day date) noexcept {
    at = put_digits(at, static_cast<int>(date.year()), 4);
    *at++ = '-';
    at = put_digits(at, static_cast<int>(static_cast<unsigned>(date.month())), 2);
    *at++ = '-';
    return put_digits(at, static_cast<int>(static_cast<unsigned>(date.day())), 2);
}

/// Room for `YYYY-MM-DD HH:MM:SS.ffffff`.
struct timestamp_text {
    char characters[26];
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {characters, sizeof(characters)}; }
};

[[nodiscard]] constexpr timestamp_text print_microseconds(std::int64_t us) noexcept {
    const std::chrono::sys_time<std::chrono::microseconds> t{std::chrono::microseconds{us}};
    const std::chrono::sys_days day = std::chrono::floor<std::chrono::days>(t);
    const std::int64_t rest = (t - day).count();
    const int second = static_cast<int>(rest / 1'000'000);
    timestamp_text out{};
    char* at = put_date(out.characters, std::chrono::year_month_day{day});
    *at++ = ' ';
    at = put_digits(at, second / 3600, 2);
    *at++ = ':';
    at = put_digits(at, second / 60 % 60, 2);
    *at++ = ':';
    at = put_digits(at, second % 60, 2);
    *at++ = '.';
    put_digits(at, static_cast<int>(rest % 1'000'000), 6);
    return out;
}

}  // namespace detail

/// Reads `YYYY-MM-DD`, then optionally a blank or `T`, `HH:MM`, `:SS`, `.` with digits, and `Z` or an offset (`+02`, `+02:00`); without one
/// the time is UTC. `type_mismatch` for any other text, `out_of_range` for what `out` cannot hold exactly.
template <detail::exact_duration D>
[[nodiscard]] constexpr errc parse_timestamp(std::string_view text, std::chrono::sys_time<D>& out) noexcept {
    detail::text_time t;
    const errc e = detail::parse_text_time(text, t);
    return e != errc::ok ? e : detail::from_text_time(t, out);
}

/// Writes `YYYY-MM-DD HH:MM:SS.ffffff`; `out_of_range` for a time that is finer, or not in the years 0 to 9999.
template <detail::exact_duration D>
[[nodiscard]] inline errc print_timestamp(std::chrono::sys_time<D> t, std::string& out) {
    std::int64_t us = 0;
    const errc e = detail::to_microseconds(t, us);
    if (e == errc::ok) out = detail::print_microseconds(us).view();
    return e;
}

/// Points of the system clock. A reader's `timestamp()` is asked first; a writer's `timestamp(sys_time<microseconds>)` is preferred to
/// text.
template <class D>
    requires detail::exact_duration<D>
struct codec<std::chrono::time_point<std::chrono::system_clock, D>> {
    using value_type = std::chrono::sys_time<D>;
    static constexpr std::string_view name = "timestamp";
    static constexpr column_classes takes{column_type::text, column_type::other};
    static constexpr std::string_view hint = "a timestamp is text like 2024-02-29 12:00:00.000000, in UTC unless it ends with an offset";

    template <column_reader R>
    static errc read(const R& in, value_type& out) {
        if constexpr (requires { in.timestamp(); }) {
            if (const auto native = in.timestamp()) {
                const std::int64_t us = native->time_since_epoch().count();
                const std::int64_t second = us / 1'000'000 - (us % 1'000'000 < 0 ? 1 : 0);
                return detail::from_text_time({second, static_cast<int>(us - second * 1'000'000) * 1000}, out);
            }
        }
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        return parse_timestamp(in.text(), out);
    }
    template <parameter_writer W>
    static errc write(W& out, value_type value) {
        std::int64_t us = 0;
        if (const errc e = detail::to_microseconds(value, us); e != errc::ok) return e;
        if constexpr (requires(std::chrono::sys_time<std::chrono::microseconds> t) { out.timestamp(t); }) {
            out.timestamp(std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{us}});
        } else {
            if constexpr (requires { out.timestamp_since_1970(us); }) {
                if (out.timestamp_since_1970(us)) return errc::ok;
            }
            out.text_copy(detail::print_microseconds(us).view());
        }
        return errc::ok;
    }
};

/// Dates: exactly `YYYY-MM-DD`, the years 0 to 9999. A date that does not exist is never written.
template <>
struct codec<std::chrono::year_month_day> {
    static constexpr std::string_view name = "date";
    static constexpr column_classes takes{column_type::text};
    static constexpr std::string_view hint = "a date is text like 2024-02-29";

    template <column_reader R>
    static errc read(const R& in, std::chrono::year_month_day& out) {
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        std::string_view text = in.text();
        std::chrono::year_month_day date;
        if (!detail::take_date(text, date) || !text.empty()) return errc::type_mismatch;
        out = date;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, std::chrono::year_month_day value) {
        if (!value.ok()) return errc::invalid_argument;
        if (value.year() < std::chrono::year{0} || value.year() > std::chrono::year{9999}) return errc::out_of_range;
        char text[10];
        detail::put_date(text, value);
        out.text_copy({text, sizeof(text)});
        return errc::ok;
    }
};

/// Times of day: text `HH:MM:SS` with as many digits behind a point as D has, at most six; 00:00:00 to 24:00:00, which PostgreSQL has, too.
/// Reading takes fewer digits, and no seconds. A time that D cannot hold exactly is out of range.
template <class D>
    requires detail::exact_duration<D>
struct codec<std::chrono::hh_mm_ss<D>> {
    static constexpr std::string_view name = "time of day";
    static constexpr std::string_view hint = "a time of day is text like 12:00:00.000000, without a zone";
    static constexpr column_classes takes{column_type::text};

    template <column_reader R>
    static errc read(const R& in, std::chrono::hh_mm_ss<D>& out) {
        const column_type found = in.type();
        if (found != column_type::text) return detail::unreadable(found);
        const std::string_view text = in.text();
        constexpr std::string_view midnight = "24:00:00";
        const bool is_end = text == midnight;
        detail::text_time t;
        // as a timestamp of the first day, which must not bring an offset
        if (!is_end && text.find_first_not_of("0123456789:.") != text.npos) return errc::type_mismatch;
        if (const errc e = is_end ? errc::ok : detail::parse_text_time(std::string("1970-01-01 ").append(text), t); e != errc::ok) return e;
        if (is_end) t.seconds = 86'400;
        std::chrono::sys_time<D> point;
        if (const errc e = detail::from_text_time(t, point); e != errc::ok) return e;
        out = std::chrono::hh_mm_ss<D>{point.time_since_epoch()};
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const std::chrono::hh_mm_ss<D>& value) {
        std::int64_t us = 0;
        const std::chrono::sys_time<D> point{std::chrono::duration_cast<D>(value.to_duration())};
        if (const errc e = detail::to_microseconds(point, us); e != errc::ok) return e;
        if (us < 0 || us > 86'400'000'000) return errc::out_of_range;
        if (us == 86'400'000'000) {
            out.text_copy("24:00:00");
        } else {
            const detail::timestamp_text text = detail::print_microseconds(us);
            out.text_copy(text.view().substr(11));
        }
        return errc::ok;
    }
};

/// Durations: the count of their own periods, as their `rep` is read and written.
template <class Rep, class Period>
struct codec<std::chrono::duration<Rep, Period>> {
    static constexpr std::string_view name = codec<Rep>::name;
    static constexpr column_classes takes = detail::classes_of<Rep>();

    template <column_reader R>
    static errc read(const R& in, std::chrono::duration<Rep, Period>& out) {
        Rep count{};
        const errc e = codec<Rep>::read(in, count);
        if (e == errc::ok) out = std::chrono::duration<Rep, Period>{count};
        return e;
    }
    template <parameter_writer W>
    static errc write(W& out, std::chrono::duration<Rep, Period> value) {
        return codec<Rep>::write(out, value.count());
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
