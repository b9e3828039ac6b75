// What the handles of one transaction share: who uses the connection now, and whether something has doomed it.
//
// One word says both that a statement runs and how deep the open savepoint is, so that one compare-and-swap finds a second task or
// thread, the handle of an outer level while an inner one is open, and a transaction that has ended.
#ifndef STRATA_CORE_TRANSACTION_USE_HPP
#define STRATA_CORE_TRANSACTION_USE_HPP

#include <strata/core/error.hpp>

#include <atomic>
#include <cstdint>

namespace strata::inline STRATA_ABI {

namespace detail {

/// After this nothing but the whole, from the start, may succeed: the database has given up one of several that ran at once, or is gone.
[[nodiscard]] constexpr bool dooms_transaction(errc c) noexcept {
    return c == errc::serialization_failure || c == errc::deadlock || c == errc::busy_snapshot || c == errc::connection_lost;
}

class transaction_use {
public:
    /// For a handle of the level `depth`; false: `refusal` says why.
    [[nodiscard]] STRATA_INLINE bool enter(unsigned depth) noexcept {
        std::uint32_t expected = idle(depth);
        return word_.compare_exchange_strong(expected, idle(depth) | busy, std::memory_order_acquire, std::memory_order_relaxed);
    }
    /// By whoever has entered. `depth`: the level that is open now.
    STRATA_INLINE void leave(unsigned depth) noexcept { word_.store(idle(depth), std::memory_order_release); }
    [[nodiscard]] bool is_busy() const noexcept {
        const std::uint32_t now = word_.load(std::memory_order_acquire);
        return now != ended && (now & busy) != 0;
    }
    [[nodiscard]] bool has_ended() const noexcept { return word_.load(std::memory_order_acquire) == ended; }

    /// A new attempt.
    void begin() noexcept {
        doom_ = {};
        unfinished_.store(false, std::memory_order_relaxed);
        word_.store(0, std::memory_order_release);
    }
    /// From now on nobody may enter, whatever level is open; a savepoint that is open dooms the transaction, for only a part of it has
    /// been done. False: somebody is inside still.
    [[nodiscard]] bool try_end() noexcept {
        std::uint32_t now = word_.load(std::memory_order_relaxed);
        while ((now & busy) == 0 || now == ended) {
            if (!word_.compare_exchange_weak(now, ended, std::memory_order_acquire, std::memory_order_relaxed)) continue;
            if (now != idle(0) && now != ended) [[unlikely]]
                left_open();
            return true;
        }
        return false;
    }

    /// The same, but only where nobody is inside and no savepoint is open; false: nothing has changed.
    [[nodiscard]] bool try_end_alone() noexcept {
        std::uint32_t expected = idle(0);
        return word_.compare_exchange_strong(expected, ended, std::memory_order_acquire, std::memory_order_relaxed);
    }

    [[nodiscard]] STRATA_COLD error refusal() const {
        const std::uint32_t now = word_.load(std::memory_order_relaxed);
        if (now == ended)
            return {errc::misuse, "the transaction has ended: it was committed or rolled back, and its handle is of no use after that",
                    phase::admission};
        if ((now & busy) != 0)
            return {errc::misuse, "another task or thread is using this transaction: one statement at a time", phase::admission};
        return {errc::misuse, "a savepoint is open: within its closure use the handle that the closure was given", phase::admission};
    }

    /// After each statement that failed. What dooms the transaction does so even if a savepoint is rolled back and the closure goes on.
    STRATA_COLD void note(const error& e) noexcept {
        if (!dooms_transaction(e.code()) || doom_) return;
        doom_ = error{e.code(), e.phase(), e.effect()};  // also where there is no memory for its texts
        try {
            doom_ = e;
        } catch (...) {
        }
    }
    /// A closure has ended while somebody uses its handle: nothing can be said on the connection now, and nothing will be committed.
    /// That somebody may just `note` an error of its own.
    STRATA_COLD void doom() noexcept { unfinished_.store(true, std::memory_order_relaxed); }
    [[nodiscard]] STRATA_COLD error doom_unfinished() {
        doom();
        return unfinished();
    }
    [[nodiscard]] STRATA_COLD static error unfinished() {
        return {errc::misuse, "the closure has ended while another task or thread is using its transaction: wait for it", phase::execute};
    }
    /// Whether the savepoint of this level is the innermost one.
    [[nodiscard]] bool is_open(unsigned depth) const noexcept {
        const std::uint32_t now = word_.load(std::memory_order_relaxed);
        return now != ended && (now & ~busy) == idle(depth);
    }
    // After `try_end`.
    [[nodiscard]] bool is_doomed() const noexcept { return doom_ || unfinished_.load(std::memory_order_relaxed); }
    [[nodiscard]] STRATA_COLD error why_doomed() const { return unfinished_.load(std::memory_order_relaxed) ? unfinished() : doom_; }

private:
    STRATA_COLD void left_open() noexcept {
        if (doom_) return;
        try {
            doom_ = {errc::misuse, "the transaction ended while a savepoint of it was open: wait for the savepoint's closure",
                     phase::execute};
        } catch (...) {  // no memory
            doom_ = error{errc::misuse, phase::execute};
        }
    }

    static constexpr std::uint32_t busy = 1;
    static constexpr std::uint32_t ended = ~std::uint32_t{0};
    static constexpr std::uint32_t idle(unsigned depth) noexcept { return depth << 1; }

    std::atomic<std::uint32_t> word_{0};
    std::atomic<bool> unfinished_{false};
    error doom_;  // written by whoever has entered
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
