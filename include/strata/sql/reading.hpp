// One pass over a text under one dialect: its facts, its parameters, or the first thing that is wrong with it.
#ifndef STRATA_SQL_READING_HPP
#define STRATA_SQL_READING_HPP

#include <strata/sql/classifier.hpp>
#include <strata/sql/facts.hpp>
#include <strata/sql/lexer.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// What a text is under one dialect.
struct reading {
    text_problem problem = text_problem::none;
    std::size_t position = 0;  ///< of the problem, in bytes
    statement_kind kind = statement_kind::other;
    bool idempotent = false;
    std::uint16_t statements = 0;
    bool on_session = false;
    bool neutral = false;  ///< the other dialect reads the text in the same way

    [[nodiscard]] constexpr bool fits() const noexcept { return problem == text_problem::none; }
};

/// A parameter where it stands in the text.
struct occurrence {
    std::size_t begin = 0;  ///< of the colon
    std::size_t end = 0;    ///< behind the name, for a list behind its dots
    bool list = false;
    bool negated = false;      ///< a list behind `not in`
    std::size_t in_begin = 0;  ///< a list's `in` or `not in`
    std::size_t close = 0;     ///< behind a list's closing parenthesis

    [[nodiscard]] constexpr std::string_view name(std::string_view text) const noexcept {
        return {text.data() + begin + 1, end - begin - (list ? 4 : 1)};
    }
};

/// Reads a text, in one go or in several.
class text_reader {
public:
    constexpr text_reader(std::string_view text, dialect d) noexcept : text_(text), lexer_(text, d), facts_(text, d) {}

    /// Reads the tokens that begin before `until`. `on_token(const token&)` sees each token, `on_parameter(const
    /// occurrence&)` each parameter, in order; both return what is wrong, or `text_problem::none`.
    template <class OnToken, class OnParameter>
    constexpr void read(std::size_t until, OnToken&& on_token, OnParameter&& on_parameter) {
        while (!finished_ && last_.begin < until) {
            token t = lexer_.next();
            if (t.kind == token_kind::end) return finish();
            const std::size_t begin = t.begin;
            text_problem problem = t.problem;
            if (problem == text_problem::none) problem = on_token(t);
            if (problem == text_problem::none && t.kind == token_kind::parameter) problem = on_parameter(occurrence{t.begin, t.end});
            if (problem == text_problem::none && t.kind == token_kind::list) problem = read_list(t, on_token, on_parameter);
            if (problem != text_problem::none) {
                finished_ = true;
                read_.problem = problem;
                read_.position = begin;
                read_.neutral = lexer_.neutral();
                return;
            }
            note(t);
        }
    }
    [[nodiscard]] constexpr const reading& result() const noexcept { return read_; }

private:
    constexpr void note(const token& t) noexcept {
        facts_.take(t);
        before_[0] = before_[1];
        before_[1] = last_;
        last_ = t;
    }
    constexpr void finish() noexcept {
        finished_ = true;
        facts_.finish();
        read_.neutral = lexer_.neutral() && facts_.neutral();
        read_.kind = facts_.kind();
        read_.idempotent = facts_.idempotent();
        read_.statements = facts_.statements();
        read_.on_session = facts_.on_session();
    }
    [[nodiscard]] constexpr bool is_word(const token& t, std::string_view word) const noexcept {
        return t.kind == token_kind::word && same_folded(text_.substr(t.begin, t.end - t.begin), word);
    }
    /// `[not] in (:name...)`; leaves `t` at the closing parenthesis.
    template <class OnToken, class OnParameter>
    constexpr text_problem read_list(token& t, OnToken& on_token, OnParameter& on_parameter) {
        const bool open = last_.kind == token_kind::symbol && text_[last_.begin] == '(';
        if (!open || !is_word(before_[1], "in") || lexer_.following() != ')') return text_problem::list;
        occurrence list{t.begin, t.end, true, is_word(before_[0], "not"), before_[1].begin, 0};
        if (list.negated) list.in_begin = before_[0].begin;
        facts_.take(t);
        t = lexer_.next();
        list.close = t.end;
        const text_problem problem = on_parameter(list);
        return problem != text_problem::none ? problem : on_token(t);
    }

    std::string_view text_;
    lexer lexer_;
    classifier facts_;
    reading read_;
    bool finished_ = false;
    token before_[2];  // what stands before the last token
    token last_;
};

/// Reads a whole text.
template <class OnToken, class OnParameter>
constexpr reading read_text(std::string_view text, dialect d, OnToken&& on_token, OnParameter&& on_parameter) {
    text_reader reader(text, d);
    reader.read(~std::size_t{0}, on_token, on_parameter);
    return reader.result();
}

/// What two dialects say together: the kind both can answer for, idempotent only if both are.
[[nodiscard]] constexpr reading join_readings(const reading& a, const reading& b) noexcept {
    if (!b.fits()) return a;
    if (!a.fits()) return b;
    reading r = a;
    r.kind = join_kinds(a.kind, b.kind);
    r.idempotent = a.idempotent && b.idempotent;
    r.on_session = a.on_session || b.on_session;
    r.statements = a.statements > b.statements ? a.statements : b.statements;
    return r;
}

/// Writes a text in pieces; without a place to write to it only counts, so that one algorithm measures and writes.
struct text_writer {
    char* out = nullptr;
    std::size_t size = 0;
    bool writes = false;  // g++ under -fsanitize=undefined compares no address with null in a constant expression

    constexpr text_writer() noexcept = default;
    constexpr explicit text_writer(char* to) noexcept : out(to), writes(true) {}

    constexpr void put(char c) noexcept {
        if (writes) out[size] = c;
        ++size;
    }
    constexpr void put(std::string_view s) noexcept {
        if (writes)
            for (std::size_t i = 0; i < s.size(); ++i) out[size + i] = s[i];
        size += s.size();
    }
    /// `$7` or `?7`, apart from a word or number before it: PostgreSQL's identifiers may contain `$`.
    constexpr void put_placeholder(dialect d, unsigned number, char before) noexcept {
        if ((characters.classes[static_cast<unsigned char>(before)] & character_table::more) != 0) put(' ');
        put(d == dialect::postgres ? '$' : '?');
        unsigned unit = 1;
        while (number / unit >= 10) unit *= 10;
        for (; unit != 0; unit /= 10) put(static_cast<char>('0' + number / unit % 10));
    }
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
