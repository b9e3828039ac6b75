// Three-way merge of a row: what the caller changed, what others changed since, and what both changed, field by field.
//
//   db.update_versioned(row, strata::merge{strata::field<"balance">(strata::add_numbers), strata::field<"tags">(strata::append_lists),
//                                          strata::field<"note">([](auto& base, auto& ours, auto& theirs) { return ours + theirs; }),
//                                          strata::otherwise(strata::take_theirs)});
//
// A field that only one side has changed needs no rule. One that both have changed follows its rule; without one, and without
// `otherwise`, it is a true conflict, unless both made the same of it. Key and version are not merged.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_MERGE_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_MERGE_HPP

#include <strata/sql/fixed_string.hpp>
#include <strata/transaction/optimistic/strategies.hpp>
#include <strata/transaction/optimistic/versioned.hpp>

#include <algorithm>
#include <concepts>
#include <iterator>
#include <tuple>
#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
concept added_number = std::integral<T> && !std::same_as<T, bool>;

/// theirs + (ours - base), exactly; false where that is no T.
template <added_number T>
[[nodiscard]] constexpr bool add_difference(T base, T ours, T theirs, T& out) noexcept {
    using wide = std::uint64_t;
    return ours >= base ? !__builtin_add_overflow(theirs, static_cast<wide>(ours) - static_cast<wide>(base), &out)
                        : !__builtin_sub_overflow(theirs, static_cast<wide>(base) - static_cast<wide>(ours), &out);
}

struct conflict_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        static_cast<void>(base);
        if (!(ours == theirs)) return false;
        out = theirs;
        return true;
    }
};
struct take_theirs_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T&, const T&, const T& theirs, T& out) {
        out = theirs;
        return true;
    }
};
struct take_ours_rule {
    static constexpr bool idempotent = true;
    template <class T>
    static bool apply(const T&, const T& ours, const T&, T& out) {
        out = ours;
        return true;
    }
};
struct add_numbers_rule {
    static constexpr bool idempotent = false;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        if constexpr (added_number<T>) {
            return add_difference(base, ours, theirs, out);
        } else {
            static_assert(requires { out = theirs + (ours - base); }, "strata: add_numbers is for fields that can be added and subtracted");
            if constexpr (requires { out = theirs + (ours - base); }) out = theirs + (ours - base);
            return true;
        }
    }
};
struct append_lists_rule {
    static constexpr bool idempotent = false;
    template <class T>
    static bool apply(const T& base, const T& ours, const T& theirs, T& out) {
        constexpr bool list = requires { out.insert(out.end(), std::begin(ours), std::end(ours)); };
        static_assert(list, "strata: append_lists is for fields that are lists or texts: std::vector, std::string");
        if constexpr (list) {
            const auto [b, o] = std::mismatch(std::begin(base), std::end(base), std::begin(ours), std::end(ours));
            if (b != std::end(base)) return false;  // something else than appended
            out = theirs;
            out.insert(out.end(), o, std::end(ours));
        }
        return true;
    }
};
template <class F>
struct function_rule {
    static constexpr bool idempotent = false;
    F f;
    template <class T>
    bool apply(const T& base, const T& ours, const T& theirs, T& out) const {
        static_assert(std::is_convertible_v<std::invoke_result_t<const F&, const T&, const T&, const T&>, T>,
                      "strata: the function of a field is called with base, ours and theirs and returns the field's value");
        out = f(base, ours, theirs);
        return true;
    }
};

template <class R>
inline constexpr bool is_merge_rule =
    std::same_as<R, conflict_rule> || std::same_as<R, take_theirs_rule> || std::same_as<R, take_ours_rule> ||
    std::same_as<R, add_numbers_rule> || std::same_as<R, append_lists_rule>;

template <fixed_string Name, class Rule>
struct field_rule {
    static constexpr std::string_view name = Name.view();
    static constexpr bool idempotent = Rule::idempotent;
    Rule rule;
};

template <class Rule>
[[nodiscard]] auto as_merge_rule(Rule rule) {
    if constexpr (is_merge_rule<Rule>)
        return rule;
    else
        return function_rule<Rule>{std::move(rule)};
}

}  // namespace detail

/// What becomes of a field that both sides have changed.
inline constexpr detail::conflict_rule conflict{};          ///< a true conflict, unless both made the same of it
inline constexpr detail::take_theirs_rule take_theirs{};    ///< what is in the database
inline constexpr detail::take_ours_rule take_ours{};        ///< what the caller made of it
inline constexpr detail::add_numbers_rule add_numbers{};    ///< theirs + (ours - base); an integer's overflow is a true conflict
inline constexpr detail::append_lists_rule append_lists{};  ///< theirs, then what we appended; a true conflict if we did anything else

/// The rule of the member with this name: one of the above, or a function of (base, ours, theirs) that returns the value; it must not
/// use the database, and what it throws comes out and nothing is written.
template <fixed_string Name, class Rule>
[[nodiscard]] auto field(Rule rule) {
    auto made = detail::as_merge_rule(std::move(rule));
    return detail::field_rule<Name, decltype(made)>{std::move(made)};
}
/// The rule of all fields that have none of their own.
template <class Rule>
[[nodiscard]] auto otherwise(Rule rule) {
    return field<"">(std::move(rule));
}

/// The strategy: when the row has changed since it was read, both sides' changes are put together on the row as it is now, and that is
/// written; again when somebody else was faster, as `recompute`. Needs the row as it was read: `versioned<T>`. Members are compared by ==.
/// With `call_options::idempotent` it is refused with `errc::invalid_argument` where a rule adds, appends or is a function: repeated after
/// a lost answer, that would be done to what it may have written itself.
template <class... Rules>
class merge {
public:
    static constexpr bool checks = true;
    static constexpr bool repeats = true;
    static constexpr bool idempotent = (Rules::idempotent && ...);

    explicit merge(Rules... rules) : rules_(std::move(rules)...) {}

    /// `out` holds theirs. False, with the names of the members in `fields`, where it is a true conflict.
    template <class T>
    [[nodiscard]] bool make(const T& base, const T& ours, const T& theirs, T& out, std::vector<std::string_view>& fields) const {
        static_assert(((Rules::name.empty() || member_index<T>(Rules::name) >= 0) && ...),
                      "strata: a rule of this merge names a field that the row has not: write the member's name");
        static_assert((std::size_t{0} + ... + (Rules::name.empty() ? 1u : 0u)) <= 1, "strata: a merge has one rule for all other fields");
        [&]<std::size_t... I>(std::index_sequence<I...>) {
            (make_member<I>(base, ours, theirs, out, fields), ...);
        }(std::make_index_sequence<member_count<T>>{});
        return fields.empty();
    }

private:
    template <std::size_t I, class T>
    void make_member(const T& base, const T& ours, const T& theirs, T& out, std::vector<std::string_view>& fields) const {
        constexpr std::string_view column = column_names<T>[I];
        constexpr bool fixed = [] {
            if constexpr (has_version_column_at<T, I>()) return true;
            for (const std::string_view k : key_columns<T>)
                if (k == column_names<T>[I]) return true;
            return false;
        }();
        static_cast<void>(column);
        if constexpr (!fixed) {
            const auto& was = get_member<I>(base);
            const auto& our = get_member<I>(ours);
            const auto& their = get_member<I>(theirs);
            if (our == was) return;  // out holds theirs
            if (their == was) {
                get_member<I>(out) = our;
                return;
            }
            constexpr std::size_t number = rule_of(member_name<T>(I));
            bool well = false;
            if constexpr (number < sizeof...(Rules))
                well = std::get<number>(rules_).rule.apply(was, our, their, get_member<I>(out));
            else
                well = detail::conflict_rule::apply(was, our, their, get_member<I>(out));
            if (!well) fields.push_back(member_name<T>(I));
        }
    }
    template <class T, std::size_t I>
    static consteval bool has_version_column_at() {
        if constexpr (detail::has_version_column<T>)
            return I == detail::version_type<T>::number;
        else
            return false;
    }
    /// The number of the rule for a member; that for all others, if there is one; else as many as there are.
    static consteval std::size_t rule_of(std::string_view member) {
        constexpr std::string_view names[] = {Rules::name..., {}};
        std::size_t found = sizeof...(Rules);
        for (std::size_t i = 0; i < sizeof...(Rules); ++i) {
            if (names[i] == member) return i;
            if (names[i].empty()) found = i;
        }
        return found;
    }

    std::tuple<Rules...> rules_;
};

namespace detail {

template <class... Rules>
inline constexpr bool merges<merge<Rules...>> = true;

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
