// A literal whose text a type writes while the program is compiled: for statements made from `mapping<T>`.
//
// It is read by the same lexer as one written by hand, and has the same facts, checks and cost.
#ifndef STRATA_SQL_WRITTEN_LITERAL_HPP
#define STRATA_SQL_WRITTEN_LITERAL_HPP

#include <strata/sql/literal.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Writes the name of a table or column, quoted.
constexpr void put_quoted(text_writer& out, std::string_view name) noexcept {
    out.put('"');
    for (const char c : name) {
        if (c == '"') out.put(c);
        out.put(c);
    }
    out.put('"');
}

template <class Text>
[[nodiscard]] consteval auto written_text() {
    constexpr std::size_t size = [] {
        text_writer measure;
        Text::write(measure);
        return measure.size;
    }();
    char text[size + 1]{};
    text_writer out{text};
    Text::write(out);
    return fixed_string<size + 1>(text);
}

/// `Text::write(text_writer&)` puts the statement, twice: to measure it and to write it.
template <class Text>
inline constexpr auto written_literal = literals::operator""_sql < written_text<Text>()>();

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
