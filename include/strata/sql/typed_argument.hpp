// An argument whose type in the database is said, where the server cannot infer it: `"settings"_arg.as("jsonb") = text`.
//
// The name is checked by the compiler against a closed grammar, and never becomes part of a statement's text: the driver asks the
// server for its number.
#ifndef STRATA_SQL_TYPED_ARGUMENT_HPP
#define STRATA_SQL_TYPED_ARGUMENT_HPP

#include <strata/value/primary.hpp>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Names of types: `jsonb`, `app.mood`, `"My Type"`, `double precision`, `timestamp(3) with time zone`, `numeric(10,2)`, `text[]`,
/// `int[3][]`.
class type_name_grammar {
public:
    constexpr explicit type_name_grammar(std::string_view text) noexcept : rest_(text) {}

    [[nodiscard]] constexpr bool accepts() noexcept {
        const bool time = is_next("timestamp") || is_next("time");
        const bool varying = is_next("character") || is_next("bit");
        if (is_next("double")) {
            if (!take("double precision")) return false;
        } else if (!take_name()) {
            return false;
        } else {
            while (take("."))
                if (!take_name()) return false;
        }
        if (varying) static_cast<void>(take(" varying"));
        if (take("(") && !take_numbers()) return false;
        if (time && !take(" with time zone")) static_cast<void>(take(" without time zone"));
        while (take("[")) {
            while (!rest_.empty() && is_digit(rest_.front())) rest_.remove_prefix(1);
            if (!take("]")) return false;
        }
        return rest_.empty();
    }

private:
    [[nodiscard]] static constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
    [[nodiscard]] static constexpr bool begins_name(char c) noexcept {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
    }
    [[nodiscard]] static constexpr bool is_in_name(char c) noexcept { return begins_name(c) || is_digit(c) || c == '$'; }

    /// The whole word, not the beginning of a longer one.
    [[nodiscard]] constexpr bool is_next(std::string_view word) const noexcept {
        return rest_.substr(0, word.size()) == word && (rest_.size() == word.size() || !is_in_name(rest_[word.size()]));
    }
    [[nodiscard]] constexpr bool take(std::string_view text) noexcept {
        if (rest_.substr(0, text.size()) != text) return false;
        rest_.remove_prefix(text.size());
        return true;
    }
    [[nodiscard]] constexpr bool take_name() noexcept {
        if (take("\"")) {
            bool any = false;
            while (!rest_.empty()) {
                const char c = rest_.front();
                rest_.remove_prefix(1);
                if (c == '"' && !take("\"")) return any;
                if (c == '\0') return false;
                any = true;
            }
            return false;
        }
        if (rest_.empty() || !begins_name(rest_.front())) return false;
        while (!rest_.empty() && is_in_name(rest_.front())) rest_.remove_prefix(1);
        return true;
    }
    /// After `(`: numbers parted by commas, and `)`.
    [[nodiscard]] constexpr bool take_numbers() noexcept {
        do {
            while (take(" ")) {
            }
            static_cast<void>(take("-"));
            if (rest_.empty() || !is_digit(rest_.front())) return false;
            while (!rest_.empty() && is_digit(rest_.front())) rest_.remove_prefix(1);
        } while (take(","));
        return take(")");
    }

    std::string_view rest_;
};

[[nodiscard]] constexpr bool is_type_name(std::string_view text) noexcept {
    return type_name_grammar{text}.accepts();
}

/// Not constexpr: the compiler's message names it.
inline void the_type_name_of_as_is_none_write_it_like_jsonb_or_numeric_10_2_or_app_mood_or_text_array() {}

/// A type's name that the compiler has checked.
class checked_type_name {
public:
    consteval checked_type_name(const char* text) : text_(text) {  // NOLINT: a literal is meant to become one
        if (!is_type_name(text_)) the_type_name_of_as_is_none_write_it_like_jsonb_or_numeric_10_2_or_app_mood_or_text_array();
    }
    [[nodiscard]] constexpr std::string_view text() const noexcept { return text_; }

private:
    std::string_view text_;
};

namespace plain {

/// A value, kept as a call keeps it, with the name of its type.
template <class Kept>
struct typed {
    std::string_view type;
    Kept value;
};

}  // namespace plain

using plain::typed;

template <class T>
inline constexpr bool is_typed = false;
template <class Kept>
inline constexpr bool is_typed<typed<Kept>> = true;

/// The name of an argument's type in the database; empty where it was not said. Arguments whose own type is forgotten know it
/// themselves.
template <class T>
[[nodiscard]] constexpr std::string_view type_of_argument(const T& value) noexcept {
    if constexpr (is_typed<T>)
        return value.type;
    else if constexpr (requires { value.type_in_database(); })
        return value.type_in_database();
    else
        return {};
}

/// False for arguments that cannot have a type of their own.
template <class T>
inline constexpr bool may_be_typed = is_typed<T> || requires(const T& value) { value.type_in_database(); };

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
