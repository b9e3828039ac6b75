// A connection that does nothing but listen: opened by a thread that may block, read by one that may not.
//
// A network that goes silent tells nobody, so a statement of no words is sent now and then, whose answer must come.
#ifndef STRATA_DRIVER_POSTGRES_LISTENING_HPP
#define STRATA_DRIVER_POSTGRES_LISTENING_HPP

#include <strata/driver/postgres/connection.hpp>
#include <strata/sql/identifier.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <chrono>
#include <span>
#include <string>

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
