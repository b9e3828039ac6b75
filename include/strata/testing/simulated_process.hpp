// The machinery of a simulated world: processes (one a client), the queue of those that are ready, and the timers.
#ifndef STRATA_TESTING_SIMULATED_PROCESS_HPP
#define STRATA_TESTING_SIMULATED_PROCESS_HPP

#include <strata/core/operation.hpp>
#include <strata/testing/simulated_task.hpp>

#include <algorithm>
#include <string>
#include <vector>

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
