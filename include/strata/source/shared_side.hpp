// The shared connections of a `pipelined` source: which of them a statement takes, and where it goes when that is lost.
#ifndef STRATA_SOURCE_SHARED_SIDE_HPP
#define STRATA_SOURCE_SHARED_SIDE_HPP

#include <strata/core/background.hpp>
#include <strata/core/fork.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/core/kept_apart.hpp>
#include <strata/source/pool_options.hpp>
#include <strata/source/shared_lane.hpp>
#include <strata/source/thread_places.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What of a `pipelined` source's options is its own.
struct shared_limits {
    flow_limits flow;
    apart_limits apart;
    std::size_t groups = 1;
    std::size_t each = 1;  ///< connections of a group
    std::size_t max_waiting = 0;
    bool through_pooler = false;
};

/// A source by itself, for flights of statements that share; `Sharing`: the driver, as they see it. `Pool` lends the connections.
template <class Pool, class Sharing>
class shared_side {
    using link = typename Sharing::link;
    using lane = shared_lane<Pool, link>;
    using shared = multiplexer<link>;

public:
    using driver = Sharing;
    using connection = typename Sharing::connection;
    /// What an operation keeps of it.
    class lease final : seat_owner<link> {
        friend class shared_side;
        [[nodiscard]] bool move(operation_base& op, waiter& node, shared*& to, time_point& until) noexcept override {
            return side->move(*this, op, node, to, until);
        }
        [[nodiscard]] shared* arrive(waiter& node) noexcept override {
            shared* const to = on->end_wait(node);
            if (to == nullptr) on = nullptr;
            return to;
        }

        connection seat;
        lane* on = nullptr;
        shared_side* side = nullptr;
    };

    shared_side(Pool& pool, const shared_limits& limits, const pool_options& o)
        : pool_(pool), apart_(limits.apart), limits_(limits), lanes_(limits.groups * limits.each), max_wait_(o.max_wait),
          lifetime_(o.max_lifetime), jitter_(o.lifetime_jitter), period_(o.upkeep_period()), upkeep_(*this) {
        limits_.flow.apart = &apart_;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].belong_to(pool, limits_.flow, limits.through_pooler);
    }
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        if (lifetime_ > duration::zero()) begin(upkeep_);
    }

    /// Whether statements of this text have shown that they keep others waiting.
    [[nodiscard]] STRATA_INLINE bool keeps_apart(std::uint64_t key) noexcept { return apart_.contains(key); }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if (process_.is_forked_child()) [[unlikely]]
            return acquired::refused;
        lane& l = choose();
        if (l.load() >= limits_.max_waiting) [[unlikely]]
            return acquired::refused;
        out.on = &l;
        out.side = this;
        shared* m = l.enter();
        const acquired a = m != nullptr ? acquired::ready : l.wait(node, op.waking(), m);
        if (a == acquired::ready) [[likely]]
            out.seat.sit(*m, &out);
        return a;
    }
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health) noexcept {  // the pool hears what the connection has come to from the lane
        if (lane* const on = std::exchange(l.on, nullptr); on != nullptr) [[likely]]
            on->leave();
    }
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base&, waiter& node, lease& out, duration) noexcept {
        auto* const m = out.on->end_wait(node);
        if (m == nullptr) return acquired::refused;
        out.seat.sit(*m, &out);
        return acquired::ready;
    }
    [[nodiscard]] STRATA_COLD error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if (process_.is_forked_child()) return pool_.refusal(op, now, waited);
        try {
            lane& l = choose();
            if (waited || l.is_closed()) return l.refusal();
            return error{errc::pool_exhausted, "too many statements are on the shared connections already (pipelined_options.max_waiting)",
                         phase::acquire}
                .set_local();
        } catch (...) {  // no memory for the texts
            return error{errc::pool_exhausted, phase::acquire}.set_local();
        }
    }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return l.seat; }
    [[nodiscard]] duration wait_limit() const noexcept { return max_wait_; }
    // Never asked for: a lane is connected by its pool.
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }

    /// Statements that are on shared connections, or wait for one.
    [[nodiscard]] std::size_t load() const noexcept {
        std::size_t all = 0;
        for (std::size_t i = 0; i < number(); ++i) all += lanes_[i].load();
        return all;
    }
    // In a forked child these do nothing.
    /// Opens all connections that are missing.
    void warm() noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].warm();
    }
    void renew(bool close = false) noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].renew(close);
    }
    void cancel_all() noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].cancel_all();
    }

private:
    /// Connections that are too old are left, one after the other.
    class upkeep final : public background {
    public:
        explicit upkeep(shared_side& side) noexcept : side_(side) {}
        STRATA_COLD time_point run(moment m) noexcept override {
            for (std::size_t i = 0; i < side_.number(); ++i) side_.lanes_[i].look_at_age(m, side_.lifetime_, side_.jitter_);
            return add_saturated(m.now, side_.period_);
        }

    private:
        shared_side& side_;
    };

    [[nodiscard]] std::size_t number() const noexcept { return limits_.groups * limits_.each; }
    /// The first connection of this thread's group.
    [[nodiscard]] STRATA_INLINE lane* group() noexcept {
        return &lanes_[limits_.groups == 1 ? 0 : places_.of_this_thread(limits_.groups) * limits_.each];
    }
    /// The one with the fewest statements; one that is not open, only while none is.
    [[nodiscard]] STRATA_INLINE lane& choose() noexcept {
        lane* const all = group();
        lane* best = all;
        for (std::size_t i = 1; i < limits_.each; ++i)
            if (all[i].load() < best->load()) best = all + i;
        if (best->is_open()) [[likely]]
            return *best;
        return choose_open(all, *best);
    }
    [[nodiscard]] STRATA_COLD lane& choose_open(lane* all, lane& best) noexcept {
        lane* open = nullptr;
        for (std::size_t i = 0; i < limits_.each; ++i)
            if (all[i].is_open() && (open == nullptr || all[i].load() < open->load())) open = all + i;
        if (open == nullptr) return best;
        if (best.is_cold() && open->load() != 0) best.warm();
        return *open;
    }
    [[nodiscard]] STRATA_COLD bool move(lease& l, operation_base& op, waiter& node, shared*& to, time_point& until) noexcept {
        std::exchange(l.on, nullptr)->leave();
        lane& next = choose();
        l.on = &next;
        to = next.enter();
        const acquired a = to != nullptr ? acquired::ready : next.wait(node, op.waking(), to);
        if (a == acquired::refused) l.on = nullptr;
        until = std::min(time_point{op.deadline}, add_saturated(steady_now(), max_wait_));
        return a == acquired::wait;
    }

    Pool& pool_;
    fork_guard process_;
    thread_places places_;
    kept_apart apart_;
    shared_limits limits_;
    heap_array<lane> lanes_;
    duration max_wait_;
    duration lifetime_;
    double jitter_;
    duration period_;
    upkeep upkeep_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
