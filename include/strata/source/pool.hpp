// A pool of connections: the source of most stacks.
//
// Idle connections are taken last in, first out (the warmest first). Waiters are served strictly first in,
// first out by direct hand-off: a returned connection is given to the oldest waiter under the lock and the
// waiter is woken after it, so nobody can overtake. A blocking thread and an asynchronous operation stand in
// the same queue. A database with a single writer (SQLite) gets two lanes: one connection that writes, the
// others only read; statements go by their kind.
#ifndef STRATA_SOURCE_POOL_HPP
#define STRATA_SOURCE_POOL_HPP

#include <strata/core/place.hpp>
#include <strata/source/pool_upkeep.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver, class Lock>
class pool_source : public pool_places<Driver, Lock> {
    using places = pool_places<Driver, Lock>;
    using typename places::lane;

public:
    using places::connect;
    using places::release_unconnected;
    using typename places::connection;
    using typename places::lease;
    using typename places::slot;

    pool_source(const pool_options& options, const typename Driver::options& target) : places(options, target), upkeep_(*this) {}

    /// Opens the first `min_size` connections, the writer first, in this thread. An error names the target.
    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = options_.max_size > 1 ? Driver::check_shared(target_) : error{}) return e;
        if (std::is_same_v<Lock, no_lock> && options_.has_upkeep())
            return {errc::invalid_argument, "pool<no_lock> is for one thread: without max_lifetime, max_idle and check_interval",
                    phase::admission};
        if (error e = options_.has_upkeep() ? Driver::check_reopened(target_) : error{}) return e;
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

    /// Whether `acquire_idle` would find one now.
    [[nodiscard]] STRATA_COLD bool has_idle(bool reads_only) noexcept {
        hold guard(lock_);
        const lane& l = lanes_[split_ && reads_only ? 1 : 0];
        return l.idle != nullptr && l.queue.empty() && !closed_;
    }
    /// An idle connection, if there is one and nobody waits: never waits, opens nothing. For the second try of a hedged read.
    [[nodiscard]] STRATA_COLD bool acquire_idle(operation_base& op, lease& out) noexcept {
        if (process_.is_forked_child()) return false;
        hold guard(lock_);
        lane& l = lanes_[split_ && op.reads_only ? 1 : 0];
        slot* s = l.idle;
        if (s == nullptr || !l.queue.empty() || closed_) return false;
        l.idle = s->next;
        --l.idle_count;
        s->current = &op;
        out = s;
        return true;
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
        if (h == health::good && s->marks == 0 && where.queue.empty()) [[likely]] {
            s->used = true;
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

    /// As `release`, for a connection that has just shown itself to be slow: it is taken after all others that are idle.
    template <class Op>
    STRATA_COLD void release_behind(lease& l, Op&, health h) noexcept {
        slot* s = std::exchange(l, nullptr);
        if (s->connection.in_transaction() && s->connection.tidy() == health::lost) h = health::lost;
        if constexpr (requires { s->connection.is_lost(); }) {
            if (s->connection.is_lost()) h = health::lost;
        }
        release_slowly(s, h, true);
    }

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

    /// What the pool does by itself, for the world to run; null: nothing.
    [[nodiscard]] background* upkeep() noexcept { return options_.has_upkeep() ? &upkeep_ : nullptr; }

private:
    using places::cancelling_;
    using places::closed_;
    using places::lanes_;
    using places::lock_;
    using places::options_;
    using places::process_;
    using places::put;
    using places::release_slowly;
    using places::split_;
    using places::take_empty;
    using places::target_;
    using places::timeouts_;
    using places::waited_;
    using places::waits_;

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
        if (slot* s = l.queue.empty() ? take_empty(op.reads_only) : nullptr) {  // while the pool grows some may wait already
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

    template <class World>
    [[nodiscard]] signal connect_here(lease& l, operation_base& op, error& e, World& world) {
        for (;;) {
            announce_resume(l->connection, op, world);
            const signal s = connect(l, op, e);
            if (s != signal::park) return s;
            world.park(node_of(l->connection), end_of_wait(l->connection));
        }
    }

    pool_upkeep<pool_places<Driver, Lock>> upkeep_;
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
