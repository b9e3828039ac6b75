// A string that can be a template argument: the text of a literal, the name of an argument.
#ifndef STRATA_SQL_FIXED_STRING_HPP
#define STRATA_SQL_FIXED_STRING_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// A string of `Size - 1` characters and a NUL, structural.
template <std::size_t Size>
struct fixed_string {
    char characters[Size]{};

    constexpr fixed_string(const char (&text)[Size]) noexcept {
        for (std::size_t i = 0; i < Size; ++i) characters[i] = text[i];
    }
    /// From `Size - 1` characters that need not end with a NUL, as reflection libraries give member names.
    constexpr fixed_string(const char* text, std::size_t length) noexcept {
        for (std::size_t i = 0; i < length && i + 1 < Size; ++i) characters[i] = text[i];
    }

    [[nodiscard]] static constexpr std::size_t size() noexcept { return Size - 1; }
    [[nodiscard]] constexpr std::string_view view() const noexcept { return {characters, Size - 1}; }
};

namespace detail {

/// Equality for constant evaluation: libstdc++'s `string_view` compares step by step through four calls.
[[nodiscard]] constexpr bool same_text(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i)
        if (a[i] != b[i]) return false;
    return true;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
