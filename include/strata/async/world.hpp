// Where asynchronous calls live: an executor whose timers wait, and threads for drivers that block.
#ifndef STRATA_ASYNC_WORLD_HPP
#define STRATA_ASYNC_WORLD_HPP

#include <strata/async/block_cache.hpp>
#include <strata/async/context_end.hpp>
#include <strata/async/woken_line.hpp>
#include <strata/async/work_threads.hpp>
#include <strata/core/lock.hpp>
#include <strata/core/waiter.hpp>
#include <strata/core/watch.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <optional>

namespace strata::inline STRATA_ABI {

/// How the asynchronous face works.
struct async_options {
    /// Threads that run what blocks, begun when they are first needed; 0: one for each connection, but for SQLite at most one more than
    /// the machine has processors.
    std::size_t work_threads = 0;
};

namespace detail {

/// Lets an operation wait on a timer of its executor until it is woken, time is up or it is cancelled.
///
/// The handler of a waiting operation is owned by the timer's context: when that is destroyed, so is the operation. A giver
/// may hold the waker longer, so the timer is taken away when the operation ends.
class asio_waker final : public waker {
public:
    explicit asio_waker(const std::shared_ptr<woken_line>& line) : line_(line) {}
    [[nodiscard]] static void* operator new(std::size_t size) { return block_cache::allocate(size); }
    static void operator delete(void* p, std::size_t size) noexcept { block_cache::deallocate(p, size); }

    void wake() noexcept override {
        hold guard(lock_);
        if (watch_ != nullptr) {
            watch_->nudge();  // whose handler goes on
        } else if (parked_) {
            parked_ = false;
            hold context(line_->context().lock);
            if (line_->context().ended) return;  // and the operation with it
            if (kept_.go_on) return line_->add(kept_);
            try {
                timer_->cancel();
            } catch (...) {  // the timer then ends by itself
            }
        } else {
            woken_ = true;
        }
    }

    /// Starts to wait; `go_on` is called on its executor, never here.
    template <class Handler>
    void park(time_point until, Handler&& go_on) {
        hold guard(lock_);
        if (!timer_) {
            static_cast<void>(line_->context());
            timer_.emplace(line_->executor());
        }
        timer_->expires_at(woken_ ? time_point::min() : until);
        woken_ = false;
        parked_ = true;
        timer_->async_wait(std::forward<Handler>(go_on));
    }
    /// The same where only `wake` ends the wait: without a timer, which costs more than all the rest.
    void park(hop&& go_on) {
        hold guard(lock_);
        if (std::exchange(woken_, false)) return asio::post(line_->executor(), std::move(go_on));
        const hold context(line_->context().lock);
        if (line_->context().ended) return;  // in a moment the operation ends with it
        line_->context().keep(kept_, std::move(go_on), line_->executor());
        parked_ = true;
    }
    /// It will wait for a descriptor by `watch`.
    void park_on(std::shared_ptr<io_watch> watch) noexcept {
        hold guard(lock_);
        watch_ = std::move(watch);
        if (std::exchange(woken_, false)) watch_->nudge();
    }
    /// The wait has ended.
    void unpark() noexcept {
        std::shared_ptr<io_watch> last;  // perhaps: it dies outside
        hold guard(lock_);
        parked_ = false;
        watch_.swap(last);
    }

    /// The operation ends: from now on `wake` does nothing.
    void detach() noexcept {
        unpark();
        {
            hold guard(lock_);
            timer_.reset();
            line_.reset();  // with an executor that must not outlive its context
        }
        release();
    }

private:
    void dispose() noexcept override { delete this; }
    ~asio_waker() = default;

    inline_lock lock_;
    std::shared_ptr<woken_line> line_;  // until the operation ends
    std::optional<asio::steady_timer> timer_;
    parked_operation kept_;
    std::shared_ptr<io_watch> watch_;  // while it waits for a descriptor
    bool parked_ = false;
    bool woken_ = false;
};

/// Counts the operations of an execution context that are away on a work thread, so that the context is not
/// destroyed under their feet: its end waits for them to come back, cancelled.
class away_service : public asio::execution_context::service {
public:
    using key_type = away_service;
    static inline asio::execution_context::id id;

    explicit away_service(asio::execution_context& context) : asio::execution_context::service(context) {}

    struct traveller {
        std::atomic<bool>* cancelled = nullptr;
        traveller* next = nullptr;
        traveller* previous = nullptr;
    };

    /// The operation sets out for a work thread; `t` lies in it.
    void leave(traveller& t) noexcept {
        hold guard(lock_);
        link(t);
    }
    /// On the work thread: from here on the mark lies there, because the operation may end before its mark is taken away.
    void arrive(traveller& in_operation, traveller& on_thread) noexcept {
        hold guard(lock_);
        unlink(in_operation);
        on_thread.cancelled = in_operation.cancelled;
        link(on_thread);
    }
    /// Sends the operation back by `go_on(ending)` while the context certainly lives; true tells that it is being destroyed.
    template <class GoOn>
    void come_back(traveller& on_thread, GoOn&& go_on) noexcept {
        bool ending = false;
        {
            hold guard(lock_);
            ending = ending_;
            on_thread.cancelled = nullptr;
        }
        go_on(ending);
        hold guard(lock_);
        unlink(on_thread);
        back_.fetch_add(1, std::memory_order_release);
        futex_wake_one(&back_);
    }

private:
    void shutdown() override {
        for (;;) {
            const std::uint32_t seen = back_.load(std::memory_order_acquire);
            {
                hold guard(lock_);
                ending_ = true;
                if (first_ == nullptr) return;
                for (traveller* t = first_; t != nullptr; t = t->next)
                    if (t->cancelled != nullptr) t->cancelled->store(true, std::memory_order_relaxed);
            }
            futex_wait(back_, seen);
        }
    }

    void link(traveller& t) noexcept {
        t.previous = nullptr;
        t.next = first_;
        if (first_ != nullptr) first_->previous = &t;
        first_ = &t;
    }
    void unlink(traveller& t) noexcept {
        (t.previous != nullptr ? t.previous->next : first_) = t.next;
        if (t.next != nullptr) t.next->previous = t.previous;
    }

    inline_lock lock_;
    traveller* first_ = nullptr;
    bool ending_ = false;
    std::atomic<std::uint32_t> back_{0};
};

}  // namespace detail

/// The executor of a face and the threads for blocking work, which all faces of a runtime share. Copies are of one object.
class asio_world {
public:
    asio_world(asio::any_io_executor executor, std::shared_ptr<detail::work_threads> workers)
        : parts_(std::make_shared<const parts>(parts{std::move(workers), std::make_shared<detail::woken_line>(executor)})) {}

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return parts_->woken->executor(); }
    /// Of the operations of this face that were parked.
    [[nodiscard]] const std::shared_ptr<detail::woken_line>& woken() const noexcept { return parts_->woken; }
    /// Throws `std::exception` where the process has no room for threads.
    [[nodiscard]] asio::thread_pool::executor_type workers() const { return parts_->workers->executor(); }
    [[nodiscard]] const std::shared_ptr<detail::work_threads>& threads() const noexcept { return parts_->workers; }
    /// The same object: the same executor and threads. Two faces may be equal without.
    [[nodiscard]] bool is(const asio_world& other) const noexcept { return parts_ == other.parts_; }

private:
    struct parts {
        std::shared_ptr<detail::work_threads> workers;
        std::shared_ptr<detail::woken_line> woken;
    };
    std::shared_ptr<const parts> parts_;
};

}  // namespace strata::inline STRATA_ABI

#endif
