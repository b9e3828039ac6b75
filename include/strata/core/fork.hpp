// Tells whether this process is a child forked after the object was made: connections must not be shared with the parent.
#ifndef STRATA_CORE_FORK_HPP
#define STRATA_CORE_FORK_HPP

#include <strata/core/config.hpp>

#include <atomic>
#include <cstdint>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

namespace strata::inline STRATA_ABI {

/// One load a question: the count of forks above this process, kept by a handler that runs in each child.
class fork_guard {
public:
    fork_guard() noexcept : born_(generation().load(std::memory_order_relaxed)) {}
    [[nodiscard]] bool is_forked_child() const noexcept { return counter.load(std::memory_order_relaxed) != born_; }

private:
    static inline std::atomic<std::uint32_t> counter{0};

    static std::atomic<std::uint32_t>& generation() noexcept {
#if defined(__unix__) || defined(__APPLE__)
        static const int installed = ::pthread_atfork(nullptr, nullptr, [] { counter.fetch_add(1, std::memory_order_relaxed); });
        static_cast<void>(installed);
#endif
        return counter;
    }

    std::uint32_t born_;
};

}  // namespace strata::inline STRATA_ABI

#endif
