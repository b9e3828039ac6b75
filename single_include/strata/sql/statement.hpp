// Generated from include/strata/sql/statement.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_SQL_STATEMENT_HPP
#define STRATA_SINGLE_SQL_STATEMENT_HPP

#include <strata/strata.hpp>

#include <bit>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// Arguments of run-time statements: values of any type that write themselves, one virtual call each.
#ifndef STRATA_SQL_ERASED_ARGUMENT_HPP
#define STRATA_SQL_ERASED_ARGUMENT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// A value, or a list of values, whose type is forgotten. Immutable and shared by the copies of a statement.
class argument_value {
public:
    virtual ~argument_value() = default;
    argument_value(const argument_value&) = delete;
    argument_value& operator=(const argument_value&) = delete;

    static constexpr std::size_t whole = ~std::size_t{0};
    /// Writes the value, or one element of the list.
    virtual errc write(any_parameter_writer& out, std::size_t element) const = 0;
    /// True for what can be one parameter.
    [[nodiscard]] virtual bool is_value() const noexcept = 0;
    /// Number of elements; `whole` for what is no list.
    [[nodiscard]] virtual std::size_t elements() const noexcept = 0;
    /// As `type_of_argument`.
    [[nodiscard]] virtual std::string_view type() const noexcept = 0;

protected:
    argument_value() = default;
};

template <class T>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<const T&>()))>;

/// Ranges of values that have codecs; texts are none, and neither are ranges of themselves.
template <class T>
concept list_like = !std::is_convertible_v<const T&, std::string_view> && requires(const T& list) {
    std::begin(list);
    std::end(list);
    requires !std::is_same_v<element_of<T>, T> && has_codec<element_of<T>>;
};

/// `Value`: it is named in the type because another source file may know no codec of T, and must not share this class then.
template <class T, bool Value = has_codec<T> || !list_like<T>>
class held_argument final : public argument_value {
    static constexpr bool list = list_like<T>;

public:
    explicit held_argument(T value) : value_(std::move(value)) {}

    errc write(any_parameter_writer& out, std::size_t element) const override {
        if constexpr (list) {
            if (element != whole) {
                const auto& one = *std::next(std::begin(value_), static_cast<std::ptrdiff_t>(element));
                return codec<element_of<T>>::write(out, one);
            }
        }
        static_cast<void>(element);
        if constexpr (Value)
            return codec<T>::write(out, value_);
        else
            return errc::unsupported;
    }
    [[nodiscard]] bool is_value() const noexcept override { return Value; }
    [[nodiscard]] std::size_t elements() const noexcept override {
        if constexpr (list)
            return static_cast<std::size_t>(std::distance(std::begin(value_), std::end(value_)));
        else
            return whole;
    }
    [[nodiscard]] std::string_view type() const noexcept override { return type_of_argument(value_); }

private:
    T value_;
};

/// Keeps a value, or a list; a list whose elements cannot be reached by their index as a vector of them.
template <class T>
[[nodiscard]] std::shared_ptr<const argument_value> hold_argument(T value) {
    if constexpr (list_like<T> && !has_codec<T>) {
        using list = std::vector<element_of<T>>;
        if constexpr (!std::random_access_iterator<decltype(std::begin(value))> && !std::is_same_v<T, list>)
            return std::make_shared<const held_argument<list>>(list(std::begin(value), std::end(value)));
        else
            return std::make_shared<const held_argument<T>>(std::move(value));
    } else {
        return std::make_shared<const held_argument<T>>(std::move(value));
    }
}

}  // namespace detail

/// One argument of a `strata::statement`: a reference to its value, or to one element of a list, which the statement
/// keeps alive. Cheap to copy.
class erased_argument {
public:
    explicit erased_argument(const detail::argument_value& value, std::size_t element = detail::argument_value::whole) noexcept
        : value_(&value), element_(element) {}

    /// Writes the value by its codec; returns what the codec returns.
    errc write(any_parameter_writer& out) const { return value_->write(out, element_); }
    /// The name of its type in the database, where it was said (`as`); else empty.
    [[nodiscard]] std::string_view type_in_database() const noexcept { return value_->type(); }

private:
    const detail::argument_value* value_;
    std::size_t element_;
};

/// Hands the argument a driver's writer behind virtual calls.
template <>
struct codec<erased_argument> {
    static constexpr std::string_view name = "argument";

    template <parameter_writer W>
    static errc write(W& out, const erased_argument& argument) {
        if constexpr (std::is_base_of_v<any_parameter_writer, W>) {
            return argument.write(out);
        } else {
            erased_writer<W> writer{out};
            return argument.write(writer);
        }
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// What a run-time statement is made of, and how its parts become one text for each dialect.
//
// The text is read as a whole, so that a fragment may end in the middle of a clause; but literals, bound fragments and
// quoted identifiers must begin and end between tokens, or they would mean something else than what was checked.
#ifndef STRATA_SQL_COMPOSITION_HPP
#define STRATA_SQL_COMPOSITION_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

inline constexpr std::size_t statement_limit = 64 * 1024;
inline constexpr std::size_t parameter_limit = 32766;  // SQLite's; PostgreSQL's is 65535
inline constexpr std::size_t list_limit = 32000;

/// The sizes that lists are padded to, so that a cache of prepared statements sees few of them: 1, 2, 4, ... 16384, 32000.
[[nodiscard]] constexpr std::size_t padded_size(std::size_t elements) noexcept {
    return elements <= 16384 ? std::bit_ceil(elements) : list_limit;
}

/// A stretch of the text.
struct statement_part {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t scope = 0;  ///< whose arguments its parameters name: 0 is the statement's own
    bool closed = false;    ///< no token runs over its borders
    bool fits_postgres = true;
    bool fits_sqlite = true;
};

struct statement_argument {
    std::size_t scope = 0;
    std::string name;
    std::shared_ptr<const argument_value> value;
};

/// A statement while it is composed.
struct statement_draft {
    std::string text;
    std::vector<statement_part> parts;
    std::vector<statement_argument> arguments;
    std::size_t scopes = 0;
    std::string name;
    bool idempotent = false;
    std::size_t bad_identifier = ~std::size_t{0};  // where one was refused

    void append(std::string_view piece, std::size_t scope, bool closed, bool postgres = true, bool sqlite = true) {
        if (piece.empty()) return;
        if (!closed && !parts.empty() && !parts.back().closed && parts.back().scope == scope)
            parts.back().end += piece.size();
        else
            parts.push_back({text.size(), text.size() + piece.size(), scope, closed, postgres, sqlite});
        text += piece;
    }
};

/// What is wrong with a statement under one dialect.
struct statement_problem {
    text_problem problem = text_problem::none;
    std::size_t position = 0;
    std::string sentence;
};

/// A statement that is ready to run: immutable, shared by copies.
class composed_statement {
public:
    explicit composed_statement(statement_draft&& draft) : source(std::move(draft)) {
        side postgres{dialect::postgres};
        side sqlite{dialect::sqlite};
        read(postgres);
        read(sqlite);
        const side& main = postgres.fits() ? postgres : sqlite;
        if (main.fits()) {
            number(main);
            postgres_text_ = write(postgres, main);
            sqlite_text_ = write(sqlite, main);
        }
        describe(postgres, sqlite, main);
        problems_[0] = std::move(postgres.wrong);
        problems_[1] = std::move(sqlite.wrong);
    }
    composed_statement(const composed_statement&) = delete;
    composed_statement& operator=(const composed_statement&) = delete;

    [[nodiscard]] const statement_problem& problem(dialect d) const noexcept { return problems_[d == dialect::postgres ? 0 : 1]; }
    /// What to tell when it fits none: of the dialect that understood more.
    [[nodiscard]] const statement_problem& problem() const noexcept {
        const auto& [p, s] = problems_;
        return s.problem == text_problem::bad_character || (p.problem != text_problem::bad_character && p.position >= s.position) ? p : s;
    }

    const statement_draft source;
    descriptor what;
    std::vector<erased_argument> arguments;

private:
    /// A parameter: an argument, as a value or as a list.
    struct slot {
        std::size_t argument = 0;
        bool list = false;
        std::size_t number = 0;  // of the first placeholder, from 1
    };
    struct place {
        occurrence where;
        std::size_t slot = 0;
    };
    /// What one dialect sees.
    struct side {
        dialect in;
        statement_problem wrong;
        reading facts;
        std::vector<slot> slots;
        std::vector<place> places;

        explicit side(dialect d) : in(d) {}
        [[nodiscard]] bool fits() const noexcept { return wrong.problem == text_problem::none; }
        void refuse(text_problem p, std::size_t position, std::string sentence) {
            if (fits()) wrong = {p, position, std::move(sentence)};
        }
    };

    void read(side& s) const {
        if (source.text.size() > statement_limit)
            return s.refuse(text_problem::arguments, statement_limit, "a statement has at most 64 KiB of text");
        if (source.bad_identifier != ~std::size_t{0})
            return s.refuse(text_problem::arguments, source.bad_identifier, "an identifier must not be empty or contain a NUL character");
        std::size_t behind = 0;  // the last token
        std::size_t part = 0;
        s.facts = read_text(
            source.text, s.in, [&](const token& t) { return check_borders(s.in, behind, t, part); },
            [&](const occurrence& o) { return find_argument(s, o, part); });
        if (s.facts.problem == text_problem::none && !blank_borders(s.in, behind, source.text.size(), part)) {
            s.facts.problem = text_problem::torn;
            s.facts.position = behind;
        }
        s.refuse(s.facts.problem, s.facts.position, std::string(to_string(s.facts.problem)));
        check_parts(s);
        check_all_used(s);
    }

    /// No token may run over the border of a closed part, nor may a comment.
    text_problem check_borders(dialect d, std::size_t& behind, const token& t, std::size_t& part) const {
        if (!blank_borders(d, behind, t.begin, part)) return text_problem::torn;
        for (std::size_t p = part; source.parts[p].end < t.end; ++p)
            if (source.parts[p].closed || source.parts[p + 1].closed) return text_problem::torn;
        behind = t.end;
        return text_problem::none;
    }
    /// Advances `part` to that of `end`; false if a comment of the blank stretch [begin, end) runs over a closed border.
    bool blank_borders(dialect d, std::size_t begin, std::size_t end, std::size_t& part) const {
        for (; part + 1 < source.parts.size() && source.parts[part].end <= end; ++part) {
            const std::size_t border = source.parts[part].end;
            if (border <= begin || (!source.parts[part].closed && !source.parts[part + 1].closed)) continue;
            const std::string probe = source.text.substr(begin, border - begin) + 'x';
            if (lexer(probe, d).next().kind != token_kind::word) return false;
        }
        return true;
    }

    text_problem find_argument(side& s, const occurrence& o, std::size_t part) const {
        const std::string_view name = o.name(source.text);
        const std::size_t scope = source.parts[part].scope;
        const std::string shown = ":" + std::string(name);
        std::size_t argument = 0;
        while (argument < source.arguments.size() && (source.arguments[argument].scope != scope || source.arguments[argument].name != name))
            ++argument;
        if (argument == source.arguments.size()) {
            s.refuse(text_problem::arguments, o.begin, "parameter " + shown + " has no argument");
            return text_problem::arguments;
        }
        const std::size_t elements = source.arguments[argument].value->elements();
        if (o.list ? elements == argument_value::whole : !source.arguments[argument].value->is_value()) {
            s.refuse(text_problem::arguments, o.begin,
                     o.list ? "the argument of the list " + shown + "... is no range"
                            : "the argument of " + shown + " is a range: write in (" + shown + "...)");
            return text_problem::arguments;
        }
        if (o.list && elements > list_limit) {
            s.refuse(text_problem::arguments, o.begin,
                     "the list " + shown + "... has more than 32000 elements: use a temporary table or an array");
            return text_problem::arguments;
        }
        std::size_t i = 0;
        while (i < s.slots.size() && (s.slots[i].argument != argument || s.slots[i].list != o.list)) ++i;
        if (i == s.slots.size()) s.slots.push_back({argument, o.list, 0});
        s.places.push_back({o, i});
        return text_problem::none;
    }

    void check_parts(side& s) const {
        for (const statement_part& p : source.parts)
            if (s.in == dialect::postgres ? !p.fits_postgres : !p.fits_sqlite)
                s.refuse(text_problem::arguments, p.begin, "a fragment does not fit this dialect");
    }
    void check_all_used(side& s) const {
        for (std::size_t a = 0; a < source.arguments.size(); ++a) {
            bool used = false;
            for (const slot& one : s.slots) used = used || one.argument == a;
            if (!used)
                s.refuse(text_problem::arguments, source.text.size(),
                         "argument " + source.arguments[a].name + " is no parameter of the text");
        }
        std::size_t numbers = 0;
        for (const slot& one : s.slots) numbers += size_of(one);
        if (numbers > parameter_limit) s.refuse(text_problem::arguments, source.text.size(), "a statement has at most 32766 parameters");
    }

    /// How many placeholders a slot takes.
    [[nodiscard]] std::size_t size_of(const slot& s) const noexcept {
        if (!s.list) return 1;
        const std::size_t elements = source.arguments[s.argument].value->elements();
        return elements == 0 ? 0 : padded_size(elements);
    }

    /// Lays out arguments and names in the order of the main dialect.
    void number(const side& main) {
        slots_ = main.slots;
        for (slot& s : slots_) {
            const statement_argument& a = source.arguments[s.argument];
            const std::size_t size = size_of(s);
            const std::size_t elements = s.list ? a.value->elements() : 1;
            s.number = arguments.size() + 1;
            for (std::size_t i = 0; i < size; ++i) {
                arguments.emplace_back(*a.value, s.list ? (i < elements ? i : elements - 1) : argument_value::whole);
                names_.emplace_back(a.name);
            }
        }
    }

    [[nodiscard]] std::string write(const side& s, const side& main) const {
        std::string out;
        if (!s.fits()) return out;
        std::size_t from = 0;
        for (const place& p : s.places) {
            const slot& wanted = s.slots[p.slot];
            std::size_t i = 0;
            while (main.slots[i].argument != wanted.argument || main.slots[i].list != wanted.list) ++i;
            const std::size_t count = size_of(slots_[i]);
            const bool rewrite = count == 0 && s.in == dialect::postgres;
            out.append(source.text, from, (rewrite ? p.where.in_begin : p.where.begin) - from);
            from = rewrite ? p.where.close : p.where.end;
            if (rewrite)
                out += p.where.negated ? "<> all ('{}')" : "= any ('{}')";  // takes the type of what is before it
            else if (count == 0)
                out += "select null where 1=0";
            for (std::size_t n = 0; n < count; ++n) {
                if (n > 0) out += ", ";
                char placeholder[16];
                text_writer w{placeholder};
                w.put_placeholder(s.in, static_cast<unsigned>(slots_[i].number + n), out.empty() ? '\0' : out.back());
                out.append(placeholder, w.size);
            }
        }
        return out.append(source.text, from, std::string::npos);
    }

    void describe(const side& postgres, const side& sqlite, const side& main) {
        what.text = source.text;
        if (!main.fits()) return;
        if (postgres.fits()) what.postgres_text = postgres_text_;
        if (sqlite.fits()) what.sqlite_text = sqlite_text_;
        what.hash = main.places.empty() ? hash_text(source.text) : hash_text(sqlite_text_ + '\0' + postgres_text_);
        what.names = names_.data();
        what.parameters = static_cast<std::uint16_t>(names_.size());
        const reading facts = postgres.fits() && sqlite.fits() ? join_readings(postgres.facts, sqlite.facts) : main.facts;
        what.kind = facts.kind;
        what.idempotent = facts.idempotent;
        what.statements = facts.statements;
    }

    std::vector<slot> slots_;
    std::vector<std::string_view> names_;
    std::string postgres_text_;
    std::string sqlite_text_;
    statement_problem problems_[2];
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Names of tables and columns that are only known at run time, quoted so that they can never be anything else.
#ifndef STRATA_SQL_IDENTIFIER_HPP
#define STRATA_SQL_IDENTIFIER_HPP

namespace strata::inline STRATA_ABI {

/// A quoted identifier: `q += strata::identifier("account")` appends `"account"`. Quoted names keep their case in both
/// dialects. Whether it exists is for the database to say. SQLite takes a quoted name of no column for a string unless
/// `SQLITE_DBCONFIG_DQS_DML` is off; PostgreSQL cuts names after 63 bytes.
class identifier {
public:
    explicit identifier(std::string name) : name_(std::move(name)) {}
    /// `"schema"."name"`.
    identifier(std::string schema, std::string name) : schema_(std::move(schema)), name_(std::move(name)), qualified_(true) {}

    /// False for an empty name and one with a NUL character: a statement refuses them.
    [[nodiscard]] bool valid() const noexcept { return valid(name_) && (!qualified_ || valid(schema_)); }
    /// As it is written in SQL.
    [[nodiscard]] std::string quoted() const { return qualified_ ? quote(schema_) + '.' + quote(name_) : quote(name_); }

private:
    [[nodiscard]] static bool valid(const std::string& s) noexcept { return !s.empty() && s.find('\0') == std::string::npos; }
    [[nodiscard]] static std::string quote(std::string_view s) {
        std::string q = "\"";
        for (const char c : s) q.append(c == '"' ? 2 : 1, c);
        return q += '"';
    }

    std::string schema_;
    std::string name_;
    bool qualified_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif

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

#endif
