// A stack: the list of layers from the top to the driver, and the law of its order.
//
//   using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::pool<>, strata::sqlite>;
//
// `stack_traits` sorts the list into interceptors, source and driver and checks it; the checks fire in the
// faces (`database<bank>`), one `static_assert` each, and know no policy by name: only places.
#ifndef STRATA_STACK_HPP
#define STRATA_STACK_HPP

#include <strata/core/layers.hpp>

namespace strata::inline STRATA_ABI {

/// The layers of a client, read downwards: a call falls from the first to the last, which is the driver.
template <class... Layers>
struct stack {};

namespace detail {

template <class... T>
struct type_list {};

template <class T>
concept has_place = requires {
    { T::place } -> std::convertible_to<strata::place>;
};

template <class T>
concept has_driver_place = has_place<T> && T::place == place::driver;
template <class T>
concept has_source_place = has_place<T> && T::place == place::source;
template <class T>
concept has_interceptor_place = has_place<T> && T::place < place::source;

template <class... T>
constexpr bool places_ascend() {
    if constexpr ((has_place<T> && ...)) {
        constexpr strata::place all[] = {T::place..., place::driver};
        for (std::size_t i = 1; i <= sizeof...(T); ++i)
            if (all[i - 1] > all[i]) return false;
    }
    return true;
}

template <class T, class... All>
inline constexpr std::size_t occurrences = (std::size_t{0} + ... + (std::is_same_v<T, All> ? 1u : 0u));

/// The interceptors of a list, in order.
template <class Kept, class... Rest>
struct only_interceptors {
    using type = Kept;
};
template <class... Kept, class First, class... Rest>
struct only_interceptors<layers<Kept...>, First, Rest...>
    : only_interceptors<std::conditional_t<has_interceptor_place<First>, layers<Kept..., First>, layers<Kept...>>, Rest...> {};

template <class... T>
struct source_in {
    using type = void;
};
template <class First, class... Rest>
struct source_in<First, Rest...> : source_in<Rest...> {};
template <class First, class... Rest>
    requires has_source_place<First>
struct source_in<First, Rest...> {
    using type = First;
};

template <class... T>
struct driver_in {
    using type = void;
};
template <class First, class... Rest>
struct driver_in<First, Rest...> : driver_in<Rest...> {};
template <class First, class... Rest>
    requires has_driver_place<First>
struct driver_in<First, Rest...> {
    using type = First;
};

template <class Stack>
struct stack_traits {
    static_assert(sizeof(Stack) == 0,
                  "strata: a database takes a stack: write strata::database<strata::stack<..., strata::pool<>, strata::sqlite>>");
};

/// The sorted list. By itself, so that a failed check does not hide it and bring more errors.
template <class Stack>
struct stack_parts;
template <class... T>
struct stack_parts<stack<T...>> {
    using interceptors = typename only_interceptors<layers<>, T...>::type;
    using source_layer = typename source_in<T...>::type;
    using driver = typename driver_in<T...>::type;
};

template <class... T>
struct stack_traits<stack<T...>> : stack_parts<stack<T...>> {
    static_assert((has_place<T> && ...),
                  "strata: something in the stack is no layer: every layer states its place, as in  static constexpr auto place = "
                  "strata::place::observe;");
    static_assert((std::size_t{0} + ... + (has_driver_place<T> ? 1u : 0u)) == 1,
                  "strata: a stack ends with exactly one driver: write stack<..., strata::pool<>, strata::sqlite>");
    static_assert((std::size_t{0} + ... + (has_source_place<T> ? 1u : 0u)) == 1,
                  "strata: a stack needs exactly one source right above its driver: strata::single or strata::pool<>");
    static_assert(places_ascend<T...>(),
                  "strata: the layers of the stack stand in the wrong order; outermost first: extend (transactions), observe (metrics), "
                  "shape, fallback, "
                  "cache, bound (total_timeout), repeat (retry), rate, throttle, breaker (circuit_breaker), bulkhead, limit, attempt "
                  "(attempt_timeout, "
                  "chaos), source (single, pool), driver");
    static_assert(((occurrences<T, T...> == 1) && ...),
                  "strata: a layer stands twice in the stack: give one of them a tag type, as in circuit_breaker<struct reads>");
    static_assert(((!has_interceptor_place<T> || !holds_something<T> || abandons<T>) && ...),
                  "strata: a policy that takes something in admit (holds = true) must give it back in  void abandon(frame&) noexcept");
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
