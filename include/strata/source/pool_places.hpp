// The places of a pool: which are empty, which hold an idle connection, who waits for one, and how a pool comes to an end.
//
// Under one lock: a list of idle connections and a queue of waiters for each lane, and the places without a connection.
// What a caller sees of it is source/pool.hpp; what the pool does by itself is source/pool_upkeep.hpp.
#ifndef STRATA_SOURCE_POOL_PLACES_HPP
#define STRATA_SOURCE_POOL_PLACES_HPP

#include <strata/core/flight.hpp>
#include <strata/core/fork.hpp>
#include <strata/core/guarded.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/core/operation.hpp>
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
    std::uint8_t marks = 0;   // see below; with one a returned connection takes the slow way
    bool used = false;        // since upkeep looked last
    bool seen = false;        // upkeep: in this round
    time_point ends = never;  // upkeep: end of its life; `never` before it has been seen, and where there is no limit
    time_point idle_since{};
};

/// `retired`: closed when it comes back; of all once the pool is closed. `check`: the pool became smaller since it was lent out.
enum pool_mark : std::uint8_t { retired = 1, check = 2 };

template <class Driver, class Lock>
class pool_places {
public:
    using driver = Driver;
    using slot = pool_slot<Driver>;
    using lease = slot*;
    using connection = typename Driver::connection;

    pool_places(const pool_options& options, const typename Driver::options& target)
        : options_(options), target_(target), slots_(options.max_size), split_(Driver::single_writer && options.max_size > 1) {
        lanes_[0].limit = split_ ? 1 : options.max_size;
        lanes_[1].limit = split_ ? options.max_size - 1 : 0;
        for (std::size_t i = options.max_size; i-- > 0;) put(empty_, &slots_[i]);
    }
    pool_places(const pool_places&) = delete;
    pool_places& operator=(const pool_places&) = delete;
    /// In a forked child the connections still belong to the parent: not even closing them would be safe, so they are left alone.
    ~pool_places() {
        if (process_.is_forked_child()) static_cast<void>(slots_.release());
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
            if (!closed_) s->marks = 0;  // what is opened here from now on is new
            if (closed_ || where.taken > where.limit || !where.queue.grant_first(s, wake)) {
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
        l->ends = never;
        l->idle_since = {};
        ++opened_;
        return signal::done;
    }

    [[nodiscard]] STRATA_INLINE connection& connection_of(lease& l) noexcept { return l->connection; }
    [[nodiscard]] duration wait_limit() const noexcept { return options_.max_wait; }
    [[nodiscard]] std::size_t capacity() const noexcept { return options_.max_size; }
    [[nodiscard]] const typename Driver::options& target() const noexcept { return target_; }  ///< what its connections are opened with

    /// Refuses newcomers and waiters, then waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        if (process_.is_forked_child()) return true;
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
        if (process_.is_forked_child()) return;
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
        s.retired = retired_;
        return s;
    }

    /// From now on at most so many connections: from 1 (with a writer and readers: 2) to `pool_options.max_size`; the nearest is taken.
    /// Beyond that idle ones are closed, and those lent out when they come back.
    STRATA_COLD void resize(std::size_t size) noexcept {
        if (process_.is_forked_child()) return;
        const std::size_t least = split_ ? 2 : 1;
        size = size < least ? least : size > options_.max_size ? options_.max_size : size;
        lane& l = lanes_[split_ ? 1 : 0];
        {
            hold guard(lock_);
            l.limit = split_ ? size - 1 : size;
            if (l.taken > l.limit) mark_all(check);
        }
        for (;;) {
            wake_call wake;
            slot* closes = nullptr;
            {
                hold guard(lock_);
                if (l.taken > l.limit && l.idle != nullptr) {
                    closes = std::exchange(l.idle, l.idle->next);
                    --l.idle_count;
                    ++retired_;
                } else {
                    slot* s = closed_ || l.queue.empty() ? nullptr : take_empty(split_);
                    if (s == nullptr) return;
                    if (!l.queue.grant_first(s, wake)) {
                        --l.taken;
                        put(empty_, s);
                        return;
                    }
                }
            }
            if (closes != nullptr) release_unconnected(closes);
            wake();
        }
    }

    /// Lets go of every connection that there is now: idle ones at once, those lent out or being opened when they come back. What is
    /// opened from here on is new: after a failover, or with new credentials. A database in memory goes with its last connection.
    /// Nothing happens to a handle of the user's (`options.handle`).
    STRATA_COLD void retire_all() noexcept {
        if (process_.is_forked_child()) return;
        if constexpr (requires { target_.handle; })
            if (target_.handle != nullptr) return;
        slot* all = nullptr;
        {
            hold guard(lock_);
            mark_all(retired);
            for (lane& l : lanes_)
                while (slot* s = l.idle) {
                    l.idle = s->next;
                    --l.idle_count;
                    ++retired_;
                    put(all, s);
                }
        }
        while (all != nullptr) {
            slot* s = std::exchange(all, all->next);
            release_unconnected(s);
        }
    }

protected:
    template <class Places>
    friend class pool_upkeep;

    struct alignas(64) lane {
        slot* idle = nullptr;
        std::size_t idle_count = 0;
        std::size_t taken = 0;  // places with a connection, or with one being opened
        std::size_t limit = 0;
        wait_queue queue;
    };

    /// Under the lock. Empty places are unmarked when they are taken.
    void mark_all(pool_mark m) noexcept {
        for (std::size_t i = 0; i < options_.max_size; ++i) slots_[i].marks |= m;
    }
    static void put(slot*& list, slot* s) noexcept {
        s->next = list;
        list = s;
    }

    /// Under the lock; null when the lane is full.
    [[nodiscard]] slot* take_empty(bool reads_only) noexcept {
        const std::uint8_t which = split_ && reads_only ? 1 : 0;
        if (lanes_[which].taken >= lanes_[which].limit) return nullptr;  // beyond it while a smaller size is awaited
        slot* s = empty_;
        empty_ = s->next;
        s->marks = closed_ ? retired : 0;
        s->lane = which;
        ++lanes_[which].taken;
        return s;
    }

    /// To the oldest waiter, if there is one; else among the idle ones, as the first of them to be taken or as the last (`behind`).
    STRATA_COLD void release_slowly(slot* s, health h, bool behind = false) noexcept {
        wake_call wake;
        {
            hold guard(lock_);
            s->current = nullptr;
            lane& where = lanes_[s->lane];
            s->marks &= static_cast<std::uint8_t>(~check);
            if (h != health::good || closed_ || s->marks != 0 || where.taken > where.limit) {
                guard.unlock();
                return discard(s, h);
            }
            if (!where.queue.grant_first(s, wake)) {
                slot** at = &where.idle;
                while (behind && *at != nullptr) at = &(*at)->next;
                put(*at, s);
                ++where.idle_count;
            }
        }
        wake();
    }

    /// Closes the connection of a place that was leased; the place goes to a waiter, or is free.
    STRATA_COLD void discard(slot* s, health h) noexcept {
        {
            hold guard(lock_);
            if (h == health::lost)
                ++lost_;
            else if (!closed_)
                ++retired_;
        }
        release_unconnected(s);
    }

    /// From here on nobody is served.
    void refuse_all() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!std::exchange(closed_, true)) mark_all(retired);
                if (upkeep_op_ != nullptr) upkeep_op_->cancelled.store(true, std::memory_order_relaxed);
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
    std::uint64_t waits_ = 0, timeouts_ = 0, opened_ = 0, lost_ = 0, retired_ = 0;
    duration waited_{};
    interruption* upkeep_op_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
