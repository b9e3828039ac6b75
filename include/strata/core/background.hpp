// Work that a runtime does by itself, besides its callers: a pool that looks after its connections.
//
// A task is resumable: it is run when its time has come, does what is due, and says when it wants to be run again. So the same task is run
// by a thread in the real world and in virtual time by a simulation.
#ifndef STRATA_CORE_BACKGROUND_HPP
#define STRATA_CORE_BACKGROUND_HPP

#include <strata/core/fork.hpp>
#include <strata/core/lock.hpp>
#include <strata/core/time.hpp>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <csignal>
#else
#include <thread>
#endif

namespace strata::inline STRATA_ABI {

class background {
public:
    /// Does what is due; returns when it wants to be run again, `never`: not any more. Never called by two threads at once.
    virtual time_point run(moment m) noexcept = 0;

    /// What it is doing should end soon, for it will be removed. From any thread.
    virtual void cancel() noexcept {}

    time_point due{};            ///< for the world that runs it: when
    background* next = nullptr;  ///< and the one behind it in its list

protected:
    background() = default;
    background(const background&) = delete;
    background& operator=(const background&) = delete;
    ~background() = default;
};

/// Runs tasks in a thread of its own, which begins with the first of them and takes no signals. Thread-safe.
class background_thread {
public:
    explicit background_thread(random_source& random) noexcept : random_(random) {}
    background_thread(const background_thread&) = delete;
    background_thread& operator=(const background_thread&) = delete;
    /// Ends the thread and waits for it. In a forked child there is none.
    ~background_thread() {
        if (!begun_ || process_.is_forked_child()) return;
        {
            hold guard(lock_);
            stop_ = true;
        }
        ring();
#if defined(__unix__) || defined(__APPLE__)
        ::pthread_join(thread_, nullptr);
#else
        thread_.join();
#endif
    }

    /// The task is run soon, and then whenever it is due. False when there is no thread to be had.
    [[nodiscard]] STRATA_COLD bool add(background& b) noexcept {
        {
            hold guard(lock_);
            if (!begun_ && !begin()) return false;
            b.due = {};
            b.next = first_;
            first_ = &b;
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
        while (running_ == &b) {
            const std::uint32_t before = runs_.load(std::memory_order_relaxed);
            lock_.unlock();
            futex_wait(runs_, before, steady_now() + std::chrono::milliseconds{10});  // another may have been woken
            lock_.lock();
        }
        lock_.unlock();
    }

private:
    void ring() noexcept {
        rings_.fetch_add(1, std::memory_order_release);
        futex_wake_one(&rings_);
    }

    void work() noexcept {
        lock_.lock();
        while (!stop_) {
            const std::uint32_t heard = rings_.load(std::memory_order_acquire);
            background* b = first_;
            for (background* other = first_; other != nullptr; other = other->next)
                if (other->due < b->due) b = other;
            const time_point now = steady_now();
            if (b != nullptr && b->due <= now) {
                running_ = b;
                lock_.unlock();
                const time_point due = b->run({now, &random_});
                lock_.lock();
                b->due = due;
                running_ = nullptr;
                runs_.fetch_add(1, std::memory_order_release);
                futex_wake_one(&runs_);
                continue;
            }
            const time_point until = b != nullptr ? b->due : never;
            lock_.unlock();
            futex_wait(rings_, heard, until);
            lock_.lock();
        }
        lock_.unlock();
    }

    [[nodiscard]] bool begin() noexcept {
#if defined(__unix__) || defined(__APPLE__)
        ::sigset_t all, before;
        ::sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        const auto entry = [](void* self) -> void* { return static_cast<background_thread*>(self)->work(), nullptr; };
        begun_ = ::pthread_create(&thread_, nullptr, entry, this) == 0;
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
#else
        try {
            thread_ = std::thread([this] { work(); });
            begun_ = true;
        } catch (...) {
        }
#endif
        return begun_;
    }

    random_source& random_;
    inline_lock lock_;
    background* first_ = nullptr;
    background* running_ = nullptr;
    bool begun_ = false;
    bool stop_ = false;
    std::atomic<std::uint32_t> rings_{0};
    std::atomic<std::uint32_t> runs_{0};
    fork_guard process_;
#if defined(__unix__) || defined(__APPLE__)
    ::pthread_t thread_{};
#else
    std::thread thread_;
#endif
};

}  // namespace strata::inline STRATA_ABI

#endif
