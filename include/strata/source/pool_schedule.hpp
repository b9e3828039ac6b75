// How many connections a pool is to hold at this time of day, as the user says: by ranges of hours, or by a function.
//
//   strata::warm_schedule{.hours = {{8h, 18h + 30min, 15}, {22h, 6h, 8}}, .utc_offset = 60min}
//
// A range may go over midnight. Where ranges overlap the largest size counts. Connections take time to open, so a range begins earlier by
// `lead`. Days are alike, and summer time is not known here: what depends on either is told by the function.
#ifndef STRATA_SOURCE_POOL_SCHEDULE_HPP
#define STRATA_SOURCE_POOL_SCHEDULE_HPP

#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>

#include <algorithm>
#include <vector>

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
