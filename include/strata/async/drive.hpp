// The asynchronous drive: carries a flight from one need to the next by timers, work threads and the handler's executor.
//
// One heap block an operation, from the handler's allocator (by default block_cache.hpp's), owned by whatever it waits
// on. Cancellation of any type makes the flight end as soon as it can; it still rolls back and returns its connection.
#ifndef STRATA_ASYNC_DRIVE_HPP
#define STRATA_ASYNC_DRIVE_HPP

#include <strata/async/block_cache.hpp>
#include <strata/async/descriptor.hpp>
#include <strata/async/hop.hpp>
#include <strata/async/world.hpp>
#include <strata/core/flight.hpp>

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>

#include <exception>
#include <optional>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A handler whose type has no executor associated. Asio says so by a name of its own; were it gone, the executors would be compared.
template <class Handler>
inline constexpr bool has_no_executor =
    requires { typename asio::associated_executor<Handler, asio::any_io_executor>::asio_associated_executor_is_unspecialised; };

/// What is driven. `Job` has
///     operation_base& op();
///     Flown& flown();                // a flight, or what has its `start()`, `resume()` and `parked_until()`
///     Result take_result();          // an object with `deliver(Handler&&) &&`
/// and, where the flown one's are not right:
///     need begin();   need resume();
///     static constexpr bool has_closure = true;
///     void call(Executor, Done);     // for need::call: starts the user's coroutine, `Done` when it has ended
///     void cancel(asio::cancellation_type);      // forwarded to the coroutine
template <class Handler, class Job>
class async_operation {
    using executor_type = asio::associated_executor_t<Handler, asio::any_io_executor>;
    using allocator_type = typename std::allocator_traits<
        asio::associated_allocator_t<Handler, block_allocator<char>>>::template rebind_alloc<async_operation>;
    using allocator_traits = std::allocator_traits<allocator_type>;

    struct deleter {
        void operator()(async_operation* p) const noexcept {
            allocator_type a{asio::get_associated_allocator(p->handler_, block_allocator<char>{})};
            allocator_traits::destroy(a, p);
            allocator_traits::deallocate(a, p, 1);
        }
    };

public:
    using owner = std::unique_ptr<async_operation, deleter>;

    /// Starts; the handler is called later, on its executor, never in this call.
    template <class... Args>
    static void launch(Handler handler, asio_world world, Args&&... args) {
        allocator_type a{asio::get_associated_allocator(handler, block_allocator<char>{})};
        async_operation* raw = allocator_traits::allocate(a, 1);
        try {
            allocator_traits::construct(a, raw, std::move(handler), std::move(world), std::forward<Args>(args)...);
        } catch (...) {
            allocator_traits::deallocate(a, raw, 1);
            throw;
        }
        owner self{raw};
        if (auto slot = asio::get_associated_cancellation_slot(raw->handler_); slot.is_connected()) {
            raw->may_be_cancelled_ = true;
            slot.assign([raw](asio::cancellation_type type) {
                if (type != asio::cancellation_type::none) raw->cancel(type);
            });
        }
        raw->go(std::move(self), raw->begin(), at::start);
    }

    template <class... Args>
    async_operation(Handler&& handler, asio_world&& world, Args&&... args)
        : handler_(std::move(handler)), world_(std::move(world)), place_(handler_, world_.executor()), job_(std::forward<Args>(args)...) {
        operation_base& op = job_.op();
        op.drive = this;
        if (place_.is_away()) at_work_.emplace(world_, executor(), true);
        op.make_waker = [](operation_base& o) -> waker* { return static_cast<async_operation*>(o.drive)->waker_of_this(); };
    }
    async_operation(const async_operation&) = delete;
    async_operation& operator=(const async_operation&) = delete;
    ~async_operation() {
        // Before the connection goes, with the watch that a late waker would nudge.
        if (asio_waker* w = waker_.made.load(std::memory_order_relaxed)) w->unpark();
    }

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

    /// The handler has no memory of its own; its executor is of the face's type; it is the face's, since it has none.
    static constexpr bool is_plain =
        std::is_same_v<asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>, asio::recycling_allocator<void>>;
    static constexpr bool is_any = std::is_same_v<executor_type, asio::any_io_executor>;
    static constexpr bool has_none = is_any && has_no_executor<Handler>;

    /// Where the handler is to be called, asked for once.
    class own_place {
    public:
        own_place(const Handler& h, const asio::any_io_executor& home)
            : executor_(asio::get_associated_executor(h, home)), away_(!is_of(home)) {}
        [[nodiscard]] const executor_type& executor(const asio_world&) const noexcept { return executor_; }
        /// Not in the face's context.
        [[nodiscard]] bool is_away() const noexcept { return away_; }

    private:
        [[nodiscard]] bool is_of(const asio::any_io_executor& home) const noexcept {
            if constexpr (is_any)
                if (executor_ == home) return true;
            if constexpr (asio::can_query_v<const executor_type&, asio::execution::context_t>)
                return &static_cast<const asio::execution_context&>(asio::query(executor_, asio::execution::context)) ==
                       &asio::query(home, asio::execution::context);
            else
                return false;
        }
        executor_type executor_;
        bool away_;
    };
    class face_place {
    public:
        face_place(const Handler&, const asio::any_io_executor&) noexcept {}
        [[nodiscard]] const executor_type& executor(const asio_world& w) const noexcept { return w.executor(); }
        [[nodiscard]] static constexpr bool is_away() noexcept { return false; }
    };
    using place_type = std::conditional_t<has_none, face_place, own_place>;
    [[nodiscard]] const executor_type& executor() const noexcept { return place_.executor(world_); }

    /// What keeps contexts from running out of work. On a work thread an operation waits for nothing that they know; and between two of
    /// them the one does not know that it comes back. Elsewhere what it waits for is work.
    struct at_work {
        at_work(const asio_world& w, const executor_type& handlers, bool away)
            : home(asio::prefer(w.executor(), asio::execution::outstanding_work.tracked)) {
            if (away) handler.emplace(handlers);
        }
        asio::any_io_executor home;
        std::optional<asio::executor_work_guard<executor_type>> handler;
    };

    /// For other handlers: a step that runs on the handler's executor, with its allocator.
    struct on_executor {
        using executor_type = async_operation::executor_type;
        using allocator_type = asio::associated_allocator_t<Handler, asio::recycling_allocator<void>>;
        owner self;
        step next;

        [[nodiscard]] executor_type get_executor() const noexcept { return self->executor(); }
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
        if constexpr (is_plain && has_none) {
            return hop_of(std::move(self), s);
        } else if constexpr (is_plain && is_any) {
            const async_operation& o = *self;
            return hop_to{hop_of(std::move(self), s), o.executor()};
        } else {
            return on_executor{std::move(self), s};
        }
    }

    /// Steps as plain functions of the owner: the same few for every wait.
    static void step_resume(owner self) {
        async_operation& o = *self;
        if (asio_waker* w = o.waker_.made.load(std::memory_order_relaxed)) w->unpark();
        const need n = o.resume();
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
        if constexpr (requires { requires Job::has_closure; }) {
            o.job_.call(o.executor(), [self = std::move(self)]() mutable {
                async_operation& back = *self;
                need n = need::work;
                if constexpr (!std::remove_reference_t<decltype(back.job_.flown())>::blocks) n = back.resume();
                back.go(std::move(self), n, at::executor);
            });
        }
    }
    static void step_to_executor(owner self) {
        async_operation& o = *self;
        o.to_executor(std::move(self), o.on_arrival_);
    }

    [[nodiscard]] need begin() {
        if constexpr (requires { job_.begin(); })
            return job_.begin();
        else
            return job_.flown().start();
    }
    [[nodiscard]] need resume() {
        if constexpr (requires { job_.resume(); })
            return job_.resume();
        else
            return job_.flown().resume();
    }

    void go(owner self, need n, at where) {
        switch (n) {
            case need::work:
                return to_worker(std::move(self), where);
            // Never on a work thread: the first wait adds services to the context, whose end may have begun.
            case need::park:
                return where == at::worker ? leave_worker(std::move(self), &take<&step_park>) : park(std::move(self));
            case need::io:
                return where == at::worker ? leave_worker(std::move(self), &take<&step_wait>) : wait(std::move(self));
            case need::turn:
                return to_executor(std::move(self), &take<&step_resume>);
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
        const time_point until = job_.flown().parked_until();
        auto go_on = after_wait(std::move(self), &take<&step_resume>);
        if constexpr (std::is_same_v<decltype(go_on), hop>)
            if (until == never) return w.park(std::move(go_on));
        w.park(until, std::move(go_on));
    }

    /// For the descriptor of a driver that yields.
    void wait(owner self) {
        if constexpr (requires { job_.flown().awaited(); }) {
            const io_wait w = job_.flown().awaited();
            watch_place& place = job_.flown().watch();
            std::shared_ptr<descriptor_watch> watch = descriptor_watch::in(place);
            if (may_be_cancelled_ || watch == nullptr) watch = look_at(place, w.descriptor);
            if (may_be_cancelled_ && watch != nullptr) {
                asio_waker& mine = *waker_of_this();
                if (job_.op().cancelled.load(std::memory_order_seq_cst) && !std::exchange(told_, true)) mine.wake();
                mine.park_on(watch);
            }
            auto go_on = after_wait(std::move(self), &take<&step_resume>);
            using taken = descriptor_watch::taken;
            taken t = watch != nullptr ? watch->wait(world_, w, go_on) : taken::no_alarm;
            if (t == taken::elsewhere) {
                watch = look_at(place, w.descriptor);
                t = watch != nullptr ? watch->wait(world_, w, go_on) : taken::no_alarm;
            }
            if (t == taken::no_alarm) [[unlikely]] {  // by looking now and then
                const time_point soon = clock::now() + std::chrono::milliseconds{2};
                waker_of_this()->park(w.until < soon ? w.until : soon, std::move(go_on));
            }
        }
    }

    /// The watch for this wait. A new one has not heard of a cancel before it.
    [[nodiscard]] std::shared_ptr<descriptor_watch> look_at(watch_place& place, int fd) {
        const std::shared_ptr<descriptor_watch> before = descriptor_watch::in(place);
        std::shared_ptr<descriptor_watch> now = descriptor_watch::of(place, world_, fd);
        if (now != before && now != nullptr && job_.op().is_cancelled()) now->nudge();
        return now;
    }

    void to_executor(owner self, step s) {
        const executor_type ex = executor();
        if constexpr (is_plain && is_any)
            asio::post(ex, hop_of(std::move(self), s));
        else
            asio::post(ex, on_executor{std::move(self), s});
    }
    /// From a work thread, which nobody outside can wait for: by way of the face's context, whose end waits for it. The handler's own
    /// may end as soon as the handler has run.
    void leave_worker(owner self, step s) {
        if (!place_.is_away()) return to_executor(std::move(self), s);
        on_arrival_ = s;
        const asio::any_io_executor ex = world_.executor();
        asio::post(ex, hop_of(std::move(self), &take<&step_to_executor>));
    }

    void to_worker(owner self, at where) {
        std::optional<asio::thread_pool::executor_type> threads;
        try {
            threads.emplace(world_.workers());
        } catch (const std::exception&) {  // none can be had: rather here than never
            need n = need::work;
            while (n == need::work) n = resume();
            return go(std::move(self), n, where);
        }
        if (!at_work_) at_work_.emplace(world_, executor(), false);
        const asio_world keep = world_;  // the last owner may be gone while the threads are still being told
        away().leave(traveller_ = {.cancelled = &job_.op().cancelled});
        asio::post(*threads, hop_of(std::move(self), &take<&run_away>));
    }

    /// On a work thread: works on while the next step may block, then goes back.
    static void run_away(owner self) {
        async_operation& o = *self;
        away_service& service = o.away();
        away_service::traveller mark;
        service.arrive(o.traveller_, mark);
        need n = need::work;
        while (n == need::work) n = o.resume();
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
        allocator_type a{asio::get_associated_allocator(handler, block_allocator<char>{})};
        async_operation* const raw = self.release();
        allocator_traits::destroy(a, raw);
        allocator_traits::deallocate(a, raw, 1);
        std::move(result).deliver(std::move(handler));
    }

    void cancel([[maybe_unused]] asio::cancellation_type type) {
        job_.op().cancelled.store(true, std::memory_order_seq_cst);
        if constexpr (requires { job_.cancel(type); }) job_.cancel(type);
        if (asio_waker* w = waker_.made.load(std::memory_order_seq_cst)) w->wake();
    }

    [[nodiscard]] asio_waker* waker_of_this() {
        if (waker_.made.load(std::memory_order_relaxed) == nullptr)
            waker_.made.store(new asio_waker(world_.woken()), std::memory_order_seq_cst);
        return waker_.made.load(std::memory_order_relaxed);
    }
    [[nodiscard]] away_service& away() { return asio::use_service<away_service>(asio::query(world_.executor(), asio::execution::context)); }

    Handler handler_;
    asio_world world_;
    [[no_unique_address]] place_type place_;
    std::optional<at_work> at_work_;  // from the first journey to a work thread, or from the start
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
