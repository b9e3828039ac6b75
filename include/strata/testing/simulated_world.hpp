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

#include <strata/core/world.hpp>
#include <strata/testing/simulated_process.hpp>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

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
