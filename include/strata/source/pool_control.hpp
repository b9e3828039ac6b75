// How a pool is steered while it is in use: made larger or smaller, emptied, suspended, closed; and what it tells of itself.
#ifndef STRATA_SOURCE_POOL_CONTROL_HPP
#define STRATA_SOURCE_POOL_CONTROL_HPP

#include <strata/source/pool_opener.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Everything here is thread-safe. In a forked child it does nothing.
template <class Driver, class Lock>
class pool_control : public pool_places<Driver, Lock> {
    using places = pool_places<Driver, Lock>;

protected:
    using places::closed_;
    using places::governor_;
    using places::lanes_;
    using places::lock_;
    using places::options_;
    using places::process_;
    using places::split_;
    using places::suspended_;
    using typename places::lane;
    using typename places::opener;
    using typename places::slot;

public:
    using places::places;

    [[nodiscard]] pool_snapshot snapshot() noexcept {
        pool_snapshot s;
        if (process_.is_forked_child()) return s;
        hold guard(lock_);
        for (const lane& l : lanes_) {
            s.open += l.taken;
            s.opening += l.opening;
            s.idle += l.count;
            s.waiting += l.queue.size();
        }
        s.suspended = suspended_;
        s.closed = closed_;
        s.reachable = !governor_.is_down();
        s.waits = places::waits_;
        s.waited = places::waited_;
        s.timeouts = places::timeouts_;
        s.opened = places::opened_;
        s.lost = places::lost_;
        s.retired = places::retired_;
        s.leaks = places::leaks_;
        s.left_open = places::left_open_;
        return s;
    }

    /// Where the holder of a lease asked for it, for the report of a leak.
    void lent_to(typename places::lease& l, const std::source_location& where) noexcept {
        if (l == nullptr || options_.leak_threshold == duration::zero() || process_.is_forked_child()) return;
        hold guard(lock_);
        l->lease = l->returns;
        l->lent_since = {};
        l->where = where;
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
            if (l.taken > l.limit) places::mark_all(slot_mark::check);
        }
        close_while([&l] { return l.taken > l.limit ? l.take_any() : nullptr; });
        for (;;) {
            wake_call wake;
            opener* next = nullptr;
            {
                hold guard(lock_);
                next = places::wanted_opener();
                if (next == nullptr && !grant_empty(l, wake)) return;
            }
            wake();
            if (!places::rouse(next)) return;
        }
    }

    /// Closes idle connections down to `min_size`, the coldest last; whoever comes later finds new ones opened.
    STRATA_COLD void shrink() noexcept {
        if (process_.is_forked_child()) return;
        close_while([this]() -> slot* {
            if (places::open_or_opening() <= places::ready_) return nullptr;
            if (slot* s = lanes_[1].take_any(); s != nullptr) return s;
            return split_ && places::ready_ != 0 ? nullptr : lanes_[0].take_any();
        });
    }

    /// Lets go of every connection that there is now: idle ones at once, those lent out or being opened when they come back. What is
    /// opened from here on is new: after a failover, or with new credentials. A database in memory goes with its last connection.
    /// Nothing happens to a handle of the user's (`options.handle`).
    STRATA_COLD void retire_all() noexcept {
        if (process_.is_forked_child()) return;
        if (places::has_handle(*places::target())) return;
        slot* all = nullptr;
        {
            hold guard(lock_);
            all = places::take_all();
        }
        places::close_all(all);
    }

    /// New connections are opened with these options from now on, those that there are retire as with `retire_all`: for new credentials, or
    /// another server. What is on its way is not disturbed. An error, and nothing has changed, for options that make no sense, and where
    /// the old or the new ones hold a handle of the user's.
    [[nodiscard]] STRATA_COLD error rotate(const typename Driver::options& target) {
        if (process_.is_forked_child()) return {errc::misuse, "this process was forked after the database was opened", phase::admission};
        if (error e = target.validate()) return e;
        if (places::has_handle(target) || places::has_handle(*places::target()))
            return {errc::invalid_argument, "a pool on a connection of the user's (handle) cannot be turned to another one",
                    phase::admission};
        auto next = std::make_shared<const typename Driver::options>(target);
        {
            hold guard(lock_);
            places::target_.swap(next);
        }
        retire_all();
        return {};
    }

    /// From now on nobody is given a connection, until `resume()`: whoever comes waits, as long as the pool's `max_wait` and his deadline
    /// allow. Leases that are out are not disturbed. `drain` of the database suspends, and waits until all have come back.
    STRATA_COLD void suspend() noexcept {
        if (process_.is_forked_child()) return;
        hold guard(lock_);
        if (closed_ || std::exchange(suspended_, true)) return;
        places::mark_all(slot_mark::held);
        for (lane& l : lanes_) places::append(l.kept, std::exchange(l.idle, nullptr));
    }
    /// Serves those who have waited, in their order.
    STRATA_COLD void resume() noexcept {
        if (process_.is_forked_child()) return;
        for (bool serves = true; serves;) {  // newcomers stand behind until all are served
            wake_call wake;
            {
                hold guard(lock_);
                if (!suspended_) return;
                serves = serve_one(lanes_[0], wake) || serve_one(lanes_[1], wake);
                if (!serves) end_suspension();
            }
            wake();
        }
        for (bool granted = true; granted;) {
            wake_call wake;
            opener* next = nullptr;
            {
                hold guard(lock_);
                next = places::wanted_opener();
                granted = next != nullptr || grant_empty(lanes_[0], wake) || grant_empty(lanes_[1], wake);
            }
            wake();
            if (!places::rouse(next)) return;
        }
    }

    /// Suspends, and waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        suspend();
        while (!wait_for_rest(world, until))
            if (world.moment().now >= until) return false;
        return true;
    }

    /// Refuses newcomers and waiters, then waits until `until` for the leases that are out. True when all came back.
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        if (process_.is_forked_child()) return true;
        refuse_all();
        for (;;) {
            close_idle();
            if (wait_for_rest(world, until)) return true;
            if (world.moment().now >= until) return false;
        }
    }

    /// Asks everything that runs on a lease to end as soon as it can.
    void cancel_all() noexcept {
        if (process_.is_forked_child()) return;
        hold guard(lock_);
        places::cancelling_ = true;
        for (std::size_t i = 0; i < options_.max_size; ++i)
            if (places::slots_[i].current != nullptr) cancel(places::slots_[i]);
    }

    // For its planner.
    [[nodiscard]] pool_planner* planner() const noexcept { return options_.planner.get(); }
    /// What there is now; the rest into `u`.
    [[nodiscard]] STRATA_COLD pool_look watch(pool_usage& u) noexcept {
        hold guard(lock_);
        std::size_t lent = 0, waiting = 0;
        std::uint32_t returns = 0;
        for (const lane& l : lanes_) {
            lent += l.lent();
            waiting += l.queue.size();
            u.limit = (&l == lanes_ ? 0 : u.limit) + l.limit;
        }
        duration locked{};
        for (std::size_t i = 0; i < options_.max_size; ++i) {
            returns += places::slots_[i].returns;
            if constexpr (requires { places::slots_[i].connection.waited_for_locks(); })
                locked += places::slots_[i].connection.waited_for_locks();
        }
        u.peak = lent > u.peak ? lent : u.peak;
        u.waiting = waiting > u.waiting ? waiting : u.waiting;
        u.ended += static_cast<std::uint32_t>(returns - std::exchange(watched_returns_, returns));  // the counters go round
        u.faults += places::faults_ - std::exchange(watched_faults_, places::faults_);
        return {lent, waiting > 0 && lent >= u.limit, locked - std::exchange(watched_locked_, locked)};
    }
    /// The server's numbers of the open sessions into `out`, which has room for `capacity()`; how many.
    [[nodiscard]] STRATA_COLD std::size_t sessions(std::int32_t* out) noexcept {
        hold guard(lock_);
        std::size_t n = 0;
        for (std::size_t i = 0; i < options_.max_size; ++i)
            if (places::slots_[i].open) out[n++] = places::slots_[i].session;
        return n;
    }
    STRATA_COLD void follow(const pool_plan& p) noexcept {
        {
            hold guard(lock_);
            places::ready_ = p.ready > options_.min_size ? p.ready : options_.min_size;
        }
        if (p.size != 0 && p.size != size()) return resize(p.size);
        opener* next = nullptr;
        {
            hold guard(lock_);
            next = places::wanted_opener();
        }
        static_cast<void>(places::rouse(next));
    }

private:
    /// From here on nobody is served. Without the lock.
    void refuse_all() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!std::exchange(closed_, true)) {
                    places::mark_all(slot_mark::retired);
                    for (lane& l : lanes_)  // nobody finds an idle one any more
                        for (slot** list : {&l.idle, &l.cold}) places::append(l.kept, std::exchange(*list, nullptr));
                    suspended_ = false;
                    while (slot* s = places::unfit_) {
                        places::unfit_ = s->next;
                        lane& l = lanes_[s->lane];
                        --l.opening;
                        --l.fitting;
                        ++l.count;
                        places::put(l.kept, s);
                    }
                    for (std::size_t i = 0; places::has_openers() && i < options_.max_size; ++i)
                        if (is_opening(places::slots_[i])) cancel(places::slots_[i]);
                    if (places::upkeep_op_ != nullptr) places::upkeep_op_->cancelled.store(true, std::memory_order_relaxed);
                }
                if (!lanes_[0].queue.grant_first(nullptr, wake) && !lanes_[1].queue.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }
    /// By an opener: opened, or made fit.
    [[nodiscard]] static bool is_opening(const slot& s) noexcept {
        return s.current != nullptr && (!s.open || s.need != slot_need::nothing);
    }
    static void cancel(slot& s) noexcept {
        s.current->cancelled.store(true, std::memory_order_relaxed);
        if constexpr (requires { s.connection.interrupt(); }) s.connection.interrupt();  // it may be waiting where nobody looks at the flag
    }

    /// True when the pool is at rest; waits for it once, at most until `until`. Without the lock.
    template <class World>
    [[nodiscard]] bool wait_for_rest(World& world, time_point until) noexcept {
        waiter node;
        {
            hold guard(lock_);
            if (places::is_at_rest()) return true;
            if (world.moment().now >= until) return false;
            node.prepare(nullptr);
            places::closers_.push(node);
        }
        world.park(&node, until);
        hold guard(lock_);
        if (node.withdraw()) places::closers_.remove(node);
        return places::is_at_rest();
    }

    /// One after the other, without the lock: closing a connection may take its time.
    void close_idle() noexcept {
        for (;;) {
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = lanes_[0].take_any();
                if (s == nullptr) s = lanes_[1].take_any();
                if (s == nullptr) return;
            }
            places::release_unconnected(s);
        }
    }

    [[nodiscard]] std::size_t size() noexcept {
        hold guard(lock_);
        return lanes_[0].limit + lanes_[1].limit;
    }
    /// Closes what `next`, asked under the lock, hands out.
    template <class Next>
    void close_while(Next next) noexcept {
        for (;;) {
            slot* s = nullptr;
            {
                hold guard(lock_);
                s = next();
                if (s == nullptr) return;
                ++places::retired_;
            }
            places::release_unconnected(s);
        }
    }
    /// Under the lock: one that was kept back for the oldest waiter.
    [[nodiscard]] bool serve_one(lane& l, wake_call& wake) noexcept {
        if (closed_ || l.kept == nullptr || l.queue.empty()) return false;
        slot* s = l.kept;
        if (!l.queue.grant_first(s, wake)) return false;
        l.kept = s->next;
        --l.count;
        return true;
    }
    /// Under the lock.
    void end_suspension() noexcept {
        suspended_ = false;
        for (lane& l : lanes_) places::append(l.idle, std::exchange(l.kept, nullptr));
        for (std::size_t i = 0; i < options_.max_size; ++i) places::slots_[i].marks &= static_cast<std::uint8_t>(~slot_mark::held);
    }
    /// Under the lock, where callers open what they need: a free place for the oldest waiter.
    [[nodiscard]] bool grant_empty(lane& l, wake_call& wake) noexcept {
        if (places::has_openers() || closed_ || suspended_ || l.queue.empty()) return false;
        slot* s = places::take_empty(l);
        if (s == nullptr) return false;
        if (l.queue.grant_first(s, wake)) return true;
        places::free_place(s);
        return false;
    }

    std::uint32_t watched_returns_ = 0;
    std::uint64_t watched_faults_ = 0;
    duration watched_locked_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
