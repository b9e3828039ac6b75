// Parameters from the members of a struct: `bind_members(insert, account)`.
#ifndef STRATA_VALUE_BIND_MEMBERS_HPP
#define STRATA_VALUE_BIND_MEMBERS_HPP

#include <strata/sql/literal.hpp>
#include <strata/value/mapping.hpp>

#include <tuple>

namespace strata::inline STRATA_ABI {
namespace detail {

template <class Member>
inline constexpr fixed_string<Member::name().size() + 1> fixed_name{Member::name().data(), Member::name().size()};

template <class Member, class T>
inline constexpr std::string_view member_column = column_of_member<T>(Member::name());
template <class Member, class T>
inline constexpr fixed_string<member_column<Member, T>.size() + 1> fixed_column{member_column<Member, T>.data(),
                                                                               member_column<Member, T>.size()};

/// A member under its own name, and under its column's where that is another one.
template <class Member, class T>
[[nodiscard]] constexpr auto arguments_of_member(const T& object) {
    using kept_member = kept<decltype((Member::get(object)))>;
    using own = argument<fixed_name<Member>, kept_member>;
    if constexpr (member_column<Member, T> == Member::name()) {
        return std::tuple<own>{own{keep(Member::get(object))}};
    } else {
        using renamed_one = argument<fixed_column<Member, T>, kept_member>;
        return std::tuple<own, renamed_one>{own{keep(Member::get(object))}, renamed_one{keep(Member::get(object))}};
    }
}

template <class T, class... Members>
[[nodiscard]] constexpr auto arguments_of_members(const T& object, member_list<Members...>) {
    return argument_set{std::tuple_cat(arguments_of_member<Members>(object)...)};
}

/// The first name of a statement that no member has; empty if there is none.
template <class T, fixed_string Names>
consteval auto nameless_parameter() {
    constexpr name_list<Names> parameters{};
    constexpr std::size_t first = [](const auto& list) {
        std::size_t i = 0;
        while (i < list.size && (member_index<T>(list.names[i]) >= 0 || member_of_column<T>(list.names[i]) >= 0)) ++i;
        return i;
    }(parameters);
    constexpr std::size_t size = parameters.names[first].size();
    return fixed_string<size + 1>{parameters.names[first].data(), size};
}

/// The compiler's note shows the parameter's name.
template <class T, fixed_string Parameter>
struct no_member_named {
    static_assert(Parameter.size() == 0,
                  "strata: the statement has a parameter that no member of the struct is named after: rename it, give the arguments one by "
                  "one, or map the column with strata::mapping<T>");
};

template <class T, class Literal>
struct member_check;
template <class T, literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
struct member_check<T, literal<Facts, Names, SqliteNames>> {
    using told = no_member_named<T, nameless_parameter<T, Names>()>;
    /// Where the dialects see different parameters, the call itself says what is missing.
    static constexpr bool right = !Facts.same_names || nameless_parameter<T, Names>().size() == 0;
};

}  // namespace detail

/// Calls the literal with the members of an adapted struct: each parameter `:name` takes the member of this name, or the member whose
/// `mapping` gives its column this name; members that the text does not name are ignored. A parameter without a member does not
/// compile, and the compiler names it. The members are kept by reference: `object` must live until the call ends (an asynchronous
/// call copies them, as it copies all arguments).
///
/// ```cpp
/// constexpr auto insert = "insert into account (id, owner) values (:id, :owner)"_sql;
/// db.execute(strata::bind_members(insert, account{.id = 7, .owner = "Ada"}));
/// ```
template <class Literal, adapted_struct T>
    requires detail::is_literal<Literal>
[[nodiscard]] constexpr auto bind_members(const Literal& statement, const T& object) {
    using check = detail::member_check<T, Literal>;
    if constexpr (check::right) return statement(detail::arguments_of_members(object, detail::members<T>{}));
    else return sizeof(typename check::told);
}

}  // namespace strata::inline STRATA_ABI

#endif
