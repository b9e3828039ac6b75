// How many connections were in use at this time of day before: so many a pool can open in time.
//
// The day is cut into slots, a quarter of an hour each where nothing else is said. Of each slot one number is kept: the most that were
// in use at once, averaged over the days so that each newer day counts `newest` and what was before fades: after ten days of something
// else 3 % are left of it (with 0.3). A table of a few kilobytes, which is forgotten when the process ends. Summer time shifts what was
// learned by an hour, until the new days have been learned.
#ifndef STRATA_SOURCE_POOL_DEMAND_HPP
#define STRATA_SOURCE_POOL_DEMAND_HPP

#include <strata/core/heap_array.hpp>
#include <strata/source/pool_schedule.hpp>

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
