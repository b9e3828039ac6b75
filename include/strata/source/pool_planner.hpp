// The library's planner of a pool: its size follows what the database can do, and connections are ready before they are needed.
//
//   strata::pool_options{.max_size = 50,
//                        .planner = std::make_shared<strata::adaptive_planner>(
//                            strata::planner_options{.sizing = strata::sizing_options{.min = 2, .max = 50},
//                                                    .warm = {.hours = {{8h, 18h, 20}}, .utc_offset = 60min},
//                                                    .learned = strata::learned_demand_options{}})}
//
// Waits for locks in the database are left out of what a size is judged by: source/pool_lock_watch.hpp says how they are known.
// Each part may be left out. How a size is found is told in source/pool_sizing.hpp; how much is held ready in source/pool_schedule.hpp and
// source/pool_demand.hpp, of which the larger counts.
#ifndef STRATA_SOURCE_POOL_PLANNER_HPP
#define STRATA_SOURCE_POOL_PLANNER_HPP

#include <strata/core/lock.hpp>
#include <strata/source/pool_demand.hpp>
#include <strata/source/pool_plan.hpp>
#include <strata/source/pool_sizing.hpp>

#include <memory>
#include <optional>

namespace strata::inline STRATA_ABI {

struct planner_options {
    std::optional<sizing_options> sizing = std::nullopt;  ///< none: the size stays as it is
    server_budget budget{};                               ///< for `sizing`; `adaptive_planner::set_budget` changes it
    /// For `sizing`, on a server (PostgreSQL): while all connections are lent out and callers wait, ten times a period, it is asked over
    /// one more connection how many of the pool's wait for a lock. That connection is part of the budget, and closed when nobody waits any
    /// more.
    bool ask_for_locks = true;
    warm_schedule warm{};
    std::optional<learned_demand_options> learned = std::nullopt;

    [[nodiscard]] error validate() const {
        if (sizing)
            if (error e = sizing->validate()) return e;
        if (error e = warm.validate()) return e;
        return learned ? learned->validate() : error{};
    }
};

/// Thread-safe. One planner plans one pool.
class adaptive_planner final : public pool_planner {
public:
    /// Throws `failure`: `errc::invalid_argument` for options that make no sense.
    explicit adaptive_planner(const planner_options& o) : options_(o) {
        if (error e = o.validate()) throw_failure(std::move(e));
        if (o.learned) demand_ = std::make_unique<learned_demand>(*o.learned);
        if (!o.sizing) return;
        sizer_ = std::make_unique<pool_sizer>(*o.sizing);
        budget_ = o.budget.connections();
    }

    pool_plan plan(const pool_usage& u, moment m) noexcept override {
        hold guard(lock_);
        pool_plan p{.ask_again = std::chrono::seconds{10}};
        if (sizer_ != nullptr) {
            sizer_->set_budget(budget_ > u.besides ? budget_ - u.besides : 1);
            last_ = sizer_->decide({m.now, u.limit, u.peak, u.waiting, u.ended, u.lent - u.locked, u.faults, u.locked});
            if (last_.apply) p.size = last_.target;
            p.ask_again = options_.sizing->period;
        }
        warm_wish wish = options_.warm.wanted(u.wall);
        if (demand_ != nullptr) {
            demand_->observe(u.wall, u.peak + u.waiting);
            const warm_wish learned = demand_->wanted(u.wall);
            if (learned.size > wish.size) wish.size = learned.size;
        }
        p.ready = wish.size;
        const auto left = wish.until - u.wall;
        if (left < p.ask_again) p.ask_again = left;
        return p;
    }
    [[nodiscard]] duration look_every() const noexcept override {
        constexpr int looks = 50;  // a round: the mean of what is lent out is known to a few percent
        return options_.sizing ? options_.sizing->period / looks : duration{std::chrono::seconds{1}};
    }
    [[nodiscard]] duration ask_for_locks_every() const noexcept override {
        return options_.sizing && options_.ask_for_locks ? options_.sizing->period / 10 : duration::zero();
    }

    /// What the server allows has changed: it was asked again, or there are more processes now.
    void set_budget(const server_budget& b) noexcept {
        hold guard(lock_);
        budget_ = b.connections();
    }
    /// The latest decision on the size, and how many waits for locks were left out; in a dry run: what would have been done.
    [[nodiscard]] sizing_decision decision() const noexcept {
        hold guard(lock_);
        return last_;
    }

private:
    const planner_options options_;
    mutable inline_lock lock_;
    std::unique_ptr<pool_sizer> sizer_;
    std::size_t budget_ = 1;
    std::unique_ptr<learned_demand> demand_;
    sizing_decision last_{0, sizing_reason::measuring, false};
};

}  // namespace strata::inline STRATA_ABI

#endif
