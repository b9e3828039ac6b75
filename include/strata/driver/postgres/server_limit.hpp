// `statement_timeout`: what the server is told of a call's deadline, for a client that dies or is cut off cancels nothing.
//
// The time that is left is rounded up to the next power of two of milliseconds, so that calls of one kind ask for one value, and it is sent
// only when it differs from what is in force: outside of a transaction for the session, inside for the rest of the transaction, since
// the server takes back with a transaction what was set in it. COMMIT has no such limit: the server stops its clock before.
#ifndef STRATA_DRIVER_POSTGRES_SERVER_LIMIT_HPP
#define STRATA_DRIVER_POSTGRES_SERVER_LIMIT_HPP

#include <strata/core/joined.hpp>
#include <strata/driver/postgres/wire.hpp>
#include <strata/sql/facts.hpp>

#include <libpq-fe.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdint>
#include <string>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Of one connection.
class postgres_server_limit {
public:
    void reset(bool on) noexcept {
        on_ = on;
        session_ = now_ = none;
        asking_ = false;
    }
    [[nodiscard]] bool is_on() const noexcept { return on_; }
    /// A limit of ours is in force.
    [[nodiscard]] bool limits() const noexcept { return on_ && now_ > 0; }

    /// Sends what the guard's deadline asks for if that is not in force: `io` or `work` where the drive waits, `done`, or `failed`.
    [[nodiscard]] STRATA_COLD signal step(postgres_wire& w, error& e) {
        if (!asking_) {
            const PGTransactionStatusType s = ::PQtransactionStatus(w.db_);
            if (s == PQTRANS_IDLE) now_ = session_;
            asked_ = w.guard_ != nullptr && w.guard_->deadline != never ? rung(w.guard_->deadline - clock::now()) : none;
            locally_ = s != PQTRANS_IDLE;
            if (asked_ == now_ || s == PQTRANS_INERROR) return signal::done;  // a failed transaction takes nothing any more
            const std::string to = asked_ == none ? "default" : std::to_string(asked_);
            w.ask(::PQsendQuery(w.db_, joined({locally_ ? "set local" : "set", " statement_timeout to ", to}).c_str()));
            asking_ = true;
        }
        const signal s = w.hear();
        if (s == signal::io || s == signal::work) return s;
        asking_ = false;
        if (s == signal::done && w.ended_by_ == errc::ok) {
            now_ = asked_;
            if (!locally_) session_ = asked_;
            return s;
        }
        now_ = unknown;
        if (!locally_) session_ = unknown;
        if (w.round_.failed && !w.round_.was_hit)
            e = w.error_of(w.round_.last.get(), phase::prepare, {}, "set statement_timeout");
        else if (w.lost_)
            e = w.lost_error(phase::prepare, effect::none);
        else
            e = error{w.ended_by_, phase::prepare};
        if (w.lost_) e.set_lost();
        return signal::failed;
    }

    /// A transaction begins.
    void back_to_session() noexcept { now_ = session_; }
    /// Part of a transaction was rolled back.
    void forget() noexcept {
        if (on_) now_ = unknown;
    }
    /// The user runs a statement that may change what is in force.
    void look_at(statement_kind k) noexcept {
        if (k == statement_kind::transaction_control || k == statement_kind::session) forget();
        if (on_ && k == statement_kind::session) session_ = unknown;
    }

private:
    static constexpr std::int64_t none = 0;  // of ours: what the server, the role or the URL says
    static constexpr std::int64_t unknown = -1;

    /// In milliseconds; no longer than the server's own bound, an int.
    [[nodiscard]] static std::int64_t rung(duration left) noexcept {
        const std::int64_t ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
        return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(std::clamp<std::int64_t>(ms, 1, 1 << 30))));
    }

    bool on_ = false;
    bool asking_ = false;
    bool locally_ = false;
    std::int64_t asked_ = 0;
    std::int64_t session_ = 0;  // in force outside of transactions
    std::int64_t now_ = 0;      // in force
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
