// How a pool is set up, and what it tells of itself; its errors are in source/pool_errors.hpp.
#ifndef STRATA_SOURCE_POOL_OPTIONS_HPP
#define STRATA_SOURCE_POOL_OPTIONS_HPP

#include <strata/core/shared_function.hpp>
#include <strata/source/connect_governor.hpp>
#include <strata/source/pool_plan.hpp>

#include <cstddef>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What is done to a connection that comes back from a session, or from a transaction that set something for the session.
enum class session_reset : std::uint8_t {
    rollback_only,  ///< nothing, unless a transaction was left open: that is rolled back, whatever is chosen
    discard_all,    ///< PostgreSQL: DISCARD ALL, and its statements are prepared anew; a driver without that: the connection is closed
    custom          ///< `pool_options::reset_sql` is run; where it fails the connection is closed
};

/// A lease that was out for longer than `pool_options::leak_threshold`. The texts live until the function returns.
struct pool_leak {
    std::string_view name;       ///< of the operation, else its statement; empty for a session or transaction without a name
    std::source_location where;  ///< where `begin()` or `session()` was called; line 0 for anything else
    duration held{};             ///< for how long at least: it is looked for only now and then
};

struct pool_options {
    std::size_t min_size = 1;                      ///< connections opened when the database is constructed; 0: none
    std::size_t max_size = 8;                      ///< never more than this; on SQLite one of them writes
    std::size_t reserved = 0;                      ///< besides these, so many for `db.independent()`, opened when they are needed
    duration max_wait = std::chrono::seconds{30};  ///< how long a caller waits for a connection at most
    std::size_t max_waiting = 10'000;              ///< callers beyond this many are refused at once

    // Opening. Threads of the database do it, which begin when the pool grows beyond `min_size` for the first time.
    std::size_t max_connecting = 2;                        ///< so many connections are opened at once, 1 to 16; after a failure: one
    duration first_pause = std::chrono::milliseconds{10};  ///< after a failure; doubled, and drawn from half to all of it, for each further
    duration longest_pause = std::chrono::seconds{5};      ///< up to this
    /// While no connection is open and none can be had: false, who has waited for the attempt is told, and from the second failure in a row
    /// on newcomers are refused until the next one; true, all wait for the next attempt, `max_wait` at most.
    bool wait_while_down = false;
    /// A connection whose health (0 to 100: an I/O error or lack of memory takes 25 of it, a success gives 5 back) is below this is closed
    /// when it comes back. 0: none is.
    unsigned min_health = 50;

    // Hygiene: done by the same threads before the connection serves anybody else.
    session_reset on_return = session_reset::rollback_only;
    std::string reset_sql = {};  ///< one statement without parameters, for `session_reset::custom`

    // Upkeep: what the pool does by itself. A thread of the database does it, which begins only if one of these is set.
    duration max_lifetime{};       ///< a connection is closed at this age, if it is lent out when it comes back; zero: at none
    double lifetime_jitter = 0.1;  ///< up to this share of a lifetime is left out at random, for each connection, in [0, 1)
    duration max_idle{};           ///< connections beyond `min_size` are closed when nobody used them for so long; zero: never
    /// A connection that nobody used for so long is asked for a sign of life (PostgreSQL: a round trip) before somebody gets it, which is
    /// when no other is idle. Zero: never.
    duration validate_after{};
    /// A lease that is out for so long is reported, once, to `on_leak`, and counted. Zero: none is.
    duration leak_threshold{};
    shared_function<void(const pool_leak&)> on_leak =
        nullptr;  ///< called by upkeep's thread, which waits for it; what it throws is dropped
    /// How often upkeep looks whether idle connections are alive and too old. Zero: every tenth of the limits above, and every 10 seconds
    /// at least, if one of them is set.
    duration check_interval{};

    /// Of the pool of those that are reserved.
    [[nodiscard]] pool_options for_reserve() const {
        pool_options o = *this;
        o.min_size = o.reserved = 0;
        o.max_size = reserved;
        o.planner = nullptr;
        return o;
    }
    [[nodiscard]] connect_governor_options connecting() const noexcept {
        return {static_cast<std::uint32_t>(max_connecting), first_pause, longest_pause};
    }
    [[nodiscard]] bool has_upkeep() const noexcept {
        return max_lifetime > duration::zero() || max_idle > duration::zero() || validate_after > duration::zero() ||
               leak_threshold > duration::zero() || check_interval > duration::zero();
    }
    [[nodiscard]] duration upkeep_period() const noexcept {
        const bool given = check_interval > duration::zero();
        duration period = given ? check_interval : std::chrono::seconds{10};
        for (const duration limit : {max_lifetime, max_idle, validate_after, leak_threshold}) {
            const duration often = given ? limit : limit / 10;
            if (limit > duration::zero() && often < period) period = often;
        }
        return given || period > std::chrono::milliseconds{1} ? period : std::chrono::milliseconds{1};
    }

    /// Says how large the pool is to be, and how much it holds ready, from time to time; see source/pool_planner.hpp. Null: nobody.
    std::shared_ptr<pool_planner> planner = nullptr;

    /// Names the first field that makes no sense.
    [[nodiscard]] error validate() const {
        if (max_size == 0)
            return {errc::invalid_argument, "pool_options.max_size is 0: a pool needs at least one connection", phase::admission};
        if (max_size > 65'535) return {errc::invalid_argument, "pool_options.max_size is above 65535", phase::admission};
        if (reserved > 65'535) return {errc::invalid_argument, "pool_options.reserved is above 65535", phase::admission};
        if (min_size > max_size) return {errc::invalid_argument, "pool_options.min_size is above max_size", phase::admission};
        if (max_wait < duration::zero()) return {errc::invalid_argument, "pool_options.max_wait is negative", phase::admission};
        if (max_connecting < 1 || max_connecting > 16)
            return {errc::invalid_argument, "pool_options.max_connecting must lie in 1 to 16", phase::admission};
        if (first_pause <= duration::zero() || longest_pause < first_pause || longest_pause > std::chrono::hours{24})
            return {errc::invalid_argument, "pool_options.first_pause must be positive, and longest_pause lie between it and a day",
                    phase::admission};
        if (min_health > 100) return {errc::invalid_argument, "pool_options.min_health must lie in 0 to 100", phase::admission};
        if (max_lifetime < duration::zero()) return {errc::invalid_argument, "pool_options.max_lifetime is negative", phase::admission};
        if (!(lifetime_jitter >= 0.0 && lifetime_jitter < 1.0))
            return {errc::invalid_argument, "pool_options.lifetime_jitter must lie in 0 to 1, without 1", phase::admission};
        if (max_idle < duration::zero()) return {errc::invalid_argument, "pool_options.max_idle is negative", phase::admission};
        if (validate_after < duration::zero()) return {errc::invalid_argument, "pool_options.validate_after is negative", phase::admission};
        if ((on_return == session_reset::custom) == reset_sql.empty())
            return {errc::invalid_argument, "pool_options.reset_sql goes with session_reset::custom, and with nothing else",
                    phase::admission};
        if (leak_threshold < duration::zero()) return {errc::invalid_argument, "pool_options.leak_threshold is negative", phase::admission};
        if (check_interval < duration::zero()) return {errc::invalid_argument, "pool_options.check_interval is negative", phase::admission};
        return {};
    }
    friend bool operator==(const pool_options&, const pool_options&) = default;
};

/// What a pool has done and holds. Counters only grow.
struct pool_snapshot {
    std::size_t open = 0;         ///< connections that exist, or are being opened
    std::size_t opening = 0;      ///< of these, being opened, or made fit for the next caller
    std::size_t idle = 0;         ///< of these, neither leased nor being opened
    std::size_t waiting = 0;      ///< callers in the queue now
    bool suspended = false;       ///< nobody is given a connection, see `suspend()`
    bool closed = false;          ///< the database was closed
    bool reachable = true;        ///< false: the latest attempt to connect failed
    std::uint64_t waits = 0;      ///< acquisitions that had to wait
    duration waited{};            ///< their time in the queue, all together
    std::uint64_t timeouts = 0;   ///< waits that ended without a connection
    std::uint64_t opened = 0;     ///< connections opened so far
    std::uint64_t lost = 0;       ///< connections closed because they were broken
    std::uint64_t leaks = 0;      ///< leases that were reported as too long
    std::uint64_t left_open = 0;  ///< leases that came back in the middle of a transaction, which was rolled back
    std::uint64_t retired =
        0;  ///< connections closed while they were sound: too old, unused for too long, unwell, or the pool became smaller
};

}  // namespace strata::inline STRATA_ABI

#endif
