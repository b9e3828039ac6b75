// What a run-time statement is made of, and how its parts become one text for each dialect.
//
// The text is read as a whole, so that a fragment may end in the middle of a clause; but literals, bound fragments and
// quoted identifiers must begin and end between tokens, or they would mean something else than what was checked.
#ifndef STRATA_SQL_COMPOSITION_HPP
#define STRATA_SQL_COMPOSITION_HPP

#include <strata/sql/descriptor.hpp>
#include <strata/sql/erased_argument.hpp>
#include <strata/sql/reading.hpp>

#include <bit>
#include <memory>
#include <string>
#include <vector>

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
