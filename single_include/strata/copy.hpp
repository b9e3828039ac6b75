// Generated from include/strata/copy.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_COPY_HPP
#define STRATA_SINGLE_COPY_HPP

#include <strata/strata.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

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

// What a COPY is told: where, in which form, within which time, and whom to tell how far it has come.
#ifndef STRATA_VALUE_COPY_OPTIONS_HPP
#define STRATA_VALUE_COPY_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

/// The form of a COPY. `automatic`: binary where each column's type has a binary form for its C++ type, else text; raw output: text.
enum class copy_format : std::uint8_t { automatic, binary, text, csv };

/// How much a COPY has moved.
struct copied {
    std::int64_t rows = 0;   ///< when it has ended: as the server counts them; 0 so far where the rows are not parted
    std::int64_t bytes = 0;  ///< of data, in the form of the COPY
};

/// Who is told of the progress: any callable of `const copied&`, which is not copied and must live until the call has ended. Called
/// by the thread that works, about once a buffer. What it throws ends the copy.
class copy_progress {
public:
    copy_progress() noexcept = default;
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, copy_progress> && std::is_invocable_v<F&, const copied&>)
    copy_progress(F&& f) noexcept
        : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
          call_([](void* object, const copied& done) { (*static_cast<std::remove_reference_t<F>*>(object))(done); }) {}

    void operator()(const copied& done) const {
        if (call_ != nullptr) call_(object_, done);
    }

private:
    void* object_ = nullptr;
    void (*call_)(void*, const copied&) = nullptr;
};

/// What a caller may say about a COPY.
struct copy_options {
    duration deadline{};             ///< from the start of the call; zero: none of its own
    std::span<const tag> tags = {};  ///< for logs and metrics; must live as long as the call
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
    copy_format format = copy_format::automatic;
    bool header = false;             ///< raw output as CSV: a first line with the columns' names
    std::size_t buffer = 64 * 1024;  ///< bytes that may wait in this process to be sent, besides one row
    copy_progress progress = {};
};

/// A table and its columns. Without columns: those of the struct's members, or for tuples all of the table's.
class copy_table {
public:
    copy_table(const char* name) : name_(name) {}
    copy_table(std::string_view name) : name_(std::string{name}) {}
    copy_table(const std::string& name) : name_(name) {}
    copy_table(identifier name, std::vector<std::string> names_of_columns = {})
        : name_(std::move(name)), columns_(std::move(names_of_columns)) {}
    copy_table(const char* name, std::vector<std::string> names_of_columns) : name_(name), columns_(std::move(names_of_columns)) {}

    [[nodiscard]] const identifier& name() const noexcept { return name_; }
    [[nodiscard]] const std::vector<std::string>& columns() const noexcept { return columns_; }

private:
    identifier name_;
    std::vector<std::string> columns_;
};

/// The table that `mapping<T>` names.
template <adapted_struct T>
[[nodiscard]] copy_table table_of() {
    static_assert(
        requires { mapping<T>::table; }, "strata: name the table: static constexpr std::string_view table = ...; in strata::mapping<T>");
    if constexpr (requires { mapping<T>::table; })
        return copy_table{std::string_view{mapping<T>::table}};
    else
        return copy_table{""};  // says nothing more
}

/// Where raw output may go, besides streams and functions: a file, pipe or socket that the caller has opened and will close.
struct file_descriptor {
    int number = -1;
};

namespace detail {

/// What is copied out: a table, or a query without parameters.
struct copy_source {
    copy_table table{""};
    std::string query = {};  // goes before the table
    error wrong = {};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A COPY as the work of one operation: in a transaction of its own, or behind a savepoint.
#ifndef STRATA_COPY_WORK_HPP
#define STRATA_COPY_WORK_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

consteval operation_facts facts_of_copy(bool inside_transaction) {
    return {.kind = operation_kind::batch, .inside_transaction = inside_transaction};
}

template <class Driver>
constexpr void assert_copy() {
    static_assert(
        requires { typename Driver::template copy_raw<int>; },
        "strata: this driver has no COPY: write rows by execute_many, and read them by rows()");
}

template <class Driver>
[[nodiscard]] copy_source copy_source_of(const descriptor& text) {
    copy_source s;
    s.query = text.text_for(Driver::dialect);
    while (!s.query.empty() && (s.query.back() == ';' || s.query.back() == ' ' || s.query.back() == '\n')) s.query.pop_back();
    if (text.parameters != 0 || text.statements != 1)
        s.wrong = error{errc::invalid_statement, "COPY reads from one query without parameters", phase::prepare};
    if (text.kind != statement_kind::read)
        s.wrong = error{errc::invalid_statement, "COPY reads from a query that only reads", phase::prepare};
    return s;
}
template <class Driver, class Source>
[[nodiscard]] copy_source as_copy_source(const Source& source) {
    if constexpr (is_literal<Source>) {
        const auto bound = source();
        return copy_source_of<Driver>(bound.text());
    } else if constexpr (bound_statement<Source>) {
        if (error e = check_statement(source, Driver::dialect)) return {copy_table{""}, {}, std::move(e)};
        return copy_source_of<Driver>(source.text());
    } else {
        return {copy_table(source), {}, {}};
    }
}

/// `Copy` is the driver's: `run(connection, operation)` and `done()`.
template <class Runtime, class Copy>
class copy_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    copy_work(Runtime& rt, Copy& copy, unsigned depth) noexcept : rt_(rt), copy_(copy), depth_(depth), plan_(plan_of(rt)) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!whole_) {
            if constexpr (requires { requires Copy::once; }) op.handed_over = true;
            if (op.is_cancelled()) {
                result.replace(error{errc::cancelled, phase::execute});
                return signal::failed;
            }
            whole_.emplace(depth_, plan_);
            error_ = {};
            may_block_ = op.make_waker == nullptr;
        }
        const signal s = whole_->resume(c, op, rt_.world(), error_, [&](error& e) {
            if (!std::exchange(may_block_, true)) return signal::work;
            e = copy_.run(c, op);
            return e ? signal::failed : signal::done;
        });
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { whole_.reset(); }

private:
    Runtime& rt_;
    Copy& copy_;
    unsigned depth_;
    const transaction_plan<driver> plan_;
    std::optional<enclosed<driver>> whole_;
    error error_;
    bool may_block_ = true;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Rows in bulk: into a table from any range, out of a table or a query to a function, columns or a file.
//
//   db.copy_in("account", accounts);                                  // structs by their members' names, or tuples
//   db.copy_out<account>("account", [&](const account& a) { ... });   // one row after the other, in bounded memory
//   db.copy_out("account", std::tie(ids, owners));                    // into a vector for each column
//   db.copy_to("select * from account"_sql, std::cout, {.format = strata::copy_format::csv, .header = true});
//
// One operation, admitted as a whole, all or nothing: in a transaction of its own, and inside a transaction behind a savepoint. Names
// of tables and columns are quoted, so they are taken as they are written, capital letters and all. For drivers that have COPY.
#ifndef STRATA_COPY_HPP
#define STRATA_COPY_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Session>
struct copy_calls<Session, true> {
    template <class Rows>
    static result<copied> in(Session& session, const copy_table& table, Rows& rows, const copy_options& o) {
        assert_session();
        typename Session::driver::template copy_in<Rows> copy{table, rows, o};
        return perform(session, copy, o, table.name().quoted(), false);
    }
    template <class T, class Source, class F>
    static result<copied> out(Session& session, const Source& source, F& each_row, const copy_options& o) {
        assert_session();
        const copy_source from = as_copy_source<typename Session::driver>(source);
        typename Session::driver::template copy_out<T, F> copy{from, each_row, o};
        return perform(session, copy, o, from.query, true);
    }
    template <class Source, class... T>
    static result<copied> columns(Session& session, const Source& source, const std::tuple<std::vector<T>&...>& into,
                                  const copy_options& o) {
        static_assert(sizeof...(T) > 0, "strata: copy_out needs a vector for each column: std::tie(ids, owners)");
        const std::tuple before = std::apply([](const auto&... c) { return std::tuple{c.size()...}; }, into);
        const auto each = [&](auto&& f) {
            [&]<std::size_t... I>(std::index_sequence<I...>) {
                (f(std::get<I>(into), std::integral_constant<std::size_t, I>{}), ...);
            }(std::index_sequence_for<T...>{});
        };
        const auto undo = [&] {
            each([&](auto& c, auto i) { c.erase(c.begin() + static_cast<std::ptrdiff_t>(std::get<i>(before)), c.end()); });
        };
        auto append = [&](std::tuple<T...>& row) { each([&](auto& c, auto i) { c.push_back(std::move(std::get<i>(row))); }); };
        try {
            result<copied> done = out<std::tuple<T...>>(session, source, append, o);
            if (!done) undo();
            return done;
        } catch (...) {
            undo();
            throw;
        }
    }
    template <class Source, class Sink>
    static result<copied> raw(Session& session, const Source& source, Sink& sink, const copy_options& o) {
        assert_session();
        const copy_source from = as_copy_source<typename Session::driver>(source);
        typename Session::driver::template copy_raw<Sink> copy{from, sink, o};
        return perform(session, copy, o, from.query, true);
    }

private:
    static constexpr void assert_session() {
        static_assert(requires { typename Session::driver; }, "strata: COPY needs a session whose type is known, not strata::any_session");
        if constexpr (requires { typename Session::driver; }) assert_copy<typename Session::driver>();
    }
    template <class Copy>
    static result<copied> perform(Session& session, Copy& copy, const copy_options& o, std::string_view statement, bool reads) {
        error e = session.on_source([&](auto& rt, auto& source, unsigned depth, const interruption* outer) {
            copy_work<std::remove_reference_t<decltype(rt)>, Copy> work{rt, copy, depth};
            operation<facts_of_copy(Session::where == scope::transaction)> op;
            op.statement = statement;
            op.tags = o.tags;
            op.priority = o.priority;
            op.reads_only = reads;
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            return perform_work(rt, source, op, work);
        });
        if (e) return e;
        return copy.done();
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

#endif
