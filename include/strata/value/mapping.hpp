// What a struct's members do not say about its table: the name, the key, the version column, columns with other names.
#ifndef STRATA_VALUE_MAPPING_HPP
#define STRATA_VALUE_MAPPING_HPP

#include <strata/value/members.hpp>

#include <array>

namespace strata::inline STRATA_ABI {

/// A member whose column has another name.
struct renamed {
    std::string_view member;
    std::string_view column;
};

/// Specialise it for an adapted struct; each part may be left out. Rows are read, and parameters taken from members, by these names.
///
/// ```cpp
/// struct account { std::int64_t id; std::string owner; std::int64_t version; };
/// BOOST_HANA_ADAPT_STRUCT(account, id, owner, version);
///
/// template <>
/// struct strata::mapping<account> {
///     static constexpr std::string_view table = "accounts";
///     static constexpr std::string_view schema = "bank";         // where it is not found by its name alone
///     static constexpr std::string_view key = "id";              // a column; more are {"branch", "id"} in a std::array
///     static constexpr std::string_view version = "version";     // a column, counted up by each update (optimistic_locking.hpp)
///     static constexpr strata::renamed columns[] = {{.member = "owner", .column = "owner_name"}};
/// };
/// ```
///
/// A name in it that no member has does not compile.
template <class T>
struct mapping {};

namespace detail {

template <class T>
[[nodiscard]] constexpr std::string_view column_of_member(std::string_view member) noexcept {
    if constexpr (requires { mapping<T>::columns; }) {
        for (const renamed& r : mapping<T>::columns)
            if (r.member == member) return r.column;
    }
    return member;
}

/// The number of the member whose column has this name; -1 when there is none.
template <adapted_struct T>
[[nodiscard]] constexpr int member_of_column(std::string_view column) noexcept {
    for (std::size_t i = 0; i < member_count<T>; ++i)
        if (column_of_member<T>(member_name<T>(i)) == column) return static_cast<int>(i);
    return -1;
}

template <adapted_struct T>
consteval bool renamed_members_exist() {
    if constexpr (requires { mapping<T>::columns; }) {
        for (const renamed& r : mapping<T>::columns)
            if (member_index<T>(r.member) < 0) return false;
    }
    return true;
}

template <class T>
[[nodiscard]] consteval auto mapped_key() {
    if constexpr (!requires { mapping<T>::key; }) return std::array<std::string_view, 0>{};
    else if constexpr (requires { std::string_view{mapping<T>::key}; }) return std::array<std::string_view, 1>{mapping<T>::key};
    else return mapping<T>::key;
}

template <adapted_struct T>
consteval bool key_exists() {
    for (const std::string_view k : mapped_key<T>())
        if (member_of_column<T>(k) < 0) return false;
    return true;
}

template <adapted_struct T>
consteval bool version_exists() {
    if constexpr (requires { mapping<T>::version; }) return member_of_column<T>(mapping<T>::version) >= 0;
    else return true;
}

template <class T>
consteval bool table_is_named() {
    if constexpr (requires { mapping<T>::table; }) return !std::string_view{mapping<T>::table}.empty();
    else return true;
}

/// Instantiated by everything that uses the mapping of T.
template <adapted_struct T>
struct checked_mapping {
    static_assert(renamed_members_exist<T>(), "strata: mapping<T>::columns renames a member that T does not have, or has not adapted");
    static_assert(key_exists<T>(), "strata: mapping<T>::key names a column that no member of T has");
    static_assert(table_is_named<T>(), "strata: mapping<T>::table is empty; leave it out where T has no table");
    static_assert(version_exists<T>(), "strata: mapping<T>::version names a column that no member of T has");

    static constexpr auto columns = []() {
        std::array<std::string_view, member_count<T>> names{};
        for (std::size_t i = 0; i < names.size(); ++i) names[i] = column_of_member<T>(member_name<T>(i));
        return names;
    }();
};

}  // namespace detail

/// The columns of T's members, renamed where its mapping says so, in order of declaration: `std::array<std::string_view, N>`.
template <adapted_struct T>
inline constexpr auto& column_names = detail::checked_mapping<T>::columns;

/// The columns of T's key: `std::array<std::string_view, N>`, empty where the mapping names none.
template <adapted_struct T>
inline constexpr auto key_columns = detail::mapped_key<T>();

}  // namespace strata::inline STRATA_ABI

#endif
