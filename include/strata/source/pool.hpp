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
#include <strata/source/pool_control.hpp>
#include <strata/source/pool_errors.hpp>
#include <strata/source/pool_upkeep.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver, class Lock>
class pool_source : public pool_control<Driver, Lock> {
    using control = pool_control<Driver, Lock>;
    using places = pool_places<Driver, Lock>;
    using typename places::lane;
    using typename places::opener;

public:
    using places::connect;
    using places::release_unconnected;
    using typename places::connection;
    using typename places::lease;
    using typename places::slot;

    pool_source(const pool_options& options, const typename Driver::options& target)
        : control(options, target), upkeep_(*this), planning_(*this) {
        if (options.reserved != 0) reserve_ = std::make_unique<pool_source>(options.for_reserve(), target);
    }

    /// Opens the first `min_size` connections, the writer first, in this thread. An error names the target.
    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = options_.max_size > 1 ? Driver::check_shared(*places::target()) : error{}) return e;
        if (std::is_same_v<Lock, no_lock> && (options_.has_upkeep() || options_.planner != nullptr))
            return {errc::invalid_argument,
                    "pool<no_lock> is for one thread: without upkeep (max_lifetime, max_idle ...) and without a planner", phase::admission};
        if (error e = options_.has_upkeep() ? Driver::check_reopened(*places::target()) : error{}) return e;
        for (std::size_t i = 0; i < options_.min_size; ++i) {
            operation_base op;
            op.reads_only = split_ && i > 0;
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = take_empty(places::lane_for(op));
            }
            error e;
            if (connect_here(s, op, e, world) != signal::done) {
                release_unconnected(s);
                return e;
            }
            hold guard(lock_);
            lanes_[s->lane].put_idle(s);
            s->current = nullptr;
        }
        return {};
    }

    /// Gives the pool's tasks to the world, which runs them until `unspawn`: `begin(task)`.
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        if constexpr (!std::is_same_v<Lock, no_lock>) {
            openers_ = heap_array<opener>(options_.max_connecting);
            for (std::size_t i = 0; i < options_.max_connecting; ++i) {
                openers_[i].belong_to(*this);
                begin(openers_[i]);
            }
            if (options_.has_upkeep()) begin(upkeep_);
            if (options_.planner != nullptr) begin(planning_);
            if (reserve_ != nullptr) reserve_->spawn_tasks(begin);
            hold guard(lock_);
            places::openers_begun_ = true;
        }
    }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if (process_.is_forked_child()) [[unlikely]]
            return acquired::refused;
        hold guard(lock_);
        slot* s = places::lane_for(op).take_idle();
        if (s == nullptr) [[unlikely]] {
            guard.unlock();
            return acquire_slowly(op, node, out);
        }
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
        lane& l = places::lane_for(op);
        slot* s = !l.queue.empty() || closed_ ? nullptr : l.take_idle();
        if (s == nullptr) return false;
        s->current = &op;
        out = s;
        return true;
    }

    /// After a park on the node: what came of it.
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base& op, waiter& node, lease& out, duration waited) noexcept {
        hold guard(lock_);
        waited_ += waited;
        if (node.withdraw()) {
            places::lane_for(op).queue.remove(node);
            ++timeouts_;
            return acquired::refused;
        }
        op.connect_failed = node.gift == failed_connect();
        if (node.gift == nullptr || op.connect_failed) return acquired::refused;  // null: the pool was closed
        out = static_cast<slot*>(node.gift);
        out->current = &op;
        if (cancelling_) op.cancelled.store(true, std::memory_order_relaxed);  // it got its gift before, and nobody could tell it
        return out->open ? acquired::ready : acquired::connect;
    }

    /// Returns a lease. A connection that is broken, or that cannot be brought out of its transaction, is closed.
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health h) noexcept {
        slot* s = std::exchange(l, nullptr);
        if constexpr (!surely_reads<Op>) {
            if (is_usable(h) && (s->connection.in_transaction() || changes_session<Op>(s->connection))) [[unlikely]]
                return release_unfit(s, h);
        }
        if constexpr (requires { s->connection.said(); }) {  // it may know what the operation's outcome does not tell
            if (const health said = s->connection.said(); said > h) [[unlikely]]
                h = said;
        }
        lock_.lock();
        lane& where = lanes_[s->lane];
        if (h == health::good && s->marks == 0 && where.queue.empty()) [[likely]] {
            ++s->returns;
            s->current = nullptr;
            where.put_idle(s);
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
        if (is_usable(h) && s->connection.in_transaction()) return release_unfit(s, h);
        if constexpr (requires { s->connection.said(); }) {  // it may know what the operation's outcome does not tell
            if (const health said = s->connection.said(); said > h) [[unlikely]]
                h = said;
        }
        release_slowly(s, h, true);
    }

    /// Why the last acquisition of `op` did not succeed; `waited`: after a wait, and not at once.
    [[nodiscard]] STRATA_COLD error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if (process_.is_forked_child())
            return error{errc::misuse, "this process was forked after the database was opened: open a database of its own in the child",
                         phase::acquire};
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        const lane& l = places::lane_for(op);
        const bool down = places::governor_.is_down() && (op.connect_failed || l.taken == l.opening);
        const duration next = down ? places::governor_.next_try() - now : duration::zero();
        try {
            if (op.connect_failed && places::connect_error_) return places::connect_error_;
            if (down) return pool_unreachable_error(places::connect_error_, next, waited);
            return pool_exhausted_error(holders(l, op.reads_only), is_full(l), places::connect_error_);
        } catch (...) {  // no memory for the texts
            error e{down ? errc::pool_unreachable : errc::pool_exhausted, phase::acquire};
            return std::move(e.set_local(!down || !waited).set_retry_after(next));
        }
    }

    /// The connections for independent work; null: there are none. What steers the pool steers these too, but for their number.
    [[nodiscard]] pool_source* reserve() const noexcept { return reserve_.get(); }

    void retire_all() noexcept {
        control::retire_all();
        if (reserve_ != nullptr) reserve_->retire_all();
    }
    [[nodiscard]] error rotate(const typename Driver::options& target) {
        if (error e = control::rotate(target)) return e;
        return reserve_ != nullptr ? reserve_->rotate(target) : error{};
    }
    void suspend() noexcept {
        control::suspend();
        if (reserve_ != nullptr) reserve_->suspend();
    }
    void resume() noexcept {
        control::resume();
        if (reserve_ != nullptr) reserve_->resume();
    }
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        const bool drained = control::drain(world, until);
        return (reserve_ == nullptr || reserve_->drain(world, until)) && drained;
    }
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        const bool stopped = control::stop(world, until);
        return (reserve_ == nullptr || reserve_->stop(world, until)) && stopped;
    }
    void cancel_all() noexcept {
        control::cancel_all();
        if (reserve_ != nullptr) reserve_->cancel_all();
    }

private:
    using places::cancelling_;
    using places::closed_;
    using places::lanes_;
    using places::lock_;
    using places::options_;
    using places::process_;
    using places::release_slowly;
    using places::release_unfit;
    using places::split_;
    using places::take_empty;
    using places::timeouts_;
    using places::waited_;
    using places::waits_;

    /// Whether the session may not be as it was.
    template <class Op>
    [[nodiscard]] STRATA_INLINE bool changes_session([[maybe_unused]] connection& c) const noexcept {
        if constexpr (Op::facts.kind == operation_kind::pinned_session)
            return options_.on_return != session_reset::rollback_only;
        else if constexpr (Op::facts.kind == operation_kind::transaction && requires { c.has_changed_session(); })
            return options_.on_return != session_reset::rollback_only && c.has_changed_session();
        else
            return false;
    }

    [[nodiscard]] STRATA_COLD acquired acquire_slowly(operation_base& op, waiter& node, lease& out) noexcept {
        waker* other = op.waking();  // made outside the lock: it may allocate
        op.connect_failed = false;
        opener* next = nullptr;
        lane& l = places::lane_for(op);
        {
            hold guard(lock_);
            if (closed_) return acquired::refused;
            if (slot* s = l.take_idle(); s != nullptr) return leased(op, s, out);
            if (!places::has_openers() && l.queue.empty() && !places::suspended_)  // while the pool grows some may wait already
                if (slot* s = take_empty(l); s != nullptr) return leased(op, s, out);
            if (is_full(l) || places::is_refusing(l)) return acquired::refused;
            node.prepare(other);
            l.queue.push(node);
            ++waits_;
            next = places::wanted_opener();
        }
        if (places::rouse(next)) return acquired::wait;
        hold guard(lock_);  // no thread is to be had: then the caller opens it
        slot* s = closed_ || l.queue.front() != &node ? nullptr : take_empty(l);
        if (s == nullptr) return acquired::wait;
        if (node.withdraw()) {
            l.queue.remove(node);
            return leased(op, s, out);
        }
        places::free_place(s);
        return acquired::wait;
    }
    /// Those for whom there is room do not count.
    [[nodiscard]] bool is_full(const lane& l) const noexcept {
        const std::size_t room = l.taken < l.limit ? l.limit - l.taken : 0;
        return l.queue.size() >= add_bounded(options_.max_waiting, room + l.opening + l.count);
    }
    [[nodiscard]] static std::size_t add_bounded(std::size_t a, std::size_t b) noexcept { return a > ~b ? ~std::size_t{0} : a + b; }
    [[nodiscard]] static acquired leased(operation_base& op, slot* s, lease& out) noexcept {
        s->current = &op;
        out = s;
        return s->open ? acquired::ready : acquired::connect;
    }

    /// Under the lock.
    [[nodiscard]] pool_holders holders(const lane& l, bool reads) const {
        pool_holders h{.which = !split_ ? ""
                                : reads ? "reading "
                                        : "writing ",
                       .lent = l.lent(),
                       .opening = l.opening,
                       .limit = l.limit,
                       .waiting = l.queue.size(),
                       .suspended = places::suspended_};
        for (std::size_t i = 0; i < options_.max_size; ++i) {
            const slot& s = places::slots_[i];
            if (s.open && s.current != nullptr && &lanes_[s.lane] == &l) h.add(*s.current);
        }
        return h;
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

    heap_array<opener> openers_;
    std::unique_ptr<pool_source> reserve_;
    pool_upkeep<places> upkeep_;
    pool_planning<control> planning_;
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
