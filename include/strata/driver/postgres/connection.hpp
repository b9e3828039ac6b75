// One PostgreSQL connection over libpq: how it is opened, how it waits, and how a call on it is cancelled.
//
// A statement waits for its result in `wait_for_result()`, where the thread may block, or answers `signal::io` after
// `look_for_result()`, where the drive waits. Both look at the guard: at a deadline or a cancel the statement is cancelled on
// the server, and the connection is used again only behind a fence, so that a late cancel cannot hit the next statement.
#ifndef STRATA_DRIVER_POSTGRES_CONNECTION_HPP
#define STRATA_DRIVER_POSTGRES_CONNECTION_HPP

#include <strata/core/interruption.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/time.hpp>
#include <strata/core/watch.hpp>
#include <strata/driver/postgres/cancel.hpp>
#include <strata/driver/postgres/error.hpp>
#include <strata/driver/postgres/hooks.hpp>
#include <strata/driver/postgres/options.hpp>
#include <strata/driver/postgres/reader.hpp>
#include <strata/driver/postgres/statement_cache.hpp>
#include <strata/driver/postgres/writer.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

namespace detail {
class postgres_run;
class postgres_flight;
class postgres_copy;
}

/// A connection to a PostgreSQL server. It belongs to one thread at a time (a lease).
class postgres_connection {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;
    /// Several statements in one flight; see pipeline.hpp.
    template <class... Items>
    class pipeline;

    postgres_connection() noexcept = default;
    postgres_connection(const postgres_connection&) = delete;
    postgres_connection& operator=(const postgres_connection&) = delete;
    ~postgres_connection() { close(); }

    /// Connects; blocks up to `connect_timeout`, or until `i`, which becomes the guard, ends it. Errors: `invalid_argument`,
    /// `access_denied` (options), `cannot_connect`, `timeout`, `cancelled`.
    [[nodiscard]] error open(const postgres_options& o, int role = 0, const interruption* i = nullptr);

    /// Works on a connection that the user opened, which must be idle; it is closed only if `close_it`. It is switched to non-blocking.
    [[nodiscard]] error adopt(PGconn* handle, const postgres_options& o = {}, bool close_it = false);

    void close() noexcept {
        guard_ = nullptr;
        statements_.clear();
        watch_.clear();  // before libpq closes the descriptor
        if (db_ != nullptr) owned_ ? ::PQfinish(db_) : hooks_.leave(db_);
        db_ = nullptr;
        lost_ = busy_ = waiting_ = false;
    }

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }
    /// libpq's handle, null when closed. Leave it idle, in the state in which you found it.
    [[nodiscard]] PGconn* native_handle() const noexcept { return db_; }
    [[nodiscard]] bool is_lost() const noexcept { return lost_ || db_ == nullptr || ::PQstatus(db_) != CONNECTION_OK; }

    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept {
        if (db_ == nullptr) return false;
        const PGTransactionStatusType s = ::PQtransactionStatus(db_);
        return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
    }

    /// From now on every call ends early when `i` says so; see `sqlite_connection::guard`.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    // For the engine; see `yielding_connection`.
    void may_yield(bool yes) noexcept { yields_ = yes; }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }
    [[nodiscard]] watch_place& watch() noexcept { return watch_; }
    /// Whoever waits on it looks at its guard again. From any thread.
    void interrupt() noexcept { watch_.nudge(); }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, by the simple protocol; rows are dropped.
    [[nodiscard]] error control(std::string_view sql);

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off.
    [[nodiscard]] health tidy() noexcept {
        guard_ = nullptr;
        if (is_lost() || busy_) return health::lost;
        if (!in_transaction()) return health::good;
        try {
            const error e = control("rollback");
            return e || in_transaction() ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t prepared() const noexcept { return statements_.size(); }

private:
    friend class detail::postgres_run;
    friend class detail::postgres_flight;
    friend class detail::postgres_copy;

    /// What `wait` found.
    enum class waited : std::uint8_t { ready, lost, out_of_time, not_yet };

    void install(const postgres_options& o, bool owned);
    /// Blocks until the descriptor is ready for what is asked, looking at the flag of the guard meanwhile.
    [[nodiscard]] bool poll_until(bool read, bool write, time_point until) noexcept;
    /// Sends what is left and waits until a result can be taken without blocking.
    [[nodiscard]] waited wait_for_result();
    /// The same where the drive waits: `not_yet` with `awaited_` set.
    [[nodiscard]] waited look_for_result();
    /// The next result; null at the end of a statement. `lost_` says when there will be none.
    [[nodiscard]] detail::result_owner next_result();
    void drain() noexcept {
        while (next_result() != nullptr) {
        }
    }
    /// Cancels when the guard says so, and again while the statement goes on, since the server ignores a cancel that it gets before
    /// the statement; false when there is nothing left to wait for.
    [[nodiscard]] bool look_at_guard() noexcept;
    void begin_to_cancel(errc why) noexcept;
    /// When `look_at_guard` must be asked again.
    [[nodiscard]] time_point look_again_at() const noexcept {
        if (ended_by_ != errc::ok) return cancel_again_at_ < give_up_at_ ? cancel_again_at_ : give_up_at_;
        return guard_ != nullptr ? guard_->deadline : give_up_at_;
    }
    /// After a cancel, and blocking: waits until the cancel's own connection has ended, since the server signals twice, to process
    /// and to group, and the second signal may come long after the first; and if the statement was not hit, lets a late
    /// signal hit an empty one.
    void raise_fence(bool was_hit) noexcept;
    /// Before each statement. `limit` bounds it where no guard does.
    void start_the_clock(duration limit = duration::max()) noexcept {
        ended_by_ = errc::ok;
        give_up_at_ = guard_ == nullptr && limit != duration::max() ? add_saturated(clock::now(), limit) : never;
    }
    [[nodiscard]] error lost_error(phase at, effect did);
    [[nodiscard]] error run_simple(const std::string& sql, phase at, std::string* tag = nullptr);

    PGconn* db_ = nullptr;
    const interruption* guard_ = nullptr;
    detail::prepared_statements statements_;
    postgres_writer writer_;
    detail::reading_memory reading_;
    detail::postgres_hooks hooks_;
    std::vector<std::pair<std::size_t, std::string_view>> wanted_types_;  // of the parameters of the statement under way
    std::vector<::Oid> parameter_types_;                                  // the same, by number; empty where none was said
    duration cancel_grace_{};
    duration finish_limit_{};
    time_point give_up_at_ = never;
    time_point cancel_again_at_ = never;
    duration cancel_pause_{};
    errc ended_by_ = errc::ok;  // set when a call is being cancelled, cleared when one begins
    bool prepares_ = true;
    bool owned_ = false;
    bool lost_ = false;
    bool yields_ = false;   // the drive waits for the descriptor
    bool waiting_ = false;  // it was told to
    io_wait awaited_;
    watch_place watch_;
    detail::postgres_cancels cancels_;
    bool busy_ = false;  // a stream stands on the connection
};

STRATA_COLD inline void postgres_connection::install(const postgres_options& o, bool owned) {
    owned_ = owned;
    lost_ = busy_ = false;
    prepares_ = o.prepare;
    cancel_grace_ = o.cancel_grace;
    finish_limit_ = o.finish_limit;
    cancels_.forget();
    statements_.reset(o.statement_cache);
    reading_.types.clear();
    ::PQsetnonblocking(db_, 1);
    hooks_.hear(db_, o);
    hooks_.know(db_, o);
}

STRATA_COLD inline error postgres_connection::open(const postgres_options& o, int, const interruption* i) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (error e = o.validate()) return e;
    guard_ = i;
    detail::postgres_target target;
    if (error e = target.read(o)) return e;
    std::vector<const char*> keywords, values;
    target.lists(keywords, values);
    keywords.insert(keywords.end() - 1, "client_encoding");
    values.insert(values.end() - 1, "UTF8");
    time_point until = add_saturated(clock::now(), o.connect_timeout);
    if (guard_ != nullptr && guard_->deadline < until) until = guard_->deadline;
    db_ = ::PQconnectStartParams(keywords.data(), values.data(), 0);
    if (db_ != nullptr) hooks_.hear(db_, o);
    error e;
    for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; !e;) {
        if (db_ == nullptr || ::PQstatus(db_) == CONNECTION_BAD || s == PGRES_POLLING_FAILED) {
            e = detail::make_connection_error(db_, errc::cannot_connect, phase::connect, effect::none);
        } else if (s == PGRES_POLLING_OK) {
            install(o, true);
            return {};
        } else if (!poll_until(s == PGRES_POLLING_READING, s == PGRES_POLLING_WRITING, until)) {
            const bool cancelled = guard_ != nullptr && guard_->is_cancelled();
            e = error{cancelled ? errc::cancelled : errc::timeout, cancelled ? "cancelled while connecting" : "connecting took too long",
                      phase::connect};
        } else {
            s = ::PQconnectPoll(db_);
        }
    }
    const interruption* const guard = guard_;
    owned_ = true;
    close();
    guard_ = guard;
    const std::string_view host = target.value("host");
    const std::string_view database = target.value("dbname");
    error_texts& t = e.edit_texts();
    if (!host.empty() || !database.empty()) t.detail = detail::joined({"host \"", host, "\", database \"", database, "\""});
    return e;
}

STRATA_COLD inline error postgres_connection::adopt(PGconn* handle, const postgres_options& o, bool close_it) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (handle == nullptr || ::PQstatus(handle) != CONNECTION_OK || ::PQtransactionStatus(handle) == PQTRANS_ACTIVE)
        return error{errc::invalid_argument, "the adopted handle is null, not connected or not idle", phase::connect};
    db_ = handle;
    install(o, close_it);
    return {};
}

inline bool postgres_connection::poll_until(bool read, bool write, time_point until) noexcept {
    constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
    for (;;) {
        const duration left = time_left(until, slice);
        if (left <= duration::zero() || (guard_ != nullptr && guard_->is_cancelled() && ended_by_ == errc::ok)) return false;
        ::pollfd p{::PQsocket(db_), static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0)), 0};
        const int n = ::poll(&p, 1, static_cast<int>((left + std::chrono::milliseconds{1} - duration{1}) / std::chrono::milliseconds{1}));
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return true;  // libpq will say what is wrong
    }
}

inline postgres_connection::waited postgres_connection::wait_for_result() {
    bool unsent = ::PQflush(db_) > 0;
    while (unsent || ::PQisBusy(db_) != 0) {
        if (!poll_until(true, unsent, look_again_at())) {
            if (!look_at_guard()) return waited::out_of_time;
            continue;
        }
        if (::PQconsumeInput(db_) == 0) return waited::lost;
        if (unsent) {
            const int left = ::PQflush(db_);
            if (left < 0) return waited::lost;
            unsent = left > 0;
        }
    }
    return waited::ready;
}

inline postgres_connection::waited postgres_connection::look_for_result() {
    if (std::exchange(waiting_, false) && ::PQconsumeInput(db_) == 0) return waited::lost;
    const int unsent = ::PQflush(db_);
    if (unsent < 0) return waited::lost;
    if (unsent == 0 && ::PQisBusy(db_) == 0) return waited::ready;
    if (!look_at_guard()) return waited::out_of_time;
    awaited_ = {::PQsocket(db_), unsent > 0, look_again_at()};
    waiting_ = true;
    return waited::not_yet;
}

inline detail::result_owner postgres_connection::next_result() {
    if (lost_) return nullptr;
    if (wait_for_result() != waited::ready) {
        lost_ = true;
        return nullptr;
    }
    detail::result_owner r{::PQgetResult(db_)};
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return r;
}

inline bool postgres_connection::look_at_guard() noexcept {
    if (ended_by_ != errc::ok) {
        const time_point now = clock::now();
        if (now >= give_up_at_) return false;
        if (now < cancel_again_at_) return true;
        cancels_.send(db_, give_up_at_);
        cancel_pause_ *= 2;
        cancel_again_at_ = add_saturated(now, cancel_pause_);
    } else if (guard_ == nullptr) {
        if (give_up_at_ == never || clock::now() < give_up_at_) return true;
        ended_by_ = errc::timeout;
        return false;
    } else if (guard_->is_cancelled()) {
        begin_to_cancel(errc::cancelled);
    } else if (time_left(guard_->deadline, std::chrono::milliseconds{1}) <= duration::zero()) {
        begin_to_cancel(errc::timeout);
    }
    return true;
}

STRATA_COLD inline void postgres_connection::begin_to_cancel(errc why) noexcept {
    ended_by_ = why;
    const time_point now = clock::now();
    give_up_at_ = add_saturated(now, cancel_grace_);
    cancel_pause_ = cancel_grace_ / 64;
    cancel_again_at_ = add_saturated(now, cancel_pause_);
    cancels_.send(db_, give_up_at_);
}

STRATA_COLD inline void postgres_connection::raise_fence(bool was_hit) noexcept {
    give_up_at_ = add_saturated(clock::now(), cancel_grace_);
    cancel_again_at_ = never;
    for (; !lost_ && !cancels_.have_ended(); std::this_thread::sleep_for(std::chrono::microseconds{200}))
        lost_ = clock::now() >= give_up_at_;
    if (lost_ || was_hit) return;
    // The cancel may still be on its way: whatever it hits now is empty.
    if (::PQsendQuery(db_, "") == 0) lost_ = true;
    drain();
}

STRATA_COLD inline error postgres_connection::lost_error(phase at, effect did) {
    if (ended_by_ != errc::ok) {
        error e{ended_by_, "the server did not answer in time; the connection was given up", at, did};
        return e.set(health::lost);
    }
    return detail::make_connection_error(db_, errc::connection_lost, at, did);
}

/// Simple protocol, all results dropped but the last error.
inline error postgres_connection::run_simple(const std::string& sql, phase at, std::string* tag) {
    yields_ = false;
    start_the_clock(finish_limit_);
    const bool in_tx = in_transaction();
    if (::PQsendQuery(db_, sql.c_str()) == 0) {
        lost_ = true;
        return lost_error(at, in_tx ? effect::rolled_back : effect::none);
    }
    error e;
    bool was_hit = false;
    while (const detail::result_owner r = next_result()) {
        const ExecStatusType s = ::PQresultStatus(r.get());
        if (s == PGRES_FATAL_ERROR && !lost_) {
            e = detail::make_postgres_error(r.get(), at, {}, sql);
            was_hit = e.code() == errc::cancelled && ended_by_ != errc::ok;
            if (was_hit) e.set(ended_by_);
        } else if (tag != nullptr) {
            *tag = ::PQcmdStatus(r.get());
        }
    }
    if (ended_by_ != errc::ok && !lost_) raise_fence(was_hit);
    if (lost_ && !e) e = lost_error(at, in_tx ? effect::rolled_back : effect::unknown);
    if (lost_) e.set(health::lost);
    hooks_.look(db_);
    return e;
}

inline error postgres_connection::control(std::string_view sql) {
    if (is_lost()) return lost_error(phase::execute, effect::rolled_back);
    if (busy_) return error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
    const std::string text{sql};
    const bool commit = sql == "commit";
    const phase at = commit ? phase::commit : phase::execute;
    std::string tag;
    error e = run_simple(text, at, &tag);
    if (!commit) {
        if (e.effect() == effect::unknown) e.set(effect::none);  // a transaction that hardly began, or was to be rolled back
        return e;
    }
    // PostgreSQL answers COMMIT in a failed transaction with the tag ROLLBACK and no error.
    if (!e && tag == "ROLLBACK")
        return error{errc::transaction_aborted, "a statement of the transaction had failed, so COMMIT rolled it back", at,
                     effect::rolled_back};
    if (e && lost_)
        e.set(errc::outcome_unknown).set(effect::unknown);
    else if (e)
        e.set(effect::rolled_back);
    return e;
}

}  // namespace strata::inline STRATA_ABI

#endif
