// How the arguments of a call meet the parameters of a literal: one check for each dialect's list of names.
#ifndef STRATA_SQL_LITERAL_CALL_HPP
#define STRATA_SQL_LITERAL_CALL_HPP

#include <strata/sql/arguments.hpp>

#include <cstdint>

namespace strata::inline STRATA_ABI {
namespace detail {

/// What is wrong with a call.
enum class call_problem : std::uint8_t { none, mixed, unknown_name, repeated_name, missing_name, wrong_count };

/// Names parted by commas, apart again.
template <fixed_string Joined>
struct name_list {
    static constexpr std::size_t count() {
        std::size_t n = Joined.size() == 0 ? 0 : 1;
        for (const char c : Joined.characters) n += c == ',' ? 1U : 0U;
        return n;
    }
    static constexpr std::size_t size = count();
    std::string_view names[size + 1]{};

    constexpr name_list() {
        std::size_t begin = 0;
        std::size_t n = 0;
        for (std::size_t i = 0; i < Joined.size(); ++i) {
            if (Joined.characters[i] != ',') continue;
            names[n++] = {Joined.characters + begin, i - begin};
            begin = i + 1;
        }
        if (size > 0) names[n] = {Joined.characters + begin, Joined.size() - begin};
    }
};

template <class A>
inline constexpr bool is_named = false;
template <fixed_string Name, class Kept>
inline constexpr bool is_named<argument<Name, Kept>> = true;

template <class A>
struct name_of_argument {
    static constexpr std::string_view value{};
};
template <fixed_string Name, class Kept>
struct name_of_argument<argument<Name, Kept>> {
    static constexpr std::string_view value = Name.view();
};

/// What a call's arguments are: their names, empty where positional.
template <class... Arguments>
struct given_names {
    static constexpr std::size_t size = sizeof...(Arguments);
    std::string_view names[size + 1]{name_of_argument<Arguments>::value...};
    static constexpr std::size_t named = (std::size_t{0} + ... + (is_named<Arguments> ? 1U : 0U));
};

/// How a call fits one list of parameters: `from[p]` is the argument of parameter `p`.
template <std::size_t Parameters>
struct call_match {
    call_problem problem = call_problem::none;
    std::size_t culprit = 0;  ///< index of the argument (unknown, repeated) or of the parameter (missing) that is wrong
    std::uint16_t from[Parameters + 1]{};
};

/// `Rest`: arguments that no parameter names are ignored, as those of a struct's members are.
template <bool Rest, fixed_string Joined, class... Arguments>
constexpr auto match_call() {
    constexpr name_list<Joined> parameters{};
    constexpr given_names<Arguments...> given{};
    call_match<parameters.size> m;
    const auto fail = [&m](call_problem p, std::size_t culprit) {
        m.problem = p;
        m.culprit = culprit;
        return m;
    };
    if (given.named == 0) {
        if (given.size == 0 && parameters.size > 0) return fail(call_problem::missing_name, 0);
        if (given.size != parameters.size) return fail(call_problem::wrong_count, 0);
        for (std::size_t i = 0; i < given.size; ++i) m.from[i] = static_cast<std::uint16_t>(i);
        return m;
    }
    if (given.named != given.size) return fail(call_problem::mixed, 0);
    bool found[parameters.size + 1]{};
    for (std::size_t a = 0; a < given.size; ++a) {
        std::size_t p = 0;
        while (p < parameters.size && !same_text(parameters.names[p], given.names[a])) ++p;
        if (p == parameters.size) {
            if (Rest) continue;
            return fail(call_problem::unknown_name, a);
        }
        if (found[p]) return fail(call_problem::repeated_name, a);
        found[p] = true;
        m.from[p] = static_cast<std::uint16_t>(a);
    }
    for (std::size_t p = 0; p < parameters.size; ++p)
        if (!found[p]) return fail(call_problem::missing_name, p);
    return m;
}

/// One argument among others, reached by its index without recursion.
template <std::size_t I, class T>
struct indexed_argument {
    T&& value;
};
template <class Indices, class... Arguments>
struct argument_pack;
template <std::size_t... I, class... Arguments>
struct argument_pack<std::index_sequence<I...>, Arguments...> : indexed_argument<I, Arguments>... {};

/// How a bound statement keeps the argument that was given as `T&&`.
template <class T>
struct kept_argument {
    using type = kept<T>;
    [[nodiscard]] static constexpr type make(T&& given) { return keep(static_cast<T&&>(given)); }
};
template <class T>
    requires is_named<std::remove_cvref_t<T>>
struct kept_argument<T> {
    using type = decltype(std::remove_cvref_t<T>::value);
    [[nodiscard]] static constexpr type make(T&& given) {
        if constexpr (std::is_reference_v<type>)
            return given.value;
        else
            return static_cast<T&&>(given).value;
    }
};

template <std::size_t I, class T>
[[nodiscard]] constexpr typename kept_argument<T>::type take(const indexed_argument<I, T>& a) {
    return kept_argument<T>::make(static_cast<T&&>(a.value));
}

/// A call with the arguments `A&&...` against the parameters `Names`.
template <bool Rest, fixed_string Names, class... A>
struct call_of {
    static constexpr auto match = match_call<Rest, Names, std::remove_cvref_t<A>...>();
    static constexpr bool right = match.problem == call_problem::none;
    using order = std::make_index_sequence<right ? name_list<Names>::size : 0>;
};

template <class A>
inline constexpr bool is_argument_set = false;
template <class... A>
inline constexpr bool is_argument_set<argument_set<A...>> = true;

/// Holds the errors of a call; the compiler's note shows the statement's names and the arguments' types.
template <call_problem Problem>
struct call_check {
    using enum call_problem;
    static_assert(Problem != mixed, "strata: give all arguments by name (\"id\"_arg = 7) or all by position");
    static_assert(Problem != unknown_name,
                  "strata: an argument has a name that this statement does not know: use the names written as :name in its text");
    static_assert(Problem != repeated_name, "strata: an argument is given twice: give each name once");
    static_assert(Problem != missing_name, "strata: a parameter has no argument: give \"name\"_arg = value for each :name in the text");
    static_assert(Problem != wrong_count,
                  "strata: the number of arguments is wrong: give one for each different :name, in the order of their first appearance");
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
