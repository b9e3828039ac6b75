// Generated from include/strata/async.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_HPP
#define STRATA_SINGLE_ASYNC_HPP

#include <strata/strata.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution_context.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/query.hpp>
#include <boost/asio/recycling_allocator.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <thread>
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
        return told_by_closure(f.error());
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

// Memory for asynchronous operations: a thread keeps what one operation gives back for the next.
//
// Asio's recycling allocator does this for blocks of up to a kilobyte. An operation with the six interceptors of a careful stack is
// larger, so its block came from malloc each time, and aligned: 350 instructions a call.
#ifndef STRATA_ASYNC_BLOCK_CACHE_HPP
#define STRATA_ASYNC_BLOCK_CACHE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Two blocks of each size from 64 bytes to 4 KiB, in steps of 64, for each thread.
class block_cache {
public:
    [[nodiscard]] static void* allocate(std::size_t size) {
        const std::size_t n = kind_of(size);
        if (n >= kinds || is_gone()) [[unlikely]]
            return ::operator new(size);
        block*& first = here().first_[n];
        if (block* const b = first; b != nullptr) [[likely]] {
            first = b->next;
            return b;
        }
        return ::operator new((n + 1) * step);
    }
    static void deallocate(void* p, std::size_t size) noexcept {
        const std::size_t n = kind_of(size);
        if (n >= kinds || is_gone()) [[unlikely]]
            return ::operator delete(p);
        block*& first = here().first_[n];
        if (first != nullptr && first->next != nullptr) return ::operator delete(p);
        first = ::new (p) block{first};
    }

private:
    struct block {
        block* next;
    };
    static constexpr std::size_t step = 64, kinds = 64;

    block_cache() = default;
    ~block_cache() {
        is_gone() = true;
        for (block* b : first_)
            while (b != nullptr) {
                block* const next = b->next;
                ::operator delete(b);
                b = next;
            }
    }
    [[nodiscard]] static std::size_t kind_of(std::size_t size) noexcept { return (size - 1) / step; }
    [[nodiscard]] static block_cache& here() {
        thread_local block_cache mine;
        return mine;
    }
    /// The thread ends, and something still gives back.
    [[nodiscard]] static bool& is_gone() noexcept {
        thread_local bool gone = false;
        return gone;
    }

    block* first_[kinds]{};
};

/// An allocator over it; of what is aligned as no block is, past it.
template <class T>
struct block_allocator {
    using value_type = T;
    static constexpr bool fits = alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__;

    block_allocator() noexcept = default;
    template <class U>
    block_allocator(const block_allocator<U>&) noexcept {}
    [[nodiscard]] T* allocate(std::size_t n) {
        if constexpr (fits)
            return static_cast<T*>(block_cache::allocate(n * sizeof(T)));
        else
            return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{alignof(T)}));
    }
    void deallocate(T* p, std::size_t n) noexcept {
        if constexpr (fits)
            block_cache::deallocate(p, n * sizeof(T));
        else
            ::operator delete(p, std::align_val_t{alignof(T)});
    }
    friend bool operator==(const block_allocator&, const block_allocator&) noexcept { return true; }
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

/// An operation that waits for nothing that the context knows. Guarded by the lock of its context's end.
struct parked_operation {
    std::optional<hop> go_on{};
    parked_operation* next = nullptr;
    parked_operation* previous = nullptr;
    parked_operation* next_woken = nullptr;
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

    /// Owns the operation until it is taken, or destroys it when the context ends; and the context does not run out of work meanwhile.
    void keep(parked_operation& p, hop&& go_on, const asio::any_io_executor& ex) {
        if (parked_ == 0) work_.emplace(asio::prefer(ex, asio::execution::outstanding_work.tracked));
        ++parked_;
        p.go_on.emplace(std::move(go_on));
        p.previous = nullptr;
        p.next = first_parked_;
        if (first_parked_ != nullptr) first_parked_->previous = &p;
        first_parked_ = &p;
    }
    [[nodiscard]] hop take(parked_operation& p) noexcept {
        hop h = std::move(*p.go_on);
        p.go_on.reset();
        (p.previous != nullptr ? p.previous->next : first_parked_) = p.next;
        if (p.next != nullptr) p.next->previous = p.previous;
        if (--parked_ == 0) work_.reset();
        return h;
    }

    /// That of an executor's context. Made after the services of timers and descriptors, and so ended before them; and only when something
    /// waits: a context that has them runs its reactor after each handler.
    [[nodiscard]] static std::shared_ptr<context_end> of(const asio::any_io_executor& ex) {
        const asio::steady_timer timer(ex);
        const asio::posix::stream_descriptor descriptor(ex);
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
            guard.unlock();
            while (std::optional<hop> h = next_parked()) h.reset();
        }
        [[nodiscard]] std::optional<hop> next_parked() noexcept {
            hold guard(shared->lock);
            if (shared->first_parked_ == nullptr) return std::nullopt;
            return shared->take(*shared->first_parked_);
        }
    };

    ends_with_context* first_ = nullptr;
    parked_operation* first_parked_ = nullptr;
    std::size_t parked_ = 0;
    std::optional<asio::any_io_executor> work_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Parked operations of one executor that were woken: they go on in order, and all that were woken meanwhile cost one post.
//
// A post by itself takes two blocks of memory, of which Asio keeps only a few for the next one; where an answer from the database wakes
// a crowd, that was a third of what a call costs. While one of them is run and others are in line, another post is always on its way: a
// second thread of the context takes what a first one that is busy with its handler does not.
#ifndef STRATA_ASYNC_WOKEN_LINE_HPP
#define STRATA_ASYNC_WOKEN_LINE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The operations stay parked, the context's own, until it is their turn. Guarded by the lock of the context's end.
class woken_line : public std::enable_shared_from_this<woken_line> {
public:
    explicit woken_line(const asio::any_io_executor& ex) : executor_(ex) {}

    [[nodiscard]] const asio::any_io_executor& executor() const noexcept { return executor_; }
    /// Looked for when the first of them parks; does not throw after that.
    [[nodiscard]] context_end& context() {
        context_end* known = known_.load(std::memory_order_acquire);
        if (known == nullptr) [[unlikely]] {
            hold guard(finding_);
            if (context_ == nullptr) context_ = context_end::of(executor_);
            known = context_.get();
            known_.store(known, std::memory_order_release);
        }
        return *known;
    }

    /// Under the lock, of a context that has not ended.
    void add(parked_operation& p) noexcept {
        p.next_woken = nullptr;
        (last_ != nullptr ? last_->next_woken : first_) = &p;
        last_ = &p;
        ++number_;
        if (!posted_) post();
    }

private:
    /// Terminates where there is no memory: nobody could be told.
    void post() noexcept {
        posted_ = shared_from_this();
        asio::post(executor_, hop{this, [](void* p) { static_cast<woken_line*>(p)->run(); },
                                  [](void* p) noexcept { static_cast<void>(static_cast<woken_line*>(p)->arrive()); }});
    }
    struct arrival {
        std::shared_ptr<woken_line> line;
        std::size_t number;
    };
    [[nodiscard]] arrival arrive() noexcept {
        hold guard(context_->lock);
        return {std::move(posted_), number_};
    }
    /// Those who are in line now: who comes later must not keep the context from its other work.
    void run() {
        const arrival now = arrive();
        for (std::size_t left = now.number; left != 0; --left) {
            std::optional<hop> go_on = next();
            if (!go_on) return;
            (*go_on)();
        }
    }
    [[nodiscard]] std::optional<hop> next() noexcept {
        hold guard(context_->lock);
        if (context_->ended || first_ == nullptr) return std::nullopt;
        parked_operation& p = *first_;
        first_ = p.next_woken;
        --number_;
        if (first_ == nullptr)
            last_ = nullptr;
        else if (!posted_)
            post();
        return context_->take(p);
    }

    const asio::any_io_executor executor_;
    std::atomic<context_end*> known_{nullptr};
    inline_lock finding_;
    std::shared_ptr<context_end> context_;
    parked_operation* first_ = nullptr;
    parked_operation* last_ = nullptr;
    std::size_t number_ = 0;
    std::shared_ptr<woken_line> posted_;  // while one is on its way
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// Threads for what blocks: begun when the first of it comes, for a database whose driver waits in the loop may never need them.
#ifndef STRATA_ASYNC_WORK_THREADS_HPP
#define STRATA_ASYNC_WORK_THREADS_HPP

namespace strata::inline STRATA_ABI {

namespace asio = boost::asio;

namespace detail {

/// The threads of a runtime, shared by its faces. Thread-safe.
class work_threads {
public:
    explicit work_threads(std::size_t number) noexcept : number_(number) {}
    work_threads(const work_threads&) = delete;
    work_threads& operator=(const work_threads&) = delete;

    /// For what blocks. Throws `std::exception` where the process has no room for a thread; then the next call tries again. Where it has
    /// room for some, these must do.
    [[nodiscard]] asio::thread_pool::executor_type executor() {
        std::call_once(begun_, [this] { begin(); });
        return threads_->get_executor();
    }
    /// For timers, which must ring while all the others are busy.
    [[nodiscard]] asio::thread_pool::executor_type alarms() {
        std::call_once(ringing_, [this] { alarms_.emplace(1); });
        return alarms_->get_executor();
    }

    /// The last operation of a runtime may end on one of the threads themselves, which cannot join itself.
    struct end {
        void operator()(work_threads* w) const {
            if (w->is_own_thread())
                std::thread([w] { delete w; }).detach();
            else
                delete w;
        }
    };

private:
    ~work_threads() {
        if (threads_) threads_->stop();
        for (std::thread& t : more_) t.join();
    }

    /// One by one: a pool that cannot begin its second thread waits for ever for its first.
    void begin() {
        threads_.emplace(1);
        try {
            more_.reserve(number_ - 1);
            while (more_.size() + 1 < number_) more_.emplace_back([this] { threads_->attach(); });
        } catch (const std::exception&) {
        }
    }
    [[nodiscard]] bool is_own_thread() {
        return (threads_ && threads_->get_executor().running_in_this_thread()) ||
               (alarms_ && alarms_->get_executor().running_in_this_thread());
    }

    std::size_t number_;
    std::once_flag begun_, ringing_;
    std::optional<asio::thread_pool> threads_;
    std::vector<std::thread> more_;  // of the same pool
    std::optional<asio::thread_pool> alarms_;
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

// A connection's descriptor in the reactor of a context: registered once, as long as the connection is used there.
//
// What is registered is a duplicate of our own. The driver's library closes its descriptor as it likes, and another connection may
// have the same number before we come to deregister it: then that one would never hear of its answers. Connection and context may end
// in either order: the context's end releases first what is registered in it.
//
// The bound of a wait is kept by a timer on a thread of the library's, which does not keep the user's context from its end. It is
// armed anew only for an earlier point: to arm one for each call would be a system call, a tenth of a round trip.
#ifndef STRATA_ASYNC_DESCRIPTOR_HPP
#define STRATA_ASYNC_DESCRIPTOR_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Lies in a connection's `watch()`. Its calls are safe from any thread.
class descriptor_watch final : public io_watch, public ends_with_context, public std::enable_shared_from_this<descriptor_watch> {
public:
    /// Registers a duplicate of the descriptor with the context of the face.
    descriptor_watch(const asio_world& face, int fd)
        : threads_(face.threads()), face_(face), fd_(fd), own_(::fcntl(fd, F_DUPFD_CLOEXEC, 0)) {
        if (own_ < 0) throw boost::system::system_error(errno, boost::system::system_category(), "strata: no second descriptor");
        try {
            descriptor_.emplace(face.executor(), own_);  // its service first: what was made later ends earlier
            context_ = context_end::of(face.executor());
        } catch (...) {
            if (descriptor_) descriptor_->release();
            ::close(own_);
            throw;
        }
        hold guard(context_->lock);
        context_->link(*this);
    }
    ~descriptor_watch() override {
        hold guard(context_->lock);
        context_->unlink(*this);
        let_go();
        face_.reset();  // as at the end of its context, which may come in the next moment
    }

    /// What lies in the place; null at first.
    [[nodiscard]] static std::shared_ptr<descriptor_watch> in(const watch_place& place) noexcept {
        return std::static_pointer_cast<descriptor_watch>(place.get());
    }
    /// The watch in `place`, made anew if it is not for this face and descriptor; null where the process or the reactor has no room.
    [[nodiscard]] STRATA_COLD static std::shared_ptr<descriptor_watch> of(watch_place& place, const asio_world& face, int fd) {
        if (const std::shared_ptr<descriptor_watch> there = in(place)) {
            hold guard(there->context_->lock);
            if (there->is_for(face, fd)) return there;
        }
        place.clear();  // two reactors must not know it at once
        try {
            auto made = std::make_shared<descriptor_watch>(face, fd);
            place.put(made);
            return made;
        } catch (const boost::system::system_error&) {
            return nullptr;
        }
    }

    /// What became of a handler that was to wait.
    enum class taken : std::uint8_t {
        waits,      ///< it is called on its executor when the descriptor is ready, at the bound, or after `nudge()`
        elsewhere,  ///< left: this is for another face or descriptor
        no_alarm    ///< left: nobody could end the wait at its bound
    };
    template <class Handler>
    [[nodiscard]] taken wait(const asio_world& face, const io_wait& w, Handler& go_on) {
        hold guard(context_->lock);
        if (!is_for(face, w.descriptor)) [[unlikely]]
            return taken::elsewhere;
        due_ = w.until;
        if (w.until < armed_ && !arm(w.until)) [[unlikely]]
            return taken::no_alarm;
        descriptor_->async_wait(w.writable ? asio::posix::descriptor_base::wait_write : asio::posix::descriptor_base::wait_read,
                                std::move(go_on));
        if (std::exchange(nudged_, false)) [[unlikely]]
            end_wait();
        return taken::waits;
    }
    void nudge() noexcept override {
        hold guard(context_->lock);
        nudged_ = true;
        end_wait();
    }

    void context_ends() noexcept override {
        let_go();
        face_.reset();  // its executor may need what goes with the context, such as a strand
    }

private:
    /// Under the lock. Another context may lie where one that has ended lay, but then there is no face.
    [[nodiscard]] bool is_for(const asio_world& face, int fd) const noexcept {
        return face_ && fd_ == fd && (face_->is(face) || face_->executor() == face.executor());
    }
    void end_wait() noexcept {
        boost::system::error_code ignored;
        if (descriptor_) descriptor_->cancel(ignored);
    }
    /// An older point may still ring: then it looks again. False where there is no room for a timer or its thread.
    [[nodiscard]] STRATA_COLD bool arm(time_point at) noexcept {
        try {
            if (!alarm_) alarm_.emplace(threads_->alarms());
            alarm_->expires_at(at);
            armed_ = at;
            alarm_->async_wait([weak = weak_from_this()](const boost::system::error_code& e) {
                if (e) return;
                if (const auto watch = weak.lock()) watch->rang();
            });
            return true;
        } catch (...) {
            armed_ = never;
            return false;
        }
    }
    void rang() noexcept {
        hold guard(context_->lock);
        armed_ = never;
        if (due_ == never || !descriptor_) return;
        const bool is_over = due_ <= steady_now();
        if (!is_over && arm(due_)) return;  // else rather too early than never
        if (is_over) due_ = never;
        end_wait();
    }
    void let_go() noexcept {
        if (!descriptor_) return;
        try {
            descriptor_->release();
        } catch (...) {  // it is not registered any more
        }
        descriptor_.reset();
        ::close(own_);
    }

    std::shared_ptr<work_threads> threads_;  // before the timer, which must go first
    std::optional<asio_world> face_;         // until its context ends
    int fd_;                                 // the library's
    int own_;                                // the duplicate that is registered
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

// The asynchronous drive: carries a flight from one need to the next by timers, work threads and the handler's executor.
//
// One heap block an operation, from the handler's allocator (by default block_cache.hpp's), owned by whatever it waits
// on. Cancellation of any type makes the flight end as soon as it can; it still rolls back and returns its connection.
#ifndef STRATA_ASYNC_DRIVE_HPP
#define STRATA_ASYNC_DRIVE_HPP

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

// A batch, asynchronously: one operation, and where the driver blocks one hop to a work thread, for all its elements.
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
    [[nodiscard]] auto& flown() noexcept { return flight_; }

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
    void operator()(Handler&& handler, Args&&... args) && {
        async_operation<std::decay_t<Handler>, Job>::launch(std::forward<Handler>(handler), std::move(world), std::forward<Args>(args)...);
    }
    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const& {
        async_operation<std::decay_t<Handler>, Job>::launch(std::forward<Handler>(handler), world, std::forward<Args>(args)...);
    }
};

/// The same for a statement that may share a connection, or not: known when it is initiated.
template <class Job, class Sharing>
struct start_sharing_job {
    asio_world world;
    using executor_type = asio::any_io_executor;
    [[nodiscard]] executor_type get_executor() const noexcept { return world.executor(); }

    template <class Handler, class Home, class Statement, class Sink, class Options, class... Wish>
    void operator()(Handler&& handler, Home&& home, Statement&& statement, Sink&& sink, const Options& o, Wish&&... wish) const {
        using handler_type = std::decay_t<Handler>;
        if (shares_connection(home.source(), statement, o))
            async_operation<handler_type, Sharing>::launch(
                std::forward<Handler>(handler), world, typename Sharing::home_type{std::forward<Home>(home)},
                std::forward<Statement>(statement), std::forward<Sink>(sink), o, std::forward<Wish>(wish)...);
        else
            async_operation<handler_type, Job>::launch(std::forward<Handler>(handler), world, std::forward<Home>(home),
                                                       std::forward<Statement>(statement), std::forward<Sink>(sink), o,
                                                       std::forward<Wish>(wish)...);
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
template <class Home, class Bound, class Sink, class Form, scope Where, class Wish = no_wish>
class statement_job {
    using runtime_type = typename Home::runtime_type;
    using source_type = typename Home::source_type;
    using op_type = operation<Wish::refine(facts_of_statement<Bound>(Where != scope::database))>;
    using work_type = typename work_of_statement<runtime_type, source_type, Bound, Sink,
                                                 runtime_type::interceptors::automatic && Where == scope::database>::type;

public:
    using form = Form;
    using home_type = Home;

    statement_job(Home home, Bound statement, Sink sink, const call_options& o, Wish wish = {})
        : home_(std::move(home)), statement_(std::move(statement)), sink_(std::move(sink)), wish_(std::move(wish)),
          work_(statement_, sink_), flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.outer = home_.outer();
        if constexpr (requires { work_.runs_in(home_.runtime()); }) work_.runs_in(home_.runtime());
        if (error e = check_made_at_run_time<runtime_type::driver::dialect, Where>(statement_)) {
            flight_.result().replace(std::move(e));
            return;
        }
        describe(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        wish_.tell(op_, statement_, sink_);
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.result().ok() ? flight_.start() : need::done; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), std::move(flight_.thrown()), {}};
        if constexpr (!std::is_same_v<Wish, no_wish>) {
            try {
                if (!a.failed && !a.thrown) a.failed = wish_.fulfil(sink_);
            } catch (...) {
                a.thrown = std::current_exception();
            }
        }
        if (!a.failed && !a.thrown) a.value.emplace(sink_value<Sink>::take(sink_, work_.executed()));
        return a;
    }

private:
    Home home_;
    Bound statement_;
    Sink sink_;
    [[no_unique_address]] Wish wish_;
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
    static constexpr bool inside_transaction = InsideTransaction;

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
    [[nodiscard]] auto& flown() noexcept { return *state_->f; }

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
    using state_type = State;
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

template <class Runtime>
class sharing_home;

/// One statement of a session whose type is known: what `async_perform` of such a session does.
template <class Form, class Session, class Bound, class Sink, class Token, class... Wish>
auto start_statement(Session& session, Bound&& statement, Sink&& sink, const call_options& o, Token&& token, Wish&&... wish) {
    using home = decltype(session.home());
    using job = statement_job<home, Bound, Sink, Form, Session::where, Wish...>;
    if constexpr (has_shared_side<typename home::source_type> && !home::runtime_type::interceptors::automatic) {
        using sharing = statement_job<sharing_home<typename home::runtime_type>, Bound, Sink, Form, Session::where, Wish...>;
        return asio::async_initiate<Token, typename Form::signature>(start_sharing_job<job, sharing>{session.world()}, token,
                                                                     session.home(), std::move(statement), std::move(sink), o,
                                                                     std::move(wish)...);
    } else {
        return start<job>(session.world(), std::forward<Token>(token), session.home(), std::move(statement), std::move(sink), o,
                          std::move(wish)...);
    }
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
class async_calls : public detail::async_row_lock_members<Self> {
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

    /// As `calls::copy_to`, on a work thread. A function is copied, or moved from an rvalue; a stream must live until the call has ended.
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_copy_to(const Source& source, Sink&& sink, Token&& token = {}) {
        return copies::template raw<detail::throwing>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token));
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_copy_to(const Source& source, Sink&& sink, const copy_options& o, Token&& token = {}) {
        return copies::template raw<detail::throwing>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token), o);
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_try_copy_to(const Source& source, Sink&& sink, Token&& token = {}) {
        return copies::template raw<detail::trying>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token));
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_try_copy_to(const Source& source, Sink&& sink, const copy_options& o, Token&& token = {}) {
        return copies::template raw<detail::trying>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token), o);
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
        static_assert(!detail::is_marked<S>, "strata: rows one after the other are neither cached nor replaced: use all");
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        return static_cast<Self&>(*this).template stream_of<T>(bound.own(), o, batch);
    }

private:
    using copies = detail::async_copy_calls<Self, true>;
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Sink, class Form, class S, class Token>
    auto go(const S& statement, const call_options& o, Token&& token) {
        if constexpr (detail::is_marked<S>) {
            return go_marked<Sink, Form>(statement, o, std::forward<Token>(token));
        } else {
            decltype(auto) bound = detail::as_bound(statement);
            detail::assert_placement<std::remove_cvref_t<decltype(bound)>, Self>();
            return static_cast<Self&>(*this).template async_perform<Form>(bound.own(), Sink{}, o, std::forward<Token>(token));
        }
    }
    template <class Sink, class Form, class S, class Token>
    auto go_marked(const S& statement, const call_options& o, Token&& token) {
        if constexpr (!detail::fulfils_wishes<S, Self>()) {
            return go<Sink, Form>(statement.bound, o, std::forward<Token>(token));
        } else {
            detail::assert_placement<decltype(statement.bound), Self>();
            return detail::start_statement<Form>(self(), statement.bound.own(), Sink{}, o, std::forward<Token>(token),
                                                 statement.template wish_for<Sink>());
        }
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

// `any_session` for coroutines: an asynchronous session whose stack and driver are not known.
//
//   asio::awaitable<account> load(strata::any_async_session s, std::int64_t id);    // a .cpp that sees no stack
#ifndef STRATA_ASYNC_ANY_SESSION_HPP
#define STRATA_ASYNC_ANY_SESSION_HPP

namespace strata::inline STRATA_ABI {

class any_async_session;

namespace detail {

/// How an erased call ends: whatever the near side makes of it.
struct erased_outcome {
    using signature = void(error, std::exception_ptr, execution);
};
template <>
struct answer<erased_outcome> {
    error failed;
    std::exception_ptr thrown;
    std::optional<execution> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        std::move(handler)(std::move(failed), std::move(thrown), value.value_or(execution{}));
    }
};
/// The value of a call whose rows went to an erased sink.
template <>
struct sink_value<sink_ref> {
    static execution take(sink_ref&, const execution& done) { return done; }
};

/// How the near side is told that an erased call has ended.
class erased_end {
public:
    virtual ~erased_end() = default;
    /// Takes itself along: the user's handler may destroy everything else.
    virtual void end(std::unique_ptr<erased_end> self, error failed, std::exception_ptr thrown, execution done) = 0;
};

/// The handler of the far side: the user's executor and cancellation slot without the user's type.
struct erased_handler {
    using executor_type = asio::any_io_executor;
    using cancellation_slot_type = asio::cancellation_slot;

    std::unique_ptr<erased_end> call;
    executor_type executor;
    cancellation_slot_type slot;

    [[nodiscard]] executor_type get_executor() const noexcept { return executor; }
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
    void operator()(error failed, std::exception_ptr thrown, execution done) {
        erased_end& near_side = *call;
        near_side.end(std::move(call), std::move(failed), std::move(thrown), done);
    }
};

using erased_closure = asio::awaitable<error> (*)(void* closure, any_async_session& inner);

struct async_session_table {
    dialect speaks;
    scope where;
    asio_world (*world)(void* session);
    void (*start)(void* session, any_statement, any_sink&, const call_options&, erased_handler);
    /// At most once if so marked.
    asio::awaitable<error> (*transact)(void* session, void* closure, erased_closure, bool once);
};

/// The near side of an erased call: arguments and sink at a fixed address, until the far side has ended.
template <class Handler, class Form, class Bound, class Sink>
struct erased_call final : erased_end {
    erased_call(Handler h, Bound s, Sink into)
        : handler(std::move(h)), statement(std::move(s)), arguments(statement), sink(std::move(into)), out(sink) {}

    void end(std::unique_ptr<erased_end> self, error failed, std::exception_ptr thrown, execution done) override {
        answer<Form> a{std::move(failed), std::move(thrown), {}};
        if (!a.failed && !a.thrown) a.value.emplace(sink_value<Sink>::take(sink, done));
        Handler mine{std::move(handler)};
        self.reset();
        std::move(a).deliver(std::move(mine));
    }

    Handler handler;
    Bound statement;
    argument_views arguments;
    Sink sink;
    erased_sink<Sink> out;
};

}  // namespace detail

/// Refers to the session that it was made from. Cheap to copy. Streams are not offered here.
class any_async_session : public async_calls<any_async_session> {
    template <class Closure>
    using awaited_of = typename std::remove_cvref_t<std::invoke_result_t<Closure&, any_async_session&>>::value_type;

public:
    /// From an asynchronous database, session or transaction, which must outlive it and the calls on it.
    template <class Session>
        requires(!std::is_same_v<std::remove_cv_t<Session>, any_async_session>)
    any_async_session(Session& session) noexcept;

    [[nodiscard]] dialect dialect_now() const noexcept { return table_->speaks; }
    [[nodiscard]] scope where_now() const noexcept { return table_->where; }

    /// A transaction; inside one, a savepoint. The closure is a coroutine that gets an `any_async_session&`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<awaited_of<Closure>> {
        using value = awaited_of<Closure>;
        struct context {
            Closure& closure;
            std::optional<detail::storable<value>> returned;
        } here{closure, {}};
        error e = co_await table_->transact(
            session_, &here,
            [](void* c, any_async_session& inner) -> asio::awaitable<error> {
                context& at = *static_cast<context*>(c);
                at.returned.reset();
                if constexpr (std::is_void_v<value>) {
                    co_await at.closure(inner);
                    at.returned.emplace();
                } else {
                    at.returned.emplace(co_await at.closure(inner));
                    if (detail::holds_error(*at.returned)) co_return detail::error_in(*at.returned);
                }
                co_return error{};
            },
            detail::runs_once<Closure>);
        if (e) {
            if constexpr (!std::is_void_v<value>) {
                if (here.returned && detail::holds_error(*here.returned))
                    co_return detail::failed_value(std::move(*here.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<value>) co_return std::move(*here.returned);
    }

    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<awaited_of<Closure>>(async_transaction(std::move(closure)));
    }

    /// For `async_calls`.
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return asio::async_initiate<Token, typename Form::signature>(
            [me = *this](auto handler, Bound s, Sink into, const call_options& options) {
                using handler_type = decltype(handler);
                using call_type = detail::erased_call<handler_type, Form, Bound, Sink>;
                asio::any_io_executor executor{asio::get_associated_executor(handler, me.table_->world(me.session_).executor())};
                asio::cancellation_slot slot{asio::get_associated_cancellation_slot(handler)};
                auto call = std::make_unique<call_type>(std::move(handler), std::move(s), std::move(into));
                call_type& near_side = *call;
                detail::erased_handler back{std::move(call), executor, slot};
                if (error e = detail::check_placement(me, near_side.statement)) {
                    asio::post(executor, [back = std::move(back), e = std::move(e)]() mutable { back(std::move(e), nullptr, {}); });
                    return;
                }
                const any_statement erased{near_side.statement, near_side.arguments.all()};
                me.table_->start(me.session_, erased, near_side.out, options, std::move(back));
            },
            token, std::move(statement), std::move(sink), o);
    }

private:
    void* session_;
    const detail::async_session_table* table_;
};

namespace detail {

template <class Session>
struct async_session_functions {
    static asio_world world(void* s) { return static_cast<Session*>(s)->world(); }
    static void start(void* s, any_statement statement, any_sink& sink, const call_options& o, erased_handler handler) {
        Session& session = *static_cast<Session*>(s);
        static_cast<void>(session.template async_perform<erased_outcome>(statement, sink_ref{sink}, o, std::move(handler)));
    }
    static asio::awaitable<error> transact([[maybe_unused]] void* s, [[maybe_unused]] void* closure, [[maybe_unused]] erased_closure call,
                                           [[maybe_unused]] bool only_once) {
        if constexpr (begins_no_transaction<Session>)
            co_return error{errc::unsupported, "the stack of this session says transactions<none>", phase::admission};
        else
            co_return co_await begin(s, closure, call, only_once);
    }
    static constexpr async_session_table table{Session::dialect, Session::where, &world, &start, &transact};

private:
    static asio::awaitable<error> begin(void* s, void* closure, erased_closure call, bool only_once) {
        auto body = [closure, call](auto& tx) -> asio::awaitable<result<void>> {
            any_async_session inner{tx};
            error e = co_await call(closure, inner);
            if (e) co_return e;
            co_return result<void>{};
        };
        Session& session = *static_cast<Session*>(s);
        result<void> r;
        if (only_once)
            r = co_await session.async_transaction(once(body));
        else
            r = co_await session.async_transaction(body);
        co_return r ? error{} : std::move(r).error();
    }
};

}  // namespace detail

template <class Session>
    requires(!std::is_same_v<std::remove_cv_t<Session>, any_async_session>)
any_async_session::any_async_session(Session& session) noexcept
    : session_(&session), table_(&detail::async_session_functions<Session>::table) {
    // Names the table of its transactions here: clang 19 does not make all virtual functions that are needed first deep inside another's.
    static_cast<void>(&detail::async_session_functions<typename Session::transaction_type>::table);
}

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
    [[nodiscard]] close_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept { return look(); }
    [[nodiscard]] need resume() noexcept { return look(); }
    [[nodiscard]] time_point parked_until() const noexcept { return next_look_; }
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

/// The same among statements that share connections.
template <class Runtime>
class sharing_home : public runtime_home<Runtime> {
public:
    using source_type = typename Runtime::source::shared_side;
    explicit sharing_home(runtime_home<Runtime>&& home) noexcept : runtime_home<Runtime>(std::move(home)) {}
    [[nodiscard]] source_type& source() noexcept { return this->runtime().connections().shared(); }
};

/// A call on a connection that a session or a transaction holds. The lease lives until the call has ended: `keep` says so
/// for what is held by hand, and a transaction's closure outlives what it awaits.
template <class Runtime>
class pinned_home {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using source_type = pinned_source<driver>;

    pinned_home(Runtime& rt, source_type source, const interruption* outer, std::shared_ptr<void> keep) noexcept
        : rt_(&rt), source_(source), outer_(outer), keep_(std::move(keep)) {}
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

// A savepoint of an asynchronous transaction: entering, leaving and undoing it are operations of their own.
#ifndef STRATA_ASYNC_SAVEPOINT_HPP
#define STRATA_ASYNC_SAVEPOINT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Enters, leaves or undoes a savepoint.
template <class Runtime>
class control_job {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    using form = trying<void>;
    enum class what : std::uint8_t { enter, leave, undo };

    /// `depth`: that of the savepoint.
    control_job(typename driver::connection& c, operation_base& outer, transaction_use& use, what w, unsigned depth) noexcept
        : connection_(c), use_(use), what_(w), depth_(depth), savepoint_(depth) {
        op_.deadline = outer.deadline;
    }
    control_job(const control_job&) = delete;
    control_job& operator=(const control_job&) = delete;
    ~control_job() {
        if (inside_) use_.leave(depth_);
    }
    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] control_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept {
        inside_ = use_.enter(what_ == what::enter ? depth_ - 1 : depth_);
        if (!inside_) return refuse();
        if constexpr (driver::blocking)
            return need::work;
        else
            return resume();
    }
    [[nodiscard]] need resume() noexcept {
        const guarded unhurried{connection_, nullptr};
        if constexpr (yielding_connection<connection>) connection_.may_yield(true);
        signal s = signal::done;
        try {
            s = step();
        } catch (...) {
            failed_ = error{errc::out_of_memory, phase::execute};
        }
        if (has_ended(s)) {
            if (failed_) use_.note(failed_);
            inside_ = false;
            use_.leave(stays_open() ? depth_ : depth_ - 1);
        }
        return has_ended(s) ? need::done : s == signal::io ? need::io : need::work;
    }
    [[nodiscard]] time_point parked_until() const noexcept { return never; }
    [[nodiscard]] io_wait awaited() noexcept
        requires yielding_connection<connection>
    {
        return connection_.awaited();
    }
    [[nodiscard]] watch_place& watch() noexcept
        requires yielding_connection<connection>
    {
        return connection_.watch();
    }
    [[nodiscard]] answer<form> take_result() {
        answer<form> a{std::move(failed_), nullptr, {}};
        if (!a.failed) a.value.emplace();
        return a;
    }

private:
    [[nodiscard]] bool stays_open() const noexcept {
        return what_ == what::enter ? !failed_ : what_ == what::leave && static_cast<bool>(failed_);
    }
    [[nodiscard]] STRATA_COLD need refuse() noexcept {
        try {
            failed_ = what_ == what::enter ? use_.refusal() : use_.doom_unfinished();
        } catch (...) {  // no memory
            failed_ = error{errc::misuse, phase::execute};
        }
        return need::done;
    }
    [[nodiscard]] signal step() {
        if (what_ == what::undo) return savepoint_.undo(connection_);
        if (!connection_.in_transaction()) {
            failed_ = error{errc::transaction_aborted, "the transaction has ended", phase::execute, effect::rolled_back};
            return signal::failed;
        }
        return what_ == what::enter ? savepoint_.enter(connection_, failed_) : savepoint_.leave(connection_, failed_);
    }

    connection& connection_;
    operation_base op_;
    transaction_use& use_;
    what what_;
    unsigned depth_;
    savepoint<driver> savepoint_;
    error failed_;
    bool inside_ = false;
};

/// Out of a savepoint that was rolled back.
[[noreturn]] STRATA_COLD inline void rethrow_undone(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const failure& f) {
        error e = told_by_closure(f.error());
        if (e.effect() == effect::none) e.set(effect::rolled_back);
        throw_failure(std::move(e));
    }
}

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

}  // namespace detail

/// An open transaction (or savepoint) as a coroutine closure sees it. Lives as long as the closure runs; one call at a time: a second one
/// is refused with `errc::misuse`, and so is the handle of an outer level while a savepoint is open.
template <class Runtime>
class async_transaction_handle : public async_calls<async_transaction_handle<Runtime>>,
                                 public detail::async_extensions<async_transaction_handle<Runtime>, typename Runtime::interceptors> {
public:
    using transaction_type = async_transaction_handle;
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    async_transaction_handle(Runtime& rt, const asio_world& world, connection& c, operation_base& op, detail::transaction_state& state,
                             unsigned depth)
        : rt_(rt), world_(world), connection_(c), op_(op), state_(state), depth_(depth) {}
    async_transaction_handle(const async_transaction_handle&) = delete;
    async_transaction_handle& operator=(const async_transaction_handle&) = delete;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, async_transaction_handle>> {
        using value = detail::awaited_value<Closure, async_transaction_handle>;
        using what = typename detail::control_job<Runtime>::what;
        detail::assert_kept<value, async_transaction_handle>();
        auto entered = co_await control(what::enter);
        if (!entered) throw_failure(std::move(entered).error());
        const detail::transaction_hooks::mark before = state_.hooks.now();
        async_transaction_handle inner{rt_, world_, connection_, op_, state_, depth_ + 1};
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
        // What follows must be said whatever was cancelled: a coroutine that throws on its next co_await would leave the savepoint open.
        const bool throws = co_await asio::this_coro::throw_if_cancelled();
        co_await asio::this_coro::throw_if_cancelled(false);
        bool failed = thrown || detail::holds_error(*returned);
        if (!failed) {
            auto left = co_await control(what::leave);
            failed = !left;
            if (failed) thrown = std::make_exception_ptr(failure(std::move(left).error()));
        }
        if (failed) {
            const auto undone = co_await control(what::undo);
            if (undone) state_.hooks.run(false, before);
        }
        co_await asio::this_coro::throw_if_cancelled(throws);
        if (thrown) detail::rethrow_undone(thrown);
        if constexpr (detail::our_result<value>) {
            if (failed) {
                error e = returned->error();
                e.set(effect::rolled_back);
                co_return detail::failed_value(std::move(*returned), std::move(e));
            }
        }
        if constexpr (!std::is_void_v<value>) co_return std::move(*returned);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, async_transaction_handle>>(async_transaction(std::move(closure)));
    }

    /// See `basic_transaction::on_commit`; the hook is a plain function and runs on the handler's executor.
    template <class F>
    void on_commit(F&& f) {
        state_.add_hook(depth_, true, std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        state_.add_hook(depth_, false, std::forward<F>(f));
    }

    /// Number of the attempt, from 1.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }

    // For `async_calls`.
    [[nodiscard]] auto home(bool alone = true) {
        return detail::pinned_home<Runtime>{rt_, detail::pinned_source<driver>{connection_, state_.use, depth_, alone}, &op_, nullptr};
    }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return depth_ + 1; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(false), std::move(statement), o, batch), world_};
    }

private:
    auto control(typename detail::control_job<Runtime>::what w) {
        detail::default_token token;
        return detail::start<detail::control_job<Runtime>>(world_, token, std::ref(connection_), std::ref(op_), std::ref(state_.use), w,
                                                           depth_ + 1);
    }

    Runtime& rt_;
    const asio_world& world_;
    connection& connection_;
    operation_base& op_;
    detail::transaction_state& state_;
    unsigned depth_;
};

namespace detail {

/// BEGIN, the closure on the caller's executor, COMMIT or ROLLBACK.
template <class Runtime, class Closure>
class async_transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = async_transaction_handle<Runtime>;
    using value = awaited_value<Closure, handle>;

public:
    async_transaction_work(Runtime& rt, const asio_world& world, Closure closure, const transaction_plan<driver>& plan)
        : rt_(rt), world_(world), closure_(std::move(closure)), plan_(plan) {
        assert_kept<value, handle>();
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = connection_ == nullptr ? enter(c, op) : leave(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        connection_ = nullptr;
        course_.reset();
    }

    /// Does on the executor what only the user's code can, and calls `done` there when it has ended: the closure; before another attempt,
    /// the hooks of the one before; after the closure, nothing, until whoever still uses its handle has left.
    template <class Executor, class Done>
    void call(const Executor& ex, Done done) {
        if (!course_) {
            state.run_before_attempt();
            return done();
        }
        if (late_) return await_others(ex, std::move(done));
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
    transaction_state state;

private:
    [[nodiscard]] signal enter(connection& c, operation_base& op) {
        if (!state.hooks.empty()) return signal::call;  // of the attempt before
        if (!course_) {
            thrown = nullptr;
            returned.reset();
            error_ = {};
            course_.emplace(plan_, op.attempt);
        }
        const guarded guard{c, &op};
        const signal s = course_->begin(c, error_);
        if (s != signal::done) return s;
        state.use.begin();
        connection_ = &c;
        op_ = &op;
        ending_ = late_ = false;
        return signal::call;
    }
    [[nodiscard]] signal leave(connection& c, operation_base& op) {
        if (!ending_) {
            if (!state.use.try_end()) [[unlikely]] {  // a call that nobody waited for
                if (!std::exchange(late_, true)) was_cancelled_ = op.cancelled.exchange(true, std::memory_order_relaxed);
                return signal::call;
            }
            if (late_) op.cancelled.store(was_cancelled_, std::memory_order_relaxed);
            ending_ = true;
            error_ = {};
            if (thrown)
                error_ = own_error();
            else if (returned && holds_error(*returned))
                error_ = error_in(*returned);
            if (!error_) error_ = stopped(op, rt_.world());  // also when the cancel was there before the closure
            if (late_) error_ = state.use.doom_unfinished();
            error_ = verdict_of(state.use, std::move(error_));
            commits_ = !error_;
        }
        return commits_ ? course_->commit(c, error_) : course_->roll_back(c, error_);
    }

    /// Looks now and then.
    template <class Executor, class Done>
    STRATA_COLD void await_others(const Executor& ex, Done done) {
        auto timer = std::make_unique<asio::steady_timer>(ex, std::chrono::milliseconds{1});
        asio::steady_timer& t = *timer;
        t.async_wait([this, ex, timer = std::move(timer), done = std::move(done)](const boost::system::error_code&) mutable {
            if (state.use.is_busy()) return await_others(ex, std::move(done));
            done();
        });
    }

    /// Total cancellation is let through: by default a coroutine would not see it.
    asio::awaitable<void> run() {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        handle& tx = handle_.emplace(rt_, world_, *connection_, *op_, state, 0u);
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
            return told_by_closure(f.error());
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
    const transaction_plan<driver> plan_;
    std::optional<handle> handle_;  // outlives the closure, so that it can refuse whoever uses it then
    connection* connection_ = nullptr;
    operation_base* op_ = nullptr;
    std::optional<transaction_course<driver>> course_;  // of this attempt
    error error_;
    bool ending_ = false;
    bool late_ = false;  // a call on the handle outlasts the closure; it is cancelled, and waited for
    bool was_cancelled_ = false;
    bool commits_ = false;
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
        : home_(std::move(home)), world_(world), work_(home_.runtime(), world_, std::move(closure), plan_of(home_.runtime(), o)),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        assert_transactions<runtime_type>();
        op_.name = o.name;
        op_.tags = o.tags;
        op_.priority = o.priority;
        op_.reads_only = o.read_only;
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }
    static constexpr bool has_closure = true;
    template <class Executor, class Done>
    void call(const Executor& ex, Done&& done) {
        work_.call(ex, std::forward<Done>(done));
    }
    void cancel(asio::cancellation_type type) { work_.cancel(type); }

    [[nodiscard]] answer<Form> take_result() {
        work_.state.run_hooks(flight_.result().error());
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
        try {
            auto workers = world.workers();
            asio::post(workers, [last = std::move(last)] { static_cast<void>(last->give_back(ending::roll_back)); });
        } catch (const std::exception&) {  // no thread: here, then, unless it is gone already
            if (last != nullptr) static_cast<void>(last->give_back(ending::roll_back));
        }
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
                const std::optional<transaction_plan<typename Runtime::driver>>& begin, const std::source_location& where)
        : state_(new state(rt, begin), give_back_later<Runtime, Facts>{world}), world_(world) {
        state_->where = where;
        state_->op.name = o.name;
        state_->op.tags = o.tags;
        state_->op.priority = o.priority;
        state_->op.reads_only = o.read_only;
        state_->op.deadline = deadline_of(rt->world(), o.deadline, nullptr);
    }
    /// Gives it back.
    holding_job(std::shared_ptr<state> s, const asio_world& world, ending how) noexcept : state_(std::move(s)), world_(world), how_(how) {}

    [[nodiscard]] operation_base& op() noexcept { return state_->op; }
    [[nodiscard]] need begin() noexcept {
        if (!how_) return state_->f.start();
        in_use_ = !state_->work.state.use.try_end();
        if (in_use_) return need::done;  // who uses it keeps it alive; then it is rolled back
        state_->work.how = *how_;
        if constexpr (Runtime::driver::blocking)
            return need::work;
        else
            return state_->f.resume();
    }
    [[nodiscard]] auto& flown() noexcept { return state_->f; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a;
        if (in_use_) {
            a.failed = state_->work.state.use.doom_unfinished();
            return a;
        }
        if (how_) state_->run_hooks();
        const bool here = state_->work.held != nullptr;
        state_->note_place();
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
    bool in_use_ = false;
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
class async_held : public async_calls<async_held<Runtime, Facts, Scope>>,
                   public async_extensions<async_held<Runtime, Facts, Scope>, typename Runtime::interceptors> {
public:
    using driver = typename Runtime::driver;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = Scope;

    async_held() noexcept = default;  // Asio needs an empty one to complete with an error
    async_held(std::shared_ptr<holding<Runtime, Facts>> s, const asio_world& w) : held_(std::move(s), w) {}

    /// The driver's own handle. Not while a call is on its way.
    [[nodiscard]] auto native_handle() { return held_.get().work.held->native_handle(); }

    // For `async_calls`.
    [[nodiscard]] auto home(bool alone = true) {
        auto& s = held_.get();
        using source = pinned_source<driver>;
        return pinned_home<Runtime>{*s.rt,
                                    Scope == scope::transaction ? source{*s.work.held, s.work.state.use, 0, alone} : source{*s.work.held},
                                    &s.op, held_.shared()};
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
        return async_row_stream<T, state>{std::make_shared<state>(home(false), std::move(statement), o, batch), world()};
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

    using runtime_type = Runtime;
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
        transaction_type self{*keep->rt, w, *keep->work.held, keep->op, keep->work.state, 0};
        co_return co_await self.async_transaction(std::move(closure));
    }
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, transaction_type>>(async_transaction(std::move(closure)));
    }

    /// See `basic_transaction::on_commit`; they run on the handler's executor, on a work thread where the handle is dropped.
    template <class F>
    void on_commit(F&& f) {
        this->shared()->work.state.add_hook(0, true, std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        this->shared()->work.state.add_hook(0, false, std::forward<F>(f));
    }

    /// Completes with `void(std::exception_ptr)`; the handle is empty after it, whatever comes out. `errc::misuse`, and a rollback, while a
    /// call on it is on its way.
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

// Independent work of the asynchronous face; see strata/independent.hpp.
#ifndef STRATA_ASYNC_INDEPENDENT_HPP
#define STRATA_ASYNC_INDEPENDENT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The runtime, and the pool that is kept for independent work.
template <class Runtime>
class reserved_home : public runtime_home<Runtime> {
public:
    using source_type = reserve_type<Runtime>;
    explicit reserved_home(std::shared_ptr<Runtime> rt) : runtime_home<Runtime>(std::move(rt)), source_(&reserve_of(this->runtime())) {}
    [[nodiscard]] source_type& source() noexcept { return *source_; }

private:
    source_type* source_;
};

}  // namespace detail

/// Calls and transactions on the reserved connections; they pass all layers of the stack as any others. Cheap to copy.
template <class Runtime>
class async_independent_database : public async_calls<async_independent_database<Runtime>>,
                                   public detail::async_extensions<async_independent_database<Runtime>, typename Runtime::interceptors> {
    using home_type = detail::reserved_home<Runtime>;

public:
    using driver = typename Runtime::driver;
    using transaction_type = async_transaction_handle<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// `async_database::independent()`.
    async_independent_database(std::shared_ptr<Runtime> rt, asio_world w) : home_(std::move(rt)), world_(std::move(w)) {}

    /// As `async_database::async_transaction`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return run<detail::throwing<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return run<detail::trying<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), std::forward<Token>(token));
    }

    // For `async_calls`.
    [[nodiscard]] home_type home() { return home_; }
    [[nodiscard]] static unsigned depth_of_batch() noexcept { return 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<home_type, Bound, T, false>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    template <class Form, class Closure, class Token>
    auto run(Closure closure, Token&& token) {
        using job = detail::transaction_job<home_type, Closure, Form>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), transaction_options<driver>{});
    }

    home_type home_;
    asio_world world_;
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

/// One set of work threads a runtime, its number said by its first asynchronous face.
template <class Runtime>
[[nodiscard]] std::shared_ptr<work_threads> work_threads_of(Runtime& rt, const async_options& o) {
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
        e.object = std::shared_ptr<work_threads>(new work_threads(n), work_threads::end{});
    }
    return std::static_pointer_cast<work_threads>(e.object);
}

}  // namespace detail

class hedge;
template <class Database>
class async_hedged;

namespace detail {

/// Filled in by async/hedged.hpp.
template <class Database, bool HedgedIncluded>
struct async_hedged_calls {
    static int of(const Database&, hedge&) {
        static_assert(!HedgedIncluded, "strata: adb.hedged(h) needs  #include <strata/async/hedged.hpp>");
        return 0;
    }
};

}  // namespace detail

/// A database, as asynchronous code sees it. Cheap to copy; thread-safe. Calls keep the runtime alive, so the database may
/// be destroyed before they end; the executor's context must not be destroyed from within one of its own handlers. A handler
/// that is bound to an executor of another context must not outlive that context, as everywhere in Asio, and both must run until it
/// has been called.
template <class Stack, class World = system_world>
class async_database : public async_calls<async_database<Stack, World>>,
                       public detail::async_extensions<async_database<Stack, World>, Stack> {
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
        : rt_(std::move(rt)), world_(std::move(ex), detail::work_threads_of(*rt_, o)) {}
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
    auto async_begin(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_begin(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_begin(const transaction_options<driver>& o, Token&& token = {}, std::source_location at = std::source_location::current()) {
        return begun<detail::throwing<owned_transaction_type>>(o, at, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_try_begin(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(const transaction_options<driver>& o, Token&& token = {},
                         std::source_location at = std::source_location::current()) {
        return begun<detail::trying<owned_transaction_type>>(o, at, std::forward<Token>(token));
    }

    /// A pinned connection.
    template <detail::completion Token = detail::default_token>
    auto async_session(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_session(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_session(const transaction_options<driver>& o, Token&& token = {},
                       std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, detail::throwing<session_type>>(o, std::nullopt, at, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_try_session(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(const transaction_options<driver>& o, Token&& token = {},
                           std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, detail::trying<session_type>>(o, std::nullopt, at, std::forward<Token>(token));
    }

    /// The same database for hedged reads: a second try where the first takes longer than such reads usually do. `h` must outlive the
    /// calls.
    template <class Self = async_database>
    [[nodiscard]] auto hedged(hedge& h) const {
        return detail::async_hedged_calls<Self, true>::of(*this, h);
    }

    /// As `database::independent`, over the loop.
    [[nodiscard]] async_independent_database<runtime_type> independent() const { return {rt_, world_}; }

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
    /// The source itself, to steer: `db.source().resize(4)`, `db.source().retire_all()`. Thread-safe.
    [[nodiscard]] auto& source() noexcept { return rt_->connections(); }
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
    template <class Form, class Token>
    auto begun(const transaction_options<driver>& o, const std::source_location& at, Token&& token) {
        detail::assert_transactions<runtime_type>();
        return hold<detail::transaction_facts, Form>(o, detail::plan_of(*rt_, o), at, std::forward<Token>(token));
    }
    template <operation_facts Facts, class Form, class Token>
    auto hold(const transaction_options<driver>& o, const std::optional<detail::transaction_plan<driver>>& begin,
              const std::source_location& at, Token&& token) {
        return detail::start<detail::holding_job<runtime_type, Facts, Form>>(world_, std::forward<Token>(token), rt_, world_, o, begin, at);
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

// The asynchronous face: everything of strata that needs Boost.Asio.
#ifndef STRATA_ASYNC_HPP
#define STRATA_ASYNC_HPP

#endif

#endif
