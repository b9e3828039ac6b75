// One statement on its way: found prepared or prepared, bound, stepped, its rows given to a sink, reset.
//
// What depends on neither arguments nor row type is in `sqlite_run`, mostly out of line; the template only
// binds and loops. The prepared statement goes back to the cache however the query ends.
#ifndef STRATA_DRIVER_SQLITE_QUERY_HPP
#define STRATA_DRIVER_SQLITE_QUERY_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>
#include <strata/core/signal.hpp>
#include <strata/driver/sqlite/connection.hpp>
#include <strata/driver/sqlite/reader.hpp>
#include <strata/driver/sqlite/writer.hpp>
#include <strata/value/codec.hpp>
#include <strata/value/sinks.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

/// The part of a query that needs no templates.
class sqlite_run {
public:
    sqlite_run(const sqlite_run&) = delete;
    sqlite_run& operator=(const sqlite_run&) = delete;

    /// What went wrong, after `resume()` said `failed`.
    [[nodiscard]] error& failure() noexcept { return error_; }
    /// Rows that were inserted, updated or deleted; 0 for everything else. Known when the query is done.
    [[nodiscard]] std::int64_t affected() const noexcept { return affected_; }
    /// The rowid of the last row inserted; 0 when the statement is no insert or changed nothing. An upsert that only
    /// updated leaves the id of the insert before it, as SQLite does.
    [[nodiscard]] std::int64_t last_id() const noexcept { return last_id_; }

protected:
    explicit sqlite_run(sqlite_connection& c) noexcept : connection_(c) {}
    ~sqlite_run() {
        if (entry_ != nullptr) [[unlikely]] release();
    }

    /// Finds or prepares the statement; false when it cannot be, with the error set. `literal`: its text is a literal.
    [[nodiscard]] STRATA_INLINE bool take(const descriptor& what, bool literal) {
        what_ = &what;
        connection_.ended_by_ = errc::ok;
        was_in_transaction_ = connection_.in_transaction();
        entry_ = connection_.cache_.take(key_of(what, literal), literal ? std::string_view{} : what.sqlite_text);
        if (entry_ == nullptr) [[unlikely]] {
            if (!prepare(key_of(what, literal))) return false;
        }
        if (!entry_->reads_only) changes_before_ = ::sqlite3_total_changes64(connection_.db_);
        return true;
    }

    /// Some texts act when they are prepared here: a pragma, all but the last statement of several.
    [[nodiscard]] STRATA_COLD bool can_be_described(const descriptor& what) {
        if (what.statements <= 1 && what.kind != statement_kind::session) return true;
        error_ = bad_statement("a pragma, or a text of several statements, cannot be described: it would act", what.text);
        return false;
    }

    /// The statement goes back to the cache.
    STRATA_INLINE void release() noexcept {
        ::sqlite3_reset(entry_->handle);
        // The arguments live no longer than the call, and copies of them should not either.
        if (holds_memory_) ::sqlite3_clear_bindings(entry_->handle);
        statement_cache::give_back(std::exchange(entry_, nullptr));
    }

    /// True when the plan in the cache was made for these rows and for the statement as it is prepared now. A change of
    /// the schema makes SQLite prepare it anew; but without a `*` the text alone says which column is where.
    [[nodiscard]] STRATA_INLINE bool plan_is_current(const void* tag) const noexcept {
        return entry_->plan.tag == tag && (entry_->plan_fixed || entry_->plan_prepared == times_prepared());
    }
    STRATA_COLD void plan_made(const void* tag) noexcept {
        entry_->plan.tag = tag;
        entry_->plan_prepared = times_prepared();
        entry_->plan_fixed = !entry_->has_star && entry_->plan.layout == nullptr;  // a layout holds declared types too
    }

    [[nodiscard]] STRATA_INLINE sqlite_row current_row() const noexcept { return sqlite_row{entry_->handle, connection_.value_distance_}; }

    /// Takes what a finished write leaves behind.
    STRATA_INLINE void count() noexcept {
        if (!entry_->reads_only) count_changes();
    }

    [[nodiscard]] signal step_failed(int code);
    [[nodiscard]] signal argument_refused(int number, errc why, std::string_view type, int code);
    [[nodiscard]] signal rows_refused();
    [[nodiscard]] signal stopped_early();

    sqlite_connection& connection_;
    const descriptor* what_;  // from take() on
    cached_statement* entry_ = nullptr;
    error error_;
    std::int64_t affected_ = 0;
    std::int64_t last_id_ = 0;
    std::int64_t changes_before_;  // of a statement that writes
    bool was_in_transaction_ = false;
    bool holds_memory_ = false;
    bool planned_ = false;
    bool script_wrote_ = false;  // an earlier statement of the same text has run

private:
    [[nodiscard]] int times_prepared() const noexcept { return ::sqlite3_stmt_status(entry_->handle, SQLITE_STMTSTATUS_REPREPARE, 0); }
    [[nodiscard]] static STRATA_INLINE hash128 key_of(const descriptor& what, bool literal) noexcept {
        return literal ? what.hash : key_of_composed(what.hash);
    }
    [[nodiscard]] bool prepare(hash128 key);
    [[nodiscard]] bool run_script(hash128 key);
    void count_changes() noexcept;
    [[nodiscard]] sqlite_circumstances circumstances(int code) const noexcept;
};

STRATA_COLD inline bool sqlite_run::prepare(hash128 key) {
    if (!what_->fits(dialect::sqlite)) {
        error_ = bad_statement("the text does not follow SQLite's lexical rules", what_->text);
        return false;
    }
    if (what_->statements > 1) return run_script(key);
    const bool keep = what_->kind == statement_kind::read || what_->kind == statement_kind::write;  // others come once, as a rule
    entry_ = connection_.prepare(key, what_->sqlite_text, what_, keep, error_);
    return entry_ != nullptr;
}

/// Runs all statements of a text but the last one, which is left in `entry_`: its rows are the ones that are wanted.
STRATA_COLD inline bool sqlite_run::run_script(hash128 key) {
    if (what_->parameters != 0) {
        error_ = bad_statement("a text of several statements cannot have parameters", what_->text);
        return false;
    }
    for (std::string_view rest = what_->sqlite_text;;) {
        entry_ = connection_.prepare(key, rest, what_, false, error_, &rest);
        if (entry_ == nullptr) {
            if (script_wrote_) error_.set(effect_after(connection_.db_, SQLITE_ERROR, circumstances(SQLITE_ERROR)));
            return false;
        }
        if (is_blank_sql(rest)) return true;
        changes_before_ = ::sqlite3_total_changes64(connection_.db_);
        int code = SQLITE_ROW;
        while (code == SQLITE_ROW) code = ::sqlite3_step(entry_->handle);
        if (code != SQLITE_DONE) {
            static_cast<void>(step_failed(code));
            return false;
        }
        count();
        script_wrote_ = script_wrote_ || !entry_->reads_only;
        release();
    }
}

inline void sqlite_run::count_changes() noexcept {
    ::sqlite3* const db = connection_.db_;
    // Only what changes rows moves the total; after anything else sqlite3_changes() still tells of an earlier statement.
    if (::sqlite3_total_changes64(db) == changes_before_) return;
    const std::int64_t changes = ::sqlite3_changes64(db);
    affected_ += changes;
    if (entry_->inserts && changes > 0) last_id_ = ::sqlite3_last_insert_rowid(db);
}

STRATA_COLD inline sqlite_circumstances sqlite_run::circumstances(int code) const noexcept {
    const bool writes = entry_ != nullptr && !entry_->reads_only;
    sqlite_circumstances c;
    c.code = code;
    c.was_in_transaction = was_in_transaction_;
    c.commits = !was_in_transaction_ && writes;
    // `insert or fail` keeps the rows before the failing one; whatever else fails is undone by SQLite.
    c.kept = script_wrote_ || (writes && ::sqlite3_total_changes64(connection_.db_) != changes_before_);
    c.written = what_->text;
    c.sent = what_->sqlite_text;
    return c;
}

STRATA_COLD inline signal sqlite_run::step_failed(int code) {
    error_ = connection_.error_of(circumstances(code));
    release();
    return signal::failed;
}

/// An argument that its codec (`why`) or SQLite (`code`) does not take. Nothing has run.
STRATA_COLD inline signal sqlite_run::argument_refused(int number, errc why, std::string_view type, int code) {
    if (code != SQLITE_OK) error_ = connection_.error_of(circumstances(code));
    else error_ = error{why, std::string{strata::to_string(why)}, phase::execute};
    error_.set(effect::none);
    error_texts& texts = error_.edit_texts();
    const std::string_view name = what_->parameter(static_cast<std::size_t>(number - 1));
    const bool named = !name.empty(), typed = !type.empty();
    texts.message = joined(
        {"argument ", digits_of(number), named ? " (:" : "", name, named ? ")" : "", typed ? " of type " : "", type, ": ", texts.message});
    texts.statement = what_->text;
    release();
    return signal::failed;
}

/// The sink does not take the rows, or misses some: the statement itself went well, and a write has happened.
STRATA_COLD inline signal sqlite_run::rows_refused() {
    bool wrote = script_wrote_;
    if (entry_ != nullptr && !entry_->reads_only) {
        const int code = ::sqlite3_reset(entry_->handle);  // commits what `returning` left open
        if (code != SQLITE_OK) return step_failed(code);
        wrote = wrote || ::sqlite3_total_changes64(connection_.db_) != changes_before_;
    }
    if (entry_ != nullptr) release();
    error_.set(phase::result).set(wrote || affected_ != 0 ? effect::applied : effect::none);
    if (error_.has_texts() && error_.texts().statement.empty()) error_.edit_texts().statement = what_->text;
    return signal::failed;
}

/// The sink has enough.
STRATA_COLD inline signal sqlite_run::stopped_early() {
    const int code = ::sqlite3_reset(entry_->handle);
    if (code != SQLITE_OK) return step_failed(code);
    count();
    release();
    return signal::done;
}

}  // namespace detail

/// One statement. Call `resume()` until it says `done` or `failed`, and not again after that; `item` means that the
/// sink has paused and goes on at the next call. Connection, statement, arguments and sink must outlive the query. When it is
/// destroyed midway, a read just ends, and a write that has returned rows has happened.
template <class Bound, class Sink>
class sqlite_connection::query : public detail::sqlite_run {
public:
    query(sqlite_connection& connection, const Bound& statement, Sink& sink) noexcept
        : detail::sqlite_run(connection), statement_(statement), sink_(sink) {}

    /// Never `io` or `work`; may block.
    [[nodiscard]] signal resume() {
        if (entry_ == nullptr) {
            if (!take(statement_.text(), Bound::facts.kind_known)) return signal::failed;
            if (!bind()) [[unlikely]] return signal::failed;
        }
        for (;;) {
            const int code = ::sqlite3_step(entry_->handle);
            if (code == SQLITE_ROW) {
                if (!planned_ && !plan()) [[unlikely]] return rows_refused();
                switch (sink_.row(current_row(), entry_->plan, error_)) {
                    case flow::more: continue;
                    case flow::pause: return signal::item;
                    case flow::stop: return error_ ? rows_refused() : stopped_early();
                }
            }
            if (code != SQLITE_DONE) [[unlikely]] return step_failed(code);
            count();
            if (!planned_ && !plan()) [[unlikely]] return rows_refused();  // a wrong row type fails on an empty table too
            release();
            sink_.finish(error_);
            return error_ ? rows_refused() : signal::done;
        }
    }

    /// Prepares the statement, executes nothing, and hands its columns, an `sqlite_row`, to `use`; their types are the values' own. False
    /// when that fails: see `failure()`.
    template <class Use>
    [[nodiscard]] bool describe(Use&& use) {
        if (!can_be_described(statement_.text()) || !take(statement_.text(), Bound::facts.kind_known)) return false;
        use(sqlite_row{entry_->handle});
        release();
        return true;
    }

private:
    /// Binds the arguments; false when one is refused.
    STRATA_INLINE bool bind() {
        sqlite_writer out{entry_->handle};
        int refused = 0;  // number of the first one
        errc why = errc::ok;
        std::string_view type;
        statement_.for_each_argument([&](std::size_t index, const auto& value) {
            using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
            if (refused != 0) return;
            const int number = static_cast<int>(index) + 1;
            why = value_codec::write(out, value);
            if (why == errc::ok) why = out.refused();
            if (why == errc::ok && out.written() != number) why = errc::misuse;  // a codec must write exactly once
            if (why == errc::ok && out.code() == SQLITE_OK) return;
            refused = number;
            type = value_codec::name;
        });
        holds_memory_ = out.holds_memory();
        if (refused == 0) [[likely]] return true;
        static_cast<void>(argument_refused(refused, why, type, out.code()));
        return false;
    }

    [[nodiscard]] STRATA_INLINE bool plan() {
        planned_ = true;
        return plan_is_current(sink_.tag()) || make_plan();
    }

    STRATA_COLD bool make_plan() {
        entry_->plan_prepared = -1;
        entry_->plan_fixed = false;
        error_ = sink_.plan(sqlite_row{entry_->handle}, entry_->plan);
        if (error_) return false;
        plan_made(sink_.tag());
        return true;
    }

    const Bound& statement_;
    Sink& sink_;
};

}  // namespace strata::inline STRATA_ABI

#endif
