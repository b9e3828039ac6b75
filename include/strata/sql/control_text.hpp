// Statements that only differ in a number, such as `savepoint strata_3`, without an allocation.
#ifndef STRATA_SQL_CONTROL_TEXT_HPP
#define STRATA_SQL_CONTROL_TEXT_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// A short control statement with a number in it, by value.
class control_text {
public:
    constexpr control_text(std::string_view words, unsigned number) noexcept {
        for (const char c : words) text_[size_++] = c;
        char digits[10];
        int count = 0;
        do {
            digits[count++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (count > 0) text_[size_++] = digits[--count];
    }
    [[nodiscard]] constexpr operator std::string_view() const noexcept { return {text_, size_}; }

private:
    char text_[40]{};
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif
