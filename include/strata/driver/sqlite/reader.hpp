// A row of a running statement, as codecs read it.
//
// `sqlite3_column_value` is asked once a column; what it points to is then read directly. SQLite calls such
// values unprotected: fine here, because a connection is used by one thread at a time and has no mutex.
#ifndef STRATA_DRIVER_SQLITE_READER_HPP
#define STRATA_DRIVER_SQLITE_READER_HPP

#include <strata/core/config.hpp>
#include <strata/value/column.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class sqlite_column {
public:
    explicit sqlite_column(::sqlite3_value* value) noexcept : value_(value) {}

    /// The usual classes first: a codec that asks for one of them is left with a single comparison.
    [[nodiscard]] column_type type() const noexcept {
        const int t = ::sqlite3_value_type(value_);
        if (t == SQLITE_INTEGER) return column_type::integer;
        if (t == SQLITE_TEXT) return column_type::text;
        if (t == SQLITE_FLOAT) return column_type::real;
        return t == SQLITE_BLOB ? column_type::blob : column_type::null;
    }
    /// Never asked: SQLite has no booleans.
    [[nodiscard]] bool boolean() const noexcept { return integer() != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return ::sqlite3_value_int64(value_); }
    [[nodiscard]] double real() const noexcept { return ::sqlite3_value_double(value_); }
    [[nodiscard]] std::string_view text() const noexcept {
        const unsigned char* const text = ::sqlite3_value_text(value_);  // before the size: it may convert
        if (text == nullptr) return {};                                  // no memory: the next step says so
        return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(::sqlite3_value_bytes(value_))};
    }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept {
        const void* const data = ::sqlite3_value_blob(value_);
        if (data == nullptr) return {};
        return {static_cast<const std::byte*>(data), static_cast<std::size_t>(::sqlite3_value_bytes(value_))};
    }

private:
    ::sqlite3_value* value_;
};

namespace detail {

/// How many bytes lie between two values of a row; 0 when they do not stand in a row.
///
/// SQLite's virtual machine keeps a result row in consecutive registers (opcode ResultRow), so the address of its first
/// value gives all the others. No interface promises it: it is looked at once a connection, and where it is not so,
/// each value is asked for by `sqlite3_column_value`, which costs as much as all the rest of reading an integer.
[[nodiscard]] STRATA_COLD inline std::size_t distance_of_values(::sqlite3* db) noexcept {
    ::sqlite3_stmt* row = nullptr;
    std::size_t distance = 0;
    if (::sqlite3_prepare_v2(db, "select 1, 'two', 3.0, null", -1, &row, nullptr) == SQLITE_OK && ::sqlite3_step(row) == SQLITE_ROW) {
        const auto address = [row](int i) { return reinterpret_cast<std::uintptr_t>(::sqlite3_column_value(row, i)); };
        const std::uintptr_t step = address(1) - address(0);
        const bool even = address(1) > address(0) && address(2) - address(1) == step && address(3) - address(2) == step;
        distance = even ? step : 0;
    }
    ::sqlite3_finalize(row);
    return distance;
}

}  // namespace detail

/// The current row of a statement; models `row_reader`. Only valid until the statement takes its next step.
class sqlite_row {
public:
    /// `distance` is that of `detail::distance_of_values`; 0 is always right, and needed where there is no row.
    explicit sqlite_row(::sqlite3_stmt* statement, std::size_t distance = 0) noexcept
        : statement_(statement), distance_(distance), first_(distance != 0 ? ::sqlite3_column_value(statement, 0) : nullptr) {}

    [[nodiscard]] int size() const noexcept { return ::sqlite3_column_count(statement_); }
    [[nodiscard]] std::string_view name(int i) const noexcept { return view(::sqlite3_column_name(statement_, i)); }
    [[nodiscard]] sqlite_column column(int i) const noexcept {
        if (distance_ == 0) [[unlikely]]
            return sqlite_column{::sqlite3_column_value(statement_, i)};
        const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(first_) + static_cast<std::size_t>(i) * distance_;
        return sqlite_column{reinterpret_cast<::sqlite3_value*>(at)};
    }
    /// As the table declares it, such as `INTEGER`; empty for an expression.
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return view(::sqlite3_column_decltype(statement_, i)); }

private:
    static std::string_view view(const char* text) noexcept { return text != nullptr ? std::string_view{text} : std::string_view{}; }

    ::sqlite3_stmt* statement_;
    std::size_t distance_;
    ::sqlite3_value* first_;
};

}  // namespace strata::inline STRATA_ABI

#endif
