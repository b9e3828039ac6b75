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

/// A set of classes: `column_classes{column_type::integer, column_type::boolean}`. NULL belongs to none, and every column may have it.
class column_classes {
public:
    /// All.
    constexpr column_classes() noexcept = default;
    template <class... Types>
    explicit constexpr column_classes(column_type first, Types... more) noexcept
        : bits_(static_cast<std::uint8_t>((bit(first) | ... | bit(more)))) {}

    [[nodiscard]] constexpr bool has(column_type type) const noexcept { return (bits_ & bit(type)) != 0; }
    [[nodiscard]] constexpr std::uint8_t bits() const noexcept { return bits_; }

private:
    static constexpr unsigned bit(column_type type) noexcept { return 1U << static_cast<unsigned>(type); }

    std::uint8_t bits_ = 0xff;
};

/// Kinds of values that hold values; see nested.hpp.
enum class nesting : std::uint8_t { array, record, range, multirange, pairs };

/// The flags of a range, as PostgreSQL's binary form has them (src/include/utils/rangetypes.h).
namespace range_flag {
inline constexpr std::uint8_t empty = 0x01;
inline constexpr std::uint8_t lower_included = 0x02;
inline constexpr std::uint8_t upper_included = 0x04;
inline constexpr std::uint8_t lower_infinite = 0x08;
inline constexpr std::uint8_t upper_infinite = 0x10;
}  // namespace range_flag

/// One dimension of an array.
struct array_dimension {
    std::int32_t size = 0;
    std::int32_t lower = 1;  ///< the number of the first element

    [[nodiscard]] constexpr bool operator==(const array_dimension&) const noexcept = default;
};

}  // namespace strata::inline STRATA_ABI

#endif
