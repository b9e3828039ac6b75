// Which statements are kept off shared connections for a while, since they keep the others waiting: what was slow, or brought much.
//
// Each time that a statement is the one that the others waited for, longer than the threshold, its level rises by 8; each time that it is
// not, it falls by 1. At 16 it is kept apart for `period`, then tried again among the others; if it shows itself slow once more, for twice
// as long, up to 32 times. So one hiccup of the server moves nothing, and what is slow each time is moved after two. What brings more
// than the bound moves at once.
//
// A table of fixed size: while nothing was slow, asking it is one load. Where it is full, what is new to it is not kept apart.
#ifndef STRATA_CORE_KEPT_APART_HPP
#define STRATA_CORE_KEPT_APART_HPP

#include <strata/core/lock.hpp>
#include <strata/core/time.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace strata::inline STRATA_ABI {
namespace detail {

struct apart_limits {
    duration slow{};        ///< zero: nothing is slow
    std::size_t bytes = 0;  ///< of one result; 0: nothing is much
    duration period = std::chrono::seconds{10};
};

/// Thread-safe. Statements are known by a hash of their text.
class kept_apart {
public:
    explicit kept_apart(const apart_limits& limits) noexcept : limits_(limits) {}

    /// Whether it is to have a connection for itself.
    [[nodiscard]] STRATA_INLINE bool contains(std::uint64_t key) noexcept {
        return known_.load(std::memory_order_relaxed) != 0 && look_up(key);
    }
    /// It was answered. `kept_waiting`: how long all waited for it; zero where they waited for another.
    STRATA_INLINE void judge(std::uint64_t key, duration kept_waiting, std::size_t bytes, time_point now) noexcept {
        const bool slow = limits_.slow > duration::zero() && kept_waiting > limits_.slow;
        const bool much = limits_.bytes != 0 && bytes > limits_.bytes;
        if (slow || much || known_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            note(key, slow, much, now);
    }
    /// Statements that are kept apart at the moment, or were.
    [[nodiscard]] std::size_t size() const noexcept { return known_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t places = 256;
    static constexpr unsigned tries = 8;
    static constexpr unsigned rise = 8, full = 16;

    struct entry {
        std::uint64_t key = 0;
        unsigned level = 0;
        unsigned times = 0;  // it was kept apart, in a row
        time_point until{};
    };

    /// Its entry, or the place for one; null where there is none.
    [[nodiscard]] entry* find(std::uint64_t key) noexcept {
        for (unsigned i = 0; i < tries; ++i) {
            entry& e = table_[(key + i) % places];
            if (e.key == key || e.key == 0) return &e;
        }
        return nullptr;
    }
    [[nodiscard]] STRATA_COLD bool look_up(std::uint64_t key) noexcept {
        hold guard(lock_);
        const entry* const e = find(key);
        return e != nullptr && e->key == key && e->until != time_point{} && steady_now() < e->until;
    }
    STRATA_COLD void note(std::uint64_t key, bool slow, bool much, time_point now) noexcept {
        hold guard(lock_);
        entry* const e = find(key);
        if (e == nullptr || (e->key == 0 && !slow && !much)) return;
        if (e->key == 0) {
            e->key = key;
            known_.fetch_add(1, std::memory_order_relaxed);
        }
        if (now < e->until) return;  // it was on its way already
        if (!slow && !much) {
            if (e->level != 0 && --e->level == 0) e->times = 0;
            return;
        }
        e->level += much ? full : rise;
        if (e->level < full) return;
        e->level = full - rise;  // once more, and it goes
        const unsigned shift = e->times < 5 ? e->times++ : 5;
        e->until = add_saturated(now, limits_.period * (1 << shift));
    }

    const apart_limits limits_;
    inline_lock lock_;
    std::atomic<std::size_t> known_{0};
    std::array<entry, places> table_{};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
