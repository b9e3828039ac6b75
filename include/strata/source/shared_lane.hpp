// One shared connection of a `pipelined` source: leased from a pool for as long as it is sound, and made anew when it is not.
#ifndef STRATA_SOURCE_SHARED_LANE_HPP
#define STRATA_SOURCE_SHARED_LANE_HPP

#include <strata/core/flight.hpp>
#include <strata/core/multiplexer.hpp>

#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Pool` leases connections of its driver; `Link` shares one. Thread-safe.
template <class Pool, class Link>
class shared_lane final : waker {
    using shared = multiplexer<Link>;

public:
    void belong_to(Pool& pool, const flow_limits& limits, bool through_pooler) noexcept {
        pool_ = &pool;
        limits_ = limits;
        through_pooler_ = through_pooler;
        op_.name = "statements that share a connection";
        op_.drive = this;
        op_.make_waker = [](operation_base& o) -> waker* { return static_cast<shared_lane*>(o.drive); };
    }

    /// A seat's stay begins: the connection, or null where it must be waited for.
    [[nodiscard]] STRATA_INLINE shared* enter() noexcept {
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

    /// Stands in line for the connection.
    [[nodiscard]] STRATA_COLD acquired wait(waiter& node, waker* by, shared*& out) noexcept {
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
            waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
        }
        close_if_empty();
        return acquired::wait;
    }
    /// The end of that; null: refused, or out of time.
    [[nodiscard]] STRATA_COLD shared* end_wait(waiter& node) noexcept {
        hold guard(lock_);
        if (node.withdraw()) {
            waiting_.remove(node);
            waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
            return nullptr;
        }
        return static_cast<shared*>(node.gift);
    }

    /// Why there was none.
    [[nodiscard]] STRATA_COLD error refusal() {
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        return failed_ ? failed_ : error{errc::pool_exhausted, "the shared connection was not there in time", phase::acquire}.set_local();
    }

    [[nodiscard]] STRATA_COLD bool is_closed() noexcept {
        hold guard(lock_);
        return closed_;
    }
    [[nodiscard]] bool is_open() const noexcept { return at_.load(std::memory_order_relaxed) == at::open; }
    /// Whether it has neither a connection nor asked for one.
    [[nodiscard]] bool is_cold() const noexcept { return at_.load(std::memory_order_relaxed) == at::nowhere; }
    /// Statements that are on it, or wait for it.
    [[nodiscard]] std::size_t load() const noexcept {
        return users_.load(std::memory_order_relaxed) + waiting_now_.load(std::memory_order_relaxed);
    }

    /// Asks for a connection before somebody waits for it.
    STRATA_COLD void warm() noexcept {
        {
            hold guard(lock_);
            if (at_ != at::nowhere || closed_) return;
            at_ = at::opening;
        }
        open();
    }
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
    /// The same for one that has grown too old.
    STRATA_COLD void look_at_age(moment m, duration lifetime, double jitter) noexcept {
        {
            hold guard(lock_);
            if (at_ != at::open) return;
            if (ends_ == never) ends_ = add_saturated(m.now, lifetime - scaled(lifetime, jitter * m.random_unit()));
            if (m.now < ends_) return;
        }
        renew(false);
    }
    STRATA_COLD void cancel_all() noexcept {
        hold guard(lock_);
        if (shared_) shared_->cancel_all();
    }

private:
    enum class at : std::uint8_t { nowhere, opening, open, leaving, closing };

    [[nodiscard]] static duration scaled(duration d, double by) noexcept {
        return duration{static_cast<duration::rep>(static_cast<double>(d.count()) * by)};
    }

    /// Gives the connection back when nobody is on it, and asks for one when somebody waits.
    STRATA_COLD void close_if_empty() noexcept {
        health h = health::good;
        {
            hold guard(lock_);
            if (at_ == at::open && shared_->is_lost()) at_ = at::leaving;
            if (at_ == at::leaving) {
                if (users_.load() != 0) return;
                if (shared_->is_lost()) h = health::lost;
                shared_.reset();
                at_ = at::closing;
                ends_ = never;
            } else if (!begins_to_open()) {
                return;
            }
        }
        if (at_ == at::closing) {
            pool_->release(lease_, op_, h);  // without the lock: where the server said farewell, all lanes are renewed
            hold guard(lock_);
            at_ = at::nowhere;
            if (!begins_to_open()) return;
        }
        open();
    }
    /// Under the lock.
    [[nodiscard]] bool begins_to_open() noexcept {
        if (at_ != at::nowhere || waiting_.empty() || closed_) return false;
        at_ = at::opening;
        return true;
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
        if (a == acquired::connect) pool_->release_unconnected(lease_);  // nobody opens connections in the background
        if (a != acquired::ready) why = pool_->refusal(op_, steady_now(), true);
        shared* here = nullptr;
        {
            hold guard(lock_);
            at_ = at::nowhere;
            if (a == acquired::ready) {
                try {
                    here = &shared_.emplace(limits_, pool_->connection_of(lease_), through_pooler_);
                    at_ = closed_ ? at::leaving : at::open;
                    users_.fetch_add(1);  // it stays until those who waited were told
                } catch (...) {           // no memory
                    pool_->release(lease_, op_, health::good);
                }
            }
            failed_ = std::move(why);
        }
        tell_waiting(here);
        if (here != nullptr) leave();
        close_if_empty();
    }
    /// `m`: whose connection cannot go meanwhile; null: there is none.
    STRATA_COLD void tell_waiting(shared* m) noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (m != nullptr) users_.fetch_add(1);  // before it is told, for it may leave at once
                const bool told = waiting_.grant_first(m, wake);
                if (!told && m != nullptr) users_.fetch_sub(1);
                waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
                if (!told) return;
            }
            wake();
        }
    }

    Pool* pool_ = nullptr;
    flow_limits limits_{};
    bool through_pooler_ = false;
    inline_lock lock_;
    std::atomic<at> at_{at::nowhere};
    std::atomic<std::size_t> users_{0};
    std::atomic<std::size_t> waiting_now_{0};
    std::optional<shared> shared_;
    wait_queue waiting_;
    time_point ends_ = never;  // by its age
    bool closed_ = false;
    error failed_;  // the last time that the pool was asked
    // As the pool knows it.
    operation<operation_facts{.kind = operation_kind::other}> op_;
    waiter node_;
    typename Pool::lease lease_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
