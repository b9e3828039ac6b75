// How a pool is set up, and what it tells of itself.
#ifndef STRATA_SOURCE_POOL_OPTIONS_HPP
#define STRATA_SOURCE_POOL_OPTIONS_HPP

#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>

#include <cstddef>

namespace strata::inline STRATA_ABI {

struct pool_options {
    std::size_t min_size = 1;                      ///< connections opened when the database is constructed; 0: none
    std::size_t max_size = 8;                      ///< never more than this; on SQLite one of them writes
    duration max_wait = std::chrono::seconds{30};  ///< how long a caller waits for a connection at most
    std::size_t max_waiting = 10'000;              ///< callers beyond this many are refused at once

    // Upkeep: what the pool does by itself. A thread of the database does it, which begins only if one of these is set.
    duration max_lifetime{};       ///< a connection is closed at this age, if it is lent out when it comes back; zero: at none
    double lifetime_jitter = 0.1;  ///< up to this share of a lifetime is left out at random, for each connection, in [0, 1)
    duration max_idle{};           ///< connections beyond `min_size` are closed when nobody used them for so long; zero: never
    /// How often upkeep looks whether idle connections are alive and too old, and opens what is missing to `min_size`. Zero: every
    /// tenth of the two above, and every 10 seconds at least, if one of them is set.
    duration check_interval{};

    [[nodiscard]] bool has_upkeep() const noexcept {
        return max_lifetime > duration::zero() || max_idle > duration::zero() || check_interval > duration::zero();
    }
    [[nodiscard]] duration upkeep_period() const noexcept {
        duration period = check_interval > duration::zero() ? check_interval : std::chrono::seconds{10};
        if (check_interval > duration::zero()) {
            if (max_lifetime > duration::zero() && max_lifetime < period) period = max_lifetime;
            if (max_idle > duration::zero() && max_idle < period) period = max_idle;
            return period;
        }
        if (max_lifetime > duration::zero() && max_lifetime / 10 < period) period = max_lifetime / 10;
        if (max_idle > duration::zero() && max_idle / 10 < period) period = max_idle / 10;
        return period > std::chrono::milliseconds{1} ? period : std::chrono::milliseconds{1};
    }

    /// Names the first field that makes no sense.
    [[nodiscard]] error validate() const {
        if (max_size == 0)
            return {errc::invalid_argument, "pool_options.max_size is 0: a pool needs at least one connection", phase::admission};
        if (max_size > 65'535) return {errc::invalid_argument, "pool_options.max_size is above 65535", phase::admission};
        if (min_size > max_size) return {errc::invalid_argument, "pool_options.min_size is above max_size", phase::admission};
        if (max_wait < duration::zero()) return {errc::invalid_argument, "pool_options.max_wait is negative", phase::admission};
        if (max_lifetime < duration::zero()) return {errc::invalid_argument, "pool_options.max_lifetime is negative", phase::admission};
        if (!(lifetime_jitter >= 0.0 && lifetime_jitter < 1.0))
            return {errc::invalid_argument, "pool_options.lifetime_jitter must lie in 0 to 1, without 1", phase::admission};
        if (max_idle < duration::zero()) return {errc::invalid_argument, "pool_options.max_idle is negative", phase::admission};
        if (check_interval < duration::zero()) return {errc::invalid_argument, "pool_options.check_interval is negative", phase::admission};
        return {};
    }
};

/// What a pool has done and holds. Counters only grow.
struct pool_snapshot {
    std::size_t open = 0;        ///< connections that exist
    std::size_t idle = 0;        ///< of these, not leased
    std::size_t waiting = 0;     ///< callers in the queue now
    std::uint64_t waits = 0;     ///< acquisitions that had to wait
    duration waited{};           ///< their time in the queue, all together
    std::uint64_t timeouts = 0;  ///< waits that ended without a connection
    std::uint64_t opened = 0;    ///< connections opened so far
    std::uint64_t lost = 0;      ///< connections closed because they were broken
    std::uint64_t retired = 0;   ///< connections closed while they were sound: too old, unused for too long, or the pool became smaller
};

namespace detail {

/// `which` connections: `"writing "`, `"reading "`, or nothing.
[[nodiscard]] STRATA_COLD inline error pool_exhausted_error(const char* which, std::size_t taken, std::size_t limit, std::size_t waiting,
                                                            bool queue_is_full) {
    error e{errc::pool_exhausted,
            joined({queue_is_full ? "the queue for a connection is full: " : "no connection became free in time: ", digits_of(taken),
                    " of ", digits_of(limit), " ", which, "connections are in use, ", digits_of(waiting), " callers wait"}),
            phase::acquire};
    e.edit_texts().hint =
        queue_is_full
            ? "raise pool_options.max_size or max_waiting, or send less at a time"
            : "raise max_size or max_wait, or hold connections for less time; inside a transaction or session use its own handle, for a "
              "further call on the database waits for the connection that its caller holds";
    return e.set_local();
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
