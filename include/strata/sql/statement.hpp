// `strata::statement`: SQL that is put together at run time, with the same rules as literals.
//
// ```cpp
// strata::statement q{"select id, owner from account where balance > :least"};
// q.set("least"_arg = 100);
// if (owner) q += " and owner = :owner"_sql("owner"_arg = *owner);      // a fragment brings its arguments
// if (!ids.empty()) q += " and id in (:ids...)", q.set("ids"_arg = ids);  // a list
// q += " order by ";
// q += strata::identifier(column);                                     // quoted
// ```
#ifndef STRATA_SQL_STATEMENT_HPP
#define STRATA_SQL_STATEMENT_HPP

#include <strata/sql/composition.hpp>
#include <strata/sql/identifier.hpp>
#include <strata/sql/literal.hpp>

namespace strata::inline STRATA_ABI {

/// A statement composed at run time; at most 64 KiB. Composing never fails (but for memory): the text is read at its
/// first use, under both dialects, and `check()` or the face that runs it reports what is wrong, with the byte.
///
/// * Text (`q += "..."`) is appended as it is, and may be cut anywhere. Never append what a user typed: use arguments.
/// * A fragment (`q += "... :owner"_sql(...)`) brings arguments of its own: its `:owner` is not that of another fragment.
/// * `set` gives arguments to the parameters of texts, and of literals appended without arguments.
/// * `in (:ids...)` is expanded from a range, padded with its last element to 1, 2, 4, 8, ... so that few different texts
///   are prepared. An empty range matches nothing, and with `not in` everything.
///
/// Copies of a statement that was used share everything. Distinct objects are independent; one object may be used from
/// several threads once it was used, or `check()`ed, and as long as nobody changes it. A change after a use reads it anew.
class statement {
public:
    static constexpr statement_facts facts{.kind = statement_kind::other,
                                           .kind_known = false,
                                           .idempotent = known::at_run_time,
                                           .fits_postgres = true,
                                           .fits_sqlite = true,
                                           .statements = 0};

    statement() = default;
    explicit statement(std::string_view text) { *this += text; }
    /// From a literal, or a bound one.
    template <class S>
        requires detail::is_literal<S> || detail::is_bound<S>
    statement(const S& first) {  // NOLINT: a literal is a statement
        *this += first;
    }

    /// Appends text. A parameter `:name` in it takes its argument from `set`.
    statement& operator+=(std::string_view text) {
        change().append(text, 0, false);
        return *this;
    }
    statement& operator+=(const identifier& name) {
        detail::statement_draft& d = change();
        if (name.valid())
            d.append(name.quoted(), 0, true);
        else if (d.bad_identifier == ~std::size_t{0})
            d.bad_identifier = d.text.size();
        return *this;
    }
    /// Appends a literal without arguments: if it has parameters, they take their arguments from `set`.
    template <detail::literal_facts Facts, fixed_string Names, fixed_string SqliteNames>
    statement& operator+=(const literal<Facts, Names, SqliteNames>& fragment) {
        change().append(fragment.text().text, 0, true, Facts.postgres.fits, Facts.sqlite.fits);
        return *this;
    }
    /// Appends a fragment with its arguments, which are copied as those of an asynchronous call are (`bound::own()`).
    template <statement_facts Facts, class... Args>
    statement& operator+=(const bound<Facts, Args...>& fragment) {
        detail::statement_draft& d = change();
        const std::size_t scope = ++d.scopes;
        d.append(fragment.text().text, scope, true, Facts.fits_postgres, Facts.fits_sqlite);
        const auto kept = fragment.own();
        kept.for_each_argument([&]<class T>(std::size_t i, const T& value) {
            d.arguments.push_back({scope, std::string(fragment.text().names[i]), detail::hold_argument<T>(value)});
        });
        return *this;
    }
    /// Appends another statement as a fragment, with its arguments.
    statement& operator+=(const statement& fragment) {
        const detail::statement_draft other = fragment.source();
        detail::statement_draft& d = change();
        const std::size_t scopes = d.scopes + 1;
        const std::size_t begin = d.text.size();
        for (const detail::statement_part& p : other.parts)
            d.append(std::string_view(other.text).substr(p.begin, p.end - p.begin), scopes + p.scope, true, p.fits_postgres, p.fits_sqlite);
        for (detail::statement_argument a : other.arguments) {
            a.scope += scopes;
            d.arguments.push_back(std::move(a));
        }
        d.scopes = scopes + other.scopes;
        if (other.bad_identifier != ~std::size_t{0} && d.bad_identifier == ~std::size_t{0}) d.bad_identifier = begin + other.bad_identifier;
        return *this;
    }

    /// Gives arguments to the statement's own parameters, or others than before: `q.set("id"_arg = 7, "ids"_arg = list)`.
    /// Values are copied; `string_view`, `span` and `reference_wrapper` stay what they are.
    template <fixed_string... Names, class... Kept>
    statement& set(argument<Names, Kept>... arguments) {
        (set_one(Names.view(), detail::own_argument<Kept>(static_cast<Kept&&>(arguments.value))), ...);
        return *this;
    }

    /// A name for metrics and logs.
    statement& named(std::string name) {
        change().name = std::move(name);
        return *this;
    }
    /// Says that it does no harm to repeat the statement after it may have been executed, or takes that back.
    statement& set_idempotent(bool yes = true) {
        change().idempotent = yes;
        return *this;
    }

    /// What is wrong with the statement under a dialect: `errc::invalid_statement` with the byte, or nothing.
    [[nodiscard]] error check(dialect d) const { return error_of(ready().problem(d)); }
    /// What is wrong under both dialects.
    [[nodiscard]] error check() const { return fits_any() ? error{} : error_of(ready().problem()); }

    /// The descriptor. Throws `failure` with what `check()` returns.
    [[nodiscard]] const descriptor& text() const {
        if (!fits_any()) throw_failure(check());
        return ready().what;
    }
    [[nodiscard]] std::string_view label() const { return ready().source.name; }
    /// `other` where the statement is wrong.
    [[nodiscard]] statement_kind kind() const { return ready().what.kind; }
    [[nodiscard]] bool idempotent() const { return ready().source.idempotent || ready().what.idempotent; }

    /// Calls `f(index, argument)` with each argument in order, lists as padded; the arguments live as long as the statement.
    template <class F>
    void for_each_argument(F&& f) const {
        const std::vector<erased_argument>& all = ready().arguments;
        for (std::size_t i = 0; i < all.size(); ++i) f(i, all[i]);
    }
    /// A copy that shares everything.
    [[nodiscard]] statement own() const {
        static_cast<void>(ready());
        return *this;
    }

private:
    [[nodiscard]] const detail::composed_statement& ready() const {
        if (!ready_) {
            ready_ = std::make_shared<const detail::composed_statement>(std::move(draft_));
            draft_ = {};
        }
        return *ready_;
    }
    [[nodiscard]] const detail::statement_draft& source() const noexcept { return ready_ ? ready_->source : draft_; }
    [[nodiscard]] detail::statement_draft& change() {
        if (ready_) {
            draft_ = ready_->source;
            ready_.reset();
        }
        return draft_;
    }
    template <class T>
    void set_one(std::string_view name, T value) {
        detail::statement_draft& d = change();
        auto held = detail::hold_argument<T>(std::move(value));
        for (detail::statement_argument& a : d.arguments) {
            if (a.scope == 0 && a.name == name) {
                a.value = std::move(held);
                return;
            }
        }
        d.arguments.push_back({0, std::string(name), std::move(held)});
    }
    [[nodiscard]] bool fits_any() const {
        return ready().problem(dialect::postgres).problem == text_problem::none ||
               ready().problem(dialect::sqlite).problem == text_problem::none;
    }
    [[nodiscard]] error error_of(const detail::statement_problem& p) const {
        if (p.problem == text_problem::none) return {};
        error e{errc::invalid_statement, p.sentence, phase::prepare};
        e.set_local().edit_texts().position = static_cast<std::int64_t>(p.position);
        e.edit_texts().statement = source().text;
        return e;
    }

    mutable detail::statement_draft draft_;  // empty while ready_ holds it
    mutable std::shared_ptr<const detail::composed_statement> ready_;
};

}  // namespace strata::inline STRATA_ABI

#endif
