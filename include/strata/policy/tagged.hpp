// Telling two policies of one kind apart. `circuit_breaker<>` takes `circuit_breaker_options`; the one with a tag,
// `circuit_breaker<struct reads>`, takes `tagged<struct reads, circuit_breaker_options>{{...}}`.
#ifndef STRATA_POLICY_TAGGED_HPP
#define STRATA_POLICY_TAGGED_HPP

#include <strata/core/error.hpp>

#include <type_traits>

namespace strata::inline STRATA_ABI {

/// Options for the policy with this tag.
template <class Tag, class Options>
struct tagged {
    Options value{};

    [[nodiscard]] error validate() const { return value.validate(); }
};

namespace detail {

template <class Tag, class Options>
using options_for = std::conditional_t<std::is_void_v<Tag>, Options, tagged<Tag, Options>>;

template <class Options>
[[nodiscard]] constexpr const Options& untagged(const Options& o) noexcept {
    return o;
}
template <class Tag, class Options>
[[nodiscard]] constexpr const Options& untagged(const tagged<Tag, Options>& o) noexcept {
    return o.value;
}

/// `errc::invalid_argument` with "retry_options.base: must be positive".
[[nodiscard]] STRATA_COLD inline error bad_option(std::string_view field, std::string_view rule) {
    std::string text{field};
    text.append(": ").append(rule);
    return error{errc::invalid_argument, std::move(text), phase::admission};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
