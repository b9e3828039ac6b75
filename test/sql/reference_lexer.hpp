// The lexical rules once more, written down plainly and without a thought for speed: what the lexer is compared with.
#ifndef STRATA_TEST_SQL_REFERENCE_LEXER_HPP
#define STRATA_TEST_SQL_REFERENCE_LEXER_HPP

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace strata_test {

class reference_lexer {
public:
    /// Where parameters are, lists among them; nothing if the text is to be refused.
    static std::optional<std::vector<std::pair<std::size_t, std::size_t>>> parameters(const std::string& text, bool postgres) {
        reference_lexer lexer{text, postgres};
        if (!lexer.run()) return std::nullopt;
        return lexer.found_;
    }

private:
    enum class ended { with_operand, otherwise };

    reference_lexer(const std::string& text, bool postgres) : text_(text), postgres_(postgres) {}

    char at(std::size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
    bool at(std::size_t i, const std::string& what) const { return text_.compare(i, what.size(), what) == 0; }
    static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0; }
    static bool digit(char c) { return c >= '0' && c <= '9'; }
    static bool hex(char c) { return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
    static bool in_word(char c) { return letter(c) || digit(c) || c == '$'; }
    static char low(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

    /// Behind a quoted thing that begins at `i` with the quote `q`; nothing if it does not end.
    std::optional<std::size_t> quoted(std::size_t i, char q, bool doubled, bool backslash) const {
        for (++i; i < text_.size(); ++i) {
            if (text_[i] == '\0') return std::nullopt;
            if (backslash && text_[i] == '\\') {
                ++i;
                if (at(i) == '\0') return std::nullopt;
            } else if (text_[i] == q) {
                if (doubled && at(i + 1) == q)
                    ++i;
                else
                    return i + 1;
            }
        }
        return std::nullopt;
    }

    /// Behind white space and comments; nothing if a comment does not end.
    std::optional<std::size_t> blank(std::size_t i) const {
        for (;;) {
            if (i < text_.size() && std::string(" \t\n\r\f").find(text_[i]) != std::string::npos) {
                ++i;
            } else if (at(i, "--")) {
                while (i < text_.size() && at(i) != '\0' && at(i) != '\n' && !(postgres_ && at(i) == '\r')) ++i;
            } else if (at(i, "/*")) {
                int depth = 0;
                do {
                    if (at(i) == '\0') return std::nullopt;
                    if (at(i, "/*") && (postgres_ || depth == 0)) {
                        ++depth;
                        i += 2;
                    } else if (at(i, "*/")) {
                        --depth;
                        i += 2;
                    } else {
                        ++i;
                    }
                } while (depth > 0);
            } else {
                return i;
            }
        }
    }

    /// An escape string that ends before `i` goes on where, with a line break between, another quote comes.
    std::optional<std::size_t> continued(std::size_t i) const {
        bool line = false;
        for (;;) {
            if (at(i) == '\n' || at(i) == '\r')
                line = true, ++i;
            else if (at(i) == ' ' || at(i) == '\t' || at(i) == '\f')
                ++i;
            else if (at(i, "--")) {
                while (at(i) != '\0' && at(i) != '\n' && at(i) != '\r') ++i;
            } else
                break;
        }
        if (line && at(i) == '\'') return i;
        return std::nullopt;
    }

    std::optional<std::size_t> string(std::size_t i, bool backslash) const {
        for (;;) {
            const auto end = quoted(i, '\'', true, backslash);
            if (!end || !backslash) return end;
            const auto more = continued(*end);
            if (!more) return end;
            i = *more;
        }
    }

    std::optional<std::size_t> number(std::size_t i) const {
        const auto digits = [&] {
            while (digit(at(i)) || (at(i) == '_' && digit(at(i + 1)))) ++i;
        };
        if (at(i) == '0' && std::string("xob").find(low(at(i + 1))) != std::string::npos && at(i + 1) != '\0') {
            const std::size_t begin = i += 2;
            while (hex(at(i)) || at(i) == '_') ++i;
            if (i == begin) return std::nullopt;
        } else {
            digits();
            if (at(i) == '.' && at(i + 1) != '.') {
                ++i;
                digits();
            }
            if (low(at(i)) == 'e') {
                if (digit(at(i + 1))) {
                    i += 1;
                    digits();
                } else if ((at(i + 1) == '+' || at(i + 1) == '-') && digit(at(i + 2))) {
                    i += 2;
                    digits();
                }
            }
        }
        if (in_word(at(i))) return std::nullopt;
        return i;
    }

    static bool joins(std::string word) {  // an operand must follow it
        for (char& c : word) c = low(c);
        static const std::set<std::string> words{
            "and",       "as",     "between",   "by",   "case",  "cross",   "distinct", "else",  "except", "exists", "from", "having",
            "ilike",     "in",     "intersect", "is",   "join",  "lateral", "like",     "limit", "not",    "offset", "on",   "or",
            "returning", "select", "table",     "then", "union", "using",   "values",   "when",  "where",  "with"};
        return words.count(word) != 0;
    }

    bool run() {
        std::size_t i = 0;
        bool operand = false;  // the last token ended one
        std::string brackets;
        for (;;) {
            const auto start = blank(i);
            if (!start) return false;
            i = *start;
            if (i >= text_.size()) return true;
            const char c = text_[i];
            std::optional<std::size_t> end;
            bool is_operand = true;
            if (letter(c)) {
                std::size_t e = i;
                while (in_word(at(e))) ++e;
                end = e;
                is_operand = !joins(text_.substr(i, e - i));
                const char prefix = e == i + 1 ? low(c) : ' ';
                if (postgres_ && at(e) == '\'' && std::string("exbn").find(prefix) != std::string::npos)
                    end = string(e, prefix == 'e'), is_operand = true;
                if (postgres_ && prefix == 'u' && at(e, "&'")) end = string(e + 1, false);
                if (postgres_ && prefix == 'u' && at(e, "&\"")) end = quoted(e + 1, '"', true, false);
                if (!postgres_ && prefix == 'x' && at(e) == '\'') {
                    std::size_t b = e + 1;
                    while (hex(at(b))) ++b;
                    end = at(b) == '\'' && (b - e - 1) % 2 == 0 ? std::optional(b + 1) : std::nullopt;
                }
            } else if (digit(c) || (c == '.' && digit(at(i + 1)))) {
                end = number(i);
            } else if (c == '\'') {
                end = string(i, false);
            } else if (c == '"') {
                end = quoted(i, '"', true, false);
            } else if (c == '`' && !postgres_) {
                end = quoted(i, '`', true, false);
            } else if (c == '[' && !postgres_) {
                end = quoted(i, ']', false, false);
            } else if (c == ':') {
                const bool slice = !brackets.empty() && brackets.back() == '[';
                is_operand = false;
                if (letter(at(i + 1)) && !(slice && operand)) {
                    std::size_t e = i + 1;
                    while (in_word(at(e))) ++e;
                    if (text_.substr(i, e - i).find('$') != std::string::npos) return false;
                    is_operand = true;
                    if (at(e, "...")) return true;  // lists have tests of their own: stop here
                    found_.emplace_back(i, e);
                    end = e;
                } else if (letter(at(i + 1))) {
                    end = i + 1;
                } else if (digit(at(i + 1)) && !slice) {
                    return false;
                } else if (postgres_) {
                    end = at(i + 1) == ':' || at(i + 1) == '=' ? i + 2 : i + 1;
                }
            } else if (c == '$' && postgres_) {
                std::size_t e = i + 1;
                if (digit(at(e))) return false;
                while (letter(at(e)) || digit(at(e))) ++e;
                if (at(e) == '$') {
                    const std::string tag = text_.substr(i, e - i + 1);
                    const std::size_t close = text_.find(tag, e + 1);
                    if (close != std::string::npos && text_.substr(0, close).find('\0') == std::string::npos) end = close + tag.size();
                }
            } else if (std::string("()[],;.").find(c) != std::string::npos) {
                end = i + 1;
                if (c == '.' && at(i + 1) == '.') end = i + 2;
                is_operand = c == ')' || c == ']';
                if (c == ']' && !postgres_) return false;
                if (c == '(' || c == '[') {
                    if (brackets.size() == 64) return false;
                    brackets.push_back(c);
                }
                if ((c == ')' || c == ']') && !brackets.empty()) brackets.pop_back();
            } else {
                is_operand = false;
                const std::string common = "~&|+-*/%<>=";
                const std::string allowed = postgres_ ? common + "!@#^`?" : common;
                std::size_t e = i;
                while (allowed.find(at(e)) != std::string::npos && at(e) != '\0' && !at(e, "--") && !at(e, "/*")) ++e;
                if (e > i) {
                    end = e;
                    if (text_[e - 1] == '?') {  // an operator, or a placeholder?
                        const std::string run = text_.substr(i, e - i - 1);
                        if (run.empty()) {
                            const auto next = blank(e);
                            const char n = next ? at(*next) : '\0';
                            if (!operand || n == '\0' || n == ')' || n == ',' || n == ';') return false;
                        } else if (run.find_first_not_of("=<>!") == std::string::npos) {
                            return false;
                        }
                    }
                } else if (!postgres_ && at(i, "!=")) {
                    end = i + 2;
                }
            }
            if (!end) return false;
            i = *end;
            operand = is_operand;
        }
    }

    const std::string& text_;
    bool postgres_;
    std::vector<std::pair<std::size_t, std::size_t>> found_;
};

}  // namespace strata_test

#endif
