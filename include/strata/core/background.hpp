// Work that a runtime does by itself, besides its callers: a pool that looks after its connections.
//
// A task is resumable: it is run when its time has come, does what is due, and says when it wants to be run again. So the same task is run
// by a thread in the real world and in virtual time by a simulation.
#ifndef STRATA_CORE_BACKGROUND_HPP
#define STRATA_CORE_BACKGROUND_HPP

#include <strata/core/fork.hpp>
#include <strata/core/lock.hpp>
#include <strata/core/time.hpp>

#include <cstddef>
#include <utility>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <csignal>
#else
#include <thread>
#endif

namespace strata::inline STRATA_ABI {

class background;

/// Whoever runs tasks: a world.
class background_runner {
public:
    /// `background::rouse`.
    virtual bool rouse(background& task) noexcept = 0;
    /// The calendar's time, for what depends on the hour of the day.
    [[nodiscard]] virtual std::chrono::system_clock::time_point wall_now() const noexcept = 0;

protected:
    ~background_runner() = default;
};

class background {
public:
    /// Does what is due; returns when it wants to be run again, `never`: not before it is roused. Never called by two threads at once.
    virtual time_point run(moment m) noexcept = 0;

    /// What it is doing should end soon, for it will be removed. From any thread.
    virtual void cancel() noexcept {}

    /// It is due at once; while it is running, as soon as it has ended. From any thread; not while it is added or removed. False where
    /// nobody can run it: no world has it, or no thread is to be had.
    bool rouse() noexcept { return runner != nullptr && runner->rouse(*this); }

    // For the world that runs it.
    background_runner* runner = nullptr;
    background* next = nullptr;  ///< the one behind it in its list
    time_point due{};            ///< when it is run next; `never` before it is added: not before it is roused
    bool running = false;
    bool roused = false;  ///< while it was running

    background* behind = nullptr;  ///< for whoever added it: the one added before it

protected:
    background() = default;
    background(const background&) = delete;
    background& operator=(const background&) = delete;
    ~background() = default;
};

/// Runs tasks in threads of its own, which take no signals. The first one begins with the first task that is due; another one where all
/// are busy and something else is, or will be, due. Thread-safe.
class background_threads final : public background_runner {
public:
    static constexpr std::size_t most = 48;  ///< threads; beyond that tasks wait

    explicit background_threads(random_source& random) noexcept : random_(random) {}
    background_threads(const background_threads&) = delete;
    background_threads& operator=(const background_threads&) = delete;
    /// Ends the threads and waits for them. In a forked child there are none.
    ~background_threads() {
        if (begun_ == 0 || process_.is_forked_child()) return;
        lock_.lock();
        stop_ = true;
        lock_.unlock();
        for (std::size_t i = 0; i < begun_; ++i) ring();  // no thread is begun any more
        for (std::size_t i = 0; i < begun_; ++i) join(threads_[i]);
    }

    /// The task is run whenever it is due. False when there is no thread to be had.
    [[nodiscard]] STRATA_COLD bool add(background& b) noexcept {
        {
            hold guard(lock_);
            b.runner = this;
            b.next = first_;
            first_ = &b;
            if (b.due != never && !has_thread()) {
                first_ = b.next;
                return false;
            }
        }
        ring();
        return true;
    }
    /// Waits until it is not running; it is not run again.
    STRATA_COLD void remove(background& b) noexcept {
        if (process_.is_forked_child()) return;
        b.cancel();
        lock_.lock();
        for (background** link = &first_; *link != nullptr; link = &(*link)->next)
            if (*link == &b) {
                *link = b.next;
                break;
            }
        while (b.running) {
            const std::uint32_t before = runs_.load(std::memory_order_relaxed);
            lock_.unlock();
            futex_wait(runs_, before, steady_now() + std::chrono::milliseconds{10});  // another may have been woken
            lock_.lock();
        }
        lock_.unlock();
    }
    STRATA_COLD bool rouse(background& b) noexcept override {
        {
            hold guard(lock_);
            if (b.running) {
                b.roused = true;
                return true;
            }
            const time_point before = std::exchange(b.due, time_point{});
            if (!has_thread()) {
                b.due = before;
                return false;
            }
        }
        ring();
        return true;
    }

    [[nodiscard]] std::chrono::system_clock::time_point wall_now() const noexcept override { return std::chrono::system_clock::now(); }

private:
    void ring() noexcept {
        rings_.fetch_add(1, std::memory_order_release);
        futex_wake_one(&rings_);
    }

    void work() noexcept {
        lock_.lock();
        while (!stop_) {
            const std::uint32_t heard = rings_.load(std::memory_order_acquire);
            background* b = earliest();
            const time_point now = steady_now();
            if (b != nullptr && b->due <= now) {
                b->running = true;
                if (const background* other = earliest(); other != nullptr && other->due != never)
                    static_cast<void>(has_thread());  // somebody has to look after that one
                lock_.unlock();
                const time_point due = b->run({now, &random_});
                lock_.lock();
                b->due = std::exchange(b->roused, false) ? time_point{} : due;
                b->running = false;
                runs_.fetch_add(1, std::memory_order_release);
                futex_wake_one(&runs_);
                continue;
            }
            const time_point until = b != nullptr ? b->due : never;
            ++waiting_;
            lock_.unlock();
            futex_wait(rings_, heard, until);
            lock_.lock();
            --waiting_;
        }
        lock_.unlock();
    }

    /// Under the lock: the one to be run next that is not running; null: there is none.
    [[nodiscard]] background* earliest() const noexcept {
        background* found = nullptr;
        for (background* b = first_; b != nullptr; b = b->next)
            if (!b->running && (found == nullptr || b->due < found->due)) found = b;
        return found;
    }

    /// Under the lock. True when a thread waits, or one was begun, or all there may be are busy and will look.
    [[nodiscard]] STRATA_COLD bool has_thread() noexcept {
        if (waiting_ != 0 || begun_ == most || stop_) return true;
        if (begin(threads_[begun_])) ++begun_;
        return begun_ != 0;
    }

#if defined(__unix__) || defined(__APPLE__)
    using thread = ::pthread_t;
    [[nodiscard]] bool begin(thread& t) noexcept {
        ::sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        const auto entry = [](void* self) -> void* { return static_cast<background_threads*>(self)->work(), nullptr; };
        const bool begun = ::pthread_create(&t, nullptr, entry, this) == 0;
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        return begun;
    }
    static void join(thread& t) noexcept { ::pthread_join(t, nullptr); }
#else
    using thread = std::thread;
    [[nodiscard]] bool begin(thread& t) noexcept {
        try {
            t = std::thread([this] { work(); });
            return true;
        } catch (...) {
            return false;
        }
    }
    static void join(thread& t) noexcept { t.join(); }
#endif

    random_source& random_;
    inline_lock lock_;
    background* first_ = nullptr;
    std::size_t begun_ = 0;
    std::size_t waiting_ = 0;
    bool stop_ = false;
    std::atomic<std::uint32_t> rings_{0};
    std::atomic<std::uint32_t> runs_{0};
    fork_guard process_;
    thread threads_[most]{};
};

}  // namespace strata::inline STRATA_ABI

#endif
