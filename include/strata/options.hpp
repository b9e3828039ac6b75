// Options reach their layer by type, in any order.
#ifndef STRATA_OPTIONS_HPP
#define STRATA_OPTIONS_HPP

#include <strata/core/error.hpp>
#include <strata/stack.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Layer, class Option>
inline constexpr bool takes_option = std::is_same_v<typename options_type<Layer>::type, Option>;
/// A source that holds another one takes the options of both.
template <class Layer, class Option>
    requires requires { typename Layer::inner; }
inline constexpr bool takes_option<Layer, Option> =
    std::is_same_v<typename options_type<Layer>::type, Option> || takes_option<typename Layer::inner, Option>;

template <class Option, class Stack>
inline constexpr bool belongs_to = false;
template <class Option, class... T>
inline constexpr bool belongs_to<Option, stack<T...>> = (takes_option<T, Option> || ...);

/// The given options of type `Wanted`, or its defaults.
template <class Wanted>
[[nodiscard]] Wanted pick_option() {
    return Wanted{};
}
template <class Wanted, class First, class... Rest>
[[nodiscard]] Wanted pick_option(const First& first, const Rest&... rest) {
    if constexpr (std::is_same_v<Wanted, First>)
        return first;
    else
        return pick_option<Wanted>(rest...);
}

/// Throws when the options themselves say that a value makes no sense.
template <class Options>
const Options& checked(const Options& o) {
    if constexpr (requires { o.validate(); }) {
        if (error e = o.validate()) throw_failure(std::move(e));
    }
    return o;
}

/// Makes a source, in place.
template <class Source, class Layer, class Target, class... Given>
[[nodiscard]] Source make_source(const Target& target, const Given&... given) {
    using wanted = typename options_type<Layer>::type;
    if constexpr (requires { typename Layer::inner; })
        return Source(checked(pick_option<wanted>(given...)),
                      checked(pick_option<typename options_type<typename Layer::inner>::type>(given...)), target);
    else
        return Source(checked(pick_option<wanted>(given...)), target);
}

/// Makes a policy from its options, in place.
template <class Policy, class... Given>
[[nodiscard]] Policy make_policy(const Given&... given) {
    using wanted = typename options_type<Policy>::type;
    if constexpr (std::is_void_v<wanted>)
        return Policy{};
    else
        return Policy(checked(pick_option<wanted>(given...)));
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
