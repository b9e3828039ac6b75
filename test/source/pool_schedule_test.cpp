// Warming by the clock: ranges of hours against a model that looks at each minute, a user's function, and what days teach.
#include <strata/source/pool_demand.hpp>
#include <strata/source/pool_schedule.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <map>
#include <random>

using namespace std::chrono_literals;
using namespace strata_test;
using schedule = strata::warm_schedule;
using days = strata::demand_days;
using minutes = std::chrono::minutes;
using wall = strata::wall_time;

namespace {

/// 2026-11-20, a Friday, at midnight in Greenwich.
constexpr wall friday{std::chrono::hours{24} * 20'777};

/// What the ranges want in one local minute of an endless week, told minute by minute.
std::size_t model_size(const schedule& s, std::int64_t local_minute) {
    std::size_t most = 0;
    for (const strata::warm_hours& h : s.hours)
        for (std::int64_t day = -3; day <= 3; ++day) {
            const std::int64_t today = (local_minute / 1440 + day) * 1440;
            const std::int64_t from = today + h.from.count(), to = today + h.to.count() + (h.to < h.from ? 1440 : 0);
            if (from - s.lead.count() <= local_minute && local_minute < to) most = std::max(most, h.size);
        }
    return most;
}

struct random_schedules {
    std::mt19937_64 draw{4};
    std::int64_t below(std::int64_t n) { return static_cast<std::int64_t>(draw() % static_cast<std::uint64_t>(n)); }
    schedule make() {
        schedule s;
        const std::int64_t unit = below(2) == 0 ? 1 : 60;  // so that bounds fall together as well
        while (static_cast<std::int64_t>(s.hours.size()) < below(6)) {
            const minutes from{below(1440 / unit + 1) * unit}, to{below(1440 / unit + 1) * unit};
            const bool none = from == to || (from == 24h && to == 0h);
            if (!none) s.hours.push_back({from, to, static_cast<std::size_t>(1 + below(4))});
        }
        s.utc_offset = minutes{below(2) == 0 ? 0 : below(2 * 1440 + 1) - 1440};
        s.lead = minutes{below(3) == 0 ? below(721) : below(20)};
        return s;
    }
};

std::size_t ten_at_odd_minutes(void* calls, wall at) noexcept {
    ++*static_cast<int*>(calls);
    return std::chrono::floor<minutes>(at).time_since_epoch().count() % 2 == 0 ? 0 : 10;
}

}  // namespace

TEST_CASE("ranges of hours want what a model wants that looks at each minute, and say when that changes", "[pool_schedule]") {
    random_schedules random;
    for (int n = count(300, 5'000); n > 0; --n) {
        const schedule s = random.make();
        REQUIRE_FALSE(s.validate());
        std::int64_t minute = 10'000 * 1440 + random.below(1440);  // of the local time
        const auto at = [&](std::int64_t local_minute) { return wall{minutes{local_minute} - s.utc_offset}; };
        const std::int64_t end = minute + 2 * 1440;
        const wall::duration inside = std::chrono::nanoseconds{random.below(60'000'000'000)};
        while (minute < end) {
            const strata::warm_wish wish = s.wanted(at(minute) + inside);
            std::int64_t until = minute;
            for (; until < minute + 1440 && model_size(s, until) == wish.size; ++until) {
            }
            if (until == minute) FAIL("it wants " << wish.size << ", not " << model_size(s, minute));
            const bool changes = until < minute + 1440;
            const wall expected = changes ? at(until) : wall::max();
            if (wish.until != expected) FAIL("it names another end, " << (wish.until - at(0)) / 1min << " not " << until);
            minute = changes ? until : end;
        }
    }
}

TEST_CASE("a range over midnight, at an offset, begins earlier by its lead", "[pool_schedule]") {
    const schedule s{.hours = {{22h, 6h, 8}, {8h, 18h + 30min, 15}}, .utc_offset = 60min, .lead = 10min};
    const auto is = [&](wall::duration utc, std::size_t size, wall::duration until) {
        const strata::warm_wish w = s.wanted(friday + utc);
        CHECK(w.size == size);
        CHECK(w.until == friday + until);
    };
    is(0h, 8, 5h);
    is(5h - 1ns, 8, 5h);
    is(5h, 0, 6h + 50min);
    is(6h + 50min, 15, 17h + 30min);
    is(17h + 30min, 0, 20h + 50min);
    is(21h, 8, 29h);
    const strata::warm_wish before_1970 = s.wanted(wall{-1h - 1ns});  // 23:59:59 there
    CHECK(before_1970.size == 8);
    CHECK(before_1970.until == wall{5h});
}

TEST_CASE("without an end in sight none is named", "[pool_schedule]") {
    CHECK(schedule{}.empty());
    CHECK(schedule{}.wanted(friday).size == 0);
    CHECK(schedule{}.wanted(friday).until == wall::max());
    const schedule all_day{.hours = {{0h, 24h, 3}}};
    CHECK_FALSE(all_day.empty());
    CHECK(all_day.wanted(friday + 7h).size == 3);
    CHECK(all_day.wanted(friday + 7h).until == wall::max());
    const schedule two{.hours = {{0h, 12h, 3}, {12h, 24h, 3}}, .lead = 0min};  // two bounds, but no change
    CHECK(two.wanted(friday + 7h).until == wall::max());
}

TEST_CASE("a function says what hours cannot", "[pool_schedule]") {
    int calls = 0;
    const schedule s{.hours = {{8h, 18h, 4}}, .lead = 0min, .by = ten_at_odd_minutes, .context = &calls};
    CHECK_FALSE(s.empty());
    CHECK(s.wanted(friday + 9h).size == 4);
    CHECK(calls == 2);
    CHECK(s.wanted(friday + 9h + 1min + 59s).size == 10);
    CHECK(s.wanted(friday + 9h + 1min + 59s).until == friday + 9h + 2min);
    CHECK(s.wanted(friday + 9h + 2min).until == friday + 9h + 3min);
    CHECK(s.wanted(friday + 1h).size == 0);
    const schedule early{.lead = 3min, .by = ten_at_odd_minutes, .context = &calls};
    CHECK(early.wanted(friday + 9h).size == 10);  // in three minutes
    CHECK(early.wanted(friday + 9h + 1min).size == 10);
}

TEST_CASE("warm schedules that make no sense name their field", "[pool_schedule]") {
    CHECK_FALSE(schedule{}.validate());
    CHECK_FALSE(schedule{.hours = {{0h, 24h, 1}, {24h, 1h, 1}, {23h, 0h, 1}}, .utc_offset = -24h, .lead = 12h}.validate());
    const auto says = [](const schedule& s) { return s.validate().message(); };
    const std::vector<strata::warm_hours> none;
    CHECK_THAT(says({.hours = std::vector<strata::warm_hours>(101, {1h, 2h, 1})}), contains_text("warm_schedule.hours has more"));
    CHECK_THAT(says({.hours = {{1h, 2h, 1}, {8h, 8h, 1}}}), contains_text("warm_schedule.hours[1]"));
    CHECK_THAT(says({.hours = {{24h, 0h, 1}}}), contains_text("warm_schedule.hours[0]"));
    CHECK_THAT(says({.hours = {{8h, 25h, 1}}}), contains_text("warm_schedule.hours[0]"));
    CHECK_THAT(says({.hours = {{-1h, 5h, 1}}}), contains_text("warm_schedule.hours[0]"));
    CHECK_THAT(says({.hours = none, .utc_offset = 25h}), contains_text("warm_schedule.utc_offset"));
    CHECK_THAT(says({.hours = none, .lead = -1min}), contains_text("warm_schedule.lead"));
    CHECK_THAT(says({.hours = none, .lead = 13h}), contains_text("warm_schedule.lead"));
}

// ------------------------------------------------------------------------------------------------------- what days teach

namespace {

/// One step a minute: `peak(minute of the day, weekday)`, days counted from 0 for Sunday.
void live(strata::learned_demand& d, wall& now, int how_many_days, auto&& peak) {
    for (int minute = how_many_days * 1440; minute > 0; --minute, now += 1min) {
        const auto since_1970 = std::chrono::floor<minutes>(now).time_since_epoch().count();
        d.observe(now, peak(since_1970 % 1440, (since_1970 / 1440 + 4) % 7));
    }
}

/// Few at night, most at two in the afternoon.
std::size_t by_the_sun(std::int64_t minute, std::int64_t) {
    return static_cast<std::size_t>(std::lround(10.5 - 9.5 * std::cos(2 * 3.14159265 * static_cast<double>(minute - 120) / 1440)));
}

}  // namespace

TEST_CASE("after two days the third is expected to be like them", "[learned_demand]") {
    strata::learned_demand d{{.days = days::all, .lead = 0min}};
    wall now = friday;
    CHECK(d.wanted(now).size == 0);
    live(d, now, 2, by_the_sun);
    for (std::int64_t minute = 0; minute < 1440; ++minute) {
        const std::size_t wanted = d.wanted(now + minutes{minute}).size;
        std::size_t most = 0;  // in its quarter of an hour, and at the edge before
        for (std::int64_t m = minute / 15 * 15; m <= minute / 15 * 15 + 15; ++m) most = std::max(most, by_the_sun(m, 0));
        if (wanted != most) FAIL("at minute " << minute << " it wants " << wanted << ", not " << most);
    }
}

TEST_CASE("what was learned is forgotten when it is so no more", "[learned_demand]") {
    strata::learned_demand d{{.days = days::all, .newest = 0.3}};
    wall now = friday;
    live(d, now, 5, [](std::int64_t minute, std::int64_t) { return minute / 60 == 14 ? 20u : 2u; });
    CHECK(d.wanted(now + 14h).size == 20);
    CHECK(d.wanted(now + 13h + 39min).size == 2);
    CHECK(d.wanted(now + 13h + 40min).size == 20);  // by the lead; what was told at 14:00 may have been in the slot before
    CHECK(d.wanted(now + 15h).size == 2);
    CHECK(d.wanted(now + 15h - 1ns).size == 20);
    live(d, now, 1, [](std::int64_t, std::int64_t) { return 0u; });
    CHECK(d.wanted(now + 14h + 30min).size == 14);
    live(d, now, 1, [](std::int64_t, std::int64_t) { return 0u; });
    CHECK(d.wanted(now + 14h + 30min).size == 10);
    live(d, now, 9, [](std::int64_t, std::int64_t) { return 0u; });
    CHECK(d.wanted(now + 14h + 30min).size == 0);
    live(d, now, 1, [](std::int64_t, std::int64_t) { return 20u; });
    CHECK(d.wanted(now + 14h + 30min).size == 6);
}

TEST_CASE("days that differ are learned apart, as told", "[learned_demand]") {
    const auto working_days = [](std::int64_t, std::int64_t weekday) {
        return weekday == 0 || weekday == 6 ? 1u : weekday == 1 ? 30u : 10u;
    };
    const auto at_noon = [&](days which) {
        strata::learned_demand d{{.days = which}};
        wall now = friday;
        live(d, now, 21, working_days);
        std::vector<std::size_t> wanted;  // Friday, Saturday ...
        for (int day = 0; day < 7; ++day) wanted.push_back(d.wanted(now + day * 24h + 12h).size);
        return wanted;
    };
    using sizes = std::vector<std::size_t>;
    CHECK(at_noon(days::weekdays) == sizes{10, 1, 1, 30, 10, 10, 10});
    const sizes apart = at_noon(days::weekends), alike = at_noon(days::all);
    CHECK(apart[1] == 1);
    CHECK(apart[2] == 1);
    CHECK(apart[0] > 10);
    CHECK(apart[0] < 20);
    CHECK(apart == sizes{apart[0], 1, 1, apart[0], apart[0], apart[0], apart[0]});
    CHECK(alike == sizes(7, alike[0]));
}

TEST_CASE("learned demand is what a model learns that keeps each day", "[learned_demand]") {
    std::mt19937_64 draw{6};
    const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(draw() % static_cast<std::uint64_t>(n)); };
    for (int n = count(20, 200); n > 0; --n) {
        constexpr std::int64_t lengths[] = {5, 15, 60, 1440};
        strata::learned_demand_options o;
        o.slot = minutes{lengths[below(4)]};
        o.days = static_cast<days>(below(3));
        o.newest = static_cast<double>(1 + below(100)) / 100;
        o.lead = minutes{below(100)};
        o.utc_offset = minutes{below(2881) - 1440};
        REQUIRE_FALSE(o.validate());
        strata::learned_demand d{o};
        std::map<std::pair<std::int64_t, std::int64_t>, double> learned;  // by kind of day and slot of the day
        const auto key = [&](std::int64_t slot) {                         // counted from 1970
            const std::int64_t a_day = 1440 / o.slot.count(), day = slot / a_day, weekday = (day + 4) % 7;
            const std::int64_t kind = o.days == days::all ? 0 : o.days == days::weekdays ? weekday : weekday % 6 == 0 ? 1 : 0;
            return std::pair{kind, slot % a_day};
        };
        const auto slot_of = [&](wall at) { return ((at.time_since_epoch() + o.utc_offset) / o.slot); };
        wall now = friday + std::chrono::seconds{below(86'400)};
        std::int64_t slot = -1;
        std::size_t peak = 0;
        for (int step = 0; step < 3'000; ++step) {
            const auto told = static_cast<std::size_t>(below(100));
            d.observe(now, told);
            const std::int64_t current = slot_of(now);
            if (current == slot + 1) {
                double& average = learned.try_emplace(key(slot), static_cast<double>(std::max(peak, told))).first->second;
                average += (static_cast<double>(std::max(peak, told)) - average) * o.newest;
            }
            peak = current == slot ? std::max(peak, told) : told;
            slot = current;
            const wall asked = now + std::chrono::seconds{below(7 * 86'400)};
            double most = 0;
            for (std::int64_t s = slot_of(asked); s <= slot_of(asked + o.lead); ++s)
                if (learned.contains(key(s))) most = std::max(most, learned[key(s)]);
            const strata::warm_wish wish = d.wanted(asked);
            const double off = static_cast<double>(wish.size) - most;
            if (off > 0.501 || off < -0.501) FAIL("it wants " << wish.size << ", not " << most);
            const strata::warm_wish later = d.wanted(wish.until - 1ns);
            if (wish.until <= asked || later.size != wish.size || later.until != wish.until)
                FAIL("its wish does not last as long as it said");
            if (wish.until > asked + o.slot) FAIL("a slot ends before");
            switch (below(50)) {
                case 0:
                    now += std::chrono::seconds{below(3 * 86'400)};  // nobody looked
                    break;
                case 1:
                    now -= std::chrono::seconds{below(86'400)};  // the clock was set
                    break;
                default:
                    now += std::chrono::seconds{below(o.slot / 1s)};
            }
        }
        CHECK_FALSE(learned.empty());
    }
}

TEST_CASE("a slot ends where it ends, also where the clock stands before 1970", "[learned_demand]") {
    const strata::learned_demand d{{.slot = minutes{60}}};
    for (const wall now : {wall{-24h * 400 + 7h + 10min}, wall{-10min}, friday + 50min}) {
        const wall end = std::chrono::ceil<std::chrono::hours>(now), until = d.wanted(now).until;
        CHECK(until > now);
        CHECK(until <= end);
    }
}

TEST_CASE("learned demand options that make no sense name their field", "[learned_demand]") {
    using options = strata::learned_demand_options;
    CHECK_FALSE(options{}.validate());
    CHECK_FALSE(options{.slot = 24h, .newest = 1, .lead = 0min, .utc_offset = -24h}.validate());
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.slot = 7min}), contains_text("learned_demand_options.slot"));
    CHECK_THAT(says({.slot = 0min}), contains_text("learned_demand_options.slot"));
    CHECK_THAT(says({.slot = 48h}), contains_text("learned_demand_options.slot"));
    CHECK_THAT(says({.newest = 0}), contains_text("learned_demand_options.newest"));
    CHECK_THAT(says({.newest = 1.1}), contains_text("learned_demand_options.newest"));
    CHECK_THAT(says({.lead = -1min}), contains_text("learned_demand_options.lead"));
    CHECK_THAT(says({.lead = 721min}), contains_text("learned_demand_options.lead"));
    CHECK_THAT(says({.utc_offset = 1441min}), contains_text("learned_demand_options.utc_offset"));
}
