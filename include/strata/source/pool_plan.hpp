// Who says how large a pool is to be, and how many connections it is to hold ready: an object of the user's choice, asked now and then.
//
// The library's own is in source/pool_planner.hpp. The pool watches itself for the planner, from outside: it looks a few times a second how
// many connections are lent out, and so callers pay nothing for it.
#ifndef STRATA_SOURCE_POOL_PLAN_HPP
#define STRATA_SOURCE_POOL_PLAN_HPP

#include <strata/core/background.hpp>

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
    explicit pool_planning(Control& control) noexcept : control_(control) {}

    STRATA_COLD time_point run(moment m) noexcept override {
        pool_planner& planner = *control_.planner();
        const std::size_t lent = control_.watch(usage_);
        if (last_look_ != time_point{}) usage_.lent += static_cast<duration::rep>(lent) * (m.now - last_look_);
        last_look_ = m.now;
        if (m.now >= next_plan_) {
            usage_.wall = runner->wall_now();
            const pool_plan p = planner.plan(usage_, m);
            usage_ = {};
            next_plan_ = add_saturated(m.now, p.ask_again > duration::zero() ? p.ask_again : std::chrono::seconds{1});
            control_.follow(p);
        }
        const time_point look = add_saturated(m.now, planner.look_every());
        return look < next_plan_ ? look : next_plan_;
    }

private:
    Control& control_;
    pool_usage usage_;
    time_point last_look_{};
    time_point next_plan_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
