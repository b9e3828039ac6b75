// Digits to numbers and back, for the texts of timestamps and uuids: without locale, format or streams.
#ifndef STRATA_VALUE_DIGITS_HPP
#define STRATA_VALUE_DIGITS_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <string_view>

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
