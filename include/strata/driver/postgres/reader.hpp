// A row of a result in binary form, as codecs read it.
#ifndef STRATA_DRIVER_POSTGRES_READER_HPP
#define STRATA_DRIVER_POSTGRES_READER_HPP

#include <strata/driver/postgres/text.hpp>

#include <libpq-fe.h>

#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Int>
[[nodiscard]] STRATA_INLINE Int big_endian(const char* p) noexcept {
    std::make_unsigned_t<Int> n;
    std::memcpy(&n, p, sizeof n);
    if constexpr (std::endian::native == std::endian::little) {
        if constexpr (sizeof n == 2)
            n = __builtin_bswap16(n);
        else if constexpr (sizeof n == 4)
            n = __builtin_bswap32(n);
        else if constexpr (sizeof n == 8)
            n = __builtin_bswap64(n);
    }
    return static_cast<Int>(n);
}

/// Texts that were made of binary values, one a column: they live until the next row.
using printed_columns = std::vector<std::string>;

}  // namespace detail

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class postgres_column {
public:
    postgres_column(const PGresult* r, int row, int column, detail::printed_columns& printed) noexcept
        : type_(::PQftype(r, column)), column_(column), data_(::PQgetvalue(r, row, column)), size_(::PQgetlength(r, row, column)),
          null_(::PQgetisnull(r, row, column) != 0), printed_(printed) {}

    [[nodiscard]] column_type type() const noexcept { return null_ ? column_type::null : detail::class_of(type_); }
    /// The number of the server's type.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    /// The value as it came.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {reinterpret_cast<const std::byte*>(data_), static_cast<std::size_t>(size_)};
    }

    [[nodiscard]] bool boolean() const noexcept { return size_ == 1 && data_[0] != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept {
        switch (size_) {
            case 2:
                return detail::big_endian<std::int16_t>(data_);
            case 8:
                return detail::big_endian<std::int64_t>(data_);
            default:
                break;
        }
        // oid, xid and their like have no sign
        return type_ == oid::int4 ? detail::big_endian<std::int32_t>(data_) : std::int64_t{detail::big_endian<std::uint32_t>(data_)};
    }
    [[nodiscard]] double real() const noexcept {
        if (size_ == 4) return std::bit_cast<float>(detail::big_endian<std::uint32_t>(data_));
        return std::bit_cast<double>(detail::big_endian<std::uint64_t>(data_));
    }
    [[nodiscard]] std::string_view text() const {
        if (detail::is_plain_text(type_)) [[likely]]
            return {data_, static_cast<std::size_t>(size_)};
        if (type_ == oid::jsonb) return {data_ + 1, size_ > 0 ? static_cast<std::size_t>(size_) - 1 : 0};  // a version byte goes first
        if (printed_.size() <= static_cast<std::size_t>(column_)) printed_.resize(static_cast<std::size_t>(column_) + 1);
        std::string& out = printed_[static_cast<std::size_t>(column_)];
        if (!detail::print_value(type_, bytes(), out)) out.clear();
        return out;
    }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return bytes(); }

    /// A timestamp, with or without zone, as a point of time; nothing for another type, NULL or an infinity. One without zone is
    /// taken for UTC.
    [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::microseconds>> timestamp() const noexcept {
        if (null_ || size_ != 8 || (type_ != oid::timestamptz && type_ != oid::timestamp)) return std::nullopt;
        const auto us = detail::big_endian<std::int64_t>(data_);
        constexpr std::int64_t from_1970 = 946'684'800'000'000;  // 1970 to 2000
        if (us == std::numeric_limits<std::int64_t>::min() || us > std::numeric_limits<std::int64_t>::max() - from_1970)
            return std::nullopt;
        return std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{us + from_1970}};
    }

private:
    ::Oid type_;
    int column_;
    const char* data_;
    int size_;
    bool null_;
    detail::printed_columns& printed_;
};

/// A row of a result, or with row -1 only its columns; models `row_reader`.
class postgres_row {
public:
    postgres_row(const PGresult* r, int row, detail::printed_columns& printed) noexcept : result_(r), row_(row), printed_(printed) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(result_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(result_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return detail::type_name(::PQftype(result_, i)); }
    [[nodiscard]] postgres_column column(int i) const noexcept { return {result_, row_, i, printed_}; }

private:
    const PGresult* result_;
    int row_;
    detail::printed_columns& printed_;
};

}  // namespace strata::inline STRATA_ABI

#endif
