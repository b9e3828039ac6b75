// Generated from include/strata/value/decimal.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_DECIMAL_HPP
#define STRATA_SINGLE_VALUE_DECIMAL_HPP

#include <strata/strata.hpp>

#include <compare>
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

// Exact decimal numbers for money and measures: 38 digits, a scale, never a double in between.
#ifndef STRATA_VALUE_DECIMAL_HPP
#define STRATA_VALUE_DECIMAL_HPP

namespace strata::inline STRATA_ABI {

/// A number of at most 38 digits, of which `scale()` (0 to 38) stand behind the point: `1.50` has scale 2 and prints so, and
/// equals `1.5`. Arithmetic is exact: a result that needs more digits is an error, never rounded. The operators throw
/// `failure(errc::out_of_range)`; `add`, `subtract` and `multiply` answer it. There is no division, whose result is seldom exact, and
/// no way from or to floating point.
class decimal {
public:
    static constexpr int max_digits = 38;

    /// Zero.
    constexpr decimal() noexcept = default;
    /// A whole number.
    template <detail::number T>
    constexpr decimal(T value) noexcept
        : digits_(value < 0 ? detail::uint128{0} - static_cast<detail::uint128>(value) : static_cast<detail::uint128>(value)),
          negative_(value < 0) {}
    template <std::floating_point T>
    decimal(T) = delete;  // a double has lost the digits already: write them as text

    /// From text such as `-12.50`. Throws `failure`, as `parse` answers.
    explicit decimal(std::string_view text) {
        if (const errc e = parse(text, *this); e != errc::ok) fail(e);
    }
    /// Reads an optional sign, digits, and optionally a point followed by digits. `type_mismatch` for any other text (exponents
    /// and blanks among them), `out_of_range` when the value needs more than 38 digits; zeros at either end do not count.
    [[nodiscard]] static constexpr errc parse(std::string_view text, decimal& out) noexcept;

    [[nodiscard]] constexpr int scale() const noexcept { return scale_; }
    /// -1, 0 or 1.
    [[nodiscard]] constexpr int sign() const noexcept { return digits_ == 0 ? 0 : negative_ ? -1 : 1; }
    /// All digits of the scale, a digit before the point, no plus sign: `-0.50`.
    [[nodiscard]] std::string to_string() const;

    /// `out = a + b`, exactly, with the greater scale; a smaller one when only that fits. `out` may be an operand.
    [[nodiscard]] static constexpr errc add(decimal a, decimal b, decimal& out) noexcept;
    [[nodiscard]] static constexpr errc subtract(decimal a, decimal b, decimal& out) noexcept { return add(a, -b, out); }
    /// `out = a * b`, exactly, with the sum of the scales; a smaller one when only that fits.
    [[nodiscard]] static constexpr errc multiply(decimal a, decimal b, decimal& out) noexcept;

    [[nodiscard]] constexpr decimal operator-() const noexcept {
        decimal d = *this;
        d.negative_ = !negative_ && digits_ != 0;
        return d;
    }
    friend constexpr decimal operator+(const decimal& a, const decimal& b) {
        decimal out;
        return or_throw(add(a, b, out), out);
    }
    friend constexpr decimal operator-(const decimal& a, const decimal& b) {
        decimal out;
        return or_throw(subtract(a, b, out), out);
    }
    friend constexpr decimal operator*(const decimal& a, const decimal& b) {
        decimal out;
        return or_throw(multiply(a, b, out), out);
    }
    constexpr decimal& operator+=(const decimal& b) { return *this = *this + b; }
    constexpr decimal& operator-=(const decimal& b) { return *this = *this - b; }
    constexpr decimal& operator*=(const decimal& b) { return *this = *this * b; }

    /// By value: `1.5 == 1.50`.
    [[nodiscard]] friend constexpr bool operator==(const decimal& a, const decimal& b) noexcept { return (a <=> b) == 0; }
    [[nodiscard]] friend constexpr std::strong_ordering operator<=>(const decimal& a, const decimal& b) noexcept {
        if (a.sign() != b.sign()) return a.sign() <=> b.sign();
        return a.negative_ ? compare_magnitudes(b, a) : compare_magnitudes(a, b);
    }

private:
    using uint128 = detail::uint128;

    static constexpr uint128 power_of_10(int n) noexcept {
        uint128 p = 1;
        for (int i = 0; i < n; ++i) p *= 10;
        return p;
    }
    static constexpr uint128 limit() noexcept { return power_of_10(max_digits); }  // the first number that is too great

    static constexpr const decimal& or_throw(errc e, const decimal& result) {
        if (e != errc::ok) fail(e);
        return result;
    }
    [[noreturn]] STRATA_COLD static void fail(errc e) {
        throw_failure(error{e, e == errc::out_of_range ? "a decimal of more than 38 digits" : "no decimal number", phase::result});
    }

    static constexpr std::strong_ordering compare_magnitudes(const decimal& a, const decimal& b) noexcept {
        const uint128 one_a = power_of_10(a.scale_);
        const uint128 one_b = power_of_10(b.scale_);
        if (a.digits_ / one_a != b.digits_ / one_b) return order(a.digits_ / one_a, b.digits_ / one_b);
        return order(a.digits_ % one_a * power_of_10(max_digits - a.scale_), b.digits_ % one_b * power_of_10(max_digits - b.scale_));
    }
    static constexpr std::strong_ordering order(uint128 a, uint128 b) noexcept {
        return a < b ? std::strong_ordering::less : a > b ? std::strong_ordering::greater : std::strong_ordering::equal;
    }

    /// Takes zeros off the end of the fraction until the digits fit; false when they do not.
    static constexpr bool settle(uint128 digits, int scale, bool negative, decimal& out) noexcept {
        while (scale > 0 && digits % 10 == 0 && (digits >= limit() || scale > max_digits)) {
            digits /= 10;
            --scale;
        }
        if (digits == 0 && scale > max_digits) scale = max_digits;
        if (digits >= limit() || scale > max_digits) return false;
        out.digits_ = digits;
        out.scale_ = static_cast<std::uint8_t>(scale);
        out.negative_ = negative && digits != 0;
        return true;
    }
    constexpr void trim() noexcept {
        while (scale_ > 0 && digits_ % 10 == 0) {
            digits_ /= 10;
            --scale_;
        }
    }
    /// The digits at a greater scale; false when 128 bits are too few.
    constexpr bool at_scale(int scale, uint128& out) const noexcept {
        return !__builtin_mul_overflow(digits_, power_of_10(scale - scale_), &out);
    }

    uint128 digits_ = 0;  // below 10^38
    std::uint8_t scale_ = 0;
    bool negative_ = false;  // never for zero
};

constexpr errc decimal::parse(std::string_view text, decimal& out) noexcept {
    const bool negative = !text.empty() && text.front() == '-';
    if (negative || (!text.empty() && text.front() == '+')) text.remove_prefix(1);
    if (text.empty() || !detail::is_digit(text.front()) || !detail::is_digit(text.back())) return errc::type_mismatch;
    uint128 digits = 0;
    int scale = 0;
    int zeros = 0;  // of the fraction, not yet counted
    bool fraction = false;
    bool too_many = false;
    for (const char c : text) {
        if (c == '.' && !fraction) {
            fraction = true;
            continue;
        }
        if (!detail::is_digit(c)) return errc::type_mismatch;
        if (fraction && c == '0') {
            ++zeros;
            continue;
        }
        for (int taken = fraction ? zeros + 1 : 1; taken > 0 && !too_many; --taken) {
            digits = digits * 10 + static_cast<uint128>(taken == 1 ? c - '0' : 0);
            if (fraction) ++scale;
            too_many = digits >= limit() || scale > max_digits;
        }
        zeros = 0;
    }
    if (too_many) return errc::out_of_range;
    // zeros at the end are kept as far as they fit
    for (; zeros > 0 && scale < max_digits && digits * 10 < limit(); --zeros) {
        digits *= 10;
        ++scale;
    }
    return settle(digits, scale, negative, out) ? errc::ok : errc::out_of_range;
}

inline std::string decimal::to_string() const {
    char text[max_digits + 3];  // sign, "0."
    char* at = text + sizeof(text);
    uint128 rest = digits_;
    int written = 0;
    while (rest != 0 || written <= scale_) {
        if (written == scale_ && scale_ != 0) *--at = '.';
        *--at = static_cast<char>('0' + static_cast<int>(rest % 10));
        rest /= 10;
        ++written;
    }
    if (negative_) *--at = '-';
    return {at, static_cast<std::size_t>(text + sizeof(text) - at)};
}

constexpr errc decimal::add(decimal a, decimal b, decimal& out) noexcept {
    uint128 x = 0;
    uint128 y = 0;
    int scale = a.scale_ > b.scale_ ? a.scale_ : b.scale_;
    if (!a.at_scale(scale, x) || !b.at_scale(scale, y)) {
        a.trim();
        b.trim();
        scale = a.scale_ > b.scale_ ? a.scale_ : b.scale_;
        if (!a.at_scale(scale, x) || !b.at_scale(scale, y)) return errc::out_of_range;
    }
    uint128 sum = 0;
    bool negative = a.negative_;
    if (a.negative_ == b.negative_) {
        if (__builtin_add_overflow(x, y, &sum)) return errc::out_of_range;
    } else {
        sum = x >= y ? x - y : y - x;
        if (x < y) negative = b.negative_;
    }
    return settle(sum, scale, negative, out) ? errc::ok : errc::out_of_range;
}

constexpr errc decimal::multiply(decimal a, decimal b, decimal& out) noexcept {
    uint128 product = 0;
    int scale = a.scale_ + b.scale_;
    // Where the product is too long, tens are taken out of it: a two and a five, each from the factor that has one.
    const auto divide = [&](unsigned prime) {
        uint128& factor = a.digits_ % prime == 0 ? a.digits_ : b.digits_;
        if (factor % prime != 0) return false;
        factor /= prime;
        return true;
    };
    while (__builtin_mul_overflow(a.digits_, b.digits_, &product) || product >= limit() || scale > max_digits) {
        if (product == 0 && (a.digits_ == 0 || b.digits_ == 0)) break;
        if (scale == 0 || !divide(2) || !divide(5)) return errc::out_of_range;
        --scale;
    }
    return settle(product, scale, a.negative_ != b.negative_, out) ? errc::ok : errc::out_of_range;
}

/// Reads integers and texts. A real is refused: its digits are those of the nearest double, not those that were written. Writes text.
/// (In SQLite a column for it is declared TEXT: NUMERIC and REAL would turn the text into a double.)
template <>
struct codec<decimal> {
    static constexpr std::string_view name = "decimal";
    static constexpr column_classes takes{column_type::text, column_type::integer};
    static constexpr std::string_view hint =
        "a decimal is read from text like -12.50 and from integers; a real has lost digits already, so declare the column TEXT in SQLite, "
        "or numeric in PostgreSQL, or read a double";

    template <column_reader R>
    static errc read(const R& in, decimal& out) {
        const column_type found = in.type();
        if (found == column_type::text) return decimal::parse(in.text(), out);
        if (found != column_type::integer) return detail::unreadable(found);
        out = decimal{in.integer()};
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const decimal& value) {
        out.text_copy(value.to_string());
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
