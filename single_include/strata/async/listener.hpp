// Generated from include/strata/async/listener.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_LISTENER_HPP
#define STRATA_SINGLE_ASYNC_LISTENER_HPP

#include <strata/strata.hpp>

#include <libpq-fe.h>
#include <poll.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

// How an asynchronous call ends: an error, an exception of the user's, or a value; delivered in one of two forms.
#ifndef STRATA_ASYNC_ANSWER_HPP
#define STRATA_ASYNC_ANSWER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What an exception says, as an error: for the forms that do not throw.
[[nodiscard]] STRATA_COLD inline error error_of_exception(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const failure& f) {
        return f.error();
    } catch (const std::exception& e) {
        return {errc::user_exception, e.what(), phase::execute, effect::unknown};
    } catch (...) {
        return {errc::user_exception, "an exception that is no std::exception", phase::execute, effect::unknown};
    }
}

/// `async_x`: completes with `void(std::exception_ptr, T)`, or `void(std::exception_ptr)`.
template <class T>
struct throwing {
    using value = T;
    using signature = void(std::exception_ptr, T);
};
template <>
struct throwing<void> {
    using value = void;
    using signature = void(std::exception_ptr);
};

/// `async_try_x`: completes with `void(strata::result<T>)`; a `T` that is our result already is not wrapped once more.
template <class T>
struct trying {
    using value = T;
    using signature = void(typename as_result<T>::type);
};

template <class Form>
struct answer;

template <class T>
struct answer<throwing<T>> {
    error failed;
    std::exception_ptr thrown;
    std::optional<storable<T>> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        if (!thrown && failed) [[unlikely]]
            thrown = std::make_exception_ptr(failure(std::move(failed)));
        if constexpr (std::is_void_v<T>) {
            std::move(handler)(std::move(thrown));
        } else {
            static_assert(
                std::is_default_constructible_v<T>,
                "strata: Asio needs a value also when there is an error: the type of an asynchronous result must be default-constructible");
            if constexpr (!std::is_default_constructible_v<T>)
                return;  // was refused above
            else if (thrown || !value)
                std::move(handler)(std::move(thrown), T{});
            else
                std::move(handler)(std::exception_ptr{}, std::move(*value));
        }
    }
};

template <class T>
struct answer<trying<T>> {
    error failed;
    std::exception_ptr thrown;
    std::optional<storable<T>> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        using answered = typename as_result<T>::type;
        if (thrown) {
            error e = error_of_exception(thrown);
            if (failed) e.set(failed.effect());  // what became of it is known there
            std::move(handler)(answered{std::move(e)});
        } else if (failed)
            std::move(handler)(answered{std::move(failed)});
        else if constexpr (std::is_void_v<T>)
            std::move(handler)(answered{});
        else
            std::move(handler)(answered{std::move(*value)});
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The end of an execution context, as others must see it: before its reactor and its timers go.
//
// Whoever touches a context from a thread that does not run it holds this lock and asks first. (Asio's own services end
// without a lock.) A service that was made later ends earlier, so this one is asked for after the context's timers and reactor.
#ifndef STRATA_ASYNC_CONTEXT_END_HPP
#define STRATA_ASYNC_CONTEXT_END_HPP

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// What is told of the end. Linked and unlinked under the lock.
class ends_with_context {
public:
    virtual void context_ends() noexcept = 0;

protected:
    ends_with_context() = default;
    ends_with_context(const ends_with_context&) = delete;
    ends_with_context& operator=(const ends_with_context&) = delete;
    virtual ~ends_with_context() = default;

private:
    friend struct context_end;
    ends_with_context* next_ = nullptr;
    ends_with_context* previous_ = nullptr;
};

/// Outlives the context: whoever looks shares it.
struct context_end {
    inline_lock lock;
    bool ended = false;

    void link(ends_with_context& m) noexcept {
        m.next_ = first_;
        if (first_ != nullptr) first_->previous_ = &m;
        first_ = &m;
    }
    void unlink(ends_with_context& m) noexcept {
        (m.previous_ != nullptr ? m.previous_->next_ : first_) = m.next_;
        if (m.next_ != nullptr) m.next_->previous_ = m.previous_;
    }

    /// That of an executor's context.
    [[nodiscard]] static std::shared_ptr<context_end> of(const asio::any_io_executor& ex) {
        return asio::use_service<service>(asio::query(ex, asio::execution::context)).shared;
    }

private:
    class service : public asio::execution_context::service {
    public:
        using key_type = service;
        static inline asio::execution_context::id id;
        explicit service(asio::execution_context& c) : asio::execution_context::service(c), shared(std::make_shared<context_end>()) {}
        std::shared_ptr<context_end> shared;

    private:
        void shutdown() override {
            hold guard(shared->lock);
            shared->ended = true;
            for (ends_with_context* m = shared->first_; m != nullptr; m = m->next_) m->context_ends();
        }
    };

    ends_with_context* first_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A connection's descriptor in the reactor of a context: registered once, as long as the connection is used there.
//
// The descriptor belongs to the driver's library, so it is only ever released, never closed here. Connection and context may
// end in either order: the context's end releases first what is registered in it.
//
// The bound of a wait is kept by a timer of the work threads, which does not keep the user's context from its end. It is
// armed anew only for an earlier point: to arm one for each call would be a system call, a tenth of a round trip.
#ifndef STRATA_ASYNC_DESCRIPTOR_HPP
#define STRATA_ASYNC_DESCRIPTOR_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Lies in a connection's `watch()`. Its calls are safe from any thread.
class descriptor_watch final : public io_watch, public ends_with_context, public std::enable_shared_from_this<descriptor_watch> {
public:
    /// Registers the descriptor with the context of `ex`.
    descriptor_watch(const asio::any_io_executor& ex, std::shared_ptr<asio::thread_pool> workers, int fd)
        : executor_(ex), fd_(fd), workers_(std::move(workers)) {
        descriptor_.emplace(ex, fd);  // its service first: what was made later ends earlier
        try {
            context_ = context_end::of(ex);
        } catch (...) {
            let_go();
            throw;
        }
        hold guard(context_->lock);
        context_->link(*this);
    }
    ~descriptor_watch() override {
        hold guard(context_->lock);
        context_->unlink(*this);
        let_go();
    }

    /// The watch in `place`, made anew if it is for another executor or descriptor.
    [[nodiscard]] static descriptor_watch& of(watch_place& place, const asio::any_io_executor& ex,
                                              const std::shared_ptr<asio::thread_pool>& workers, int fd) {
        auto* const there = static_cast<descriptor_watch*>(place.get());
        if (there != nullptr && there->is_for(ex, fd)) [[likely]]
            return *there;
        place.clear();  // two reactors must not know it at once
        auto made = std::make_shared<descriptor_watch>(ex, workers, fd);
        descriptor_watch& here = *made;
        place.put(std::move(made));
        return here;
    }

    /// Takes `go_on`, to be called on its executor when the descriptor is ready, at `until`, or after `nudge()`. Leaves it where the
    /// context has ended: what it owns must not die under a lock. This may be gone when it returns.
    template <class Handler>
    void wait(bool writable, time_point until, Handler& go_on) {
        hold guard(context_->lock);
        if (!descriptor_) return;
        due_ = until;
        if (until < armed_) arm(until);
        descriptor_->async_wait(writable ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read,
                                std::move(go_on));
        if (std::exchange(nudged_, false)) end_wait();
    }
    void nudge() noexcept override {
        hold guard(context_->lock);
        nudged_ = true;
        end_wait();
    }

    void context_ends() noexcept override { let_go(); }

private:
    /// Another context may lie where one that has ended lay.
    [[nodiscard]] bool is_for(const asio::any_io_executor& ex, int fd) const noexcept {
        hold guard(context_->lock);
        return !context_->ended && fd_ == fd && executor_ == ex;
    }
    void end_wait() noexcept {
        boost::system::error_code ignored;
        if (descriptor_) descriptor_->cancel(ignored);
    }
    /// An older point may still ring: then it looks again.
    void arm(time_point at) {
        if (!alarm_) alarm_.emplace(workers_->get_executor());
        alarm_->expires_at(at);
        armed_ = at;
        alarm_->async_wait([weak = weak_from_this()](const boost::system::error_code& e) {
            if (e) return;
            if (const auto watch = weak.lock()) watch->rang();
        });
    }
    void rang() noexcept {
        hold guard(context_->lock);
        armed_ = never;
        if (due_ == never || !descriptor_) return;
        if (due_ <= steady_now()) {
            due_ = never;
            return end_wait();
        }
        try {
            arm(due_);
        } catch (...) {  // no memory: rather too early than never
            end_wait();
        }
    }
    void let_go() noexcept {
        if (!descriptor_) return;
        try {
            descriptor_->release();
        } catch (...) {  // it is not registered any more
        }
        descriptor_.reset();
    }

    asio::any_io_executor executor_;
    int fd_;
    std::shared_ptr<asio::thread_pool> workers_;  // before the timer, which must go first
    std::optional<asio::steady_timer> alarm_;
    time_point armed_ = never;  // when it rings; never: it is not armed
    time_point due_ = never;    // the bound of the latest wait, which may be over
    bool nudged_ = false;
    std::optional<asio::posix::stream_descriptor> descriptor_;
    std::shared_ptr<context_end> context_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A step of an operation on its way to another thread or executor, and the operation with it.
//
// One type for all operations, so that Asio's queues, timers and descriptors are compiled for it once, and not once for each
// kind of call: that was most of what an asynchronous call took to compile.
#ifndef STRATA_ASYNC_HOP_HPP
#define STRATA_ASYNC_HOP_HPP

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// Owns the operation: where the hop is destroyed before it is called, since a context has ended, so is the operation.
class hop {
public:
    /// `take` runs the step and owns `operation` from then on; `drop` destroys it.
    hop(void* operation, void (*take)(void*), void (*drop)(void*) noexcept) noexcept : operation_(operation), take_(take), drop_(drop) {}
    hop(hop&& other) noexcept : operation_(std::exchange(other.operation_, nullptr)), take_(other.take_), drop_(other.drop_) {}
    hop& operator=(hop&&) = delete;
    ~hop() {
        if (operation_ != nullptr) drop_(operation_);
    }

    template <class... Ignored>
    void operator()(Ignored&&...) {
        take_(std::exchange(operation_, nullptr));
    }

private:
    void* operation_;
    void (*take_)(void*);
    void (*drop_)(void*) noexcept;
};

/// The same, to be called on an executor when a wait has ended.
class hop_to : public hop {
public:
    using executor_type = asio::any_io_executor;
    hop_to(hop&& h, const executor_type& where) noexcept : hop(std::move(h)), where_(where) {}
    [[nodiscard]] executor_type get_executor() const noexcept { return where_; }

private:
    executor_type where_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Where asynchronous calls live: an executor whose timers wait, and threads for drivers that block.
#ifndef STRATA_ASYNC_WORLD_HPP
#define STRATA_ASYNC_WORLD_HPP

namespace strata::inline STRATA_ABI {

/// How the asynchronous face works.
struct async_options {
    /// Threads that run what blocks; 0: one for each connection, but for SQLite at most one more than the machine has processors.
    std::size_t work_threads = 0;
};

namespace detail {

/// Lets an operation wait on a timer of its executor until it is woken, time is up or it is cancelled.
///
/// The handler of a waiting operation is owned by the timer's context: when that is destroyed, so is the operation. A giver
/// may hold the waker longer, so the timer is taken away when the operation ends.
class asio_waker final : public waker {
public:
    explicit asio_waker(const asio::any_io_executor& ex) : executor_(ex) {}

    void wake() noexcept override {
        hold guard(lock_);
        if (watch_ != nullptr) {
            watch_->nudge();  // whose handler goes on
        } else if (parked_) {
            parked_ = false;
            const hold context(context_->lock);
            if (context_->ended) return;  // and the operation with it
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
            timer_.emplace(executor_);
            context_ = context_end::of(executor_);
        }
        timer_->expires_at(woken_ ? time_point::min() : until);
        woken_ = false;
        parked_ = true;
        timer_->async_wait(std::forward<Handler>(go_on));
    }
    /// It will wait for a descriptor by `watch`, which lives until `unpark`.
    void park_on(io_watch& watch) noexcept {
        hold guard(lock_);
        watch_ = &watch;
        if (std::exchange(woken_, false)) watch.nudge();
    }
    /// The wait has ended.
    void unpark() noexcept {
        hold guard(lock_);
        parked_ = false;
        watch_ = nullptr;
    }

    /// The operation ends: from now on `wake` does nothing.
    void detach() noexcept {
        {
            hold guard(lock_);
            parked_ = false;
            watch_ = nullptr;
            timer_.reset();
        }
        release();
    }

private:
    void dispose() noexcept override { delete this; }
    ~asio_waker() = default;

    inline_lock lock_;
    asio::any_io_executor executor_;
    std::optional<asio::steady_timer> timer_;
    std::shared_ptr<context_end> context_;  // of the timer
    io_watch* watch_ = nullptr;  // while it waits for a descriptor
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

/// The executor of a face and the threads for blocking work, shared by all faces of a runtime.
class asio_world {
public:
    asio_world(asio::any_io_executor executor, std::shared_ptr<asio::thread_pool> workers) noexcept
        : executor_(std::move(executor)), workers_(std::move(workers)) {}

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }
    [[nodiscard]] asio::thread_pool::executor_type workers() const noexcept { return workers_->get_executor(); }
    [[nodiscard]] const std::shared_ptr<asio::thread_pool>& work_threads() const noexcept { return workers_; }

private:
    asio::any_io_executor executor_;
    std::shared_ptr<asio::thread_pool> workers_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The asynchronous drive: carries a flight from one need to the next by timers, work threads and the handler's executor.
//
// One heap block an operation, from the handler's allocator (Asio's recycling one by default), owned by whatever it waits
// on. Cancellation of any type makes the flight end as soon as it can; it still rolls back and returns its connection.
#ifndef STRATA_ASYNC_DRIVE_HPP
#define STRATA_ASYNC_DRIVE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What is driven. `Job` has
///     operation_base& op();   need begin();   need resume();   waiter* parked_on();   time_point parked_until();
///     void call(Executor, Done);     // for need::call: starts the user's coroutine, `Done` when it has ended
///     void cancel(asio::cancellation_type);      // forwarded to the coroutine
///     Result take_result();          // an object with `deliver(Handler&&) &&`
template <class Handler, class Job>
class async_operation {
    using executor_type = asio::associated_executor_t<Handler, asio::any_io_executor>;
    using allocator_type = typename std::allocator_traits<
        asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>>::template rebind_alloc<async_operation>;
    using allocator_traits = std::allocator_traits<allocator_type>;

    struct deleter {
        void operator()(async_operation* p) const noexcept {
            allocator_type a{asio::get_associated_allocator(p->handler_, asio::recycling_allocator<void>{})};
            allocator_traits::destroy(a, p);
            allocator_traits::deallocate(a, p, 1);
        }
    };

public:
    using owner = std::unique_ptr<async_operation, deleter>;

    /// Starts; the handler is called later, on its executor, never in this call.
    template <class... Args>
    static void launch(Handler handler, const asio_world& world, Args&&... args) {
        allocator_type a{asio::get_associated_allocator(handler, asio::recycling_allocator<void>{})};
        async_operation* raw = allocator_traits::allocate(a, 1);
        try {
            allocator_traits::construct(a, raw, std::move(handler), world, std::forward<Args>(args)...);
        } catch (...) {
            allocator_traits::deallocate(a, raw, 1);
            throw;
        }
        owner self{raw};
        auto slot = asio::get_associated_cancellation_slot(raw->handler_);
        if (slot.is_connected()) {
            raw->may_be_cancelled_ = true;
            slot.assign([raw](asio::cancellation_type type) {
                if (type != asio::cancellation_type::none) raw->cancel(type);
            });
        }
        raw->go(std::move(self), raw->job_.begin(), at::start);
    }

    template <class... Args>
    async_operation(Handler&& handler, const asio_world& world, Args&&... args)
        : handler_(std::move(handler)), world_(world), executor_(asio::get_associated_executor(handler_, world_.executor())),
          tracked_(executor_), job_(std::forward<Args>(args)...) {
        operation_base& op = job_.op();
        op.drive = this;
        if (!is_at_home()) at_home_.emplace(world_.executor());
        op.make_waker = [](operation_base& o) -> waker* { return static_cast<async_operation*>(o.drive)->waker_of_this(); };
    }
    async_operation(const async_operation&) = delete;
    async_operation& operator=(const async_operation&) = delete;
    ~async_operation() = default;

private:
    enum class at : std::uint8_t { start, executor, worker };

    /// The operation's waker, made on first use. It goes after the job, whose place in a queue may still name it.
    struct waker_slot {
        std::atomic<asio_waker*> made{nullptr};  // by the thread that works on the operation; read by a cancel
        ~waker_slot() {
            if (asio_waker* w = made.load(std::memory_order_relaxed)) w->detach();
        }
    };

    /// Takes the operation over and does a step.
    using step = void (*)(void*);
    template <void (*Step)(owner)>
    static void take(void* p) {
        Step(owner{static_cast<async_operation*>(p)});
    }
    static void drop(void* p) noexcept { static_cast<void>(owner{static_cast<async_operation*>(p)}); }
    static hop hop_of(owner self, step s) noexcept { return hop{self.release(), s, &drop}; }

    /// The handler has neither an executor nor memory of its own.
    static constexpr bool is_plain =
        std::is_same_v<executor_type, asio::any_io_executor> &&
        std::is_same_v<asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>, asio::recycling_allocator<void>>;

    /// For other handlers: a step that runs on the handler's executor, with its allocator.
    struct on_executor {
        using executor_type = async_operation::executor_type;
        using allocator_type = asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>;
        owner self;
        step next;

        [[nodiscard]] executor_type get_executor() const noexcept { return self->executor_; }
        [[nodiscard]] allocator_type get_allocator() const noexcept {
            return asio::get_associated_allocator(self->handler_, asio::recycling_allocator<void>{});
        }
        template <class... Ignored>
        void operator()(Ignored&&...) {
            next(self.release());
        }
    };
    /// What is given to a wait: called on the handler's executor.
    [[nodiscard]] static auto after_wait(owner self, step s) {
        if constexpr (is_plain) {
            const async_operation& o = *self;
            return hop_to{hop_of(std::move(self), s), o.executor_};
        } else {
            return on_executor{std::move(self), s};
        }
    }

    /// Steps as plain functions of the owner: the same few for every wait.
    static void step_resume(owner self) {
        async_operation& o = *self;
        if (asio_waker* w = o.waker_.made.load(std::memory_order_relaxed)) w->unpark();
        const need n = o.job_.resume();
        o.go(std::move(self), n, at::executor);
    }
    static void step_park(owner self) {
        async_operation& o = *self;
        o.park(std::move(self));
    }
    static void step_wait(owner self) {
        async_operation& o = *self;
        o.wait(std::move(self));
    }
    static void step_call(owner self) {
        async_operation& o = *self;
        o.job_.call(o.executor_, [self = std::move(self)]() mutable {
            async_operation& back = *self;
            back.go(std::move(self), need::work, at::executor);
        });
    }
    static void step_to_executor(owner self) {
        async_operation& o = *self;
        o.to_executor(std::move(self), o.on_arrival_);
    }

    void go(owner self, need n, at where) {
        switch (n) {
            case need::work:
                return to_worker(std::move(self));
            // Never on a work thread: the first wait adds services to the context, whose end may have begun.
            case need::park:
                return where == at::worker ? leave_worker(std::move(self), &take<&step_park>) : park(std::move(self));
            case need::io:
                return where == at::worker ? leave_worker(std::move(self), &take<&step_wait>) : wait(std::move(self));
            case need::call:
                return move_to(std::move(self), where, &take<&step_call>);
            default:
                return where == at::executor ? finish(std::move(self)) : move_to(std::move(self), where, &take<&finish>);
        }
    }

    /// Does a step that belongs on the handler's executor.
    void move_to(owner self, at where, step s) {
        if (where == at::executor) return s(self.release());
        if (where == at::worker) return leave_worker(std::move(self), s);
        to_executor(std::move(self), s);
    }

    void park(owner self) {
        asio_waker& w = *waker_of_this();
        // Either a cancel sees the waker, or this sees the cancel.
        if (job_.op().cancelled.load(std::memory_order_seq_cst)) w.wake();
        w.park(job_.parked_until(), after_wait(std::move(self), &take<&step_resume>));
    }

    /// For the descriptor of a driver that yields.
    void wait(owner self) {
        if constexpr (requires { job_.awaited(); }) {
            const io_wait w = job_.awaited();
            auto& watch = descriptor_watch::of(*job_.watch(), world_.executor(), world_.work_threads(), w.descriptor);
            if (may_be_cancelled_) {
                asio_waker& mine = *waker_of_this();
                if (job_.op().cancelled.load(std::memory_order_seq_cst) && !std::exchange(told_, true)) mine.wake();
                mine.park_on(watch);
            }
            auto go_on = after_wait(std::move(self), &take<&step_resume>);
            watch.wait(w.writable, w.until, go_on);
        }
    }

    void to_executor(owner self, step s) {
        const executor_type ex = executor_;
        if constexpr (is_plain)
            asio::post(ex, hop_of(std::move(self), s));
        else
            asio::post(ex, on_executor{std::move(self), s});
    }
    /// From a work thread, which nobody outside can wait for: by way of the face's context, whose end waits for it. The handler's own
    /// may end as soon as the handler has run.
    void leave_worker(owner self, step s) {
        if (is_at_home()) return to_executor(std::move(self), s);
        on_arrival_ = s;
        const asio::any_io_executor ex = world_.executor();
        asio::post(ex, hop_of(std::move(self), &take<&step_to_executor>));
    }
    [[nodiscard]] bool is_at_home() const noexcept {
        if constexpr (std::is_same_v<executor_type, asio::any_io_executor>)
            if (executor_ == world_.executor()) return true;
        if constexpr (asio::can_query_v<const executor_type&, asio::execution::context_t>) {
            const asio::execution_context& mine = asio::query(executor_, asio::execution::context);
            return &mine == &asio::query(world_.executor(), asio::execution::context);
        } else {
            return false;
        }
    }

    void to_worker(owner self) {
        away().leave(traveller_ = {.cancelled = &job_.op().cancelled});
        auto workers = world_.workers();
        asio::post(workers, hop_of(std::move(self), &take<&run_away>));
    }

    /// On a work thread: works on while the next step may block, then goes back.
    static void run_away(owner self) {
        async_operation& o = *self;
        away_service& service = o.away();
        away_service::traveller mark;
        service.arrive(o.traveller_, mark);
        need n = need::work;
        while (n == need::work) n = o.job_.resume();
        service.come_back(mark, [&](bool context_ends) {
            if (context_ends)
                self.reset();
            else
                o.go(std::move(self), n, at::worker);
        });
    }

    /// On the handler's executor: the memory goes back before the handler runs, so that the handler can use it again.
    static void finish(owner self) {
        async_operation& o = *self;
        asio::get_associated_cancellation_slot(o.handler_).clear();
        Handler handler{std::move(o.handler_)};
        auto result = o.job_.take_result();
        const asio::executor_work_guard<executor_type> tracked{std::move(o.tracked_)};
        allocator_type a{asio::get_associated_allocator(handler, asio::recycling_allocator<void>{})};
        async_operation* const raw = self.release();
        allocator_traits::destroy(a, raw);
        allocator_traits::deallocate(a, raw, 1);
        std::move(result).deliver(std::move(handler));
    }

    void cancel(asio::cancellation_type type) {
        job_.op().cancelled.store(true, std::memory_order_seq_cst);
        job_.cancel(type);
        if (asio_waker* w = waker_.made.load(std::memory_order_seq_cst)) w->wake();
    }

    [[nodiscard]] asio_waker* waker_of_this() {
        if (waker_.made.load(std::memory_order_relaxed) == nullptr)
            waker_.made.store(new asio_waker(world_.executor()), std::memory_order_seq_cst);
        return waker_.made.load(std::memory_order_relaxed);
    }
    [[nodiscard]] away_service& away() { return asio::use_service<away_service>(asio::query(world_.executor(), asio::execution::context)); }

    Handler handler_;
    asio_world world_;
    executor_type executor_;
    asio::executor_work_guard<executor_type> tracked_;
    std::optional<asio::executor_work_guard<asio::any_io_executor>> at_home_;  // where the handler's executor is another
    waker_slot waker_;
    Job job_;
    step on_arrival_ = nullptr;  // on the handler's executor
    bool may_be_cancelled_ = false;
    bool told_ = false;  // the driver, of a cancel that came before it began to wait
    away_service::traveller traveller_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Starts a job for whatever completion token the caller chose.
#ifndef STRATA_ASYNC_START_HPP
#define STRATA_ASYNC_START_HPP

namespace strata::inline STRATA_ABI {

struct copy_options;

namespace detail {

using default_token = asio::use_awaitable_t<asio::any_io_executor>;

template <class T>
inline constexpr bool is_options = std::is_same_v<T, call_options>;
template <class Driver>
inline constexpr bool is_options<transaction_options<Driver>> = true;
template <>
inline constexpr bool is_options<copy_options> = true;

// Options are written in braces inside a co_await, where g++ 12 destroys an aggregate's members twice: none may mind.
static_assert(std::is_trivially_destructible_v<call_options>);

/// Tells a completion token from options.
template <class Token>
concept completion = !is_options<std::remove_cvref_t<Token>>;

/// The initiation: what a lazy token (deferred, use_awaitable) keeps and calls later.
template <class Job>
struct start_job {
    asio_world world;
    using executor_type = asio::any_io_executor;
    [[nodiscard]] executor_type get_executor() const noexcept { return world.executor(); }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const {
        async_operation<std::decay_t<Handler>, Job>::launch(std::forward<Handler>(handler), world, std::forward<Args>(args)...);
    }
};

/// `args` make the job, when the operation is initiated.
template <class Job, class Token, class... Args>
auto start(const asio_world& world, Token&& token, Args&&... args) {
    return asio::async_initiate<Token, typename Job::form::signature>(start_job<Job>{world}, token, std::forward<Args>(args)...);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The end of a runtime, asynchronously: no thread blocks while the last connections come back.
#ifndef STRATA_ASYNC_CLOSE_HPP
#define STRATA_ASYNC_CLOSE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Looks every few milliseconds whether all connections are back; what is not back after the grace is cancelled.
template <class Runtime>
class close_job {
public:
    using form = throwing<void>;

    close_job(std::shared_ptr<Runtime> rt, duration grace) noexcept
        : rt_(std::move(rt)), patience_(add_saturated(rt_->world().moment().now, grace)) {}

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return look(); }
    [[nodiscard]] need resume() noexcept { return look(); }
    [[nodiscard]] time_point parked_until() const noexcept { return next_look_; }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}
    [[nodiscard]] answer<form> take_result() noexcept { return {}; }

private:
    [[nodiscard]] need look() noexcept {
        const time_point now = rt_->world().moment().now;
        if (rt_->connections().stop(rt_->world(), now)) return need::done;
        if (now >= patience_ || op_.is_cancelled()) rt_->connections().cancel_all();
        next_look_ = now + std::chrono::milliseconds{5};
        return need::park;
    }

    std::shared_ptr<Runtime> rt_;
    operation_base op_;
    time_point patience_;
    time_point next_look_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A batch, asynchronously: one operation and one hop to a work thread for all its elements.
#ifndef STRATA_ASYNC_BATCH_HPP
#define STRATA_ASYNC_BATCH_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// `depth`: that of its savepoint; 0 for a transaction of its own.
template <class Home, class Statement, class Range, class Form, bool InsideTransaction>
class batch_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_batch(InsideTransaction)>;
    using work_type = batch_work<runtime_type, Statement, Range>;

public:
    using form = Form;

    batch_job(Home home, unsigned depth, const Statement& statement, Range elements, const call_options& o)
        : home_(std::move(home)), statement_(statement), elements_(std::move(elements)),
          work_(home_.runtime(), statement_, elements_, depth),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        describe_batch<op_type, bound_element<Statement, Range>>(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.start(); }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if (!a.failed && !a.thrown) a.value.emplace(work_.executed());
        return a;
    }

private:
    Home home_;
    Statement statement_;
    Range elements_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One statement, asynchronously: the same operation, work and flight as the blocking call, with its own copy of the arguments.
#ifndef STRATA_ASYNC_STATEMENT_HPP
#define STRATA_ASYNC_STATEMENT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// `execute` has no sink of interest: its value is the work's count.
template <class Sink>
struct sink_value {
    static auto take(Sink& sink, const execution&) { return std::move(sink).take(); }
};
template <>
struct sink_value<discard_sink> {
    static execution take(discard_sink&, const execution& done) { return done; }
};

/// `Home` keeps what the call needs alive: `runtime()` and `source()`.
template <class Home, class Bound, class Sink, class Form, scope Where>
class statement_job {
    using runtime_type = typename Home::runtime_type;
    using source_type = typename Home::source_type;
    using op_type = operation<facts_of_statement<Bound>(Where != scope::database)>;
    using work_type = statement_work<typename runtime_type::driver, Bound, Sink>;

public:
    using form = Form;

    statement_job(Home home, Bound statement, Sink sink, const call_options& o)
        : home_(std::move(home)), statement_(std::move(statement)), sink_(std::move(sink)), work_(statement_, sink_),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.outer = home_.outer();
        if (error e = check_made_at_run_time<runtime_type::driver::dialect, Where>(statement_)) {
            flight_.result().replace(std::move(e));
            return;
        }
        describe(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.result().ok() ? flight_.start() : need::done; }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] io_wait awaited() noexcept { return flight_.awaited(); }
    [[nodiscard]] watch_place* watch() noexcept { return flight_.watch(); }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if (!a.failed && !a.thrown) a.value.emplace(sink_value<Sink>::take(sink_, work_.executed()));
        return a;
    }

private:
    Home home_;
    Bound statement_;
    Sink sink_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Rows in batches, asynchronously: one hop to a work thread a batch, never one a row.
//
//   auto accounts = adb.rows<account>(query);
//   for (auto batch = co_await accounts.async_next(); !batch.empty(); batch = co_await accounts.async_next()) ...
#ifndef STRATA_ASYNC_STREAM_HPP
#define STRATA_ASYNC_STREAM_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The operation behind a stream: it lives between the batches, holding its connection.
template <class Home, class Bound, class T, bool InsideTransaction>
class async_stream_state {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_statement<Bound>(InsideTransaction)>;
    using work_type = statement_work<typename runtime_type::driver, Bound, batch_sink<T>>;

public:
    static constexpr bool blocking = runtime_type::driver::blocking;

    async_stream_state(Home h, Bound s, const call_options& o, std::size_t batch)
        : home(std::move(h)), statement(std::move(s)), sink(batch), work(statement, sink),
          f(std::in_place, home.runtime().world(), home.runtime().policies(), home.source(), op, work) {
        describe(op, statement, o);
        op.deadline = deadline_of(home.runtime().world(), o.deadline, home.outer());
        op.outer = home.outer();
    }

    Home home;
    Bound statement;
    batch_sink<T> sink;
    op_type op;
    work_type work;
    /// Gone once the stream has ended: the connection goes back with it.
    std::optional<
        flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type>>
        f;
    bool started = false;
    bool busy = false;
};

/// One batch: drives the stream's flight to its next pause.
template <class State, class Form>
class next_batch_job {
public:
    using form = Form;

    /// A call that overlaps with another has an operation of its own, so that it cannot disturb the other's.
    explicit next_batch_job(std::shared_ptr<State> s) noexcept
        : state_(std::move(s)), overlaps_(state_->busy), mine_(!overlaps_ && state_->f.has_value()) {
        if (mine_) state_->busy = true;
    }
    next_batch_job(const next_batch_job&) = delete;
    next_batch_job& operator=(const next_batch_job&) = delete;
    /// Destroyed on its way, with its executor: the stream is over.
    ~next_batch_job() {
        if (mine_) state_->f.reset();
    }

    [[nodiscard]] operation_base& op() noexcept { return mine_ ? state_->op : idle_; }
    [[nodiscard]] need begin() noexcept {
        if (!mine_) return need::done;
        // A flight that pauses resumes where blocking is allowed.
        if (std::exchange(state_->started, true)) return last_ = resume_held();
        return last_ = state_->f->start();
    }
    [[nodiscard]] need resume() noexcept { return last_ = state_->f->resume(); }
    [[nodiscard]] time_point parked_until() const noexcept { return state_->f->parked_until(); }
    [[nodiscard]] io_wait awaited() noexcept { return state_->f->awaited(); }
    [[nodiscard]] watch_place* watch() noexcept { return state_->f->watch(); }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a;
        if (overlaps_) {
            a.failed = error{errc::misuse, "async_next was called while the batch before it is still on its way", phase::admission};
            return a;
        }
        if (!mine_) {
            a.value.emplace();  // the stream has ended before
            return a;
        }
        state_->busy = mine_ = false;
        if (last_ != need::item) {
            a.failed = std::move(state_->f->result().error());
            a.thrown = std::move(state_->f->thrown());
            state_->f.reset();
        }
        if (!a.failed && !a.thrown) a.value.emplace(std::exchange(state_->sink.batch(), {}));
        return a;
    }

private:
    [[nodiscard]] need resume_held() noexcept {
        if constexpr (State::blocking)
            return need::work;
        else
            return state_->f->resume();
    }

    std::shared_ptr<State> state_;
    operation_base idle_;
    need last_ = need::done;
    bool overlaps_;
    bool mine_;
};

}  // namespace detail

/// A stream of batches. One `async_next` at a time. It holds a connection from the first batch until the last one, or until
/// it is destroyed. Repeated by the stack's retry only until the first batch has arrived.
template <class T, class State>
class async_row_stream {
public:
    async_row_stream(std::shared_ptr<State> s, asio_world w) noexcept : state_(std::move(s)), world_(std::move(w)) {}

    /// The next rows, at least one; none at the end. Completes with `void(std::exception_ptr, std::vector<T>)`.
    template <class Token = detail::default_token>
    auto async_next(Token&& token = {}) {
        return next<detail::throwing<std::vector<T>>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<std::vector<T>>)`.
    template <class Token = detail::default_token>
    auto async_try_next(Token&& token = {}) {
        return next<detail::trying<std::vector<T>>>(std::forward<Token>(token));
    }

private:
    template <class Form, class Token>
    auto next(Token&& token) {
        return detail::start<detail::next_batch_job<State, Form>>(world_, std::forward<Token>(token), state_);
    }

    std::shared_ptr<State> state_;
    asio_world world_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The calls that every asynchronous session offers, written once over `home()`: what a call needs to stay alive.
//
// Every call copies its arguments before it returns, except string_view, span and reference_wrapper. Any completion token
// serves; the default is `use_awaitable`. Cancellation of every type is honoured.
#ifndef STRATA_ASYNC_CALLS_HPP
#define STRATA_ASYNC_CALLS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// One statement of a session whose type is known: what `async_perform` of such a session does.
template <class Form, class Session, class Bound, class Sink, class Token>
auto start_statement(Session& session, Bound&& statement, Sink&& sink, const call_options& o, Token&& token) {
    using job = statement_job<decltype(session.home()), Bound, Sink, Form, Session::where>;
    return start<job>(session.world(), std::forward<Token>(token), session.home(), std::move(statement), std::move(sink), o);
}

/// Filled in by async/copy.hpp and async/pipeline.hpp, so that this file does not know them.
template <class Session, bool CopyIncluded>
struct async_copy_calls {
    template <template <class> class Form, class... Any>
    static auto in(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: asynchronous COPY needs  #include <strata/async/copy.hpp>");
    }
    template <class T, template <class> class Form, class... Any>
    static auto out(const Any&... any) {
        return in<Form>(any...);
    }
};
template <class Session, bool PipelineIncluded>
struct async_pipeline_calls {
    template <class... Any>
    static auto run(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: async_pipeline(...) needs  #include <strata/async/pipeline.hpp>");
    }
    template <class... Any>
    static auto try_run(const Any&... any) {
        return run(any...);
    }
};

}  // namespace detail

template <class Self>
class async_calls {
    using use_awaitable = detail::default_token;

public:
    /// As `calls::execute`.
    template <class S, detail::completion Token = use_awaitable>
    auto async_execute(const S& statement, Token&& token = {}) {
        return async_execute(statement, call_options{}, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_execute(const S& statement, const call_options& o, Token&& token = {}) {
        return go<discard_sink, detail::throwing<execution>>(statement, o, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_try_execute(const S& statement, Token&& token = {}) {
        return async_try_execute(statement, call_options{}, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_try_execute(const S& statement, const call_options& o, Token&& token = {}) {
        return go<discard_sink, detail::trying<execution>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::one`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_one(const S& statement, Token&& token = {}) {
        return async_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<one_sink<T>, detail::throwing<T>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_one(const S& statement, Token&& token = {}) {
        return async_try_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<one_sink<T>, detail::trying<T>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::maybe_one`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_maybe_one(const S& statement, Token&& token = {}) {
        return async_maybe_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_maybe_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<maybe_one_sink<T>, detail::throwing<std::optional<T>>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_maybe_one(const S& statement, Token&& token = {}) {
        return async_try_maybe_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_maybe_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<maybe_one_sink<T>, detail::trying<std::optional<T>>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::all`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_all(const S& statement, Token&& token = {}) {
        return async_all<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_all(const S& statement, const call_options& o, Token&& token = {}) {
        return go<all_sink<T>, detail::throwing<std::vector<T>>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_all(const S& statement, Token&& token = {}) {
        return async_try_all<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_all(const S& statement, const call_options& o, Token&& token = {}) {
        return go<all_sink<T>, detail::trying<std::vector<T>>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::execute_many`. The elements are copied, or moved from an rvalue, in the call.
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_execute_many(const S& statement, Range&& elements, Token&& token = {}) {
        return async_execute_many(statement, std::forward<Range>(elements), call_options{}, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_execute_many(const S& statement, Range&& elements, const call_options& o, Token&& token = {}) {
        return go_many<detail::throwing<execution>>(statement, std::forward<Range>(elements), o, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_try_execute_many(const S& statement, Range&& elements, Token&& token = {}) {
        return async_try_execute_many(statement, std::forward<Range>(elements), call_options{}, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_try_execute_many(const S& statement, Range&& elements, const call_options& o, Token&& token = {}) {
        return go_many<detail::trying<execution>>(statement, std::forward<Range>(elements), o, std::forward<Token>(token));
    }

    /// As `calls::copy_in`, on a work thread. The rows are copied, or moved from an rvalue, in the call.
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_copy_in(const Table& table, Rows&& rows, Token&& token = {}) {
        return copies::template in<detail::throwing>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token));
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_copy_in(const Table& table, Rows&& rows, const copy_options& o, Token&& token = {}) {
        return copies::template in<detail::throwing>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token), o);
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_try_copy_in(const Table& table, Rows&& rows, Token&& token = {}) {
        return copies::template in<detail::trying>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token));
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_try_copy_in(const Table& table, Rows&& rows, const copy_options& o, Token&& token = {}) {
        return copies::template in<detail::trying>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token), o);
    }

    /// As `calls::copy_out`; the function is copied, or moved from an rvalue, and is called on a work thread.
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_copy_out(const Source& source, F&& each_row, Token&& token = {}) {
        return copies::template out<T, detail::throwing>(self(), source, std::forward<F>(each_row), std::forward<Token>(token));
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_copy_out(const Source& source, F&& each_row, const copy_options& o, Token&& token = {}) {
        return copies::template out<T, detail::throwing>(self(), source, std::forward<F>(each_row), std::forward<Token>(token), o);
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_try_copy_out(const Source& source, F&& each_row, Token&& token = {}) {
        return copies::template out<T, detail::trying>(self(), source, std::forward<F>(each_row), std::forward<Token>(token));
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_try_copy_out(const Source& source, F&& each_row, const copy_options& o, Token&& token = {}) {
        return copies::template out<T, detail::trying>(self(), source, std::forward<F>(each_row), std::forward<Token>(token), o);
    }

    /// As `calls::pipeline`, over the loop. After the statements a completion token, before them `call_options`, where wanted.
    template <class... Arguments>
    auto async_pipeline(Arguments&&... arguments) {
        return detail::async_pipeline_calls<Self, true>::run(self(), std::forward<Arguments>(arguments)...);
    }
    /// Completes with `void(std::tuple<result<T>...>)`.
    template <class... Arguments>
    auto async_try_pipeline(Arguments&&... arguments) {
        return detail::async_pipeline_calls<Self, true>::try_run(self(), std::forward<Arguments>(arguments)...);
    }

    /// A stream of rows that are fetched in batches; see `async_row_stream`. Nothing runs before its first `async_next`.
    template <class T, class S>
    [[nodiscard]] auto rows(const S& statement, const call_options& o = {}, std::size_t batch = 128) {
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        return static_cast<Self&>(*this).template stream_of<T>(bound.own(), o, batch);
    }

private:
    using copies = detail::async_copy_calls<Self, true>;
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Sink, class Form, class S, class Token>
    auto go(const S& statement, const call_options& o, Token&& token) {
        decltype(auto) bound = detail::as_bound(statement);
        detail::assert_placement<std::remove_cvref_t<decltype(bound)>, Self>();
        return static_cast<Self&>(*this).template async_perform<Form>(bound.own(), Sink{}, o, std::forward<Token>(token));
    }

    template <class Form, class Statement, class Range, class Token>
    auto go_many(const Statement& statement, Range&& elements, const call_options& o, Token&& token) {
        using range = std::remove_cvref_t<Range>;
        detail::assert_placement<detail::bound_element<Statement, range>, Self>();
        static_assert(
            requires(Self& s) { s.home(); },
            "strata: a batch needs a session whose type is known; with any_async_session write async_transaction and async_execute");
        Self& self = static_cast<Self&>(*this);
        using job = detail::batch_job<decltype(self.home()), Statement, range, Form, Self::where == scope::transaction>;
        return detail::start<job>(self.world(), std::forward<Token>(token), self.home(), self.depth_of_batch(), statement,
                                  range(std::forward<Range>(elements)), o);
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// The try-forms of what is a coroutine itself: an awaitable's failure as a result.
#ifndef STRATA_ASYNC_CAUGHT_HPP
#define STRATA_ASYNC_CAUGHT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What an awaitable ends with, as a result; exceptions that are not ours are still thrown.
template <class T>
boost::asio::awaitable<typename as_result<T>::type> caught(boost::asio::awaitable<T> call) {
    typename as_result<T>::type r;
    try {
        if constexpr (std::is_void_v<T>)
            co_await std::move(call);
        else
            r = co_await std::move(call);
    } catch (const failure& f) {
        r = f.error();
    }
    co_return r;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What an asynchronous call keeps alive and works on: the runtime and its source, or a pinned connection.
#ifndef STRATA_ASYNC_HOME_HPP
#define STRATA_ASYNC_HOME_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Runtime>
class runtime_home {
public:
    using runtime_type = Runtime;
    using source_type = typename Runtime::source;

    explicit runtime_home(std::shared_ptr<Runtime> rt) noexcept : rt_(std::move(rt)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return rt_->connections(); }
    [[nodiscard]] const interruption* outer() const noexcept { return nullptr; }

private:
    std::shared_ptr<Runtime> rt_;
};

/// A call on a connection that a session or a transaction holds. The lease lives until the call has ended: `keep` says so
/// for what is held by hand, and a transaction's closure outlives what it awaits.
template <class Runtime>
class pinned_home {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using source_type = pinned_source<driver>;

    pinned_home(Runtime& rt, typename driver::connection& c, bool needs_transaction, const interruption* outer,
                std::shared_ptr<void> keep) noexcept
        : rt_(&rt), source_(c, needs_transaction), outer_(outer), keep_(std::move(keep)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return source_; }
    [[nodiscard]] const interruption* outer() const noexcept { return outer_; }

private:
    Runtime* rt_;
    source_type source_;
    const interruption* outer_;
    std::shared_ptr<void> keep_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Transactions whose closures are coroutines.
//
//   co_await adb.async_transaction([&](auto& tx) -> asio::awaitable<void> {
//       co_await tx.async_execute(add("amount"_arg = -100, "id"_arg = 1));
//       co_await tx.async_execute(add("amount"_arg = +100, "id"_arg = 2));
//   });
//
// g++ 12 destroys twice what a lambda written in a co_await expression captures by value (clang is right): capture by reference,
// or bind the closure first: `auto body = [name](auto& tx) -> ... { ... }; co_await adb.async_transaction(body);`.
#ifndef STRATA_ASYNC_TRANSACTION_HPP
#define STRATA_ASYNC_TRANSACTION_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct awaited;
template <class T, class Executor>
struct awaited<asio::awaitable<T, Executor>> {
    using type = T;
};

template <class Closure, class Handle>
using awaited_value = typename awaited<std::remove_cvref_t<std::invoke_result_t<Closure&, Handle&>>>::type;

/// Runs one savepoint statement where blocking is allowed.
template <class Runtime>
class control_job {
    using driver = typename Runtime::driver;

public:
    using form = trying<void>;
    enum class what : std::uint8_t { enter, leave, undo };

    control_job(typename driver::connection& c, operation_base& outer, what w, unsigned depth) noexcept
        : connection_(c), what_(w), depth_(depth) {
        op_.deadline = outer.deadline;
    }
    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return need::work; }
    [[nodiscard]] need resume() noexcept {
        const guarded unhurried{connection_, nullptr};
        try {
            if (!connection_.in_transaction()) {
                if (what_ != what::undo)
                    failed_ = error{errc::transaction_aborted, "the transaction has ended", phase::execute, effect::rolled_back};
            } else if (what_ == what::enter) {
                failed_ = connection_.control(driver::savepoint(depth_));
            } else {
                if (what_ == what::undo) failed_ = connection_.control(driver::rollback_to(depth_));
                if (!failed_) failed_ = connection_.control(driver::release(depth_));
            }
        } catch (...) {
            failed_ = error{errc::out_of_memory, phase::execute};
        }
        return need::done;
    }
    [[nodiscard]] time_point parked_until() const noexcept { return never; }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}
    [[nodiscard]] answer<form> take_result() {
        answer<form> a{std::move(failed_), nullptr, {}};
        if (!a.failed) a.value.emplace();
        return a;
    }

private:
    typename driver::connection& connection_;
    operation_base op_;
    what what_;
    unsigned depth_;
    error failed_;
};

}  // namespace detail

/// An open transaction (or savepoint) as a coroutine closure sees it. Lives as long as the closure runs; one call at a time.
template <class Runtime>
class async_transaction_handle : public async_calls<async_transaction_handle<Runtime>> {
public:
    using transaction_type = async_transaction_handle;
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    async_transaction_handle(Runtime& rt, const asio_world& world, connection& c, operation_base& op, unsigned depth)
        : rt_(rt), world_(world), connection_(c), op_(op), depth_(depth) {}
    async_transaction_handle(const async_transaction_handle&) = delete;
    async_transaction_handle& operator=(const async_transaction_handle&) = delete;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, async_transaction_handle>> {
        using value = detail::awaited_value<Closure, async_transaction_handle>;
        using what = typename detail::control_job<Runtime>::what;
        auto entered = co_await control(what::enter);
        if (!entered) throw_failure(std::move(entered).error());
        async_transaction_handle inner{rt_, world_, connection_, op_, depth_ + 1};
        std::exception_ptr thrown;
        std::optional<detail::storable<value>> returned;
        try {
            if constexpr (std::is_void_v<value>) {
                co_await closure(inner);
                returned.emplace();
            } else {
                returned.emplace(co_await closure(inner));
            }
        } catch (...) {
            thrown = std::current_exception();
        }
        const bool failed = thrown || detail::holds_error(*returned);
        auto left = co_await control(failed ? what::undo : what::leave);
        if (thrown) std::rethrow_exception(thrown);
        if (!failed && !left) throw_failure(std::move(left).error());
        if constexpr (!std::is_void_v<value>) co_return std::move(*returned);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, async_transaction_handle>>(async_transaction(std::move(closure)));
    }

    /// Number of the attempt, from 1.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }

    // For `async_calls`.
    [[nodiscard]] auto home() { return detail::pinned_home<Runtime>{rt_, connection_, true, &op_, nullptr}; }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return depth_ + 1; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    auto control(typename detail::control_job<Runtime>::what w) {
        detail::default_token token;
        return detail::start<detail::control_job<Runtime>>(world_, token, std::ref(connection_), std::ref(op_), w, depth_ + 1);
    }

    Runtime& rt_;
    const asio_world& world_;
    connection& connection_;
    operation_base& op_;
    unsigned depth_;
};

namespace detail {

/// BEGIN where blocking is allowed, the closure on the caller's executor, COMMIT or ROLLBACK where blocking is allowed.
template <class Runtime, class Closure>
class async_transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = async_transaction_handle<Runtime>;
    using value = awaited_value<Closure, handle>;

public:
    async_transaction_work(Runtime& rt, const asio_world& world, Closure closure, typename driver::locking locking)
        : rt_(rt), world_(world), closure_(std::move(closure)), locking_(locking) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        if (connection_ == nullptr) {
            thrown = nullptr;
            returned.reset();
            const guarded guard{c, &op};
            if (error e = c.control(driver::begin(locking_))) {
                result.replace(std::move(e));
                return signal::failed;
            }
            connection_ = &c;
            op_ = &op;
            return signal::call;
        }
        error e;
        if (thrown)
            e = own_error();
        else if (returned && holds_error(*returned))
            e = error_in(*returned);
        if (!e) e = stopped(op, rt_.world());  // also when the cancel was there before the closure
        if (!e)
            e = commit<driver>(c);
        else
            roll_back<driver>(c, e);
        if (!e) return signal::done;
        result.replace(std::move(e));
        return signal::failed;
    }
    void end() noexcept { connection_ = nullptr; }

    /// Starts the closure; `done` is called on the executor when it has ended.
    template <class Executor, class Done>
    void call(const Executor& ex, Done done) {
        if (op_->is_cancelled()) return done();
        op_->handed_over = runs_once<Closure>;
        asio::co_spawn(asio::any_io_executor(ex), run(),
                       asio::bind_cancellation_slot(stop_.slot(), [this, done = std::move(done)](std::exception_ptr unstarted) mutable {
                           if (unstarted && !op_->is_cancelled()) thrown = std::move(unstarted);  // or cancelled before its first line
                           done();
                       }));
    }
    void cancel(asio::cancellation_type type) { stop_.emit(type); }

    std::exception_ptr thrown;  ///< what the closure threw, unless it was ours
    std::optional<storable<value>> returned;

private:
    /// Total cancellation is let through: by default a coroutine would not see it.
    asio::awaitable<void> run() {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        handle tx{rt_, world_, *connection_, *op_, 0};
        try {
            if constexpr (std::is_void_v<value>) {
                co_await closure_(tx);
                returned.emplace();
            } else {
                returned.emplace(co_await closure_(tx));
            }
        } catch (...) {
            thrown = std::current_exception();
        }
    }

    /// Ours is an error like others, and so is what Asio throws after a cancel; what else the closure threw is kept for the caller.
    [[nodiscard]] error own_error() {
        try {
            std::rethrow_exception(thrown);
        } catch (const failure& f) {
            thrown = nullptr;
            return f.error();
        } catch (const boost::system::system_error& s) {
            if (s.code() != asio::error::operation_aborted || !op_->is_cancelled()) return error{errc::user_exception, phase::execute};
            thrown = nullptr;
            return error{errc::cancelled, phase::execute};
        } catch (...) {
            return error{errc::user_exception, phase::execute};
        }
    }

    Runtime& rt_;
    const asio_world& world_;
    Closure closure_;
    typename driver::locking locking_;
    connection* connection_ = nullptr;
    operation_base* op_ = nullptr;
    asio::cancellation_signal stop_;
};

template <class Home, class Closure, class Form>
class transaction_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<transaction_facts>;
    using work_type = async_transaction_work<runtime_type, Closure>;

public:
    using form = Form;

    transaction_job(Home home, const asio_world& world, Closure closure, const transaction_options<typename runtime_type::driver>& o)
        : home_(std::move(home)), world_(world), work_(home_.runtime(), world_, std::move(closure), o.locking_or_default()),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.name = o.name;
        op_.tags = o.tags;
        op_.reads_only = o.read_only;
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.start(); }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] io_wait awaited() noexcept { return flight_.awaited(); }
    [[nodiscard]] watch_place* watch() noexcept { return flight_.watch(); }
    template <class Executor, class Done>
    void call(const Executor& ex, Done&& done) {
        work_.call(ex, std::forward<Done>(done));
    }
    void cancel(asio::cancellation_type type) { work_.cancel(type); }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), flight_.thrown() ? flight_.thrown() : work_.thrown, {}};
        if (work_.returned && !a.failed) {
            a.value.emplace(std::move(*work_.returned));
        } else if (work_.returned && holds_error(*work_.returned)) {  // comes out as a value, which knows what became of it
            a.value.emplace(failed_value(std::move(*work_.returned), std::move(a.failed)));
            a.failed = {};
        }
        return a;
    }

private:
    Home home_;
    asio_world world_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A connection in the hands of asynchronous code: a pinned session, or a transaction that is ended by hand.
#ifndef STRATA_ASYNC_HELD_HPP
#define STRATA_ASYNC_HELD_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The end of a held connection that nobody has ended: when its handle and the calls on it are all gone it is rolled back and
/// returned on a work thread.
template <class Runtime, operation_facts Facts>
struct give_back_later {
    asio_world world;

    void operator()(holding<Runtime, Facts>* h) const {
        std::unique_ptr<holding<Runtime, Facts>> last{h};
        if (last->work.held == nullptr) return;
        auto workers = world.workers();
        asio::post(workers, [last = std::move(last)] { static_cast<void>(last->give_back(ending::roll_back)); });
    }
};

/// Takes the connection, or gives it back: the two halves of a held operation.
template <class Runtime, operation_facts Facts, class Form>
class holding_job {
    using value = typename Form::value;
    using state = holding<Runtime, Facts>;

public:
    using form = Form;

    /// Takes a connection.
    holding_job(const std::shared_ptr<Runtime>& rt, const asio_world& world, const transaction_options<typename Runtime::driver>& o,
                std::optional<typename Runtime::driver::locking> begin)
        : state_(new state(rt, begin), give_back_later<Runtime, Facts>{world}), world_(world) {
        state_->op.name = o.name;
        state_->op.tags = o.tags;
        state_->op.reads_only = o.read_only;
        state_->op.deadline = deadline_of(rt->world(), o.deadline, nullptr);
    }
    /// Gives it back.
    holding_job(std::shared_ptr<state> s, const asio_world& world, ending how) noexcept
        : state_(std::move(s)), world_(world), how_(how) {}

    [[nodiscard]] operation_base& op() noexcept { return state_->op; }
    [[nodiscard]] need begin() noexcept {
        if (!how_) return state_->f.start();
        state_->work.how = *how_;
        if constexpr (blocks_beside_statements<typename Runtime::driver>)
            return need::work;
        else
            return state_->f.resume();
    }
    [[nodiscard]] need resume() noexcept { return state_->f.resume(); }
    [[nodiscard]] time_point parked_until() const noexcept { return state_->f.parked_until(); }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a;
        const bool here = state_->work.held != nullptr;
        if (!here) {
            a.failed = std::move(state_->f.result().error());
            a.thrown = std::move(state_->f.thrown());
        }
        if (!a.failed && !a.thrown) {
            if constexpr (std::is_void_v<value>)
                a.value.emplace();
            else
                a.value.emplace(value{std::move(state_), world_});
        }
        return a;
    }

private:
    std::shared_ptr<state> state_;
    asio_world world_;
    std::optional<ending> how_;
};

/// What a handle owns.
template <class Runtime, operation_facts Facts>
class held_connection {
public:
    using state = holding<Runtime, Facts>;

    held_connection() noexcept = default;
    held_connection(std::shared_ptr<state> s, asio_world w) : state_(std::move(s)), world_(std::in_place, std::move(w)) {}

    [[nodiscard]] state& get() {
        if (state_ == nullptr) throw_failure(error{errc::misuse, "the handle is empty: it was ended or moved from", phase::admission});
        return *state_;
    }
    [[nodiscard]] const std::shared_ptr<state>& shared() {
        static_cast<void>(get());
        return state_;
    }
    [[nodiscard]] std::shared_ptr<state> take() {
        static_cast<void>(get());
        return std::move(state_);
    }
    [[nodiscard]] const asio_world& world() const noexcept { return *world_; }

private:
    std::shared_ptr<state> state_;
    std::optional<asio_world> world_;
};

/// What sessions and transactions in the user's hands share. `Scope` says which.
template <class Runtime, operation_facts Facts, scope Scope>
class async_held : public async_calls<async_held<Runtime, Facts, Scope>> {
public:
    using driver = typename Runtime::driver;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = Scope;

    async_held() noexcept = default;  // Asio needs an empty one to complete with an error
    async_held(std::shared_ptr<holding<Runtime, Facts>> s, const asio_world& w) : held_(std::move(s), w) {}

    /// The driver's own handle. Not while a call is on its way.
    [[nodiscard]] auto native_handle() { return held_.get().work.held->native_handle(); }

    // For `async_calls`.
    [[nodiscard]] auto home() {
        auto& s = held_.get();
        return pinned_home<Runtime>{*s.rt, *s.work.held, Scope == scope::transaction, &s.op, held_.shared()};
    }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return Scope == scope::transaction ? 1 : 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return held_.world(); }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = async_stream_state<pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world()};
    }

protected:
    template <class Form, class Token>
    auto finish(ending how, Token&& token) {
        auto last = held_.take();
        const asio_world w = held_.world();
        return start<holding_job<Runtime, Facts, Form>>(w, std::forward<Token>(token), std::move(last), w, how);
    }
    [[nodiscard]] const std::shared_ptr<holding<Runtime, Facts>>& shared() { return held_.shared(); }

private:
    held_connection<Runtime, Facts> held_;
};

}  // namespace detail

/// A pinned connection. It goes back when the handle dies, or by `async_release`.
template <class Runtime>
class async_session_handle : public detail::async_held<Runtime, detail::session_facts, scope::session> {
public:
    using detail::async_held<Runtime, detail::session_facts, scope::session>::async_held;

    using driver = typename Runtime::driver;
    using transaction_type = async_transaction_handle<Runtime>;

    /// A transaction on this very connection. Like `async_database::async_transaction`, it may be repeated.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return async_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        return run<detail::throwing<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), o, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return async_try_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        return run<detail::trying<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), o, std::forward<Token>(token));
    }

    /// Gives the connection back and waits for it. The handle is empty after it.
    template <class Token = detail::default_token>
    auto async_release(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::give_back, std::forward<Token>(token));
    }

private:
    template <class Form, class Closure, class Token>
    auto run(Closure closure, const transaction_options<driver>& o, Token&& token) {
        using job = detail::transaction_job<detail::pinned_home<Runtime>, Closure, Form>;
        return detail::start<job>(this->world(), std::forward<Token>(token), this->home(), this->world(), std::move(closure), o);
    }
};

/// A transaction in the user's hands. Dropped without `async_commit` it is rolled back.
template <class Runtime>
class async_owned_transaction : public detail::async_held<Runtime, detail::transaction_facts, scope::transaction> {
public:
    using detail::async_held<Runtime, detail::transaction_facts, scope::transaction>::async_held;

    using transaction_type = async_transaction_handle<Runtime>;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, transaction_type>> {
        const auto keep = this->shared();
        const asio_world w = this->world();
        transaction_type self{*keep->rt, w, *keep->work.held, keep->op, 0};
        co_return co_await self.async_transaction(std::move(closure));
    }
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, transaction_type>>(async_transaction(std::move(closure)));
    }

    /// Completes with `void(std::exception_ptr)`; the handle is empty after it, whatever comes out.
    template <class Token = detail::default_token>
    auto async_commit(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::commit, std::forward<Token>(token));
    }
    template <class Token = detail::default_token>
    auto async_try_commit(Token&& token = {}) {
        return this->template finish<detail::trying<void>>(detail::ending::commit, std::forward<Token>(token));
    }
    template <class Token = detail::default_token>
    auto async_rollback(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::roll_back, std::forward<Token>(token));
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// The asynchronous face of a stack.
//
//   auto adb = db.async(io.get_executor());            // shares pool, breaker and metrics with the blocking face
//   account a = co_await adb.async_one<account>(find("id"_arg = 7));
#ifndef STRATA_ASYNC_DATABASE_HPP
#define STRATA_ASYNC_DATABASE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The last operation of a runtime may end on one of the threads themselves, which cannot join itself.
struct end_threads {
    void operator()(asio::thread_pool* threads) const {
        if (threads->get_executor().running_in_this_thread())
            std::thread([threads] { delete threads; }).detach();
        else
            delete threads;
    }
};

/// One set of work threads a runtime, made by its first asynchronous face.
template <class Runtime>
[[nodiscard]] std::shared_ptr<asio::thread_pool> work_threads(Runtime& rt, const async_options& o) {
    typename Runtime::extension& e = rt.asynchronous();
    hold guard(e.lock);
    if (e.object == nullptr) {
        std::size_t n = o.work_threads;
        if (n == 0) {
            const std::size_t processors = std::thread::hardware_concurrency();
            const std::size_t connections = rt.connections().capacity();
            // Where connections wait for each other's locks, fewer threads could all wait for one that has none.
            n = connections < processors + 1 || !Runtime::driver::single_writer ? connections : processors + 1;
        }
        e.object = std::shared_ptr<asio::thread_pool>(new asio::thread_pool(n), end_threads{});
    }
    return std::static_pointer_cast<asio::thread_pool>(e.object);
}

}  // namespace detail

/// A database, as asynchronous code sees it. Cheap to copy; thread-safe. Calls keep the runtime alive, so the database may
/// be destroyed before they end; the executor's context must not be destroyed from within one of its own handlers. A handler
/// that is bound to an executor of another context must not outlive that context, as everywhere in Asio, and both must run until it
/// has been called.
template <class Stack, class World = system_world>
class async_database : public async_calls<async_database<Stack, World>> {
public:
    using runtime_type = runtime<Stack, World>;
    using driver = typename runtime_type::driver;
    /// What a transaction's closure gets.
    using transaction_type = async_transaction_handle<runtime_type>;
    using owned_transaction_type = async_owned_transaction<runtime_type>;
    using session_type = async_session_handle<runtime_type>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;
    static_assert(std::is_trivially_destructible_v<transaction_options<driver>>);  // see start.hpp

    /// A face of an existing runtime: `db.async(executor)` is the same.
    async_database(std::shared_ptr<runtime_type> rt, asio::any_io_executor ex, const async_options& o = {})
        : rt_(std::move(rt)), world_(std::move(ex), detail::work_threads(*rt_, o)) {}
    /// A runtime of its own; options as for `database`. Opens the first connections in this thread.
    template <class... Options>
    explicit async_database(asio::any_io_executor ex, const Options&... options)
        : async_database(std::make_shared<runtime_type>(options...), std::move(ex)) {}

    /// Runs the coroutine closure in a transaction; see `database::transaction`. `void(std::exception_ptr, T)`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return async_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        using value = detail::awaited_value<Closure, transaction_type>;
        using job = detail::transaction_job<detail::runtime_home<runtime_type>, Closure, detail::throwing<value>>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), o);
    }
    /// The same; completes with `void(result<T>)`, exceptions of the closure as `errc::user_exception`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return async_try_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        using value = detail::awaited_value<Closure, transaction_type>;
        using job = detail::transaction_job<detail::runtime_home<runtime_type>, Closure, detail::trying<value>>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), o);
    }

    /// A transaction in the caller's hands.
    template <detail::completion Token = detail::default_token>
    auto async_begin(Token&& token = {}) {
        return async_begin(transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_begin(const transaction_options<driver>& o, Token&& token = {}) {
        return hold<detail::transaction_facts, detail::throwing<owned_transaction_type>>(o, o.locking_or_default(),
                                                                                   std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(Token&& token = {}) {
        return async_try_begin(transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(const transaction_options<driver>& o, Token&& token = {}) {
        return hold<detail::transaction_facts, detail::trying<owned_transaction_type>>(o, o.locking_or_default(),
                                                                                   std::forward<Token>(token));
    }

    /// A pinned connection.
    template <detail::completion Token = detail::default_token>
    auto async_session(Token&& token = {}) {
        return async_session(transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_session(const transaction_options<driver>& o, Token&& token = {}) {
        return hold<detail::session_facts, detail::throwing<session_type>>(o, std::nullopt, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(Token&& token = {}) {
        return async_try_session(transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(const transaction_options<driver>& o, Token&& token = {}) {
        return hold<detail::session_facts, detail::trying<session_type>>(o, std::nullopt, std::forward<Token>(token));
    }

    /// As `database::close`, for all faces of the runtime; a cancel of this call shortens the grace. `void(std::exception_ptr)`.
    template <class Token = detail::default_token>
    auto async_close(duration grace = std::chrono::seconds{5}, Token&& token = {}) {
        return detail::start<detail::close_job<runtime_type>>(world_, std::forward<Token>(token), rt_, grace);
    }

    /// The state of a layer: `adb.policy<strata::circuit_breaker<>>()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return rt_->template policy<P>();
    }
    [[nodiscard]] auto connections() noexcept { return rt_->connections().snapshot(); }
    [[nodiscard]] const std::shared_ptr<runtime_type>& shared_runtime() const noexcept { return rt_; }

    // For `async_calls`.
    [[nodiscard]] detail::runtime_home<runtime_type> home() { return detail::runtime_home<runtime_type>{rt_}; }
    [[nodiscard]] static unsigned depth_of_batch() noexcept { return 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::runtime_home<runtime_type>, Bound, T, false>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    template <operation_facts Facts, class Form, class Token>
    auto hold(const transaction_options<driver>& o, std::optional<typename driver::locking> begin, Token&& token) {
        return detail::start<detail::holding_job<runtime_type, Facts, Form>>(world_, std::forward<Token>(token), rt_, world_, o, begin);
    }

    std::shared_ptr<runtime_type> rt_;
    asio_world world_;
};

namespace detail {

template <class Stack, class World>
struct async_face<Stack, World, true> {
    template <class... Rest>
    static async_database<Stack, World> make(const std::shared_ptr<runtime<Stack, World>>& rt, asio::any_io_executor ex,
                                             const Rest&... rest) {
        return {rt, std::move(ex), rest...};
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How a PostgreSQL connection is opened: what libpq takes, by URL or by field, checked before anything is sent.
#ifndef STRATA_DRIVER_POSTGRES_OPTIONS_HPP
#define STRATA_DRIVER_POSTGRES_OPTIONS_HPP

namespace strata::inline STRATA_ABI {

/// A notice or warning of the server, or one of libpq's own (without an SQLSTATE). Texts live until the hook returns.
struct postgres_notice {
    std::string_view severity;  ///< `WARNING`, `NOTICE`, `INFO`, `LOG`, `DEBUG`; never translated
    std::string_view sqlstate;
    std::string_view message;
    std::string_view detail;
    std::string_view hint;
};

/// A setting that the server reports has changed. Texts live until the hook returns.
struct postgres_parameter {
    std::string_view name;
    std::string_view value;
};

/// Options of the PostgreSQL driver. A value that makes no sense is refused by `validate()`, which the database calls.
struct postgres_options {
    /// Everything that libpq takes: a URL (`postgresql://user@host:5432/db?sslmode=require`) or `key=value` pairs; several hosts,
    /// `target_session_attrs`, TLS settings, service and password files. `${NAME}` is replaced from the environment.
    std::string connection = {};

    // A field that is set goes before the same setting in `connection`.
    std::string host = {};  ///< a name, an address, or the folder of a Unix socket; several separated by commas
    std::uint16_t port = 0;
    std::string user = {};
    std::string password = {};
    std::string database = {};
    std::string application_name = {};

    /// Over all of it: name look-up, TLS, authentication, all hosts. A call's own deadline may come first.
    duration connect_timeout = std::chrono::seconds{10};
    /// Prepared statements kept a connection; the least recently used goes first.
    std::size_t statement_cache = 256;
    /// False behind a pooler that gives each transaction another server (pgbouncer in transaction mode): nothing is prepared on the
    /// server, and arguments go as text of no type, which it infers.
    bool prepare = true;
    /// How long a cancelled statement may take to end before the connection is given up.
    duration cancel_grace = std::chrono::seconds{5};
    /// How long COMMIT or ROLLBACK, which no deadline ends, may take before the connection is given up: a COMMIT's outcome is unknown then.
    duration finish_limit = std::chrono::seconds{60};

    /// If not empty, the only hosts that may be connected to: exact names, or `*.suffix`. Held against what libpq has parsed.
    std::vector<std::string> allowed_hosts = {};
    /// Settings that must not have these values, such as `{"sslmode", "disable"}`. Held against what libpq has parsed.
    std::vector<std::pair<std::string, std::string>> forbidden = {};

    /// Told of each notice, from the thread that works on the connection, several at once for several connections; must not block, nor use
    /// the connection. Null: notices are dropped.
    void (*on_notice)(void* context, const postgres_notice& notice) noexcept = nullptr;
    /// Told, at the end of a statement, which of the `watched_parameters` the server has reported with another value than before on this
    /// connection; under the same rules.
    void (*on_parameter)(void* context, const postgres_parameter& parameter) noexcept = nullptr;
    /// Of those that a server reports by itself: `TimeZone`, `in_hot_standby`, `default_transaction_read_only`, `search_path` (18) ...
    std::vector<std::string> watched_parameters = {};
    void* context = nullptr;  ///< handed to both

    /// `errc::invalid_argument` or `errc::access_denied` naming the setting, or no error. Never shows a password.
    [[nodiscard]] error validate() const;
};

namespace detail {

[[nodiscard]] STRATA_COLD inline error bad_postgres_option(std::string_view field, std::string_view why,
                                                           errc code = errc::invalid_argument) {
    return error{code, joined({"postgres_options.", field, ": ", why}), phase::connect};
}

/// Replaces each `${NAME}`. A `$` elsewhere is literal. Errors name the variable.
[[nodiscard]] STRATA_COLD inline error expand_environment(std::string_view text, std::string& out) {
    out.clear();
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = text.find("${", at);
        out.append(text.substr(at, begin - at));
        if (begin == text.npos) return {};
        const std::size_t end = text.find('}', begin);
        if (end == text.npos) return bad_postgres_option("connection", "holds a \"${\" without its \"}\"");
        const std::string name{text.substr(begin + 2, end - begin - 2)};
        const char* const value = std::getenv(name.c_str());
        if (value == nullptr)
            return bad_postgres_option("connection", joined({"the environment has no variable ", name, ", which ${", name, "} asks for"}));
        out.append(value);
        at = end + 1;
    }
    return {};
}

/// The settings for libpq, in two lists that end with null. Texts live in the object.
class postgres_target {
public:
    /// Parses and checks; the error names the setting.
    [[nodiscard]] STRATA_COLD error read(const postgres_options& o) {
        std::string text;
        if (error e = expand_environment(o.connection, text)) return e;
        char* why = nullptr;
        const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed{::PQconninfoParse(text.c_str(), &why),
                                                                                    &::PQconninfoFree};
        if (parsed == nullptr) {
            // libpq's sentence quotes what it stumbled over, which may be the password: it is not shown.
            ::PQfreemem(why);
            return bad_postgres_option("connection", "is neither a postgresql:// URL nor a list of key=value pairs that libpq understands");
        }
        for (const PQconninfoOption* p = parsed.get(); p->keyword != nullptr; ++p)
            if (p->val != nullptr) set(p->keyword, p->val);
        set("host", o.host);
        set("user", o.user);
        set("password", o.password);
        set("dbname", o.database);
        set("application_name", o.application_name);
        if (o.port != 0) set("port", std::string{digits_of(static_cast<int>(o.port))});
        return check(o);
    }

    [[nodiscard]] std::string_view value(std::string_view keyword) const noexcept {
        for (const auto& [k, v] : settings_)
            if (k == keyword) return v;
        return {};
    }

    /// For `PQconnectStartParams`; valid until the object changes.
    void lists(std::vector<const char*>& keywords, std::vector<const char*>& values) const {
        for (const auto& [k, v] : settings_) {
            keywords.push_back(k.c_str());
            values.push_back(v.c_str());
        }
        keywords.push_back(nullptr);
        values.push_back(nullptr);
    }

private:
    void set(std::string_view keyword, std::string value) {
        if (value.empty()) return;
        for (auto& [k, v] : settings_) {
            if (k == keyword) {
                v = std::move(value);
                return;
            }
        }
        settings_.emplace_back(std::string{keyword}, std::move(value));
    }

    [[nodiscard]] error check(const postgres_options& o) const {
        for (const auto& [k, v] : settings_)
            if (v.find('\0') != v.npos) return bad_postgres_option(k, "contains a NUL character");
        for (const auto& [keyword, bad] : o.forbidden) {
            if (value(keyword) == bad)
                return bad_postgres_option("forbidden", joined({keyword, "=", bad, " is not allowed here"}), errc::access_denied);
        }
        if (o.allowed_hosts.empty()) return {};
        bool any = false;
        for (const std::string_view keyword : {"host", "hostaddr"}) {
            for (std::string_view rest = value(keyword); !rest.empty();) {
                const std::size_t comma = rest.find(',');
                const std::string_view host = rest.substr(0, comma);
                rest = comma == rest.npos ? std::string_view{} : rest.substr(comma + 1);
                any = true;
                if (!is_allowed(host, o.allowed_hosts))
                    return bad_postgres_option("allowed_hosts", joined({"does not hold the host \"", host, "\""}), errc::access_denied);
            }
        }
        if (!any) return bad_postgres_option("allowed_hosts", "is set, but the connection names no host", errc::access_denied);
        return {};
    }

    [[nodiscard]] static bool is_allowed(std::string_view host, const std::vector<std::string>& allowed) noexcept {
        for (const std::string_view a : allowed) {
            if (a == host) return true;
            if (a.size() > 2 && a.substr(0, 2) == "*." && host.size() > a.size() - 1 &&
                host.substr(host.size() - (a.size() - 1)) == a.substr(1))
                return true;
        }
        return false;
    }

    std::vector<std::pair<std::string, std::string>> settings_;
};

}  // namespace detail

STRATA_COLD inline error postgres_options::validate() const {
    using detail::bad_postgres_option;
    if (connect_timeout <= duration::zero()) return bad_postgres_option("connect_timeout", "must be positive");
    if (cancel_grace <= duration::zero()) return bad_postgres_option("cancel_grace", "must be positive");
    if (finish_limit <= duration::zero()) return bad_postgres_option("finish_limit", "must be positive");
    if (statement_cache == 0 || statement_cache > 65536)
        return bad_postgres_option("statement_cache", "must be between 1 and 65536 statements");
    if (watched_parameters.empty() != (on_parameter == nullptr))
        return bad_postgres_option("watched_parameters", "and on_parameter go together: one is set, the other is not");
    if (connection.find('\0') != connection.npos) return bad_postgres_option("connection", "contains a NUL character");
    detail::postgres_target target;
    return target.read(*this);
}

}  // namespace strata::inline STRATA_ABI

#endif

// Numbers of PostgreSQL's built-in types, as the catalogue pg_type fixes them, and the class of value that each is.
#ifndef STRATA_DRIVER_POSTGRES_OID_HPP
#define STRATA_DRIVER_POSTGRES_OID_HPP

namespace strata::inline STRATA_ABI {

/// Built-in types by the names that SQL gives them. Source: src/include/catalog/pg_type.dat of PostgreSQL; they never change.
namespace oid {
enum : ::Oid {
    boolean = 16,
    bytea = 17,
    internal_char = 18,
    name = 19,
    int8 = 20,
    int2 = 21,
    int4 = 23,
    regproc = 24,
    text = 25,
    oid = 26,
    xid = 28,
    cid = 29,
    json = 114,
    xml = 142,
    cidr = 650,
    float4 = 700,
    float8 = 701,
    unknown = 705,
    macaddr8 = 774,
    money = 790,
    macaddr = 829,
    inet = 869,
    bpchar = 1042,
    varchar = 1043,
    date = 1082,
    time = 1083,
    timestamp = 1114,
    timestamptz = 1184,
    interval = 1186,
    timetz = 1266,
    bit = 1560,
    varbit = 1562,
    numeric = 1700,
    refcursor = 1790,
    record = 2249,
    uuid = 2950,
    jsonb = 3802,
    int4range = 3904,
    numrange = 3906,
    tsrange = 3908,
    tstzrange = 3910,
    daterange = 3912,
    int8range = 3926,
    int4multirange = 4451,
    nummultirange = 4532,
    tsmultirange = 4533,
    tstzmultirange = 4534,
    datemultirange = 4535,
    int8multirange = 4536,
    xid8 = 5069
};
}  // namespace oid

namespace detail {

/// The binary form is the characters themselves.
[[nodiscard]] constexpr bool is_plain_text(::Oid type) noexcept {
    switch (type) {
        case oid::text:
        case oid::varchar:
        case oid::bpchar:
        case oid::name:
        case oid::json:
        case oid::xml:
        case oid::unknown:
        case oid::refcursor:
        case oid::internal_char:
            return true;
        default:
            return false;
    }
}

/// What codecs see. Types whose binary form is turned into PostgreSQL's own text (numeric, dates, uuid ...) are texts, too.
[[nodiscard]] constexpr column_type class_of(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return column_type::boolean;
        case oid::int2:
        case oid::int4:
        case oid::int8:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
            return column_type::integer;
        case oid::float4:
        case oid::float8:
            return column_type::real;
        case oid::bytea:
            return column_type::blob;
        case oid::numeric:
        case oid::uuid:
        case oid::date:
        case oid::time:
        case oid::timetz:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::interval:
        case oid::jsonb:
        case oid::inet:
        case oid::cidr:
        case oid::macaddr:
        case oid::macaddr8:
        case oid::bit:
        case oid::varbit:
        case oid::xid8:
            return column_type::text;
        default:
            return is_plain_text(type) ? column_type::text : column_type::other;
    }
}

/// For errors: the name of a built-in type; empty for one that the catalogue of the database defines.
[[nodiscard]] constexpr std::string_view type_name(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
            return "boolean";
        case oid::bytea:
            return "bytea";
        case oid::name:
            return "name";
        case oid::int8:
            return "bigint";
        case oid::int2:
            return "smallint";
        case oid::int4:
            return "integer";
        case oid::text:
            return "text";
        case oid::oid:
            return "oid";
        case oid::json:
            return "json";
        case oid::float4:
            return "real";
        case oid::float8:
            return "double precision";
        case oid::money:
            return "money";
        case oid::inet:
            return "inet";
        case oid::cidr:
            return "cidr";
        case oid::macaddr:
            return "macaddr";
        case oid::bpchar:
            return "character";
        case oid::varchar:
            return "character varying";
        case oid::date:
            return "date";
        case oid::time:
            return "time";
        case oid::timetz:
            return "time with time zone";
        case oid::timestamp:
            return "timestamp";
        case oid::timestamptz:
            return "timestamp with time zone";
        case oid::interval:
            return "interval";
        case oid::bit:
            return "bit";
        case oid::varbit:
            return "bit varying";
        case oid::numeric:
            return "numeric";
        case oid::uuid:
            return "uuid";
        case oid::jsonb:
            return "jsonb";
        case oid::record:
            return "record";
        case oid::int4range:
            return "int4range";
        case oid::numrange:
            return "numrange";
        case oid::tsrange:
            return "tsrange";
        case oid::tstzrange:
            return "tstzrange";
        case oid::daterange:
            return "daterange";
        case oid::int8range:
            return "int8range";
        case oid::int4multirange:
            return "int4multirange";
        case oid::nummultirange:
            return "nummultirange";
        case oid::tsmultirange:
            return "tsmultirange";
        case oid::tstzmultirange:
            return "tstzmultirange";
        case oid::datemultirange:
            return "datemultirange";
        case oid::int8multirange:
            return "int8multirange";
        case oid::xml:
            return "xml";
        case oid::xid8:
            return "xid8";
        case oid::macaddr8:
            return "macaddr8";
        default:
            return {};
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a type is made of: arrays, ranges and records by their parts. Built-in types by a table; those that the database defines
// (enums, domains, composites, extensions) are looked up once a connection.
//
// A type that is altered while a connection knows it (ALTER TYPE ... ADD ATTRIBUTE) is seen anew by the next connection.
#ifndef STRATA_DRIVER_POSTGRES_CATALOGUE_HPP
#define STRATA_DRIVER_POSTGRES_CATALOGUE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// How the binary form of a type is laid out.
enum class type_kind : std::uint8_t { plain, array, record, range, multirange, enumeration, domain, hstore };

/// The kind of types whose values are opened so.
[[nodiscard]] constexpr bool is_kind(nesting what, type_kind kind) noexcept {
    switch (what) {
        case nesting::array:
            return kind == type_kind::array;
        case nesting::record:
            return kind == type_kind::record;
        case nesting::range:
            return kind == type_kind::range;
        case nesting::multirange:
            return kind == type_kind::multirange;
        case nesting::pairs:
            return kind == type_kind::hstore;
    }
    return false;
}

/// A type's kind, and the type of its parts: of an array's elements, a range's bounds, a multirange's ranges; a domain's base.
struct type_shape {
    type_kind kind = type_kind::plain;
    ::Oid part = 0;
};

struct array_type {
    ::Oid array;
    ::Oid element;
    std::string_view name;
};

/// Source: pg_type.dat, as in oid.hpp.
inline constexpr array_type array_types[] = {
    {1000, oid::boolean, "boolean[]"},
    {1001, oid::bytea, "bytea[]"},
    {1002, oid::internal_char, "\"char\"[]"},
    {1003, oid::name, "name[]"},
    {1016, oid::int8, "bigint[]"},
    {1005, oid::int2, "smallint[]"},
    {1007, oid::int4, "integer[]"},
    {1008, oid::regproc, "regproc[]"},
    {1009, oid::text, "text[]"},
    {1028, oid::oid, "oid[]"},
    {1011, oid::xid, "xid[]"},
    {1012, oid::cid, "cid[]"},
    {199, oid::json, "json[]"},
    {143, oid::xml, "xml[]"},
    {651, oid::cidr, "cidr[]"},
    {1021, oid::float4, "real[]"},
    {1022, oid::float8, "double precision[]"},
    {775, oid::macaddr8, "macaddr8[]"},
    {791, oid::money, "money[]"},
    {1040, oid::macaddr, "macaddr[]"},
    {1041, oid::inet, "inet[]"},
    {1014, oid::bpchar, "character[]"},
    {1015, oid::varchar, "character varying[]"},
    {1182, oid::date, "date[]"},
    {1183, oid::time, "time without time zone[]"},
    {1115, oid::timestamp, "timestamp without time zone[]"},
    {1185, oid::timestamptz, "timestamp with time zone[]"},
    {1187, oid::interval, "interval[]"},
    {1270, oid::timetz, "time with time zone[]"},
    {1561, oid::bit, "bit[]"},
    {1563, oid::varbit, "bit varying[]"},
    {1231, oid::numeric, "numeric[]"},
    {2201, oid::refcursor, "refcursor[]"},
    {2951, oid::uuid, "uuid[]"},
    {3807, oid::jsonb, "jsonb[]"},
    {271, oid::xid8, "xid8[]"},
    {2287, oid::record, "record[]"},
    {3905, oid::int4range, "int4range[]"},
    {3907, oid::numrange, "numrange[]"},
    {3909, oid::tsrange, "tsrange[]"},
    {3911, oid::tstzrange, "tstzrange[]"},
    {3913, oid::daterange, "daterange[]"},
    {3927, oid::int8range, "int8range[]"},
    {6150, oid::int4multirange, "int4multirange[]"},
    {6151, oid::nummultirange, "nummultirange[]"},
    {6152, oid::tsmultirange, "tsmultirange[]"},
    {6153, oid::tstzmultirange, "tstzmultirange[]"},
    {6155, oid::datemultirange, "datemultirange[]"},
    {6157, oid::int8multirange, "int8multirange[]"},
};

[[nodiscard]] constexpr type_shape built_in_shape(::Oid type) noexcept {
    switch (type) {
        case oid::record:
            return {type_kind::record, 0};
        case oid::int4range:
            return {type_kind::range, oid::int4};
        case oid::numrange:
            return {type_kind::range, oid::numeric};
        case oid::tsrange:
            return {type_kind::range, oid::timestamp};
        case oid::tstzrange:
            return {type_kind::range, oid::timestamptz};
        case oid::daterange:
            return {type_kind::range, oid::date};
        case oid::int8range:
            return {type_kind::range, oid::int8};
        case oid::int4multirange:
            return {type_kind::multirange, oid::int4range};
        case oid::nummultirange:
            return {type_kind::multirange, oid::numrange};
        case oid::tsmultirange:
            return {type_kind::multirange, oid::tsrange};
        case oid::tstzmultirange:
            return {type_kind::multirange, oid::tstzrange};
        case oid::datemultirange:
            return {type_kind::multirange, oid::daterange};
        case oid::int8multirange:
            return {type_kind::multirange, oid::int8range};
        default:
            break;
    }
    for (const array_type& a : array_types)
        if (a.array == type) return {type_kind::array, a.element};
    return {};
}

/// Below are the types that every database has under the same number (FirstGenbkiObjectId in access/transam.h).
inline constexpr ::Oid first_own_type = 10000;

/// The bytes of a type whose size is fixed; -1 for one of any size.
[[nodiscard]] constexpr int fixed_size(::Oid type) noexcept {
    switch (type) {
        case oid::boolean:
        case oid::internal_char:
            return 1;
        case oid::int2:
            return 2;
        case oid::int4:
        case oid::oid:
        case oid::xid:
        case oid::cid:
        case oid::regproc:
        case oid::float4:
        case oid::date:
            return 4;
        case oid::int8:
        case oid::float8:
        case oid::timestamp:
        case oid::timestamptz:
        case oid::time:
        case oid::xid8:
            return 8;
        default:
            return -1;
    }
}

/// A type that the database defines.
struct own_type {
    type_shape shape;
    std::string name;
    std::vector<std::string> attributes;  ///< of a composite, in their order
    std::vector<::Oid> attribute_types;
};

/// The types that one connection has met. Used by one thread at a time.
class type_catalogue {
public:
    void clear() noexcept { own_.clear(); }
    [[nodiscard]] bool knows(::Oid type) const { return type < first_own_type || own_.count(type) != 0; }

    [[nodiscard]] type_shape shape(::Oid type) const noexcept {
        if (type < first_own_type) return built_in_shape(type);
        const own_type* const own = find(type);
        return own != nullptr ? own->shape : type_shape{};
    }
    /// A domain's base, which may be a domain itself; any other type is its own.
    [[nodiscard]] ::Oid base(::Oid type) const noexcept {
        for (int depth = 0; type >= first_own_type && depth < 64; ++depth) {
            const type_shape s = shape(type);
            if (s.kind != type_kind::domain) break;
            type = s.part;
        }
        return type;
    }
    [[nodiscard]] const own_type* find(::Oid type) const noexcept {
        const auto at = own_.find(type);
        return at != own_.end() ? &at->second : nullptr;
    }
    [[nodiscard]] std::string_view name(::Oid type) const noexcept {
        if (type >= first_own_type) {
            const own_type* const own = find(type);
            return own != nullptr ? std::string_view{own->name} : std::string_view{};
        }
        for (const array_type& a : array_types)
            if (a.array == type) return a.name;
        return type_name(type);
    }
    [[nodiscard]] own_type& put(::Oid type) { return own_[type]; }

    /// The statement that looks types up, `$1` being their numbers, and all that they are made of. Multiranges came with PostgreSQL 14.
    [[nodiscard]] STRATA_COLD static std::string question(int server_version) {
        const bool multiranges = server_version >= 140000;
        std::string q =
            "with recursive t(oid) as (select pg_catalog.unnest($1::pg_catalog.oid[]) union select d.oid from t "
            "join pg_catalog.pg_type p on p.oid = t.oid, lateral ("
            "select p.typelem where p.typcategory = 'A' union all select p.typbasetype where p.typtype = 'd' union all "
            "select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid union all ";
        if (multiranges) q += "select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid union all ";
        q += "select a.atttypid from pg_catalog.pg_attribute a where p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 "
             "and not a.attisdropped) d(oid) where d.oid >= 10000) "
             "select p.oid, case when p.typtype = 'b' and p.typcategory = 'A' and p.typlen = -1 and p.typelem <> 0 then 'a' "
             "when p.typtype = 'b' and p.typname = 'hstore' and p.typsend::pg_catalog.text like '%hstore_send' then 'h' "
             "else p.typtype end, case p.typtype when 'b' then p.typelem when 'd' then p.typbasetype when 'r' then "
             "(select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = p.oid) ";
        if (multiranges) q += "when 'm' then (select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = p.oid) ";
        q += "else 0 end, pg_catalog.format_type(p.oid, null), a.attname, a.atttypid from t join pg_catalog.pg_type p on p.oid = t.oid "
             "left join pg_catalog.pg_attribute a on p.typtype = 'c' and a.attrelid = p.typrelid and a.attnum > 0 and not a.attisdropped "
             "order by p.oid, a.attnum";
        return q;
    }
    /// Takes the answer, which is in text.
    STRATA_COLD void learn(const PGresult* answer) {
        const auto number = [answer](int row, int column) {
            return static_cast<::Oid>(std::strtoul(::PQgetvalue(answer, row, column), nullptr, 10));
        };
        ::Oid last = 0;
        for (int i = 0; i < ::PQntuples(answer); ++i) {
            const ::Oid type = number(i, 0);
            own_type& t = own_[type];
            if (type != last) {
                t = {};
                t.shape = {kind_of(*::PQgetvalue(answer, i, 1)), number(i, 2)};
                t.name = ::PQgetvalue(answer, i, 3);
            }
            last = type;
            if (::PQgetisnull(answer, i, 4) != 0) continue;
            t.attributes.emplace_back(::PQgetvalue(answer, i, 4));
            t.attribute_types.push_back(number(i, 5));
        }
    }

private:
    [[nodiscard]] static constexpr type_kind kind_of(char letter) noexcept {
        switch (letter) {
            case 'a':
                return type_kind::array;
            case 'c':
                return type_kind::record;
            case 'd':
                return type_kind::domain;
            case 'e':
                return type_kind::enumeration;
            case 'h':
                return type_kind::hstore;
            case 'm':
                return type_kind::multirange;
            case 'r':
                return type_kind::range;
            default:
                return type_kind::plain;
        }
    }

    std::unordered_map<::Oid, own_type> own_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Arrays, records, ranges and hstores as the texts that PostgreSQL parses, for parts that have no plain binary form.
//
// Every part is quoted, so that none can be taken for NULL or for two; a quote and a backslash get a backslash before them, which
// all these grammars understand.
#ifndef STRATA_DRIVER_POSTGRES_LITERAL_HPP
#define STRATA_DRIVER_POSTGRES_LITERAL_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

inline void append_quoted(std::string& out, std::string_view text) {
    out += '"';
    for (const char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    out += '"';
}

/// One literal, part by part.
class nested_literal {
public:
    nested_literal(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags)
        : what_(what), flags_(flags), dimensions_(dimensions.begin(), dimensions.end()) {
        if (what == nesting::array) begin_array();
        if (what == nesting::record) text_ = "(";
        if (what == nesting::multirange) text_ = "{";
        if (what == nesting::range) {
            text_ = (flags & range_flag::empty) != 0 ? "empty" : (flags & range_flag::lower_included) != 0 ? "[" : "(";
            if ((flags & (range_flag::empty | range_flag::lower_infinite)) == range_flag::lower_infinite) text_ += ',';
        }
    }

    void part(std::string_view text) {
        before();
        if (what_ == nesting::multirange)
            text_ += text;  // a range, whose own bounds are quoted
        else
            append_quoted(text_, text);
        after();
    }
    void null_part() {
        before();
        if (what_ != nesting::record) text_ += "NULL";
        after();
    }
    [[nodiscard]] std::string finish() && {
        if (what_ == nesting::record) text_ += ')';
        if (what_ == nesting::multirange || (what_ == nesting::array && dimensions_.empty())) text_ += '}';
        if (what_ == nesting::range && (flags_ & range_flag::empty) == 0) text_ += (flags_ & range_flag::upper_included) != 0 ? ']' : ')';
        return std::move(text_);
    }

private:
    void begin_array() {
        if (dimensions_.empty()) text_ = "{";
        bool usual = true;
        for (const array_dimension& d : dimensions_) usual = usual && d.lower == 1;
        if (usual) return;
        for (const array_dimension& d : dimensions_)
            text_ += '[' + std::to_string(d.lower) + ':' + std::to_string(std::int64_t{d.lower} + d.size - 1) + ']';
        text_ += '=';
    }
    /// How many dimensions begin, or end, at part number `n`: as many of the last ones as `n` is a multiple of.
    [[nodiscard]] std::size_t borders(std::size_t n) const noexcept {
        std::size_t count = 0;
        std::size_t stride = 1;
        for (std::size_t i = dimensions_.size(); i > 0; --i, ++count) {
            stride *= static_cast<std::size_t>(dimensions_[i - 1].size);
            if (stride == 0 || n % stride != 0) break;
        }
        return count;
    }
    void before() {
        if (what_ == nesting::pairs && parts_ % 2 != 0)
            text_ += "=>";
        else if (parts_ != 0 && what_ != nesting::range)
            text_ += ',';
        if (what_ == nesting::array) text_.append(borders(parts_), '{');
    }
    void after() {
        ++parts_;
        if (what_ == nesting::array) text_.append(borders(parts_), '}');
        if (what_ == nesting::range && parts_ == 1 && (flags_ & range_flag::lower_infinite) == 0) text_ += ',';
    }

    nesting what_;
    std::uint8_t flags_;
    std::vector<array_dimension> dimensions_;
    std::size_t parts_ = 0;
    std::string text_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Digits to numbers and back, for the texts of timestamps and uuids: without locale, format or streams.
#ifndef STRATA_VALUE_DIGITS_HPP
#define STRATA_VALUE_DIGITS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// 128 bits where arithmetic must not overflow; not part of ISO C++, hence the keyword.
__extension__ using int128 = __int128;
__extension__ using uint128 = unsigned __int128;

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

/// Takes exactly `count` digits off the front; false when they are not there.
[[nodiscard]] constexpr bool take_digits(std::string_view& text, std::size_t count, int& out) noexcept {
    if (text.size() < count) return false;
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (!is_digit(text[i])) return false;
        value = value * 10 + (text[i] - '0');
    }
    text.remove_prefix(count);
    out = value;
    return true;
}

[[nodiscard]] constexpr bool take_char(std::string_view& text, char c) noexcept {
    if (text.empty() || text.front() != c) return false;
    text.remove_prefix(1);
    return true;
}

/// Writes `count` digits of `value`, with leading zeros; returns the end.
constexpr char* put_digits(char* at, int value, std::size_t count) noexcept {
    for (std::size_t i = count; i > 0; --i) {
        at[i - 1] = static_cast<char>('0' + value % 10);
        value /= 10;
    }
    return at + count;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// PostgreSQL's binary values as text: numbers, dates, addresses, exactly and in a form that the server itself reads.
//
// So every codec that reads text (decimal, uuid, chrono, std::string) reads these types, without another round trip.
#ifndef STRATA_DRIVER_POSTGRES_TEXT_HPP
#define STRATA_DRIVER_POSTGRES_TEXT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Reads big-endian numbers off the front of a value. What is too short reads as zero and is remembered.
class wire_reader {
public:
    explicit wire_reader(std::span<const std::byte> bytes) noexcept : rest_(bytes) {}

    template <class Int>
    Int take() noexcept {
        if (rest_.size() < sizeof(Int)) {
            rest_ = {};
            short_ = true;
            return 0;
        }
        std::make_unsigned_t<Int> n = 0;
        for (std::size_t i = 0; i < sizeof(Int); ++i)
            n = static_cast<std::make_unsigned_t<Int>>(static_cast<std::uint64_t>(n) << 8 | std::to_integer<std::uint64_t>(rest_[i]));
        rest_ = rest_.subspan(sizeof(Int));
        return static_cast<Int>(n);
    }
    /// The next `size` bytes; none, and remembered, where there are fewer.
    std::span<const std::byte> take_bytes(std::size_t size) noexcept {
        if (rest_.size() < size) {
            rest_ = {};
            short_ = true;
            return {};
        }
        const std::span<const std::byte> taken = rest_.first(size);
        rest_ = rest_.subspan(size);
        return taken;
    }
    [[nodiscard]] std::span<const std::byte> rest() const noexcept { return rest_; }
    /// Everything was there and nothing is left.
    [[nodiscard]] bool complete() const noexcept { return !short_ && rest_.empty(); }
    [[nodiscard]] bool is_short() const noexcept { return short_; }

private:
    std::span<const std::byte> rest_;
    bool short_ = false;
};

inline void append_padded(std::string& out, std::uint64_t n, std::size_t width) {
    char digits[20];
    std::size_t at = sizeof digits;
    do digits[--at] = static_cast<char>('0' + n % 10);
    while ((n /= 10) != 0);
    while (sizeof digits - at < width) digits[--at] = '0';
    out.append(digits + at, sizeof digits - at);
}

inline void append_hex(std::string& out, std::span<const std::byte> bytes) {
    constexpr char hex[] = "0123456789abcdef";
    for (const std::byte b : bytes) {
        out += hex[std::to_integer<unsigned>(b) >> 4];
        out += hex[std::to_integer<unsigned>(b) & 15];
    }
}

/// Digits in groups of four, with the weight of the first group (src/backend/utils/adt/numeric.c, numeric_send).
[[nodiscard]] inline bool print_numeric(wire_reader in, std::string& out) {
    const auto groups = in.take<std::uint16_t>();
    const auto weight = in.take<std::int16_t>();
    const auto sign = in.take<std::uint16_t>();
    const auto scale = in.take<std::uint16_t>();
    if (in.is_short()) return false;
    switch (sign) {
        case 0xC000:
            out = "NaN";
            return true;
        case 0xD000:
            out = "Infinity";
            return true;
        case 0xF000:
            out = "-Infinity";
            return true;
        default:
            break;
    }
    if (in.rest().size() != 2u * groups) return false;
    const std::span<const std::byte> digits = in.rest();
    const auto group = [&](int position) -> std::uint64_t {  // the one with weight `position`
        const int i = weight - position;
        if (i < 0 || i >= groups) return 0;
        return std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i)]) << 8 |
               std::to_integer<std::uint64_t>(digits[2u * static_cast<unsigned>(i) + 1]);
    };
    out.clear();
    if (sign == 0x4000) out += '-';
    if (weight < 0) out += '0';
    for (int p = weight; p >= 0; --p) append_padded(out, group(p), p == weight ? 1 : 4);
    if (scale == 0) return true;
    out += '.';
    const std::size_t end = out.size() + scale;
    for (int p = -1; out.size() < end; --p) append_padded(out, group(p), 4);
    out.resize(end);
    return true;
}

inline constexpr std::int64_t microseconds_a_day = 86'400'000'000;

/// `YYYY-MM-DD`; false for a year before 1, of which the caller appends " BC".
inline bool append_date(std::string& out, std::int64_t days_since_2000) {
    using namespace std::chrono;
    // The civil calendar by hand: std::chrono::year ends at 32767, PostgreSQL's at 5874897. (Howard Hinnant's algorithm,
    // chrono-Compatible Low-Level Date Algorithms.)
    const std::int64_t z = days_since_2000 + 10957 + 719468;
    const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const std::int64_t doe = z - era * 146097;
    const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const std::int64_t mp = (5 * doy + 2) / 153;
    const std::int64_t month = mp < 10 ? mp + 3 : mp - 9;
    const std::int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    append_padded(out, static_cast<std::uint64_t>(year > 0 ? year : 1 - year), 4);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(month), 2);
    out += '-';
    append_padded(out, static_cast<std::uint64_t>(doy - (153 * mp + 2) / 5 + 1), 2);
    return year > 0;
}

/// `HH:MM:SS`, and the fraction without the zeros at its end.
inline void append_time(std::string& out, std::int64_t us) {
    append_padded(out, static_cast<std::uint64_t>(us / 3'600'000'000), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 60'000'000 % 60), 2);
    out += ':';
    append_padded(out, static_cast<std::uint64_t>(us / 1'000'000 % 60), 2);
    if (const std::int64_t fraction = us % 1'000'000; fraction != 0) {
        out += '.';
        append_padded(out, static_cast<std::uint64_t>(fraction), 6);
        while (out.back() == '0') out.pop_back();
    }
}

/// Date and time of microseconds since 2000.
inline void append_timestamp(std::string& out, std::int64_t us, bool zone) {
    const std::int64_t days = us / microseconds_a_day - (us % microseconds_a_day < 0 ? 1 : 0);
    const bool after_christ = append_date(out, days);
    out += ' ';
    const std::int64_t rest = us % microseconds_a_day;
    append_time(out, rest < 0 ? rest + microseconds_a_day : rest);
    if (zone) out += "+00";
    if (!after_christ) out += " BC";
}

[[nodiscard]] inline bool print_date(wire_reader in, std::string& out) {
    const auto days = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out.clear();
    if (days == std::numeric_limits<std::int32_t>::max())
        out = "infinity";
    else if (days == std::numeric_limits<std::int32_t>::min())
        out = "-infinity";
    else if (!append_date(out, days))
        out += " BC";
    return true;
}

[[nodiscard]] inline bool print_timestamp(wire_reader in, bool zone, std::string& out) {
    const auto us = in.take<std::int64_t>();
    if (!in.complete()) return false;
    out.clear();
    if (us == std::numeric_limits<std::int64_t>::max()) {
        out = "infinity";
        return true;
    }
    if (us == std::numeric_limits<std::int64_t>::min()) {
        out = "-infinity";
        return true;
    }
    append_timestamp(out, us, zone);
    return true;
}

[[nodiscard]] inline bool print_timetz(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto west = in.take<std::int32_t>();
    if (!in.complete() || us < 0) return false;
    out.clear();
    append_time(out, us);
    const auto offset = static_cast<std::uint64_t>(west < 0 ? -std::int64_t{west} : std::int64_t{west});
    out += west > 0 ? '-' : '+';
    append_padded(out, offset / 3600, 2);
    if (offset % 3600 != 0) {
        out += ':';
        append_padded(out, offset / 60 % 60, 2);
        if (offset % 60 != 0) {
            out += ':';
            append_padded(out, offset % 60, 2);
        }
    }
    return true;
}

/// ISO 8601 with designators, each part with its own sign: `P1Y2M-3DT4H5M6.5S`.
[[nodiscard]] inline bool print_interval(wire_reader in, std::string& out) {
    const auto us = in.take<std::int64_t>();
    const auto days = in.take<std::int32_t>();
    const auto months = in.take<std::int32_t>();
    if (!in.complete()) return false;
    out = "P";
    const auto part = [&out](std::int64_t n, char unit) {
        if (n == 0) return;
        if (n < 0) out += '-';
        append_padded(out, n < 0 ? 0 - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n), 1);
        out += unit;
    };
    part(months / 12, 'Y');
    part(months % 12, 'M');
    part(days, 'D');
    if (us != 0) {
        out += 'T';
        part(us / 3'600'000'000, 'H');
        part(us / 60'000'000 % 60, 'M');
        if (const std::int64_t rest = us % 60'000'000; rest != 0) {
            if (rest < 0) out += '-';
            const auto size = static_cast<std::uint64_t>(rest < 0 ? -rest : rest);
            append_padded(out, size / 1'000'000, 1);
            if (size % 1'000'000 != 0) {
                out += '.';
                append_padded(out, size % 1'000'000, 6);
                while (out.back() == '0') out.pop_back();
            }
            out += 'S';
        }
    }
    if (out.size() == 1) out += "T0S";
    return true;
}

[[nodiscard]] inline bool print_uuid(std::span<const std::byte> bytes, std::string& out) {
    if (bytes.size() != 16) return false;
    out.clear();
    std::size_t at = 0;
    for (const std::size_t size : {4u, 2u, 2u, 2u, 6u}) {
        if (at != 0) out += '-';
        append_hex(out, bytes.subspan(at, size));
        at += size;
    }
    return true;
}

/// The longest run of zero groups becomes `::`, as in RFC 5952.
inline void append_ipv6(std::string& out, std::span<const std::byte> bytes) {
    std::uint16_t groups[8];
    wire_reader in{bytes};
    for (std::uint16_t& g : groups) g = in.take<std::uint16_t>();
    int best = -1, length = 1;
    for (int i = 0; i < 8;) {
        int n = 0;
        while (i + n < 8 && groups[i + n] == 0) ++n;
        if (n > length) best = i, length = n;
        i += n != 0 ? n : 1;
    }
    for (int i = 0; i < 8; ++i) {
        if (i == best) {
            out += "::";
            i += length - 1;
            continue;
        }
        if (i != 0 && out.back() != ':') out += ':';
        char digits[4];
        int n = 0;
        for (std::uint16_t g = groups[i]; n == 0 || g != 0; g = static_cast<std::uint16_t>(g >> 4))
            digits[n++] = "0123456789abcdef"[g & 15];
        while (n > 0) out += digits[--n];
    }
}

[[nodiscard]] inline bool print_inet(wire_reader in, std::string& out) {
    const auto family = in.take<std::uint8_t>();
    const auto bits = in.take<std::uint8_t>();
    const auto is_cidr = in.take<std::uint8_t>();
    const auto size = in.take<std::uint8_t>();
    const std::span<const std::byte> address = in.rest();
    if (in.is_short() || address.size() != size || (size != 4 && size != 16) || family != (size == 4 ? 2 : 3)) return false;
    out.clear();
    if (size == 4) {
        for (std::size_t i = 0; i < 4; ++i) {
            if (i != 0) out += '.';
            append_padded(out, std::to_integer<std::uint64_t>(address[i]), 1);
        }
    } else {
        append_ipv6(out, address);
    }
    if (is_cidr != 0 || bits != 8 * size) {
        out += '/';
        append_padded(out, bits, 1);
    }
    return true;
}

[[nodiscard]] inline bool print_mac(std::span<const std::byte> bytes, std::size_t size, std::string& out) {
    if (bytes.size() != size) return false;
    out.clear();
    for (std::size_t i = 0; i < size; ++i) {
        if (i != 0) out += ':';
        append_hex(out, bytes.subspan(i, 1));
    }
    return true;
}

[[nodiscard]] inline bool print_bits(wire_reader in, std::string& out) {
    const auto count = in.take<std::int32_t>();
    const std::span<const std::byte> bytes = in.rest();
    if (in.is_short() || count < 0 || bytes.size() != (static_cast<std::size_t>(count) + 7) / 8) return false;
    out.clear();
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
        out += (std::to_integer<unsigned>(bytes[i / 8]) >> (7 - i % 8) & 1) != 0 ? '1' : '0';
    return true;
}

/// A value of a type that `class_of` calls text and `is_plain_text` does not, as text. False when the bytes are not of that type.
[[nodiscard]] inline bool print_value(::Oid type, std::span<const std::byte> bytes, std::string& out) {
    const wire_reader in{bytes};
    switch (type) {
        case oid::numeric:
            return print_numeric(in, out);
        case oid::uuid:
            return print_uuid(bytes, out);
        case oid::date:
            return print_date(in, out);
        case oid::timestamp:
            return print_timestamp(in, false, out);
        case oid::timestamptz:
            return print_timestamp(in, true, out);
        case oid::timetz:
            return print_timetz(in, out);
        case oid::interval:
            return print_interval(in, out);
        case oid::inet:
        case oid::cidr:
            return print_inet(in, out);
        case oid::macaddr:
            return print_mac(bytes, 6, out);
        case oid::macaddr8:
            return print_mac(bytes, 8, out);
        case oid::bit:
        case oid::varbit:
            return print_bits(in, out);
        case oid::time: {
            wire_reader r = in;
            const auto us = r.take<std::int64_t>();
            if (!r.complete() || us < 0) return false;
            out.clear();
            append_time(out, us);
            return true;
        }
        case oid::xid8: {
            wire_reader r = in;
            const auto id = r.take<std::uint64_t>();
            out.clear();
            append_padded(out, id, 1);
            return r.complete();
        }
        default:
            return false;
    }
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Arguments of a statement as the server's types want them: binary where the form is plain, text where the server parses best.
#ifndef STRATA_DRIVER_POSTGRES_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_WRITER_HPP

namespace strata::inline STRATA_ABI {

/// Collects the parameters of one statement; models `parameter_writer`. The types are those that the server has described. Memory is
/// kept for the next statement.
class postgres_writer {
public:
    /// Begins a new statement; without types (nothing was described) everything but bytes goes as text, which the server parses.
    void reset(std::span<const ::Oid> types, bool described, const detail::type_catalogue& catalogue) {
        types_ = types;
        catalogue_ = &catalogue;
        described_ = described;
        count_ = 0;
        own_.clear();
        open_.clear();
        refused_ = errc::ok;
        as_text_ = false;
    }

    void null() {
        if (!open_.empty()) return add_null_part();
        add(nullptr, 0, 0);
    }
    void boolean(bool v) {
        if (next_type() == oid::boolean) {
            const char byte = v ? 1 : 0;
            return add_copy({&byte, 1}, 1);
        }
        add_copy(v ? "true" : "false", 0);
    }
    /// What does not fit the server's type is refused; digits go to types that take them.
    void integer(std::int64_t v) {
        switch (next_type()) {
            case oid::int8:
                return add_number(static_cast<std::uint64_t>(v));
            case oid::int4:
                return v == static_cast<std::int32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::int2:
                return v == static_cast<std::int16_t>(v) ? add_number(static_cast<std::uint16_t>(v)) : refuse(errc::out_of_range);
            case oid::oid:
                return v == static_cast<std::uint32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::float8: {
                const auto d = static_cast<double>(v);
                // exact: compared as integers, and 2^63 itself is none
                if (d >= 9223372036854775808.0 || static_cast<std::int64_t>(d) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint64_t>(d));
            }
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (f >= 9223372036854775808.0F || static_cast<std::int64_t>(f) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    void real(double v) {
        switch (next_type()) {
            case oid::float8:
                return add_number(std::bit_cast<std::uint64_t>(v));
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (std::isfinite(v) && !std::isfinite(f)) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            // The server would round to a whole number.
            case oid::int2:
            case oid::int4:
            case oid::int8:
            case oid::oid:
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        if (!std::isfinite(v)) return add_copy(std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity", 0);
        char digits[40];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;  // the shortest text that reads back as the same number
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    /// Not copied: must live until the call ends. A text for another type is parsed by the server.
    void text(std::string_view v) {
        if (is_described() && detail::is_plain_text(next_type())) {
            if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);  // no text of the server's has one
            return add(v.data() != nullptr ? v.data() : "", v.size(), 1);
        }
        text_copy(v);
    }
    void text_copy(std::string_view v) {
        const ::Oid type = next_type();
        if (type == oid::bytea) return refuse(errc::type_mismatch);  // the server would read escapes in it
        if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);
        add_copy(v, is_described() && detail::is_plain_text(type) ? 1 : 0);
    }
    void blob(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add(v.data() != nullptr ? reinterpret_cast<const char*>(v.data()) : "", v.size(), 1);
    }
    void blob_copy(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add_copy({reinterpret_cast<const char*>(v.data()), v.size()}, 1);
    }
    /// A point of time; for a column without zone, in UTC.
    void timestamp(std::chrono::sys_time<std::chrono::microseconds> t) {
        constexpr std::int64_t from_1970 = 946'684'800'000'000;
        const std::int64_t us = t.time_since_epoch().count();
        if (us < std::numeric_limits<std::int64_t>::min() + 1 + from_1970) return refuse(errc::out_of_range);
        switch (next_type()) {
            case oid::timestamptz:
            case oid::timestamp:
                return add_number(static_cast<std::uint64_t>(us - from_1970));
            default:
                break;
        }
        if (is_described() && class_of_next() != column_type::text) return refuse(errc::type_mismatch);
        std::string text;
        detail::append_timestamp(text, us - from_1970, true);
        add_copy(text, is_described() && detail::is_plain_text(next_type()) ? 1 : 0);
    }

    /// Begins a value that holds values; see `nested_writer`. An array whose elements are plain in binary goes so, everything else as the
    /// text that the server parses. A parameter of another kind is refused.
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) {
        const bool top = open_.empty();
        const ::Oid type = type_to_open();
        const detail::type_shape shape = catalogue_->shape(type);
        if (type != oid::unknown && !detail::is_kind(what, shape.kind)) keep_refusal(errc::type_mismatch);
        if (!top && !open_.back().literal) open_.back().has_text = true;
        container& c = open_.emplace_back();
        c.type = type;
        c.begin = own_.size();
        if (!top || what != nesting::array || shape.kind != detail::type_kind::array || std::exchange(as_text_, false)) {
            c.literal.emplace(what, dimensions, flags);
            return true;
        }
        c.part = shape.part;
        put(static_cast<std::uint32_t>(dimensions.size()));
        put(std::uint32_t{0});  // whether a NULL is in it: set by the first
        put(static_cast<std::uint32_t>(shape.part));
        for (const array_dimension& d : dimensions) {
            put(static_cast<std::uint32_t>(d.size));
            put(static_cast<std::uint32_t>(d.lower));
        }
        return true;
    }
    /// Ends it; false when its parts are wanted once more, because one has no binary form here.
    [[nodiscard]] bool close() {
        container c = std::move(open_.back());
        open_.pop_back();
        if (refused_ != errc::ok) {
            if (open_.empty()) refuse(refused_);
        } else if (c.literal) {
            add_copy(std::move(*c.literal).finish(), 0);
        } else if (c.has_text) {
            own_.resize(c.begin);
            as_text_ = true;
            return false;
        } else {
            const std::size_t size = own_.size() - c.begin;
            add("", size, 1);
            offsets_[count_ - 1] = c.begin;
        }
        return true;
    }

    /// What attribute `i` of the composite that is open is called.
    [[nodiscard]] std::string_view part_name(std::size_t i) const noexcept {
        const detail::own_type* const own = open_.empty() ? nullptr : catalogue_->find(open_.back().type);
        return own != nullptr && i < own->attributes.size() ? std::string_view{own->attributes[i]} : std::string_view{};
    }

    [[nodiscard]] errc refused() const noexcept { return refused_; }
    [[nodiscard]] int written() const noexcept { return static_cast<int>(count_); }

    /// For libpq; valid until `reset`. Call `finish` once after the last parameter.
    void finish() noexcept {
        for (std::size_t i = 0; i < count_; ++i)
            if (offsets_[i] != not_own) values_[i] = own_.data() + offsets_[i];
    }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    static constexpr std::size_t not_own = static_cast<std::size_t>(-1);
    static constexpr std::size_t too_long = 0x3fffffff;  // a field holds at most 1 GB

    /// A value that is being written part by part.
    struct container {
        std::optional<detail::nested_literal> literal;  // none: binary, in `own_` from `begin` on
        ::Oid type = oid::unknown;  // its own, as far as it is known
        ::Oid part = oid::unknown;  // of the parts that go in binary
        std::size_t parts = 0;      // written
        std::size_t begin = 0;
        bool has_text = false;  // a part that is text where binary was wanted
    };

    /// The type of what is written next.
    [[nodiscard]] ::Oid next_type() const noexcept {
        if (!open_.empty()) [[unlikely]]
            return open_.back().part;
        return count_ < types_.size() ? types_[count_] : oid::unknown;
    }
    /// The type of a value that is about to be opened, without its domains; `unknown` where nobody knows.
    [[nodiscard]] ::Oid type_to_open() const noexcept {
        if (open_.empty()) return described_ ? catalogue_->base(next_type()) : ::Oid{oid::unknown};
        const container& c = open_.back();
        if (c.type == oid::unknown) return oid::unknown;
        const detail::own_type* const own = catalogue_->find(c.type);
        const ::Oid type = own == nullptr || own->shape.kind != detail::type_kind::record ? catalogue_->shape(c.type).part
                           : c.parts < own->attribute_types.size()                        ? own->attribute_types[c.parts]
                                                                                          : ::Oid{oid::unknown};
        return type == 0 ? ::Oid{oid::unknown} : catalogue_->base(type);
    }
    [[nodiscard]] bool is_described() const noexcept { return described_ && (open_.empty() || !open_.back().literal); }
    [[nodiscard]] column_type class_of_next() const noexcept { return detail::class_of(next_type()); }
    [[nodiscard]] bool takes_bytes(std::size_t size) const noexcept {
        return !is_described() || next_type() == oid::bytea || (next_type() == oid::uuid && size == 16);
    }
    void add(const char* data, std::size_t size, int format) {
        if (size > too_long) return refuse(errc::too_big);
        if (!open_.empty()) [[unlikely]]
            return add_part({data, size}, format);
        push(data, static_cast<int>(size), format, not_own);
    }
    STRATA_INLINE void push(const char* data, int size, int format, std::size_t offset) {
        if (count_ == values_.size()) [[unlikely]]
            grow();
        values_[count_] = data;
        lengths_[count_] = size;
        formats_[count_] = format;
        offsets_[count_] = offset;
        ++count_;
    }
    STRATA_COLD void grow() {
        const std::size_t room = count_ < 8 ? 8 : count_ * 2;
        offsets_.resize(room);
        formats_.resize(room);
        lengths_.resize(room);
        values_.resize(room);  // the last: its size says how much room there is
    }
    void add_copy(std::string_view v, int format) {
        if (!open_.empty()) [[unlikely]]
            return add(v.data(), v.size(), format);
        if (v.size() > too_long) return refuse(errc::too_big);
        const std::size_t at = own_.size();
        own_.append(v);
        own_.push_back('\0');  // libpq reads texts up to their NUL
        push(nullptr, static_cast<int>(v.size()), format, at);
    }
    void add_part(std::string_view v, int format) {
        container& c = open_.back();
        ++c.parts;
        if (c.literal && format == 0) {
            c.literal->part(v);
        } else if (c.literal) {
            std::string hex = "\\x";
            detail::append_hex(hex, {reinterpret_cast<const std::byte*>(v.data()), v.size()});
            c.literal->part(hex);
        } else if (format == 0 || c.has_text) {
            c.has_text = true;
        } else {
            put(static_cast<std::uint32_t>(v.size()));
            own_.append(v);
        }
    }
    void add_null_part() {
        container& c = open_.back();
        ++c.parts;
        if (c.literal) return c.literal->null_part();
        own_[c.begin + 7] = 1;
        put(~std::uint32_t{0});
    }
    template <class Unsigned>
    static void to_big_endian(Unsigned n, char (&bytes)[sizeof(Unsigned)]) noexcept {
        for (std::size_t i = 0; i < sizeof n; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(n >> (8 * (sizeof n - 1 - i))));
    }
    template <class Unsigned>
    void add_number(Unsigned n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        if (!open_.empty()) [[unlikely]]
            return add(bytes, sizeof n, 1);
        const std::size_t at = own_.size();
        own_.append(bytes, sizeof n);
        push(nullptr, sizeof n, 1, at);
    }
    void put(std::uint32_t n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        own_.append(bytes, sizeof n);
    }
    void keep_refusal(errc why) noexcept {
        if (refused_ == errc::ok) refused_ = why;
    }
    void refuse(errc why) {
        keep_refusal(why);
        if (!open_.empty()) return;
        push(nullptr, 0, 0, not_own);
    }

    std::span<const ::Oid> types_;
    const detail::type_catalogue* catalogue_ = nullptr;
    bool described_ = false;
    std::size_t count_ = 0;  // of parameters; the vectors have room for more
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    std::vector<std::size_t> offsets_;  // into `own_`, which moves while it grows
    std::string own_;
    std::vector<container> open_;  // values that hold values, the innermost last
    bool as_text_ = false;         // the next array: it has been tried in binary
    errc refused_ = errc::ok;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A bound statement's arguments into the writer: shared by the single statement and the flight of several.
#ifndef STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP
#define STRATA_DRIVER_POSTGRES_ARGUMENTS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The first argument that could not be written: its number from 1 (0: none), why, and the name of its type.
struct refused_argument {
    int number = 0;
    errc why = errc::ok;
    std::string_view type = {};
};

template <class Bound>
[[nodiscard]] refused_argument write_arguments(const Bound& statement, postgres_writer& out) {
    refused_argument r;
    statement.for_each_argument([&](std::size_t index, const auto& value) {
        using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
        if (r.number != 0) return;
        const int number = static_cast<int>(index) + 1;
        errc why = value_codec::write(out, value);
        if (why == errc::ok) why = out.refused();
        if (why == errc::ok && out.written() != number) why = errc::misuse;  // a codec must write exactly once
        if (why != errc::ok) r = {number, why, value_codec::name};
    });
    return r;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Values that hold values: arrays, records, ranges. How a driver offers them to codecs, beyond what every database has.
//
// A codec opens the value and reads or writes what lies in it by the codecs of its parts, which see an ordinary reader or writer.
#ifndef STRATA_VALUE_NESTED_HPP
#define STRATA_VALUE_NESTED_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A type's name with something around it, made at compile time: `name_around<codec<int>::name, "", "[]">` is `int32[]`.
template <const std::string_view& Name, const std::string_view& Before, const std::string_view& After>
struct name_around {
    static constexpr auto characters = []() {
        std::array<char, Before.size() + Name.size() + After.size()> all{};
        std::size_t at = 0;
        for (const std::string_view part : {Before, Name, After})
            for (const char c : part) all[at++] = c;
        return all;
    }();
    static constexpr std::string_view value{characters.data(), characters.size()};
};

inline constexpr std::string_view no_affix{};
inline constexpr std::string_view array_affix = "[]";

}  // namespace detail

/// What may be opened in a reader: `in.open(nesting::array)`. The result answers `ok()` (the value is one, and its bytes were sound so
/// far), `size()` (its parts; never more than its bytes can hold), `next()` (the next part, a `column_reader`), and for an array
/// `dimensions()`, for a record `part_name()` (of the next part; empty where nobody knows), for a range `flags()`.
template <class R>
concept nested_reader = column_reader<R> && requires(const R& in) {
    { in.open(nesting::array).ok() } -> std::same_as<bool>;
    { in.open(nesting::array).next() } -> column_reader;
};

/// The type of a column, which a codec looks at before any row (`fits`): `type()` is its class, `is(nesting)` whether its values hold
/// others, `part()` the type of an array's elements, a range's bounds, a multirange's ranges; `parts()` of a record how many (-1: not
/// known), `part(i)` and `part_name(i)` each.
template <class Type>
concept nested_type = requires(const Type& c) {
    { c.type() } -> std::same_as<column_type>;
    { c.is(nesting::array) } -> std::same_as<bool>;
    { c.part() } -> std::same_as<Type>;
    { c.parts() } -> std::same_as<int>;
    { c.part(0) } -> std::same_as<Type>;
    { c.part_name(0) } -> std::same_as<std::string_view>;
};

/// What may be opened in a writer: `open` once, each part written as if it were a parameter, `close` once. When `close` answers false,
/// the parts are wanted once more, from `open` on: this database's short form did not fit them all. `part_name(i)`: of a record that is
/// open, what part `i` is to be; empty where nobody knows, or there is no such part.
template <class W>
concept nested_writer = parameter_writer<W> && requires(W& out, std::span<const array_dimension> dimensions) {
    { out.open(nesting::array, dimensions, std::uint8_t{}) } -> std::same_as<bool>;
    { out.close() } -> std::same_as<bool>;
    { out.part_name(std::size_t{}) } -> std::same_as<std::string_view>;
};

namespace detail {

/// Opens `in` and hands what is in it to `read`; an error of a driver that has no such values.
template <class R, class Read>
[[nodiscard]] errc read_nested(const R& in, nesting what, Read&& read) {
    const column_type found = in.type();
    if (found == column_type::null) return errc::null_value;
    if constexpr (nested_reader<R>) {
        auto parts = in.open(what);
        if (!parts.ok()) return errc::type_mismatch;
        const errc e = read(parts);
        if (e != errc::ok) return e == errc::null_value ? errc::type_mismatch : e;  // a part is NULL, not the value
        return parts.ok() ? errc::ok : errc::type_mismatch;
    } else {
        static_assert(std::is_same_v<R, any_column_reader>,
                      "strata: this database has no arrays, records and ranges; read text or JSON, or a table of its own");
        return errc::type_mismatch;  // a row without its driver: strata::row, any_session
    }
}

/// Opens a nested value of `out`, which `write` fills.
template <class W, class Write>
[[nodiscard]] errc write_nested(W& out, nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags, Write&& write) {
    static_assert(nested_writer<W>,
                  "strata: this database has no arrays, records and ranges as parameters; for a list write in (:ids...) in a "
                  "strata::statement, or pass JSON");
    if constexpr (nested_writer<W>) {
        do {
            if (!out.open(what, dimensions, flags)) return errc::unsupported;
            if (const errc e = write(out); e != errc::ok) return e;
        } while (!out.close());
    }
    return errc::ok;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A row of a result in binary form, as codecs read it.
#ifndef STRATA_DRIVER_POSTGRES_READER_HPP
#define STRATA_DRIVER_POSTGRES_READER_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Int>
[[nodiscard]] STRATA_INLINE Int big_endian(const char* p) noexcept {
    std::make_unsigned_t<Int> n;
    std::memcpy(&n, p, sizeof n);
    if constexpr (std::endian::native == std::endian::little) {
        if constexpr (sizeof n == 2)
            n = __builtin_bswap16(n);
        else if constexpr (sizeof n == 4)
            n = __builtin_bswap32(n);
        else if constexpr (sizeof n == 8)
            n = __builtin_bswap64(n);
    }
    return static_cast<Int>(n);
}

/// What reading a connection's rows needs: the types that its database defines, and texts that were made of binary values, one a
/// column, which live until the next row.
struct reading_memory {
    type_catalogue types;
    std::vector<std::string> texts;
};

}  // namespace detail

class postgres_parts;

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class postgres_column {
public:
    postgres_column(const PGresult* r, int row, int column, detail::reading_memory& memory) noexcept
        : type_(::PQftype(r, column)), column_(column), data_(::PQgetvalue(r, row, column)), size_(::PQgetlength(r, row, column)),
          null_(size_ == 0 && ::PQgetisnull(r, row, column) != 0), memory_(memory) {}
    /// A part of a value in column `column`; no bytes: NULL.
    postgres_column(::Oid type, std::optional<std::span<const std::byte>> bytes, int column, detail::reading_memory& memory) noexcept
        : type_(type), column_(column), data_(bytes ? reinterpret_cast<const char*>(bytes->data()) : nullptr),
          size_(bytes ? static_cast<int>(bytes->size()) : 0), null_(!bytes), memory_(memory) {}

    [[nodiscard]] column_type type() const noexcept {
        if (null_) return column_type::null;
        const column_type c = detail::class_of(type_);
        return c == column_type::other && is_enum() ? column_type::text : c;
    }
    /// The number of the server's type.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    /// The value as it came.
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return {reinterpret_cast<const std::byte*>(data_), static_cast<std::size_t>(size_)};
    }

    [[nodiscard]] bool boolean() const noexcept { return size_ == 1 && data_[0] != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept {
        switch (size_) {
            case 2:
                return detail::big_endian<std::int16_t>(data_);
            case 8:
                return detail::big_endian<std::int64_t>(data_);
            case 4:
                break;
            default:
                return 0;  // no integer
        }
        // oid, xid and their like have no sign
        return type_ == oid::int4 ? detail::big_endian<std::int32_t>(data_) : std::int64_t{detail::big_endian<std::uint32_t>(data_)};
    }
    [[nodiscard]] double real() const noexcept {
        if (size_ == 4) return std::bit_cast<float>(detail::big_endian<std::uint32_t>(data_));
        if (size_ != 8) return 0;  // no real
        return std::bit_cast<double>(detail::big_endian<std::uint64_t>(data_));
    }
    [[nodiscard]] std::string_view text() const {
        if (detail::is_plain_text(type_)) [[likely]]
            return {data_, static_cast<std::size_t>(size_)};
        if (type_ == oid::jsonb) return {data_ + 1, size_ > 0 ? static_cast<std::size_t>(size_) - 1 : 0};  // a version byte goes first
        if (is_enum()) return {data_, static_cast<std::size_t>(size_)};
        if (memory_.texts.size() <= static_cast<std::size_t>(column_)) memory_.texts.resize(static_cast<std::size_t>(column_) + 1);
        std::string& out = memory_.texts[static_cast<std::size_t>(column_)];
        if (!detail::print_value(type_, bytes(), out)) out.clear();
        return out;
    }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return bytes(); }

    /// A timestamp, with or without zone, as a point of time; nothing for another type, NULL or an infinity. One without zone is
    /// taken for UTC.
    [[nodiscard]] std::optional<std::chrono::sys_time<std::chrono::microseconds>> timestamp() const noexcept {
        if (null_ || size_ != 8 || (type_ != oid::timestamptz && type_ != oid::timestamp)) return std::nullopt;
        const auto us = detail::big_endian<std::int64_t>(data_);
        constexpr std::int64_t from_1970 = 946'684'800'000'000;  // 1970 to 2000
        if (us == std::numeric_limits<std::int64_t>::min() || us > std::numeric_limits<std::int64_t>::max() - from_1970)
            return std::nullopt;
        return std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{us + from_1970}};
    }

    /// The parts of an array, record, range ...; see `nested_reader`.
    [[nodiscard]] postgres_parts open(nesting what) const noexcept;

private:
    [[nodiscard]] bool is_enum() const noexcept {
        return type_ >= detail::first_own_type && memory_.types.shape(type_).kind == detail::type_kind::enumeration;
    }

    ::Oid type_;
    int column_;
    const char* data_;
    int size_;
    bool null_;
    detail::reading_memory& memory_;
};

/// The parts of a value that holds values. All that the bytes say is checked before it is believed. Parts live as long as the row.
class postgres_parts {
public:
    /// Not a value of this kind, or no sound header: not `ok()`.
    postgres_parts(nesting what, ::Oid type, std::span<const std::byte> bytes, int column, detail::reading_memory& memory) noexcept
        : what_(what), type_(type), in_(bytes), column_(column), memory_(memory) {
        const detail::type_shape shape = memory.types.shape(type);
        part_ = shape.part;
        ok_ = begin(shape.kind) && !in_.is_short();
        if (!ok_) left_ = 0;
    }

    /// Sound so far; after the last part, also that nothing is left over.
    [[nodiscard]] bool ok() const noexcept { return ok_ && (left_ > 0 || in_.complete()); }
    /// Parts that are still to come.
    [[nodiscard]] std::size_t size() const noexcept { return left_; }
    [[nodiscard]] std::span<const array_dimension> dimensions() const noexcept { return {dimensions_, dimension_count_}; }
    [[nodiscard]] std::uint8_t flags() const noexcept { return flags_; }
    /// Of the next part of a composite; empty for an anonymous record.
    [[nodiscard]] std::string_view part_name() const noexcept {
        const detail::own_type* const own = memory_.types.find(type_);
        return own != nullptr && taken_ < own->attributes.size() ? std::string_view{own->attributes[taken_]} : std::string_view{};
    }
    /// The next part; when there is none, or its bytes are not there, one that nothing reads, and `ok()` is false.
    [[nodiscard]] postgres_column next() noexcept {
        if (!ok_ || left_ == 0) return unsound();
        --left_;
        ++taken_;
        if (what_ == nesting::record) part_ = in_.take<std::uint32_t>();
        const auto size = in_.take<std::int32_t>();
        const ::Oid type = memory_.types.base(part_);
        if (size == -1 && what_ != nesting::range && what_ != nesting::multirange && !in_.is_short())
            return {type, std::nullopt, column_, memory_};
        if (size < 0) return unsound();
        const std::span<const std::byte> bytes = in_.take_bytes(static_cast<std::size_t>(size));
        const int fixed = detail::fixed_size(type);
        if (in_.is_short() || (fixed >= 0 && size != fixed)) return unsound();
        return {type, bytes, column_, memory_};
    }

private:
    [[nodiscard]] postgres_column unsound() noexcept {
        ok_ = false;
        left_ = 0;
        return {0, std::span<const std::byte>{}, column_, memory_};
    }
    /// Reads the header; false when it is none.
    [[nodiscard]] bool begin(detail::type_kind kind) noexcept {
        if (!detail::is_kind(what_, kind)) return false;
        switch (what_) {
            case nesting::array:
                return begin_array();
            case nesting::record:
                return count(8);
            case nesting::range:
                flags_ = in_.take<std::uint8_t>();
                if ((flags_ & range_flag::empty) != 0) return true;
                for (const std::uint8_t missing : {range_flag::lower_infinite, range_flag::upper_infinite})
                    if ((flags_ & missing) == 0) ++left_;
                return true;
            case nesting::multirange:
                return count(4);
            case nesting::pairs:
                if (!count(8)) return false;
                left_ *= 2;
                part_ = oid::text;
                return true;
        }
        return false;
    }
    /// Takes the number of parts, each of which has at least `least` bytes.
    [[nodiscard]] bool count(std::size_t least) noexcept {
        const auto n = in_.take<std::int32_t>();
        if (n < 0 || static_cast<std::size_t>(n) > in_.rest().size() / least) return false;
        left_ = static_cast<std::size_t>(n);
        return true;
    }
    [[nodiscard]] bool begin_array() noexcept {
        const auto n = in_.take<std::int32_t>();
        static_cast<void>(in_.take<std::int32_t>());  // whether there are NULLs: each part says so itself
        part_ = in_.take<std::uint32_t>();
        if (n < 0 || n > most_dimensions) return false;
        std::uint64_t product = n == 0 ? 0 : 1;
        for (; dimension_count_ < static_cast<std::size_t>(n); ++dimension_count_) {
            const auto size = in_.take<std::int32_t>();
            const auto lower = in_.take<std::int32_t>();
            if (size < 0 || __builtin_mul_overflow(product, static_cast<std::uint64_t>(size), &product)) return false;
            dimensions_[dimension_count_] = {size, lower};
        }
        if (product > in_.rest().size() / 4) return false;  // each element has a length
        left_ = static_cast<std::size_t>(product);
        return true;
    }

    static constexpr int most_dimensions = 6;  // MAXDIM of the server

    nesting what_;
    ::Oid type_;
    ::Oid part_ = 0;
    detail::wire_reader in_;
    int column_;
    detail::reading_memory& memory_;
    std::size_t left_ = 0;
    std::size_t taken_ = 0;
    array_dimension dimensions_[most_dimensions];
    std::size_t dimension_count_ = 0;
    std::uint8_t flags_ = 0;
    bool ok_ = false;
};

inline postgres_parts postgres_column::open(nesting what) const noexcept { return {what, type_, bytes(), column_, memory_}; }

/// The type of a column, or of a part of its values; models `nested_type`.
class postgres_type {
public:
    postgres_type(::Oid type, const detail::type_catalogue& types) noexcept : type_(types.base(type)), types_(&types) {}

    [[nodiscard]] column_type type() const noexcept {
        const column_type c = detail::class_of(type_);
        return c == column_type::other && kind() == detail::type_kind::enumeration ? column_type::text : c;
    }
    /// The number of the server's type; of a domain, of its base.
    [[nodiscard]] ::Oid server_type() const noexcept { return type_; }
    [[nodiscard]] bool is(nesting what) const noexcept { return detail::is_kind(what, kind()); }
    [[nodiscard]] postgres_type part() const noexcept {
        return {kind() == detail::type_kind::hstore ? ::Oid{oid::text} : types_->shape(type_).part, *types_};
    }
    [[nodiscard]] int parts() const noexcept {
        const detail::own_type* const own = types_->find(type_);
        return own != nullptr ? static_cast<int>(own->attributes.size()) : -1;
    }
    [[nodiscard]] postgres_type part(int i) const noexcept {
        return {types_->find(type_)->attribute_types[static_cast<std::size_t>(i)], *types_};
    }
    [[nodiscard]] std::string_view part_name(int i) const noexcept { return types_->find(type_)->attributes[static_cast<std::size_t>(i)]; }

private:
    [[nodiscard]] detail::type_kind kind() const noexcept { return types_->shape(type_).kind; }

    ::Oid type_;
    const detail::type_catalogue* types_;
};

/// A row of a result, or with row -1 only its columns; models `row_reader`.
class postgres_row {
public:
    postgres_row(const PGresult* r, int row, detail::reading_memory& memory) noexcept : result_(r), row_(row), memory_(memory) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(result_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(result_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return memory_.types.name(::PQftype(result_, i)); }
    /// The class of all values of a column, and its type in full.
    [[nodiscard]] column_type static_type(int i) const noexcept { return type_of(i).type(); }
    [[nodiscard]] postgres_type type_of(int i) const noexcept { return {::PQftype(result_, i), memory_.types}; }
    [[nodiscard]] postgres_column column(int i) const noexcept { return {result_, row_, i, memory_}; }

private:
    const PGresult* result_;
    int row_;
    detail::reading_memory& memory_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The prepared statements of one connection: found by the hash of their text, the least recently used let go first.
#ifndef STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP
#define STRATA_DRIVER_POSTGRES_STATEMENT_CACHE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

struct clear_result {
    void operator()(PGresult* r) const noexcept { ::PQclear(r); }
};
using result_owner = std::unique_ptr<PGresult, clear_result>;

/// A statement that the server has prepared and described.
struct prepared_statement {
    hash128 key{};
    std::string text;
    char name[40];  // on the server
    std::vector<::Oid> parameters;
    result_owner columns;  // of the description
    row_plan plan{};       // made for its tag
    bool planned = false;
};

/// Owned by one connection and used by one thread at a time.
class prepared_statements {
public:
    void reset(std::size_t bound) {
        clear();
        bound_ = bound;
    }
    void clear() noexcept {
        found_.clear();
        order_.clear();
    }
    [[nodiscard]] std::size_t size() const noexcept { return order_.size(); }
    [[nodiscard]] std::size_t bound() const noexcept { return bound_; }

    /// The statement of this key, now the most recently used. The text is compared where others may have composed it.
    [[nodiscard]] prepared_statement* take(const hash128& key, std::string_view text, bool literal) {
        const auto at = found_.find(key);
        if (at == found_.end() || (!literal && at->second->text != text)) return nullptr;
        order_.splice(order_.begin(), order_, at->second);
        return &*at->second;
    }
    /// Room for one more: the name of a statement that the server should let go, or nothing.
    [[nodiscard]] std::string evict() {
        if (order_.size() < bound_) return {};
        std::string name = order_.back().name;
        found_.erase(order_.back().key);
        order_.pop_back();
        return name;
    }
    /// A new one; another one of the same key is forgotten (on the server it was replaced).
    [[nodiscard]] prepared_statement& put(const hash128& key, std::string_view text) {
        forget(key);
        order_.emplace_front();
        prepared_statement& s = order_.front();
        s.key = key;
        s.text = text;
        found_.emplace(key, order_.begin());
        return s;
    }
    void forget(const hash128& key) noexcept {
        if (const auto at = found_.find(key); at != found_.end()) {
            order_.erase(at->second);
            found_.erase(at);
        }
    }

private:
    struct hash_of {
        std::size_t operator()(const hash128& h) const noexcept { return static_cast<std::size_t>(h.low); }
    };
    std::list<prepared_statement> order_;  // newest first
    std::unordered_map<hash128, std::list<prepared_statement>::iterator, hash_of> found_;
    std::size_t bound_ = 0;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a flight of statements knows of each: what it sends, who takes the answer, and its own notes on it.
#ifndef STRATA_DRIVER_POSTGRES_FLOWN_HPP
#define STRATA_DRIVER_POSTGRES_FLOWN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One statement of a flight, or one for each element of a range.
class postgres_flown {
public:
    /// Fills in the five facts.
    virtual void describe() = 0;
    [[nodiscard]] virtual refused_argument bind(std::size_t element, postgres_writer& out) = 0;
    /// The types that arguments say themselves, by their number from 0.
    virtual void each_type(const std::function<void(std::size_t, std::string_view)>& f) const = 0;
    [[nodiscard]] virtual const void* tag() const noexcept = 0;
    [[nodiscard]] virtual error plan(const postgres_row& meta, row_plan& p) = 0;
    /// Takes the rows of an element's answer; sets the error when it cannot.
    virtual void read(std::size_t element, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) = 0;
    /// Each element ends once; one without an error, whose count nobody wants, need not be told.
    virtual void end(std::size_t element, error e, std::int64_t affected) = 0;

    const descriptor* what = nullptr;
    bool literal = false;
    bool only_reads = false;
    bool wants_count = true;
    std::size_t count = 0;

    // The flight's notes.
    std::size_t first = 0;                // the number of its first statement
    prepared_statement* entry = nullptr;  // valid in the round that found it
    const row_plan* columns = nullptr;
    row_plan own_plan;
    std::vector<::Oid> types;  // of typed arguments, where nothing is prepared
    unsigned round = 0;
    bool renewed = false;  // its prepared statement was stale once
    error refusal;         // it cannot be sent

protected:
    ~postgres_flown() = default;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Cancels on the server, each on a thread of its own: a cancel opens a second connection, and may meet a network that swallows it.
//
// A cancel that the server gets before the statement does is ignored, so one may not be enough; but never two at once, and the fence
// waits for the last: when its connection has ended, no signal of any of them is still to come.
#ifndef STRATA_DRIVER_POSTGRES_CANCEL_HPP
#define STRATA_DRIVER_POSTGRES_CANCEL_HPP

namespace strata::inline STRATA_ABI::detail {

#ifdef LIBPQ_HAS_ASYNC_CANCEL
/// libpq 17 and newer: encrypted where the connection is, and ended at the bound.
struct cancel_request {
    static constexpr auto release = &::PQcancelFinish;
    [[nodiscard]] static ::PGcancelConn* of(PGconn* c) noexcept { return ::PQcancelCreate(c); }
    static void send(::PGcancelConn* c, time_point until) noexcept {
        if (::PQcancelStart(c) == 0) return;
        for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; s == PGRES_POLLING_READING || s == PGRES_POLLING_WRITING;) {
            const duration left = until - clock::now();
            if (left <= duration::zero()) return;
            ::pollfd p{::PQcancelSocket(c), static_cast<short>(s == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
            const auto most = std::min<duration>(left, std::chrono::seconds{1}) / std::chrono::milliseconds{1};
            if (::poll(&p, 1, static_cast<int>(most) + 1) != 0) s = ::PQcancelPoll(c);
        }
    }
};
#else
/// Unencrypted, and it lasts as long as the network makes it last.
struct cancel_request {
    static constexpr auto release = &::PQfreeCancel;
    [[nodiscard]] static ::PGcancel* of(PGconn* c) noexcept { return ::PQgetCancel(c); }
    static void send(::PGcancel* c, time_point) noexcept {
        char why[256];
        ::PQcancel(c, why, sizeof why);
    }
};
#endif

/// The cancels of one connection.
class postgres_cancels {
public:
    postgres_cancels() noexcept = default;
    postgres_cancels(const postgres_cancels&) = delete;
    postgres_cancels& operator=(const postgres_cancels&) = delete;
    ~postgres_cancels() { forget(); }

    /// Sends one, unless the last is still under way or there is no memory for it; it ends by `until` where libpq can bound it.
    STRATA_COLD void send(PGconn* connection, time_point until) noexcept {
        if (!have_ended()) return;
        forget();
        const auto request = cancel_request::of(connection);
        if (request == nullptr) return;
        try {
            auto sent = std::make_unique<std::atomic<stage>>(stage::under_way);
            std::thread([request, until, here = sent.get()] {
                cancel_request::send(request, until);
                cancel_request::release(request);
                if (here->exchange(stage::ended, std::memory_order_acq_rel) == stage::forgotten) delete here;
            }).detach();  // whoever waits for the statement does so under a bound, and does not wait for this
            sent_ = sent.release();
        } catch (...) {
            cancel_request::release(request);  // no thread: the bound for the result ends the connection
        }
    }
    [[nodiscard]] bool have_ended() const noexcept { return sent_ == nullptr || sent_->load(std::memory_order_acquire) == stage::ended; }
    /// What is under way ends without us.
    void forget() noexcept {
        if (sent_ != nullptr && sent_->exchange(stage::forgotten, std::memory_order_acq_rel) == stage::ended) delete sent_;
        sent_ = nullptr;
    }

private:
    enum class stage : std::uint8_t { under_way, ended, forgotten };

    std::atomic<stage>* sent_ = nullptr;  // shared with the thread that sends: the second of the two to leave deletes it
};

}  // namespace strata::inline STRATA_ABI::detail

#endif

// PostgreSQL's SQLSTATEs and messages as `strata::error`: what happened, to what, and what is known about the effect.
#ifndef STRATA_DRIVER_POSTGRES_ERROR_HPP
#define STRATA_DRIVER_POSTGRES_ERROR_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The five characters of an SQLSTATE as a number, so that a switch can tell them apart.
[[nodiscard]] constexpr std::uint64_t sqlstate(std::string_view s) noexcept {
    std::uint64_t n = 0;
    for (const char c : s) n = n << 8 | static_cast<unsigned char>(c);
    return n;
}

}  // namespace detail

/// The portable condition of an SQLSTATE (PostgreSQL 15, appendix A): the exact code where it matters, else its class.
[[nodiscard]] constexpr errc postgres_condition(std::string_view state) noexcept {
    using detail::sqlstate;
    if (state.size() != 5) return errc::unknown;
    switch (sqlstate(state)) {
        case sqlstate("40001"):
            return errc::serialization_failure;
        case sqlstate("40P01"):
            return errc::deadlock;
        case sqlstate("40002"):
            return errc::constraint_violation;
        case sqlstate("40003"):
            return errc::outcome_unknown;
        case sqlstate("55P03"):
            return errc::lock_not_available;
        case sqlstate("23505"):
            return errc::unique_violation;
        case sqlstate("23503"):
            return errc::foreign_key_violation;
        case sqlstate("23502"):
            return errc::not_null_violation;
        case sqlstate("23514"):
            return errc::check_violation;
        case sqlstate("08001"):
        case sqlstate("08004"):
        case sqlstate("57P03"):
        case sqlstate("53300"):
            return errc::cannot_connect;
        case sqlstate("57P01"):
        case sqlstate("57P02"):
        case sqlstate("57P04"):
        case sqlstate("57P05"):
            return errc::connection_lost;
        case sqlstate("25P03"):
        case sqlstate("25P04"):
            return errc::connection_lost;
        case sqlstate("57014"):
            return errc::cancelled;
        case sqlstate("25006"):
            return errc::read_only;
        case sqlstate("25P02"):
            return errc::transaction_aborted;
        case sqlstate("42501"):
            return errc::permission_denied;
        case sqlstate("42601"):
            return errc::syntax_error;
        case sqlstate("42P01"):
        case sqlstate("42703"):
        case sqlstate("42883"):
        case sqlstate("42704"):
        case sqlstate("42P02"):
        case sqlstate("3D000"):
        case sqlstate("3F000"):
        case sqlstate("26000"):
        case sqlstate("34000"):
            return errc::undefined_object;
        case sqlstate("42804"):
        case sqlstate("42P18"):
        case sqlstate("42846"):
        case sqlstate("22P02"):
        case sqlstate("22P03"):
            return errc::invalid_argument;
        case sqlstate("22003"):
        case sqlstate("22008"):
            return errc::out_of_range;
        case sqlstate("22001"):
            return errc::too_big;
        case sqlstate("22004"):
            return errc::null_value;
        case sqlstate("53100"):
            return errc::disk_full;
        case sqlstate("53200"):
            return errc::out_of_memory;
        case sqlstate("58030"):
            return errc::io_error;
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return errc::corrupt;
        case sqlstate("0A000"):
            return errc::unsupported;
        case sqlstate("P0001"):
            return errc::user_error;
        default:
            break;
    }
    switch (sqlstate(state.substr(0, 2))) {
        case sqlstate("08"):
            return errc::connection_lost;
        case sqlstate("22"):
            return errc::invalid_argument;
        case sqlstate("23"):
            return errc::constraint_violation;
        case sqlstate("28"):
            return errc::permission_denied;
        case sqlstate("40"):
            return errc::serialization_failure;
        case sqlstate("42"):
            return errc::invalid_statement;
        case sqlstate("54"):
            return errc::too_big;
        case sqlstate("58"):
            return errc::io_error;
        default:
            return errc::unknown;
    }
}

/// Whether a connection that reported this SQLSTATE can serve the next caller: not after the server's farewell, nor on a
/// server that has become a standby.
[[nodiscard]] constexpr health postgres_health(std::string_view state) noexcept {
    using detail::sqlstate;
    if (state.substr(0, 2) == "08") return health::lost;
    switch (sqlstate(state)) {
        case sqlstate("57P01"):
        case sqlstate("57P02"):
        case sqlstate("57P04"):
        case sqlstate("57P05"):
        case sqlstate("25006"):
        case sqlstate("25P03"):
        case sqlstate("25P04"):
        case sqlstate("40003"):
        case sqlstate("58030"):
        case sqlstate("XX001"):
        case sqlstate("XX002"):
            return health::lost;
        default:
            return health::good;
    }
}

namespace detail {

[[nodiscard]] inline std::string_view field_of(const PGresult* r, int field) noexcept {
    const char* const text = ::PQresultErrorField(r, field);
    return text != nullptr ? std::string_view{text} : std::string_view{};
}

/// Characters to bytes: the server counts the characters of a UTF-8 text from 1, we count bytes from 0.
[[nodiscard]] inline std::int64_t byte_of_character(std::string_view text, long character) noexcept {
    if (character <= 0) return -1;
    std::size_t at = 0;
    for (long n = 1; at < text.size(); ++at) {
        if ((static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) continue;
        if (n++ == character) return static_cast<std::int64_t>(at);
    }
    return static_cast<std::int64_t>(text.size());
}

/// The error of a result. `sent` is the text as the server saw it.
[[nodiscard]] STRATA_COLD inline error make_postgres_error(const PGresult* r, phase at, std::string_view written, std::string_view sent) {
    const std::string_view state = field_of(r, PG_DIAG_SQLSTATE);
    error e{postgres_condition(state), std::string{field_of(r, PG_DIAG_MESSAGE_PRIMARY)}, at};
    e.set(postgres_health(state));
    error_texts& t = e.edit_texts();
    if (t.message.empty()) t.message = ::PQresultErrorMessage(r);
    t.native_code = state;
    t.detail = field_of(r, PG_DIAG_MESSAGE_DETAIL);
    t.hint = field_of(r, PG_DIAG_MESSAGE_HINT);
    t.constraint = field_of(r, PG_DIAG_CONSTRAINT_NAME);
    t.table = field_of(r, PG_DIAG_TABLE_NAME);
    t.column = field_of(r, PG_DIAG_COLUMN_NAME);
    t.statement = written.empty() ? sent : written;
    const std::string_view position = field_of(r, PG_DIAG_STATEMENT_POSITION);
    if (!position.empty()) t.position = byte_of_character(sent, std::strtol(std::string{position}.c_str(), nullptr, 10));
    return e;
}

/// libpq's sentences, which stand on lines of their own or go on behind a tab, in one line.
[[nodiscard]] STRATA_COLD inline std::string one_line(std::string_view text) {
    std::string line;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = text.find('\n', at);
        const std::string_view part = text.substr(at, end == text.npos ? end : end - at);
        const std::size_t begin = part.find_first_not_of(" \t");
        if (begin != part.npos) {
            const bool goes_on = begin != 0 && part[begin] >= 'a' && part[begin] <= 'z';
            line.append(line.empty() ? "" : goes_on ? " " : "; ").append(part.substr(begin));
        }
        at += part.size() + 1;
    }
    return line;
}

/// The connection broke, or libpq itself failed. libpq's sentences show no secret.
[[nodiscard]] STRATA_COLD inline error make_connection_error(PGconn* c, errc code, phase at, effect did) {
    std::string text = c != nullptr ? one_line(::PQerrorMessage(c)) : "no memory for a connection";
    if (text.empty()) text = "the connection to the server is gone";
    return error{code, std::move(text), at, did}.set(health::lost);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a server says unasked, handed to the user's functions: notices, and changes of the settings that it reports.
#ifndef STRATA_DRIVER_POSTGRES_HOOKS_HPP
#define STRATA_DRIVER_POSTGRES_HOOKS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The hooks of one connection, which it must not leave: libpq keeps its address. Used by one thread at a time.
class postgres_hooks {
public:
    postgres_hooks() noexcept = default;
    postgres_hooks(const postgres_hooks&) = delete;
    postgres_hooks& operator=(const postgres_hooks&) = delete;

    /// From now on notices go to the hook, or nowhere: libpq's own receiver would write to the standard error.
    void hear(PGconn* c, const postgres_options& o) noexcept {
        on_notice_ = o.on_notice;
        on_parameter_ = o.on_parameter;
        context_ = o.context;
        ::PQsetNoticeReceiver(c, [](void* self, const PGresult* r) { static_cast<postgres_hooks*>(self)->tell(r); }, this);
    }
    /// The settings that are watched, as they are now.
    void know(const PGconn* c, const postgres_options& o) {
        watched_.clear();
        if (on_parameter_ == nullptr) return;
        for (const std::string& name : o.watched_parameters) watched_.emplace_back(name, value_of(c, name));
    }
    /// Tells which of them have changed. Sends nothing: the server has reported them by itself.
    STRATA_INLINE void look(const PGconn* c) {
        if (!watched_.empty()) [[unlikely]]
            compare(c);
    }
    /// The connection goes back to whoever opened it.
    static void leave(PGconn* c) noexcept {
        ::PQsetNoticeReceiver(c, [](void*, const PGresult*) {}, nullptr);
    }

private:
    STRATA_COLD void compare(const PGconn* c) {
        for (auto& [name, value] : watched_) {
            const std::string_view now = value_of(c, name);
            if (now == value) continue;
            value = now;
            on_parameter_(context_, postgres_parameter{name, value});
        }
    }
    void tell(const PGresult* r) noexcept {
        if (on_notice_ == nullptr) return;
        on_notice_(context_,
                   {field_of(r, PG_DIAG_SEVERITY_NONLOCALIZED), field_of(r, PG_DIAG_SQLSTATE), field_of(r, PG_DIAG_MESSAGE_PRIMARY),
                    field_of(r, PG_DIAG_MESSAGE_DETAIL), field_of(r, PG_DIAG_MESSAGE_HINT)});
    }
    [[nodiscard]] static std::string_view value_of(const PGconn* c, const std::string& name) noexcept {
        const char* const value = ::PQparameterStatus(c, name.c_str());
        return value != nullptr ? std::string_view{value} : std::string_view{};
    }

    void (*on_notice_)(void*, const postgres_notice&) noexcept = nullptr;
    void (*on_parameter_)(void*, const postgres_parameter&) noexcept = nullptr;
    void* context_ = nullptr;
    std::vector<std::pair<std::string, std::string>> watched_;  // name and value
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One PostgreSQL connection over libpq: how it is opened, how it waits, and how a call on it is cancelled.
//
// A statement waits for its result in `wait_for_result()`, where the thread may block, or answers `signal::io` after
// `look_for_result()`, where the drive waits. Both look at the guard: at a deadline or a cancel the statement is cancelled on
// the server, and the connection is used again only behind a fence, so that a late cancel cannot hit the next statement.
#ifndef STRATA_DRIVER_POSTGRES_CONNECTION_HPP
#define STRATA_DRIVER_POSTGRES_CONNECTION_HPP

namespace strata::inline STRATA_ABI {

namespace detail {
class postgres_run;
class postgres_flight;
class postgres_copy;
}

/// A connection to a PostgreSQL server. It belongs to one thread at a time (a lease).
class postgres_connection {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;
    /// Several statements in one flight; see pipeline.hpp.
    template <class... Items>
    class pipeline;

    postgres_connection() noexcept = default;
    postgres_connection(const postgres_connection&) = delete;
    postgres_connection& operator=(const postgres_connection&) = delete;
    ~postgres_connection() { close(); }

    /// Connects; blocks up to `connect_timeout`, or until `i`, which becomes the guard, ends it. Errors: `invalid_argument`,
    /// `access_denied` (options), `cannot_connect`, `timeout`, `cancelled`.
    [[nodiscard]] error open(const postgres_options& o, int role = 0, const interruption* i = nullptr);

    /// Works on a connection that the user opened, which must be idle; it is closed only if `close_it`. It is switched to non-blocking.
    [[nodiscard]] error adopt(PGconn* handle, const postgres_options& o = {}, bool close_it = false);

    void close() noexcept {
        guard_ = nullptr;
        statements_.clear();
        watch_.clear();  // before libpq closes the descriptor
        if (db_ != nullptr) owned_ ? ::PQfinish(db_) : hooks_.leave(db_);
        db_ = nullptr;
        lost_ = busy_ = waiting_ = false;
    }

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }
    /// libpq's handle, null when closed. Leave it idle, in the state in which you found it.
    [[nodiscard]] PGconn* native_handle() const noexcept { return db_; }
    [[nodiscard]] bool is_lost() const noexcept { return lost_ || db_ == nullptr || ::PQstatus(db_) != CONNECTION_OK; }

    /// True between BEGIN and COMMIT or ROLLBACK, also when the transaction has failed, and while a result is still under way.
    [[nodiscard]] bool in_transaction() const noexcept {
        if (db_ == nullptr) return false;
        const PGTransactionStatusType s = ::PQtransactionStatus(db_);
        return s == PQTRANS_INTRANS || s == PQTRANS_INERROR || s == PQTRANS_ACTIVE;
    }

    /// From now on every call ends early when `i` says so; see `sqlite_connection::guard`.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    // For the engine; see `yielding_connection`.
    void may_yield(bool yes) noexcept { yields_ = yes; }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }
    [[nodiscard]] watch_place& watch() noexcept { return watch_; }
    /// Whoever waits on it looks at its guard again. From any thread.
    void interrupt() noexcept { watch_.nudge(); }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, by the simple protocol; rows are dropped.
    [[nodiscard]] error control(std::string_view sql);

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off.
    [[nodiscard]] health tidy() noexcept {
        guard_ = nullptr;
        if (is_lost() || busy_) return health::lost;
        if (!in_transaction()) return health::good;
        try {
            const error e = control("rollback");
            return e || in_transaction() ? health::lost : health::good;
        } catch (...) {  // no memory
            return health::lost;
        }
    }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t prepared() const noexcept { return statements_.size(); }

private:
    friend class detail::postgres_run;
    friend class detail::postgres_flight;
    friend class detail::postgres_copy;

    /// What `wait` found.
    enum class waited : std::uint8_t { ready, lost, out_of_time, not_yet };

    void install(const postgres_options& o, bool owned);
    /// Blocks until the descriptor is ready for what is asked, looking at the flag of the guard meanwhile.
    [[nodiscard]] bool poll_until(bool read, bool write, time_point until) noexcept;
    /// Sends what is left and waits until a result can be taken without blocking.
    [[nodiscard]] waited wait_for_result();
    /// The same where the drive waits: `not_yet` with `awaited_` set.
    [[nodiscard]] waited look_for_result();
    /// The next result; null at the end of a statement. `lost_` says when there will be none.
    [[nodiscard]] detail::result_owner next_result();
    void drain() noexcept {
        while (next_result() != nullptr) {
        }
    }
    /// Cancels when the guard says so, and again while the statement goes on, since the server ignores a cancel that it gets before
    /// the statement; false when there is nothing left to wait for.
    [[nodiscard]] bool look_at_guard() noexcept;
    void begin_to_cancel(errc why) noexcept;
    /// When `look_at_guard` must be asked again.
    [[nodiscard]] time_point look_again_at() const noexcept {
        if (ended_by_ != errc::ok) return cancel_again_at_ < give_up_at_ ? cancel_again_at_ : give_up_at_;
        return guard_ != nullptr ? guard_->deadline : give_up_at_;
    }
    /// After a cancel, and blocking: waits until the cancel's own connection has ended, since the server signals twice, to process
    /// and to group, and the second signal may come long after the first; and if the statement was not hit, lets a late
    /// signal hit an empty one.
    void raise_fence(bool was_hit) noexcept;
    /// Before each statement. `limit` bounds it where no guard does.
    void start_the_clock(duration limit = duration::max()) noexcept {
        ended_by_ = errc::ok;
        give_up_at_ = guard_ == nullptr && limit != duration::max() ? add_saturated(clock::now(), limit) : never;
    }
    [[nodiscard]] error lost_error(phase at, effect did);
    [[nodiscard]] error run_simple(const std::string& sql, phase at, std::string* tag = nullptr);

    PGconn* db_ = nullptr;
    const interruption* guard_ = nullptr;
    detail::prepared_statements statements_;
    postgres_writer writer_;
    detail::reading_memory reading_;
    detail::postgres_hooks hooks_;
    std::vector<std::pair<std::size_t, std::string_view>> wanted_types_;  // of the parameters of the statement under way
    std::vector<::Oid> parameter_types_;                                  // the same, by number; empty where none was said
    duration cancel_grace_{};
    duration finish_limit_{};
    time_point give_up_at_ = never;
    time_point cancel_again_at_ = never;
    duration cancel_pause_{};
    errc ended_by_ = errc::ok;  // set when a call is being cancelled, cleared when one begins
    bool prepares_ = true;
    bool owned_ = false;
    bool lost_ = false;
    bool yields_ = false;   // the drive waits for the descriptor
    bool waiting_ = false;  // it was told to
    io_wait awaited_;
    watch_place watch_;
    detail::postgres_cancels cancels_;
    bool busy_ = false;  // a stream stands on the connection
};

STRATA_COLD inline void postgres_connection::install(const postgres_options& o, bool owned) {
    owned_ = owned;
    lost_ = busy_ = false;
    prepares_ = o.prepare;
    cancel_grace_ = o.cancel_grace;
    finish_limit_ = o.finish_limit;
    cancels_.forget();
    statements_.reset(o.statement_cache);
    reading_.types.clear();
    ::PQsetnonblocking(db_, 1);
    hooks_.hear(db_, o);
    hooks_.know(db_, o);
}

STRATA_COLD inline error postgres_connection::open(const postgres_options& o, int, const interruption* i) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (error e = o.validate()) return e;
    guard_ = i;
    detail::postgres_target target;
    if (error e = target.read(o)) return e;
    std::vector<const char*> keywords, values;
    target.lists(keywords, values);
    keywords.insert(keywords.end() - 1, "client_encoding");
    values.insert(values.end() - 1, "UTF8");
    time_point until = add_saturated(clock::now(), o.connect_timeout);
    if (guard_ != nullptr && guard_->deadline < until) until = guard_->deadline;
    db_ = ::PQconnectStartParams(keywords.data(), values.data(), 0);
    if (db_ != nullptr) hooks_.hear(db_, o);
    error e;
    for (PostgresPollingStatusType s = PGRES_POLLING_WRITING; !e;) {
        if (db_ == nullptr || ::PQstatus(db_) == CONNECTION_BAD || s == PGRES_POLLING_FAILED) {
            e = detail::make_connection_error(db_, errc::cannot_connect, phase::connect, effect::none);
        } else if (s == PGRES_POLLING_OK) {
            install(o, true);
            return {};
        } else if (!poll_until(s == PGRES_POLLING_READING, s == PGRES_POLLING_WRITING, until)) {
            const bool cancelled = guard_ != nullptr && guard_->is_cancelled();
            e = error{cancelled ? errc::cancelled : errc::timeout, cancelled ? "cancelled while connecting" : "connecting took too long",
                      phase::connect};
        } else {
            s = ::PQconnectPoll(db_);
        }
    }
    const interruption* const guard = guard_;
    owned_ = true;
    close();
    guard_ = guard;
    const std::string_view host = target.value("host");
    const std::string_view database = target.value("dbname");
    error_texts& t = e.edit_texts();
    if (!host.empty() || !database.empty()) t.detail = detail::joined({"host \"", host, "\", database \"", database, "\""});
    return e;
}

STRATA_COLD inline error postgres_connection::adopt(PGconn* handle, const postgres_options& o, bool close_it) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (handle == nullptr || ::PQstatus(handle) != CONNECTION_OK || ::PQtransactionStatus(handle) == PQTRANS_ACTIVE)
        return error{errc::invalid_argument, "the adopted handle is null, not connected or not idle", phase::connect};
    db_ = handle;
    install(o, close_it);
    return {};
}

inline bool postgres_connection::poll_until(bool read, bool write, time_point until) noexcept {
    constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
    for (;;) {
        const duration left = time_left(until, slice);
        if (left <= duration::zero() || (guard_ != nullptr && guard_->is_cancelled() && ended_by_ == errc::ok)) return false;
        ::pollfd p{::PQsocket(db_), static_cast<short>((read ? POLLIN : 0) | (write ? POLLOUT : 0)), 0};
        const int n = ::poll(&p, 1, static_cast<int>((left + std::chrono::milliseconds{1} - duration{1}) / std::chrono::milliseconds{1}));
        if (n > 0) return true;
        if (n < 0 && errno != EINTR) return true;  // libpq will say what is wrong
    }
}

inline postgres_connection::waited postgres_connection::wait_for_result() {
    bool unsent = ::PQflush(db_) > 0;
    while (unsent || ::PQisBusy(db_) != 0) {
        if (!poll_until(true, unsent, look_again_at())) {
            if (!look_at_guard()) return waited::out_of_time;
            continue;
        }
        if (::PQconsumeInput(db_) == 0) return waited::lost;
        if (unsent) {
            const int left = ::PQflush(db_);
            if (left < 0) return waited::lost;
            unsent = left > 0;
        }
    }
    return waited::ready;
}

inline postgres_connection::waited postgres_connection::look_for_result() {
    if (std::exchange(waiting_, false) && ::PQconsumeInput(db_) == 0) return waited::lost;
    const int unsent = ::PQflush(db_);
    if (unsent < 0) return waited::lost;
    if (unsent == 0 && ::PQisBusy(db_) == 0) return waited::ready;
    if (!look_at_guard()) return waited::out_of_time;
    awaited_ = {::PQsocket(db_), unsent > 0, look_again_at()};
    waiting_ = true;
    return waited::not_yet;
}

inline detail::result_owner postgres_connection::next_result() {
    if (lost_) return nullptr;
    if (wait_for_result() != waited::ready) {
        lost_ = true;
        return nullptr;
    }
    detail::result_owner r{::PQgetResult(db_)};
    if (::PQstatus(db_) != CONNECTION_OK) lost_ = true;
    return r;
}

inline bool postgres_connection::look_at_guard() noexcept {
    if (ended_by_ != errc::ok) {
        const time_point now = clock::now();
        if (now >= give_up_at_) return false;
        if (now < cancel_again_at_) return true;
        cancels_.send(db_, give_up_at_);
        cancel_pause_ *= 2;
        cancel_again_at_ = add_saturated(now, cancel_pause_);
    } else if (guard_ == nullptr) {
        if (give_up_at_ == never || clock::now() < give_up_at_) return true;
        ended_by_ = errc::timeout;
        return false;
    } else if (guard_->is_cancelled()) {
        begin_to_cancel(errc::cancelled);
    } else if (time_left(guard_->deadline, std::chrono::milliseconds{1}) <= duration::zero()) {
        begin_to_cancel(errc::timeout);
    }
    return true;
}

STRATA_COLD inline void postgres_connection::begin_to_cancel(errc why) noexcept {
    ended_by_ = why;
    const time_point now = clock::now();
    give_up_at_ = add_saturated(now, cancel_grace_);
    cancel_pause_ = cancel_grace_ / 64;
    cancel_again_at_ = add_saturated(now, cancel_pause_);
    cancels_.send(db_, give_up_at_);
}

STRATA_COLD inline void postgres_connection::raise_fence(bool was_hit) noexcept {
    give_up_at_ = add_saturated(clock::now(), cancel_grace_);
    cancel_again_at_ = never;
    for (; !lost_ && !cancels_.have_ended(); std::this_thread::sleep_for(std::chrono::microseconds{200}))
        lost_ = clock::now() >= give_up_at_;
    if (lost_ || was_hit) return;
    // The cancel may still be on its way: whatever it hits now is empty.
    if (::PQsendQuery(db_, "") == 0) lost_ = true;
    drain();
}

STRATA_COLD inline error postgres_connection::lost_error(phase at, effect did) {
    if (ended_by_ != errc::ok) {
        error e{ended_by_, "the server did not answer in time; the connection was given up", at, did};
        return e.set(health::lost);
    }
    return detail::make_connection_error(db_, errc::connection_lost, at, did);
}

/// Simple protocol, all results dropped but the last error.
inline error postgres_connection::run_simple(const std::string& sql, phase at, std::string* tag) {
    yields_ = false;
    start_the_clock(finish_limit_);
    const bool in_tx = in_transaction();
    if (::PQsendQuery(db_, sql.c_str()) == 0) {
        lost_ = true;
        return lost_error(at, in_tx ? effect::rolled_back : effect::none);
    }
    error e;
    bool was_hit = false;
    while (const detail::result_owner r = next_result()) {
        const ExecStatusType s = ::PQresultStatus(r.get());
        if (s == PGRES_FATAL_ERROR && !lost_) {
            e = detail::make_postgres_error(r.get(), at, {}, sql);
            was_hit = e.code() == errc::cancelled && ended_by_ != errc::ok;
            if (was_hit) e.set(ended_by_);
        } else if (tag != nullptr) {
            *tag = ::PQcmdStatus(r.get());
        }
    }
    if (ended_by_ != errc::ok && !lost_) raise_fence(was_hit);
    if (lost_ && !e) e = lost_error(at, in_tx ? effect::rolled_back : effect::unknown);
    if (lost_) e.set(health::lost);
    hooks_.look(db_);
    return e;
}

inline error postgres_connection::control(std::string_view sql) {
    if (is_lost()) return lost_error(phase::execute, effect::rolled_back);
    if (busy_) return error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
    const std::string text{sql};
    const bool commit = sql == "commit";
    const phase at = commit ? phase::commit : phase::execute;
    std::string tag;
    error e = run_simple(text, at, &tag);
    if (!commit) {
        if (e.effect() == effect::unknown) e.set(effect::none);  // a transaction that hardly began, or was to be rolled back
        return e;
    }
    // PostgreSQL answers COMMIT in a failed transaction with the tag ROLLBACK and no error.
    if (!e && tag == "ROLLBACK")
        return error{errc::transaction_aborted, "a statement of the transaction had failed, so COMMIT rolled it back", at,
                     effect::rolled_back};
    if (e && lost_)
        e.set(errc::outcome_unknown).set(effect::unknown);
    else if (e)
        e.set(effect::rolled_back);
    return e;
}

}  // namespace strata::inline STRATA_ABI

#endif

// The part of a query that needs no templates: found prepared or prepared, sent, its results taken one by one, its end told.
#ifndef STRATA_DRIVER_POSTGRES_RUN_HPP
#define STRATA_DRIVER_POSTGRES_RUN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// True for a sink that takes rows one by one and may pause: it gets them as they arrive, not when all are here.
template <class Sink>
inline constexpr bool wants_rows_one_by_one = requires { requires Sink::one_by_one; };

/// The part of a query that needs no templates.
class postgres_run {
public:
    postgres_run(const postgres_run&) = delete;
    postgres_run& operator=(const postgres_run&) = delete;

    [[nodiscard]] error& failure() noexcept { return error_; }
    /// Rows that were inserted, updated, deleted or copied; of a select, 0.
    [[nodiscard]] std::int64_t affected() const noexcept { return affected_; }
    /// Always 0: PostgreSQL has no such thing; use `returning`.
    [[nodiscard]] std::int64_t last_id() const noexcept { return 0; }

protected:
    explicit postgres_run(postgres_connection& c) noexcept : connection_(c) {}
    /// Destroyed midway: the rest of the result is not read row by row; the statement is cancelled.
    ~postgres_run() {
        if (under_way_) [[unlikely]]
            abandon();
    }

    void begin(const descriptor& what, bool literal) noexcept {
        what_ = &what;
        literal_ = literal;
        key_ = literal ? what.hash : key_of_composed(what.hash);
        typed_ = false;
    }
    /// Parameter `index` has a type that the server need not infer: another statement for the server.
    void want_type(std::size_t index, std::string_view type) {
        if (!std::exchange(typed_, true)) connection_.wanted_types_.clear();
        connection_.wanted_types_.emplace_back(index, type);
        const hash128 h = hash_text(type);
        key_.high = finish_mix(key_.high ^ (h.high + index));
        key_.low = finish_mix(key_.low ^ (h.low + index));
    }
    /// Finds or prepares the statement; false with the error set when that fails.
    [[nodiscard]] bool take() {
        const descriptor& what = *what_;
        connection_.start_the_clock();
        connection_.waiting_ = false;
        if (connection_.is_lost()) return error_ = connection_.lost_error(phase::execute, effect::none), false;
        if (connection_.busy_) {
            error_ = error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
            return false;
        }
        was_in_transaction_ = connection_.in_transaction();
        if (!what.fits(dialect::postgres)) {
            error_ = error{errc::invalid_statement, "the text does not follow PostgreSQL's lexical rules", phase::prepare};
            error_.edit_texts().statement = what.text;
            return false;
        }
        if (!connection_.prepares_) return find_types();
        if (entry_ == nullptr) entry_ = connection_.statements_.take(key_, what.postgres_text, literal_);
        if (entry_ != nullptr) return true;
        const bool yields = std::exchange(connection_.yields_, false);
        const bool prepared = prepare();
        connection_.yields_ = yields;
        return prepared;
    }

    void begin_parameters() { connection_.writer_.reset(types(), entry_ != nullptr, connection_.reading_.types); }
    [[nodiscard]] postgres_writer& writer() noexcept { return connection_.writer_; }
    [[nodiscard]] reading_memory& reading() noexcept { return connection_.reading_; }

    /// Sends the bound statement.
    [[nodiscard]] bool send(bool one_by_one) {
        postgres_writer& w = connection_.writer_;
        w.finish();
        PGconn* const db = connection_.db_;
        const int n = w.written();
        const int sent = entry_ != nullptr ? ::PQsendQueryPrepared(db, entry_->name, n, w.values(), w.lengths(), w.formats(), 1)
                                           : ::PQsendQueryParams(db, std::string{what_->postgres_text}.c_str(), n, parameter_types(),
                                                                 w.values(), w.lengths(), w.formats(), 1);
        if (sent == 0) {
            connection_.lost_ = connection_.is_lost();
            error_ = connection_.lost_error(phase::execute, effect::none);
            if (!connection_.lost_) error_.set(errc::invalid_statement).set(health::good);
            return false;
        }
        if (one_by_one) ::PQsetSingleRowMode(db);
        under_way_ = connection_.busy_ = true;
        return true;
    }

    /// `io`, or done with the next result in `result_`, which is null at the end of the statement or of the connection.
    [[nodiscard]] signal next() {
        row_ = 0;
        if (!connection_.yields_) {
            result_ = connection_.next_result();
            return signal::done;
        }
        if (connection_.lost_) return signal::done;
        switch (connection_.look_for_result()) {
            case postgres_connection::waited::not_yet:
                return signal::io;
            case postgres_connection::waited::ready:
                result_.reset(::PQgetResult(connection_.db_));
                break;
            default:
                connection_.lost_ = true;
                break;
        }
        if (::PQstatus(connection_.db_) != CONNECTION_OK) connection_.lost_ = true;
        return signal::done;
    }
    /// Where the thread may not block, the statement is first prepared on one that may.
    [[nodiscard]] bool must_move() {
        if (!connection_.yields_ || moved_) return false;
        if (!connection_.prepares_) return moved_ = typed_;
        entry_ = connection_.statements_.take(key_, what_->postgres_text, literal_);
        return moved_ = entry_ == nullptr;
    }

    [[nodiscard]] bool can_be_described() {
        if (connection_.prepares_) return true;
        error_ =
            error{errc::unsupported, "without prepared statements (postgres_options.prepare) the server describes none", phase::prepare};
        return false;
    }

    /// Keeps what a finished command left, or its error.
    void keep_outcome() {
        const ExecStatusType s = ::PQresultStatus(result_.get());
        if (s == PGRES_COMMAND_OK || s == PGRES_TUPLES_OK) {
            const std::string_view tag = ::PQcmdStatus(result_.get());
            if (!tag.empty() && tag[0] != 'S' && tag[0] != 'F') {  // what SELECT, SHOW and FETCH count was not changed
                affected_ += std::strtoll(::PQcmdTuples(result_.get()), nullptr, 10);
                wrote_ = wrote_ || affected_ != 0;
            }
        } else if (s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE) {
            failed_on_server_ = true;
            error server = make_postgres_error(result_.get(), phase::execute, what_->text, what_->postgres_text);
            was_hit_ = server.code() == errc::cancelled && connection_.ended_by_ != errc::ok;
            if (was_hit_) server.set(connection_.ended_by_);
            if (!error_) error_ = std::move(server);
        } else if (s == PGRES_COPY_IN || s == PGRES_COPY_OUT || s == PGRES_COPY_BOTH) {
            error_ = error{errc::unsupported, "COPY cannot be run as a statement", phase::execute}.set(health::lost);
            connection_.lost_ = true;
        }
    }

    /// All results are read: what came of it.
    [[nodiscard]] signal end() {
        if (connection_.ended_by_ != errc::ok && !connection_.lost_) {
            const bool waits = !was_hit_ || !connection_.cancels_.have_ended();
            if (waits && connection_.yields_ && !std::exchange(fencing_, true)) return signal::work;
            const bool yields = std::exchange(connection_.yields_, false);
            connection_.raise_fence(was_hit_);
            connection_.yields_ = yields;
        }
        under_way_ = connection_.busy_ = false;
        connection_.hooks_.look(connection_.db_);
        if (connection_.lost_) {
            if (!failed_on_server_)
                error_ = connection_.lost_error(phase::execute, was_in_transaction_ ? effect::rolled_back : effect::unknown);
            error_.set(health::lost);
        }
        if (!error_) return signal::done;
        if (!failed_on_server_ && !connection_.lost_) error_.set(phase::result).set(wrote_ ? effect::applied : effect::none);
        if (error_.has_texts() && error_.texts().statement.empty()) error_.edit_texts().statement = what_->text;
        return signal::failed;
    }

    /// A stale statement of the server's: forgotten, so that the next try prepares it anew. True when that may happen at once.
    [[nodiscard]] STRATA_COLD bool is_stale() {
        if (entry_ == nullptr || renewed_ || was_in_transaction_ || !failed_on_server_ || connection_.lost_) return false;
        const std::string& code = error_.texts().native_code;
        const bool stale = code == "26000" || (code == "0A000" && error_.message().find("cached plan") != std::string::npos);
        if (!stale) return false;
        renewed_ = true;
        connection_.statements_.forget(entry_->key);
        entry_ = nullptr;
        error_ = {};
        failed_on_server_ = was_hit_ = moved_ = false;
        under_way_ = connection_.busy_ = false;
        return true;
    }

    [[nodiscard]] signal argument_refused(int number, errc why, std::string_view type) {
        const std::size_t at = static_cast<std::size_t>(number - 1);
        error_ = argument_error(why, at + 1, what_->parameter(at), type);
        error_texts& t = error_.edit_texts();
        if (at < types().size() && !reading().types.name(types()[at]).empty())
            t.detail = joined({"the server wants ", reading().types.name(types()[at])});
        t.statement = what_->text;
        return signal::failed;
    }

    /// Nobody wants the rest: the server is told, and what has already been sent is dropped.
    void abandon() noexcept {
        under_way_ = false;
        if (connection_.yields_) {  // this thread may not wait for the rest: the connection is given up
            connection_.lost_ = true;
            return;
        }
        try {
            const bool more = result_ == nullptr || ::PQresultStatus(result_.get()) == PGRES_SINGLE_TUPLE;
            if (more && connection_.ended_by_ == errc::ok && !connection_.lost_) connection_.begin_to_cancel(errc::cancelled);
            bool was_hit = false;
            for (;;) {
                const result_owner r = connection_.next_result();
                if (r == nullptr) break;
                was_hit = was_hit || field_of(r.get(), PG_DIAG_SQLSTATE) == "57014";
            }
            if (connection_.ended_by_ != errc::ok) connection_.raise_fence(was_hit);
        } catch (...) {  // no memory
            connection_.lost_ = true;
        }
        connection_.busy_ = false;
    }

    postgres_connection& connection_;
    const descriptor* what_ = nullptr;
    hash128 key_;
    prepared_statement* entry_ = nullptr;  // null where nothing is prepared
    result_owner result_;
    int row_ = 0;
    error error_;
    std::int64_t affected_ = 0;
    bool under_way_ = false;
    bool was_in_transaction_ = false;
    bool failed_on_server_ = false;
    bool was_hit_ = false;  // by our own cancel
    bool wrote_ = false;
    bool renewed_ = false;
    bool literal_ = false;
    bool typed_ = false;    // an argument says its type
    bool fencing_ = false;  // the result is complete; a thread that may block waits for the cancel's end
    bool moved_ = false;    // to a thread that may block

private:
    [[nodiscard]] std::span<const ::Oid> types() const noexcept {
        return entry_ != nullptr ? std::span<const ::Oid>{entry_->parameters} : std::span<const ::Oid>{};
    }
    [[nodiscard]] bool prepare();
    [[nodiscard]] bool answer_of(int sent, result_owner& last);
    [[nodiscard]] bool learn_types(const PGresult* description);
    [[nodiscard]] bool find_types();
    [[nodiscard]] bool ask_types();
    /// For libpq: null where the server is to infer them all.
    [[nodiscard]] const ::Oid* parameter_types() const noexcept { return typed_ ? connection_.parameter_types_.data() : nullptr; }
};

/// Waits for the answer to `prepare` or `describe`.
STRATA_COLD inline bool postgres_run::answer_of(int sent, result_owner& last) {
    if (sent == 0) connection_.lost_ = true;
    bool was_hit = false;
    while (result_owner r = connection_.next_result()) {
        if (::PQresultStatus(r.get()) == PGRES_FATAL_ERROR) {
            error_ = make_postgres_error(r.get(), phase::prepare, what_->text, what_->postgres_text);
            was_hit = error_.code() == errc::cancelled && connection_.ended_by_ != errc::ok;
            if (was_hit) error_.set(connection_.ended_by_);
        }
        last = std::move(r);
    }
    if (connection_.ended_by_ != errc::ok && !connection_.lost_) {
        connection_.raise_fence(was_hit);
        if (!error_) error_ = error{connection_.ended_by_, phase::prepare};
    }
    if (connection_.lost_ && !error_)
        error_ = connection_.lost_error(phase::prepare, was_in_transaction_ ? effect::rolled_back : effect::none);
    if (connection_.lost_) error_.set(health::lost);
    return !error_;
}

/// Looks up those types of columns and parameters that the database defines and the connection has not met.
STRATA_COLD inline bool postgres_run::learn_types(const PGresult* description) {
    type_catalogue& types = connection_.reading_.types;
    std::string unknown;
    const int columns = ::PQnfields(description);
    for (int i = 0, n = columns + ::PQnparams(description); i < n; ++i) {
        const ::Oid type = i < columns ? ::PQftype(description, i) : ::PQparamtype(description, i - columns);
        if (!types.knows(type)) unknown.append(unknown.empty() ? "{" : ",").append(std::to_string(type));
    }
    if (unknown.empty()) return true;
    unknown += '}';
    const char* const values[] = {unknown.c_str()};
    result_owner answer;
    const std::string question = type_catalogue::question(::PQserverVersion(connection_.db_));
    if (!answer_of(::PQsendQueryParams(connection_.db_, question.c_str(), 1, nullptr, values, nullptr, nullptr, 0), answer)) return false;
    types.learn(answer.get());
    return true;
}

/// The numbers of the types that arguments say. They are asked for each time: a type may be made anew under its name.
STRATA_COLD inline bool postgres_run::ask_types() {
    const auto& wanted = connection_.wanted_types_;
    std::string question = "select";
    std::vector<std::string> names;
    std::vector<const char*> values;
    for (const auto& [index, type] : wanted) {
        names.emplace_back(type);
        question += joined({names.size() == 1 ? " $" : ", $", digits_of(names.size())});
        question += "::pg_catalog.text::pg_catalog.regtype::pg_catalog.oid";
    }
    for (const std::string& name : names) values.push_back(name.c_str());
    result_owner answer;
    const int count = static_cast<int>(values.size());
    if (!answer_of(::PQsendQueryParams(connection_.db_, question.c_str(), count, nullptr, values.data(), nullptr, nullptr, 0), answer))
        return false;
    connection_.parameter_types_.assign(what_->parameters, 0);
    for (int i = 0; i < count; ++i) {
        ::Oid& type = connection_.parameter_types_[wanted[static_cast<std::size_t>(i)].first];
        type = static_cast<::Oid>(std::strtoul(::PQgetvalue(answer.get(), 0, i), nullptr, 10));
    }
    return true;
}

inline bool postgres_run::find_types() {
    if (!typed_) [[likely]]
        return true;
    const bool yields = std::exchange(connection_.yields_, false);
    const bool found = ask_types();
    connection_.yields_ = yields;
    return found;
}

STRATA_COLD inline bool postgres_run::prepare() {
    if (what_->statements > 1) {
        error_ = error{errc::invalid_statement, "PostgreSQL takes one statement at a time", phase::prepare};
        error_.edit_texts().statement = what_->text;
        error_.edit_texts().hint = "run them one by one, in a transaction if they belong together";
        return false;
    }
    PGconn* const db = connection_.db_;
    if (!find_types()) return false;
    const int typed = typed_ ? static_cast<int>(connection_.parameter_types_.size()) : 0;
    if (const std::string old = connection_.statements_.evict(); !old.empty()) {
        if (error e = connection_.run_simple(joined({"deallocate \"", old, "\""}), phase::prepare)) {
            error_ = std::move(e);
            return false;
        }
    }
    char name[40] = "strata_";
    char* at = name + 7;
    for (const std::uint64_t half : {key_.high, key_.low})
        for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[half >> shift & 15];
    *at = '\0';
    // A statement of this name is there if another text fell to the same hash, or after a renewal.
    const std::string text{what_->postgres_text};
    result_owner answer;
    if (!answer_of(::PQsendPrepare(db, name, text.c_str(), typed, parameter_types()), answer)) {
        if (error_.texts().native_code != "42P05" || was_in_transaction_) return false;
        error_ = {};
        if (error e = connection_.run_simple(joined({"deallocate \"", name, "\""}), phase::prepare)) return error_ = std::move(e), false;
        if (!answer_of(::PQsendPrepare(db, name, text.c_str(), typed, parameter_types()), answer)) return false;
    }
    result_owner description;
    if (!answer_of(::PQsendDescribePrepared(db, name), description)) return false;
    if (!learn_types(description.get())) return false;
    prepared_statement& s = connection_.statements_.put(key_, text);
    std::copy(name, at + 1, s.name);
    const int count = ::PQnparams(description.get());
    for (int i = 0; i < count; ++i) s.parameters.push_back(::PQparamtype(description.get(), i));
    s.columns = std::move(description);
    entry_ = &s;
    if (count != what_->parameters) {
        error_ =
            error{errc::invalid_statement,
                  joined({"the server counts ", digits_of(count), " parameters where ", digits_of(int{what_->parameters}), " are bound"}),
                  phase::prepare};
        return false;
    }
    return true;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Several statements in one flight through libpq's pipeline mode: sent ahead, answered in order.
//
// Outside of a transaction each statement stands for itself, behind a Sync of its own, so that none can roll another back. Reads
// that call nothing but pure functions have nothing to roll back and share one: those that the server skipped, since one before
// them failed, are sent again. Inside a transaction there is one Sync at the end, and what follows a failure is not run.
#ifndef STRATA_DRIVER_POSTGRES_FLIGHT_HPP
#define STRATA_DRIVER_POSTGRES_FLIGHT_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

class postgres_flight : public postgres_run {
public:
    postgres_flight(postgres_connection& c, std::span<postgres_flown* const> items) noexcept : postgres_run(c), items_(items) {}
    ~postgres_flight() {
        if (!std::exchange(under_way_, false)) [[likely]]
            return;
        connection_.lost_ = true;  // destroyed midway, with answers that nobody will take
        connection_.busy_ = false;
    }

    /// `io` and `work` only where the connection yields.
    [[nodiscard]] signal resume() {
        if (fencing_) return finish();
        if (!started_ && !start()) return finish();
        for (;;) {
            if (answered_ == sent_.size()) {
                land();
                const signal s = fill();
                if (s != signal::io) return s == signal::done ? finish() : s;
            }
            while (answered_ < sent_.size()) {
                if (!unflushed_ && ::PQisBusy(connection_.db_) == 0) [[likely]] {
                    result_.reset(::PQgetResult(connection_.db_));
                } else {
                    if (next() == signal::io) return signal::io;
                    unflushed_ = false;  // it waits until all is sent
                }
                take_result();
            }
        }
    }

private:
    /// A statement on its way; without an item, a Sync.
    struct spot {
        postgres_flown* item = nullptr;
        std::size_t element = 0;
    };
    enum class readiness : std::uint8_t { ready, refused, next_round, work };
    static constexpr std::size_t most_statements = 1024;    // of one round, so that neither side's memory is without a bound
    static constexpr std::size_t most_bytes = 1024 * 1024;  // of their arguments

    [[nodiscard]] bool start() {
        started_ = true;
        std::size_t number = 0;
        for (postgres_flown* const i : items_) {
            i->describe();
            i->first = number;
            number += i->count;
        }
        sent_.reserve(number < most_statements ? 2 * number + 1 : 2 * most_statements + 1);
        connection_.start_the_clock();
        connection_.waiting_ = false;
        error e;
        if (connection_.is_lost())
            e = connection_.lost_error(phase::execute, effect::none);
        else if (connection_.busy_)
            e = error{errc::misuse, "a stream of rows is still open on this connection: end it first", phase::execute};
        if (e) return fail_rest(std::move(e)), false;
        was_in_transaction_ = connection_.in_transaction();
        return true;
    }

    /// The statement that is to be sent next.
    [[nodiscard]] bool peek(spot& s) {
        if (again_at_ < again_.size()) {
            s = again_[again_at_];
            return true;
        }
        while (item_ < items_.size() && element_ == items_[item_]->count) {
            ++item_;
            element_ = 0;
        }
        if (item_ == items_.size()) return false;
        s = {items_[item_], element_};
        return true;
    }
    void advance() noexcept {
        if (again_at_ < again_.size())
            ++again_at_;
        else
            ++element_;
    }

    /// Sends a round: `io` when there are answers to wait for, `done` when nothing is left to send.
    [[nodiscard]] signal fill() {
        if (!filling_) {
            ++round_;
            distinct_ = 0;
            if (again_at_ == again_.size()) again_.clear(), again_at_ = 0;
        }
        filling_ = true;
        if (stop_now()) return signal::done;
        const bool repeating = again_at_ < again_.size();
        if (!was_in_transaction_ && !repeating && connection_.prepares_) {
            // Whatever is missing is prepared first, so that all goes in one flight.
            for (std::size_t i = item_; i < items_.size(); ++i) {
                const readiness r = items_[i]->count != 0 ? make_ready(*items_[i]) : readiness::ready;
                if (r == readiness::work) return signal::work;
                if (r == readiness::next_round || connection_.is_lost()) break;
            }
        }
        spot last;
        std::size_t bytes = 0;
        for (spot s; sent_.size() < most_statements && bytes < most_bytes && peek(s);) {
            postgres_flown& i = *s.item;
            if (i.round != round_ || i.refusal) [[unlikely]] {
                const readiness r = make_ready(i);
                if (r == readiness::work) return signal::work;
                if (r == readiness::next_round) break;
                if (r == readiness::refused) {
                    advance();
                    fail(s, i.refusal);
                    if (stop_now()) break;
                    continue;
                }
            }
            advance();
            const bool stands_alone = !i.only_reads || repeating;
            if (!was_in_transaction_ && last.item != nullptr && (stands_alone || !last.item->only_reads)) sync();
            if (!send(s)) [[unlikely]] {
                if (stop_now()) break;
                continue;
            }
            last = s;
            for (int n = 0; n < writer().written(); ++n) bytes += static_cast<std::size_t>(writer().lengths()[n]);
        }
        if (last.item != nullptr) sync();
        unflushed_ = true;
        filling_ = false;
        if (!sent_.empty()) return signal::io;
        spot left;
        return peek(left) && !stop_now() ? fill() : signal::done;
    }

    /// True when nothing more may be sent; then all that is left has ended.
    [[nodiscard]] bool stop_now() {
        const bool broken = connection_.is_lost() || connection_.ended_by_ != errc::ok;
        if (broken || stopped_) {
            if (sent_.empty())
                fail_rest(not_run(broken ? "those before it were not answered in time, or the connection broke" : "one before it failed"));
            return true;
        }
        const interruption* const g = connection_.guard_;
        if (g == nullptr || !sent_.empty() || (!g->is_cancelled() && (g->deadline == never || clock::now() < g->deadline))) return false;
        const bool cancelled = g->is_cancelled();
        fail_rest(error{cancelled ? errc::cancelled : errc::timeout,
                        cancelled ? "cancelled before it was sent" : "the deadline passed before it was sent", phase::execute});
        return true;
    }

    /// Finds or prepares the item's statement for this round.
    [[nodiscard]] readiness make_ready(postgres_flown& i) {
        if (i.round == round_) return i.refusal ? readiness::refused : readiness::ready;
        if (connection_.prepares_ && distinct_ == connection_.statements_.bound()) return readiness::next_round;
        identify(i);
        entry_ = nullptr;
        i.columns = nullptr;
        if (!i.what->fits(dialect::postgres)) {
            error_ = error{errc::invalid_statement, "the text does not follow PostgreSQL's lexical rules", phase::prepare};
        } else if (connection_.prepares_) {
            entry_ = connection_.statements_.take(key_, i.what->postgres_text, i.literal);
            if (entry_ == nullptr) {
                if (!sent_.empty()) return readiness::next_round;
                if (connection_.yields_ && !std::exchange(moved_, true)) return readiness::work;
                static_cast<void>(take());
            }
            if (!error_) plan_prepared(i);
        } else if (typed_) {
            if (!sent_.empty()) return readiness::next_round;
            if (connection_.yields_ && !std::exchange(moved_, true)) return readiness::work;
            static_cast<void>(take());
            i.types = connection_.parameter_types_;
        }
        i.round = round_;
        i.entry = entry_;
        ++distinct_;
        if (!error_) return readiness::ready;
        i.refusal = std::exchange(error_, {});
        if (i.refusal.texts().statement.empty()) i.refusal.edit_texts().statement = i.what->text;
        return readiness::refused;
    }

    /// Which statement is talked of: text and types that arguments say.
    void identify(postgres_flown& i) {
        begin(*i.what, i.literal);
        now_ = &i;
        i.each_type([this](std::size_t index, std::string_view type) { want_type(index, type); });
    }
    void plan_prepared(postgres_flown& i) {
        if (!entry_->planned) {
            error_ = i.plan(postgres_row{entry_->columns.get(), -1, reading()}, entry_->plan);
            if (error_) {
                error_.set(phase::prepare);
                return;
            }
            entry_->plan.tag = i.tag();
            entry_->planned = true;
        }
        i.columns = &entry_->plan;
        if (entry_->plan.tag == i.tag()) return;  // else another item of the flight may be reading by it
        error_ = i.plan(postgres_row{entry_->columns.get(), -1, reading()}, i.own_plan);
        error_.set(phase::prepare);
        i.columns = &i.own_plan;
    }

    [[nodiscard]] bool send(const spot& s) {
        if (now_ != s.item) {
            identify(*s.item);
            entry_ = s.item->entry;
            if (typed_ && entry_ == nullptr) connection_.parameter_types_ = s.item->types;
        }
        begin_parameters();
        const refused_argument r = s.item->bind(s.element, writer());
        if (r.number != 0) {
            static_cast<void>(argument_refused(r.number, r.why, r.type));
            return fail(s, std::exchange(error_, {})), false;
        }
        if (sent_.empty() && ::PQenterPipelineMode(connection_.db_) == 0) connection_.lost_ = true;
        if (connection_.lost_ || !postgres_run::send(false)) {
            error e = std::exchange(error_, {});
            if (!e) e = connection_.lost_error(phase::execute, effect::none);
            return fail(s, std::move(e)), false;
        }
        sent_.push_back(s);
        return true;
    }
    void sync() {
        if (::PQpipelineSync(connection_.db_) == 0) connection_.lost_ = true;
        sent_.push_back({});
    }

    void take_result() {
        const spot s = sent_[answered_];
        if (connection_.lost_ || result_ == nullptr) [[unlikely]]
            return lose();
        const ExecStatusType status = ::PQresultStatus(result_.get());
        if (status == PGRES_PIPELINE_SYNC || s.item == nullptr) {
            if ((status == PGRES_PIPELINE_SYNC) != (s.item == nullptr)) return lose();
            ++answered_;
            return result_.reset();
        }
        if (status == PGRES_PIPELINE_ABORTED) {
            skipped_ = true;
        } else {
            if (status == PGRES_TUPLES_OK) read(s);
            if (status != PGRES_TUPLES_OK || !s.item->only_reads) {
                what_ = s.item->what;
                keep_outcome();
            }
        }
        // A null ends each statement's results, and does not wait.
        result_.reset(::PQgetResult(connection_.db_));
        if (result_ != nullptr || connection_.lost_) return lose();
        ++answered_;
        if (!error_ && !skipped_ && s.item->only_reads && !s.item->wants_count) [[likely]]
            return;
        end_of_statement(s);
    }
    void read(const spot& s) {
        postgres_flown& i = *s.item;
        if (i.columns == nullptr) {  // nothing is prepared
            error_ = i.plan(postgres_row{result_.get(), -1, reading()}, i.own_plan);
            if (!error_) i.columns = &i.own_plan;
        }
        if (!error_) i.read(s.element, result_.get(), *i.columns, reading(), error_);
    }
    void end_of_statement(const spot& s) {
        error e = std::exchange(error_, {});
        const auto affected = std::exchange(affected_, 0);
        const bool on_server = std::exchange(failed_on_server_, false);
        const bool hit = std::exchange(was_hit_, false);
        const bool wrote = std::exchange(wrote_, false);
        if (std::exchange(skipped_, false)) {
            if (was_in_transaction_ || connection_.ended_by_ != errc::ok)
                fail(s, not_run("a statement before it in the flight failed"));
            else
                again_.push_back(s);
            return;
        }
        if (!s.item->only_reads && !on_server) applied_ = true;
        if (!e) return s.item->end(s.element, {}, affected);
        if (on_server && is_stale(e, s)) return again_.push_back(s);
        if (!on_server) e.set(phase::result).set(wrote ? effect::applied : effect::none);
        hit_ = hit_ || hit;
        fail(s, std::move(e));
    }
    /// A prepared statement that the server does not know any more, or whose columns have changed: prepared anew, once.
    [[nodiscard]] bool is_stale(const error& e, const spot& s) {
        postgres_flown& i = *s.item;
        const std::string& code = e.texts().native_code;
        const bool stale = code == "26000" || (code == "0A000" && e.message().find("cached plan") != std::string::npos);
        if (!stale || was_in_transaction_ || i.entry == nullptr || (i.renewed && i.round != renewed_in_)) return false;
        if (!std::exchange(i.renewed, true)) {
            renewed_in_ = round_;
            identify(i);
            connection_.statements_.forget(key_);
        }
        return true;
    }
    /// The connection broke: of what was sent and not answered nobody knows anything.
    STRATA_COLD void lose() {
        connection_.lost_ = true;
        const error e = connection_.lost_error(phase::execute, was_in_transaction_ ? effect::rolled_back : effect::unknown);
        for (; answered_ < sent_.size(); ++answered_)
            if (sent_[answered_].item != nullptr) fail(sent_[answered_], e);
    }

    void land() {
        sent_.clear();
        answered_ = 0;
        under_way_ = connection_.busy_ = false;
        if (!connection_.lost_ && ::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0)
            connection_.lost_ = true;
    }
    [[nodiscard]] static error not_run(const char* why) { return error{errc::not_run, why, phase::execute}; }

    STRATA_COLD void fail(const spot& s, error e) {
        const std::size_t number = s.item->first + s.element;
        error_texts& t = e.edit_texts();
        if (t.statement.empty()) t.statement = s.item->what->text;
        t.detail.append(t.detail.empty() ? "" : "; ").append(joined({"statement ", digits_of(number), " of the pipeline, counted from 0"}));
        if (was_in_transaction_) stopped_ = true;
        const bool skipped = e.code() == errc::not_run;
        if (!first_failure_ || (!skipped && number < first_failed_)) {
            first_failed_ = number;
            first_failure_ = e;
        }
        s.item->end(s.element, std::move(e), 0);
    }
    /// All that has not been sent: the first one ends with `why`, the others were not run.
    STRATA_COLD void fail_rest(error why) {
        for (spot s; peek(s); why = not_run("a statement before it in the flight failed")) {
            advance();
            fail(s, std::move(why));
        }
    }

    [[nodiscard]] signal finish() {
        if (connection_.ended_by_ != errc::ok && !connection_.lost_) {
            const bool waits = !hit_ || !connection_.cancels_.have_ended();
            if (waits && connection_.yields_ && !std::exchange(fencing_, true)) return signal::work;
            const bool yields = std::exchange(connection_.yields_, false);
            connection_.raise_fence(hit_);
            connection_.yields_ = yields;
        }
        under_way_ = connection_.busy_ = false;
        error_ = std::move(first_failure_);
        if (connection_.lost_ && error_) error_.set(health::lost);
        // Of the whole: others were carried out, and a second time is another time.
        if (error_ && error_.effect() == effect::none && applied_ && !was_in_transaction_) error_.set(effect::unknown);
        return error_ ? signal::failed : signal::done;
    }

    std::span<postgres_flown* const> items_;
    std::size_t item_ = 0;  // what has been sent, or has ended, of the items
    std::size_t element_ = 0;
    std::vector<spot> again_;  // skipped by the server, or stale
    std::size_t again_at_ = 0;
    std::vector<spot> sent_;  // in this round
    std::size_t answered_ = 0;
    unsigned round_ = 0;
    unsigned renewed_in_ = 0;
    std::size_t distinct_ = 0;  // statements of this round
    postgres_flown* now_ = nullptr;
    bool started_ = false;
    bool filling_ = false;
    bool skipped_ = false;
    bool stopped_ = false, applied_ = false;
    bool hit_ = false;  // by our own cancel
    bool unflushed_ = false;
    std::size_t first_failed_ = 0;
    error first_failure_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Several statements in one flight through libpq's pipeline mode. The logic is in flight.hpp; this binds and reads by types.
#ifndef STRATA_DRIVER_POSTGRES_PIPELINE_HPP
#define STRATA_DRIVER_POSTGRES_PIPELINE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// An item of the face's, as the flight sees it. An item has
///     static constexpr bool wants_count, may_have_types;
///     const descriptor& text();  bool literal();  bool only_reads();  std::size_t size();
///     void with_statement(i, f);            // f(bound) for element i
///     static const void* tag();  static error plan(meta, row_plan&);
///     void with_sink(i, f);                 // f(sink) for the answer to element i
///     void end(i, error, execution);  void restart();
template <class Item>
class postgres_flown_item final : public postgres_flown {
public:
    explicit postgres_flown_item(Item& item) noexcept : item_(item) {}

    void describe() override {
        what = &item_.text();
        literal = item_.literal();
        only_reads = item_.only_reads();
        wants_count = Item::wants_count;
        count = item_.size();
    }
    [[nodiscard]] refused_argument bind(std::size_t i, postgres_writer& out) override {
        refused_argument r;
        item_.with_statement(i, [&](const auto& statement) { r = write_arguments(statement, out); });
        return r;
    }
    void each_type(const std::function<void(std::size_t, std::string_view)>& f) const override {
        if constexpr (Item::may_have_types) {
            item_.with_statement(0, [&](const auto& statement) {
                statement.for_each_argument([&](std::size_t index, const auto& value) {
                    if (const std::string_view type = type_of_argument(value); !type.empty()) f(index, type);
                });
            });
        }
    }
    [[nodiscard]] const void* tag() const noexcept override { return Item::tag(); }
    [[nodiscard]] error plan(const postgres_row& meta, row_plan& p) override { return Item::plan(meta, p); }
    void read(std::size_t i, const PGresult* r, const row_plan& p, reading_memory& memory, error& e) override {
        item_.with_sink(i, [&](auto&& sink) {
            const int rows = ::PQntuples(r);
            for (int row = 0; row < rows; ++row)
                if (sink.row(postgres_row{r, row, memory}, p, e) != flow::more) return;
            sink.finish(e);
        });
    }
    void end(std::size_t i, error e, std::int64_t affected) override { item_.end(i, std::move(e), {.affected = affected}); }

private:
    Item& item_;
};

}  // namespace detail

/// A flight of independent statements. Call `resume()` until it says `done` or `failed`, which it is when one of them has failed:
/// `failure()` is the first one's error, each item knows its own.
template <class... Items>
class postgres_connection::pipeline {
public:
    pipeline(postgres_connection& c, std::tuple<Items...>& items) noexcept : pipeline(c, items, std::index_sequence_for<Items...>{}) {}
    pipeline(const pipeline&) = delete;
    pipeline& operator=(const pipeline&) = delete;

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() { return flight_.resume(); }
    [[nodiscard]] error& failure() noexcept { return flight_.failure(); }

private:
    template <std::size_t... I>
    pipeline(postgres_connection& c, std::tuple<Items...>& items, std::index_sequence<I...>) noexcept
        : adapters_(std::get<I>(items)...), items_{&std::get<I>(adapters_)...}, flight_(c, items_) {}

    std::tuple<detail::postgres_flown_item<Items>...> adapters_;
    std::array<detail::postgres_flown*, sizeof...(Items)> items_;
    detail::postgres_flight flight_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// What the server says of a statement that it has prepared: its columns, and the types of its parameters.
//
// Before a call, so that a test or a start can hold all of them against the C++ types that they are used with. That is stricter than a
// call, for which the server parses a text, whatever it is for.
#ifndef STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP
#define STRATA_DRIVER_POSTGRES_DESCRIPTION_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What an argument's type is beneath what holds it.
template <class T>
struct sent_as {
    using type = T;
    static constexpr bool list = false;
};
template <>
struct sent_as<c_text> : sent_as<std::string_view> {};
template <class T>
struct sent_as<std::optional<T>> : sent_as<T> {};
template <class Kept>
struct sent_as<typed<Kept>> : sent_as<std::remove_cvref_t<Kept>> {};
template <reference_like T>
struct sent_as<T> : sent_as<std::remove_cv_t<typename T::type>> {};
template <class T>
struct list_sent {
    using type = T;
    static constexpr bool list = true;
};
template <class T>
    requires(!std::is_same_v<T, std::byte>)
struct sent_as<std::vector<T>> : list_sent<T> {};
template <class T>
    requires(!std::is_same_v<std::remove_const_t<T>, std::byte>)
struct sent_as<std::span<T>> : list_sent<std::remove_const_t<T>> {};

/// True when a T can be an argument for a parameter of the type `to`: as the writer sends it, and no text for a number.
template <class T>
[[nodiscard]] bool fits_parameter(const postgres_type& to) {
    using sent = sent_as<T>;
    using value = typename sent::type;
    if constexpr (sent::list) {
        return to.is(nesting::array) && fits_parameter<value>(to.part());
    } else if constexpr (requires { codec<value>::fits(to); }) {
        return codec<value>::fits(to);
    } else {
        constexpr column_classes takes = classes_of<value>();
        const column_type found = to.type();
        const bool decimal = to.server_type() == oid::numeric;
        if constexpr (takes.has(column_type::other) || takes.has(column_type::text))
            return takes.has(found);
        else if constexpr (takes.has(column_type::boolean))
            return found == column_type::boolean;
        else if constexpr (takes.has(column_type::real))
            return found == column_type::real || decimal;
        else if constexpr (takes.has(column_type::integer))
            return found == column_type::integer || found == column_type::real || decimal || to.server_type() == oid::money;
        else
            return takes.has(found);
    }
}

}  // namespace detail

/// The columns of a prepared statement (models `row_reader`; there is no row) and its parameters, counted from 0.
class postgres_description : public postgres_row {
public:
    postgres_description(const PGresult* described, detail::reading_memory& memory) noexcept
        : postgres_row(described, -1, memory), described_(described), types_(memory.types) {}

    [[nodiscard]] int parameters() const noexcept { return ::PQnparams(described_); }
    /// As the server names it; empty for a type without a name here.
    [[nodiscard]] std::string_view parameter_type(int i) const noexcept { return types_.name(::PQparamtype(described_, i)); }
    /// Whether a T fits the parameter.
    template <class T>
    [[nodiscard]] bool takes(int i) const {
        return detail::fits_parameter<T>(postgres_type{::PQparamtype(described_, i), types_});
    }

private:
    const PGresult* described_;
    const detail::type_catalogue& types_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// One statement on its way: bound in the server's types, its rows given to a sink. All but these two is in run.hpp.
#ifndef STRATA_DRIVER_POSTGRES_QUERY_HPP
#define STRATA_DRIVER_POSTGRES_QUERY_HPP

namespace strata::inline STRATA_ABI {

/// One statement. Call `resume()` until it says `done` or `failed`, and not again after that; `item` means that the sink has paused and
/// goes on at the next call. Connection, statement, arguments and sink must outlive the query.
template <class Bound, class Sink>
class postgres_connection::query : public detail::postgres_run {
public:
    query(postgres_connection& connection, const Bound& statement, Sink& sink) noexcept
        : detail::postgres_run(connection), statement_(statement), sink_(sink) {}

    /// `io` and `work` only after `may_yield(true)`; else it blocks.
    [[nodiscard]] signal resume() {
        if (fencing_) return end();
        if (!under_way_) {
            begin(statement_.text(), Bound::facts.kind_known);
            take_types();
            if (must_move()) return signal::work;
            if (!start()) return signal::failed;
        }
        for (;;) {
            if (result_ == nullptr) {
                if (next() == signal::io) return signal::io;
                if (result_ == nullptr) break;
            }
            const ExecStatusType s = ::PQresultStatus(result_.get());
            if (s == PGRES_TUPLES_OK || s == PGRES_SINGLE_TUPLE) {
                if (!planned_ && !stopped_ && !plan_unprepared()) stopped_ = true;
                for (const int rows = ::PQntuples(result_.get()); row_ < rows && !stopped_;) {
                    const flow f = sink_.row(postgres_row{result_.get(), row_++, reading()}, plan(), error_);
                    if (f == flow::pause) return signal::item;
                    if (f == flow::stop) stopped_ = true;
                }
            }
            if (s != PGRES_SINGLE_TUPLE) keep_outcome();
            result_.reset();
        }
        if (failed_on_server_ && is_stale()) [[unlikely]]
            return resume();
        if (error_ || stopped_ || connection_lost()) return end();
        sink_.finish(error_);
        return end();
    }

    /// Has the server prepare and describe the statement, executes nothing, and hands a `postgres_description` to `use`. Blocks. False
    /// when that fails: see `failure()`.
    template <class Use>
    [[nodiscard]] bool describe(Use&& use) {
        begin(statement_.text(), Bound::facts.kind_known);
        take_types();
        if (!can_be_described() || !take()) return false;
        use(postgres_description{entry_->columns.get(), reading()});
        return true;
    }

private:
    [[nodiscard]] bool connection_lost() const noexcept { return connection_.is_lost(); }

    [[nodiscard]] bool start() {
        if (!take()) return false;
        if (entry_ != nullptr && !plan_prepared()) return false;
        return bind() && send(detail::wants_rows_one_by_one<Sink>);
    }

    /// The types that arguments say themselves.
    void take_types() {
        statement_.for_each_argument([this](std::size_t index, const auto& value) {
            if constexpr (detail::may_be_typed<std::remove_cvref_t<decltype(value)>>) {
                if (const std::string_view type = detail::type_of_argument(value); !type.empty()) want_type(index, type);
            }
        });
    }

    /// Binds the arguments; false when one is refused.
    [[nodiscard]] bool bind() {
        begin_parameters();
        const detail::refused_argument r = detail::write_arguments(statement_, writer());
        if (r.number == 0) [[likely]]
            return true;
        static_cast<void>(argument_refused(r.number, r.why, r.type));
        return false;
    }

    /// Before anything is sent: a row type that misses a column is refused without an effect.
    [[nodiscard]] bool plan_prepared() {
        planned_ = true;
        if (entry_->planned && entry_->plan.tag == sink_.tag()) return true;
        entry_->planned = false;
        error_ = sink_.plan(postgres_row{entry_->columns.get(), -1, reading()}, entry_->plan);
        if (error_) {
            error_.set(phase::prepare).edit_texts().statement = what_->text;
            return false;
        }
        entry_->plan.tag = sink_.tag();
        entry_->planned = true;
        return true;
    }
    [[nodiscard]] bool plan_unprepared() {
        planned_ = true;
        error_ = sink_.plan(postgres_row{result_.get(), -1, reading()}, own_plan_);
        return !error_;
    }
    [[nodiscard]] const row_plan& plan() const noexcept { return entry_ != nullptr ? entry_->plan : own_plan_; }

    const Bound& statement_;
    Sink& sink_;
    row_plan own_plan_;  // where nothing is prepared
    bool planned_ = false;
    bool stopped_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Statements that only differ in a number, such as `savepoint strata_3`, without an allocation.
#ifndef STRATA_SQL_CONTROL_TEXT_HPP
#define STRATA_SQL_CONTROL_TEXT_HPP

namespace strata::inline STRATA_ABI {

/// A short control statement with a number in it, by value.
class control_text {
public:
    constexpr control_text(std::string_view words, unsigned number) noexcept {
        for (const char c : words) text_[size_++] = c;
        char digits[10];
        int count = 0;
        do {
            digits[count++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (count > 0) text_[size_++] = digits[--count];
    }
    [[nodiscard]] constexpr operator std::string_view() const noexcept { return {text_, size_}; }

private:
    char text_[40]{};
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The tag that stands at the bottom of a stack: what the layers above ask a PostgreSQL driver for.
#ifndef STRATA_DRIVER_POSTGRES_DRIVER_HPP
#define STRATA_DRIVER_POSTGRES_DRIVER_HPP

namespace strata::inline STRATA_ABI {

/// How a PostgreSQL transaction is isolated, and whether it may write.
enum class postgres_locking : std::uint8_t {
    immediate,        ///< reads and writes at the server's default isolation
    deferred,         ///< only reads: a write fails with `errc::read_only`
    repeatable_read,  ///< one snapshot; a conflicting write is `errc::serialization_failure`
    serializable,     ///< as if one after the other; may end with `errc::serialization_failure`
};

namespace detail {
template <class Rows>
class postgres_copy_in;
template <class T, class F>
class postgres_copy_out;
template <class Sink>
class postgres_copy_raw;
}  // namespace detail

/// The driver for a PostgreSQL server, 12 or newer: `stack<..., pool<>, postgres>`. Link with libpq, 14 or newer.
struct postgres {
    static constexpr auto place = strata::place::driver;
    using options = postgres_options;
    using connection = postgres_connection;
    using locking = postgres_locking;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    /// Statements wait for their descriptor, on whatever thread the drive runs.
    static constexpr bool blocking = false;
    /// Connecting, preparing, BEGIN, COMMIT and batches block: the asynchronous drive moves to a thread that may.
    static constexpr bool blocking_control = true;
    /// Statements may go in one flight: `db.pipeline(...)`.
    static constexpr bool pipelines = true;
    /// Rows may go in bulk: `db.copy_in(...)`; copy_in.hpp and copy_out.hpp.
    template <class Rows>
    using copy_in = detail::postgres_copy_in<Rows>;
    template <class T, class F>
    using copy_out = detail::postgres_copy_out<T, F>;
    template <class Sink>
    using copy_raw = detail::postgres_copy_raw<Sink>;
    /// All connections write.
    static constexpr bool single_writer = false;

    [[nodiscard]] static constexpr int role_of(bool, bool) noexcept { return 0; }

    [[nodiscard]] static constexpr std::string_view begin(postgres_locking how) noexcept {
        constexpr std::string_view texts[] = {"begin", "begin read only", "begin isolation level repeatable read",
                                              "begin isolation level serializable"};
        return texts[static_cast<std::size_t>(how)];
    }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static constexpr control_text savepoint(unsigned depth) noexcept { return {"savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text release(unsigned depth) noexcept { return {"release savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text rollback_to(unsigned depth) noexcept { return {"rollback to savepoint strata_", depth}; }

    /// Connections to a server always see the same database.
    [[nodiscard]] static error check_shared(const postgres_options&) { return {}; }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Names of tables and columns that are only known at run time, quoted so that they can never be anything else.
#ifndef STRATA_SQL_IDENTIFIER_HPP
#define STRATA_SQL_IDENTIFIER_HPP

namespace strata::inline STRATA_ABI {

/// A quoted identifier: `q += strata::identifier("account")` appends `"account"`. Quoted names keep their case in both
/// dialects. Whether it exists is for the database to say. SQLite takes a quoted name of no column for a string unless
/// `SQLITE_DBCONFIG_DQS_DML` is off; PostgreSQL cuts names after 63 bytes.
class identifier {
public:
    explicit identifier(std::string name) : name_(std::move(name)) {}
    /// `"schema"."name"`.
    identifier(std::string schema, std::string name) : schema_(std::move(schema)), name_(std::move(name)), qualified_(true) {}

    /// False for an empty name and one with a NUL character: a statement refuses them.
    [[nodiscard]] bool valid() const noexcept { return valid(name_) && (!qualified_ || valid(schema_)); }
    /// As it is written in SQL.
    [[nodiscard]] std::string quoted() const { return qualified_ ? quote(schema_) + '.' + quote(name_) : quote(name_); }

private:
    [[nodiscard]] static bool valid(const std::string& s) noexcept { return !s.empty() && s.find('\0') == std::string::npos; }
    [[nodiscard]] static std::string quote(std::string_view s) {
        std::string q = "\"";
        for (const char c : s) q.append(c == '"' ? 2 : 1, c);
        return q += '"';
    }

    std::string schema_;
    std::string name_;
    bool qualified_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A connection that does nothing but listen: opened by a thread that may block, read by one that may not.
//
// A network that goes silent tells nobody, so a statement of no words is sent now and then, whose answer must come.
#ifndef STRATA_DRIVER_POSTGRES_LISTENING_HPP
#define STRATA_DRIVER_POSTGRES_LISTENING_HPP

namespace strata::inline STRATA_ABI {

/// What a listener hears.
struct notification {
    /// True: no notification, but the news that the connection was lost and listens again. What was sent meanwhile is missing, so whoever
    /// keeps a copy of something should read it anew.
    bool missed = false;
    std::string channel;
    std::string payload;
    int sender = 0;  ///< the server process that sent it, as `pg_backend_pid()` there tells
};

/// Options of a listener.
struct listener_options {
    duration base = std::chrono::milliseconds{10};    ///< bound of the first pause before connecting anew; doubles with each failure
    duration cap = std::chrono::seconds{5};           ///< bound of every pause; each is random between 0 and its bound
    duration check_every = std::chrono::seconds{30};  ///< how often the connection is tried while nothing is heard
    duration check_limit = std::chrono::seconds{10};  ///< how long the server may take to answer that

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* field, const char* why) {
            return error{errc::invalid_argument, detail::joined({"listener_options.", field, ": ", why}), phase::admission};
        };
        if (base < duration::zero()) return bad("base", "must not be negative");
        if (cap < base) return bad("cap", "must not be less than base");
        if (check_every <= duration::zero()) return bad("check_every", "must be positive");
        if (check_limit <= duration::zero()) return bad("check_limit", "must be positive");
        return {};
    }
};

namespace detail {

/// The text that listens to all of them; an error for a name that the server could not keep.
[[nodiscard]] STRATA_COLD inline error listen_text(std::span<const std::string> channels, std::string& text) {
    constexpr std::size_t longest = 63;  // NAMEDATALEN - 1: LISTEN would cut it, and NOTIFY refuse it
    for (const std::string& channel : channels) {
        const identifier name{channel};
        if (!name.valid() || channel.size() > longest)
            return error{errc::invalid_argument, joined({"\"", channel, "\" is no channel: its name has 1 to 63 bytes, none of them NUL"}),
                         phase::admission};
        text.append(text.empty() ? "listen " : "; listen ").append(name.quoted());
    }
    if (text.empty()) return error{errc::invalid_argument, "a listener needs a channel", phase::admission};
    return {};
}

/// Used by one thread at a time.
class postgres_listening {
public:
    enum class found : std::uint8_t { message, nothing, lost };

    [[nodiscard]] bool is_open() const noexcept { return connection_.is_open(); }
    void close() noexcept { connection_.close(); }
    [[nodiscard]] watch_place& watch() noexcept { return connection_.watch(); }
    /// Ends a wait for the descriptor. From any thread.
    void interrupt() noexcept { connection_.interrupt(); }

    /// Connects, and runs `text`. Blocks; `i` ends it early.
    [[nodiscard]] STRATA_COLD error open(const postgres_options& o, const std::string& text, const listener_options& how,
                                         const interruption* i) {
        error e = connection_.open(o, 0, i);
        if (!e) e = connection_.control(text);
        connection_.guard(nullptr);
        if (e)
            connection_.close();
        else
            answered(how);
        return e;
    }

    /// Never blocks. After `nothing`, wait for `awaited()` and ask again.
    [[nodiscard]] found take(notification& out, const listener_options& how) {
        PGconn* const db = connection_.native_handle();
        if (pop(db, out)) return found::message;
        const bool alive = ::PQconsumeInput(db) != 0 && ::PQstatus(db) == CONNECTION_OK;
        if (pop(db, out)) return found::message;
        if (!alive || !check(db, how)) return found::lost;
        const int unsent = ::PQflush(db);
        if (unsent < 0) return found::lost;
        awaited_ = {::PQsocket(db), unsent > 0, due_};
        return found::nothing;
    }
    [[nodiscard]] io_wait awaited() const noexcept { return awaited_; }

private:
    [[nodiscard]] static bool pop(PGconn* db, notification& out) {
        const std::unique_ptr<PGnotify, void (*)(void*)> n{::PQnotifies(db), &::PQfreemem};
        if (n == nullptr) return false;
        out.channel = n->relname;
        out.payload = n->extra;
        out.sender = n->be_pid;
        return true;
    }
    void answered(const listener_options& how) noexcept {
        checking_ = false;
        due_ = add_saturated(steady_now(), how.check_every);
    }
    /// Asks when it is time to, and takes the answer; false when it does not come.
    [[nodiscard]] bool check(PGconn* db, const listener_options& how) noexcept {
        while (checking_ && ::PQisBusy(db) == 0) {
            const result_owner r{::PQgetResult(db)};
            if (r == nullptr) answered(how);
        }
        if (steady_now() < due_) return true;
        if (checking_ || ::PQsendQuery(db, "") == 0) return false;
        checking_ = true;
        due_ = add_saturated(steady_now(), how.check_limit);
        return true;
    }

    postgres_connection connection_;
    io_wait awaited_;
    time_point due_ = never;  // of the next check, or of its answer
    bool checking_ = false;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// PostgreSQL's LISTEN as an asynchronous stream, which outlives its connections and tells when it may have missed something.
//
//   strata::listener changes{adb, "accounts"};
//   for (;;) {
//       const strata::notification n = co_await changes.async_next();
//       if (n.missed) cache.clear(); else cache.erase(n.payload);
//   }
//
// It has a connection of its own beside the pool, and waits for its descriptor as statements do: no thread is blocked, but by connecting.
#ifndef STRATA_ASYNC_LISTENER_HPP
#define STRATA_ASYNC_LISTENER_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// What lies between the calls.
class listener_state {
public:
    listener_state(const postgres_options& target, std::string text, const listener_options& o)
        : how(o), target_(target), text_(std::move(text)) {}

    /// A call begins to work on the connection; `w` wakes it. False when another does already.
    [[nodiscard]] bool enter(waker* w) noexcept {
        hold guard(lock_);
        if (busy_) return false;
        busy_ = true;
        if (w != nullptr) w->retain();
        waker_ = w;
        return true;
    }
    void leave() noexcept {
        hold guard(lock_);
        busy_ = false;
        if (waker_ != nullptr) std::exchange(waker_, nullptr)->release();
        if (closed_) line.close();
    }
    /// From any thread.
    void close() noexcept {
        if (is_forked_child()) return;
        hold guard(lock_);
        closed_ = true;
        if (!busy_) return line.close();
        line.interrupt();
        if (waker_ != nullptr) waker_->wake();
        stop_.cancelled.store(true, std::memory_order_relaxed);
    }
    /// The connection is the parent's: it is left alone.
    [[nodiscard]] bool is_forked_child() const noexcept { return process_.is_forked_child(); }
    [[nodiscard]] bool is_closed() noexcept {
        hold guard(lock_);
        return closed_;
    }

    /// By the call at work. Blocks; `i` ends it, and so does `close`.
    [[nodiscard]] error connect(interruption& i) {
        i.outer = &stop_;
        interruption bounded{add_saturated(steady_now(), target_.connect_timeout)};
        bounded.outer = &i;
        error e = line.open(target_, text_, how, &bounded);
        if (e) return failed(), e;
        gap = std::exchange(was_open_, true) || gap;
        opened_at_ = steady_now();
        return {};
    }
    /// The connection is gone. One that has lived for long begins with short pauses again.
    void lost() noexcept {
        line.close();
        if (steady_now() - opened_at_ > how.cap) failures_ = 0;
        failed();
    }
    [[nodiscard]] bool was_open() const noexcept { return was_open_; }
    [[nodiscard]] time_point not_before() const noexcept { return not_before_; }

    const listener_options how;
    postgres_listening line;
    bool gap = false;  // to be told

private:
    void failed() noexcept {
        duration bound = how.base;
        for (unsigned n = failures_; n > 0 && bound < how.cap; --n) bound = bound <= how.cap / 2 ? bound * 2 : how.cap;
        if (failures_ < 64) ++failures_;
        const moment now = world_.moment();
        not_before_ = add_saturated(now.now, duration{static_cast<duration::rep>(now.random_unit() * static_cast<double>(bound.count()))});
    }

    const postgres_options target_;
    const std::string text_;
    const fork_guard process_;
    inline_lock lock_;
    bool closed_ = false;
    bool busy_ = false;
    waker* waker_ = nullptr;
    interruption stop_;  // of whoever connects
    system_world world_;
    unsigned failures_ = 0;  // to connect, or of short-lived connections, in a row
    time_point not_before_{};
    time_point opened_at_{};
    bool was_open_ = false;
};

/// Drives a listener to its next event; or, where the form is void, until it listens.
template <class Form>
class listener_job {
public:
    using form = Form;
    static constexpr bool connects_only = std::is_void_v<typename Form::value>;

    explicit listener_job(std::shared_ptr<listener_state> s) noexcept : state_(std::move(s)) {}
    listener_job(const listener_job&) = delete;
    listener_job& operator=(const listener_job&) = delete;
    ~listener_job() { leave(); }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() {
        if (state_->is_forked_child())
            return end(error{errc::misuse, "this process was forked after the listener was made: make one of its own", phase::admission});
        mine_ = state_->enter(op_.waking());
        if (!mine_) return end(error{errc::misuse, "the listener was called while the call before is still on its way", phase::admission});
        return look();
    }
    [[nodiscard]] need resume() {
        if (std::exchange(connecting_, false)) {
            error e = state_->connect(op_);
            if (e && !state_->was_open() && !is_stopped()) return end(std::move(e));
        }
        return look();
    }
    [[nodiscard]] time_point parked_until() const noexcept { return state_->not_before(); }
    [[nodiscard]] io_wait awaited() noexcept {
        io_wait w = state_->line.awaited();
        // A `close` before the descriptor is watched would nudge nobody: the first wait only makes the watch, and then all is looked at
        // again.
        if (state_->line.watch().get() == nullptr) w.until = steady_now();
        return w;
    }
    [[nodiscard]] watch_place* watch() noexcept { return &state_->line.watch(); }
    template <class Executor, class Done>
    void call(const Executor&, Done&&) noexcept {}
    void cancel(asio::cancellation_type) noexcept {}

    [[nodiscard]] answer<Form> take_result() {
        leave();
        answer<Form> a;
        a.failed = std::move(failed_);
        if constexpr (!connects_only)
            if (!a.failed) a.value.emplace(std::move(heard_));
        return a;
    }

private:
    [[nodiscard]] bool is_stopped() const noexcept { return op_.is_cancelled() || state_->is_closed(); }
    [[nodiscard]] need end(error e) {
        failed_ = std::move(e);
        return need::done;
    }
    void leave() noexcept {
        if (std::exchange(mine_, false)) state_->leave();
    }

    [[nodiscard]] need look() {
        listener_state& s = *state_;
        for (;;) {
            if (s.is_closed()) return end(error{errc::shutting_down, "the listener was closed", phase::admission});
            if (op_.is_cancelled()) return end(error{errc::cancelled, phase::execute});
            if (!s.line.is_open()) {
                if (steady_now() < s.not_before()) return need::park;
                connecting_ = true;
                return need::work;
            }
            if constexpr (connects_only) return need::done;
            if (std::exchange(s.gap, false)) {
                heard_.missed = true;
                return need::done;
            }
            switch (s.line.take(heard_, s.how)) {
                case postgres_listening::found::message:
                    return need::done;
                case postgres_listening::found::nothing:
                    return need::io;
                case postgres_listening::found::lost:
                    s.lost();
                    break;
            }
        }
    }

    std::shared_ptr<listener_state> state_;
    operation_base op_;
    notification heard_;
    error failed_;
    bool mine_ = false;
    bool connecting_ = false;
};

}  // namespace detail

/// Listens to channels of a PostgreSQL database. One call at a time; `close` from any thread. What arrives between two calls waits in the
/// connection, and on the server when that is full: whoever listens should go on reading. Notifications of one sender come in their order.
///
/// The first call connects, and fails when it cannot; from then on a lost connection is made anew, after random pauses that grow, for as
/// long as it takes, and the next event is one with `missed` set. A call that was cancelled has taken nothing, and the next one goes on.
/// Errors: `cannot_connect` and its like from the first connect, `cancelled`, `shutting_down` after `close`, `misuse` for two calls at
/// once.
class listener {
public:
    /// Options and work threads are those of `db`, an asynchronous face; the database may end before. Connects to nothing yet. Channel
    /// names are taken as they are, as if quoted in SQL. Throws `failure` (`invalid_argument`) for one of no or more than 63 bytes.
    template <class Stack, class World>
    listener(const async_database<Stack, World>& db, std::vector<std::string> channels, const listener_options& o = {})
        : world_(db.world()) {
        static_assert(std::is_same_v<typename async_database<Stack, World>::driver, postgres>,
                      "strata: only PostgreSQL has LISTEN: the stack of this database ends in another driver");
        std::string text;
        error e = o.validate();
        if (!e) e = detail::listen_text(channels, text);
        if (e) throw_failure(std::move(e));
        state_ = std::make_shared<detail::listener_state>(db.shared_runtime()->connections().target(), std::move(text), o);
    }
    template <class Stack, class World>
    listener(const async_database<Stack, World>& db, std::string_view channel, const listener_options& o = {})
        : listener(db, std::vector<std::string>{std::string{channel}}, o) {}
    listener(listener&&) noexcept = default;
    listener& operator=(listener&& other) noexcept {
        std::swap(state_, other.state_);
        std::swap(world_, other.world_);
        return *this;
    }
    ~listener() {
        close();
        if (state_ != nullptr && state_->is_forked_child())
            static_cast<void>(new std::shared_ptr<detail::listener_state>(std::move(state_)));
    }

    /// Connects if need be, and completes when the server listens: what is sent from then on is heard. `void(std::exception_ptr)`.
    template <class Token = detail::default_token>
    auto async_listen(Token&& token = {}) {
        return start<detail::throwing<void>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<void>)`.
    template <class Token = detail::default_token>
    auto async_try_listen(Token&& token = {}) {
        return start<detail::trying<void>>(std::forward<Token>(token));
    }
    /// The next notification, or the news that some may be missing. `void(std::exception_ptr, notification)`.
    template <class Token = detail::default_token>
    auto async_next(Token&& token = {}) {
        return start<detail::throwing<notification>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<notification>)`.
    template <class Token = detail::default_token>
    auto async_try_next(Token&& token = {}) {
        return start<detail::trying<notification>>(std::forward<Token>(token));
    }

    /// Ends the call that is under way, and the connection. Idempotent; also done by the destructor.
    void close() noexcept {
        if (state_ != nullptr) state_->close();
    }

private:
    template <class Form, class Token>
    auto start(Token&& token) {
        return detail::start<detail::listener_job<Form>>(world_, std::forward<Token>(token), state_);
    }

    std::shared_ptr<detail::listener_state> state_;
    asio_world world_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
