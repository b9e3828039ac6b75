// `"select ... where id = :id"_sql`: a statement that is read, checked and rewritten while the program is compiled.
//
// The literal's type carries its facts and the names of its parameters, never its text: statements of the same shape
// share types, and with them all that faces, engine and driver instantiate.
#ifndef STRATA_SQL_LITERAL_HPP
#define STRATA_SQL_LITERAL_HPP

#include <strata/sql/bound.hpp>
#include <strata/sql/literal_call.hpp>
#include <strata/sql/literal_text.hpp>

namespace strata::inline STRATA_ABI {
namespace detail {

struct dialect_facts {
    bool fits = false;
    statement_kind kind = statement_kind::other;
    bool idempotent = false;
    std::uint16_t statements = 0;
};

/// What a literal's type carries beside the names.
struct literal_facts {
    dialect_facts postgres;
    dialect_facts sqlite;
    bool same_names = true;
    bool broken = false;  // was refused already: say nothing more
};

[[nodiscard]] consteval dialect_facts facts_of(const reading& r) noexcept {
    return {r.fits(), r.kind, r.idempotent, r.statements};
}

[[nodiscard]] consteval statement_facts join_facts(const dialect_facts& p, const dialect_facts& s, bool postgres, bool sqlite) noexcept {
    statement_facts f;
    const dialect_facts& one = postgres ? p : s;
    f.kind = postgres && sqlite ? join_kinds(p.kind, s.kind) : one.kind;
    f.idempotent = one.idempotent && (!(postgres && sqlite) || s.idempotent) ? known::yes : known::no;
    f.statements = postgres && sqlite && s.statements > p.statements ? s.statements : one.statements;
    f.fits_postgres = postgres;
    f.fits_sqlite = sqlite;
    return f;
}

/// Holds the errors of a literal's text. The compiler's note names problem and byte: `text_check<problem, byte>`.
template <text_problem Problem, std::size_t Byte>
struct text_check {
    using enum text_problem;
    static_assert(Problem != unterminated_string,
                  "strata: a string of this statement has no end: close it with ' and write a quote inside it twice");
    static_assert(Problem != unterminated_name, "strata: a quoted name of this statement has no end: close it");
    static_assert(Problem != unterminated_comment, "strata: a comment of this statement has no end: close it with */");
    static_assert(Problem != placeholder, "strata: ? and $1 are placeholders of drivers: write :name");
    static_assert(Problem != bad_parameter, "strata: a parameter's name is letters, digits and _, not followed by $");
    static_assert(Problem != bad_number, "strata: letters follow a number in this statement: put a space between them");
    static_assert(Problem != bad_blob, "strata: a blob is written x'..' with an even number of hexadecimal digits");
    static_assert(Problem != bad_character,
                  "strata: this text fits neither PostgreSQL nor SQLite: outside of strings it has a character that neither knows");
    static_assert(Problem != nul_character, "strata: a statement must not contain a NUL character");
    static_assert(Problem != too_deep, "strata: this statement has more than 64 open brackets");
    static_assert(Problem != list, "strata: a list (:name...) is expanded at run time: use strata::statement");
    static constexpr bool right = Problem == none;
};

/// The problem to tell: the only one, or what the dialect says that got further or knows the character.
[[nodiscard]] consteval reading worst(const reading& p, const reading& s) noexcept {
    if (p.fits() || s.fits()) return {};
    if (p.problem == text_problem::bad_character) return s;
    if (s.problem == text_problem::bad_character) return p;
    return s.position > p.position ? s : p;
}

}  // namespace detail

/// A statement known at compile time. Call it with arguments to get a `bound` statement; without parameters it can be
/// given to a face as it is. Two words of size, constexpr, free to copy; the text has static storage.
template <detail::literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
class literal {
public:
    constexpr explicit literal(const descriptor* what, std::string_view name = {}) noexcept : what_(what), name_(name) {}

    /// The text's facts and rewritten texts.
    [[nodiscard]] constexpr const descriptor& text() const noexcept { return *what_; }
    [[nodiscard]] constexpr std::string_view label() const noexcept { return name_; }

    /// The same with a name for metrics and logs, which must live as long as the literal: give a string literal.
    [[nodiscard]] constexpr literal named(std::string_view name) const noexcept { return literal(what_, name); }

    /// The same, said by the user to be harmless when repeated after it may have been executed.
    [[nodiscard]] constexpr auto idempotent() const noexcept {
        constexpr detail::literal_facts said = [] {
            detail::literal_facts f = Facts;
            f.postgres.idempotent = f.sqlite.idempotent = true;
            return f;
        }();
        return literal<said, Names, SqliteNames>(what_, name_);
    }

    /// Binds arguments: all by name, in any order, or all by position, in the order in which the names first appear.
    /// Rvalues are kept by value, lvalues by reference to const.
    /// Given one `argument_set` (a struct's members), it takes those that the text names.
    template <class... A>
    [[nodiscard]] constexpr auto operator()(A&&... arguments) const {
        if constexpr (sizeof...(A) == 1 && (detail::is_argument_set<std::remove_cvref_t<A>> && ...)) {
            return std::apply([this](const auto&... each) { return this->template call<true>(each...); }, arguments.arguments...);
        } else {
            return call<false>(static_cast<A&&>(arguments)...);
        }
    }

private:
    template <bool Rest, class... A>
    [[nodiscard]] constexpr auto call(A&&... arguments) const {
        const detail::argument_pack<std::index_sequence_for<A...>, A...> pack{{static_cast<A&&>(arguments)}...};
        using first = detail::call_of<Rest, Names, A...>;
        if constexpr (Facts.broken) {
            return bound<statement_facts{}>{what_, name_, {}};
        } else if constexpr (Facts.same_names) {
            static_cast<void>(detail::call_check<first::match.problem>{});
            constexpr statement_facts facts = detail::join_facts(Facts.postgres, Facts.sqlite, Facts.postgres.fits, Facts.sqlite.fits);
            return bind<facts, first>(what_, pack, typename first::order{});
        } else {  // the dialects see different parameters: the call decides
            using second = detail::call_of<Rest, SqliteNames, A...>;
            constexpr bool wrong = !first::right && !second::right;
            static_cast<void>(detail::call_check<wrong ? first::match.problem : detail::call_problem::none>{});
            constexpr statement_facts facts = detail::join_facts(Facts.postgres, Facts.sqlite, first::right || wrong, second::right);
            if constexpr (first::right || wrong)
                return bind<facts, first>(what_, pack, typename first::order{});
            else
                return bind<facts, second>(what_ + 1, pack, typename second::order{});
        }
    }

    template <statement_facts F, class Call, class Pack, std::size_t... P>
    constexpr auto bind(const descriptor* what, [[maybe_unused]] const Pack& pack, std::index_sequence<P...>) const {
        using kept_arguments = std::tuple<decltype(detail::take<Call::match.from[P]>(pack))...>;
        return bound<F, decltype(detail::take<Call::match.from[P]>(pack))...>{what, name_,
                                                                              kept_arguments(detail::take<Call::match.from[P]>(pack)...)};
    }

    const descriptor* what_;
    std::string_view name_;
};

namespace detail {

template <class T>
inline constexpr bool is_literal = false;
template <literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
inline constexpr bool is_literal<literal<Facts, Names, SqliteNames>> = true;

/// What a face was given, as a bound statement: a literal is called without arguments, everything else is passed on, a
/// temporary as a temporary.
template <class S>
[[nodiscard]] constexpr decltype(auto) as_bound(S&& s) {
    using given = std::remove_cvref_t<S>;
    if constexpr (is_literal<given>) {
        return s();
    } else if constexpr (bound_statement<given>) {
        return static_cast<S&&>(s);
    } else {
        static_assert(bound_statement<given>,
                      "strata: a statement is \"...\"_sql, such a literal called with its arguments, or a strata::statement");
        return bound<statement_facts{}>{nullptr, {}, {}};  // says nothing more
    }
}

}  // namespace detail

namespace literals {

/// A statement, read at compile time under both dialects; compiles if it fits one. At most 16 KiB.
template <fixed_string Text>
[[nodiscard]] consteval auto operator""_sql() noexcept {
    constexpr bool short_enough = Text.size() <= detail::literal_limit;
    static_assert(short_enough, "strata: a literal has at most 16 KiB: use strata::statement, or several statements");
    if constexpr (!short_enough) {
        return literal<detail::literal_facts{{}, {}, true, true}, "", "">(nullptr);
    } else {
        using text = detail::literal_text<Text>;
        constexpr detail::reading worst = detail::worst(text::postgres.read, text::sqlite.read);
        if constexpr (!detail::text_check<worst.problem, worst.position>::right) {
            return literal<detail::literal_facts{{}, {}, true, true}, "", "">(nullptr);
        } else {
            constexpr detail::literal_facts facts{detail::facts_of(text::postgres.read), detail::facts_of(text::sqlite.read), text::same};
            if constexpr (text::same)
                return literal<facts, text::template joined_names<true>(), "">(text::stored.of);
            else
                return literal<facts, text::template joined_names<true>(), text::template joined_names<false>()>(text::stored.of);
        }
    }
}

}  // namespace literals
}  // namespace strata::inline STRATA_ABI

#endif
