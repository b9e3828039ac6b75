// Texts of errors, put together from parts. A chain of `+` and `std::to_string` says the same, but is compiled anew in
// every program: C++20's std::string is a template without an instantiation in the standard library.
#ifndef STRATA_CORE_JOINED_HPP
#define STRATA_CORE_JOINED_HPP

#include <strata/core/config.hpp>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// A number's digits, readable while the object lives: `joined({"argument ", digits_of(3)})`.
class digits_of {
public:
    explicit digits_of(std::int64_t n) noexcept {
        std::uint64_t rest = n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
        do text_[--from_] = static_cast<char>('0' + rest % 10);
        while ((rest /= 10) != 0);
        if (n < 0) text_[--from_] = '-';
    }
    explicit digits_of(std::size_t n) noexcept : digits_of(static_cast<std::int64_t>(n)) {}
    explicit digits_of(int n) noexcept : digits_of(static_cast<std::int64_t>(n)) {}
    operator std::string_view() const noexcept { return {text_ + from_, sizeof text_ - from_}; }

private:
    char text_[20];
    unsigned from_ = sizeof text_;
};

[[nodiscard]] STRATA_COLD inline std::string joined(std::initializer_list<std::string_view> parts) {
    std::string text;
    for (const std::string_view part : parts) text.append(part.data(), part.size());
    return text;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
