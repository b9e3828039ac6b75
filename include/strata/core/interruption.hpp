// What can end a running call early: its deadline, or the caller's change of mind.
//
// One lies in each operation; the driver looks at it while it works and never keeps it beyond the call.
#ifndef STRATA_CORE_INTERRUPTION_HPP
#define STRATA_CORE_INTERRUPTION_HPP

#include <strata/core/time.hpp>

#include <atomic>

namespace strata::inline STRATA_ABI {

struct interruption {
    interruption() noexcept = default;
    explicit interruption(time_point until) noexcept : deadline(until) {}

    /// The call ends with `errc::timeout` soon after this point. Written only while no driver works on the call.
    time_point deadline = never;
    /// Set from any thread: the call ends with `errc::cancelled` as soon as the driver can.
    std::atomic<bool> cancelled{false};
    /// What the call is part of (a transaction, a session); its cancel is the call's too. Outlives the call.
    const interruption* outer = nullptr;

    /// This call, or what it is part of, was cancelled.
    [[nodiscard]] bool is_cancelled() const noexcept {
        return cancelled.load(std::memory_order_relaxed) || (outer != nullptr && outer->is_cancelled());
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
