// A place in a queue for something that somebody else will give: a connection, a slot, a permit.
//
// The node lies in the waiting operation. Whoever gives and whoever gives up race for it, and a
// compare-and-swap decides exactly one of *granted* and *withdrawn*. The giver copies the way to wake the
// other side (`wake_call`) while it still holds the queue's lock, because once granted the node may be gone.
#ifndef STRATA_CORE_WAITER_HPP
#define STRATA_CORE_WAITER_HPP

#include <strata/core/futex.hpp>
#include <strata/core/lock.hpp>

#include <utility>

namespace strata::inline STRATA_ABI {

/// How an operation that does not block a thread is woken: the asynchronous and the simulated drive make one.
/// Counted, since a giver may still hold it when the operation has gone.
class waker {
public:
    /// Lets the operation go on soon, on its own executor; never runs it in this call. From any thread.
    virtual void wake() noexcept = 0;

    void retain() noexcept { users_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) dispose();
    }

protected:
    waker() = default;
    waker(const waker&) = delete;
    waker& operator=(const waker&) = delete;
    ~waker() = default;

private:
    virtual void dispose() noexcept = 0;

    std::atomic<std::uint32_t> users_{1};
};

/// What a giver does after it has let go of the queue's lock.
class [[nodiscard]] wake_call {
public:
    wake_call() noexcept = default;
    wake_call(std::atomic<std::uint32_t>* word, waker* other) noexcept : word_(word), waker_(other) {
        if (waker_ != nullptr) waker_->retain();
    }
    wake_call(wake_call&& other) noexcept : word_(std::exchange(other.word_, nullptr)), waker_(std::exchange(other.waker_, nullptr)) {}
    wake_call& operator=(wake_call&& other) noexcept {
        std::swap(word_, other.word_);
        std::swap(waker_, other.waker_);
        return *this;
    }
    ~wake_call() {
        if (waker_ != nullptr) waker_->release();
    }
    void operator()() noexcept {
        if (waker_ != nullptr) waker_->wake();
        else if (word_ != nullptr) futex_wake_one(word_);
    }

private:
    std::atomic<std::uint32_t>* word_ = nullptr;
    waker* waker_ = nullptr;
};

class waiter {
public:
    enum state : std::uint32_t { idle, waiting, granted, withdrawn };

    waiter() noexcept {}  // NOLINT: gift and links are written before they are read, for most operations never wait
    waiter(const waiter&) = delete;
    waiter& operator=(const waiter&) = delete;

    /// Before the node is put into a queue. `other` is null when a thread will block on the node.
    void prepare(waker* other) noexcept {
        waker_ = other;
        gift = nullptr;
        state_.store(waiting, std::memory_order_relaxed);
    }

    /// Giver, under the queue's lock: true when the node is now granted; then `call` wakes it, after unlocking.
    [[nodiscard]] bool grant(void* what, wake_call& call) noexcept {
        // The giver alone may write the gift: it is read only after `granted` was seen.
        gift = what;
        wake_call made(&state_, waker_);
        std::uint32_t expected = waiting;
        if (!state_.compare_exchange_strong(expected, granted, std::memory_order_acq_rel, std::memory_order_acquire)) return false;
        call = std::move(made);
        return true;
    }

    /// The waiting side gives up: true when it was in time; false when the gift has arrived.
    [[nodiscard]] bool withdraw() noexcept {
        std::uint32_t expected = waiting;
        return state_.compare_exchange_strong(expected, withdrawn, std::memory_order_acq_rel, std::memory_order_acquire);
    }

    [[nodiscard]] bool is_granted() const noexcept { return state_.load(std::memory_order_acquire) == granted; }

    /// Blocks the thread until granted or `until`. For nodes prepared without a waker.
    STRATA_COLD void block(time_point until) noexcept {
        while (state_.load(std::memory_order_acquire) == waiting && clock::now() < until) futex_wait(state_, waiting, until);
    }

    void* gift;  ///< what was given; valid when granted

    // Links of the queue that the node stands in; guarded by that queue's lock.
    waiter* next;
    waiter* previous;
    bool queued = false;

private:
    std::atomic<std::uint32_t> state_{idle};
    waker* waker_ = nullptr;
};

/// First in, first out; intrusive. Not synchronised: its owner's lock guards it.
class wait_queue {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    void push(waiter& w) noexcept {
        w.next = nullptr;
        w.previous = last_;
        (last_ != nullptr ? last_->next : first_) = &w;
        last_ = &w;
        w.queued = true;
        ++size_;
    }
    [[nodiscard]] waiter* front() noexcept { return first_; }
    [[nodiscard]] waiter* back() noexcept { return last_; }
    void remove(waiter& w) noexcept {
        if (!w.queued) return;
        (w.previous != nullptr ? w.previous->next : first_) = w.next;
        (w.next != nullptr ? w.next->previous : last_) = w.previous;
        w.queued = false;
        --size_;
    }
    /// Gives `what` to the oldest node that still waits; nodes that have withdrawn are dropped. False when nobody waits.
    [[nodiscard]] bool grant_first(void* what, wake_call& call) noexcept {
        while (waiter* w = first_) {
            remove(*w);
            if (w->grant(what, call)) return true;
        }
        return false;
    }

private:
    waiter* first_ = nullptr;
    waiter* last_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif
