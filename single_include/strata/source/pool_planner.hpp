// Generated from include/strata/source/pool_planner.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_SOURCE_POOL_PLANNER_HPP
#define STRATA_SINGLE_SOURCE_POOL_PLANNER_HPP

#include <strata/strata.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

// How many connections a pool is to hold at this time of day, as the user says: by ranges of hours, or by a function.
//
//   strata::warm_schedule{.hours = {{8h, 18h + 30min, 15}, {22h, 6h, 8}}, .utc_offset = 60min}
//
// A range may go over midnight. Where ranges overlap the largest size counts. Connections take time to open, so a range begins earlier by
// `lead`. Days are alike, and summer time is not known here: what depends on either is told by the function.
#ifndef STRATA_SOURCE_POOL_SCHEDULE_HPP
#define STRATA_SOURCE_POOL_SCHEDULE_HPP

namespace strata::inline STRATA_ABI {

/// Time as a calendar has it. Never read by the library's decisions: it is handed in.
using wall_time = std::chrono::system_clock::time_point;

/// From `from` (included) to `to` (excluded), both local times of day, from 0 h to 24 h. `to` before `from`: on the next day.
struct warm_hours {
    std::chrono::minutes from;
    std::chrono::minutes to;
    std::size_t size;  ///< so many connections at least
};

/// What is wanted at one time.
struct warm_wish {
    std::size_t size = 0;
    wall_time until = wall_time::max();  ///< it stays so until then
};

namespace detail {

/// The time since midnight, `offset` east of Greenwich; also for times before 1970.
[[nodiscard]] constexpr wall_time::duration time_of_day(wall_time at, std::chrono::minutes offset) noexcept {
    constexpr wall_time::duration day = std::chrono::hours{24};
    const wall_time::duration t = (at.time_since_epoch() % day + offset) % day;
    return t < wall_time::duration::zero() ? t + day : t;
}

}  // namespace detail

/// Both functions are const and may be called from several threads, if `by` may. They take time in proportion to the ranges, squared.
struct warm_schedule {
    std::vector<warm_hours> hours{};    ///< at most 100
    std::chrono::minutes utc_offset{};  ///< of the hours: east of Greenwich positive; -24 h to 24 h
    std::chrono::minutes lead{5};       ///< so much earlier each range begins; 0 to 12 h
    /// The size at `at`, besides the hours: the larger counts. Asked for now and for `lead` later, of which the larger counts too, and
    /// again at each whole minute. Must not block. Null: none.
    std::size_t (*by)(void* context, wall_time at) noexcept = nullptr;
    void* context = nullptr;  ///< handed to `by`

    [[nodiscard]] bool empty() const noexcept { return hours.empty() && by == nullptr; }

    /// How many are wanted now, and when that is to change. Zero: it wants none.
    [[nodiscard]] warm_wish wanted(wall_time now) const noexcept {
        const wall_time::duration local = detail::time_of_day(now, utc_offset);
        warm_wish wish{by_hours(local)};
        wall_time::duration to_change{};
        do to_change += to_next_bound(local + to_change);
        while (to_change <= day && by_hours(local + to_change) == wish.size);
        if (to_change <= day) wish.until = now + to_change;
        if (by == nullptr) return wish;
        const wall_time next_minute = std::chrono::floor<std::chrono::minutes>(now) + std::chrono::minutes{1};
        return {std::max({wish.size, by(context, now), by(context, now + lead)}), std::min(wish.until, next_minute)};
    }

    /// Names the first field that makes no sense, and the first range.
    [[nodiscard]] error validate() const {
        const auto bad = [](std::initializer_list<std::string_view> what) {
            return error{errc::invalid_argument, detail::joined(what), phase::admission};
        };
        if (hours.size() > 100) return bad({"warm_schedule.hours has more than 100 ranges"});
        for (std::size_t i = 0; i < hours.size(); ++i) {
            const warm_hours& h = hours[i];
            const auto is_time = [](std::chrono::minutes m) { return m >= std::chrono::minutes{0} && m <= day; };
            if (!is_time(h.from) || !is_time(h.to) || length(h) == wall_time::duration::zero())
                return bad(
                    {"warm_schedule.hours[", detail::digits_of(i), "] must go from one time of day to another, each in 0 h to 24 h"});
        }
        if (utc_offset < -day || utc_offset > day) return bad({"warm_schedule.utc_offset must lie in -24 h to 24 h"});
        if (lead < std::chrono::minutes{0} || lead > std::chrono::hours{12}) return bad({"warm_schedule.lead must lie in 0 to 12 h"});
        return {};
    }

private:
    static constexpr std::chrono::minutes day = std::chrono::hours{24};

    [[nodiscard]] static wall_time::duration length(const warm_hours& h) noexcept {
        return h.to < h.from ? h.to - h.from + day : h.to - h.from;
    }
    /// From one time of day forward to another: less than a day.
    [[nodiscard]] static wall_time::duration from_to(wall_time::duration from, wall_time::duration to) noexcept {
        const wall_time::duration d = (to - from) % day;
        return d < wall_time::duration::zero() ? d + day : d;
    }
    [[nodiscard]] std::size_t by_hours(wall_time::duration local) const noexcept {
        std::size_t most = 0;
        for (const warm_hours& h : hours)
            if (from_to(h.from - lead, local) < length(h) + lead) most = std::max(most, h.size);
        return most;
    }
    /// To the next beginning or end of a range; more than a day where there is none.
    [[nodiscard]] wall_time::duration to_next_bound(wall_time::duration local) const noexcept {
        wall_time::duration least = 2 * day;
        for (const warm_hours& h : hours)
            for (const wall_time::duration bound : {wall_time::duration{h.from - lead}, wall_time::duration{h.to}}) {
                const wall_time::duration d = from_to(local, bound);
                least = std::min(least, d > wall_time::duration::zero() ? d : day);
            }
        return least;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// How many connections were in use at this time of day before: so many a pool can open in time.
//
// The day is cut into slots, a quarter of an hour each where nothing else is said. Of each slot one number is kept: the most that were
// in use at once, averaged over the days so that each newer day counts `newest` and what was before fades: after ten days of something
// else 3 % are left of it (with 0.3). A table of a few kilobytes, which is forgotten when the process ends. Summer time shifts what was
// learned by an hour, until the new days have been learned.
#ifndef STRATA_SOURCE_POOL_DEMAND_HPP
#define STRATA_SOURCE_POOL_DEMAND_HPP

namespace strata::inline STRATA_ABI {

/// Which days are alike.
enum class demand_days : std::uint8_t {
    all,       ///< each day is like the one before
    weekends,  ///< Saturday and Sunday are learned apart from the other days
    weekdays   ///< each day of the week by itself: it takes weeks to learn
};

struct learned_demand_options {
    std::chrono::minutes slot{15};             ///< a divisor of a day, from 1 minute to 24 h
    demand_days days = demand_days::weekends;  ///< what is learned of one day is expected of those that are like it
    double newest = 0.3;                       ///< what the newest day counts, in (0, 1]; 1: only it
    std::chrono::minutes lead{5};              ///< so much earlier a slot's connections are wanted; 0 to 12 h
    std::chrono::minutes utc_offset{};         ///< where days begin: east of Greenwich positive; -24 h to 24 h

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* what) { return error{errc::invalid_argument, what, phase::admission}; };
        constexpr std::chrono::minutes none{0}, day = std::chrono::hours{24};
        if (slot <= none || slot > day || day % slot != none) return bad("learned_demand_options.slot must divide a day into equal slots");
        if (!(newest > 0.0 && newest <= 1.0)) return bad("learned_demand_options.newest must lie in 0 to 1, without 0");
        if (lead < none || lead > std::chrono::hours{12}) return bad("learned_demand_options.lead must lie in 0 to 12 h");
        if (utc_offset < -day || utc_offset > day) return bad("learned_demand_options.utc_offset must lie in -24 h to 24 h");
        return {};
    }
};

/// Not thread-safe. Allocates its table when it is made: 4 bytes a slot.
class learned_demand {
public:
    /// `o` must be valid.
    explicit learned_demand(const learned_demand_options& o)
        : options_(o), slots_a_day_(std::chrono::hours{24} / o.slot),
          table_(static_cast<std::size_t>(slots_a_day_) * (o.days == demand_days::all        ? 1
                                                           : o.days == demand_days::weekends ? 2
                                                                                             : 7)) {}

    /// `peak`: the most that were in use at once since the last call, those that waited in vain included. To be told at least once a slot:
    /// one that passed between two calls is not learned.
    void observe(wall_time now, std::size_t peak) noexcept {
        const std::int64_t slot = slot_of(now);
        const bool next = begun_ && slot == slot_ + 1;  // when between the two calls it was is not known: it counts for both slots
        if (next || (begun_ && slot == slot_)) peak_ = std::max(peak_, peak);
        if (next) learn();
        if (!begun_ || slot != slot_) peak_ = peak;
        begun_ = true;
        slot_ = slot;
    }

    /// How many were needed before, at this time of day and for `lead` from now on. Zero where nothing was learned yet. It may stay so
    /// longer than until `until`.
    [[nodiscard]] warm_wish wanted(wall_time now) const noexcept {
        const wall_time later = now + options_.lead;
        float most = 0;
        for (std::int64_t slot = slot_of(now); slot <= slot_of(later); ++slot) most = std::max(most, level(slot) - 1);
        return {static_cast<std::size_t>(most + 0.5F), std::min(now + to_next_slot(now), now + to_next_slot(later))};
    }

private:
    /// Counted from 1970 on.
    [[nodiscard]] std::int64_t slot_of(wall_time at) const noexcept {
        const auto minute = std::chrono::floor<std::chrono::minutes>(at).time_since_epoch() + options_.utc_offset;
        return (minute - (minute % options_.slot + options_.slot) % options_.slot) / options_.slot;
    }
    [[nodiscard]] wall_time::duration to_next_slot(wall_time at) const noexcept {
        return options_.slot - detail::time_of_day(at, options_.utc_offset) % options_.slot;
    }
    /// 0: never seen; else 1 more than the average.
    [[nodiscard]] float& level(std::int64_t slot) const noexcept {
        const std::int64_t in_day = (slot % slots_a_day_ + slots_a_day_) % slots_a_day_, day = (slot - in_day) / slots_a_day_;
        const std::int64_t weekday = ((day + 4) % 7 + 7) % 7;  // of 1970-01-01: Thursday
        const std::int64_t kind = options_.days == demand_days::all        ? 0
                                  : options_.days == demand_days::weekdays ? weekday
                                                                           : std::int64_t{weekday == 0 || weekday == 6};
        return table_[static_cast<std::size_t>(kind * slots_a_day_ + in_day)];
    }
    void learn() noexcept {
        float& l = level(slot_);
        const auto seen = static_cast<float>(peak_) + 1;
        l = l == 0 ? seen : l + (seen - l) * static_cast<float>(options_.newest);
    }

    learned_demand_options options_;
    std::int64_t slots_a_day_;
    detail::heap_array<float> table_;
    bool begun_ = false;
    std::int64_t slot_ = 0;  ///< the one that is being observed
    std::size_t peak_ = 0;   ///< in it
};

}  // namespace strata::inline STRATA_ABI

#endif

// How large a pool should be: as large as the database turns more connections into more work.
//
// With N connections busy, each lease taking the time R, the database does N / R leases a second. How much one more connection brings is
//
//     worth = 1 - ln(R' / R) / ln(N' / N)          R' measured at the size N', R at N
//
// 1: all that it would bring on an idle server (R did not change); 0: nothing, R grew as N did; less: harm. The sizer measures at one size,
// tries another a quarter or a half away, and stays there if more is worth it (or less costs little), else it goes back. Only such a
// comparison moves the target: slower queries change R at both sizes alike. The limit of policy/concurrency_limit.hpp, which holds R
// against what is usual, must first see a time of little load to learn that, and is lowered by slower queries until it has learned them.
//
// A target that has been found is left alone for a time that doubles with each trial in vain, unless R changes by much. A trial takes a
// few rounds, in which the database may do up to a third less. Nothing is tried unless all connections are in use, callers wait, and the
// database is what keeps the connections busy. When leases end by faults (timeouts) the pool becomes smaller at once, and quickly half as
// large as it was when that is over.
//
// Waits for locks are not the database's work. Where they take 30 % of the time or more, the size stays as it is, and timeouts are no
// reason to change it: neither a larger pool nor a smaller one helps callers who wait for one row. Where they take less, they are left out
// of R, but a larger size must bring more leases a second.
#ifndef STRATA_SOURCE_POOL_SIZING_HPP
#define STRATA_SOURCE_POOL_SIZING_HPP

namespace strata::inline STRATA_ABI {

/// What a server allows, as the caller has asked it.
struct server_budget {
    std::size_t max_connections = 100;   ///< PostgreSQL's setting of that name
    std::size_t superuser_reserved = 3;  ///< `superuser_reserved_connections` and `reserved_connections`
    std::int64_t role_limit = -1;        ///< the role's `rolconnlimit`; negative: none
    std::size_t instances = 1;           ///< so many processes with a pool like this one, this one included
    double share = 1;                    ///< of what is left of the server, for all of them; in (0, 1]

    /// So many connections this pool may have: at least 1.
    [[nodiscard]] constexpr std::size_t connections() const noexcept {
        std::size_t all = max_connections > superuser_reserved ? max_connections - superuser_reserved : 0;
        if (role_limit >= 0 && static_cast<std::size_t>(role_limit) < all) all = static_cast<std::size_t>(role_limit);
        const auto ours = static_cast<std::size_t>(static_cast<double>(all) * share) / (instances > 0 ? instances : 1);
        return ours > 0 ? ours : 1;
    }
};

struct sizing_options {
    std::size_t min = 1;                        ///< never fewer, unless the server allows fewer; at least 1
    std::size_t max = 64;                       ///< never more; `min` to 65,535
    duration period = std::chrono::seconds{2};  ///< a round: how often the sizer is to be asked; 10 ms to 1 h
    double worth = 0.25;                        ///< a connection must bring this share of what it would on an idle server; in [0.05, 0.95]
    double tolerance = 1.5;      ///< when leases take so many times as long as before, or as short, a target is looked at anew; above 1
    std::uint32_t samples = 30;  ///< a round counts when so many leases ended, else some rounds together; 1 to 1,000,000
    std::uint32_t longest_rest = 512;  ///< a target is tried again after so many rounds at the latest; 8 to 1,000,000
    double fault_share = 0.05;         ///< when so many of the leases end by faults, the pool becomes smaller; in (0, 1]
    double backoff = 0.9;              ///< what is left of it then, each round; in (0, 1)
    bool dry_run = false;              ///< decisions are only told

    [[nodiscard]] error validate() const {
        const auto bad = [](std::string_view field, std::string_view rule) {
            return error{errc::invalid_argument, detail::joined({"sizing_options.", field, " must lie ", rule}), phase::admission};
        };
        if (min < 1 || min > 65'535) return bad("min", "in 1 to 65,535");
        if (max < min || max > 65'535) return bad("max", "in `min` to 65,535");
        if (period < std::chrono::milliseconds{10} || period > std::chrono::hours{1}) return bad("period", "in 10 ms to 1 h");
        if (!(worth >= 0.05 && worth <= 0.95)) return bad("worth", "in 0.05 to 0.95");
        if (!(tolerance > 1.0 && tolerance <= 1e6)) return bad("tolerance", "between 1 and 1,000,000");
        if (samples < 1 || samples > 1'000'000) return bad("samples", "in 1 to 1,000,000");
        if (longest_rest < 8 || longest_rest > 1'000'000) return bad("longest_rest", "in 8 to 1,000,000");
        if (!(fault_share > 0.0 && fault_share <= 1.0)) return bad("fault_share", "in 0 to 1, without 0");
        if (!(backoff > 0.0 && backoff < 1.0)) return bad("backoff", "between 0 and 1");
        return {};
    }
};

/// What a pool saw since the sizer was asked last.
struct sizing_round {
    time_point now{};
    std::size_t size = 0;      ///< so many connections the pool may have now: its limit
    std::size_t peak = 0;      ///< the most that were leased at once
    std::size_t waiting = 0;   ///< the most callers that waited at once
    std::uint64_t ended = 0;   ///< leases that ended
    duration served{};         ///< the time that the database worked on leases, all together: without waits for locks
    std::uint64_t faults = 0;  ///< leases that ended by a timeout, or because the connection failed
    duration locked{};         ///< the time that leases waited for locks in the database, all together
};

enum class sizing_reason : std::uint8_t {
    measuring,      ///< it stays until enough is known
    opening,        ///< it stays: connections are being opened, or leases of a larger size are still out
    application,    ///< it stays: nobody waits for a connection
    not_busy,       ///< it stays: the database works on too few (little to do, or the application's own work between statements)
    at_target,      ///< it stays: another size was not better
    grow,           ///< a larger size is tried
    shrink,         ///< a smaller size is tried
    back,           ///< what was tried was not better
    faults,         ///< smaller, for leases ended by faults
    recovering,     ///< larger: faults have ended
    limits,         ///< it stays at `max`, or was outside of `min` to `max`
    server_budget,  ///< it stays at what the server's budget allows, or was beyond it
    locks,          ///< it stays: too many leases wait for locks
};

[[nodiscard]] constexpr std::string_view to_string(sizing_reason r) noexcept {
    constexpr std::string_view names[] = {"measuring", "opening", "application", "not_busy", "at_target",     "grow", "shrink",
                                          "back",      "faults",  "recovering",  "limits",   "server_budget", "locks"};
    return names[static_cast<std::size_t>(r)];
}

struct sizing_decision {
    std::size_t target;  ///< so many connections are best, as far as is known
    sizing_reason reason;
    bool apply;             ///< the pool is to be resized to `target`; never in a dry run
    double lock_waits = 0;  ///< so many leases, on the average of the round, waited for locks; their time was left out
};

/// Not thread-safe. Asked once a round, it takes some 300 instructions (measured), and allocates nothing. A pool whose size is changed by
/// another, or not changed in a dry run, is measured anew at the size that it has.
class pool_sizer {
public:
    /// `o` must be valid.
    explicit pool_sizer(const sizing_options& o) noexcept : options_(o) {}

    /// From now on no more than this, whatever the options say (`server_budget::connections`); 0 counts as 1.
    void set_budget(std::size_t connections) noexcept {
        connections = std::max<std::size_t>(connections, 1);
        if (target_ == budget_ && connections > budget_) {  // there may be use for them now
            rest_ = 0;
            up_ = true;
        }
        budget_ = connections;
    }

    [[nodiscard]] sizing_decision decide(const sizing_round& r) noexcept {
        if (r.size != target_) stand_at(r.size);
        const duration elapsed = r.now - std::exchange(last_, r.now);
        const sizing_reason reason = judge(r, elapsed);
        const double waits =
            elapsed > duration::zero() ? static_cast<double>(r.locked.count()) / static_cast<double>(elapsed.count()) : 0.0;
        return {target_, reason, target_ != r.size && !options_.dry_run, waits};
    }

private:
    static constexpr double small_step = 0.25, large_step = 0.5;
    static constexpr double least_blocks = 3, most_blocks = 60;
    static constexpr double busy = 0.7;  ///< so much of the time the database must be at work on a connection
    static constexpr std::uint32_t first_rest = 8, longest_unmeasured = 30;

    /// A round, or some: until enough leases have ended.
    struct block {
        double leases = 0;
        double worked = 0;  ///< nanoseconds of the database
        double locked = 0;  ///< and in which leases waited for locks
        double held = 0;    ///< and what they would be if it worked on all leases all the time
    };
    /// What leases took at one size.
    struct measure {
        double sum = 0;      ///< of the blocks' means
        double squares = 0;  ///< and of their squares
        double blocks = 0;
        block all;

        void add(double mean, const block& b) noexcept {
            sum += mean;
            squares += mean * mean;
            ++blocks;
            all.leases += b.leases;
            all.worked += b.worked;
            all.locked += b.locked;
            all.held += b.held;
        }
        [[nodiscard]] double mean() const noexcept { return sum / blocks; }
        [[nodiscard]] double mean_with_locks() const noexcept { return mean() * (1 + all.locked / std::max(all.worked, 1.0)); }
        /// The variance of the mean's logarithm: as the blocks differ, but no less than that of so many exponential times.
        [[nodiscard]] double variance() const noexcept {
            const double seen = blocks > 1 ? (squares / blocks / (mean() * mean()) - 1) / (blocks - 1) : 1;
            return std::max(seen, 1 / all.leases);
        }
        /// Too far from the others for chance: of few blocks it is not known how far they lie from each other.
        [[nodiscard]] bool is_alien(double block_mean) const noexcept {
            const double of_one = blocks >= least_blocks ? variance() * blocks : 4 * blocks / all.leases;
            return std::abs(std::log(block_mean / mean())) > 3 * std::sqrt(of_one);
        }
        [[nodiscard]] bool is_enough(double precision) const noexcept {
            return blocks >= most_blocks || variance() <= precision * precision;
        }
    };

    struct compared {
        std::size_t size = 0;  ///< 0: nothing is being tried
        measure here{};
    };

    [[nodiscard]] std::size_t most() const noexcept { return std::min(options_.max, budget_); }
    [[nodiscard]] std::size_t least() const noexcept { return std::min(options_.min, budget_); }

    [[nodiscard]] sizing_reason judge(const sizing_round& r, duration elapsed) noexcept {
        if (target_ > most()) return move_to(most(), budget_ < options_.max ? sizing_reason::server_budget : sizing_reason::limits);
        if (target_ < least()) return move_to(least(), sizing_reason::limits);
        const auto all = static_cast<double>(r.ended + r.faults);
        const bool many = r.faults > 0 && static_cast<double>(r.faults) >= options_.fault_share * all;
        if (many && r.peak >= r.size && !is_for_locks(r)) return fall();
        falling_ = false;
        if (r.waiting > 0 && r.peak != r.size) {  // connections are missing, or leases of a larger size are still out
            settling_ = 1;
            return base_.size != 0 && ++unmeasured_ >= longest_unmeasured ? give_up() : sizing_reason::opening;
        }
        if (settling_ > 0) {  // leases that began before the move are among those that ended
            --settling_;
            return sizing_reason::measuring;
        }
        if (r.waiting == 0) return lull(r.peak, sizing_reason::application);
        if (target_ >= recover_to_) recover_to_ = 0;
        if (recover_to_ != 0 && r.ended > 0) return move_to(std::min({2 * target_, recover_to_, most()}), sizing_reason::recovering);
        return measured(r, elapsed);
    }

    [[nodiscard]] sizing_reason measured(const sizing_round& r, duration elapsed) noexcept {
        if (rest_ > 0) --rest_;
        block_.leases += static_cast<double>(r.ended);
        block_.worked += static_cast<double>(r.served.count());
        block_.locked += static_cast<double>(r.locked.count());
        block_.held += static_cast<double>(elapsed.count()) * static_cast<double>(r.size);
        if (base_.size == 0 && next_size() == target_) turn();
        if (block_.leases < options_.samples) return still();
        const block done = std::exchange(block_, {});
        const double mean = std::max(done.worked / done.leases, 1.0);
        if (here_.blocks > 0 && here_.is_alien(mean) && differs(mean, here_.mean())) {  // other queries have come
            here_ = {};
            if (base_.size != 0) return void_trial();
        }
        here_.add(mean, done);
        if (here_.blocks < least_blocks) return still();
        if (here_.all.worked < busy * here_.all.held)
            return here_.all.worked + here_.all.locked < busy * here_.all.held ? lull(r.peak, sizing_reason::not_busy) : locked_out();
        if (base_.size != 0) return compare();
        if (!is_enough(next_size())) return still();
        if (usual_ != 0 && differs(here_.mean(), usual_)) {
            rest_ = 0;
            up_ = here_.mean() < usual_;
        }
        if (rest_ == 0) return try_next();
        here_ = {};
        return still();
    }
    [[nodiscard]] sizing_reason still() const noexcept {
        if (rest_ == 0) return sizing_reason::measuring;
        if (target_ == most()) return budget_ < options_.max ? sizing_reason::server_budget : sizing_reason::limits;
        return sizing_reason::at_target;
    }

    [[nodiscard]] std::size_t next_size() const noexcept {
        const auto now = static_cast<double>(target_), factor = 1 + step_;
        return up_ ? std::min(most(), std::max(target_ + 1, static_cast<std::size_t>(now * factor + 0.5)))
                   : std::max(least(), std::min(target_ - 1, static_cast<std::size_t>(now / factor + 0.5)));
    }
    /// Between two sizes, as far as throughput can tell them apart.
    [[nodiscard]] double distance_to(std::size_t size) const noexcept {
        return std::log(static_cast<double>(target_) / static_cast<double>(size));
    }
    /// What leases take here is known as well as a comparison with `other` asks for.
    [[nodiscard]] bool is_enough(std::size_t other) const noexcept {
        return here_.is_enough((step_ > small_step ? 0.15 : 0.045) * std::abs(distance_to(other)));
    }

    /// From the size that was measured to the next, if there is one.
    [[nodiscard]] sizing_reason try_next() noexcept {
        const std::size_t next = next_size();
        usual_ = here_.mean();
        if (next == target_) {
            here_ = {};
            return still();
        }
        const compared base{target_, here_};
        static_cast<void>(move_to(next, sizing_reason::grow));
        base_ = base;
        return up_ ? sizing_reason::grow : sizing_reason::shrink;
    }

    [[nodiscard]] sizing_reason compare() noexcept {
        const double distance = distance_to(base_.size);
        const double longer = up_ ? here_.mean_with_locks() / base_.here.mean_with_locks() : here_.mean() / base_.here.mean();
        const double worth = 1 - std::log(longer) / distance;
        const double doubt = 2 * std::sqrt(here_.variance() + base_.here.variance()) / std::abs(distance);
        if (worth - doubt > 1.3 || worth + doubt < -2.5) return void_trial();  // no server is like that: other queries have come
        if (up_ ? worth - doubt > options_.worth : worth + doubt < options_.worth) {
            step_ = large_step;
            rest_length_ = first_rest;
            base_ = {};
            return try_next();
        }
        const bool in_vain = up_ ? worth + doubt < options_.worth : worth - doubt > options_.worth;
        return in_vain || is_enough(base_.size) ? give_up() : sizing_reason::measuring;
    }

    [[nodiscard]] bool differs(double one, double other) const noexcept {
        return one > options_.tolerance * other || other > options_.tolerance * one;
    }
    /// Back to where it was: nothing was learned.
    [[nodiscard]] sizing_reason void_trial() noexcept {
        rest_ = first_rest;
        return move_to(base_.size, sizing_reason::back);
    }
    /// Back to where it was; nearer next time, or the other way after a rest.
    [[nodiscard]] sizing_reason give_up() noexcept {
        const std::size_t size = base_.size;
        if (step_ > small_step)
            step_ = small_step;
        else
            turn();
        return move_to(size, sizing_reason::back);
    }
    void turn() noexcept {
        up_ = !up_;
        rest_ = rest_length_;
        rest_length_ = std::min(2 * rest_length_, options_.longest_rest);
    }

    /// Nothing can be measured. A larger size that is being tried is kept while more is in use than before.
    [[nodiscard]] sizing_reason lull(std::size_t peak, sizing_reason why) noexcept {
        here_ = {};
        block_ = {};
        if (base_.size != 0 && !(up_ && peak > base_.size)) return void_trial();
        if (++unmeasured_ >= longest_unmeasured) base_ = {};  // what was measured then is of another time
        return why;
    }

    /// Locks are what keeps the connections. What was being tried is given up: either it brought them about, or no size helps.
    [[nodiscard]] sizing_reason locked_out() noexcept {
        if (base_.size != 0) return give_up();
        here_ = {};
        return sizing_reason::locks;
    }
    [[nodiscard]] static bool is_for_locks(const sizing_round& r) noexcept {
        return static_cast<double>(r.locked.count()) > (1 - busy) * static_cast<double>((r.locked + r.served).count());
    }

    [[nodiscard]] sizing_reason fall() noexcept {
        if (base_.size != 0 && up_) return give_up();
        if (!std::exchange(falling_, true)) recover_to_ = target_ / 2;
        step_ = small_step;
        up_ = true;
        rest_ = rest_length_ = first_rest;
        const auto left = static_cast<std::size_t>(static_cast<double>(target_) * options_.backoff);
        return move_to(std::max(least(), std::min(left, target_ - 1)), sizing_reason::faults);
    }

    [[nodiscard]] sizing_reason move_to(std::size_t size, sizing_reason why) noexcept {
        target_ = size;
        base_ = {};
        here_ = {};
        block_ = {};
        settling_ = 1;
        unmeasured_ = 0;
        return why;
    }
    void stand_at(std::size_t size) noexcept {
        static_cast<void>(move_to(size, sizing_reason::measuring));
        recover_to_ = 0;
    }

    const sizing_options options_;
    std::size_t budget_ = std::numeric_limits<std::size_t>::max();
    time_point last_{};
    std::size_t target_ = 0;
    compared base_;  ///< where it was before what is being tried
    measure here_;   ///< at the target
    block block_;
    double usual_ = 0;  ///< nanoseconds, when the target was looked at
    double step_ = large_step;
    bool up_ = true;                ///< where it goes next
    bool falling_ = false;          ///< the round before was one of faults
    std::uint32_t settling_ = 0;    ///< rounds that are passed over
    std::uint32_t unmeasured_ = 0;  ///< rounds of a trial in which nothing could be measured
    std::uint32_t rest_ = 0;        ///< rounds until the next is tried
    std::uint32_t rest_length_ = first_rest;
    std::size_t recover_to_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

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

#endif
