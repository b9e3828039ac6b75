// A pool of connections: the source of most stacks.
//
// Idle connections are taken last in, first out (the warmest first). Waiters are served strictly first in,
// first out by direct hand-off: a returned connection is given to the oldest waiter under the lock and the
// waiter is woken after it, so nobody can overtake. A blocking thread and an asynchronous operation stand in
// the same queue. A database with a single writer (SQLite) gets two lanes: one connection that writes, the
// others only read; statements go by their kind.
#ifndef STRATA_SOURCE_POOL_HPP
#define STRATA_SOURCE_POOL_HPP

#include <strata/core/flight.hpp>
#include <strata/core/guarded.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/core/operation.hpp>
#include <strata/core/place.hpp>
#include <strata/source/fork.hpp>
#include <strata/source/pool_options.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// One place for a connection. Lives as long as the pool; the connection in it may come and go.
template <class Driver>
struct pool_slot {
    typename Driver::connection connection;
    pool_slot* next = nullptr;        // idle or empty list
    interruption* current = nullptr;  // whoever holds the lease
    std::uint8_t lane = 0;
    bool open = false;
};

template <class Driver, class Lock>
class pool_source {
public:
    using driver = Driver;
    using slot = pool_slot<Driver>;
    using lease = slot*;
    using connection = typename Driver::connection;

    pool_source(const pool_options& options, const typename Driver::options& target)
        : options_(options), target_(target), slots_(options.max_size), split_(Driver::single_writer && options.max_size > 1) {
        lanes_[0].limit = split_ ? 1 : options.max_size;
        lanes_[1].limit = split_ ? options.max_size - 1 : 0;
        for (std::size_t i = options.max_size; i-- > 0;) put(empty_, &slots_[i]);
    }
    pool_source(const pool_source&) = delete;
    pool_source& operator=(const pool_source&) = delete;
    /// In a forked child the connections still belong to the parent: not even closing them would be safe, so they are left alone.
    ~pool_source() {
        if (process_.is_forked_child()) static_cast<void>(slots_.release());
    }

    /// Opens the first `min_size` connections, the writer first, in this thread. An error names the target.
    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = options_.max_size > 1 ? Driver::check_shared(target_) : error{}) return e;
        for (std::size_t i = 0; i < options_.min_size; ++i) {
            operation_base op;
            op.reads_only = split_ && i > 0;
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = take_empty(op.reads_only);
            }
            error e;
            if (connect_here(s, op, e, world) != signal::done) {
                release_unconnected(s);
                return e;
            }
            hold guard(lock_);
            put(lanes_[s->lane].idle, s);
            ++lanes_[s->lane].idle_count;
            s->current = nullptr;
        }
        return {};
    }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if (process_.is_forked_child()) [[unlikely]]
            return acquired::refused;
        hold guard(lock_);
        lane& l = lanes_[split_ && op.reads_only ? 1 : 0];
        slot* s = l.idle;
        if (s == nullptr) [[unlikely]] {
            guard.unlock();
            return acquire_slowly(op, node, out);
        }
        l.idle = s->next;
        --l.idle_count;
        s->current = &op;
        out = s;
        return acquired::ready;
    }

    /// After a park on the node: what came of it.
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base& op, waiter& node, lease& out, duration waited) noexcept {
        hold guard(lock_);
        waited_ += waited;
        if (node.withdraw()) {
            lanes_[split_ && op.reads_only ? 1 : 0].queue.remove(node);
            ++timeouts_;
            return acquired::refused;
        }
        if (node.gift == nullptr) return acquired::refused;  // the pool was closed
        out = static_cast<slot*>(node.gift);
        out->current = &op;
        if (cancelling_) op.cancelled.store(true, std::memory_order_relaxed);  // it got its gift before, and nobody could tell it
        return out->open ? acquired::ready : acquired::connect;
    }

    /// Returns a lease. A connection that is broken, or that cannot be brought out of its transaction, is closed.
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health h) noexcept {
        slot* s = std::exchange(l, nullptr);
        if (!surely_reads<Op> && h == health::good && s->connection.in_transaction()) [[unlikely]]
            if (s->connection.tidy() == health::lost) h = health::lost;
        if constexpr (requires { s->connection.is_lost(); }) {  // it may know what the operation's outcome does not tell
            if (s->connection.is_lost()) h = health::lost;
        }
        lock_.lock();
        lane& where = lanes_[s->lane];
        if (h == health::good && !closed_ && where.queue.empty()) [[likely]] {
            s->current = nullptr;
            s->next = where.idle;
            where.idle = s;
            ++where.idle_count;
            lock_.unlock();
        } else {
            lock_.unlock();
            release_slowly(s, h);
        }
    }

    /// The place stays empty: the oldest waiter may try, otherwise it is free.
    STRATA_COLD void release_unconnected(lease& l) noexcept {
        slot* s = std::exchange(l, nullptr);
        {
            hold guard(lock_);
            s->current = nullptr;  // from here on nobody interrupts it
        }
        s->connection.close();
        wake_call wake;
        bool all_free = false;
        {
            hold guard(lock_);
            s->open = false;
            lane& where = lanes_[s->lane];
            if (closed_ || !where.queue.grant_first(s, wake)) {
                --where.taken;
                put(empty_, s);
                all_free = lanes_[0].taken + lanes_[1].taken == 0;
            }
        }
        wake();
        if (all_free) wake_closers();
    }

    /// Opens the connection of a place. A driver that waits while it connects is asked again after each wait.
    [[nodiscard]] STRATA_COLD signal connect(lease& l, operation_base& op, error& e) {
        const guarded guard_of_connection{l->connection, &op};
        const auto role = Driver::role_of(l->lane == 1, split_);
        if constexpr (opens_in_steps<connection, typename Driver::options, decltype(role)>) {
            const signal s = l->connection.open_step(target_, role, e);
            if (s != signal::done) return s;
        } else {
            e = l->connection.open(target_, role, &op);  // the operation becomes the guard
            if (e) return signal::failed;
        }
        hold guard(lock_);
        l->open = true;
        ++opened_;
        return signal::done;
    }

    [[nodiscard]] STRATA_INLINE connection& connection_of(lease& l) noexcept { return l->connection; }
    [[nodiscard]] duration wait_limit() const noexcept { return options_.max_wait; }
    [[nodiscard]] std::size_t capacity() const noexcept { return options_.max_size; }
    [[nodiscard]] const typename Driver::options& target() const noexcept { return target_; }  ///< what its connections are opened with

    /// Why the last acquisition of `op` did not succeed.
    [[nodiscard]] STRATA_COLD error refusal(const operation_base& op) noexcept {
        if (process_.is_forked_child())
            return error{errc::misuse, "this process was forked after the database was opened: open a database of its own in the child",
                         phase::acquire};
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        const lane& l = lanes_[split_ && op.reads_only ? 1 : 0];
        return pool_exhausted_error(!split_         ? ""
                                    : op.reads_only ? "reading "
                                                    : "writing ",
                                    l.taken, l.limit, l.queue.size(), l.queue.size() >= options_.max_waiting);
    }

    /// Refuses newcomers and waiters, then waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        refuse_all();
        waiter node;
        for (;;) {
            close_idle();
            {
                hold guard(lock_);
                if (lanes_[0].taken + lanes_[1].taken == 0) return true;
                if (world.moment().now >= until) return false;
                node.prepare(nullptr);
                closers_.push(node);
            }
            world.park(&node, until);
            hold guard(lock_);
            if (node.withdraw()) closers_.remove(node);
        }
    }

    /// Asks everything that runs on a lease to end as soon as it can.
    void cancel_all() noexcept {
        hold guard(lock_);
        cancelling_ = true;
        for (std::size_t i = 0; i < options_.max_size; ++i) {
            slot& s = slots_[i];
            if (s.current == nullptr) continue;
            s.current->cancelled.store(true, std::memory_order_relaxed);
            if constexpr (requires { s.connection.interrupt(); })
                s.connection.interrupt();  // it may be waiting where nobody looks at the flag
        }
    }

    [[nodiscard]] pool_snapshot snapshot() noexcept {
        hold guard(lock_);
        pool_snapshot s;
        for (const lane& l : lanes_) {
            s.open += l.taken;
            s.idle += l.idle_count;
            s.waiting += l.queue.size();
        }
        s.waits = waits_;
        s.waited = waited_;
        s.timeouts = timeouts_;
        s.opened = opened_;
        s.lost = lost_;
        return s;
    }

private:
    struct alignas(64) lane {
        slot* idle = nullptr;
        std::size_t idle_count = 0;
        std::size_t taken = 0;  // places with a connection, or with one being opened
        std::size_t limit = 0;
        wait_queue queue;
    };

    static void put(slot*& list, slot* s) noexcept {
        s->next = list;
        list = s;
    }

    /// Under the lock; null when the lane is full.
    [[nodiscard]] slot* take_empty(bool reads_only) noexcept {
        const std::uint8_t which = split_ && reads_only ? 1 : 0;
        if (lanes_[which].taken == lanes_[which].limit) return nullptr;
        slot* s = empty_;
        empty_ = s->next;
        s->lane = which;
        ++lanes_[which].taken;
        return s;
    }

    [[nodiscard]] STRATA_COLD acquired acquire_slowly(operation_base& op, waiter& node, lease& out) noexcept {
        waker* other = op.waking();  // made outside the lock: it may allocate
        hold guard(lock_);
        if (closed_) return acquired::refused;
        lane& l = lanes_[split_ && op.reads_only ? 1 : 0];
        if (slot* s = l.idle; s != nullptr) {
            l.idle = s->next;
            --l.idle_count;
            s->current = &op;
            out = s;
            return acquired::ready;
        }
        if (slot* s = take_empty(op.reads_only)) {
            s->current = &op;
            out = s;
            return acquired::connect;
        }
        if (l.queue.size() >= options_.max_waiting) return acquired::refused;
        node.prepare(other);
        l.queue.push(node);
        ++waits_;
        return acquired::wait;
    }

    /// To the oldest waiter, if there is one.
    STRATA_COLD void release_slowly(slot* s, health h) noexcept {
        wake_call wake;
        {
            hold guard(lock_);
            s->current = nullptr;
            lane& where = lanes_[s->lane];
            if (h != health::good || closed_) {
                guard.unlock();
                return discard(s, h);
            }
            if (!where.queue.grant_first(s, wake)) {
                put(where.idle, s);
                ++where.idle_count;
            }
        }
        wake();
    }

    /// Closes the connection of a place that was leased; the place goes to a waiter, or is free.
    STRATA_COLD void discard(slot* s, health h) noexcept {
        if (h == health::lost) {
            hold guard(lock_);
            ++lost_;
        }
        release_unconnected(s);
    }

    template <class World>
    [[nodiscard]] signal connect_here(lease& l, operation_base& op, error& e, World& world) {
        for (;;) {
            announce_resume(l->connection, op, world);
            const signal s = connect(l, op, e);
            if (s != signal::park) return s;
            world.park(node_of(l->connection), end_of_wait(l->connection));
        }
    }

    /// From here on nobody is served.
    void refuse_all() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                closed_ = true;
                if (!lanes_[0].queue.grant_first(nullptr, wake) && !lanes_[1].queue.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }

    /// The last place has become free: all who wait for that are told.
    STRATA_COLD void wake_closers() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!closers_.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }

    /// One after the other, outside the lock: closing a connection may take its time.
    void close_idle() noexcept {
        for (;;) {
            slot* s = nullptr;
            {
                hold guard(lock_);
                lane& l = lanes_[lanes_[0].idle != nullptr ? 0 : 1];
                s = l.idle;
                if (s == nullptr) return;
                l.idle = s->next;
                --l.idle_count;
            }
            release_unconnected(s);
        }
    }

    Lock lock_;
    lane lanes_[2];
    wait_queue closers_;
    bool closed_ = false;
    bool cancelling_ = false;
    const pool_options options_;
    const typename Driver::options target_;
    heap_array<slot> slots_;
    slot* empty_ = nullptr;
    const bool split_;
    fork_guard process_;
    std::uint64_t waits_ = 0, timeouts_ = 0, opened_ = 0, lost_ = 0;
    duration waited_{};
};

}  // namespace detail

/// The pool as a layer of a stack. `Lock` is `inline_lock`, or `no_lock` where only one thread uses the database.
template <class Lock = inline_lock>
struct pool {
    static constexpr auto place = strata::place::source;
    using options = pool_options;
    template <class Driver>
    using source = detail::pool_source<Driver, Lock>;
};

}  // namespace strata::inline STRATA_ABI

#endif
