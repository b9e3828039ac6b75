// One SQLite connection: its handle, its prepared statements, and the two handlers by which SQLite asks us,
// while it works or waits, whether the call should go on.
//
// The handlers are installed once; `guard()` only stores a pointer that they read. So a deadline costs a
// statement nothing until it has run for a thousand steps of SQLite's virtual machine.
#ifndef STRATA_DRIVER_SQLITE_CONNECTION_HPP
#define STRATA_DRIVER_SQLITE_CONNECTION_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>
#include <strata/core/interruption.hpp>
#include <strata/core/joined.hpp>
#include <strata/core/time.hpp>
#include <strata/driver/sqlite/error.hpp>
#include <strata/driver/sqlite/options.hpp>
#include <strata/driver/sqlite/scan.hpp>
#include <strata/driver/sqlite/statement_cache.hpp>
#include <strata/sql/descriptor.hpp>
#include <strata/sql/hash.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

class sqlite_run;

/// A short sleep of the calling thread, between two tries to get a lock.
STRATA_COLD inline void pause_for(duration d) noexcept {
#if defined(_WIN32)
    ::sqlite3_sleep(static_cast<int>(d / std::chrono::milliseconds{1}) + 1);
#else
    std::timespec t{};
    t.tv_nsec = static_cast<long>(d.count());  // always less than a second
    ::nanosleep(&t, nullptr);
#endif
}

/// How long to wait before the n-th new try: 50 microseconds, doubling up to 10 milliseconds.
[[nodiscard]] constexpr duration lock_pause(int n) noexcept {
    constexpr duration most = std::chrono::milliseconds{10};
    const duration d = std::chrono::microseconds{50} * (1 << (n < 8 ? n : 8));
    return d < most ? d : most;
}

}  // namespace detail

/// An SQLite connection. It belongs to one thread at a time (a lease) and is opened without SQLite's own mutex;
/// it does not move, because SQLite holds its address.
class sqlite_connection {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;

    sqlite_connection() noexcept = default;
    sqlite_connection(const sqlite_connection&) = delete;
    sqlite_connection& operator=(const sqlite_connection&) = delete;
    ~sqlite_connection() { close(); }

    /// Opens the database and applies the options. On an error the connection stays closed. May block; `i` can end
    /// it early and becomes the guard. Errors: `invalid_argument` (options), `cannot_connect`, `not_a_database`, `busy`, ...
    [[nodiscard]] error open(const sqlite_options& options, connection_role role = connection_role::both, const interruption* i = nullptr);

    /// Works on a handle that the user opened. Only `busy_timeout` and `statement_cache` of the options are used.
    /// Replaces the handle's busy and progress handlers, and takes them off again in `close()`; the handle itself is
    /// closed only if `close_it`. A handle in use by another thread at the same time must be in serialized mode.
    [[nodiscard]] error adopt(::sqlite3* handle, const sqlite_options& options = {}, bool close_it = false);

    /// Lets the statements go and closes the handle, unless it was adopted. No error is possible.
    void close() noexcept;

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }

    /// SQLite's handle, null when closed. Statements made on it are the caller's; do not replace its busy or progress handler.
    [[nodiscard]] ::sqlite3* native_handle() const noexcept { return db_; }

    /// True between BEGIN and COMMIT or ROLLBACK. The connection must be open.
    [[nodiscard]] bool in_transaction() const noexcept { return ::sqlite3_get_autocommit(db_) == 0; }

    /// From now on every call ends early when `i` says so: `errc::timeout` at its deadline, `errc::cancelled` when it
    /// is cancelled. `i` must live until the next `guard()`; null guards nothing. Cost: a store.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, through the cache; rows are
    /// dropped. It waits for locks only as long as the guard allows, but once it runs it is not interrupted.
    [[nodiscard]] error control(std::string_view sql);

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off.
    [[nodiscard]] health tidy() noexcept;

    /// The error of a call that was made on `native_handle()` and returned `code`. Ask before the connection does anything else.
    [[nodiscard]] error error_of(int code, phase at = phase::execute) {
        detail::sqlite_circumstances what;
        what.code = code;
        what.at = at;
        return error_of(what);
    }

    /// How long its calls have waited for locks of other connections, all together since it was made; from any thread.
    [[nodiscard]] duration waited_for_locks() const noexcept { return duration{waited_.load(std::memory_order_relaxed)}; }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t cached_statements() const noexcept { return cache_.size(); }

private:
    friend class detail::sqlite_run;

    static int on_progress(void* self) noexcept;
    static int on_busy(void* self, int tries) noexcept;
    [[nodiscard]] error error_of(detail::sqlite_circumstances what);
    [[nodiscard]] bool wait_for_lock(time_point since, int tries) noexcept;
    void install(const sqlite_options& options);
    [[nodiscard]] error open_steps(const sqlite_options& options, connection_role role);
    [[nodiscard]] error load_extensions(const sqlite_options& options);
    [[nodiscard]] error set_journal(const sqlite_options& options);
    [[nodiscard]] error setting(const char* sql, std::string* answer = nullptr);
    [[nodiscard]] detail::cached_statement* prepare(const hash128& key, std::string_view sent, const descriptor* what, bool keep, error& e,
                                                    std::string_view* rest = nullptr);

    ::sqlite3* db_ = nullptr;
    const interruption* guard_ = nullptr;
    detail::statement_cache cache_;
    duration busy_timeout_{};
    time_point busy_since_{};
    std::atomic<duration::rep> waited_{0};
    std::size_t value_distance_ = 0;  // see distance_of_values
    errc ended_by_ = errc::ok;   // set by a handler that ends a call, cleared when a call begins
    bool uninterruptible_ = false;
    bool owned_ = false;
};

inline int sqlite_connection::on_progress(void* self) noexcept {
    sqlite_connection& c = *static_cast<sqlite_connection*>(self);
    const interruption* const i = c.guard_;
    if (i == nullptr || c.uninterruptible_) return 0;
    if (i->is_cancelled()) c.ended_by_ = errc::cancelled;
    else if (i->deadline != never && clock::now() >= i->deadline) c.ended_by_ = errc::timeout;
    else return 0;
    return 1;
}

STRATA_COLD inline int sqlite_connection::on_busy(void* self, int tries) noexcept {
    sqlite_connection& c = *static_cast<sqlite_connection*>(self);
    if (tries == 0) c.busy_since_ = clock::now();
    return c.wait_for_lock(c.busy_since_, tries) ? 1 : 0;
}

/// A pause before the next try to get a lock; false, at once, when no more time is left or the call is cancelled.
STRATA_COLD inline bool sqlite_connection::wait_for_lock(time_point since, int tries) noexcept {
    if (guard_ != nullptr && guard_->is_cancelled()) {
        ended_by_ = errc::cancelled;
        return false;
    }
    time_point until = add_saturated(since, busy_timeout_);
    const bool bounded = guard_ != nullptr && guard_->deadline < until;
    if (bounded) until = guard_->deadline;
    const time_point now = clock::now();
    if (now >= until) {
        if (bounded) ended_by_ = errc::timeout;
        return false;
    }
    const duration pause = detail::lock_pause(tries);
    detail::pause_for(pause < until - now ? pause : until - now);
    waited_.fetch_add((clock::now() - now).count(), std::memory_order_relaxed);
    return true;
}

STRATA_COLD inline error sqlite_connection::error_of(detail::sqlite_circumstances what) {
    what.ended_by = ended_by_;
    ended_by_ = errc::ok;
    return detail::make_sqlite_error(db_, what);
}

inline void sqlite_connection::close() noexcept {
    guard_ = nullptr;
    if (db_ == nullptr) return;
    cache_.clear();
    ::sqlite3_busy_handler(db_, nullptr, nullptr);
    ::sqlite3_progress_handler(db_, 0, nullptr, nullptr);
    if (owned_) ::sqlite3_close_v2(db_);
    db_ = nullptr;
}

inline error sqlite_connection::control(std::string_view sql) {
    ended_by_ = errc::ok;
    const hash128 key = hash_text(sql);
    error e;
    detail::cached_statement* s = cache_.take(key);
    if (s == nullptr) s = prepare(key, sql, nullptr, true, e);
    if (s == nullptr) return e;
    const bool was_in_transaction = in_transaction();
    uninterruptible_ = true;
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = ::sqlite3_step(s->handle);
    uninterruptible_ = false;
    if (code != SQLITE_DONE) [[unlikely]] {
        detail::sqlite_circumstances what;
        what.code = code;
        const bool commit = ::sqlite3_strnicmp(::sqlite3_sql(s->handle), "commit", 6) == 0;
        what.at = commit ? phase::commit : phase::execute;
        what.commits = commit || (!was_in_transaction && !s->reads_only);
        what.was_in_transaction = was_in_transaction;
        what.sent = sql;
        e = error_of(what);
    }
    ::sqlite3_reset(s->handle);
    detail::statement_cache::give_back(s);
    return e;
}

inline health sqlite_connection::tidy() noexcept {
    guard_ = nullptr;
    if (db_ == nullptr) return health::lost;
    if (!in_transaction()) return health::good;
    try {
        const error e = control("rollback");
        return in_transaction() || e.health() == health::lost ? health::lost : health::good;
    } catch (...) {  // no memory for the error's texts
        return health::lost;
    }
}

/// Prepares a text that is not in the cache: the slow path of every use. Null, with the error set, when it is not right.
/// With `rest`, the text may hold more statements: the first is prepared and `rest` is what follows it.
STRATA_COLD inline detail::cached_statement* sqlite_connection::prepare(const hash128& key, std::string_view sent, const descriptor* what,
                                                                        bool keep, error& e, std::string_view* rest) {
    const std::string_view written = what != nullptr ? what->text : sent;
    const auto refuse = [&](std::string message) {
        e = detail::bad_statement(std::move(message), written);
        return nullptr;
    };
    if (sent.find('\0') != sent.npos) return refuse("the statement contains a NUL character");
    if (sent.size() > 0x7ffffff0) return refuse("the statement is longer than 2 GiB");
    struct prepared {
        ::sqlite3_stmt* handle = nullptr;
        ~prepared() { ::sqlite3_finalize(handle); }
    } fresh;
    const std::string_view whole = what != nullptr ? what->sqlite_text : sent;
    while (fresh.handle == nullptr && !sent.empty()) {  // once, but for leading semicolons and comments
        const char* tail = nullptr;
        const unsigned flags = keep ? SQLITE_PREPARE_PERSISTENT : 0;
        const int code = ::sqlite3_prepare_v3(db_, sent.data(), static_cast<int>(sent.size()), flags, &fresh.handle, &tail);
        if (code != SQLITE_OK) {
            detail::sqlite_circumstances why;
            why.code = code;
            why.at = phase::prepare;
            why.was_in_transaction = in_transaction();
            why.written = written;
            why.sent = whole;
            why.sent_from = static_cast<std::size_t>(sent.data() - whole.data());
            e = error_of(why);
            return nullptr;
        }
        sent.remove_prefix(static_cast<std::size_t>(tail - sent.data()));
    }
    if (fresh.handle == nullptr) return refuse("the statement is empty");
    if (rest != nullptr) *rest = sent;
    else if (!detail::is_blank_sql(sent)) return refuse("the text holds more than one statement");
    const int parameters = ::sqlite3_bind_parameter_count(fresh.handle);
    const int known = what != nullptr ? what->parameters : 0;
    if (parameters != known) {
        return refuse(detail::joined(
            {"SQLite counts ", detail::digits_of(parameters), " parameters where ", detail::digits_of(known), " are bound"}));
    }
    auto* const s = new detail::cached_statement;
    s->key = key;
    s->handle = std::exchange(fresh.handle, nullptr);
    s->reads_only = ::sqlite3_stmt_readonly(s->handle) != 0;
    s->has_star = std::string_view{::sqlite3_sql(s->handle)}.find('*') != std::string_view::npos;
    s->inserts = detail::inserts_rows(::sqlite3_sql(s->handle));
    return cache_.put(s, keep);
}

}  // namespace strata::inline STRATA_ABI

#endif
