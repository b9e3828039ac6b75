// The calls that every session offers: a database, a pinned connection, a transaction, an erased session.
//
// A mixin over one primitive of the session, `perform`, so each form is written once. The throwing forms
// throw `strata::failure`; the `try_` forms return `strata::result` and throw only what the user's own codecs do.
#ifndef STRATA_CALLS_HPP
#define STRATA_CALLS_HPP

#include <strata/call_options.hpp>
#include <strata/core/result.hpp>
#include <strata/optional_calls.hpp>
#include <strata/sql/literal.hpp>
#include <strata/stream.hpp>
#include <strata/transaction/batch.hpp>
#include <strata/transaction/closure.hpp>
#include <strata/value/sinks.hpp>

#include <optional>
#include <vector>

namespace strata::inline STRATA_ABI {

/// Which statements may run where: transaction control never inside a transaction, session state only on a pinned connection.
enum class scope : std::uint8_t { database, session, transaction };

namespace detail {

template <class Facts>
constexpr bool is_fit(const Facts& f, dialect d) {
    return d == dialect::sqlite ? f.fits_sqlite : f.fits_postgres;
}

/// Checked at compile time where the kind is known, at run time otherwise.
constexpr bool may_run(statement_kind k, scope where) {
    switch (k) {
        case statement_kind::transaction_control:
            return where == scope::session;
        case statement_kind::session:
            return where != scope::database;
        default:
            return true;
    }
}

/// What the session's type can tell of the statement's type.
template <class Bound, class Session>
constexpr void assert_placement() {
    if constexpr (requires { Session::dialect; }) {
        static_assert(is_fit(Bound::facts, Session::dialect),
                      "strata: this statement is not written in the dialect of the session's database");
        if constexpr (Bound::facts.kind_known) {
            static_assert(may_run(Bound::facts.kind, Session::where) || Bound::facts.kind != statement_kind::transaction_control,
                          "strata: begin, commit, rollback and savepoint are not statements here: write db.transaction([&](auto& tx) { ... "
                          "}), or use db.session()");
            static_assert(may_run(Bound::facts.kind, Session::where) || Bound::facts.kind != statement_kind::session,
                          "strata: session state would land on some connection of the pool: pin one with db.session()");
        }
    }
}

[[nodiscard]] STRATA_COLD inline error misplaced_statement() {
    error e{errc::misuse, "this kind of statement cannot run here: transaction control and session state need a pinned connection",
            phase::admission};
    e.edit_texts().hint = "use db.transaction(...) for transactions and db.session() for session state";
    return e;
}

/// What only the object can tell of a statement, before anything is sent.
template <dialect Dialect, scope Where, class Bound>
STRATA_INLINE error check_made_at_run_time(const Bound& statement) {
    if constexpr (Bound::facts.kind_known) {
        return {};
    } else {
        if (error e = check_statement(statement, Dialect)) return e;
        return may_run(statement.kind(), Where) ? error{} : misplaced_statement();
    }
}

/// The rest, which is empty for literals on a session whose type says all.
template <class Session, class Bound>
STRATA_INLINE error check_placement(const Session& session, const Bound& statement) {
    assert_placement<Bound, Session>();
    if constexpr (requires { Session::dialect; }) {
        return check_made_at_run_time<Session::dialect, Session::where>(statement);
    } else {
        if (!is_fit(Bound::facts, session.dialect_now()))
            return {errc::invalid_statement, "the statement is not written in the dialect of the session's database", phase::admission};
        if (error e = check_statement(statement, session.dialect_now())) return e;
        return may_run(statement.kind(), session.where_now()) ? error{} : misplaced_statement();
    }
}

/// Whether a session can do what a marked statement asks for, as far as its type tells. Nothing is cached inside a transaction or on a
/// pinned connection, which may see what others do not; there, and where the type does not tell, the mark `cached` is passed over.
template <class Marked, class Session>
constexpr bool fulfils_wishes() {
    if constexpr (requires {
                      requires Session::where == scope::database;
                      typename Session::runtime_type;
                  }) {
        using layers = typename Session::runtime_type::interceptors;
        static_assert(!Marked::is_cached || layers::caches,
                      "strata: a call asks for caching, but no layer of its stack caches: add strata::cache<>, or leave out cached(...)");
        static_assert(!Marked::is_replaced || layers::replaces,
                      "strata: this call says what stands for a failure, but no layer of the stack decides when: add strata::fallback<>, "
                      "or leave or_else(...) out");
        return true;
    } else {
        static_assert(!Marked::is_replaced,
                      "strata: or_else(...) needs a database whose type is known: in a transaction or a session a failure must be seen");
        return false;
    }
}

}  // namespace detail

template <class Self>
class calls : public detail::row_lock_members<Self> {
public:
    // Each form is there with options and without: an options object that nobody gave would be made, passed and read in vain, 12 to 18
    // instructions of each call.

    /// Runs a statement and drops its rows. Rows that were changed, and the last id.
    template <class S>
    execution execute(const S& statement, const call_options& o) {
        return run(statement, o);
    }
    template <class S>
    execution execute(const S& statement) {
        return run(statement, no_call_options);
    }
    template <class S>
    result<execution> try_execute(const S& statement, const call_options& o) {
        return try_run(statement, o);
    }
    template <class S>
    result<execution> try_execute(const S& statement) {
        return try_run(statement, no_call_options);
    }

    /// Exactly one row: `errc::no_rows` and `errc::too_many_rows` otherwise.
    template <class T, class S>
    T one(const S& statement, const call_options& o) {
        return fetch<one_sink<T, T&>, T>(statement, o);
    }
    template <class T, class S>
    T one(const S& statement) {
        return fetch<one_sink<T, T&>, T>(statement, no_call_options);
    }
    template <class T, class S>
    result<T> try_one(const S& statement, const call_options& o) {
        return try_fetch<one_sink<T, T&>, T>(statement, o);
    }
    template <class T, class S>
    result<T> try_one(const S& statement) {
        return try_fetch<one_sink<T, T&>, T>(statement, no_call_options);
    }

    /// One row or none: `errc::too_many_rows` otherwise.
    template <class T, class S>
    std::optional<T> maybe_one(const S& statement, const call_options& o) {
        return fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, o);
    }
    template <class T, class S>
    std::optional<T> maybe_one(const S& statement) {
        return fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, no_call_options);
    }
    template <class T, class S>
    result<std::optional<T>> try_maybe_one(const S& statement, const call_options& o) {
        return try_fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, o);
    }
    template <class T, class S>
    result<std::optional<T>> try_maybe_one(const S& statement) {
        return try_fetch<maybe_one_sink<T, std::optional<T>&>, std::optional<T>>(statement, no_call_options);
    }

    /// All rows, in memory. For results without a bound use `rows`.
    template <class T, class S>
    std::vector<T> all(const S& statement, const call_options& o) {
        return fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, o);
    }
    template <class T, class S>
    std::vector<T> all(const S& statement) {
        return fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, no_call_options);
    }
    template <class T, class S>
    result<std::vector<T>> try_all(const S& statement, const call_options& o) {
        return try_fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, o);
    }
    template <class T, class S>
    result<std::vector<T>> try_all(const S& statement) {
        return try_fetch<all_sink<T, std::vector<T>&>, std::vector<T>>(statement, no_call_options);
    }

    /// All rows, one after the other, in bounded memory: an input range; see `row_stream`.
    template <class T, class S>
    [[nodiscard]] auto rows(const S& statement, const call_options& o = no_call_options) {
        static_assert(!detail::is_marked<S>, "strata: rows one after the other are neither cached nor replaced: use all");
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        auto state = static_cast<Self&>(*this).open_stream(bound.own(), detail::cursor_sink<T>{}, o);
        return row_stream<T, typename decltype(state)::element_type>{std::move(state)};
    }

    /// Runs a literal for each element of `elements` in one transaction (inside a transaction: a savepoint), all or nothing.
    /// An element is a tuple of arguments in order, a struct whose members have the parameters' names, or one argument.
    /// A failure names the element. `affected` is the sum, `last_id` the last one. It is one operation, admitted and repeated
    /// as a whole.
    template <class Statement, class Range>
    execution execute_many(const Statement& statement, const Range& elements, const call_options& o = no_call_options) {
        execution done;
        if (error e = go_many(statement, elements, done, o)) throw_failure(std::move(e));
        return done;
    }
    template <class Statement, class Range>
    result<execution> try_execute_many(const Statement& statement, const Range& elements, const call_options& o = no_call_options) {
        execution done;
        if (error e = go_many(statement, elements, done, o)) return e;
        return done;
    }

    /// Rows of a range into a table by COPY, all or nothing: `copied`. `table`: a name, or `copy_table`. A row that cannot be
    /// written, or that the server refuses, is named by its number. See `strata/copy.hpp`, as for the two below.
    template <class Table, class Rows, class Options = copy_options>
    auto copy_in(const Table& table, Rows&& rows, const Options& o = detail::default_options<Options>()) {
        return try_copy_in(table, rows, o).value();
    }
    template <class Table, class Rows, class Options = copy_options>
    auto try_copy_in(const Table& table, Rows&& rows, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::in(static_cast<Self&>(*this), table, rows, o);
    }
    /// Rows of a table, or of a query without parameters, by COPY: `each_row(T&)` for one after the other, in bounded memory. What it
    /// throws ends the copy.
    template <class T, class Source, class F, class Options = copy_options>
    auto copy_out(const Source& source, F&& each_row, const Options& o = detail::default_options<Options>()) {
        return try_copy_out<T>(source, each_row, o).value();
    }
    template <class T, class Source, class F, class Options = copy_options>
    auto try_copy_out(const Source& source, F&& each_row, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::template out<T>(static_cast<Self&>(*this), source, each_row, o);
    }
    /// The same column by column, appended to vectors: `db.copy_out("account", std::tie(ids, owners))`. After an error they are as before.
    template <class Source, class... T, class Options = copy_options>
    auto copy_out(const Source& source, std::tuple<std::vector<T>&...> columns, const Options& o = detail::default_options<Options>()) {
        return try_copy_out(source, columns, o).value();
    }
    template <class Source, class... T, class Options = copy_options>
    auto try_copy_out(const Source& source, std::tuple<std::vector<T>&...> columns, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::columns(static_cast<Self&>(*this), source, columns, o);
    }
    /// The same as the server writes it, text, CSV or binary, to a `std::ostream`, a `file_descriptor`, or a function of `string_view`.
    template <class Source, class Sink, class Options = copy_options>
    auto copy_to(const Source& source, Sink&& sink, const Options& o = detail::default_options<Options>()) {
        return try_copy_to(source, sink, o).value();
    }
    template <class Source, class Sink, class Options = copy_options>
    auto try_copy_to(const Source& source, Sink&& sink, const Options& o = detail::default_options<Options>()) {
        return detail::copy_calls<Self, true>::raw(static_cast<Self&>(*this), source, sink, o);
    }

    /// Independent statements in one flight to the server and back: the tuple of their results; see `strata/pipeline.hpp`.
    template <class... S>
    auto pipeline(const S&... statements) {
        return pipeline(call_options{}, statements...);
    }
    template <class... S>
    auto pipeline(const call_options& o, const S&... statements) {
        return detail::pipeline_calls<Self, true>::run(static_cast<Self&>(*this), o, statements...);
    }
    /// The same with a `result` for each statement: the others' are there when one has failed.
    template <class... S>
    auto try_pipeline(const S&... statements) {
        return try_pipeline(call_options{}, statements...);
    }
    template <class... S>
    auto try_pipeline(const call_options& o, const S&... statements) {
        return detail::pipeline_calls<Self, true>::try_run(static_cast<Self&>(*this), o, statements...);
    }

    /// `transaction`, with failures of the database as a `result`; exceptions of the closure are thrown.
    template <class Closure, class Me = Self, class Value = detail::closure_value<Closure, typename Me::transaction_type>>
    auto try_transaction(Closure&& closure) -> typename detail::as_result<Value>::type {
        try {
            if constexpr (std::is_void_v<Value>) {
                static_cast<Self&>(*this).transaction(closure);
                return {};
            } else {
                return static_cast<Self&>(*this).transaction(closure);
            }
        } catch (const failure& f) {
            return f.error();
        }
    }

private:
    template <class S, class Sink>
    STRATA_INLINE void go(const S& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if constexpr (detail::is_marked<S>) {
            go_marked(statement, sink, done, o, ended);
        } else {
            const auto& bound = detail::as_bound(statement);
            if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) [[unlikely]]
                return ended.replace(std::move(e));
            static_cast<Self&>(*this).perform(bound, sink, done, o, ended);
        }
    }
    template <class S, class Sink>
    void go_marked(const S& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if constexpr (!detail::fulfils_wishes<S, Self>()) {
            go(statement.bound, sink, done, o, ended);
        } else {
            if (error e = detail::check_placement(static_cast<const Self&>(*this), statement.bound)) return ended.replace(std::move(e));
            auto wish = statement.template wish_for<Sink>();
            static_cast<Self&>(*this).perform(statement.bound, sink, done, o, ended, wish);
            if (!ended.ok()) return;
            if (error e = wish.fulfil(sink)) ended.replace(std::move(e));
        }
    }

    template <class Statement, class Range>
    error go_many(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        detail::assert_placement<detail::bound_element<Statement, Range>, Self>();
        return static_cast<Self&>(*this).perform_batch(statement, elements, done, o);
    }

    template <class S>
    STRATA_INLINE execution run(const S& statement, const call_options& o) {
        discard_sink sink;
        execution done;
        outcome ended;
        go(statement, sink, done, o, ended);
        if (!ended.ok()) [[unlikely]]
            throw_failure(std::move(ended.error()));
        return done;
    }
    template <class S>
    STRATA_INLINE result<execution> try_run(const S& statement, const call_options& o) {
        discard_sink sink;
        result<execution> done;
        go(statement, sink, *done, o, done.slot());
        done.settle();
        return done;
    }

    /// The sink writes where the caller will have the value, so it never moves.
    template <class Sink, class Value, class S>
    STRATA_INLINE Value fetch(const S& statement, const call_options& o) {
        Value value{};
        Sink sink{value};
        execution done;
        outcome ended;
        go(statement, sink, done, o, ended);
        if (!ended.ok()) [[unlikely]]
            throw_failure(std::move(ended.error()));
        return value;
    }
    template <class Sink, class Value, class S>
    STRATA_INLINE result<Value> try_fetch(const S& statement, const call_options& o) {
        result<Value> value;
        Sink sink{*value};
        execution done;
        go(statement, sink, done, o, value.slot());
        value.settle();
        return value;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
