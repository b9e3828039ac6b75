// Where a connection keeps whatever waits for its descriptor, so that it can be told to look again from any thread.
#ifndef STRATA_CORE_WATCH_HPP
#define STRATA_CORE_WATCH_HPP

#include <strata/core/lock.hpp>

#include <memory>
#include <utility>

namespace strata::inline STRATA_ABI {

/// A descriptor's registration with a reactor. Made by the drive.
class io_watch {
public:
    virtual ~io_watch() = default;
    /// Ends the wait that is under way, or the next one, at once. From any thread.
    virtual void nudge() noexcept = 0;

protected:
    io_watch() = default;
    io_watch(const io_watch&) = delete;
    io_watch& operator=(const io_watch&) = delete;
};

/// Lies in a connection. Thread-safe: where a connection is shared, one may still wait by a watch that another has replaced.
class watch_place {
public:
    [[nodiscard]] std::shared_ptr<io_watch> get() const noexcept {
        hold guard(lock_);
        return watch_;
    }
    void put(std::shared_ptr<io_watch> w) noexcept {
        hold guard(lock_);
        watch_.swap(w);
        guard.unlock();                // the old one dies outside
        if (w != nullptr) w->nudge();  // who waits by it would not hear of what comes here
    }
    void clear() noexcept { put(nullptr); }
    void nudge() noexcept {
        hold guard(lock_);
        if (watch_ != nullptr) watch_->nudge();
    }

private:
    mutable inline_lock lock_;
    std::shared_ptr<io_watch> watch_;
};

}  // namespace strata::inline STRATA_ABI

#endif
