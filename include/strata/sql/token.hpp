// What the lexer cuts a text into, and what can be wrong with a text.
#ifndef STRATA_SQL_TOKEN_HPP
#define STRATA_SQL_TOKEN_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What is wrong with a text under one dialect, or with its parameters.
enum class text_problem : std::uint8_t {
    none,
    unterminated_string,
    unterminated_name,
    unterminated_comment,
    placeholder,    ///< `?` or `$1`, the drivers' own forms
    bad_parameter,  ///< a name that no database could tell from what follows
    bad_number,
    bad_blob,       ///< x'..' with an odd number of digits or other characters
    bad_character,  ///< belongs to no token of the dialect
    nul_character,
    too_deep,  ///< more than 64 open brackets
    list,      ///< `:name...` where lists are not possible
    torn,      ///< a string, name, comment or parameter runs across the border of a fragment
    arguments  ///< the arguments do not fit the parameters
};

/// What to write instead; static storage.
[[nodiscard]] constexpr std::string_view to_string(text_problem p) noexcept {
    constexpr std::string_view texts[] = {
        "no problem",
        "a string has no end: close it with ' and write a quote inside it twice",
        "a quoted name has no end: close it",
        "a comment has no end: close it with */",
        "? and $1 are placeholders of drivers: write :name",
        "a parameter's name is letters, digits and _, not followed by $",
        "letters follow a number: put a space between them",
        "a blob is x'..' with an even number of hexadecimal digits",
        "a character that belongs to no token of this dialect",
        "a text must not contain a NUL character",
        "more than 64 brackets are open",
        "a list is written in (:name...), alone in its parentheses",
        "a string, quoted name, comment or word runs from one fragment into the next: end it, or put a space, before the fragment",
        "arguments and parameters differ"};
    static_assert(sizeof(texts) / sizeof(texts[0]) == static_cast<std::size_t>(text_problem::arguments) + 1);
    return texts[static_cast<std::size_t>(p)];
}

namespace detail {

enum class token_kind : std::uint8_t {
    end,
    bad,   ///< see `token::problem`
    word,  ///< a key word or identifier that is not quoted
    number,
    string,     ///< every literal in quotes, with its prefix
    name,       ///< a quoted identifier
    parameter,  ///< :name
    list,       ///< :name...
    symbol      ///< punctuation, one character, or an operator
};

struct token {
    token_kind kind = token_kind::end;
    text_problem problem = text_problem::none;
    std::size_t begin = 0;
    std::size_t end = 0;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
