// Generated from include/strata/verify.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VERIFY_HPP
#define STRATA_SINGLE_VERIFY_HPP

#include <strata/strata.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// Everything about a statement's columns that does not fit a row type: where `row_decoder<T>::plan` stops at the first misfit, this goes
// on.
#ifndef STRATA_VALUE_ROW_FIT_HPP
#define STRATA_VALUE_ROW_FIT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One column that is wanted as an M; `column` is -1 where its name is to be found.
template <class M, row_reader Row, class Report>
void check_column(const Row& meta, const wanted_column& wanted, int column, Report& report) {
    error e;
    if (column < 0) {
        row_plan found;
        e = plan_columns(meta, {&wanted, 1}, found);
        if (!e) column = found.columns(1)[0];
    }
    const std::uint16_t at = static_cast<std::uint16_t>(column);
    if (!e) e = check_types<M>(meta, {&wanted, 1}, &at);
    if (e) report(wanted, column, std::move(e));
}

/// Calls `report(const wanted_column&, int column, error)` for each misfit; -1 for a column that is not there.
template <class T>
struct row_fit {  // one column
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        row_fit<std::tuple<T>>::check(meta, report);
    }
};

template <class T>
    requires(!struct_row<T> && !has_codec<T>)
struct row_fit<T> {  // a row type with a decoder of its own
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        row_plan p;
        if (error e = row_decoder<T>::plan(meta, p)) report(wanted_column{{}, "row", {}, {}}, -1, std::move(e));
    }
};

template <struct_row T>
struct row_fit<T> {
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        if (meta.size() == 0) return report(wanted_column{{}, "row", {}, {}}, -1, no_columns_error());
        each(members<T>{}, std::make_index_sequence<member_count<T>>{}, meta, report);
    }

private:
    template <class... M, std::size_t... I, row_reader Row, class Report>
    static void each(member_list<M...>, std::index_sequence<I...>, const Row& meta, Report& report) {
        (check_column<member_type<M, T>>(meta, wanted_as<member_type<M, T>>(column_names<T>[I]), -1, report), ...);
    }
};

template <class... E>
struct row_fit<std::tuple<E...>> {
    template <row_reader Row, class Report>
    static void check(const Row& meta, Report& report) {
        const wanted_column wanted[] = {wanted_as<E>({})..., {}};
        if (static_cast<std::size_t>(meta.size()) != sizeof...(E))
            return report(wanted_column{{}, "row", {}, {}}, -1,
                          column_count_error(static_cast<std::size_t>(meta.size()), {wanted, sizeof...(E)}));
        int i = 0;
        ((check_column<E>(meta, wanted[i], i, report), ++i), ...);
    }
};

template <class A, class B>
struct row_fit<std::pair<A, B>> : row_fit<std::tuple<A, B>> {};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Statements held against the database that they are for, at start-up or in a test, before the first of them runs.
//
//   const auto report = strata::verify(db, strata::expecting<account>(find("id"_arg = 7)), add("amount"_arg = 1, "id"_arg = 7));
//   if (!report.ok()) throw std::runtime_error(report.to_string());
//
// The server is asked to prepare and describe each statement; nothing is executed. Misfits do not end it: all are told.
#ifndef STRATA_VERIFY_HPP
#define STRATA_VERIFY_HPP

namespace strata::inline STRATA_ABI {

/// One thing that does not fit.
struct misfit {
    std::string statement;  ///< its name from `.named()`, else its text
    std::string part;       ///< `parameter "id"`, `column "owner"`; empty for the statement itself
    std::string wanted;     ///< of a parameter, what the database wants; of a column, what the row type wants
    std::string found;      ///< of a parameter, the argument's type; of a column, the database's type; empty when there is none
    std::string message;    ///< the whole, in words
    std::string hint;       ///< what to do, if there is something to say

    [[nodiscard]] std::string to_string() const {
        std::string line = detail::joined({statement, ": ", message});
        if (!hint.empty()) line.append(" (").append(hint).append(")");
        return line;
    }
};

/// What `verify` has found.
struct verification {
    std::size_t statements = 0;  ///< that were looked at
    std::vector<misfit> misfits;

    [[nodiscard]] bool ok() const noexcept { return misfits.empty(); }
    /// A line for each misfit, behind one that counts them.
    [[nodiscard]] std::string to_string() const {
        std::string text = detail::joined({detail::digits_of(misfits.size()), misfits.size() == 1 ? " misfit in " : " misfits in ",
                                           detail::digits_of(statements), statements == 1 ? " statement" : " statements"});
        for (const misfit& m : misfits) text.append("\n").append(m.to_string());
        return text;
    }
};

namespace detail {

/// A literal without arguments: its parameters' types are anybody's guess.
struct unbound {
    static constexpr statement_facts facts{};
    const descriptor* what;
    std::string_view name;

    [[nodiscard]] const descriptor& text() const noexcept { return *what; }
    [[nodiscard]] std::string_view label() const noexcept { return name; }
    [[nodiscard]] statement_kind kind() const noexcept { return what->kind; }
    template <class F>
    void for_each_argument(F&&) const noexcept {}
};

template <class S>
[[nodiscard]] constexpr auto to_verify(S&& s) {
    if constexpr (is_literal<std::remove_cvref_t<S>>)
        return unbound{&s.text(), s.label()};
    else
        return std::remove_cvref_t<S>(as_bound(std::forward<S>(s)));
}

}  // namespace detail

/// A statement and the row type that it is used with; void: its rows are dropped. Made by `expecting`.
template <class T, class Bound>
struct expectation {
    Bound statement;
};

/// A statement with its arguments, whose types its parameters are held against, and the row type of its columns. A literal without
/// arguments is held against the row type only. What its arguments refer to must live until `verify` returns.
template <class T, class S>
[[nodiscard]] constexpr auto expecting(S&& statement) {
    auto bound = detail::to_verify(std::forward<S>(statement));
    return expectation<T, decltype(bound)>{std::move(bound)};
}

namespace detail {

template <class T>
inline constexpr bool is_expectation = false;
template <class T, class Bound>
inline constexpr bool is_expectation<expectation<T, Bound>> = true;

/// The misfits of one statement, as they are found; free of templates.
class misfit_list {
public:
    misfit_list(std::string_view label, const descriptor& what, std::vector<misfit>& to) noexcept : label_(label), what_(what), to_(to) {}

    STRATA_COLD void statement_failed(error& e) {
        misfit& m = add();
        m.message = e.message();
        if (e.has_texts()) m.hint = e.texts().hint;
    }
    STRATA_COLD void parameter(std::size_t index, std::string_view wanted, std::string_view found) {
        misfit& m = add();
        m.part = joined({"parameter \"", what_.parameter(index), "\""});
        m.wanted = wanted;
        m.found = found;
        m.message = joined({m.part, ": the database wants ", wanted, ", the argument is of type ", found});
    }
    STRATA_COLD void column(const wanted_column& wanted, std::string_view name, std::string_view found, error& e) {
        misfit& m = add();
        if (!name.empty()) m.part = joined({"column \"", name, "\""});
        m.wanted = wanted.type;
        m.found = found;
        m.message = e.message();
        m.hint = e.texts().hint;
    }

private:
    misfit& add() {
        misfit& m = to_.emplace_back();
        m.statement = label_.empty() ? what_.text : label_;
        return m;
    }

    std::string_view label_;
    const descriptor& what_;
    std::vector<misfit>& to_;
};

template <class T, class Bound, class Meta>
void check_description(const Bound& statement, const Meta& meta, misfit_list& misfits) {
    if constexpr (requires { meta.parameters(); }) {
        statement.for_each_argument([&](std::size_t index, const auto& value) {
            using argument = std::remove_cvref_t<decltype(value)>;
            const int i = static_cast<int>(index);
            if (i < meta.parameters() && !meta.template takes<argument>(i))
                misfits.parameter(index, meta.parameter_type(i), codec<argument>::name);
        });
    }
    if constexpr (!std::is_void_v<T>) {
        auto report = [&](const wanted_column& wanted, int column, error e) {
            const bool there = column >= 0 && column < meta.size();
            std::string_view found = there ? meta.declared_type(column) : std::string_view{};
            if constexpr (requires { meta.static_type(0); })
                if (there && found.empty()) found = strata::to_string(meta.static_type(column));
            misfits.column(wanted, there ? meta.name(column) : wanted.name, found, e);
        };
        row_fit<T>::check(meta, report);
    }
}

template <class T, class Connection, class Bound>
void verify_one(Connection& c, const Bound& statement, dialect d, verification& report) {
    ++report.statements;
    if constexpr (requires { check_statement(statement, d); }) {
        if constexpr (!Bound::facts.kind_known) {
            if (error e = check_statement(statement, d)) {
                misfit& m = report.misfits.emplace_back();
                m.statement = statement.label();
                m.message = e.message();
                return;
            }
        }
    }
    misfit_list misfits{statement.label(), statement.text(), report.misfits};
    discard_sink nowhere;
    typename Connection::template query<Bound, discard_sink> query{c, statement, nowhere};
    static_assert(requires { query.describe([](const auto&) {}); }, "strata: this driver cannot describe statements");
    if (!query.describe([&](const auto& meta) { check_description<T>(statement, meta, misfits); }))
        misfits.statement_failed(query.failure());
}

template <class Connection, class Check>
void verify_check(Connection& c, const Check& check, dialect d, verification& report) {
    if constexpr (is_expectation<Check>) {
        [&]<class T, class Bound>(const expectation<T, Bound>& e) { verify_one<T>(c, e.statement, d, report); }(check);
    } else {
        verify_one<void>(c, to_verify(check), d, report);
    }
}

}  // namespace detail

/// Holds statements against the database: that it can prepare each, that its parameters are of the types of its arguments, that its
/// columns have the names and types of its row type. `on` is a database, or a session of one, which sees its temporary tables. Each
/// check is `expecting<T>(statement)`, or a statement whose rows are dropped. Nothing is executed.
///
/// SQLite knows the number of parameters and the columns' names, but no types before there are values. PostgreSQL knows all; types that
/// travel as text (numeric, date, uuid ...) count as texts. Throws `failure` when there is no connection. Thread-safe for a database;
/// blocks, without a deadline. Cost: what preparing costs, once for each connection and statement.
template <class Database, class... Checks>
[[nodiscard]] verification verify(Database& on, const Checks&... checks) {
    verification report;
    if constexpr (requires { on.session(); }) {
        auto session = on.session();
        return verify(session, checks...);
    } else {
        auto& connection = on.connection();
        if constexpr (detail::yielding_connection<std::remove_cvref_t<decltype(connection)>>) connection.may_yield(false);
        (detail::verify_check(connection, checks, Database::dialect, report), ...);
        return report;
    }
}

}  // namespace strata::inline STRATA_ABI

#endif

#endif
