// Generated from include/strata/policy/bulkhead.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_BULKHEAD_HPP
#define STRATA_SINGLE_POLICY_BULKHEAD_HPP

#include <strata/strata.hpp>

// A number of permits, and the queue of those who wait for one: what a bulkhead and a concurrency limit are made of.
//
// While nobody waits a permit is taken and given back by one compare-and-swap. The lowest bit of the word closes that path: it is set
// while somebody waits, or while there are fewer permits than are out. Then everything goes under the lock, and a permit that comes
// back is handed to whoever waits longest in the highest priority, so nobody overtakes.
#ifndef STRATA_POLICY_PERMITS_HPP
#define STRATA_POLICY_PERMITS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

class permits {
public:
    enum class queued : std::uint8_t { taken, waiting, full };

    explicit permits(std::uint32_t count) noexcept : word_(count * one), count_(count) {}

    /// True when the caller holds a permit now.
    [[nodiscard]] STRATA_INLINE bool try_take() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        while (w >= one && (w & closed) == 0)
            if (word_.compare_exchange_weak(w, w - one, std::memory_order_acquire, std::memory_order_relaxed)) return true;
        return false;
    }

    STRATA_INLINE void give_back() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        while ((w & closed) == 0)
            if (word_.compare_exchange_weak(w, w + one, std::memory_order_release, std::memory_order_relaxed)) return;
        hand_on();
    }

    /// Takes a permit, or puts the node into the queue, or neither: where `most` wait already, unless one of lower priority stands there,
    /// whose youngest then gives way. `other` wakes the operation; null when its thread will block.
    [[nodiscard]] STRATA_COLD queued wait(waiter& node, priority p, waker* other, std::size_t most) noexcept {
        wake_call gone;
        {
            hold guard{lock_};
            if (take_or_close()) return queued::taken;
            if (waiting() >= most && !displace(p, most, gone)) {
                reopen();
                return queued::full;
            }
            node.prepare(other);
            queue_of(p).push(node);
        }
        gone();
        return queued::waiting;
    }

    /// Whether the node that was waited on has got a permit; otherwise it had to give way to another.
    [[nodiscard]] static bool is_given(const waiter& node) noexcept { return node.gift != nullptr; }

    /// Ends a wait midway, whatever became of it: a permit that came meanwhile goes back.
    STRATA_COLD void leave(waiter& node, priority p) noexcept {
        bool given = false;
        {
            hold guard{lock_};
            if (node.is_granted()) {
                given = is_given(node);
            } else {
                static_cast<void>(node.withdraw());
                queue_of(p).remove(node);
                reopen();
            }
        }
        if (given) give_back();
    }

    /// From now on there are `count`. What is out beyond that is missing when it comes back.
    STRATA_COLD void resize(std::uint32_t count) noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard{lock_};
                if (count_ >= count) {
                    if (count_ > count) shrink(count_ - count);
                    count_ = count;
                    return;
                }
                ++count_;
                put_back(wake);
            }
            wake();
        }
    }

    [[nodiscard]] std::uint32_t count() noexcept {
        hold guard{lock_};
        return count_;
    }
    /// Permits that are out.
    [[nodiscard]] std::size_t taken() noexcept {
        hold guard{lock_};
        return count_ + missing_ - word_.load(std::memory_order_relaxed) / one;
    }
    [[nodiscard]] std::size_t queue_size() noexcept {
        hold guard{lock_};
        return waiting();
    }

private:
    static constexpr std::uint64_t closed = 1;
    static constexpr std::uint64_t one = 2;

    [[nodiscard]] wait_queue& queue_of(priority p) noexcept { return queues_[static_cast<std::size_t>(p)]; }
    [[nodiscard]] std::size_t waiting() const noexcept { return queues_[0].size() + queues_[1].size() + queues_[2].size(); }

    // All of these under the lock.

    /// Takes one that is free, or closes the fast path, so that whatever comes back is seen here.
    [[nodiscard]] bool take_or_close() noexcept {
        std::uint64_t w = word_.load(std::memory_order_relaxed);
        for (;;) {
            const bool free = w >= one && (w & closed) == 0;
            if (word_.compare_exchange_weak(w, free ? w - one : w | closed, std::memory_order_acq_rel, std::memory_order_relaxed))
                return free;
        }
    }
    /// The fast path opens when nobody waits and none is missing.
    void reopen() noexcept {
        if (missing_ == 0 && waiting() == 0) word_.fetch_and(~closed, std::memory_order_release);
    }
    void put_back(wake_call& wake) noexcept {
        if (missing_ > 0) {
            --missing_;
        } else if (!queue_of(priority::high).grant_first(this, wake) && !queue_of(priority::normal).grant_first(this, wake) &&
                   !queue_of(priority::low).grant_first(this, wake)) {
            word_.fetch_add(one, std::memory_order_relaxed);
        }
        reopen();
    }
    void shrink(std::uint32_t by) noexcept {
        const std::uint64_t free = word_.fetch_or(closed, std::memory_order_acquire) / one;  // nobody else changes it from here on
        const std::uint64_t now = free < by ? free : by;
        word_.fetch_sub(now * one, std::memory_order_relaxed);
        missing_ += by - static_cast<std::uint32_t>(now);
        reopen();
    }
    /// Makes room for one of priority `p`: those that have given up are dropped, then the youngest of the lowest priority below is sent
    /// away.
    [[nodiscard]] bool displace(priority p, std::size_t most, wake_call& wake) noexcept {
        if (p == priority::low) return false;
        for (const priority of : {priority::low, priority::normal})
            while (waiter* w = p == of ? nullptr : queue_of(of).back()) {
                queue_of(of).remove(*w);
                if (w->grant(nullptr, wake) || waiting() < most) return true;
            }
        return false;
    }

    STRATA_COLD void hand_on() noexcept {
        wake_call wake;
        {
            hold guard{lock_};
            put_back(wake);
        }
        wake();
    }

    std::atomic<std::uint64_t> word_;  ///< free permits * 2 + closed; with `closed` only written under the lock
    inline_lock lock_;
    std::uint32_t count_;
    std::uint32_t missing_ = 0;  ///< are out, and will not be put back
    wait_queue queues_[3];
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Not too many at once: a set number of attempts is on its way, others wait in order, and those beyond the queue are refused.
//
// Over a pool it keeps one kind of work from taking all connections; two stacks over one database may each have their own. Who waits is
// served first in, first out within its priority (`call_options::priority`); a high one goes before all normal ones, these before all low
// ones. Where the queue is full a newcomer of higher priority takes the place of the youngest of the lowest.
#ifndef STRATA_POLICY_BULKHEAD_HPP
#define STRATA_POLICY_BULKHEAD_HPP

namespace strata::inline STRATA_ABI {

struct bulkhead_options {
    std::uint32_t max_concurrent = 16;            ///< so many at a time; 1 to 1,000,000
    std::size_t max_waiting = 1'000;              ///< callers beyond this many are refused at once; 0: nobody waits
    duration max_wait = std::chrono::seconds{1};  ///< how long a caller waits at most; not negative

    [[nodiscard]] error validate() const {
        if (max_concurrent < 1 || max_concurrent > 1'000'000)
            return detail::bad_option("bulkhead_options.max_concurrent", "must lie in 1 to 1,000,000");
        if (max_wait < duration::zero()) return detail::bad_option("bulkhead_options.max_wait", "must not be negative");
        return {};
    }
};

/// What a bulkhead holds and has done so far. Not one moment's state.
struct bulkhead_snapshot {
    std::size_t inside = 0;     ///< on their way now
    std::size_t waiting = 0;    ///< in the queue now
    std::uint64_t waits = 0;    ///< had to wait
    std::uint64_t refused = 0;  ///< found the queue full, or had to leave it for a higher priority
};

/// Thread-safe. While there is room it costs one compare-and-swap each way. A refusal is `errc::bulkhead_full`, also when `max_wait` has
/// passed. `Where` is `place::bulkhead`, inside the retry: each attempt takes a slot, and none is held during a pause; or `place::bound`,
/// outside of it: an operation keeps its slot over all its attempts. `Tag` tells two of them apart.
template <class Tag = void, strata::place Where = strata::place::bulkhead>
class bulkhead {
    static_assert(Where == strata::place::bulkhead || Where == strata::place::bound,
                  "strata: a bulkhead stands at place::bulkhead (per attempt) or at place::bound (per operation)");

public:
    using options = detail::options_for<Tag, bulkhead_options>;
    static constexpr auto place = Where;
    static constexpr bool holds = true;
    static constexpr bool asks_priority = true;
    struct frame {
        bool waits = false;
        unset<strata::priority> of;  ///< where it waits
        waiter node;
    };

    bulkhead() : bulkhead(options{}) {}
    explicit bulkhead(const options& o) noexcept : options_(detail::untagged(o)), permits_(options_.max_concurrent) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        if (!f.waits && permits_.try_take()) [[likely]]
            return proceed();
        return admit_slowly(op, f, m);
    }
    STRATA_INLINE void settle(auto&, frame&, outcome&) noexcept { permits_.give_back(); }
    void abandon(frame& f) noexcept {
        if (f.waits)
            permits_.leave(f.node, f.of);
        else
            permits_.give_back();
    }

    /// From now on so many at a time (at least 1); who is inside beyond that stays until done.
    void resize(std::uint32_t max_concurrent) noexcept { permits_.resize(max_concurrent > 0 ? max_concurrent : 1); }
    /// Its size is another than that of its options; see `keyed`.
    [[nodiscard]] bool is_set_by_hand() noexcept { return permits_.count() != options_.max_concurrent; }

    [[nodiscard]] bulkhead_snapshot snapshot() noexcept {
        return {permits_.taken(), permits_.queue_size(), waits_.load(std::memory_order_relaxed), refused_.load(std::memory_order_relaxed)};
    }

private:
    STRATA_COLD verdict admit_slowly(operation_base& op, frame& f, moment m) noexcept {
        if (f.waits) {  // asked again
            f.waits = false;
            return permits_.is_given(f.node) ? proceed() : turned_away();
        }
        f.of = op.priority;
        switch (permits_.wait(f.node, op.priority, op.waking(), options_.max_waiting)) {
            case detail::permits::queued::taken:
                return proceed();
            case detail::permits::queued::full:
                return turned_away();
            default:
                f.waits = true;
                waits_.fetch_add(1, std::memory_order_relaxed);
                return park(&f.node, add_saturated(m.now, options_.max_wait), errc::bulkhead_full);
        }
    }
    [[nodiscard]] verdict turned_away() noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return refuse(errc::bulkhead_full);
    }

    const bulkhead_options options_;
    detail::permits permits_;
    std::atomic<std::uint64_t> waits_{0};
    std::atomic<std::uint64_t> refused_{0};
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
