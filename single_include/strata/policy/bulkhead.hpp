// Generated from include/strata/policy/bulkhead.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_BULKHEAD_HPP
#define STRATA_SINGLE_POLICY_BULKHEAD_HPP

#include <strata/strata.hpp>

// A number of permits, and the queue of those who wait for one: what a bulkhead and a concurrency limit are made of.
//
// While nobody waits a permit is taken and given back by one compare-and-swap. The lowest bit of the word closes that path: it is set
// while somebody waits, or while there are fewer permits than are out. Then everything goes under the lock, and a permit that comes
// back is handed to whoever waits longest in the highest priority, so nobody overtakes. The hooks of both are here too.
#ifndef STRATA_POLICY_PERMITS_HPP
#define STRATA_POLICY_PERMITS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

class permits {
public:
    /// What an operation remembers of its wait, in its layer's frame.
    struct place {
        bool waits = false;
        unset<priority> of;  ///< where
        waiter node;
    };

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

    /// In `admit`: whether it proceeds at once. Otherwise what `admit_slowly` answers.
    [[nodiscard]] STRATA_INLINE bool admits(const place& at) noexcept { return !at.waits && try_take(); }
    /// Takes a permit after all, or waits for one up to `patience`; refuses where `most` wait already, unless one of lower priority stands
    /// there, whose youngest then gives way. Asked again after the wait it says whether a permit came.
    [[nodiscard]] STRATA_COLD verdict admit_slowly(place& at, operation_base& op, moment m, std::size_t most, duration patience) noexcept {
        if (std::exchange(at.waits, false)) return at.node.gift != nullptr ? proceed() : refused();
        if (most == 0) return refused();
        waker* const wakes = op.waking();
        wake_call gone;
        {
            hold guard{lock_};
            if (take_or_close()) return proceed();
            if (waiting() >= most && !displace(op.priority, most, gone)) {
                reopen();
                return refused();
            }
            at.waits = true;
            at.of = op.priority;
            at.node.prepare(wakes);
            queue_of(at.of).push(at.node);
            ++waits_;
        }
        gone();
        return park(&at.node, add_saturated(m.now, patience), errc::bulkhead_full);
    }
    /// In `abandon`, whatever became of it: it was inside, or waits, and perhaps a permit came meanwhile.
    void abandon(place& at) noexcept {
        if (!at.waits || leave(at)) give_back();
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
    /// Operations that had to wait.
    [[nodiscard]] std::uint64_t waits() noexcept {
        hold guard{lock_};
        return waits_;
    }
    /// Those that found no place in the queue, or had to leave it for a higher priority.
    [[nodiscard]] std::uint64_t refusals() const noexcept { return refused_.load(std::memory_order_relaxed); }

private:
    static constexpr std::uint64_t closed = 1;
    static constexpr std::uint64_t one = 2;

    [[nodiscard]] wait_queue& queue_of(priority p) noexcept { return queues_[static_cast<std::size_t>(p)]; }
    [[nodiscard]] std::size_t waiting() const noexcept { return queues_[0].size() + queues_[1].size() + queues_[2].size(); }

    [[nodiscard]] verdict refused() noexcept {
        refused_.fetch_add(1, std::memory_order_relaxed);
        return refuse(errc::bulkhead_full);
    }
    /// True when a permit has come meanwhile.
    [[nodiscard]] STRATA_COLD bool leave(place& at) noexcept {
        hold guard{lock_};
        if (at.node.is_granted()) return at.node.gift != nullptr;
        static_cast<void>(at.node.withdraw());
        queue_of(at.of).remove(at.node);
        reopen();
        return false;
    }

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
    std::uint64_t waits_ = 0;
    wait_queue queues_[3];
    std::atomic<std::uint64_t> refused_{0};
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
    friend bool operator==(const bulkhead_options&, const bulkhead_options&) = default;
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
    using frame = detail::permits::place;

    bulkhead() : bulkhead(options{}) {}
    explicit bulkhead(const options& o) noexcept : options_(detail::untagged(o)), permits_(options_.max_concurrent) {}

    STRATA_INLINE verdict admit(auto& op, frame& f, moment m) noexcept {
        if (permits_.admits(f)) [[likely]]
            return proceed();
        return permits_.admit_slowly(f, op, m, options_.max_waiting, options_.max_wait);
    }
    STRATA_INLINE void settle(auto&, frame&, outcome&) noexcept { permits_.give_back(); }
    void abandon(frame& f) noexcept { permits_.abandon(f); }

    /// From now on so many at a time (at least 1); who is inside beyond that stays until done.
    void resize(std::uint32_t max_concurrent) noexcept { permits_.resize(max_concurrent > 0 ? max_concurrent : 1); }
    /// Its size is another than that of its options; see `keyed`.
    [[nodiscard]] bool is_set_by_hand() noexcept { return permits_.count() != options_.max_concurrent; }

    [[nodiscard]] bulkhead_snapshot snapshot() noexcept {
        return {permits_.taken(), permits_.queue_size(), permits_.waits(), permits_.refusals()};
    }

private:
    const bulkhead_options options_;
    detail::permits permits_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
