// The little that the driver itself must see in a text when a statement is prepared.
#ifndef STRATA_DRIVER_SQLITE_SCAN_HPP
#define STRATA_DRIVER_SQLITE_SCAN_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Takes white space, semicolons and comments off the front of an SQLite text.
STRATA_COLD constexpr void skip_blank_sql(std::string_view& text) noexcept {
    while (!text.empty()) {
        const char c = text.front();
        if (c == ' ' || c == ';' || (c >= '\t' && c <= '\r')) {
            text.remove_prefix(1);
            continue;
        }
        const bool line = text.substr(0, 2) == "--";
        if (!line && text.substr(0, 2) != "/*") return;
        const std::size_t end = line ? text.find('\n') : text.find("*/", 2);
        text.remove_prefix(end == text.npos ? text.size() : end + (line ? 1 : 2));
    }
}

/// True when nothing but white space, semicolons and comments is left.
[[nodiscard]] constexpr bool is_blank_sql(std::string_view text) noexcept {
    skip_blank_sql(text);
    return text.empty();
}

/// Takes a quoted piece off the front; its closing quote may be doubled inside.
STRATA_COLD constexpr void skip_quoted(std::string_view& text, char close) noexcept {
    std::size_t end = text.find(close, 1);
    while (close != ']' && end != text.npos && end + 1 < text.size() && text[end + 1] == close) end = text.find(close, end + 2);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
}

/// True for INSERT and REPLACE, also behind WITH: only they set a last row id. The text is one that SQLite accepts.
[[nodiscard]] STRATA_COLD constexpr bool inserts_rows(std::string_view text) noexcept {
    const auto letter = [](char c) -> char { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    const auto is = [letter](std::string_view word, std::string_view wanted) {
        if (word.size() != wanted.size()) return false;
        for (std::size_t i = 0; i < word.size(); ++i) {
            if (letter(word[i]) != wanted[i]) return false;
        }
        return true;
    };
    bool first = true;
    int depth = 0;
    for (skip_blank_sql(text); !text.empty(); skip_blank_sql(text)) {
        const char c = text.front();
        std::size_t length = 0;
        while (length < text.size() && ((letter(text[length]) >= 'a' && letter(text[length]) <= 'z') || text[length] == '_' ||
                                        (text[length] >= '0' && text[length] <= '9') || static_cast<unsigned char>(text[length]) >= 0x80)) {
            ++length;
        }
        if (length != 0) {
            const std::string_view word = text.substr(0, length);
            if (depth == 0 && (is(word, "insert") || is(word, "replace"))) return true;
            if (depth == 0 && (is(word, "select") || is(word, "update") || is(word, "delete") || is(word, "values"))) return false;
            if (first && !is(word, "with")) return false;
            first = false;
            text.remove_prefix(length);
        } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
            skip_quoted(text, c == '[' ? ']' : c);
        } else {
            depth += c == '(' ? 1 : c == ')' ? -1 : 0;
            text.remove_prefix(1);
        }
    }
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
