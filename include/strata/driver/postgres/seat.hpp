// A statement on a connection that it shares: what it takes for its connection, and its own notes on the way.
#ifndef STRATA_DRIVER_POSTGRES_SEAT_HPP
#define STRATA_DRIVER_POSTGRES_SEAT_HPP

#include <strata/core/operation.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/waiter.hpp>
#include <strata/core/watch.hpp>
#include <strata/driver/postgres/flown.hpp>

#include <cstdint>
#include <exception>

namespace strata::inline STRATA_ABI {

namespace detail {
class postgres_multiplexer;
class seat_list;
}  // namespace detail

/// Lies in the operation; see `postgres_multiplexer`. One operation's, but for what the multiplexer does under its lock.
class postgres_seat {
public:
    /// One statement, from here; see shared_query.hpp.
    template <class Bound, class Sink>
    class query;

    postgres_seat() noexcept = default;
    postgres_seat(const postgres_seat&) = delete;
    postgres_seat& operator=(const postgres_seat&) = delete;

    // For the engine; see core/pacing.hpp.
    void on_resume(operation_base& op, moment) noexcept { op_ = &op; }
    [[nodiscard]] waiter* parked_on() noexcept { return &node_; }
    [[nodiscard]] time_point parked_until() noexcept;
    void may_yield(bool yes) noexcept { yields_ = yes; }
    [[nodiscard]] io_wait awaited() noexcept;
    [[nodiscard]] watch_place& watch() noexcept;
    // Its operation's deadline and cancel are asked by itself.
    void guard(const interruption*) noexcept {}
    [[nodiscard]] static const interruption* guard() noexcept { return nullptr; }

    /// Where it sits from now on.
    void sit(detail::postgres_multiplexer& m) noexcept { on_ = &m; }

private:
    friend class detail::postgres_multiplexer;
    friend class detail::seat_list;
    /// Where it is: just come; in the queue of what is to be sent; sent; answered.
    enum class at : std::uint8_t { nowhere, arrived, queued, sent, ended };

    detail::postgres_multiplexer* on_ = nullptr;
    detail::postgres_flown* statement_ = nullptr;
    operation_base* op_ = nullptr;
    postgres_seat* next_ = nullptr;  // in one list
    postgres_seat* previous_ = nullptr;
    postgres_seat* next_leaver_ = nullptr;
    std::uint64_t number_ = 0;  // of what was sent
    at at_ = at::nowhere;
    bool yields_ = false;
    bool idempotent_ = false;  // a read that may share a Sync, and be sent again
    bool alone_ = false;       // it was skipped: now behind a Sync of its own
    bool has_turn_ = false;    // it sends for all, in the next turn
    bool leads_ = false;       // it waits for the descriptor
    bool leaves_ = false;      // whoever is busy will let it go
    bool renewed_ = false;     // its prepared statement was stale once
    errc given_up_ = errc::ok;
    waiter node_;
    error error_;
    std::exception_ptr thrown_;  // by its sink
    std::int64_t affected_ = 0;
};

namespace detail {

/// Seats in a row.
class seat_list {
public:
    [[nodiscard]] postgres_seat* first() const noexcept { return first_; }
    [[nodiscard]] postgres_seat* last() const noexcept { return last_; }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push_back(postgres_seat& s) noexcept {
        s.next_ = nullptr;
        s.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &s;
        last_ = &s;
    }
    void push_front(postgres_seat& s) noexcept {
        s.previous_ = nullptr;
        s.next_ = first_;
        (first_ != nullptr ? first_->previous_ : last_) = &s;
        first_ = &s;
    }
    void remove(postgres_seat& s) noexcept {
        (s.previous_ != nullptr ? s.previous_->next_ : first_) = s.next_;
        (s.next_ != nullptr ? s.next_->previous_ : last_) = s.previous_;
    }
    [[nodiscard]] postgres_seat* pop() noexcept {
        postgres_seat* const s = first_;
        if (s != nullptr) remove(*s);
        return s;
    }

private:
    postgres_seat* first_ = nullptr;
    postgres_seat* last_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
