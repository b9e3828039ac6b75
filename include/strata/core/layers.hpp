// A list of interceptors as an object (their shared state) and the list of their frames (their memory for one operation).
#ifndef STRATA_CORE_LAYERS_HPP
#define STRATA_CORE_LAYERS_HPP

#include <strata/core/interceptor.hpp>

#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A policy is built in place, which g++ does not do in a member that may share its address: only empty ones do.
template <std::size_t I, class T>
struct layer_slot {
    T value{};
};
template <std::size_t I, class T>
    requires std::is_empty_v<T>
struct layer_slot<I, T> {
    [[no_unique_address]] T value{};
};

/// A frame begins when its layer is entered, so that what `admit` writes at once is not written twice. One that has a
/// destructor is there from the start.
template <std::size_t I, class T>
struct frame_slot {
    T value{};
};
template <std::size_t I, class T>
    requires std::is_empty_v<T>
struct frame_slot<I, T> {
    [[no_unique_address]] T value;
};
template <std::size_t I, class T>
    requires(!std::is_empty_v<T> && std::is_trivially_destructible_v<T>)
struct frame_slot<I, T> {
    frame_slot() noexcept {}
    union {
        T value;
    };
};

template <std::size_t I, class T>
STRATA_INLINE void begin_frame(frame_slot<I, T>& s) noexcept {
    if constexpr (!std::is_trivially_destructible_v<T>) std::destroy_at(&s.value);
    if constexpr (!std::is_empty_v<T>) std::construct_at(&s.value);
}

/// A tuple with few instantiations: one base class a member, found by overload resolution.
template <class Indices, class... T>
struct slots;
template <std::size_t... I, class... T>
struct slots<std::index_sequence<I...>, T...> : layer_slot<I, T>... {};

template <class Indices, class... T>
struct frame_slots;
template <std::size_t... I, class... T>
struct frame_slots<std::index_sequence<I...>, T...> : frame_slot<I, T>... {};

template <std::size_t I, class T>
STRATA_INLINE T& slot_at(layer_slot<I, T>& s) noexcept {
    return s.value;
}
template <std::size_t I, class T>
STRATA_INLINE frame_slot<I, T>& frame_at(frame_slot<I, T>& s) noexcept {
    return s;
}

}  // namespace detail

/// The policies of a stack, outermost first.
template <class... P>
struct layers {
    static_assert(((P::place == place::extend || detail::has_hook<P>) && ...),
                  "strata: a policy has no hook that the engine would call; their forms are  admit(auto& op, frame& f, moment m),  "
                  "settle(auto& op, frame& f, outcome& result, moment m)  and  abandon(frame& f) noexcept");
    static_assert(((!detail::holds_something<P> || detail::abandons<P>) && ...),
                  "strata: a policy that takes something in admit (holds = true) must give it back in  void abandon(frame&) noexcept");
    static_assert((detail::abandons_quietly<P> && ...), "strata: abandon must be noexcept: it runs where an operation is destroyed");

    static constexpr std::size_t size = sizeof...(P);
    /// Whether a layer looks at the operation's priority; a statement of the blocking face is not told it otherwise.
    static constexpr bool asks_priority = (detail::asks_priority<P> || ... || false);
    /// Whether a layer caches results, and whether one takes failures away for which a call has something to put in their place.
    static constexpr bool caches = (detail::caches<P> || ... || false);
    static constexpr bool replaces = (detail::replaces<P> || ... || false);
    /// Whether each statement runs in a transaction of its own, and whether there are any others.
    static constexpr bool automatic = (detail::is_automatic<P> || ... || false);
    static constexpr bool forbids_transactions = (detail::forbids_transactions<P> || ... || false);
    using frames = detail::frame_slots<std::index_sequence_for<P...>, typename detail::frame_type<P>::type...>;

    layers() = default;
    /// `make(std::type_identity<P>{})` returns each policy, built in place (a policy holds atomics and does not move).
    template <class Make>
    explicit layers(Make&& make) : layers(std::index_sequence_for<P...>{}, make) {}

    template <std::size_t I>
    [[nodiscard]] STRATA_INLINE auto& at() noexcept {
        return detail::slot_at<I>(state_);
    }

    /// The layer of this type.
    template <class Policy>
    [[nodiscard]] Policy& of() noexcept {
        static_assert((std::is_same_v<Policy, P> || ...), "strata: no such layer in the stack");
        Policy* found = nullptr;
        [&]<std::size_t... I>(std::index_sequence<I...>) { (pick<Policy>(at<I>(), found), ...); }(std::index_sequence_for<P...>{});
        return *found;
    }

private:
    template <class Policy, class Layer>
    static void pick(Layer& layer, Policy*& found) noexcept {
        if constexpr (std::is_same_v<Policy, Layer>) found = &layer;
    }

    template <std::size_t... I, class Make>
    layers(std::index_sequence<I...>, Make& make) : state_{{make(std::type_identity<P>{})}...} {}

    detail::slots<std::index_sequence_for<P...>, P...> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif
