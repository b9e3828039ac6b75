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
#include <cstdint>
#include <memory>
#include <thread>

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
    postgres_cancels() noexcept = default;
    postgres_cancels(const postgres_cancels&) = delete;
    postgres_cancels& operator=(const postgres_cancels&) = delete;
    ~postgres_cancels() { forget(); }

    /// Sends one, unless the last is still under way or there is no memory for it; it ends by `until` where libpq can bound it.
    STRATA_COLD void send(PGconn* connection, time_point until) noexcept {
        if (!have_ended()) return;
        forget();
        const auto request = cancel_request::of(connection);
        if (request == nullptr) return;
        try {
            auto sent = std::make_unique<std::atomic<stage>>(stage::under_way);
            std::thread([request, until, here = sent.get()] {
                cancel_request::send(request, until);
                cancel_request::release(request);
                if (here->exchange(stage::ended, std::memory_order_acq_rel) == stage::forgotten) delete here;
            }).detach();  // whoever waits for the statement does so under a bound, and does not wait for this
            sent_ = sent.release();
        } catch (...) {
            cancel_request::release(request);  // no thread: the bound for the result ends the connection
        }
    }
    [[nodiscard]] bool have_ended() const noexcept { return sent_ == nullptr || sent_->load(std::memory_order_acquire) == stage::ended; }
    /// What is under way ends without us.
    void forget() noexcept {
        if (sent_ != nullptr && sent_->exchange(stage::forgotten, std::memory_order_acq_rel) == stage::ended) delete sent_;
        sent_ = nullptr;
    }

private:
    enum class stage : std::uint8_t { under_way, ended, forgotten };

    std::atomic<stage>* sent_ = nullptr;  // shared with the thread that sends: the second of the two to leave deletes it
};

}  // namespace strata::inline STRATA_ABI::detail

#endif
