// How a connection comes about: the target read, names looked up where that disturbs nobody, libpq's steps taken as the socket allows.
//
// Looking up a name may take as long as it likes, and libpq does it inside its calls. So where there is a name, it is left to a
// thread of its own, for which nobody waits beyond the bound. One host: that thread only begins. Several: each may be looked up at any
// step, so that thread goes through all of them.
#ifndef STRATA_DRIVER_POSTGRES_CONNECT_HPP
#define STRATA_DRIVER_POSTGRES_CONNECT_HPP

#include <strata/core/futex.hpp>
#include <strata/driver/postgres/options.hpp>
#include <strata/driver/postgres/wire.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

/// libpq's calls that begin to connect, on a thread of their own.
class postgres_dialling {
public:
    /// `to_the_end`: until there is a connection, or none can be had, or `until`.
    STRATA_COLD postgres_dialling(postgres_target target, bool to_the_end, time_point until)
        : shared_(std::make_shared<shared>(std::move(target))) {
        std::thread([s = shared_, to_the_end, until] {
            PGconn* c = nullptr;
            try {
                c = s->target.start();
            } catch (...) {  // no memory
            }
            if (c != nullptr && to_the_end) walk(c, *s, until);
            s->made = c;
            if (s->at.exchange(ended, std::memory_order_acq_rel) == abandoned)
                ::PQfinish(c);
            else
                futex_wake_one(&s->at);
        }).detach();
    }
    postgres_dialling(const postgres_dialling&) = delete;
    postgres_dialling& operator=(const postgres_dialling&) = delete;
    ~postgres_dialling() {
        if (shared_->at.exchange(abandoned, std::memory_order_acq_rel) == ended) ::PQfinish(shared_->made);
    }

    /// Blocks until it has ended, and then hands over what there is in `c`; false when the time is up, or `i` is cancelled.
    [[nodiscard]] STRATA_COLD bool wait(const interruption* i, time_point until, PGconn*& c) noexcept {
        constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
        while (shared_->at.load(std::memory_order_acquire) == under_way) {
            const time_point now = clock::now();
            if (now >= until || (i != nullptr && i->is_cancelled())) return false;
            futex_wait(shared_->at, under_way, std::min(until, add_saturated(now, slice)));
        }
        c = std::exchange(shared_->made, nullptr);
        return true;
    }

private:
    static constexpr std::uint32_t under_way = 0, ended = 1, abandoned = 2;
    struct shared {
        explicit shared(postgres_target t) : target(std::move(t)) {}
        postgres_target target;
        PGconn* made = nullptr;  // belongs to the second of the two to leave, unless it was handed over
        std::atomic<std::uint32_t> at{under_way};
    };

    static void walk(PGconn* c, const shared& s, time_point until) noexcept {
        for (PostgresPollingStatusType p = PGRES_POLLING_WRITING; p == PGRES_POLLING_WRITING || p == PGRES_POLLING_READING;) {
            if (::PQstatus(c) == CONNECTION_BAD) return;
            if (clock::now() >= until || s.at.load(std::memory_order_relaxed) == abandoned) return;
            ::pollfd d{::PQsocket(c), static_cast<short>(p == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
            if (::poll(&d, 1, 10) != 0) p = ::PQconnectPoll(c);
        }
    }

    std::shared_ptr<shared> shared_;
};

/// A connection that is being opened.
class postgres_connecting {
public:
    [[nodiscard]] STRATA_COLD error read(const postgres_options& o, const interruption* guard) {
        if (error e = target_.read(o)) return e;
        until_ = add_saturated(clock::now(), o.connect_timeout);
        if (guard != nullptr && guard->deadline < until_) until_ = guard->deadline;
        return {};
    }

    /// Begins, once; then it may block up to the bound. False when it was begun before.
    STRATA_COLD bool begin(postgres_wire& w) {
        if (std::exchange(begun_, true)) return false;
        const postgres_target::look_up names = target_.names();
        if (names == postgres_target::look_up::none) {
            w.db_ = target_.start();
            return true;
        }
        const bool several = names == postgres_target::look_up::several;
        postgres_dialling thread{target_, several, until_};
        late_ = !thread.wait(w.guard_, until_, w.db_);
        if (several && w.db_ != nullptr) {
            if (::PQstatus(w.db_) == CONNECTION_OK)
                next_ = PGRES_POLLING_OK;
            else
                late_ = ::PQstatus(w.db_) != CONNECTION_BAD;
        }
        return true;
    }
    [[nodiscard]] STRATA_COLD signal step(postgres_wire& w, error& e) {
        if (late_) return give_up(w, e);
        for (;;) {
            if (w.db_ == nullptr || ::PQstatus(w.db_) == CONNECTION_BAD || next_ == PGRES_POLLING_FAILED) {
                e = make_connection_error(w.db_, errc::cannot_connect, phase::connect, effect::none);
                return signal::failed;
            }
            if (next_ == PGRES_POLLING_OK) return signal::done;
            const bool writes = next_ == PGRES_POLLING_WRITING;
            if (w.yields_ && !w.is_ready(writes)) {
                if (is_over(w)) return give_up(w, e);
                w.awaited_ = {::PQsocket(w.db_), writes, until_};
                return signal::io;
            }
            if (!w.yields_ && !w.poll_until(!writes, writes, until_)) return give_up(w, e);
            next_ = ::PQconnectPoll(w.db_);
        }
    }

    /// Adds to the error where it was to go.
    STRATA_COLD void name_target(error& e) const {
        const std::string_view host = target_.value("host");
        const std::string_view database = target_.value("dbname");
        if (!host.empty() || !database.empty()) e.edit_texts().detail = joined({"host \"", host, "\", database \"", database, "\""});
    }

private:
    [[nodiscard]] bool is_over(const postgres_wire& w) const noexcept {
        return (w.guard_ != nullptr && w.guard_->is_cancelled()) || clock::now() >= until_;
    }
    [[nodiscard]] static signal give_up(const postgres_wire& w, error& e) {
        const bool cancelled = w.guard_ != nullptr && w.guard_->is_cancelled();
        e = error{cancelled ? errc::cancelled : errc::timeout, cancelled ? "cancelled while connecting" : "connecting took too long",
                  phase::connect};
        return signal::failed;
    }

    postgres_target target_;
    time_point until_ = never;
    PostgresPollingStatusType next_ = PGRES_POLLING_WRITING;
    bool begun_ = false;
    bool late_ = false;  // the time was up before there was anything to poll
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
