// One lexer for both dialects, at compile time and at run time: it cuts a text into tokens just finely enough to find
// parameters and facts, and to never take a colon in a string, a name, a comment, a cast or a slice for one.
// A parameter is a colon directly followed by a letter, _ or a byte >= 0x80. A colon that is none is followed by
// something else (`arr[1:2]`, `arr[lo : hi]`), or belongs to `::` or `:=`, or stands between the bounds of a slice:
// inside the brackets of PostgreSQL and behind an operand (`arr[1:n]`, n being a column).
#ifndef STRATA_SQL_LEXER_HPP
#define STRATA_SQL_LEXER_HPP

#include <strata/sql/dialect.hpp>
#include <strata/sql/fixed_string.hpp>
#include <strata/sql/token.hpp>
#include <strata/sql/words.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Classes of characters: one look-up each.
struct character_table {
    /// `operation`: characters of operators in both dialects; `special`: in PostgreSQL only, but for `!=`.
    static constexpr unsigned char blank = 1, start = 2, more = 4, digit = 8, operation = 16, special = 32, hexadecimal = 64;
    unsigned char classes[256]{};

    constexpr character_table() {
        for (int c = 0; c < 256; ++c) {
            const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
            if (letter) classes[c] = start | more;
            if (c >= '0' && c <= '9') classes[c] = digit | more | hexadecimal;
            if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) classes[c] |= hexadecimal;
        }
        for (const char c : {' ', '\t', '\n', '\r', '\f'}) classes[static_cast<unsigned char>(c)] = blank;
        for (const char c : {'~', '&', '|', '+', '-', '*', '/', '%', '<', '>', '='}) classes[static_cast<unsigned char>(c)] = operation;
        for (const char c : {'!', '@', '#', '^', '`', '?'}) classes[static_cast<unsigned char>(c)] = special;
        classes[static_cast<unsigned char>('$')] = more;
    }
};
inline constexpr character_table characters{};

/// The text ends with a NUL that is not part of it, so that looking one character ahead needs no question.
class lexer {
public:
    constexpr lexer(std::string_view text, strata::dialect d) noexcept
        : text_(text.data()), size_(text.size()), postgres_(d == strata::dialect::postgres) {}

    /// The next token; `end` at the end, for ever. After a `bad` one the lexer is not to be used any more.
    constexpr token next() noexcept {
        const std::size_t comment = skip_blank();
        if (comment != none) return {token_kind::bad, at_end(text_problem::unterminated_comment), comment, at_};
        token t{token_kind::symbol, text_problem::none, at_, at_};
        const unsigned char c = class_of(at_);
        if ((c & character_table::start) != 0)
            lex_word(t);
        else if ((c & character_table::digit) != 0)
            lex_number(t);
        else if (at_ == size_)
            t.kind = token_kind::end;
        else
            lex_other(t);
        t.end = at_;
        if (t.problem != text_problem::none) t.kind = token_kind::bad;
        last_ = t;
        return t;
    }

    /// The first character of the next token, or NUL at the end: what follows the last token.
    [[nodiscard]] constexpr char following() noexcept {
        lexer ahead = *this;
        const bool some = ahead.skip_blank() == none;
        asked_ = asked_ || ahead.asked_;
        return some ? ahead.text_[ahead.at_] : '\0';
    }

    /// True while nothing was met that depends on the dialect: so far the other one's tokens are the same.
    [[nodiscard]] constexpr bool neutral() const noexcept { return !asked_; }

private:
    static constexpr std::size_t none = ~std::size_t{0};

    /// Every decision between the dialects is made through this.
    [[nodiscard]] constexpr bool postgres() noexcept {
        asked_ = true;
        return postgres_;
    }
    [[nodiscard]] constexpr unsigned char class_of(std::size_t position) const noexcept {
        return characters.classes[static_cast<unsigned char>(text_[position])];
    }
    [[nodiscard]] constexpr bool is(std::size_t position, unsigned char mask) const noexcept { return (class_of(position) & mask) != 0; }
    [[nodiscard]] constexpr bool begins(char first, char second) const noexcept { return text_[at_] == first && text_[at_ + 1] == second; }
    constexpr void skip(unsigned char mask) noexcept {
        while ((characters.classes[static_cast<unsigned char>(text_[at_])] & mask) != 0) ++at_;
    }
    /// A NUL ends everything; one inside the text is the problem then.
    [[nodiscard]] constexpr text_problem at_end(text_problem p) const noexcept { return at_ < size_ ? text_problem::nul_character : p; }

    /// Skips white space and comments. Returns `none`, or where a comment begins that has no end.
    constexpr std::size_t skip_blank() noexcept {
        for (;;) {
            skip(character_table::blank);
            if (text_[at_] != '-' && text_[at_] != '/') return none;
            if (begins('-', '-')) {
                skip_line();
            } else if (begins('/', '*')) {
                const std::size_t begin = at_;
                if (!skip_block()) return begin;
            } else {
                return none;
            }
        }
    }
    constexpr void skip_line() noexcept {  // only PostgreSQL ends a line at a carriage return
        while (text_[at_] != '\0' && text_[at_] != '\n' && !(text_[at_] == '\r' && postgres())) ++at_;
    }
    constexpr bool skip_block() noexcept {  // only PostgreSQL nests them
        at_ += 2;
        for (std::size_t depth = 1; depth != 0;) {
            while (text_[at_] != '*' && text_[at_] != '/' && text_[at_] != '\0') ++at_;
            if (text_[at_] == '\0') return false;
            if (begins('*', '/'))
                --depth, at_ += 2;
            else if (begins('/', '*') && postgres())
                ++depth, at_ += 2;
            else
                ++at_;
        }
        return true;
    }

    /// From the opening quote to behind the closing one; a doubled quote is part of the text, but for SQLite's [name].
    constexpr bool skip_quoted(char quote, bool backslash) noexcept {
        for (++at_;; ++at_) {
            while (text_[at_] != quote && text_[at_] != '\0' && !(text_[at_] == '\\' && backslash)) ++at_;
            if (text_[at_] == '\\' && backslash)
                ++at_;
            else if (text_[at_] == quote && text_[at_ + 1] == quote && quote != ']')
                ++at_;
            else
                break;
            if (text_[at_] == '\0') break;
        }
        if (text_[at_] == '\0') return false;
        ++at_;
        return true;
    }
    constexpr void lex_string(token& t, bool backslash) noexcept {
        t.kind = token_kind::string;
        do {
            if (skip_quoted('\'', backslash)) continue;
            t.problem = at_end(text_problem::unterminated_string);
            return;
        } while (backslash && continues());
    }
    /// PostgreSQL joins strings that only white space with a line break (and -- comments) part, and the second follows
    /// the rules of the first. It matters where a backslash escapes a quote.
    constexpr bool continues() noexcept {
        lexer ahead = *this;
        bool line_break = false;
        for (;;) {
            const std::size_t blank = ahead.at_;
            ahead.skip(character_table::blank);
            for (std::size_t i = blank; i < ahead.at_; ++i) line_break = line_break || text_[i] == '\n' || text_[i] == '\r';
            if (!ahead.begins('-', '-')) break;
            ahead.skip_line();
        }
        if (!line_break || text_[ahead.at_] != '\'') return false;
        at_ = ahead.at_;
        return true;
    }
    constexpr void lex_name(token& t, char quote) noexcept {
        t.kind = token_kind::name;
        if (!skip_quoted(quote, false)) t.problem = at_end(text_problem::unterminated_name);
    }

    constexpr void lex_word(token& t) noexcept {
        t.kind = token_kind::word;
        skip(character_table::more);
        // SQLite takes a byte order mark for white space wherever a token begins, and would see another word
        if (text_[t.begin] == '\xEF' && text_[t.begin + 1] == '\xBB' && text_[t.begin + 2] == '\xBF' && !postgres())
            t.problem = text_problem::bad_character;
        if (at_ - t.begin != 1) return;
        const char prefix = static_cast<char>(text_[t.begin] | 0x20);
        const char c = text_[at_];
        if ((c != '\'' && c != '&') || (prefix != 'e' && prefix != 'x' && prefix != 'b' && prefix != 'n' && prefix != 'u')) return;
        if (!postgres()) {
            if (c == '\'' && prefix == 'x') lex_sqlite_blob(t);
        } else if (c == '\'' && prefix != 'u') {
            lex_string(t, prefix == 'e');
        } else if (prefix == 'u' && c == '&' && (text_[at_ + 1] == '\'' || text_[at_ + 1] == '"')) {
            ++at_;
            if (text_[at_] == '"')
                lex_name(t, '"');
            else
                lex_string(t, false);
        }
    }
    constexpr void lex_sqlite_blob(token& t) noexcept {
        t.kind = token_kind::string;
        const std::size_t begin = ++at_;
        skip(character_table::hexadecimal);
        if (text_[at_] != '\'' || (at_ - begin) % 2 != 0)
            t.problem = text_problem::bad_blob;
        else
            ++at_;
    }

    constexpr void lex_number(token& t) noexcept {
        t.kind = token_kind::number;
        const char radix = text_[at_] == '0' ? static_cast<char>(text_[at_ + 1] | 0x20) : ' ';
        if (radix == 'x' || radix == 'o' || radix == 'b') {
            at_ += 2;
            const std::size_t digits = at_;
            while (is(at_, character_table::hexadecimal) || text_[at_] == '_') ++at_;
            if (at_ == digits) t.problem = text_problem::bad_number;
        } else {
            lex_digits();
            if (text_[at_] == '.' && text_[at_ + 1] != '.') {  // 1..2 is a range
                ++at_;
                lex_digits();
            }
            if ((text_[at_] | 0x20) == 'e') {
                const bool sign = text_[at_ + 1] == '+' || text_[at_ + 1] == '-';
                if (is(at_ + (sign ? 2U : 1U), character_table::digit)) {
                    at_ += sign ? 2U : 1U;
                    lex_digits();
                }
            }
        }
        if (is(at_, character_table::more)) t.problem = text_problem::bad_number;
    }
    constexpr void lex_digits() noexcept {
        while (is(at_, character_table::digit) || (text_[at_] == '_' && is(at_ + 1, character_table::digit))) ++at_;
    }

    constexpr void lex_other(token& t) noexcept {
        const char c = text_[at_];
        switch (c) {
            case '\'':
                return lex_string(t, false);
            case '"':
                return lex_name(t, '"');
            case ':':
                return lex_colon(t);
            case '$':
                return lex_dollar(t);
            case '(':
            case ')':
            case ',':
            case ';':
                break;
            case '[':
                if (!postgres()) return lex_name(t, ']');
                break;
            case ']':
                if (!postgres()) t.problem = text_problem::bad_character;
                break;
            case '.':
                if (is(at_ + 1, character_table::digit)) return lex_number(t);
                if (text_[at_ + 1] == '.') ++at_;
                break;
            case '\0':
                t.problem = text_problem::nul_character;
                break;
            default:
                if (is(at_, character_table::operation | character_table::special)) return lex_operator(t);
                t.problem = text_problem::bad_character;
        }
        ++at_;
        track_brackets(t, c);
    }

    constexpr void track_brackets(token& t, char c) noexcept {
        if (c == '(' || c == '[') {
            if (depth_ == 64) t.problem = text_problem::too_deep;
            square_ = (square_ << 1) | (c == '[' ? 1U : 0U);
            ++depth_;
        } else if ((c == ')' || c == ']') && depth_ > 0) {
            square_ >>= 1;
            --depth_;
        }
    }

    /// The longest run of an operator's characters, ended by a comment. Where all are common to both dialects nobody
    /// needs to know that SQLite would see several operators.
    constexpr void lex_operator(token& t) noexcept {
        lex_run(character_table::operation);
        if (text_[at_] == '!' && text_[at_ + 1] == '=' && at_ == t.begin) {
            at_ += 2;
            lex_run(character_table::operation);
        }
        if (!is(at_, character_table::special)) return;
        if (postgres()) {
            lex_run(character_table::operation | character_table::special);
            if (text_[at_ - 1] == '?' && is_placeholder(t.begin)) t.problem = text_problem::placeholder;
        } else if (at_ == t.begin) {
            lex_sqlite_special(t);
        }
    }
    constexpr void lex_run(unsigned char mask) noexcept {
        while (is(at_, mask) && !begins('-', '-') && !begins('/', '*')) ++at_;
    }
    /// `?` is an operator only between operands; no operator ends `=?`.
    [[nodiscard]] constexpr bool is_placeholder(std::size_t begin) noexcept {
        if (at_ - begin > 1) {
            for (std::size_t i = begin; i + 1 < at_; ++i)
                if (text_[i] != '=' && text_[i] != '<' && text_[i] != '>' && text_[i] != '!') return false;
            return true;
        }
        const char after = following();
        return !after_operand() || after == '\0' || after == ')' || after == ',' || after == ';';
    }
    constexpr void lex_sqlite_special(token& t) noexcept {
        const char c = text_[at_];
        if (c == '`') return lex_name(t, '`');
        ++at_;
        if (c == '?' || (c == '@' && is(at_, character_table::more)))
            t.problem = text_problem::placeholder;
        else if (c != '!' || text_[at_] != '=')
            t.problem = text_problem::bad_character;
    }

    constexpr void lex_colon(token& t) noexcept {
        const bool slice = (square_ & 1U) != 0;  // only PostgreSQL has brackets
        const char c = text_[at_ + 1];
        if (is(at_ + 1, character_table::start)) {
            if (slice && after_operand())
                ++at_;
            else
                lex_parameter(t);
        } else if (is(at_ + 1, character_table::digit) && !slice) {
            t.problem = text_problem::placeholder;
        } else {
            if (!postgres()) t.problem = text_problem::bad_character;
            at_ += c == ':' || c == '=' ? 2 : 1;
        }
    }
    constexpr void lex_parameter(token& t) noexcept {
        t.kind = token_kind::parameter;
        ++at_;
        skip(character_table::more);
        for (std::size_t i = t.begin; i < at_; ++i)
            if (text_[i] == '$') t.problem = text_problem::bad_parameter;
        if (text_[at_] == '.' && text_[at_ + 1] == '.' && text_[at_ + 2] == '.') {
            t.kind = token_kind::list;
            at_ += 3;
        }
    }

    constexpr void lex_dollar(token& t) noexcept {
        const bool named = is(at_ + 1, character_table::start);
        if (is(at_ + 1, character_table::digit) || (named && !postgres())) {
            t.problem = text_problem::placeholder;
            return;
        }
        std::size_t tag_end = at_ + 1;
        while (is(tag_end, character_table::more) && text_[tag_end] != '$') ++tag_end;
        if (!postgres() || text_[tag_end] != '$') {
            t.problem = text_problem::bad_character;
            return;
        }
        const std::string_view tag{text_ + at_, tag_end - at_ + 1};
        t.kind = token_kind::string;
        for (at_ = tag_end + 1; text_[at_] != '\0'; ++at_) {
            if (text_[at_] != '$' || size_ - at_ < tag.size() || !same_text({text_ + at_, tag.size()}, tag)) continue;
            at_ += tag.size();
            return;
        }
        t.problem = at_end(text_problem::unterminated_string);
    }

    /// Whether the last token ends an operand, so that an infix operator or a slice's colon may follow.
    [[nodiscard]] constexpr bool after_operand() const noexcept {
        switch (last_.kind) {
            case token_kind::word: {
                const word_role role = key_words::role(key_words::index.find({text_ + last_.begin, last_.end - last_.begin}));
                return role != word_role::connective && role != word_role::query;
            }
            case token_kind::number:
            case token_kind::string:
            case token_kind::name:
            case token_kind::parameter:
                return true;
            case token_kind::symbol:
                return text_[last_.begin] == ')' || text_[last_.begin] == ']';
            default:
                return false;
        }
    }

    const char* text_;
    std::size_t size_;
    bool postgres_;
    bool asked_ = false;
    std::size_t at_ = 0;
    std::uint64_t square_ = 0;  // innermost bracket in the lowest bit: 1 for [
    unsigned depth_ = 0;
    token last_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
