// The members of a struct that its author has adapted: their names, types and references, in one form for both libraries.
//
// Hana: BOOST_HANA_ADAPT_STRUCT (<boost/hana/adapt_struct.hpp>) or BOOST_HANA_DEFINE_STRUCT. Boost.Describe: BOOST_DESCRIBE_STRUCT or
// BOOST_DESCRIBE_CLASS (<boost/describe/class.hpp>); public data members, those of described bases first. Describe's descriptors are
// found through the functions that its macros define, so nothing of it is included here; of Hana, only its accessors.
#ifndef STRATA_VALUE_MEMBERS_HPP
#define STRATA_VALUE_MEMBERS_HPP

#include <strata/core/config.hpp>

#include <boost/hana/accessors.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

template <class... Members>
struct member_list {
    static constexpr std::size_t size = sizeof...(Members);
};

template <class... Lists>
struct concatenated {
    using type = member_list<>;
};
template <class... A>
struct concatenated<member_list<A...>> {
    using type = member_list<A...>;
};
template <class... A, class... B, class... Rest>
struct concatenated<member_list<A...>, member_list<B...>, Rest...> : concatenated<member_list<A..., B...>, Rest...> {};

// Each member is a type with `name()`, `get(object)` and, for a struct, the `type` of the member.

/// Of `hana::pair<hana::string<characters...>, accessor>`.
template <class Pair>
struct hana_member;
template <template <class, class> class Pair, template <char...> class String, char... Characters, class Accessor>
struct hana_member<Pair<String<Characters...>, Accessor>> {
    static constexpr char characters[] = {Characters..., '\0'};
    static constexpr std::string_view name() noexcept { return {characters, sizeof...(Characters)}; }
    template <class T>
    static constexpr decltype(auto) get(T& object) noexcept {
        return Accessor{}(object);
    }
};

template <class Tuple>
struct hana_members;
template <template <class...> class Tuple, class... Pairs>
struct hana_members<Tuple<Pairs...>> {
    using type = member_list<hana_member<Pairs>...>;
};

template <class T>
concept hana_adapted = requires { boost::hana::accessors_impl<T>::apply(); };

/// Of Describe's `member_descriptor`.
template <class Descriptor>
struct describe_member {
    static constexpr std::string_view name() noexcept { return Descriptor::name; }
    template <class T>
    static constexpr auto& get(T& object) noexcept {
        return object.*Descriptor::pointer;
    }
};

/// Data members only: functions and static members have other pointers.
template <class List>
struct describe_members;
template <template <class...> class List, class... Descriptors>
struct describe_members<List<Descriptors...>> {
    template <class D>
    using if_data = std::conditional_t<std::is_member_object_pointer_v<std::remove_cv_t<decltype(D::pointer)>>,
                                       member_list<describe_member<D>>, member_list<>>;
    using type = typename concatenated<member_list<>, if_data<Descriptors>...>::type;
};

template <class T>
concept describe_adapted = requires { boost_public_member_descriptor_fn(static_cast<T**>(nullptr)); };

template <class T>
struct members_of;

template <class T>
    requires hana_adapted<T>
struct members_of<T> {
    using type = typename hana_members<std::remove_cvref_t<decltype(boost::hana::accessors_impl<T>::apply())>>::type;
};

template <class List>
struct describe_bases;
template <template <class...> class List, class... Bases>
struct describe_bases<List<Bases...>> {
    using type = typename concatenated<member_list<>, typename members_of<typename Bases::type>::type...>::type;
};

template <class T>
    requires(!hana_adapted<T> && describe_adapted<T>)
struct members_of<T> {
    using bases = decltype(boost_base_descriptor_fn(static_cast<T**>(nullptr)));
    using own = decltype(boost_public_member_descriptor_fn(static_cast<T**>(nullptr)));
    using type = typename concatenated<typename describe_bases<bases>::type, typename describe_members<own>::type>::type;
};

}  // namespace detail

/// A struct whose members strata knows by name.
template <class T>
concept adapted_struct = std::is_class_v<T> && (detail::hana_adapted<T> || detail::describe_adapted<T>);

namespace detail {

template <adapted_struct T>
using members = typename members_of<T>::type;

template <class Member, class T>
using member_type = std::remove_cvref_t<decltype(Member::get(std::declval<T&>()))>;

template <class List>
struct member_names;
template <class... Members>
struct member_names<member_list<Members...>> {
    static constexpr std::string_view all[sizeof...(Members) + 1] = {Members::name()..., {}};
};

}  // namespace detail

/// The number of members of an adapted struct.
template <adapted_struct T>
inline constexpr std::size_t member_count = detail::members<T>::size;

/// The name of member `i` as it is declared.
template <adapted_struct T>
[[nodiscard]] constexpr std::string_view member_name(std::size_t i) noexcept {
    return detail::member_names<detail::members<T>>::all[i];
}

/// The number of the member with this name; -1 when there is none.
template <adapted_struct T>
[[nodiscard]] constexpr int member_index(std::string_view name) noexcept {
    for (std::size_t i = 0; i < member_count<T>; ++i)
        if (member_name<T>(i) == name) return static_cast<int>(i);
    return -1;
}

/// Calls `f(name, member)` for each member of `object`, in order of declaration; `member` is a reference, const if `object` is.
template <class T, class F>
    requires adapted_struct<std::remove_const_t<T>>
constexpr void for_each_member(T& object, F&& f) {
    [&]<class... M>(detail::member_list<M...>) {
        (static_cast<void>(f(M::name(), M::get(object))), ...);
    }(detail::members<std::remove_const_t<T>>{});
}

namespace detail {

template <std::size_t I, class M>
struct indexed_member {};
template <class Indices, class... Members>
struct indexed_members;
template <std::size_t... I, class... Members>
struct indexed_members<std::index_sequence<I...>, Members...> : indexed_member<I, Members>... {};
template <std::size_t I, class M>
M find_member(const indexed_member<I, M>&);
template <std::size_t I, class... Members>
auto nth_member(member_list<Members...>)
    -> decltype(find_member<I>(std::declval<const indexed_members<std::index_sequence_for<Members...>, Members...>&>()));

/// Member number I of T.
template <adapted_struct T, std::size_t I>
using member = decltype(nth_member<I>(members<T>{}));

}  // namespace detail

/// A reference to member number `I`, const if `object` is.
template <std::size_t I, class T>
    requires adapted_struct<std::remove_const_t<T>>
[[nodiscard]] constexpr auto& get_member(T& object) noexcept {
    return detail::member<std::remove_const_t<T>, I>::get(object);
}

}  // namespace strata::inline STRATA_ABI

#endif
