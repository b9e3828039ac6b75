// What a caller gives for a key, against the members that hold it: a text for a number would be found wrong by the server at best, and by
// SQLite never.
#ifndef STRATA_VALUE_KEY_FIT_HPP
#define STRATA_VALUE_KEY_FIT_HPP

#include <strata/value/mapping.hpp>

#include <concepts>
#include <iterator>
#include <optional>
#include <tuple>
#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct opened {
    using type = T;
    static constexpr bool closed = false;
};
template <class T>
struct opened<std::optional<T>> {
    using type = T;
    static constexpr bool closed = true;
};

/// A number for a number, without a fraction for one that has none; a text for a text; bytes for bytes; else what converts by itself.
template <class Member, class Given>
consteval bool key_part_fits() {
    if constexpr (std::same_as<Member, Given>)
        return true;
    else if constexpr (std::same_as<Member, bool> || std::same_as<Given, bool>)
        return false;
    else if constexpr (std::integral<Member>)
        return std::integral<Given>;
    else if constexpr (std::floating_point<Member>)
        return std::is_arithmetic_v<Given>;
    else if constexpr (requires(const Member& m, const Given& g) {
                           requires std::same_as<decltype(*std::data(m)), decltype(*std::data(g))>;
                       })
        return true;
    else
        return std::is_convertible_v<const Given&, Member>;
}

template <class T, std::size_t I, class Given>
constexpr void assert_key_part() {
    static_assert(!opened<Given>::closed,
                  "strata: this key is a std::optional, and no row has an absent key: look whether it is there, and give *key");
    if constexpr (!opened<Given>::closed && adapted_struct<T>) {
        if constexpr (I < key_columns<T>.size()) {
            constexpr int number = member_of_column<T>(key_columns<T>[I]);
            if constexpr (number >= 0) {
                using member_of_key = typename opened<member_type<member<T, static_cast<std::size_t>(number)>, T>>::type;
                static_assert(key_part_fits<member_of_key, Given>(),
                              "strata: this key is of another type than the row's key: give what the member of its column holds");
            }
        }
    }
}

/// `Key`: a value, or a tuple with a part for each column.
template <class T, class Key>
constexpr void assert_key() {
    if constexpr (requires { std::tuple_size<Key>::value; }) {
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (assert_key_part<T, I, std::remove_cvref_t<std::tuple_element_t<I, Key>>>(), ...);
        }(std::make_index_sequence<std::tuple_size_v<Key>>{});
    } else {
        assert_key_part<T, 0, Key>();
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
