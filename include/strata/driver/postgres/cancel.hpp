// Cancels on the server, each on a thread of its own: a cancel opens a second connection, and may meet a network that swallows it.
//
// A cancel that the server gets before the statement does is ignored, so one may not be enough; but never two at once, and the fence
// waits for the last: when its connection has ended, no signal of any of them is still to come.
#ifndef STRATA_DRIVER_POSTGRES_CANCEL_HPP
#define STRATA_DRIVER_POSTGRES_CANCEL_HPP

#include <strata/core/time.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

namespace strata::inline STRATA_ABI::detail {

#ifdef LIBPQ_HAS_ASYNC_CANCEL
/// libpq 17 and newer: encrypted where the connection is, and ended at the bound.
struct cancel_request {
    static constexpr auto release = &::PQcancelFinish;
    [[nodiscard]] static ::PGcancelConn* of(PGconn* c) noexcept { return ::PQcancelCreate(c); }
    static void send(::PGcancelConn* c, time_point until) noexcept {
        if (::PQcancelStart(c) == 0) return;
        for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING;) {
            const duration left = until - clock::now();
            if (left <= duration::zero()) return;
            ::pollfd p{::PQcancelSocket(c), static_cast<short>(s == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
            const auto most = std::min<duration>(left, std::chrono::seconds{1}) / std::chrono::milliseconds{1};
            if (::poll(&p, 1, static_cast<int>(most) + 1) != 0) s = ::PQcancelPoll(c);
        }
    }
};
#else
/// Unencrypted, and it lasts as long as the network makes it last.
struct cancel_request {
    static constexpr auto release = &::PQfreeCancel;
    [[nodiscard]] static ::PGcancel* of(PGconn* c) noexcept { return ::PQgetCancel(c); }
    static void send(::PGcancel* c, time_point) noexcept {
        char why[256];
        ::PQcancel(c, why, sizeof why);
    }
};
#endif

/// The cancels of one connection.
class postgres_cancels {
public:
    /// Sends one, unless the last is still under way or there is no memory for it; it ends by `until` where libpq can bound it.
    STRATA_COLD void send(PGconn* connection, time_point until) noexcept {
        if (!have_ended()) return;
        const auto request = cancel_request::of(connection);
        if (request == nullptr) return;
        try {
            auto ended = std::make_shared<std::atomic<bool>>(false);
            std::thread([request, until, ended] {
                cancel_request::send(request, until);
                cancel_request::release(request);
                ended->store(true, std::memory_order_release);
            }).detach();  // whoever waits for the statement does so under a bound, and does not wait for this
            ended_ = std::move(ended);
        } catch (...) {
            cancel_request::release(request);  // no thread: the bound for the result ends the connection
        }
    }
    [[nodiscard]] bool have_ended() const noexcept { return ended_ == nullptr || ended_->load(std::memory_order_acquire); }
    void forget() noexcept { ended_ = nullptr; }

private:
    std::shared_ptr<std::atomic<bool>> ended_;  // set by the thread that sends
};

}  // namespace strata::inline STRATA_ABI::detail

#endif
