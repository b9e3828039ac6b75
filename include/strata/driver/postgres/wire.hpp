// libpq's handle of one connection: how answers are waited for, and how what runs on it is cancelled.
//
// Whatever is asked of the server is heard in steps: a step blocks where the thread may, and answers `signal::io` where the drive
// waits for the descriptor. Each step looks at the guard: at a deadline or a cancel the call is cancelled on the server, and the
// connection is used again only behind a fence, so that a late cancel cannot hit the next call.
#ifndef STRATA_DRIVER_POSTGRES_WIRE_HPP
#define STRATA_DRIVER_POSTGRES_WIRE_HPP

#include <strata/core/interruption.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/time.hpp>
#include <strata/core/watch.hpp>
#include <strata/driver/postgres/cancel.hpp>
#include <strata/driver/postgres/error.hpp>
#include <strata/driver/postgres/statement_cache.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

/// One question to the server, and what came back.
struct postgres_round {
    result_owner last{};  // of its results; the first error, if there was one
    bool under_way = false;
    bool sent = false;
    bool failed = false;   // `last` is the server's error
    bool was_hit = false;  // by our own cancel
};

/// Used by one thread at a time.
class postgres_wire {
public:
    postgres_wire() noexcept = default;
    postgres_wire(const postgres_wire&) = delete;
    postgres_wire& operator=(const postgres_wire&) = delete;

    /// Or left in the middle of a round by a call that was destroyed.
    [[nodiscard]] bool is_lost() const noexcept { return lost_ || round_.under_way || db_ == nullptr || ::PQstatus(db_) != CONNECTION_OK; }
    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept {
        if (db_ == nullptr) return false;
        const PGTransactionStatusType s = ::PQtransactionStatus(db_);
        return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
    }

    /// Before each call. `limit` bounds it where no guard does.
    void start_the_clock(duration limit = duration::max()) noexcept {
        ended_by_ = errc::ok;
        waiting_ = fencing_ = false;
        give_up_at_ = guard_ == nullptr && limit != duration::max() ? add_saturated(clock::now(), limit) : never;
    }
    /// The next result in `r`, null at the end of a statement; or `io`. `lost_` says when there will be none.
    [[nodiscard]] signal next(result_owner& r);
    /// The same, blocking.
    [[nodiscard]] result_owner next_result();

    /// Begins a round whose question was sent; 0: it could not be.
    void ask(int sent) noexcept {
        round_ = {.under_way = true, .sent = sent != 0};
        if (sent == 0) lost_ = true;
    }
    /// Goes on with it: `io` or `work` where the drive waits; `done`, or `failed` when the server or the connection failed.
    [[nodiscard]] signal hear();

    /// After a call that may have been cancelled: `work` before it blocks where that is not allowed, `done` when the connection can
    /// be used again or is lost. `was_hit`: the cancel has ended the call.
    [[nodiscard]] signal fence(bool was_hit) noexcept;

    /// Blocks until the descriptor is ready for what is asked, looking at the flag of the guard meanwhile.
    [[nodiscard]] bool poll_until(bool read, bool write, time_point until) noexcept;
    [[nodiscard]] bool is_ready(bool write) const noexcept {
        ::pollfd p{::PQsocket(db_), static_cast<short>(write ? POLLOUT : POLLIN), 0};
        return ::poll(&p, 1, 0) != 0;
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
    [[nodiscard]] error lost_error(phase at, effect did) const;
    /// The error of a result; what that says of the connection is kept.
    [[nodiscard]] STRATA_COLD error error_of(const PGresult* r, phase at, std::string_view written, std::string_view sent) {
        error e = make_postgres_error(db_, r, at, written, sent);
        farewell_ = farewell_ || e.health() == health::all_lost;
        return e;
    }

    PGconn* db_ = nullptr;
    const interruption* guard_ = nullptr;
    duration cancel_grace_{};
    time_point give_up_at_ = never;
    time_point cancel_again_at_ = never;
    duration cancel_pause_{};
    errc ended_by_ = errc::ok;  // set when a call is being cancelled, cleared when one begins
    bool lost_ = false;
    bool farewell_ = false;  // the server goes down, or has become a standby
    bool yields_ = false;    // the drive waits for the descriptor
    bool waiting_ = false;   // it was told to
    bool fencing_ = false;   // the result is complete; a thread that may block waits for the cancel's end
    io_wait awaited_;
    watch_place watch_;
    postgres_cancels cancels_;
    postgres_round round_;

private:
    enum class waited : std::uint8_t { ready, lost, out_of_time, not_yet };

    /// Sends what is left and waits until a result can be taken without blocking.
    [[nodiscard]] waited wait_for_result();
    /// The same where the drive waits: `not_yet` with `awaited_` set.
    [[nodiscard]] waited look_for_result();
    /// Blocks. Waits until the cancel's own connection has ended, since the server signals twice, to process and to group, and the
    /// second signal may come long after the first; and if the call was not hit, lets a late signal hit an empty one.
    void raise_fence(bool was_hit) noexcept;
};

inline bool postgres_wire::poll_until(bool read, bool write, time_point until) noexcept {
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

inline postgres_wire::waited postgres_wire::wait_for_result() {
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

inline postgres_wire::waited postgres_wire::look_for_result() {
    if (std::exchange(waiting_, false) && ::PQconsumeInput(db_) == 0) return waited::lost;
    const int unsent = ::PQflush(db_);
    if (unsent < 0) return waited::lost;
    if (unsent == 0 && ::PQisBusy(db_) == 0) return waited::ready;
    if (!look_at_guard()) return waited::out_of_time;
    awaited_ = {::PQsocket(db_), unsent > 0, look_again_at()};
    if (unsent > 0) {  // the server may want to be read from before it reads on
        const time_point soon = clock::now() + std::chrono::milliseconds{5};
        if (soon < awaited_.until) awaited_.until = soon;
    }
    waiting_ = true;
    return waited::not_yet;
}

inline result_owner postgres_wire::next_result() {
    if (lost_) return nullptr;
    if (wait_for_result() != waited::ready) {
        lost_ = true;
        return nullptr;
    }
    result_owner r{::PQgetResult(db_)};
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return r;
}

inline signal postgres_wire::next(result_owner& r) {
    if (!yields_) {
        r = next_result();
        return signal::done;
    }
    if (lost_) return signal::done;
    switch (look_for_result()) {
        case waited::not_yet:
            return signal::io;
        case waited::ready:
            r.reset(::PQgetResult(db_));
            break;
        default:
            lost_ = true;
            break;
    }
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return signal::done;
}

STRATA_COLD inline signal postgres_wire::hear() {
    while (!fencing_) {
        result_owner r;
        if (next(r) == signal::io) return signal::io;
        if (r == nullptr) break;
        if (round_.failed) continue;
        const ExecStatusType s = ::PQresultStatus(r.get());
        round_.failed = s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
        round_.was_hit = round_.failed && ended_by_ != errc::ok && field_of(r.get(), PG_DIAG_SQLSTATE) == "57014";
        round_.last = std::move(r);
    }
    if (fence(round_.was_hit) == signal::work) return signal::work;
    round_.under_way = false;
    return round_.failed || lost_ ? signal::failed : signal::done;
}

inline signal postgres_wire::fence(bool was_hit) noexcept {
    if (ended_by_ == errc::ok || lost_) [[likely]]
        return signal::done;
    if (yields_ && (!was_hit || !cancels_.have_ended()) && !std::exchange(fencing_, true)) return signal::work;
    const bool yields = std::exchange(yields_, false);
    raise_fence(was_hit);
    yields_ = yields;
    fencing_ = false;
    return signal::done;
}

inline bool postgres_wire::look_at_guard() noexcept {
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

STRATA_COLD inline void postgres_wire::begin_to_cancel(errc why) noexcept {
    ended_by_ = why;
    const time_point now = clock::now();
    give_up_at_ = add_saturated(now, cancel_grace_);
    cancel_pause_ = cancel_grace_ / 64;
    cancel_again_at_ = add_saturated(now, cancel_pause_);
    cancels_.send(db_, give_up_at_);
}

STRATA_COLD inline void postgres_wire::raise_fence(bool was_hit) noexcept {
    give_up_at_ = add_saturated(clock::now(), cancel_grace_);
    cancel_again_at_ = never;
    for (; !lost_ && !cancels_.have_ended(); std::this_thread::sleep_for(std::chrono::microseconds{200}))
        lost_ = clock::now() >= give_up_at_;
    if (lost_ || was_hit) return;
    // The cancel may still be on its way: whatever it hits now is empty.
    if (::PQsendQuery(db_, "") == 0) lost_ = true;
    while (next_result() != nullptr) {
    }
}

STRATA_COLD inline error postgres_wire::lost_error(phase at, effect did) const {
    if (ended_by_ != errc::ok) {
        error e{ended_by_, "the server did not answer in time; the connection was given up", at, did};
        return e.set(health::lost);
    }
    return make_connection_error(db_, errc::connection_lost, at, did);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
