// One place of a pool for a connection, and the lane it stands in.
#ifndef STRATA_SOURCE_POOL_SLOT_HPP
#define STRATA_SOURCE_POOL_SLOT_HPP

#include <strata/core/operation.hpp>

#include <source_location>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Why a connection takes the slow way when it comes back.
struct slot_mark {
    enum : std::uint8_t {
        retired = 1,  ///< it is closed then; all are once the pool is closed
        check = 2,    ///< the pool became smaller since it was lent out
        held = 4,     ///< the pool is suspended
        unwell = 8    ///< its score is not full
    };
};

/// The health of a connection that is not surely broken, from 0 to 100. A doubtful end takes 25 of it, a good one gives 5 back: three
/// doubtful ones in a row bring it below the usual threshold of 50, one in seven calls never does.
inline constexpr std::uint8_t full_score = 100;
[[nodiscard]] constexpr std::uint8_t score_after(std::uint8_t score, health h) noexcept {
    constexpr std::uint8_t fault = 25, success = 5;
    if (h == health::doubtful) return score > fault ? static_cast<std::uint8_t>(score - fault) : std::uint8_t{0};
    return score < full_score - success ? static_cast<std::uint8_t>(score + success) : full_score;
}

/// What has to be done with a connection before anybody gets it.
enum class slot_need : std::uint8_t { nothing, cleaning, checking };

/// Lives as long as the pool; the connection in it may come and go. Guarded by the pool's lock, but for the connection of a lease.
template <class Driver>
struct pool_slot {
    typename Driver::connection connection;
    pool_slot* next = nullptr;          // idle or empty list
    operation_base* current = nullptr;  // whoever holds the lease, or opens the connection
    std::uint8_t lane = 0;
    bool open = false;
    slot_need need = slot_need::nothing;
    std::uint8_t marks = 0;
    std::uint8_t score = full_score;
    bool seen = false;               // upkeep: in this round
    std::uint32_t returns = 0;       // how often it came back
    std::uint32_t seen_returns = 0;  // upkeep: at the last look
    std::int32_t session = 0;        // the server's number of it, where it has one
    time_point ends = never;         // upkeep: end of its life; `never` before it has been seen, and where there is no limit
    time_point idle_since{};

    // Of the lease whose `returns` is `lease`.
    std::uint32_t lease = ~std::uint32_t{0};
    bool reported = false;
    time_point lent_since{};
    std::source_location where{};

    /// The notes on a lease begin.
    void note_lease(time_point now) noexcept {
        if (lease == returns && lent_since != time_point{}) return;
        if (lease != returns) where = {};
        lease = returns;
        reported = false;
        lent_since = now;
    }
};

/// Connections that serve the same calls: all, or with a single writer those that write and those that read.
template <class Slot>
struct alignas(64) pool_lane {
    Slot* idle = nullptr;     // the warmest first
    Slot* cold = nullptr;     // idle for so long that they are checked first
    Slot* kept = nullptr;     // idle ones that nobody gets: the pool is suspended
    std::size_t count = 0;    // of all three
    std::size_t taken = 0;    // places with a connection, or with one being opened
    std::size_t opening = 0;  // being opened, or made fit
    std::size_t fitting = 0;  // of these, made fit
    std::size_t limit = 0;
    wait_queue queue;

    /// Null when there is none.
    [[nodiscard]] STRATA_INLINE Slot* take_idle() noexcept {
        Slot* s = idle;
        if (s != nullptr) [[likely]] {
            idle = s->next;
            --count;
        }
        return s;
    }
    /// The one that is missed least; null when there is none.
    [[nodiscard]] Slot* take_any() noexcept {
        Slot** const list = cold != nullptr ? &cold : idle != nullptr ? &idle : &kept;
        Slot* s = *list;
        if (s == nullptr) return nullptr;
        *list = s->next;
        --count;
        return s;
    }
    STRATA_INLINE void put_idle(Slot* s) noexcept {
        s->next = idle;
        idle = s;
        ++count;
    }
    /// Connected and lent out.
    [[nodiscard]] std::size_t lent() const noexcept { return taken - opening - count; }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
