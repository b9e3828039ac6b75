// Generated from include/strata/async/listener.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_LISTENER_HPP
#define STRATA_SINGLE_ASYNC_LISTENER_HPP

#include <strata/strata.hpp>
#include <strata/async.hpp>
#include <strata/driver/postgres.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

// A connection that does nothing but listen: opened by a thread that may block, read by one that may not.
//
// A network that goes silent tells nobody, so a statement of no words is sent now and then, whose answer must come.
#ifndef STRATA_DRIVER_POSTGRES_LISTENING_HPP
#define STRATA_DRIVER_POSTGRES_LISTENING_HPP

namespace strata::inline STRATA_ABI {

/// What a listener hears.
struct notification {
    /// True: no notification, but the news that the connection was lost and listens again. What was sent meanwhile is missing, so whoever
    /// keeps a copy of something should read it anew.
    bool missed = false;
    std::string channel;
    std::string payload;
    int sender = 0;  ///< the server process that sent it, as `pg_backend_pid()` there tells
};

/// Options of a listener.
struct listener_options {
    duration base = std::chrono::milliseconds{10};    ///< bound of the first pause before connecting anew; doubles with each failure
    duration cap = std::chrono::seconds{5};           ///< bound of every pause; each is random between 0 and its bound
    duration check_every = std::chrono::seconds{30};  ///< how often the connection is tried while nothing is heard
    duration check_limit = std::chrono::seconds{10};  ///< how long the server may take to answer that

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* field, const char* why) {
            return error{errc::invalid_argument, detail::joined({"listener_options.", field, ": ", why}), phase::admission};
        };
        if (base < duration::zero()) return bad("base", "must not be negative");
        if (cap < base) return bad("cap", "must not be less than base");
        if (check_every <= duration::zero()) return bad("check_every", "must be positive");
        if (check_limit <= duration::zero()) return bad("check_limit", "must be positive");
        return {};
    }
};

namespace detail {

/// The text that listens to all of them; an error for a name that the server could not keep.
[[nodiscard]] STRATA_COLD inline error listen_text(std::span<const std::string> channels, std::string& text) {
    constexpr std::size_t longest = 63;  // NAMEDATALEN - 1: LISTEN would cut it, and NOTIFY refuse it
    for (const std::string& channel : channels) {
        const identifier name{channel};
        if (!name.valid() || channel.size() > longest)
            return error{errc::invalid_argument, joined({"\"", channel, "\" is no channel: its name has 1 to 63 bytes, none of them NUL"}),
                         phase::admission};
        text.append(text.empty() ? "listen " : "; listen ").append(name.quoted());
    }
    if (text.empty()) return error{errc::invalid_argument, "a listener needs a channel", phase::admission};
    return {};
}

/// Used by one thread at a time.
class postgres_listening {
public:
    enum class found : std::uint8_t { message, nothing, lost };

    [[nodiscard]] bool is_open() const noexcept { return connection_.is_open(); }
    void close() noexcept { connection_.close(); }
    [[nodiscard]] watch_place& watch() noexcept { return connection_.watch(); }
    /// Ends a wait for the descriptor. From any thread.
    void interrupt() noexcept { connection_.interrupt(); }

    /// Connects, and runs `text`. Blocks; `i` ends it early.
    [[nodiscard]] STRATA_COLD error open(const postgres_options& o, const std::string& text, const listener_options& how,
                                         const interruption* i) {
        error e = connection_.open(o, 0, i);
        if (!e) e = connection_.control(text);
        connection_.guard(nullptr);
        if (e)
            connection_.close();
        else
            answered(how);
        return e;
    }

    /// Never blocks. After `nothing`, wait for `awaited()` and ask again.
    [[nodiscard]] found take(notification& out, const listener_options& how) {
        PGconn* const db = connection_.native_handle();
        if (pop(db, out)) return found::message;
        const bool alive = ::PQconsumeInput(db) != 0 && ::PQstatus(db) == CONNECTION_OK;
        if (pop(db, out)) return found::message;
        if (!alive || !check(db, how)) return found::lost;
        const int unsent = ::PQflush(db);
        if (unsent < 0) return found::lost;
        awaited_ = {::PQsocket(db), unsent > 0, due_};
        return found::nothing;
    }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }

private:
    [[nodiscard]] static bool pop(PGconn* db, notification& out) {
        const std::unique_ptr<PGnotify, void (*)(void*)> n{::PQnotifies(db), &::PQfreemem};
        if (n == nullptr) return false;
        out.channel = n->relname;
        out.payload = n->extra;
        out.sender = n->be_pid;
        return true;
    }
    void answered(const listener_options& how) noexcept {
        checking_ = false;
        due_ = add_saturated(steady_now(), how.check_every);
    }
    /// Asks when it is time to, and takes the answer; false when it does not come.
    [[nodiscard]] bool check(PGconn* db, const listener_options& how) noexcept {
        while (checking_ && ::PQisBusy(db) == 0) {
            const result_owner r{::PQgetResult(db)};
            if (r == nullptr) answered(how);
        }
        if (steady_now() < due_) return true;
        if (checking_ || ::PQsendQuery(db, "") == 0) return false;
        checking_ = true;
        due_ = add_saturated(steady_now(), how.check_limit);
        return true;
    }

    postgres_connection connection_;
    io_wait awaited_;
    time_point due_ = never;  // of the next check, or of its answer
    bool checking_ = false;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// PostgreSQL's LISTEN as an asynchronous stream, which outlives its connections and tells when it may have missed something.
//
//   strata::listener changes{adb, "accounts"};
//   for (;;) {
//       const strata::notification n = co_await changes.async_next();
//       if (n.missed) cache.clear(); else cache.erase(n.payload);
//   }
//
// It has a connection of its own beside the pool, and waits for its descriptor as statements do: no thread is blocked, but by connecting.
#ifndef STRATA_ASYNC_LISTENER_HPP
#define STRATA_ASYNC_LISTENER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What lies between the calls.
class listener_state {
public:
    listener_state(const postgres_options& target, std::string text, const listener_options& o)
        : how(o), target_(target), text_(std::move(text)) {}

    /// A call begins to work on the connection; `w` wakes it. False when another does already.
    [[nodiscard]] bool enter(waker* w) noexcept {
        hold guard(lock_);
        if (busy_) return false;
        busy_ = true;
        if (w != nullptr) w->retain();
        waker_ = w;
        return true;
    }
    void leave() noexcept {
        hold guard(lock_);
        busy_ = false;
        if (waker_ != nullptr) std::exchange(waker_, nullptr)->release();
        if (closed_) line.close();
    }
    /// From any thread.
    void close() noexcept {
        if (is_forked_child()) return;
        hold guard(lock_);
        closed_ = true;
        if (!busy_) return line.close();
        line.interrupt();
        if (waker_ != nullptr) waker_->wake();
        stop_.cancelled.store(true, std::memory_order_relaxed);
    }
    /// The connection is the parent's: it is left alone.
    [[nodiscard]] bool is_forked_child() const noexcept { return process_.is_forked_child(); }
    [[nodiscard]] bool is_closed() noexcept {
        hold guard(lock_);
        return closed_;
    }

    /// By the call at work. Blocks; `i` ends it, and so does `close`.
    [[nodiscard]] error connect(interruption& i) {
        i.outer = &stop_;
        interruption bounded{add_saturated(steady_now(), target_.connect_timeout)};
        bounded.outer = &i;
        error e = line.open(target_, text_, how, &bounded);
        if (e) return failed(), e;
        gap = std::exchange(was_open_, true) || gap;
        opened_at_ = steady_now();
        return {};
    }
    /// The connection is gone. One that has lived for long begins with short pauses again.
    void lost() noexcept {
        line.close();
        if (steady_now() - opened_at_ > how.cap) failures_ = 0;
        failed();
    }
    [[nodiscard]] bool was_open() const noexcept { return was_open_; }
    [[nodiscard]] time_point not_before() const noexcept { return not_before_; }

    const listener_options how;
    postgres_listening line;
    bool gap = false;  // to be told

private:
    void failed() noexcept {
        duration bound = how.base;
        for (unsigned n = failures_; n > 0 && bound < how.cap; --n) bound = bound <= how.cap / 2 ? bound * 2 : how.cap;
        if (failures_ < 64) ++failures_;
        const moment now = world_.moment();
        not_before_ = add_saturated(now.now, duration{static_cast<duration::rep>(now.random_unit() * static_cast<double>(bound.count()))});
    }

    const postgres_options target_;
    const std::string text_;
    const fork_guard process_;
    inline_lock lock_;
    bool closed_ = false;
    bool busy_ = false;
    waker* waker_ = nullptr;
    interruption stop_;  // of whoever connects
    system_world world_;
    unsigned failures_ = 0;  // to connect, or of short-lived connections, in a row
    time_point not_before_{};
    time_point opened_at_{};
    bool was_open_ = false;
};

/// Drives a listener to its next event; or, where the form is void, until it listens.
template <class Form>
class listener_job {
public:
    using form = Form;
    static constexpr bool connects_only = std::is_void_v<typename Form::value>;

    explicit listener_job(std::shared_ptr<listener_state> s) noexcept : state_(std::move(s)) {}
    listener_job(const listener_job&) = delete;
    listener_job& operator=(const listener_job&) = delete;
    ~listener_job() { leave(); }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return *this; }
    [[nodiscard]] need start() {
        if (state_->is_forked_child())
            return end(error{errc::misuse, "this process was forked after the listener was made: make one of its own", phase::admission});
        mine_ = state_->enter(op_.waking());
        if (!mine_) return end(error{errc::misuse, "the listener was called while the call before is still on its way", phase::admission});
        return look();
    }
    [[nodiscard]] need resume() {
        if (std::exchange(connecting_, false)) {
            error e = state_->connect(op_);
            if (e && !state_->was_open() && !is_stopped()) return end(std::move(e));
        }
        return look();
    }
    [[nodiscard]] time_point parked_until() const noexcept { return state_->not_before(); }
    [[nodiscard]] io_wait awaited() noexcept {
        io_wait w = state_->line.awaited();
        // A `close` before the descriptor is watched would nudge nobody: the first wait only makes the watch, and then all is looked at
        // again.
        if (state_->line.watch().get() == nullptr) w.until = steady_now();
        return w;
    }
    [[nodiscard]] watch_place& watch() noexcept { return state_->line.watch(); }

    [[nodiscard]] answer<Form> take_result() {
        leave();
        answer<Form> a;
        a.failed = std::move(failed_);
        if constexpr (!connects_only)
            if (!a.failed) a.value.emplace(std::move(heard_));
        return a;
    }

private:
    [[nodiscard]] bool is_stopped() const noexcept { return op_.is_cancelled() || state_->is_closed(); }
    [[nodiscard]] need end(error e) {
        failed_ = std::move(e);
        return need::done;
    }
    void leave() noexcept {
        if (std::exchange(mine_, false)) state_->leave();
    }

    [[nodiscard]] need look() {
        listener_state& s = *state_;
        for (;;) {
            if (s.is_closed()) return end(error{errc::shutting_down, "the listener was closed", phase::admission});
            if (op_.is_cancelled()) return end(error{errc::cancelled, phase::execute});
            if (!s.line.is_open()) {
                if (steady_now() < s.not_before()) return need::park;
                connecting_ = true;
                return need::work;
            }
            if constexpr (connects_only) return need::done;
            if (std::exchange(s.gap, false)) {
                heard_.missed = true;
                return need::done;
            }
            switch (s.line.take(heard_, s.how)) {
                case postgres_listening::found::message:
                    return need::done;
                case postgres_listening::found::nothing:
                    return need::io;
                case postgres_listening::found::lost:
                    s.lost();
                    break;
            }
        }
    }

    std::shared_ptr<listener_state> state_;
    operation_base op_;
    notification heard_;
    error failed_;
    bool mine_ = false;
    bool connecting_ = false;
};

}  // namespace detail

/// Listens to channels of a PostgreSQL database. One call at a time; `close` from any thread. What arrives between two calls waits in the
/// connection, and on the server when that is full: whoever listens should go on reading. Notifications of one sender come in their order.
///
/// The first call connects, and fails when it cannot; from then on a lost connection is made anew, after random pauses that grow, for as
/// long as it takes, and the next event is one with `missed` set. A call that was cancelled has taken nothing, and the next one goes on.
/// Errors: `cannot_connect` and its like from the first connect, `cancelled`, `shutting_down` after `close`, `misuse` for two calls at
/// once.
class listener {
public:
    /// Options and work threads are those of `db`, an asynchronous face; the database may end before. Connects to nothing yet. Channel
    /// names are taken as they are, as if quoted in SQL. Throws `failure` (`invalid_argument`) for one of no or more than 63 bytes.
    template <class Stack, class World>
    listener(const async_database<Stack, World>& db, std::vector<std::string> channels, const listener_options& o = {})
        : world_(db.world()) {
        static_assert(std::is_same_v<typename async_database<Stack, World>::driver, postgres>,
                      "strata: only PostgreSQL has LISTEN: the stack of this database ends in another driver");
        std::string text;
        error e = o.validate();
        if (!e) e = detail::listen_text(channels, text);
        if (e) throw_failure(std::move(e));
        state_ = std::make_shared<detail::listener_state>(*db.shared_runtime()->connections().target(), std::move(text), o);
    }
    template <class Stack, class World>
    listener(const async_database<Stack, World>& db, std::string_view channel, const listener_options& o = {})
        : listener(db, std::vector<std::string>{std::string{channel}}, o) {}
    listener(listener&&) noexcept = default;
    listener& operator=(listener&& other) noexcept {
        std::swap(state_, other.state_);
        std::swap(world_, other.world_);
        return *this;
    }
    ~listener() {
        close();
        if (state_ != nullptr && state_->is_forked_child())
            static_cast<void>(new std::shared_ptr<detail::listener_state>(std::move(state_)));
    }

    /// Connects if need be, and completes when the server listens: what is sent from then on is heard. `void(std::exception_ptr)`.
    template <class Token = detail::default_token>
    auto async_listen(Token&& token = {}) {
        return start<detail::throwing<void>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<void>)`.
    template <class Token = detail::default_token>
    auto async_try_listen(Token&& token = {}) {
        return start<detail::trying<void>>(std::forward<Token>(token));
    }
    /// The next notification, or the news that some may be missing. `void(std::exception_ptr, notification)`.
    template <class Token = detail::default_token>
    auto async_next(Token&& token = {}) {
        return start<detail::throwing<notification>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<notification>)`.
    template <class Token = detail::default_token>
    auto async_try_next(Token&& token = {}) {
        return start<detail::trying<notification>>(std::forward<Token>(token));
    }

    /// Ends the call that is under way, and the connection. Idempotent; also done by the destructor.
    void close() noexcept {
        if (state_ != nullptr) state_->close();
    }

private:
    template <class Form, class Token>
    auto start(Token&& token) {
        return detail::start<detail::listener_job<Form>>(world_, std::forward<Token>(token), state_);
    }

    std::shared_ptr<detail::listener_state> state_;
    asio_world world_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
