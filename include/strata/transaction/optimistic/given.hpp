// What a versioned write is given by its caller: a row that was read, a row that carries its version, a row or a key with a version beside
// it, or a key alone. Each has `keys(table)`, and the `value()`, `base()` and `version()` that it can have. They hold what the caller gave
// by reference, or where the call outlives it by value.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_GIVEN_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_GIVEN_HPP

#include <strata/transaction/optimistic/versioned.hpp>

#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class>
inline constexpr bool is_versioned = false;
template <class T>
inline constexpr bool is_versioned<versioned<T>> = true;

/// A row that was read before.
template <class T, class Kept>
struct given_versioned {
    Kept row;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row.base());
    }
    [[nodiscard]] const T& value() const { return *row; }
    [[nodiscard]] const T& base() const { return row.base(); }
    [[nodiscard]] const version_of<T>& version() const { return row.version(); }
};
/// A row that carries its version.
template <class T, class Kept>
struct given_row {
    Kept row;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row);
    }
    [[nodiscard]] const T& value() const { return row; }
    [[nodiscard]] const version_of<T>& version() const {
        static_assert(has_version_column<T>,
                      "strata: this row does not carry its version: give what find_versioned returned, or "
                      "strata::expect_version{...} beside it");
        if constexpr (has_version_column<T>) return get_member<version_type<T>::number>(row);
    }
};
/// A row and its version beside it.
template <class T, class Kept>
struct given_row_and_version {
    Kept row;
    version_of<T> expected;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_of(row);
    }
    [[nodiscard]] const T& value() const { return row; }
    [[nodiscard]] const version_of<T>& version() const { return expected; }
};
/// A key, and a version beside it.
template <class T, class Kept>
struct given_key_and_version {
    Kept key;
    version_of<T> expected;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_from(key);
    }
    [[nodiscard]] const version_of<T>& version() const { return expected; }
};
/// A key alone.
template <class T, class Kept>
struct given_key {
    Kept key;
    template <class Table>
    [[nodiscard]] auto keys() const {
        return Table::key_from(key);
    }
};

template <class Row>
struct row_of {
    using type = Row;
};
template <class T>
struct row_of<versioned<T>> {
    using type = T;
};

/// What the caller gave for a row, kept as `Kept` (by reference, or for a call that outlives its expression by value).
template <class Kept>
[[nodiscard]] auto given_for(Kept&& row) {
    using given = std::remove_cvref_t<Kept>;
    using kept = std::conditional_t<std::is_lvalue_reference_v<Kept>, const given&, given>;
    if constexpr (is_versioned<given>)
        return given_versioned<typename given::row_type, kept>{std::forward<Kept>(row)};
    else
        return given_row<given, kept>{std::forward<Kept>(row)};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
