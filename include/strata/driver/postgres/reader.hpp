// A row of a result in binary form, as codecs read it.
#ifndef STRATA_DRIVER_POSTGRES_READER_HPP
#define STRATA_DRIVER_POSTGRES_READER_HPP

#include <strata/driver/postgres/catalogue.hpp>
#include <strata/driver/postgres/text.hpp>
#include <strata/value/nested.hpp>

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

/// What reading a connection's rows needs: the types that its database defines, and texts that were made of binary values, one a
/// column, which live until the next row.
struct reading_memory {
    type_catalogue types;
    std::vector<std::string> texts;
};

}  // namespace detail

class postgres_parts;

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class postgres_column {
public:
    postgres_column(const PGresult* r, int row, int column, detail::reading_memory& memory) noexcept
        : type_(::PQftype(r, column)), column_(column), data_(::PQgetvalue(r, row, column)), size_(::PQgetlength(r, row, column)),
          null_(size_ == 0 && ::PQgetisnull(r, row, column) != 0), memory_(memory) {}
    /// A part of a value in column `column`; no bytes: NULL.
    postgres_column(::Oid type, std::optional<std::span<const std::byte>> bytes, int column, detail::reading_memory& memory) noexcept
        : type_(type), column_(column), data_(bytes ? reinterpret_cast<const char*>(bytes->data()) : nullptr),
          size_(bytes ? static_cast<int>(bytes->size()) : 0), null_(!bytes), memory_(memory) {}

    [[nodiscard]] column_type type() const noexcept {
        if (null_) return column_type::null;
        const column_type c = detail::class_of(type_);
        return c == column_type::other && is_enum() ? column_type::text : c;
    }
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
            case 4:
                break;
            default:
                return 0;  // no integer
        }
        // oid, xid and their like have no sign
        return type_ == oid::int4 ? detail::big_endian<std::int32_t>(data_) : std::int64_t{detail::big_endian<std::uint32_t>(data_)};
    }
    [[nodiscard]] double real() const noexcept {
        if (size_ == 4) return std::bit_cast<float>(detail::big_endian<std::uint32_t>(data_));
        if (size_ != 8) return 0;  // no real
        return std::bit_cast<double>(detail::big_endian<std::uint64_t>(data_));
    }
    [[nodiscard]] std::string_view text() const {
        if (detail::is_plain_text(type_)) [[likely]]
            return {data_, static_cast<std::size_t>(size_)};
        if (type_ == oid::jsonb) return {data_ + 1, size_ > 0 ? static_cast<std::size_t>(size_) - 1 : 0};  // a version byte goes first
        if (is_enum()) return {data_, static_cast<std::size_t>(size_)};
        if (memory_.texts.size() <= static_cast<std::size_t>(column_)) memory_.texts.resize(static_cast<std::size_t>(column_) + 1);
        std::string& out = memory_.texts[static_cast<std::size_t>(column_)];
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

    /// The parts of an array, record, range ...; see `nested_reader`.
    [[nodiscard]] postgres_parts open(nesting what) const noexcept;

private:
    [[nodiscard]] bool is_enum() const noexcept {
        return type_ >= detail::first_own_type && memory_.types.shape(type_).kind == detail::type_kind::enumeration;
    }

    ::Oid type_;
    int column_;
    const char* data_;
    int size_;
    bool null_;
    detail::reading_memory& memory_;
};

/// The parts of a value that holds values. All that the bytes say is checked before it is believed. Parts live as long as the row.
class postgres_parts {
public:
    /// Not a value of this kind, or no sound header: not `ok()`.
    postgres_parts(nesting what, ::Oid type, std::span<const std::byte> bytes, int column, detail::reading_memory& memory) noexcept
        : what_(what), type_(type), in_(bytes), column_(column), memory_(memory) {
        const detail::type_shape shape = memory.types.shape(type);
        part_ = shape.part;
        ok_ = begin(shape.kind) && !in_.is_short();
        if (!ok_) left_ = 0;
    }

    /// Sound so far; after the last part, also that nothing is left over.
    [[nodiscard]] bool ok() const noexcept { return ok_ && (left_ > 0 || in_.complete()); }
    /// Parts that are still to come.
    [[nodiscard]] std::size_t size() const noexcept { return left_; }
    [[nodiscard]] std::span<const array_dimension> dimensions() const noexcept { return {dimensions_, dimension_count_}; }
    [[nodiscard]] std::uint8_t flags() const noexcept { return flags_; }
    /// Of the next part of a composite; empty for an anonymous record.
    [[nodiscard]] std::string_view part_name() const noexcept {
        const detail::own_type* const own = memory_.types.find(type_);
        return own != nullptr && taken_ < own->attributes.size() ? std::string_view{own->attributes[taken_]} : std::string_view{};
    }
    /// The next part; when there is none, or its bytes are not there, one that nothing reads, and `ok()` is false.
    [[nodiscard]] postgres_column next() noexcept {
        if (!ok_ || left_ == 0) return unsound();
        --left_;
        ++taken_;
        if (what_ == nesting::record) part_ = in_.take<std::uint32_t>();
        const auto size = in_.take<std::int32_t>();
        const ::Oid type = memory_.types.base(part_);
        if (size == -1 && what_ != nesting::range && what_ != nesting::multirange && !in_.is_short())
            return {type, std::nullopt, column_, memory_};
        if (size < 0) return unsound();
        const std::span<const std::byte> bytes = in_.take_bytes(static_cast<std::size_t>(size));
        const int fixed = detail::fixed_size(type);
        if (in_.is_short() || (fixed >= 0 && size != fixed)) return unsound();
        return {type, bytes, column_, memory_};
    }

private:
    [[nodiscard]] postgres_column unsound() noexcept {
        ok_ = false;
        left_ = 0;
        return {0, std::span<const std::byte>{}, column_, memory_};
    }
    /// Reads the header; false when it is none.
    [[nodiscard]] bool begin(detail::type_kind kind) noexcept {
        if (!detail::is_kind(what_, kind)) return false;
        switch (what_) {
            case nesting::array:
                return begin_array();
            case nesting::record:
                return count(8);
            case nesting::range:
                flags_ = in_.take<std::uint8_t>();
                if ((flags_ & range_flag::empty) != 0) return true;
                for (const std::uint8_t missing : {range_flag::lower_infinite, range_flag::upper_infinite})
                    if ((flags_ & missing) == 0) ++left_;
                return true;
            case nesting::multirange:
                return count(4);
            case nesting::pairs:
                if (!count(8)) return false;
                left_ *= 2;
                part_ = oid::text;
                return true;
        }
        return false;
    }
    /// Takes the number of parts, each of which has at least `least` bytes.
    [[nodiscard]] bool count(std::size_t least) noexcept {
        const auto n = in_.take<std::int32_t>();
        if (n < 0 || static_cast<std::size_t>(n) > in_.rest().size() / least) return false;
        left_ = static_cast<std::size_t>(n);
        return true;
    }
    [[nodiscard]] bool begin_array() noexcept {
        const auto n = in_.take<std::int32_t>();
        static_cast<void>(in_.take<std::int32_t>());  // whether there are NULLs: each part says so itself
        part_ = in_.take<std::uint32_t>();
        if (n < 0 || n > most_dimensions) return false;
        std::uint64_t product = n == 0 ? 0 : 1;
        for (; dimension_count_ < static_cast<std::size_t>(n); ++dimension_count_) {
            const auto size = in_.take<std::int32_t>();
            const auto lower = in_.take<std::int32_t>();
            if (size < 0 || __builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product)) return false;
            dimensions_[dimension_count_] = {size, lower};
        }
        if (product > in_.rest().size() / 4) return false;  // each element has a length
        left_ = static_cast<std::size_t>(product);
        return true;
    }

    static constexpr int most_dimensions = 6;  // MAXDIM of the server

    nesting what_;
    ::Oid type_;
    ::Oid part_ = 0;
    detail::wire_reader in_;
    int column_;
    detail::reading_memory& memory_;
    std::size_t left_ = 0;
    std::size_t taken_ = 0;
    array_dimension dimensions_[most_dimensions];
    std::size_t dimension_count_ = 0;
    std::uint8_t flags_ = 0;
    bool ok_ = false;
};

inline postgres_parts postgres_column::open(nesting what) const noexcept {
    return {what, type_, bytes(), column_, memory_};
}

/// The type of a column, or of a part of its values; models `nested_type`.
class postgres_type {
public:
    postgres_type(::Oid type, const detail::type_catalogue& types) noexcept : type_(types.base(type)), types_(&types) {}

    [[nodiscard]] column_type type() const noexcept {
        const column_type c = detail::class_of(type_);
        return c == column_type::other && kind() == detail::type_kind::enumeration ? column_type::text : c;
    }
    /// The number of the server's type; of a domain, of its base.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    [[nodiscard]] bool is(nesting what) const noexcept { return detail::is_kind(what, kind()); }
    [[nodiscard]] postgres_type part() const noexcept {
        return {kind() == detail::type_kind::hstore ? ::Oid{oid::text} : types_->shape(type_).part, *types_};
    }
    [[nodiscard]] int parts() const noexcept {
        const detail::own_type* const own = types_->find(type_);
        return own != nullptr ? static_cast<int>(own->attributes.size()) : -1;
    }
    [[nodiscard]] postgres_type part(int i) const noexcept {
        return {types_->find(type_)->attribute_types[static_cast<std::size_t>(i)], *types_};
    }
    [[nodiscard]] std::string_view part_name(int i) const noexcept { return types_->find(type_)->attributes[static_cast<std::size_t>(i)]; }

private:
    [[nodiscard]] detail::type_kind kind() const noexcept { return types_->shape(type_).kind; }

    ::Oid type_;
    const detail::type_catalogue* types_;
};

/// A row of a result, or with row -1 only its columns; models `row_reader`.
class postgres_row {
public:
    postgres_row(const PGresult* r, int row, detail::reading_memory& memory) noexcept : result_(r), row_(row), memory_(memory) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(result_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(result_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return memory_.types.name(::PQftype(result_, i)); }
    /// The class of all values of a column, and its type in full.
    [[nodiscard]] column_type static_type(int i) const noexcept { return type_of(i).type(); }
    [[nodiscard]] postgres_type type_of(int i) const noexcept { return {::PQftype(result_, i), memory_.types}; }
    [[nodiscard]] postgres_column column(int i) const noexcept { return {result_, row_, i, memory_}; }

private:
    const PGresult* result_;
    int row_;
    detail::reading_memory& memory_;
};

}  // namespace strata::inline STRATA_ABI

#endif
