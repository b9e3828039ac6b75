// Generated from include/strata/guard.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_GUARD_HPP
#define STRATA_SINGLE_GUARD_HPP

#include <strata/strata.hpp>

#include <coroutine>
#include <exception>
#include <functional>
#include <optional>
#include <type_traits>

// A stack without a database: any callable goes through interceptors alone.
//
//   using mailer = strata::stack<strata::total_timeout, strata::retry<>, strata::circuit_breaker<>, strata::bulkhead<>>;
//   strata::guard<mailer> guard{strata::retry_options{.max_attempts = 4}};
//   receipt r = guard.run([&](const strata::attempt& a) { return smtp.send(mail, a.deadline()); });
//
// The same policies, judged by the same table (policy/conditions.hpp). A callable says what went wrong by throwing `strata::failure` or by
// returning `strata::result<T>` with an error, and what that did: an error of effect `unknown` is repeated only if the call is idempotent.
// Any other exception is `errc::user_exception`; a `judge` in the options may take that for a passing fault. It reaches the caller
// as it was thrown. A value may say failure itself: see `judged`. Coroutines of Boost.Asio go through the same guard by
// `guard.async(executor)` (async/guard.hpp).
#ifndef STRATA_GUARD_HPP
#define STRATA_GUARD_HPP

namespace strata::inline STRATA_ABI {

/// What a caller may say about one run. The views must live as long as it.
struct run_options {
    std::string_view name = {};      ///< for metrics and logs
    duration deadline{};             ///< from the start; zero: none of its own
    std::span<const tag> tags = {};  ///< for logs, and for `keyed`
    bool idempotent = false;         ///< repeating it after it may have taken place changes nothing
    strata::priority priority = strata::priority::normal;
};

/// Judging by result: a value, and what it says of the attempt. All layers see `verdict` as the attempt's outcome, so a breaker counts it
/// and a retry repeats it by the same rules as any error (`effect` included); where that was the last attempt, the caller gets the value,
/// without an error. When a layer refuses the next attempt, or replaces the outcome, that error comes out instead.
///
///     strata::error worth(const reply& r) { return r.status == 503 ? strata::error{strata::errc::busy} : strata::error{}; }
///     reply r = guard.run([&]() -> strata::judged<reply> { reply got = http.get(url); return {worth(got), std::move(got)}; });
template <class T>
struct judged {
    error verdict;  ///< without a condition (`errc::ok`): a success
    T value;
};

/// What a callable may look at. One that blocks is not interrupted: who works long looks at the deadline.
class attempt {
public:
    explicit attempt(const operation_base& op) noexcept : op_(&op) {}
    [[nodiscard]] unsigned number() const noexcept { return op_->attempt; }       ///< from 1
    [[nodiscard]] time_point deadline() const noexcept { return op_->deadline; }  ///< by the narrowest timeout; `never`: none

private:
    const operation_base* op_;
};

namespace detail {

template <class Stack>
struct guard_traits {
    static_assert(sizeof(Stack) == 0, "strata: a guard takes a stack: write strata::guard<strata::stack<strata::retry<>, ...>>");
};
template <class... T>
struct guard_traits<stack<T...>> {
    using interceptors = typename only_interceptors<layers<>, T...>::type;
    static_assert((has_place<T> && ...),
                  "strata: something in the stack is no layer: every layer states its place, as in  static constexpr auto place = "
                  "strata::place::observe;");
    static_assert((!(has_driver_place<T> || has_source_place<T>) && ...),
                  "strata: a guard runs callables without a database: leave the source and the driver out of its stack");
    static_assert(((!has_place<T> || (T::place != place::fallback && T::place != place::cache)) && ...),
                  "strata: a guard has no place for a layer that answers in the callable's stead (fallback, cache)");
    static_assert(places_ascend<T...>(),
                  "strata: the layers of the stack stand in the wrong order; outermost first: observe (metrics), shape, bound "
                  "(total_timeout), repeat (retry), rate, throttle, breaker (circuit_breaker), bulkhead, limit, attempt (attempt_timeout, "
                  "chaos)");
    static_assert(((occurrences<T, T...> == 1) && ...),
                  "strata: a layer stands twice in the stack: give one of them a tag type, as in circuit_breaker<struct reads>");
};

/// What a callable's value is, and what it comes in.
enum class comes_as : std::uint8_t { itself, result, judged };
template <class T>
struct value_of_run {
    using type = T;
    static constexpr auto in = comes_as::itself;
};
template <class T>
struct value_of_run<result<T>> {
    using type = T;
    static constexpr auto in = comes_as::result;
};
template <class T>
struct value_of_run<judged<T>> {
    using type = T;
    static constexpr auto in = comes_as::judged;
};

template <class F>
struct called {
    static decltype(auto) call(F& f, const attempt& a) {
        if constexpr (std::is_invocable_v<F&, const attempt&>)
            return std::invoke(f, a);
        else
            return std::invoke(f);
    }
    using returned = decltype(call(std::declval<F&>(), std::declval<const attempt&>()));
    using value = typename value_of_run<returned>::type;
    static_assert(!std::is_same_v<std::remove_cv_t<value>, error>,
                  "strata: a guarded callable that may fail returns strata::result<T> (or result<void>), not strata::error");
    static_assert(!std::is_reference_v<value>, "strata: what a guarded callable returns is kept until the run has ended: return a value");
};

/// What returns such a thing has not begun when it returns.
template <class T>
concept coroutine_type = requires { typename std::coroutine_traits<T>::promise_type; };

/// What the faces of a guard share, and what operations keep.
template <class Stack, class World>
class guarded_state {
public:
    using interceptors = typename guard_traits<Stack>::interceptors;

    template <class Where, class... Options>
    explicit guarded_state(std::in_place_t, Where&& where, const Options&... options)
        : world_(where), policies_([&]<class P>(std::type_identity<P>) { return make_policy<P>(options...); }) {
        static_assert((belongs_to<Options, Stack> && ...),
                      "strata: an option given to the guard belongs to no layer of its stack: add the layer, or remove the option");
        static_assert(((occurrences<Options, Options...> == 1) && ...), "strata: the same kind of options is given twice");
    }
    [[nodiscard]] World& world() noexcept { return world_.world; }
    [[nodiscard]] interceptors& policies() noexcept { return policies_; }

private:
    world_of_runtime<World> world_;
    interceptors policies_;
};

/// One run on its way, whoever drives it: its passage, and what its latest attempt left.
template <class State, class Value>
class guarded_run {
    using op_type = operation<operation_facts{.kind = operation_kind::other, .idempotent = known::at_run_time}>;

public:
    guarded_run(State& s, const run_options& o) noexcept
        : state_(s), op_(o.name, {}, o.tags, o.deadline == duration::zero() ? never : add_saturated(s.world().moment().now, o.deadline)),
          passage_(s.policies(), op_) {
        op_.run_time_idempotent = o.idempotent;
        op_.priority = o.priority;
    }

    [[nodiscard]] op_type& op() noexcept { return op_; }
    [[nodiscard]] waiter* parked_on() const noexcept { return passage_.parked_on(); }
    [[nodiscard]] time_point parked_until() const noexcept { return passage_.parked_until(); }
    [[nodiscard]] step first() noexcept { return passage_.first(state_.world().moment()); }
    [[nodiscard]] step resume() noexcept { return passage_.resume(state_.world().moment()); }
    [[nodiscard]] step landed() noexcept { return passage_.landed(state_.world().moment()); }
    [[nodiscard]] outcome& result() noexcept { return passage_.result(); }

    /// An attempt: what `call` returns or throws is its outcome.
    template <class Call>
    void attempt(Call&& call) {
        begin();
        try {
            if constexpr (std::is_void_v<decltype(call())>)
                call();
            else
                returned(call());
        } catch (...) {
            threw();
        }
    }
    void begin() noexcept {
        thrown_ = nullptr;
        slot_.reset();
    }
    /// The attempt returned a value, by itself or in a result, or judged.
    template <class Returned>
    void returned(Returned&& r) {
        constexpr comes_as in = value_of_run<std::remove_cvref_t<Returned>>::in;
        if constexpr (in == comes_as::itself) {
            slot_.emplace(std::forward<Returned>(r));
        } else if constexpr (in == comes_as::result) {
            if (!r) return failed(std::move(r).error());
            if constexpr (!std::is_void_v<Value>) slot_.emplace(std::move(*r));
        } else {
            slot_.emplace(std::move(r.value));
            if (!r.verdict) return;
            judged_ = r.verdict.code();
            judged_in_ = op_.attempt;
            failed(std::move(r.verdict));
        }
    }
    /// The attempt threw. To be called where it was caught.
    void threw() noexcept {
        try {
            throw;
        } catch (const failure& e) {
            failed(e.error());
        } catch (...) {
            thrown_ = std::current_exception();
            thrown_in_ = op_.attempt;
            result().replace(error{errc::user_exception, phase::execute, effect::unknown});
        }
    }
    /// It was on its way, whatever phase its error was made with; and it was an error.
    void failed(error e) noexcept {
        if (e.code() == errc::ok) e.set(errc::unknown);
        if (!e.local() && e.phase() == phase::admission) e.set(phase::execute);
        result().replace(std::move(e));
    }

    /// When it is over: what `run` has to throw as it was thrown.
    [[nodiscard]] std::exception_ptr thrown() noexcept {
        return result().code() == errc::user_exception && thrown_in_ == op_.attempt ? thrown_ : nullptr;
    }
    [[nodiscard]] strata::result<Value> take() {
        if (!result().ok() && !is_own_verdict()) return std::move(result().error());
        if constexpr (std::is_void_v<Value>)
            return {};
        else if (!slot_)
            return error{errc::misuse, "a layer of the guard took a failure away, but there is no value", phase::result};
        else
            return std::move(*slot_);
    }

private:
    /// The error is what the value of this very attempt said.
    [[nodiscard]] bool is_own_verdict() noexcept { return judged_in_ == op_.attempt && result().code() == judged_; }

    State& state_;
    op_type op_;
    passage<typename State::interceptors, op_type> passage_;
    std::exception_ptr thrown_;
    unsigned thrown_in_ = 0;
    std::optional<storable<Value>> slot_;
    errc judged_ = errc::ok;
    unsigned judged_in_ = 0;  ///< the attempt whose value spoke of a failure, from 1
};

/// Filled in by async/guard.hpp, so that this file does not know Asio.
template <class Stack, class World, bool AsioIncluded>
struct async_guard_face {
    template <class... Any>
    static int make(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: guard.async(...) needs  #include <strata/async/guard.hpp>");
        return 0;
    }
};

}  // namespace detail

/// Thread-safe: one guard serves all callers, and holds the state of its policies. A run costs what its layers cost; nothing is
/// allocated. Blocks the calling thread while a layer waits.
template <class Stack, class World = system_world>
class guard {
    using state = detail::guarded_state<Stack, World>;

public:
    using interceptors = typename state::interceptors;

    /// Options reach their layer by type, in any order. Throws `failure` when a value makes no sense.
    template <class... Options>
    explicit guard(const Options&... options) : state_(new state(std::in_place, detail::own_world{}, options...)) {}
    /// In a world that is shared (testing/simulated_world.hpp); it must outlive the guard.
    template <class... Options>
    explicit guard(World& world, const Options&... options) : state_(new state(std::in_place, world, options...)) {}
    guard(const guard&) = delete;
    guard& operator=(const guard&) = delete;

    /// Runs `f()` or `f(const attempt&)`, as often as the layers say, and returns what it returned last (of a `result` its value).
    /// Throws `failure`, or what `f` threw.
    template <class F>
    auto run(F&& f, const run_options& o = {}) {
        auto r = try_run(f, o);
        if (!r) throw_failure(std::move(r).error());
        if constexpr (!std::is_void_v<typename decltype(r)::value_type>) return std::move(*r);
    }
    /// The same with the error as a value. What `f` throws besides `failure` is thrown here too.
    template <class F>
    auto try_run(F&& f, const run_options& o = {}) {
        using call = detail::called<std::remove_reference_t<F>>;
        static_assert(!detail::coroutine_type<typename call::returned>,
                      "strata: this callable is a coroutine, which would run after its run: write guard.async(executor).async_run(...)");
        detail::guarded_run<state, typename call::value> run{*state_, o};
        for (step s = run.first(); s != step::done;) {
            if (s == step::park) {
                state_->world().park(run.parked_on(), run.parked_until());
                s = run.resume();
            } else {
                run.attempt([&]() -> decltype(auto) { return call::call(f, attempt{run.op()}); });
                s = run.landed();
            }
        }
        if (std::exception_ptr thrown = run.thrown()) std::rethrow_exception(std::move(thrown));
        return run.take();
    }

    /// The asynchronous face of the same guard: `guard.async(io.get_executor())`. Needs strata/async/guard.hpp.
    template <class Executor>
    [[nodiscard]] auto async(const Executor& ex) const {
        return detail::async_guard_face<Stack, World, true>::make(state_, ex);
    }

    /// The state of a layer, to look at or to steer: `guard.policy<strata::circuit_breaker<>>().state()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return state_->policies().template of<P>();
    }

private:
    std::shared_ptr<state> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
