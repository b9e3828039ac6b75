// A statement's place on a connection that it shares: what it takes for its connection, and its notes on the way. See multiplexer.hpp.
#ifndef STRATA_CORE_SEAT_HPP
#define STRATA_CORE_SEAT_HPP

#include <strata/core/error.hpp>
#include <strata/core/operation.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/waiter.hpp>
#include <strata/core/watch.hpp>

#include <atomic>
#include <cstdint>
#include <exception>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Link>
class multiplexer;
template <class Link>
class seat_list;

/// Where one who sits may go when his connection is lost: to another one. Of the source's.
template <class Link>
class seat_owner {
public:
    /// Leaves the lost connection; `to` is another one, or null. True when one must be waited for, on this node, until then.
    [[nodiscard]] virtual bool move(operation_base& op, waiter& node, multiplexer<Link>*& to, time_point& until) noexcept = 0;
    /// Ends the wait: the connection, or null.
    [[nodiscard]] virtual multiplexer<Link>* arrive(waiter& node) noexcept = 0;

protected:
    ~seat_owner() = default;
};

/// Lies in the operation. One operation's, but for what the multiplexer does under its lock.
template <class Link>
class seat {
public:
    using call = typename Link::call;

    seat() noexcept = default;
    seat(const seat&) = delete;
    seat& operator=(const seat&) = delete;

    // For the engine; see core/pacing.hpp. Before each resume; others may read what does not change while it is aboard.
    void on_resume(operation_base& op, moment) noexcept {
        if (op_ != &op) op_ = &op;
    }
    [[nodiscard]] waiter* parked_on() noexcept { return &node_; }
    [[nodiscard]] time_point parked_until() noexcept { return moving_ ? moves_until_ : on_->waits_until(*this); }
    void may_yield(bool yes) noexcept {
        if (yields_ != yes) yields_ = yes;  // others look at it, under the lock, once it sits
    }
    [[nodiscard]] io_wait awaited() noexcept { return on_->awaited(*this); }
    [[nodiscard]] watch_place& watch() noexcept { return on_->watch(); }
    // Its operation's deadline and cancel are asked by itself.
    void guard(const interruption*) noexcept {}
    [[nodiscard]] static const interruption* guard() noexcept { return nullptr; }

    /// Where it sits from now on.
    void sit(multiplexer<Link>& m, seat_owner<Link>* owner) noexcept {
        on_ = &m;
        owner_ = owner;
    }

    /// The statement begins. `idempotent`: a read that may be sent again.
    [[nodiscard]] signal begin(call& statement, bool idempotent) {
        call_ = &statement;
        idempotent_ = idempotent;
        alone_ = renewed_ = has_moved_ = moving_ = false;
        return board();
    }
    [[nodiscard]] signal go_on() {
        if (!moving_) [[likely]]
            return told(on_->go_on(*this));
        if (!node_.is_granted() && !op_->is_cancelled() && steady_now() < moves_until_) return signal::park;  // woken for nothing
        moving_ = false;
        on_ = owner_->arrive(node_);
        if (on_ != nullptr) return board();
        if (op_->is_cancelled()) error_ = error{errc::cancelled, phase::execute};
        return signal::failed;
    }
    /// Leaves, whether it has ended or not; what was sent is not taken back.
    void end() noexcept {
        if (std::exchange(moving_, false)) static_cast<void>(owner_->arrive(node_));
        if (stay_ == stay::aboard) on_->abandon(*this);
        stay_ = stay::none;
    }
    [[nodiscard]] bool is_seated() const noexcept { return stay_ != stay::none; }

    error error_;
    std::int64_t affected_ = 0;
    operation_base* op_ = nullptr;

private:
    friend class multiplexer<Link>;
    friend class seat_list<Link>;

    /// Just come; in the queue of what is to be sent; sent; answered.
    enum class at : std::uint8_t { nowhere, arrived, queued, sent, ended };
    /// As its operation knows it: what has ended is aboard until it has been told, for others may be telling it.
    enum class stay : std::uint8_t { none, aboard, over };

    [[nodiscard]] signal board() {
        leads_ = lost_with_connection_ = false;
        given_up_ = errc::ok;
        signal next = signal::failed;
        stay_ = stay::aboard;
        if (on_->board(*this, next)) [[likely]]
            return told(next);
        stay_ = stay::over;
        error_ = on_->refusal();
        lost_with_connection_ = true;
        return move_or_fail();
    }
    [[nodiscard]] signal told(signal next) {
        if (next == signal::done || next == signal::failed) stay_ = stay::over;
        if (next != signal::failed) [[likely]]
            return next;
        return move_or_fail();
    }
    [[nodiscard]] STRATA_COLD signal move_or_fail() {
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        if (!lost_with_connection_ || owner_ == nullptr || std::exchange(has_moved_, true)) return signal::failed;
        multiplexer<Link>* to = nullptr;
        moving_ = owner_->move(*op_, node_, to, moves_until_);
        on_ = to;
        if (moving_) return signal::park;
        return to != nullptr ? board() : signal::failed;
    }

    multiplexer<Link>* on_ = nullptr;
    seat_owner<Link>* owner_ = nullptr;
    call* call_ = nullptr;
    seat* next_ = nullptr;  // in one list
    seat* previous_ = nullptr;
    seat* next_leaver_ = nullptr;
    std::uint64_t number_ = 0;  // of what was sent
    /// Whoever works writes it without the lock; only `arrived` and `ended`, which are written under it, mean something to others.
    class place {
    public:
        operator at() const noexcept { return value_.load(std::memory_order_relaxed); }
        void operator=(at value) noexcept { value_.store(value, std::memory_order_relaxed); }

    private:
        std::atomic<at> value_{at::nowhere};
    };
    place at_;
    stay stay_ = stay::none;
    bool yields_ = false;
    bool idempotent_ = false;            // a read: it may be sent again
    bool alone_ = false;                 // it was skipped: behind a Sync of its own
    bool has_turn_ = false;              // it sends for all, in the next turn
    bool leads_ = false;                 // it waits for the descriptor
    bool leaves_ = false;                // whoever is busy will let it go
    bool renewed_ = false;               // its prepared statement was stale once
    bool lost_with_connection_ = false;  // and nothing came of it
    bool has_moved_ = false;
    bool moving_ = false;
    time_point moves_until_{};
    errc given_up_ = errc::ok;
    waiter node_;
    std::exception_ptr thrown_;  // by its sink
};

/// Seats in a row.
template <class Link>
class seat_list {
public:
    [[nodiscard]] seat<Link>* first() const noexcept { return first_; }
    [[nodiscard]] seat<Link>* last() const noexcept { return last_; }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push_back(seat<Link>& s) noexcept {
        s.next_ = nullptr;
        s.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &s;
        last_ = &s;
    }
    void push_front(seat<Link>& s) noexcept {
        s.previous_ = nullptr;
        s.next_ = first_;
        (first_ != nullptr ? first_->previous_ : last_) = &s;
        first_ = &s;
    }
    void remove(seat<Link>& s) noexcept {
        (s.previous_ != nullptr ? s.previous_->next_ : first_) = s.next_;
        (s.next_ != nullptr ? s.next_->previous_ : last_) = s.previous_;
    }
    [[nodiscard]] seat<Link>* pop() noexcept {
        seat<Link>* const s = first_;
        if (s != nullptr) remove(*s);
        return s;
    }
    [[nodiscard]] static seat<Link>* after(const seat<Link>& s) noexcept { return s.next_; }

private:
    seat<Link>* first_ = nullptr;
    seat<Link>* last_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
