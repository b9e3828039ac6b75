// The classes of values that a database hands out.
//
// SQLite types values, not columns: two rows of one column may hold an integer and a text. So a class belongs to the value
// that is read, and each value is checked when it is read; a typed database reports the same class for every row.
#ifndef STRATA_VALUE_COLUMN_HPP
#define STRATA_VALUE_COLUMN_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// The class of one value. `other`: only the driver's own getters can read it (a native timestamp, an array ...).
enum class column_type : std::uint8_t { null, boolean, integer, real, text, blob, other };

[[nodiscard]] constexpr std::string_view to_string(column_type type) noexcept {
    constexpr std::string_view names[] = {"null", "boolean", "integer", "real", "text", "blob", "other"};
    return names[static_cast<std::size_t>(type)];
}

/// Kinds of values that hold values; see nested.hpp.
enum class nesting : std::uint8_t { array, record, range, multirange, pairs };

/// One dimension of an array.
struct array_dimension {
    std::int32_t size = 0;
    std::int32_t lower = 1;  ///< the number of the first element

    [[nodiscard]] constexpr bool operator==(const array_dimension&) const noexcept = default;
};

}  // namespace strata::inline STRATA_ABI

#endif
