// One shared connection of a `pipelined` source: leased from a pool for as long as it is sound, and made anew when it is not.
#ifndef STRATA_SOURCE_SHARED_LANE_HPP
#define STRATA_SOURCE_SHARED_LANE_HPP

#include <strata/core/flight.hpp>
#include <strata/core/lock.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Pool` leases connections of its driver; `Driver::multiplexer` shares one. Thread-safe.
template <class Pool, class Driver>
class shared_lane final : waker {
    using multiplexer = typename Driver::multiplexer;

public:
    void belong_to(Pool& pool, const typename multiplexer::limits& limits) noexcept {
        pool_ = &pool;
        limits_ = limits;
        op_.drive = this;
        op_.make_waker = [](operation_base& o) -> waker* { return static_cast<shared_lane*>(o.drive); };
    }

    /// A seat's stay begins: the connection, or null where it must be waited for.
    [[nodiscard]] STRATA_INLINE multiplexer* enter() noexcept {
        users_.fetch_add(1, std::memory_order_seq_cst);
        if (at_.load(std::memory_order_seq_cst) == at::open && !shared_->is_lost()) [[likely]]
            return &*shared_;
        leave();
        return nullptr;
    }
    STRATA_INLINE void leave() noexcept {
        const bool lost = at_.load(std::memory_order_seq_cst) == at::open && shared_->is_lost();  // which is there as long as somebody is
        if (users_.fetch_sub(1, std::memory_order_seq_cst) == 1 && (lost || at_.load(std::memory_order_seq_cst) == at::leaving))
            close_if_empty();
    }

    /// Stands in line for the connection: true; false when it is refused.
    [[nodiscard]] STRATA_COLD acquired wait(waiter& node, waker* by, multiplexer*& out) noexcept {
        {
            hold guard(lock_);
            if (closed_) return acquired::refused;
            if (at_ == at::open && !shared_->is_lost()) {
                users_.fetch_add(1);
                out = &*shared_;
                return acquired::ready;
            }
            if (at_ == at::open) at_ = at::leaving;
            node.prepare(by);
            waiting_.push(node);
        }
        close_if_empty();
        return acquired::wait;
    }
    /// The end of that; null: refused, or out of time.
    [[nodiscard]] STRATA_COLD multiplexer* end_wait(waiter& node) noexcept {
        hold guard(lock_);
        if (node.withdraw()) {
            waiting_.remove(node);
            return nullptr;
        }
        return static_cast<multiplexer*>(node.gift);
    }
    /// Why there was none.
    [[nodiscard]] STRATA_COLD error refusal() noexcept {
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        return failed_ ? failed_ : error{errc::pool_exhausted, phase::acquire}.set_local();
    }

    [[nodiscard]] std::size_t load() const noexcept { return users_.load(std::memory_order_relaxed); }

    /// Lets go of its connection as soon as nobody is on it; the next who comes gets another. `close`: nobody does.
    STRATA_COLD void renew(bool close) noexcept {
        {
            hold guard(lock_);
            closed_ = closed_ || close;
            if (at_ == at::open) at_ = at::leaving;
        }
        close_if_empty();
        if (close) tell_waiting(nullptr);
    }
    STRATA_COLD void cancel_all() noexcept {
        hold guard(lock_);
        if (shared_) shared_->cancel_all();
    }

private:
    enum class at : std::uint8_t { nowhere, opening, open, leaving };

    /// Gives the connection back when nobody is on it, and asks for one when somebody waits.
    STRATA_COLD void close_if_empty() noexcept {
        {
            hold guard(lock_);
            if (at_ == at::open && shared_->is_lost()) at_ = at::leaving;
            if (at_ == at::leaving) {
                if (users_.load() != 0) return;
                const health h = shared_->is_lost() ? health::lost : health::good;
                shared_.reset();
                at_ = at::nowhere;
                pool_->release(lease_, op_, h);
            }
            if (at_ != at::nowhere || waiting_.empty() || closed_) return;
            at_ = at::opening;
        }
        open();
    }
    STRATA_COLD void open() noexcept {
        const acquired a = pool_->acquire(op_, node_, lease_);
        if (a != acquired::wait) adopt(a);
    }
    /// The pool has an answer.
    void wake() noexcept override { adopt(pool_->end_wait(op_, node_, lease_, duration::zero())); }
    void dispose() noexcept override {}

    STRATA_COLD void adopt(acquired a) noexcept {
        error why;
        if (a == acquired::ready) {
            hold guard(lock_);
            try {
                shared_.emplace(pool_->connection_of(lease_), limits_);
                failed_ = {};
                at_ = closed_ ? at::leaving : at::open;
            } catch (...) {  // no memory
                a = acquired::refused;
                pool_->release(lease_, op_, health::good);
            }
        }
        if (a != acquired::ready) {
            why = pool_->refusal(op_, steady_now(), true);
            hold guard(lock_);
            failed_ = why;
            at_ = at::nowhere;
        }
        tell_waiting(a == acquired::ready ? &*shared_ : nullptr);
        close_if_empty();
    }
    STRATA_COLD void tell_waiting(multiplexer* m) noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                users_.fetch_add(1);  // before it is told, for it may leave at once
                const bool told = waiting_.grant_first(m, wake);
                if (!told || m == nullptr) users_.fetch_sub(1);
                if (!told) return;
            }
            wake();
        }
    }

    Pool* pool_ = nullptr;
    typename multiplexer::limits limits_{};
    inline_lock lock_;
    std::atomic<at> at_{at::nowhere};
    std::atomic<std::size_t> users_{0};
    std::optional<multiplexer> shared_;
    wait_queue waiting_;
    bool closed_ = false;
    error failed_;
    // As the pool knows it.
    operation<operation_facts{.kind = operation_kind::other}> op_;
    waiter node_;
    typename Pool::lease lease_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
