// How many of a pool's connections wait for locks in the database: no work of the database's, so the planner leaves it out.
//
// A driver that waits itself (SQLite) knows: `connection.waited_for_locks()` is the sum of its waits, as a duration that only grows and may
// be read from any thread. Where the server waits (PostgreSQL) it is asked: the driver has a type `lock_watch` with
//
//     std::optional<std::size_t> ask(const options&, const std::int32_t* sessions, std::size_t n, const interruption&) noexcept
//
// which keeps a connection of its own, besides the pool's, and counts those of the sessions (`connection.session_number()`) that wait; none
// where it cannot tell. It is asked as often as the planner says, only while all connections are lent out and callers wait; no caller
// waits for it. A driver with neither waits for no locks, as far as the planner knows.
#ifndef STRATA_SOURCE_POOL_LOCK_WATCH_HPP
#define STRATA_SOURCE_POOL_LOCK_WATCH_HPP

#include <strata/core/fork.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/core/interruption.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A pool at one moment.
struct pool_look {
    std::size_t lent = 0;  ///< connections that are lent out
    bool is_full = false;  ///< all are, and callers wait
    duration locked{};     ///< since the look before: waits for locks that connections have counted themselves
};

/// Nothing, for drivers that are not asked.
template <class Control, class Driver = typename Control::driver>
class pool_lock_watch {
public:
    static constexpr bool asks = false;
    explicit pool_lock_watch(Control&) noexcept {}
    [[nodiscard]] std::size_t waiting(const pool_look&, duration, time_point) const noexcept { return 0; }
    void rest() const noexcept {}
    void cancel() const noexcept {}
};

template <class Control, class Driver>
    requires requires { typename Driver::lock_watch; }
class pool_lock_watch<Control, Driver> {
public:
    static constexpr bool asks = true;

    explicit pool_lock_watch(Control& control) noexcept : control_(control) {}
    pool_lock_watch(const pool_lock_watch&) = delete;
    pool_lock_watch& operator=(const pool_lock_watch&) = delete;
    /// In a forked child the connection belongs to the parent.
    ~pool_lock_watch() {
        if (process_.is_forked_child()) static_cast<void>(watch_.release());
    }

    /// How many of those that are lent out wait for locks; the server is asked no more often than `every` (zero: never), else it is what it
    /// said last. Blocks for `longest_answer` at most.
    [[nodiscard]] STRATA_COLD std::size_t waiting(const pool_look& seen, duration every, time_point now) noexcept {
        if (!seen.is_full || every <= duration::zero() || end_.is_cancelled()) return waiting_ = 0;
        if (now >= next_) {
            next_ = add_saturated(now, every);
            ask(now);
        }
        asked_ = true;
        return waiting_ < seen.lent ? waiting_ : seen.lent;
    }
    /// A round has ended: where the server was not asked in it, the connection is closed.
    STRATA_COLD void rest() noexcept {
        if (!std::exchange(asked_, false)) watch_ = nullptr;
    }
    /// From any thread.
    void cancel() noexcept { end_.cancelled.store(true, std::memory_order_relaxed); }

private:
    static constexpr duration longest_answer = std::chrono::seconds{1}, after_failure = std::chrono::minutes{1};
    static constexpr duration longest_use = std::chrono::minutes{1};  ///< of a connection: a new one may lead elsewhere

    void ask(time_point now) noexcept {
        waiting_ = 0;
        try {
            const auto target = control_.target();
            if (target_ != target || now >= until_) watch_ = nullptr;
            if (watch_ == nullptr) {
                watch_ = std::make_unique<typename Driver::lock_watch>();
                target_ = target;
                until_ = add_saturated(now, longest_use);
            }
            if (!sessions_) sessions_ = heap_array<std::int32_t>(control_.capacity());
            end_.deadline = add_saturated(now, longest_answer);
            const std::size_t n = control_.sessions(sessions_.data());
            if (const std::optional<std::size_t> said = watch_->ask(*target, sessions_.data(), n, end_)) {
                waiting_ = *said;
                return;
            }
        } catch (...) {  // no memory
        }
        watch_ = nullptr;
        next_ = add_saturated(now, after_failure);
    }

    Control& control_;
    std::unique_ptr<typename Driver::lock_watch> watch_;
    std::shared_ptr<const typename Driver::options> target_;  ///< of `watch_`
    heap_array<std::int32_t> sessions_;
    interruption end_;
    fork_guard process_;
    time_point next_{};   ///< when it may be asked again
    time_point until_{};  ///< the end of `watch_`
    std::size_t waiting_ = 0;
    bool asked_ = false;  ///< in this round
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
