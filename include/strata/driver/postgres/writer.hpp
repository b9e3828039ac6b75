// Arguments of a statement as the server's types want them: binary where the form is plain, text where the server parses best.
#ifndef STRATA_DRIVER_POSTGRES_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_WRITER_HPP

#include <strata/core/error.hpp>
#include <strata/driver/postgres/text.hpp>

#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {

/// Collects the parameters of one statement; models `parameter_writer`. The types are those that the server has described. Memory is
/// kept for the next statement.
class postgres_writer {
public:
    /// Begins a new statement; without types (nothing was described) everything but bytes goes as text, which the server parses.
    void reset(std::span<const ::Oid> types, bool described) {
        types_ = types;
        described_ = described;
        values_.clear();
        lengths_.clear();
        formats_.clear();
        offsets_.clear();
        own_.clear();
        refused_ = errc::ok;
    }

    void null() { add(nullptr, 0, 0); }
    void boolean(bool v) {
        if (next_type() == oid::boolean) {
            const char byte = v ? 1 : 0;
            return add_copy({&byte, 1}, 1);
        }
        add_copy(v ? "true" : "false", 0);
    }
    /// What does not fit the server's type is refused; digits go to types that take them.
    void integer(std::int64_t v) {
        switch (next_type()) {
            case oid::int8:
                return add_number(static_cast<std::uint64_t>(v));
            case oid::int4:
                return v == static_cast<std::int32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::int2:
                return v == static_cast<std::int16_t>(v) ? add_number(static_cast<std::uint16_t>(v)) : refuse(errc::out_of_range);
            case oid::oid:
                return v == static_cast<std::uint32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::float8: {
                const auto d = static_cast<double>(v);
                // exact: compared as integers, and 2^63 itself is none
                if (d >= 9223372036854775808.0 || static_cast<std::int64_t>(d) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint64_t>(d));
            }
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (f >= 9223372036854775808.0F || static_cast<std::int64_t>(f) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    void real(double v) {
        switch (next_type()) {
            case oid::float8:
                return add_number(std::bit_cast<std::uint64_t>(v));
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (std::isfinite(v) && !std::isfinite(f)) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            // The server would round to a whole number.
            case oid::int2:
            case oid::int4:
            case oid::int8:
            case oid::oid:
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        if (!std::isfinite(v)) return add_copy(std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity", 0);
        char digits[40];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;  // the shortest text that reads back as the same number
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    /// Not copied: must live until the call ends. A text for another type is parsed by the server.
    void text(std::string_view v) {
        if (described_ && detail::is_plain_text(next_type())) {
            if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);  // no text of the server's has one
            return add(v.data() != nullptr ? v.data() : "", v.size(), 1);
        }
        text_copy(v);
    }
    void text_copy(std::string_view v) {
        const ::Oid type = next_type();
        if (type == oid::bytea) return refuse(errc::type_mismatch);  // the server would read escapes in it
        if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);
        add_copy(v, described_ && detail::is_plain_text(type) ? 1 : 0);
    }
    void blob(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add(v.data() != nullptr ? reinterpret_cast<const char*>(v.data()) : "", v.size(), 1);
    }
    void blob_copy(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add_copy({reinterpret_cast<const char*>(v.data()), v.size()}, 1);
    }
    /// A point of time; for a column without zone, in UTC.
    void timestamp(std::chrono::sys_time<std::chrono::microseconds> t) {
        constexpr std::int64_t from_1970 = 946'684'800'000'000;
        const std::int64_t us = t.time_since_epoch().count();
        if (us < std::numeric_limits<std::int64_t>::min() + 1 + from_1970) return refuse(errc::out_of_range);
        switch (next_type()) {
            case oid::timestamptz:
            case oid::timestamp:
                return add_number(static_cast<std::uint64_t>(us - from_1970));
            default:
                break;
        }
        if (described_ && class_of_next() != column_type::text) return refuse(errc::type_mismatch);
        const std::int64_t since = us - from_1970;
        const std::int64_t days = since / detail::microseconds_a_day - (since % detail::microseconds_a_day < 0 ? 1 : 0);
        std::string text;
        const bool after_christ = detail::append_date(text, days);
        text += ' ';
        detail::append_time(text, since - days * detail::microseconds_a_day);
        text.append(after_christ ? "+00" : "+00 BC");
        add_copy(text, described_ && detail::is_plain_text(next_type()) ? 1 : 0);
    }

    [[nodiscard]] errc refused() const noexcept { return refused_; }
    [[nodiscard]] int written() const noexcept { return static_cast<int>(values_.size()); }

    /// For libpq; valid until `reset`. Call `finish` once after the last parameter.
    void finish() noexcept {
        for (std::size_t i = 0; i < values_.size(); ++i)
            if (offsets_[i] != not_own) values_[i] = own_.data() + offsets_[i];
    }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    static constexpr std::size_t not_own = static_cast<std::size_t>(-1);

    [[nodiscard]] ::Oid next_type() const noexcept { return values_.size() < types_.size() ? types_[values_.size()] : oid::unknown; }
    [[nodiscard]] column_type class_of_next() const noexcept { return detail::class_of(next_type()); }
    [[nodiscard]] bool takes_bytes(std::size_t size) const noexcept {
        return !described_ || next_type() == oid::bytea || (next_type() == oid::uuid && size == 16);
    }
    void add(const char* data, std::size_t size, int format) {
        if (size > 0x3fffffff) return refuse(errc::too_big);  // a field holds at most 1 GB
        values_.push_back(data);
        lengths_.push_back(static_cast<int>(size));
        formats_.push_back(format);
        offsets_.push_back(not_own);
    }
    void add_copy(std::string_view v, int format) {
        const std::size_t at = own_.size();
        own_.append(v);
        own_.push_back('\0');  // libpq reads texts up to their NUL
        add("", v.size(), format);
        if (!offsets_.empty()) offsets_.back() = at;
    }
    template <class Unsigned>
    void add_number(Unsigned n) {
        char bytes[sizeof n];
        for (std::size_t i = 0; i < sizeof n; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(n >> (8 * (sizeof n - 1 - i))));
        add_copy({bytes, sizeof n}, 1);
    }
    void refuse(errc why) {
        if (refused_ == errc::ok) refused_ = why;
        values_.push_back(nullptr);
        lengths_.push_back(0);
        formats_.push_back(0);
        offsets_.push_back(not_own);
    }

    std::span<const ::Oid> types_;
    bool described_ = false;
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    std::vector<std::size_t> offsets_;  // into `own_`, which moves while it grows
    std::string own_;
    errc refused_ = errc::ok;
};

}  // namespace strata::inline STRATA_ABI

#endif
