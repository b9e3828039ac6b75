// What codecs are written against: a value that is read, a place where parameters go, a row.
//
// Each driver models these three; `any_column_reader`, `any_parameter_writer` and `any_row` erase them.
#ifndef STRATA_VALUE_CONCEPTS_HPP
#define STRATA_VALUE_CONCEPTS_HPP

#include <strata/value/column.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// One value of a row. A getter is called only for the class that `type()` reports, and at most once a value. Texts and blobs are
/// views that live until the next row. A reader may offer more, which codecs find by `if constexpr (requires ...)`:
/// `std::optional<std::chrono::sys_time<std::chrono::microseconds>> timestamp()`, nullopt where the value is none.
template <class R>
concept column_reader = requires(const R& r) {
    // `type()` is missing, or not const, or does not return strata::column_type: the class of this value.
    { r.type() } -> std::same_as<column_type>;
    // `boolean()` is missing. A database without booleans never reports the class; returning false is enough.
    { r.boolean() } -> std::same_as<bool>;
    // `integer()` is missing, or returns another type than std::int64_t: convert before you return.
    { r.integer() } -> std::same_as<std::int64_t>;
    // `real()` is missing, or does not return double.
    { r.real() } -> std::same_as<double>;
    // `text()` is missing, or does not return a std::string_view (UTF-8, valid until the next row; not NUL-terminated).
    { r.text() } -> std::same_as<std::string_view>;
    // `blob()` is missing, or does not return a std::span<const std::byte> (valid until the next row).
    { r.blob() } -> std::same_as<std::span<const std::byte>>;
};

/// Where parameters go: each call writes the next one. A value that the database cannot hold (a NaN in SQLite, a text that is too
/// long) is kept by the writer and becomes the call's error.
template <class W>
concept parameter_writer = requires(W& w, std::string_view text, std::span<const std::byte> blob) {
    // `null()` is missing: writes NULL.
    w.null();
    // `boolean(bool)` is missing: writes the database's own truth value, or 0 and 1.
    w.boolean(true);
    // `integer(std::int64_t)` is missing.
    w.integer(std::int64_t{});
    // `real(double)` is missing.
    w.real(double{});
    // `text(std::string_view)` is missing: the characters live until the call ends, so they need not be copied.
    w.text(text);
    // `text_copy(std::string_view)` is missing: the characters may be gone when it returns.
    w.text_copy(text);
    // `blob(std::span<const std::byte>)` is missing: the bytes live until the call ends.
    w.blob(blob);
    // `blob_copy(std::span<const std::byte>)` is missing: the bytes may be gone when it returns.
    w.blob_copy(blob);
};

/// The current row, and the names of its columns. Valid until the next row. Where columns, not values, have types, a row may offer
/// `column_type static_type(int)`, the class of all values of a column (`null`: not known), and `type_of(int)`, what codecs of values that
/// hold values look at (`fits`, see nested.hpp): then a row type that does not fit is an error before the first row.
template <class Row>
concept row_reader = requires(const Row& r, int i) {
    // `size()` is missing: the number of columns, as int.
    { r.size() } -> std::same_as<int>;
    // `name(int)` is missing: a column's name as the statement gives it. Asked once a statement, not per row.
    { r.name(i) } -> std::same_as<std::string_view>;
    // `declared_type(int)` is missing: the type in the table's declaration, for error texts; empty where nobody knows.
    { r.declared_type(i) } -> std::same_as<std::string_view>;
    // `column(int)` is missing, or what it returns (by value, cheap to make) is no strata::column_reader.
    { r.column(i) } -> column_reader;
};

}  // namespace strata::inline STRATA_ABI

#endif
