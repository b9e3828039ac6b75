// Generated from include/strata/testing/simulated_world.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_TESTING_SIMULATED_WORLD_HPP
#define STRATA_SINGLE_TESTING_SIMULATED_WORLD_HPP

#include <strata/strata.hpp>

#include <algorithm>
#include <coroutine>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// The coroutine type of simulated clients: `co_await db.one<T>(...)`, `co_await world.sleep(5ms)`, another task.
//
// Nothing recurses: whoever hands over names the next one to go on, and the loop of the simulated process calls it. So a
// chain of a million tasks that end at once needs no stack, also where a compiler makes no tail calls.
//
// g++ 12 miscompiles co_await inside a condition (if, while, ?:, an assertion): bind the result first, then look at it. And it
// destroys twice what a lambda or another aggregate written in a co_await expression holds by value: bind that first too.
#ifndef STRATA_TESTING_SIMULATED_TASK_HPP
#define STRATA_TESTING_SIMULATED_TASK_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// Somebody who can go on: a suspended coroutine, or an awaited operation.
struct continuation {
    void (*go)(void*) noexcept = nullptr;
    void* what = nullptr;

    [[nodiscard]] explicit operator bool() const noexcept { return go != nullptr; }
    void operator()() const noexcept { go(what); }

    [[nodiscard]] static continuation of_coroutine(std::coroutine_handle<> h) noexcept {
        return {[](void* address) noexcept { std::coroutine_handle<>::from_address(address).resume(); }, h.address()};
    }
    /// Of an object with `go_on()`.
    template <class T>
    [[nodiscard]] static continuation of(T& object) noexcept {
        return {[](void* address) noexcept { static_cast<T*>(address)->go_on(); }, &object};
    }
};

/// What coroutines run in: its loop calls `next` until there is none.
struct simulated_loop {
    continuation next;
};

struct simulated_promise_base {
    simulated_loop* loop = nullptr;  ///< where it runs; known when it is started
    continuation after;              ///< who awaits its end
    std::exception_ptr thrown;

    struct hand_over {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> h) const noexcept {
            h.promise().loop->next = h.promise().after;
        }
        void await_resume() const noexcept {}
    };
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] hand_over final_suspend() const noexcept { return {}; }
    void unhandled_exception() noexcept { thrown = std::current_exception(); }
};

template <class T>
struct simulated_promise : simulated_promise_base {
    std::optional<T> value;

    inline auto get_return_object() noexcept;
    template <class U>
    void return_value(U&& v) {
        value.emplace(std::forward<U>(v));
    }
    [[nodiscard]] T take() {
        if (thrown) std::rethrow_exception(thrown);
        return std::move(*value);
    }
};
template <>
struct simulated_promise<void> : simulated_promise_base {
    inline auto get_return_object() noexcept;
    void return_void() const noexcept {}
    void take() const {
        if (thrown) std::rethrow_exception(thrown);
    }
};

}  // namespace detail

/// A coroutine that runs in a simulated world: started when it is awaited, or by `simulated_world::spawn`; its value or
/// exception comes out of `co_await`. Destroyed before its end it destroys what it awaits, and so abandons the operation.
template <class T = void>
class [[nodiscard]] simulated_task {
public:
    using promise_type = detail::simulated_promise<T>;
    using value_type = T;

    explicit simulated_task(std::coroutine_handle<promise_type> h) noexcept : handle_(h) {}
    simulated_task(simulated_task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    simulated_task& operator=(simulated_task&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~simulated_task() {
        if (handle_) handle_.destroy();
    }

    /// Names the coroutine as the next to go on in a loop; `after` goes on when it has ended. Called once.
    void start(detail::simulated_loop& loop, detail::continuation after) noexcept {
        handle_.promise().loop = &loop;
        handle_.promise().after = after;
        loop.next = detail::continuation::of_coroutine(handle_);
    }
    /// Its value or its exception, when it has ended.
    T take() { return handle_.promise().take(); }

    [[nodiscard]] auto operator co_await() && noexcept { return awaiter{*this}; }

private:
    struct awaiter {
        simulated_task& task;
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> parent) const noexcept {
            task.start(*parent.promise().loop, detail::continuation::of_coroutine(parent));
        }
        T await_resume() const { return task.take(); }
    };

    std::coroutine_handle<promise_type> handle_;
};

namespace detail {

template <class T>
auto simulated_promise<T>::get_return_object() noexcept {
    return simulated_task<T>{std::coroutine_handle<simulated_promise>::from_promise(*this)};
}
inline auto simulated_promise<void>::get_return_object() noexcept {
    return simulated_task<void>{std::coroutine_handle<simulated_promise>::from_promise(*this)};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The machinery of a simulated world: processes (one a client), the queue of those that are ready, and the timers.
#ifndef STRATA_TESTING_SIMULATED_PROCESS_HPP
#define STRATA_TESTING_SIMULATED_PROCESS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

class simulated_schedule;

/// One client. It is the waker of all its operations: woken, it stands at the end of the queue.
class simulated_process final : public waker, public simulated_loop {
public:
    inline simulated_process(simulated_schedule& where, std::uint64_t number, std::string name, simulated_task<> body);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] bool done() const noexcept { return state_ == state::done; }
    [[nodiscard]] bool running() const noexcept { return state_ == state::running; }

    /// Stops here until it is woken or `until`; then `who` goes on, and looks whether it was woken for nothing. What it waits
    /// for (`what`, for the sake of `whose`) is told in a deadlock; both must live as long as it waits.
    inline void park(continuation who, time_point until, std::string_view what, std::string_view whose = {}) noexcept;

    inline void wake() noexcept override;
    inline void destroy() noexcept;
    [[nodiscard]] inline time_point now() const noexcept;

    /// Cancels the outermost call that it is in.
    bool cancel() noexcept {
        if (call == nullptr) return false;
        call->cancelled.store(true, std::memory_order_relaxed);
        wake();
        return true;
    }
    operation_base* call = nullptr;

    /// Its body has ended.
    void go_on() noexcept { ended_ = true; }

private:
    friend class simulated_schedule;
    enum class state : std::uint8_t { ready, running, parked, done };
    static constexpr std::size_t no_timer = ~std::size_t{0};

    void dispose() noexcept override { delete this; }
    ~simulated_process() = default;

    simulated_schedule& where_;
    const std::uint64_t number_;
    const std::string name_;
    std::optional<simulated_task<>> body_;
    continuation parked_;
    std::string_view what_, whose_;
    state state_ = state::ready;
    bool woken_ = false;  ///< while it was running
    bool ended_ = false;
    time_point until_{};
    std::uint64_t armed_ = 0;       ///< orders the timers of one point in time
    std::size_t timer_ = no_timer;  ///< its place in the heap
    std::size_t live_ = 0;          ///< its place among those that have not ended
    simulated_process* next_ready_ = nullptr;
    simulated_process* previous_ready_ = nullptr;
};

/// Who goes on, and when.
class simulated_schedule {
public:
    simulated_schedule() = default;
    simulated_schedule(const simulated_schedule&) = delete;
    simulated_schedule& operator=(const simulated_schedule&) = delete;

    [[nodiscard]] time_point now() const noexcept { return now_; }
    /// Since the world began.
    [[nodiscard]] duration elapsed() const noexcept { return now_ - beginning; }
    /// How often a client went on.
    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
    /// Of who went on when, and of what was noted.
    [[nodiscard]] std::uint64_t digest() const noexcept { return digest_; }
    /// Clients that have not ended.
    [[nodiscard]] std::size_t unfinished() const noexcept { return live_.size(); }
    /// Destroys all clients that have not ended, the youngest first.
    void abandon() noexcept {
        while (!live_.empty())
            (*std::max_element(live_.begin(), live_.end(), [](auto* a, auto* b) { return a->number_ < b->number_; }))->destroy();
    }

protected:
    static constexpr time_point beginning{std::chrono::hours{1}};  // not 0, which could hide that nobody set a time

    ~simulated_schedule() = default;

    simulated_process& begin(std::string name, simulated_task<> body) {
        live_.reserve(live_.size() + 1);
        timers_.reserve(live_.size() + 1);  // so that nothing fails later
        auto* p = new simulated_process(*this, ++spawned_, std::move(name), std::move(body));
        p->live_ = live_.size();
        live_.push_back(p);
        push_ready(*p);
        return *p;
    }

    /// Lets the next one go on; false when nobody is ready up to `limit`.
    bool step(time_point limit) noexcept {
        if (first_ready_ == nullptr) {
            if (timers_.empty() || timers_.front()->until_ > limit) return false;
            pass_to(timers_.front()->until_);
            do {
                simulated_process& p = *timers_.front();
                disarm(p);
                push_ready(p);
            } while (!timers_.empty() && timers_.front()->until_ <= now_);
        }
        simulated_process& p = *first_ready_;
        unlink_ready(p);
        run(p);
        return true;
    }
    [[nodiscard]] bool is_anybody_ready() const noexcept { return first_ready_ != nullptr; }
    /// When the next of those who wait for time goes on.
    [[nodiscard]] time_point next_timer() const noexcept { return timers_.empty() ? never : timers_.front()->until_; }
    void pass_to(time_point t) noexcept {
        if (t > now_) now_ = t;
    }
    [[nodiscard]] bool is_running() const noexcept { return running_ != 0; }
    [[nodiscard]] std::exception_ptr& thrown() noexcept { return thrown_; }
    void mix(std::uint64_t value) noexcept {
        digest_ = (digest_ ^ value) * 0x9e3779b97f4a7c15u;
        digest_ ^= digest_ >> 29;
    }

    [[nodiscard]] std::string who_waits() const {
        constexpr std::size_t most = 20;
        std::vector<const simulated_process*> all(live_.begin(), live_.end());
        std::sort(all.begin(), all.end(), [](auto* a, auto* b) { return a->number_ < b->number_; });
        std::string s =
            "everybody waits for ever, " + std::to_string(std::chrono::duration<double>(elapsed()).count()) + " s after the beginning:";
        for (std::size_t i = 0; i < all.size() && i < most; ++i) {
            s.append("\n  ").append(all[i]->name_).append(" waits for ").append(all[i]->running() ? "a blocking call" : all[i]->what_);
            if (!all[i]->running() && !all[i]->whose_.empty()) s.append(": ").append(all[i]->whose_);
        }
        if (all.size() > most) s.append("\n  and ").append(std::to_string(all.size() - most)).append(" more");
        return s;
    }

private:
    friend class simulated_process;

    void run(simulated_process& p) noexcept {
        ++steps_;
        mix(p.number_);
        mix(static_cast<std::uint64_t>(now_.time_since_epoch().count()));
        ++running_;
        p.state_ = simulated_process::state::running;
        p.woken_ = false;
        p.next = std::exchange(p.parked_, {});
        while (p.next) std::exchange(p.next, {})();
        --running_;
        if (p.ended_) return finish(p);
        if (p.running()) p.park({}, never, "something that is not of this world");
    }
    void finish(simulated_process& p) noexcept {
        try {
            p.body_->take();
        } catch (...) {
            if (!thrown_) thrown_ = std::current_exception();
        }
        bury(p);
    }
    void bury(simulated_process& p) noexcept {
        p.state_ = simulated_process::state::done;
        p.body_.reset();
        live_.back()->live_ = p.live_;
        live_[p.live_] = live_.back();
        live_.pop_back();
        p.release();
    }

    void push_ready(simulated_process& p) noexcept {
        p.state_ = simulated_process::state::ready;
        p.next_ready_ = nullptr;
        p.previous_ready_ = last_ready_;
        (last_ready_ != nullptr ? last_ready_->next_ready_ : first_ready_) = &p;
        last_ready_ = &p;
    }
    void unlink_ready(simulated_process& p) noexcept {
        (p.previous_ready_ != nullptr ? p.previous_ready_->next_ready_ : first_ready_) = p.next_ready_;
        (p.next_ready_ != nullptr ? p.next_ready_->previous_ready_ : last_ready_) = p.previous_ready_;
    }

    // A binary heap in which each process knows its place.
    [[nodiscard]] static bool earlier(const simulated_process* a, const simulated_process* b) noexcept {
        return a->until_ != b->until_ ? a->until_ < b->until_ : a->armed_ < b->armed_;
    }
    void arm(simulated_process& p) noexcept {
        p.armed_ = ++armed_;
        timers_.push_back(&p);
        rise(timers_.size() - 1);
    }
    void disarm(simulated_process& p) noexcept {
        const std::size_t i = std::exchange(p.timer_, simulated_process::no_timer);
        if (i == simulated_process::no_timer) return;
        simulated_process* last = timers_.back();
        timers_.pop_back();
        if (last == &p) return;
        timers_[i] = last;
        rise(i);
        sink(last->timer_);
    }
    void rise(std::size_t i) noexcept {
        simulated_process* p = timers_[i];
        for (; i > 0 && earlier(p, timers_[(i - 1) / 2]); i = (i - 1) / 2) place(i, timers_[(i - 1) / 2]);
        place(i, p);
    }
    void sink(std::size_t i) noexcept {
        simulated_process* p = timers_[i];
        for (std::size_t child = 0; (child = 2 * i + 1) < timers_.size(); i = child) {
            if (child + 1 < timers_.size() && earlier(timers_[child + 1], timers_[child])) ++child;
            if (!earlier(timers_[child], p)) break;
            place(i, timers_[child]);
        }
        place(i, p);
    }
    void place(std::size_t i, simulated_process* p) noexcept {
        timers_[i] = p;
        p->timer_ = i;
    }

    time_point now_ = beginning;
    std::vector<simulated_process*> timers_, live_;
    simulated_process* first_ready_ = nullptr;
    simulated_process* last_ready_ = nullptr;
    unsigned running_ = 0;  ///< clients on the stack: more than one in a blocking call
    std::uint64_t steps_ = 0, spawned_ = 0, armed_ = 0, digest_ = 0;
    std::exception_ptr thrown_;
};

inline simulated_process::simulated_process(simulated_schedule& where, std::uint64_t number, std::string name, simulated_task<> body)
    : where_(where), number_(number), name_(std::move(name)), body_(std::move(body)) {
    body_->start(*this, continuation::of(*this));
    parked_ = std::exchange(next, {});
}

inline void simulated_process::park(continuation who, time_point until, std::string_view what, std::string_view whose) noexcept {
    parked_ = who;
    what_ = what;
    whose_ = whose;
    if (std::exchange(woken_, false)) return where_.push_ready(*this);
    state_ = state::parked;
    until_ = until;
    if (until != never) where_.arm(*this);
}

inline void simulated_process::wake() noexcept {
    if (state_ == state::running) woken_ = true;
    if (state_ != state::parked) return;
    where_.disarm(*this);
    where_.push_ready(*this);
}

inline void simulated_process::destroy() noexcept {
    if (done()) return;
    where_.disarm(*this);
    if (state_ == state::ready) where_.unlink_ready(*this);
    where_.bury(*this);
}

inline time_point simulated_process::now() const noexcept {
    return where_.now();
}

/// A counted reference to a process.
class process_reference {
public:
    process_reference() noexcept = default;
    explicit process_reference(simulated_process* p) noexcept : process_(p) {
        if (p != nullptr) p->retain();
    }
    process_reference(const process_reference& other) noexcept : process_reference(other.process_) {}
    process_reference& operator=(process_reference other) noexcept {
        std::swap(process_, other.process_);
        return *this;
    }
    ~process_reference() {
        if (process_ != nullptr) process_->release();
    }
    [[nodiscard]] simulated_process* operator->() const noexcept { return process_; }

private:
    simulated_process* process_ = nullptr;
};

/// The process that a coroutine runs in.
template <class Promise>
[[nodiscard]] simulated_process& process_of(std::coroutine_handle<Promise> h) noexcept {
    return static_cast<simulated_process&>(*h.promise().loop);
}

/// What `co_await world.sleep(...)` awaits.
class simulated_sleep {
public:
    simulated_sleep(simulated_schedule& where, time_point until) noexcept : where_(where), until_(until) {}
    simulated_sleep(const simulated_sleep&) = delete;
    simulated_sleep& operator=(const simulated_sleep&) = delete;

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) noexcept {
        process_ = &process_of(h);
        back_ = continuation::of_coroutine(h);
        park();
    }
    void await_resume() const noexcept {}

    void go_on() noexcept {
        if (where_.now() < until_)
            park();  // woken for nothing
        else
            process_->next = back_;
    }

private:
    void park() noexcept { process_->park(continuation::of(*this), until_, "a point in time that never comes"); }

    simulated_schedule& where_;
    time_point until_;
    simulated_process* process_ = nullptr;
    continuation back_;
};

/// What `co_await world.yield()` awaits.
struct simulated_yield {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> h) const noexcept {
        process_of(h).wake();
        process_of(h).park(continuation::of_coroutine(h), never, "its turn");
    }
    void await_resume() const noexcept {}
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A world whose time is a number: a clock that jumps to the next event, an ordered list of timers, a first-in-first-out
// queue of what is ready, seeded randomness. Equal seeds give equal runs, on every compiler.
//
//   strata::simulated_world world{seed};
//   strata::simulated_database<stack<pool<>, scripted>> db{world, strata::scripted_options{.script = script}};
//   world.spawn("client 1", [&]() -> strata::simulated_task<> {
//       co_await world.sleep(5ms);
//       co_await db.execute(add("id"_arg = 1));
//   });
//   world.run();
//
// Clients are coroutines on one thread; only drivers that wait through the world (`scripted`) can be simulated. A blocking
// call (`database<Stack, simulated_world>`) made outside of the clients lets them run until it is done.
#ifndef STRATA_TESTING_SIMULATED_WORLD_HPP
#define STRATA_TESTING_SIMULATED_WORLD_HPP

namespace strata::inline STRATA_ABI {

/// Everybody waits for something that nobody will give. `what()` names who waits and for what.
class simulated_deadlock : public std::logic_error {
public:
    using std::logic_error::logic_error;
};

class simulated_world;

/// A client of a simulation, to be looked at, cancelled or destroyed from outside. Cheap to copy; keeps nothing running.
class simulated_client {
public:
    simulated_client() noexcept = default;
    [[nodiscard]] const std::string& name() const noexcept { return process_->name(); }
    /// Ended, by itself or destroyed.
    [[nodiscard]] bool done() const noexcept { return process_->done(); }
    /// Cancels the call that it is in, as the caller would. False when it is in none.
    bool cancel() const noexcept { return process_->cancel(); }
    /// Wakes it for nothing: whoever waits must notice and wait on.
    void wake() const noexcept { process_->wake(); }
    /// Destroys its coroutine where it stands: what it awaits is abandoned. Not while it is running itself.
    void destroy() const {
        if (process_->running()) throw_failure(error{errc::misuse, "a simulated client destroyed itself", phase::admission});
        process_->destroy();
    }

private:
    friend class simulated_world;
    explicit simulated_client(detail::simulated_process* p) noexcept : process_(p) {}
    detail::process_reference process_;
};

/// One thread only, and not to be moved: what lives in it refers to it. It must outlive the databases in it.
class simulated_world final : public detail::simulated_schedule, public background_runner {
public:
    /// A runtime refers to it, and does not own one.
    static constexpr bool shared = true;

    explicit simulated_world(std::uint64_t seed = 1) noexcept : random_(seed), choices_(~seed) {}
    ~simulated_world() { abandon(); }

    /// For policies, sources and drivers.
    [[nodiscard]] strata::moment moment() noexcept { return {now(), &random_}; }
    /// The calendar: 2026-01-01 00:00 UTC when the world begins.
    [[nodiscard]] std::chrono::system_clock::time_point wall_now() const noexcept override {
        return std::chrono::system_clock::time_point{std::chrono::hours{24} * 20'454} +
               std::chrono::duration_cast<std::chrono::system_clock::duration>(elapsed());
    }

    /// Randomness for tests; what policies draw does not change it.
    [[nodiscard]] std::uint64_t random() noexcept { return choices_.next(); }
    /// 0 to `n` - 1.
    [[nodiscard]] std::uint64_t below(std::uint64_t n) noexcept { return choices_.next() % n; }
    /// Uniform in `from` to `to`, both included.
    [[nodiscard]] duration between(duration from, duration to) noexcept {
        return from + duration{static_cast<duration::rep>(below(static_cast<std::uint64_t>((to - from).count()) + 1))};
    }

    /// A client: `body()` returns its `simulated_task<>`. It begins when its turn comes, after everybody who is ready now.
    /// What the body captured lives as long as the client. An exception that leaves it comes out of `run`.
    template <class Body>
    simulated_client spawn(std::string name, Body body) {
        return simulated_client{&begin(std::move(name), keep(std::move(body)))};
    }

    /// `co_await world.sleep(5ms)`.
    [[nodiscard]] detail::simulated_sleep sleep(duration d) noexcept { return {*this, add_saturated(now(), d)}; }
    [[nodiscard]] detail::simulated_sleep sleep_until(time_point t) noexcept { return {*this, t}; }
    /// `co_await world.yield()`: everybody who is ready now goes first.
    [[nodiscard]] detail::simulated_yield yield() const noexcept { return {}; }

    /// Runs until nothing is left to do. Throws the first of what clients threw, and `simulated_deadlock` when clients are left that wait
    /// for ever; they are left as they are.
    void run() {
        outermost();
        do throw_what_was_thrown();
        while ((unfinished() != 0 || is_anybody_ready()) && advance(never));
        if (unfinished() != 0) throw simulated_deadlock(who_waits());
    }
    /// Runs everything that is due up to `t`; then it is `t`.
    void run_until(time_point t) {
        outermost();
        do throw_what_was_thrown();
        while (advance(t));
        pass_to(t);
    }
    void run_for(duration d) { run_until(add_saturated(now(), d)); }

    /// For blocking calls: lets everybody else run until the node is granted or `until`. When that can never be, the program
    /// ends with the names of those who wait.
    void park(waiter* node, time_point until) noexcept {
        while ((node == nullptr || !node->is_granted()) && now() < until) {
            if (advance(until)) continue;
            if (until == never) {
                std::fputs(("strata: a blocking call waits for ever; " + who_waits()).c_str(), stderr);
                std::abort();
            }
            pass_to(until);
        }
    }

    /// Runs the task whenever it is due, until `unspawn`. It is nobody for whom `run()` goes on.
    void spawn(background& task) noexcept {
        if (task.due < now()) task.due = now();
        task.runner = this;
        task.next = tasks_;
        tasks_ = &task;
    }
    bool rouse(background& task) noexcept override {
        if (task.running)
            task.roused = true;
        else
            task.due = now();
        return true;
    }
    void unspawn(background& task) noexcept {
        task.cancel();
        for (background** link = &tasks_; *link != nullptr; link = &(*link)->next)
            if (*link == &task) {
                *link = task.next;
                return;
            }
    }

    /// Writes something down in the digest: two runs with equal digests did the same.
    void note(std::uint64_t value) noexcept { mix(value); }

private:
    template <class Body>
    static simulated_task<> keep(Body body) {
        co_await body();
    }
    /// The next thing that happens up to `limit`; false: nothing does. That background work goes on for ever without anybody else going on
    /// counts as nothing.
    bool advance(time_point limit) noexcept {
        constexpr int for_ever = 100'000;
        background* task = tasks_;
        for (background* other = tasks_; other != nullptr; other = other->next)
            if (other->due < task->due) task = other;
        if (task != nullptr && task->due != never && task->due <= limit && !is_anybody_ready() && task->due <= next_timer() &&
            (limit != never || next_timer() != never || alone_ < for_ever)) {
            ++alone_;
            pass_to(task->due);
            task->running = true;
            const time_point due = task->run(moment());
            task->running = false;
            task->due = std::exchange(task->roused, false) ? now() : due;
            return true;
        }
        alone_ = 0;
        return step(limit);
    }
    void outermost() const {
        if (is_running())
            throw_failure(error{errc::misuse, "run() was called by a simulated client: it is running already", phase::admission});
    }
    void throw_what_was_thrown() {
        if (thrown()) [[unlikely]]
            std::rethrow_exception(std::exchange(thrown(), nullptr));
    }

    splitmix random_;
    splitmix choices_;
    background* tasks_ = nullptr;
    int alone_ = 0;  ///< turns of background work in a row
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
