// Who says how large a pool is to be, and how many connections it is to hold ready: an object of the user's choice, asked now and then.
//
// The library's own is in source/pool_planner.hpp. The pool watches itself for the planner, from outside: it looks a few times a second how
// many connections are lent out, and so callers pay nothing for it. How long they wait for locks it learns from the driver, see
// source/pool_lock_watch.hpp.
#ifndef STRATA_SOURCE_POOL_PLAN_HPP
#define STRATA_SOURCE_POOL_PLAN_HPP

#include <strata/core/background.hpp>
#include <strata/source/pool_lock_watch.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace strata::inline STRATA_ABI {

/// What a pool saw since its planner was asked last; the first time: since it began.
struct pool_usage {
    std::chrono::system_clock::time_point wall{};  ///< the calendar's time now
    std::size_t limit = 0;                         ///< so many connections the pool may have now
    std::size_t peak = 0;                          ///< the most that were lent out at once
    std::size_t waiting = 0;                       ///< the most callers that waited at once
    std::uint64_t ended = 0;                       ///< leases that ended
    duration lent{};                               ///< the time that connections were lent out, all together
    std::uint64_t faults = 0;                      ///< leases that ended by a timeout, or because the connection failed
    duration locked{};        ///< of `lent`, the time in which they waited for locks in the database, as far as the driver can tell
    std::size_t besides = 0;  ///< so many connections the pool may have open besides, to ask for locks: they count for the server
};

/// How a pool is to be from now on.
struct pool_plan {
    std::size_t size = 0;   ///< so many connections at most, up to `pool_options::max_size`; 0: as it is
    std::size_t ready = 0;  ///< so many are opened without being asked for, besides `pool_options::min_size`: the larger counts
    duration ask_again{};   ///< the planner is asked again after this; positive
};

class pool_planner {
public:
    /// Called by one thread at a time, which the planner may keep for as long as it needs, without a lock of the pool.
    virtual pool_plan plan(const pool_usage& u, moment m) noexcept = 0;
    /// How often the pool is to look how many connections are lent out; positive.
    [[nodiscard]] virtual duration look_every() const noexcept = 0;
    /// How often the server is to be asked which connections wait for locks, while all are lent out and callers wait; zero: never.
    [[nodiscard]] virtual duration ask_for_locks_every() const noexcept { return {}; }

    virtual ~pool_planner() = default;

protected:
    pool_planner() = default;
    pool_planner(const pool_planner&) = delete;
    pool_planner& operator=(const pool_planner&) = delete;
};

namespace detail {

/// Watches a pool for its planner, and does what that says. `Control` is the pool.
template <class Control>
class pool_planning final : public background {
public:
    explicit pool_planning(Control& control) noexcept : control_(control), locks_(control) {}

    STRATA_COLD time_point run(moment m) noexcept override {
        pool_planner& planner = *control_.planner();
        const pool_look seen = control_.watch(usage_);
        const duration since = last_look_ != time_point{} ? m.now - last_look_ : duration{};
        const std::size_t waits = locks_.waiting(seen, planner.ask_for_locks_every(), m.now);
        usage_.lent += static_cast<duration::rep>(seen.lent) * since;
        usage_.locked += seen.locked + static_cast<duration::rep>(waits) * since;
        last_look_ = m.now;
        if (m.now >= next_plan_) {
            usage_.wall = runner->wall_now();
            if (usage_.locked > usage_.lent) usage_.locked = usage_.lent;
            usage_.besides = locks_.asks && planner.ask_for_locks_every() > duration::zero() ? 1 : 0;
            const pool_plan p = planner.plan(usage_, m);
            usage_ = {};
            next_plan_ = add_saturated(m.now, p.ask_again > duration::zero() ? p.ask_again : std::chrono::seconds{1});
            control_.follow(p);
            locks_.rest();
        }
        const time_point look = add_saturated(m.now, planner.look_every());
        return look < next_plan_ ? look : next_plan_;
    }

    void cancel() noexcept override { locks_.cancel(); }

private:
    Control& control_;
    pool_lock_watch<Control> locks_;
    pool_usage usage_;
    time_point last_look_{};
    time_point next_plan_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
