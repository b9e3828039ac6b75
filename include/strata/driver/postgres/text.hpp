// PostgreSQL's binary values as text: numbers, dates, addresses, exactly and in a form that the server itself reads.
//
// So every codec that reads text (decimal, uuid, chrono, std::string) reads these types, without another round trip.
#ifndef STRATA_DRIVER_POSTGRES_TEXT_HPP
#define STRATA_DRIVER_POSTGRES_TEXT_HPP

#include <strata/driver/postgres/oid.hpp>
#include <strata/value/digits.hpp>

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Reads big-endian numbers off the front of a value. What is too short reads as zero and is remembered.
class wire_reader {
public:
    explicit wire_reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

    template <class Int>
    Int take() noexcept {
        if (rest_.size() < sizeof(Int)) {
            rest_ = {};
            short_ = true;
            return 0;
        }
        std::make_unsigned_t<Int> n = 0;
        for (std::size_t i = 0; i < sizeof(Int); ++i)
            n = static_cast<std::make_unsigned_t<Int>>(static_cast<std::uint64_t>(n) << 8 | std::to_integer<std::uint64_t>(rest_[i]));
        rest_ = rest_.subspan(sizeof(Int));
        return static_cast<Int>(n);
    }
    /// The next `size` bytes; none, and remembered, where there are fewer.
    std::span<const std::byte> take_bytes(std::size_t size) noexcept {
        if (rest_.size() < size) {
            rest_ = {};
            short_ = true;
            return {};
        }
        const std::span<const std::byte> taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
    /// Everything was there and nothing is left.
    [[nodiscard]] bool complete() const noexcept { return !short_ && rest_.empty(); }
    [[nodiscard]] bool is_short() const noexcept { return short_; }

private:
    std::span<const std::byte> rest_;
    bool short_ = false;
};

inline void append_padded(std::string& out, std::uint64_t n, std::size_t width) {
    char digits[20];
    std::size_t at = sizeof digits;
    do digits[--at] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    while (sizeof digits - at < width) digits[--at] = '0';
    out.append(digits + at, sizeof digits - at);
}

inline void append_hex(std::string& out, std::span<const std::byte> bytes) {
    constexpr char hex[] = "0123456789abcdef";
    for (const std::byte b : bytes) {
        out += hex[std::to_integer<unsigned>(b) >> 4];
        out += hex[std::to_integer<unsigned>(b) & 15];
    }
}

/// Digits in groups of four, with the weight of the first group (src/backend/utils/adt/numeric.c, numeric_send).
[[nodiscard]] inline bool print_numeric(wire_reader in, std::string& out) {
    const auto groups = in.take<std::uint16_t>();
    const auto weight = in.take<std::int16_t>();
    const auto sign = in.take<std::uint16_t>();
    const auto scale = in.take<std::uint16_t>();
    if (in.is_short()) return false;
    switch (sign) {
        case 0xC000:
            out = "NaN";
            return true;
        case 0xD000:
            out = "Infinity";
            return true;
        case 0xF000:
            out = "-Infinity";
            return true;
        default:
            break;
    }
    if (in.rest().size() != 2u * groups) return false;
    const std::span<const std::byte> digits = in.rest();
    const auto group = [&](int position) -> std::uint64_t {  // the one with weight `position`
        const int i = weight - position;
        if (i < 0 || i >= groups) return 0;
        return std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i)]) << 8 |
               std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i) + 1]);
    };
    out.clear();
    if (sign == 0x4000) out += '-';
    if (weight < 0) out += '0';
    for (int p = weight; p >= 0; --p) append_padded(out, group(p), p == weight ? 1 : 4);
    if (scale == 0) return true;
    out += '.';
    const std::size_t end = out.size() + scale;
    for (int p = -1; out.size() < end; --p) append_padded(out, group(p), 4);
    out.resize(end);
    return true;
}

inline constexpr std::int64_t microseconds_a_day = 86'400'000'000;

/// `YYYY-MM-DD`; false for a year before 1, of which the caller appends " BC".
inline bool append_date(std::string& out, std::int64_t days_since_2000) {
    using namespace std::chrono;
    // The civil calendar by hand: std::chrono::year ends at 32767, PostgreSQL's at 5874897. (Howard Hinnant's algorithm,
    // chrono-Compatible Low-Level Date Algorithms.)
    const std::int64_t z = days_since_2000 + 10957 + 719468;
    const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const std::int64_t doe = z - era * 146097;
    const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const std::int64_t mp = (5 * doy + 2) / 153;
    const std::int64_t month = mp < 10 ? mp + 3 : mp - 9;
    const std::int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    append_padded(out, static_cast<std::uint64_t>(year > 0 ? year : 1 - year), 4);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(month), 2);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(doy - (153 * mp + 2) / 5 + 1), 2);
    return year > 0;
}

/// `HH:MM:SS`, and the fraction without the zeros at its end.
inline void append_time(std::string& out, std::int64_t us) {
    append_padded(out, static_cast<std::uint64_t>(us / 3'600'000'000), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 60'000'000 % 60), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 1'000'000 % 60), 2);
    if (const std::int64_t fraction = us % 1'000'000; fraction != 0) {
        out += '.';
        append_padded(out, static_cast<std::uint64_t>(fraction), 6);
        while (out.back() == '0') out.pop_back();
    }
}

/// Date and time of microseconds since 2000.
inline void append_timestamp(std::string& out, std::int64_t us, bool zone) {
    const std::int64_t days = us / microseconds_a_day - (us % microseconds_a_day < 0 ? 1 : 0);
    const bool after_christ = append_date(out, days);
    out += ' ';
    const std::int64_t rest = us % microseconds_a_day;
    append_time(out, rest < 0 ? rest + microseconds_a_day : rest);
    if (zone) out += "+00";
    if (!after_christ) out += " BC";
}

[[nodiscard]] inline bool print_date(wire_reader in, std::string& out) {
    const auto days = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out.clear();
    if (days == std::numeric_limits<std::int32_t>::max())
        out = "infinity";
    else if (days == std::numeric_limits<std::int32_t>::min())
        out = "-infinity";
    else if (!append_date(out, days))
        out += " BC";
    return true;
}

[[nodiscard]] inline bool print_timestamp(wire_reader in, bool zone, std::string& out) {
    const auto us = in.take<std::int64_t>();
    if (!in.complete()) return false;
    out.clear();
    if (us == std::numeric_limits<std::int64_t>::max()) {
        out = "infinity";
        return true;
    }
    if (us == std::numeric_limits<std::int64_t>::min()) {
        out = "-infinity";
        return true;
    }
    append_timestamp(out, us, zone);
    return true;
}

[[nodiscard]] inline bool print_timetz(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto west = in.take<std::int32_t>();
    if (!in.complete() || us < 0) return false;
    out.clear();
    append_time(out, us);
    const auto offset = static_cast<std::uint64_t>(west < 0 ? -std::int64_t{west} : std::int64_t{west});
    out += west > 0 ? '-' : '+';
    append_padded(out, offset / 3600, 2);
    if (offset % 3600 != 0) {
        out += ':';
        append_padded(out, offset / 60 % 60, 2);
        if (offset % 60 != 0) {
            out += ':';
            append_padded(out, offset % 60, 2);
        }
    }
    return true;
}

/// ISO 8601 with designators, each part with its own sign: `P1Y2M-3DT4H5M6.5S`.
[[nodiscard]] inline bool print_interval(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto days = in.take<std::int32_t>();
    const auto months = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out = "P";
    const auto part = [&out](std::int64_t n, char unit) {
        if (n == 0) return;
        if (n < 0) out += '-';
        append_padded(out, n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n), 1);
        out += unit;
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if (us != 0) {
        out += 'T';
        part(us / 3'600'000'000, 'H');
        part(us / 60'000'000 % 60, 'M');
        if (const std::int64_t rest = us % 60'000'000; rest != 0) {
            if (rest < 0) out += '-';
            const auto size = static_cast<std::uint64_t>(rest < 0 ? -rest : rest);
            append_padded(out, size / 1'000'000, 1);
            if (size % 1'000'000 != 0) {
                out += '.';
                append_padded(out, size % 1'000'000, 6);
                while (out.back() == '0') out.pop_back();
            }
            out += 'S';
        }
    }
    if (out.size() == 1) out += "T0S";
    return true;
}

[[nodiscard]] inline bool print_uuid(std::span<const std::byte> bytes, std::string& out) {
    if (bytes.size() != 16) return false;
    out.clear();
    std::size_t at = 0;
    for (const std::size_t size : {4u, 2u, 2u, 2u, 6u}) {
        if (at != 0) out += '-';
        append_hex(out, bytes.subspan(at, size));
        at += size;
    }
    return true;
}

/// The longest run of zero groups becomes `::`, as in RFC 5952.
inline void append_ipv6(std::string& out, std::span<const std::byte> bytes) {
    std::uint16_t groups[8];
    wire_reader in{bytes};
    for (std::uint16_t& g : groups) g = in.take<std::uint16_t>();
    int best = -1, length = 1;
    for (int i = 0; i < 8;) {
        int n = 0;
        while (i + n < 8 && groups[i + n] == 0) ++n;
        if (n > length) best = i, length = n;
        i += n != 0 ? n : 1;
    }
    for (int i = 0; i < 8; ++i) {
        if (i == best) {
            out += "::";
            i += length - 1;
            continue;
        }
        if (i != 0 && out.back() != ':') out += ':';
        char digits[4];
        int n = 0;
        for (std::uint16_t g = groups[i]; n == 0 || g != 0; g = static_cast<std::uint16_t>(g >> 4))
            digits[n++] = "0123456789abcdef"[g & 15];
        while (n > 0) out += digits[--n];
    }
}

[[nodiscard]] inline bool print_inet(wire_reader in, std::string& out) {
    const auto family = in.take<std::uint8_t>();
    const auto bits = in.take<std::uint8_t>();
    const auto is_cidr = in.take<std::uint8_t>();
    const auto size = in.take<std::uint8_t>();
    const std::span<const std::byte> address = in.rest();
    if (in.is_short() || address.size() != size || (size != 4 && size != 16) || family != (size == 4 ? 2 : 3)) return false;
    out.clear();
    if (size == 4) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != 0) out += '.';
            append_padded(out, std::to_integer<std::uint64_t>(address[i]), 1);
        }
    } else {
        append_ipv6(out, address);
    }
    if (is_cidr != 0 || bits != 8 * size) {
        out += '/';
        append_padded(out, bits, 1);
    }
    return true;
}

[[nodiscard]] inline bool print_mac(std::span<const std::byte> bytes, std::size_t size, std::string& out) {
    if (bytes.size() != size) return false;
    out.clear();
    for (std::size_t i = 0; i < size; ++i) {
        if (i != 0) out += ':';
        append_hex(out, bytes.subspan(i, 1));
    }
    return true;
}

[[nodiscard]] inline bool print_bits(wire_reader in, std::string& out) {
    const auto count = in.take<std::int32_t>();
    const std::span<const std::byte> bytes = in.rest();
    if (in.is_short() || count < 0 || bytes.size() != (static_cast<std::size_t>(count) + 7) / 8) return false;
    out.clear();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        out += (std::to_integer<unsigned>(bytes[i / 8]) >> (7 - i % 8) & 1) != 0 ? '1' : '0';
    return true;
}

/// A value of a type that `class_of` calls text and `is_plain_text` does not, as text. False when the bytes are not of that type.
[[nodiscard]] inline bool print_value(::Oid type, std::span<const std::byte> bytes, std::string& out) {
    const wire_reader in{bytes};
    switch (type) {
        case oid::numeric:
            return print_numeric(in, out);
        case oid::uuid:
            return print_uuid(bytes, out);
        case oid::date:
            return print_date(in, out);
        case oid::timestamp:
            return print_timestamp(in, false, out);
        case oid::timestamptz:
            return print_timestamp(in, true, out);
        case oid::timetz:
            return print_timetz(in, out);
        case oid::interval:
            return print_interval(in, out);
        case oid::inet:
        case oid::cidr:
            return print_inet(in, out);
        case oid::macaddr:
            return print_mac(bytes, 6, out);
        case oid::macaddr8:
            return print_mac(bytes, 8, out);
        case oid::bit:
        case oid::varbit:
            return print_bits(in, out);
        case oid::time: {
            wire_reader r = in;
            const auto us = r.take<std::int64_t>();
            if (!r.complete() || us < 0) return false;
            out.clear();
            append_time(out, us);
            return true;
        }
        case oid::xid8: {
            wire_reader r = in;
            const auto id = r.take<std::uint64_t>();
            out.clear();
            append_padded(out, id, 1);
            return r.complete();
        }
        default:
            return false;
    }
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
