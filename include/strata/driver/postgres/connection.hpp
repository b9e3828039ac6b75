// One PostgreSQL connection over libpq: how it is opened and closed, and what is said on it besides statements.
//
// How it waits, and how what runs on it is cancelled, is in wire.hpp; how it connects in connect.hpp.
#ifndef STRATA_DRIVER_POSTGRES_CONNECTION_HPP
#define STRATA_DRIVER_POSTGRES_CONNECTION_HPP

#include <strata/core/joined.hpp>
#include <strata/core/transaction_mode.hpp>
#include <strata/driver/postgres/connect.hpp>
#include <strata/driver/postgres/hooks.hpp>
#include <strata/driver/postgres/preparation.hpp>
#include <strata/driver/postgres/reader.hpp>
#include <strata/driver/postgres/server_limit.hpp>
#include <strata/driver/postgres/statement_cache.hpp>
#include <strata/driver/postgres/wire.hpp>
#include <strata/driver/postgres/writer.hpp>

#include <libpq-fe.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {
class postgres_run;
class postgres_flight;
class postgres_shared_link;
class postgres_copy;
}  // namespace detail

/// A connection to a PostgreSQL server. It belongs to one thread at a time (a lease).
class postgres_connection : detail::postgres_wire {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;
    /// Several statements in one flight; see pipeline.hpp.
    template <class... Items>
    class pipeline;

    postgres_connection() noexcept = default;
    ~postgres_connection() { close(); }

    /// Connects; blocks up to `connect_timeout`, or until `i`, which becomes the guard, ends it. Errors: `invalid_argument`,
    /// `access_denied` (options), `cannot_connect`, `timeout`, `cancelled`.
    [[nodiscard]] error open(const postgres_options& o, int role = 0, const interruption* i = nullptr);
    /// The same over several resumes, ended early by the guard: `io`, `work`, `done` or `failed` with the error in `e`.
    [[nodiscard]] signal open_step(const postgres_options& o, int role, error& e);

    /// Works on a connection that the user opened, which must be idle; it is closed only if `close_it`. It is switched to non-blocking.
    [[nodiscard]] error adopt(PGconn* handle, const postgres_options& o = {}, bool close_it = false);

    void close() noexcept {
        guard_ = nullptr;
        statements_.clear();
        preparation_.clear();
        round_ = {};
        controlling_ = 0;
        begin_ = beginning_ = {};
        watch_.clear();  // before libpq closes the descriptor
        connecting_.reset();
        if (db_ != nullptr) owned_ ? ::PQfinish(db_) : hooks_.leave(db_);
        db_ = nullptr;
        lost_ = busy_ = locked_ = waiting_ = fencing_ = false;
    }

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }
    /// libpq's handle, null when closed. Leave it idle, in the state in which you found it.
    [[nodiscard]] PGconn* native_handle() noexcept {
        if (!begin_.empty()) [[unlikely]]
            begin_now();
        return db_;
    }
    /// The number of the server's process, 0 when closed.
    [[nodiscard]] std::int32_t session_number() const noexcept { return ::PQbackendPID(db_); }
    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept { return !begin_.empty() || detail::postgres_wire::in_transaction(); }
    using detail::postgres_wire::is_lost;
    /// What is known of this connection, and of those opened before it; also where a session that holds it was told. With an advisory lock
    /// that could not be given back it is not to be kept.
    [[nodiscard]] health said() const noexcept { return farewell_ ? health::all_lost : is_lost() || locked_ ? health::lost : health::good; }

    /// From now on every call ends early when `i` says so; see `sqlite_connection::guard`.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    // For the engine; see `yielding_connection`.
    void may_yield(bool yes) noexcept { yields_ = yes; }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }
    [[nodiscard]] watch_place& watch() noexcept { return watch_; }
    /// Whoever waits on it looks at its guard again. From any thread.
    void interrupt() noexcept { watch_.nudge(); }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, by the simple protocol; rows are dropped. Blocks.
    [[nodiscard]] error control(std::string_view sql) {
        const bool yields = std::exchange(yields_, false);
        error e;
        static_cast<void>(control_step(sql, e));
        yields_ = yields;
        return e;
    }
    /// The same over several resumes, each with the same text: `io`, `work`, `done` or `failed` with the error in `e`.
    [[nodiscard]] signal control_step(std::string_view sql, error& e) { return control_step(sql, e, nullptr); }
    /// The same; `answer` takes the first column of the first row, if there is one.
    [[nodiscard]] signal control_step(std::string_view sql, error& e, std::string* answer);

    // For `transaction_options::resolve_commit`.
    /// The id of the open transaction, empty where it has none, in steps. With the first id the server is asked which one it is.
    [[nodiscard]] signal transaction_id_step(std::string& id, error& e);
    /// What became of a transaction of the connection, which is lost: asked on a new one, opened as this one was, for up to `finish_limit`.
    /// `why`: what there was instead of an answer. Blocks; see resolve.hpp.
    [[nodiscard]] detail::commit_fate resolve_commit(const std::string& id, std::string& why);
    /// The drive waits for the descriptor, and must not be blocked.
    [[nodiscard]] bool yields() const noexcept { return yields_; }

    /// Begins a transaction by this text, which must live as long, when something else is sent: both in one flight, so that it costs no
    /// round trip. False, and nothing happens: it must be sent by itself.
    [[nodiscard]] bool begin_later(std::string_view sql) noexcept {
        if (is_lost() || busy_ || limit_.is_on() || in_transaction()) return false;
        begin_ = sql;
        return true;
    }

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off. Blocks where there is one.
    [[nodiscard]] health tidy() noexcept {
        guard_ = nullptr;
        if (is_lost() || busy_ || locked_) return health::lost;
        if (!in_transaction()) return health::good;
        try {
            const error e = control("rollback");
            return e || in_transaction() ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }

    /// Of an idle connection: whether the server has not given it up. Asks the socket only, so a peer that vanished without a word is not
    /// noticed; reads what the server sent meanwhile (notices, settings). Never blocks.
    [[nodiscard]] bool is_alive() noexcept {
        for (int i = 0; i < 8 && db_ != nullptr && ::PQstatus(db_) == CONNECTION_OK && is_ready(false); ++i)
            if (::PQconsumeInput(db_) == 0) return false;
        if (db_ != nullptr)
            while (PGnotify* const n = ::PQnotifies(db_)) ::PQfreemem(n);  // which reads what has come
        return db_ != nullptr && ::PQstatus(db_) == CONNECTION_OK;
    }

    /// A round trip: whether the server answers. Blocks until then, the guard's deadline or `postgres_options::finish_limit`.
    [[nodiscard]] health ping() noexcept {
        try {
            const error e = control("");
            return is_lost() || e ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }
    /// The session as it was when it began: settings, temporary tables, locks, LISTEN. Its statements are prepared anew. Blocks.
    [[nodiscard]] error discard_all() {
        statements_.clear();
        limit_.look_at(statement_kind::session);
        error e = control("discard all");
        if (!e) changed_session_ = false;
        return e;
    }
    /// By a statement of the user's.
    void session_was_reset() noexcept { changed_session_ = false; }
    /// Whether a statement was run that sets something for the session, since it began or was discarded.
    [[nodiscard]] bool has_changed_session() const noexcept { return changed_session_; }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t prepared() const noexcept { return statements_.size(); }

private:
    friend class detail::postgres_run;
    friend class detail::postgres_flight;
    friend class detail::postgres_shared_link;
    friend class detail::postgres_copy;

    void install(const postgres_options& o, bool owned);
    /// Why no call may begin on it; `did`: what became of the caller's work where the connection is gone.
    [[nodiscard]] error unusable(effect did) const {
        if (is_lost()) [[unlikely]]
            return lost_error(phase::execute, did);
        if (busy_) [[unlikely]]
            return error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
        return {};
    }

    STRATA_COLD void take_answer(std::string& text) {
        const PGresult* const r = round_.last.get();
        text.clear();
        if (r != nullptr && ::PQntuples(r) > 0 && ::PQgetisnull(r, 0, 0) == 0) text = ::PQgetvalue(r, 0, 0);
    }
    [[nodiscard]] bool begins() const noexcept { return !begin_.empty() || !beginning_.empty(); }
    /// BEGIN by itself, before what cannot go with it, as `control_step`.
    [[nodiscard]] STRATA_COLD signal begin_step(error& e) {
        if (!begin_.empty()) beginning_ = std::exchange(begin_, {});
        const signal s = control_step(beginning_, e);
        if (s != signal::io && s != signal::work) {
            beginning_ = {};
            start_the_clock();
        }
        return s;
    }
    /// For the user, who will say more by the handle. Where it fails he sees a connection that is in no transaction, or lost.
    STRATA_COLD void begin_now() noexcept {
        try {
            static_cast<void>(control(std::exchange(begin_, {})));
        } catch (...) {  // no memory
            lost_ = true;
        }
    }

    /// Before a statement of this kind.
    void look_at(statement_kind k) noexcept {
        limit_.look_at(k);
        if (k == statement_kind::session) changed_session_ = true;
    }

    detail::prepared_statements statements_;
    detail::postgres_preparation preparation_;
    detail::postgres_server_limit limit_;
    postgres_writer writer_;
    detail::reading_memory reading_;
    detail::postgres_hooks hooks_;
    std::unique_ptr<detail::postgres_connecting> connecting_;  // while it is being opened
    duration finish_limit_{};
    std::string_view begin_{};       // BEGIN, not sent yet
    std::string_view beginning_{};   // under way by itself
    std::string server_;             // which one it is; empty: not asked yet
    std::uint64_t controlling_ = 0;  // which text `control_step` is about; 0: none
    enum class asking : std::uint8_t { id, permission, cluster, start };
    asking asking_ = asking::id;  // what `transaction_id_step` is about
    bool prepares_ = true;
    bool owned_ = false;
    bool changed_session_ = false;
    bool locked_ = false;                // an attempt that escalates holds an advisory lock
    bool busy_ = false;                  // a stream stands on the connection
    bool streamed_ = false;              // libpq may still give rows one by one
    bool began_in_transaction_ = false;  // what `control_step` does
};

STRATA_COLD inline void postgres_connection::install(const postgres_options& o, bool owned) {
    owned_ = owned;
    lost_ = busy_ = streamed_ = locked_ = changed_session_ = farewell_ = false;
    prepares_ = o.prepare;
    cancel_grace_ = o.cancel_grace;
    finish_limit_ = o.finish_limit;
    limit_.reset(o.limit_on_server);
    cancels_.forget();
    statements_.reset(o.statement_cache);
    server_.clear();
    asking_ = asking::id;
    reading_.types.clear();
    ::PQsetnonblocking(db_, 1);
    hooks_.hear(db_, o);
    hooks_.know(db_, o);
}

STRATA_COLD inline error postgres_connection::open(const postgres_options& o, int role, const interruption* i) {
    guard_ = i;
    yields_ = false;
    error e;
    try {
        static_cast<void>(open_step(o, role, e));
    } catch (...) {  // no memory, or no thread
        close();
        throw;
    }
    return e;
}

STRATA_COLD inline signal postgres_connection::open_step(const postgres_options& o, int, error& e) {
    if (connecting_ == nullptr) {
        e = db_ != nullptr ? error{errc::misuse, "the connection is open already", phase::connect} : o.validate();
        if (e) return signal::failed;
        if (o.handle != nullptr) {
            e = ::PQstatus(o.handle) == CONNECTION_OK && ::PQtransactionStatus(o.handle) != PQTRANS_ACTIVE
                    ? adopt(o.handle, o)
                    : error{errc::cannot_connect, "the connection in postgres_options.handle is lost, or not idle; it is not made anew",
                            phase::connect};
            return e ? signal::failed : signal::done;
        }
        auto made = std::make_unique<detail::postgres_connecting>();
        if ((e = made->read(o, guard_))) return signal::failed;
        connecting_ = std::move(made);
        owned_ = true;
        ended_by_ = errc::ok;
        if (yields_) return signal::work;  // it begins with what may block: files, names
    }
    watch_.clear();  // libpq may close its descriptor now, and open another of the same number
    const interruption* const guard = guard_;
    if (connecting_->begin(*this) && db_ != nullptr) hooks_.hear(db_, o);
    const signal s = connecting_->step(*this, e);
    if (s == signal::io) return s;
    const std::unique_ptr<detail::postgres_connecting> ended = std::move(connecting_);
    if (s == signal::done) {
        install(o, true);
        return s;
    }
    close();
    guard_ = guard;
    ended->name_target(e);
    return s;
}

STRATA_COLD inline error postgres_connection::adopt(PGconn* handle, const postgres_options& o, bool close_it) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (handle == nullptr || ::PQstatus(handle) != CONNECTION_OK || ::PQtransactionStatus(handle) == PQTRANS_ACTIVE)
        return error{errc::invalid_argument, "the adopted handle is null, not connected or not idle", phase::connect};
    db_ = handle;
    install(o, close_it);
    preparation_.use_other_names();
    limit_.look_at(statement_kind::session);  // which one it has is not known
    return {};
}

inline signal postgres_connection::control_step(std::string_view sql, error& e, std::string* answer) {
    const bool commit = sql == "commit";
    const phase at = commit ? phase::commit : phase::execute;
    const std::uint64_t key = hash_text(sql).low | 1;
    if (round_.under_way && controlling_ != key) {  // of a call that was destroyed midway
        lost_ = true;
        round_ = {};
    }
    if (!round_.under_way) {
        if ((e = unusable(effect::rolled_back))) return signal::failed;
        start_the_clock(finish_limit_);
        began_in_transaction_ = in_transaction();
        if (!began_in_transaction_) limit_.back_to_session();
        const std::string_view begin = std::exchange(begin_, {});
        if (!begin.empty() && (commit || sql == "rollback")) return signal::done;  // of nothing
        ask(::PQsendQuery(db_, detail::joined({begin, begin.empty() ? "" : "; ", sql}).c_str()));
        controlling_ = key;
        if (sql.starts_with("rollback to")) limit_.forget();
    }
    const signal s = hear();
    if (s == signal::io || s == signal::work) return s;
    controlling_ = 0;
    hooks_.look(db_);
    if (round_.failed) {
        e = error_of(round_.last.get(), at, {}, sql);
        if (round_.was_hit)
            e.set(ended_by_);
        else if (e.code() == errc::cancelled && limit_.limits())
            e.set(errc::timeout);
    } else if (lost_) {
        const bool nothing = !round_.sent || !commit;  // a transaction that hardly began, or was to be rolled back
        e = lost_error(at, began_in_transaction_ ? effect::rolled_back : nothing ? effect::none : effect::unknown);
    } else if ((commit || sql.starts_with("prepare transaction")) && std::string_view{::PQcmdStatus(round_.last.get())} == "ROLLBACK") {
        // PostgreSQL answers COMMIT and PREPARE TRANSACTION in a failed transaction with the tag ROLLBACK and no error.
        e = error{errc::commit_rolled_back, "a statement of the transaction had failed, so its end rolled it back", at,
                  effect::rolled_back};
        return signal::failed;
    }
    if (answer != nullptr) [[unlikely]]
        take_answer(*answer);
    round_.last.reset();
    if (!e) {
        if (sql.starts_with("select pg_advisory_")) [[unlikely]]
            locked_ = sql.starts_with("select pg_advisory_lock");
        return signal::done;
    }
    if (lost_) e.set_lost();
    if (commit && lost_)
        e.set(errc::outcome_unknown).set(effect::unknown);
    else if (commit)
        e.set(effect::rolled_back);
    else if (e.effect() == effect::unknown)
        e.set(effect::none);
    return signal::failed;
}

}  // namespace strata::inline STRATA_ABI

#endif
