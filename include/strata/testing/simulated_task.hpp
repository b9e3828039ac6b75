// The coroutine type of simulated clients: `co_await db.one<T>(...)`, `co_await world.sleep(5ms)`, another task.
//
// Nothing recurses: whoever hands over names the next one to go on, and the loop of the simulated process calls it. So a
// chain of a million tasks that end at once needs no stack, also where a compiler makes no tail calls.
//
// g++ 12 miscompiles co_await inside a condition (if, while, ?:, an assertion): bind the result first, then look at it. And it
// destroys twice what a lambda or another aggregate written in a co_await expression holds by value: bind that first too.
#ifndef STRATA_TESTING_SIMULATED_TASK_HPP
#define STRATA_TESTING_SIMULATED_TASK_HPP

#include <strata/core/config.hpp>

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

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
