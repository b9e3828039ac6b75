// How much memory hangs on a value besides its own bytes: what a bound in bytes is made of.
//
// Known for numbers and other types that are copied as bytes, strings, vectors and other containers, `optional`, pairs, tuples and arrays,
// and adapted structs, member by member. A type of yours says it by a member `heap_bytes()`, or by a specialisation of `heap_size`; one of
// which nothing is known does not compile.
#ifndef STRATA_VALUE_HEAP_SIZE_HPP
#define STRATA_VALUE_HEAP_SIZE_HPP

#include <strata/value/members.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <tuple>
#include <type_traits>

namespace strata::inline STRATA_ABI {

template <class T>
struct array;
template <class T>
struct range;
template <class T>
struct multirange;

/// Specialise it with  static std::size_t of(const T&) noexcept,  the bytes beyond sizeof(T); an estimate will do.
template <class T>
struct heap_size;

namespace detail {

template <class T>
concept optional_like = requires(const T& v) {
    { v.has_value() } -> std::convertible_to<bool>;
    *v;
};
template <class T>
concept tuple_like = requires { std::tuple_size<T>::value; };
template <class T>
concept range_like = requires(const T& v) {
    v.begin();
    v.end();
    v.size();
    typename T::value_type;
};
/// With room for more than it holds, in one piece.
template <class T>
concept growing = range_like<T> && requires(const T& v) { v.capacity(); };

template <class T>
inline constexpr bool has_no_heap = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && !range_like<T>;
template <class T>
    requires tuple_like<T> && range_like<T>
inline constexpr bool has_no_heap<T> = has_no_heap<typename T::value_type>;  // std::array

template <class T>
[[nodiscard]] std::size_t heap_of(const T& value) noexcept {
    return heap_size<T>::of(value);
}

/// What a container's elements add to the memory that they lie in.
template <class T>
[[nodiscard]] std::size_t heap_of_elements([[maybe_unused]] const T& all) noexcept {
    std::size_t bytes = 0;
    if constexpr (!has_no_heap<typename T::value_type>)
        for (const typename T::value_type& one : all) bytes += detail::heap_of(one);
    return bytes;
}

}  // namespace detail

template <class T>
struct heap_size {
    [[nodiscard]] static std::size_t of(const T& value) noexcept {
        if constexpr (requires {
                          { value.heap_bytes() } -> std::convertible_to<std::size_t>;
                      }) {
            return value.heap_bytes();
        } else if constexpr (detail::has_no_heap<T>) {
            return 0;
        } else if constexpr (adapted_struct<T>) {
            std::size_t bytes = 0;
            for_each_member(value, [&](std::string_view, const auto& member) { bytes += detail::heap_of(member); });
            return bytes;
        } else if constexpr (detail::tuple_like<T>) {
            return std::apply([](const auto&... part) { return (std::size_t{0} + ... + detail::heap_of(part)); }, value);
        } else if constexpr (detail::growing<T> && requires { value.data(); }) {
            const void* const from = &value;
            const void* const data = value.data();
            const bool inside = !std::less<const void*>{}(data, from) && std::less<const void*>{}(data, &value + 1);  // a short string
            return (inside ? 0 : value.capacity() * sizeof(typename T::value_type)) + detail::heap_of_elements(value);
        } else if constexpr (detail::growing<T>) {
            return value.capacity() / 8;  // std::vector<bool>
        } else if constexpr (detail::range_like<T>) {
            constexpr std::size_t node = sizeof(typename T::value_type) + 4 * sizeof(void*);
            return value.size() * node + detail::heap_of_elements(value);
        } else if constexpr (detail::optional_like<T>) {
            return value.has_value() ? detail::heap_of(*value) : 0;
        } else {
            static_assert(detail::has_no_heap<T>,
                          "strata: how much memory this type takes is not known, but a cache is bounded in bytes: give it a member "
                          "heap_bytes(), specialise strata::heap_size<T>, or adapt the struct");
            return 0;
        }
    }
};

// PostgreSQL's values that hold values.
template <class T>
struct heap_size<array<T>> {
    [[nodiscard]] static std::size_t of(const array<T>& v) noexcept { return detail::heap_of(v.dimensions) + detail::heap_of(v.elements); }
};
template <class T>
struct heap_size<range<T>> {
    [[nodiscard]] static std::size_t of(const range<T>& v) noexcept { return detail::heap_of(v.lower) + detail::heap_of(v.upper); }
};
template <class T>
struct heap_size<multirange<T>> {
    [[nodiscard]] static std::size_t of(const multirange<T>& v) noexcept { return detail::heap_of(v.ranges); }
};

}  // namespace strata::inline STRATA_ABI

#endif
