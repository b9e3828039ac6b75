// Finds a text's facts from its tokens: how many statements, of which kind, and whether all they call is known to be pure.
//
// It errs to one side only. A column named `update` may make a write of a read; nothing makes a read of a write.
#ifndef STRATA_SQL_CLASSIFIER_HPP
#define STRATA_SQL_CLASSIFIER_HPP

#include <strata/sql/facts.hpp>
#include <strata/sql/token.hpp>
#include <strata/sql/words.hpp>

#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Fed with every token of a text in order, then asked.
class classifier {
public:
    constexpr classifier(std::string_view text, dialect d) noexcept : text_(text), postgres_(d == dialect::postgres) {}

    constexpr void take(const token& t) noexcept {
        const char c = t.kind == token_kind::symbol ? text_[t.begin] : '\0';
        if (c == ';') {
            if (body_ == 0 && parentheses_ == 0) return end_statement();
        } else if (!begun_) {
            begun_ = true;
            if (count_ != 0xffff) ++count_;
        }
        if (t.kind == token_kind::word) {
            take_word({text_.data() + t.begin, t.end - t.begin});
            return;
        }
        if (verb_ == verb::none && (c != '(' || first_ != word_role::none)) verb_ = verb::fixed;  // nothing begins so
        if (c == '(') {
            ++parentheses_;
            note_call();
        } else if (c == ')' && parentheses_ > 0) {
            --parentheses_;
        }
        closed_ = c == ')';
        qualified_ = c == '.' && t.end - t.begin == 1;
        callee_ = t.kind == token_kind::name ? callee::quoted : callee::none;
        if (t.kind == token_kind::name) callee_text_ = {text_.data() + t.begin + 1, t.end - t.begin - 2};
        previous_ = key_words::count;
    }

    constexpr void finish() noexcept { end_statement(); }

    [[nodiscard]] constexpr std::uint16_t statements() const noexcept { return count_; }
    [[nodiscard]] constexpr statement_kind kind() const noexcept { return finished_ ? kind_ : statement_kind::other; }
    /// True when the other dialect would have found the same from the same tokens.
    [[nodiscard]] constexpr bool neutral() const noexcept { return !differs_; }
    /// All are reads, and all functions are in the list.
    [[nodiscard]] constexpr bool idempotent() const noexcept { return kind() == statement_kind::read && pure_; }
    /// A function is called that is about its own session, or a table made by `select into`.
    [[nodiscard]] constexpr bool on_session() const noexcept { return on_session_; }

private:
    static constexpr std::size_t is_analyse = key_words::index.find("analyse"), is_analyze = key_words::index.find("analyze"),
                                 is_atomic = key_words::index.find("atomic"), is_begin = key_words::index.find("begin"),
                                 is_case = key_words::index.find("case"), is_create = key_words::index.find("create"),
                                 is_end = key_words::index.find("end"), is_filter = key_words::index.find("filter"),
                                 is_for = key_words::index.find("for"), is_insert = key_words::index.find("insert"),
                                 is_into = key_words::index.find("into"), is_key = key_words::index.find("key"),
                                 is_merge = key_words::index.find("merge"), is_over = key_words::index.find("over"),
                                 is_share = key_words::index.find("share"), is_transaction = key_words::index.find("transaction"),
                                 is_trigger = key_words::index.find("trigger"), is_with = key_words::index.find("with");

    enum class verb : std::uint8_t { none, query, with, explain, fixed };
    enum class callee : std::uint8_t { none, word, quoted, qualified };

    constexpr void take_word(std::string_view text) noexcept {
        const std::size_t word = key_words::index.find(text);
        const word_role role = key_words::role(word);
        callee_ = qualified_ ? callee::qualified : may_call(role, word) ? callee::word : callee::none;
        callee_text_ = text;
        qualified_ = closed_ = false;
        switch (verb_) {
            case verb::none:
                if (first_ == word_role::none)
                    begin(role, word);
                else
                    second(word);
                break;
            case verb::explain:
                take_explained(role, word);
                break;
            case verb::query:
            case verb::with:
                take_in_query(role, word);
                break;
            case verb::fixed:
                take_body(word);
                break;
        }
        previous_ = word;
    }

    /// Whether a word before a parenthesis is a function's name; `over` and `filter` are key words only behind a call.
    [[nodiscard]] constexpr bool may_call(word_role role, std::size_t word) const noexcept {
        switch (role) {
            case word_role::connective:
            case word_role::query:
            case word_role::changing:
            case word_role::explain:
                return false;
            case word_role::operand:
                return !closed_ && (word == is_over || word == is_filter);
            default:
                return true;
        }
    }

    constexpr void begin(word_role role, std::size_t word) noexcept {
        if (role == word_role::prepare || role == word_role::start) {
            first_ = role;
            current_ = role == word_role::prepare ? statement_kind::session : statement_kind::other;
        } else if (role == word_role::explain) {
            verb_ = verb::explain;
        } else if (role == word_role::query) {
            verb_ = word == is_with ? verb::with : verb::query;
            current_ = verb_ == verb::with ? statement_kind::other : statement_kind::read;
        } else {
            verb_ = verb::fixed;
            current_ = kind_of(role);
            create_ = word == is_create;
        }
    }
    constexpr void second(std::size_t word) noexcept {
        verb_ = verb::fixed;
        if (word == is_transaction) current_ = statement_kind::transaction_control;
    }
    [[nodiscard]] static constexpr statement_kind kind_of(word_role role) noexcept {
        switch (role) {
            case word_role::changing:
            case word_role::writing:
                return statement_kind::write;
            case word_role::ddl:
                return statement_kind::ddl;
            case word_role::transaction:
                return statement_kind::transaction_control;
            case word_role::session:
                return statement_kind::session;
            default:
                return statement_kind::other;
        }
    }

    /// Behind explain: options until a word that begins a statement. Without analyze the statement does not run.
    constexpr void take_explained(word_role role, std::size_t word) noexcept {
        if (word == is_analyze || word == is_analyse) {
            runs_ = true;
        } else if (role == word_role::query || role == word_role::changing || role == word_role::writing || role == word_role::ddl) {
            if (role == word_role::ddl) {  // SQLite takes even the explanation for a change
                verb_ = verb::fixed;
                current_ = statement_kind::write;
            } else if (!runs_) {
                verb_ = verb::fixed;
                current_ = statement_kind::read;
            } else {
                begin(role, word);
            }
        } else if (role == word_role::session || role == word_role::transaction || role == word_role::prepare) {
            verb_ = verb::fixed;  // SQLite acts on some pragmas while it prepares them, explained or not
        }
    }

    constexpr void take_in_query(word_role role, std::size_t word) noexcept {
        const bool locks = previous_ == is_for && (word == is_share || word == is_key);
        if (role == word_role::changing || locks) {
            current_ = statement_kind::write;  // select into, select for update, with ... delete
            if (word == is_into && previous_ != is_insert && previous_ != is_merge) on_session_ = true;  // perhaps a temporary table
        } else if (verb_ == verb::with && role == word_role::query && current_ == statement_kind::other) {
            current_ = statement_kind::read;
        }
    }

    /// The body of a trigger (SQLite) or function (PostgreSQL's begin atomic) holds semicolons of its own.
    constexpr void take_body(std::size_t word) noexcept {
        if (!create_) return;
        if (body_ == 0) {
            differs_ = true;
            if (!postgres_ && word == is_trigger) trigger_ = true;
            const bool atomic = postgres_ && previous_ == is_begin && word == is_atomic;
            if (atomic || (trigger_ && word == is_begin)) body_ = 1;
        } else if (word == is_case) {
            ++body_;
        } else if (word == is_end) {
            --body_;
        }
    }

    /// At a parenthesis: what stands before it may be a function's name.
    constexpr void note_call() noexcept {
        if (callee_ == callee::none) return;
        if (callee_ != callee::word || !pure_functions::index.contains(callee_text_)) pure_ = false;
        if (!writing_functions::contains(callee_text_)) return;
        calls_writer_ = true;
        if (!passing_functions::index.contains(callee_text_)) on_session_ = true;
    }

    constexpr void end_statement() noexcept {
        if (begun_) {
            statement_kind kind = current_;
            if (kind == statement_kind::read && calls_writer_) kind = statement_kind::write;
            kind_ = finished_ ? join_kinds(kind_, kind) : kind;
            finished_ = true;
        }
        begun_ = runs_ = create_ = trigger_ = calls_writer_ = qualified_ = closed_ = false;
        verb_ = verb::none;
        first_ = word_role::none;
        current_ = statement_kind::other;
        callee_ = callee::none;
        previous_ = key_words::count;
        parentheses_ = body_ = 0;
    }

    std::string_view text_;
    bool postgres_;
    // of the whole text
    bool finished_ = false;
    bool pure_ = true;
    bool on_session_ = false;
    bool differs_ = false;
    statement_kind kind_ = statement_kind::other;
    std::uint16_t count_ = 0;
    // of the current statement
    bool begun_ = false;
    bool runs_ = false;
    bool create_ = false;
    bool trigger_ = false;
    bool calls_writer_ = false;
    verb verb_ = verb::none;
    word_role first_ = word_role::none;
    statement_kind current_ = statement_kind::other;
    unsigned parentheses_ = 0;
    unsigned body_ = 0;
    std::size_t previous_ = key_words::count;  // word; the number of words if it was none
    // of the last token
    bool qualified_ = false;
    bool closed_ = false;
    callee callee_ = callee::none;
    std::string_view callee_text_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
