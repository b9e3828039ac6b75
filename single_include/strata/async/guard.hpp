// Generated from include/strata/async/guard.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_GUARD_HPP
#define STRATA_SINGLE_ASYNC_GUARD_HPP

#include <strata/strata.hpp>
#include <strata/async.hpp>
#include <strata/guard.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>

// Coroutines of Boost.Asio through interceptors alone: the asynchronous face of a guard.
//
//   strata::guard<mailer> guard;
//   auto ag = guard.async(io.get_executor());                     // shares breaker, bulkhead and budget with the blocking face
//   receipt r = co_await ag.async_run([&](const strata::attempt& a) -> asio::awaitable<receipt> {
//       auto got = co_await smtp.async_send(mail);
//       co_return got;
//   });
//
// The callable is begun anew for each attempt, by one co_spawn on the executor of the completion handler; a plain function is called
// there. What it throws or returns means what it means to `guard`. Where the two differ:
//
//   * An attempt whose deadline passes is cancelled, with every type that Asio knows, and awaited. What it then ends with is its outcome: a
//     value is a success; Asio's `operation_aborted`, or a failure `errc::cancelled`, is `errc::timeout` (of effect `unknown`, if the
//     callable does not say better). The next `co_await` of a coroutine that was cancelled throws: that is Asio's default, and its own to
//     change.
//   * The caller's cancel, of any type, ends a wait in a layer at once, and is handed to the callable where that runs: `errc::cancelled`.
//
// g++ 12 destroys twice what a lambda written in a co_await expression captures by value (clang is right): capture by reference,
// or bind the callable to a variable first.
#ifndef STRATA_ASYNC_GUARD_HPP
#define STRATA_ASYNC_GUARD_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <>
inline constexpr bool is_options<run_options> = true;
static_assert(std::is_trivially_destructible_v<run_options>);  // see start.hpp

template <class T>
struct awaited_of_run {
    using type = T;
    static constexpr bool awaits = false;
};
template <class T, class Executor>
struct awaited_of_run<asio::awaitable<T, Executor>> {
    using type = T;
    static constexpr bool awaits = true;
};

template <class F>
using guarded_value = typename value_of_run<typename awaited_of_run<typename called<F>::returned>::type>::type;

/// A guarded run as the asynchronous drive carries it.
template <class State, class F, class Form>
class guard_job {
    using returned = typename awaited_of_run<typename called<F>::returned>::type;
    static constexpr bool awaits = awaited_of_run<typename called<F>::returned>::awaits;
    static_assert(!coroutine_type<returned>, "strata: an asynchronous guard runs coroutines of the type boost::asio::awaitable<T>");
    static_assert(!std::is_same_v<std::remove_cv_t<returned>, error>,
                  "strata: a guarded callable that may fail returns strata::result<T> (or result<void>), not strata::error");

public:
    using form = Form;
    static constexpr bool blocks = false;
    static constexpr bool has_closure = true;

    guard_job(std::shared_ptr<State> s, F f, const run_options& o) : state_(std::move(s)), f_(std::move(f)), run_(*state_, o) {}

    [[nodiscard]] operation_base& op() noexcept { return run_.op(); }
    [[nodiscard]] guard_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept { return follow(run_.first()); }
    [[nodiscard]] need resume() noexcept { return follow(std::exchange(inside_, false) ? landed() : run_.resume()); }
    [[nodiscard]] time_point parked_until() const noexcept { return run_.parked_until(); }

    /// An attempt. The bell that ends it must not ring beside it, so one with a deadline has a strand of its own.
    template <class Executor, class Done>
    void call(const Executor& ex, Done done) {
        inside_ = true;
        rang_ = false;
        run_.begin();
        if (op().is_cancelled()) {
            run_.failed(error{errc::cancelled, phase::execute});
            return done();
        }
        asio::any_io_executor where{ex};
        if (op().deadline != never) where = asio::make_strand(where);
        asio::co_spawn(where, attempt_once(),
                       asio::bind_cancellation_slot(stop_.slot(), [this, done = std::move(done)](std::exception_ptr unstarted) mutable {
                           if (unstarted) never_began(unstarted);
                           done();
                       }));
    }
    void cancel(asio::cancellation_type type) { stop_.emit(type); }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{{}, run_.thrown(), {}};
        auto r = run_.take();
        if (!r)
            a.failed = std::move(r).error();
        else if constexpr (std::is_void_v<typename Form::value>)
            a.value.emplace();
        else
            a.value.emplace(std::move(*r));
        return a;
    }

private:
    [[nodiscard]] static need follow(step s) noexcept {
        return s == step::attempt ? need::call : s == step::park ? need::park : need::done;
    }

    asio::awaitable<void> attempt_once() {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        const asio::any_io_executor here = co_await asio::this_coro::executor;
        if (op().is_cancelled()) {  // on the way here, where only a terminal cancel is heard
            run_.failed(error{errc::cancelled, phase::execute});
            co_return;
        }
        const std::shared_ptr<asio::steady_timer> bell = hang_bell(here);
        const attempt seen{op()};
        try {
            if constexpr (std::is_void_v<returned>) {
                if constexpr (awaits)
                    co_await called<F>::call(f_, seen);
                else
                    called<F>::call(f_, seen);
            } else if constexpr (awaits) {
                returned r = co_await called<F>::call(f_, seen);
                run_.returned(std::move(r));
            } else {
                run_.returned(called<F>::call(f_, seen));
            }
        } catch (...) {
            threw();
        }
    }

    /// Lives as long as the attempt; rings in its strand.
    [[nodiscard]] std::shared_ptr<asio::steady_timer> hang_bell(const asio::any_io_executor& here) {
        if (op().deadline == never) return nullptr;
        auto bell = std::make_shared<asio::steady_timer>(here, op().deadline);
        bell->async_wait([this, running = std::weak_ptr(bell)](const boost::system::error_code&) {
            if (running.expired()) return;  // and perhaps the operation too
            rang_ = true;
            stop_.emit(asio::cancellation_type::all);
        });
        return bell;
    }

    void never_began(const std::exception_ptr& why) noexcept {
        if (op().is_cancelled()) return run_.failed(error{errc::cancelled, phase::execute});
        try {
            std::rethrow_exception(why);
        } catch (...) {
            run_.threw();
        }
    }
    /// Where it was caught. What Asio throws after a cancel says nothing by itself of what was done.
    void threw() noexcept {
        try {
            throw;
        } catch (const boost::system::system_error& e) {
            if (e.code() == asio::error::operation_aborted && (rang_ || op().is_cancelled()))
                run_.failed(error{errc::cancelled, phase::execute, effect::unknown});
            else
                run_.threw();
        } catch (...) {
            run_.threw();
        }
    }
    [[nodiscard]] step landed() noexcept {
        if (rang_ && run_.result().code() == errc::cancelled && !op().is_cancelled()) run_.result().error().set(errc::timeout);
        return run_.landed();
    }

    std::shared_ptr<State> state_;
    F f_;
    guarded_run<State, guarded_value<F>> run_;
    asio::cancellation_signal stop_;
    bool inside_ = false;
    bool rang_ = false;  // the attempt's deadline passed
};

}  // namespace detail

/// A guard as asynchronous code sees it. Cheap to copy; thread-safe. Runs keep the guard's state alive, so the guard may be destroyed
/// before they end; for executors what is said of `async_database` holds. A run allocates its operation, its coroutine and, with a
/// deadline, a timer and a strand.
template <class Stack, class World = system_world>
class async_guard {
    using state = detail::guarded_state<Stack, World>;

public:
    /// `guard.async(executor)` is the same.
    async_guard(std::shared_ptr<state> s, asio::any_io_executor ex) : state_(std::move(s)), world_(std::move(ex), nullptr) {}
    /// One of its own; options as for `guard`.
    template <class... Options>
    explicit async_guard(asio::any_io_executor ex, const Options&... options)
        : async_guard(std::make_shared<state>(std::in_place, detail::own_world{}, options...), std::move(ex)) {}

    /// Runs `f`, which returns `asio::awaitable<T>` or `T` and may take a `const attempt&`, as often as the layers say.
    /// `void(std::exception_ptr, T)`: its value (of a `result` the value in it), `failure`, or what it threw.
    template <class F, detail::completion Token = detail::default_token>
    auto async_run(F f, Token&& token = {}) {
        return async_run(std::move(f), run_options{}, std::forward<Token>(token));
    }
    template <class F, detail::completion Token = detail::default_token>
    auto async_run(F f, const run_options& o, Token&& token = {}) {
        return go<detail::throwing<detail::guarded_value<F>>>(std::move(f), o, std::forward<Token>(token));
    }
    /// The same; completes with `void(result<T>)`, exceptions of the callable as `errc::user_exception`.
    template <class F, detail::completion Token = detail::default_token>
    auto async_try_run(F f, Token&& token = {}) {
        return async_try_run(std::move(f), run_options{}, std::forward<Token>(token));
    }
    template <class F, detail::completion Token = detail::default_token>
    auto async_try_run(F f, const run_options& o, Token&& token = {}) {
        return go<detail::trying<detail::guarded_value<F>>>(std::move(f), o, std::forward<Token>(token));
    }

    /// The state of a layer, as `guard::policy`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return state_->policies().template of<P>();
    }

private:
    template <class Form, class F, class Token>
    auto go(F f, const run_options& o, Token&& token) {
        return detail::start<detail::guard_job<state, F, Form>>(world_, std::forward<Token>(token), state_, std::move(f), o);
    }

    std::shared_ptr<state> state_;
    asio_world world_;
};

namespace detail {

template <class Stack, class World>
struct async_guard_face<Stack, World, true> {
    static async_guard<Stack, World> make(std::shared_ptr<guarded_state<Stack, World>> s, asio::any_io_executor ex) {
        return {std::move(s), std::move(ex)};
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

#endif
