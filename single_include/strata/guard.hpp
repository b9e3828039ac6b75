// Generated from include/strata/guard.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_GUARD_HPP
#define STRATA_SINGLE_GUARD_HPP

#include <strata/strata.hpp>

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
// as it was thrown.
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

/// What a callable may look at. It is not interrupted: who works long looks at the deadline.
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

template <class T>
struct value_of_run {
    using type = T;
    static constexpr bool is_result = false;
};
template <class T>
struct value_of_run<result<T>> {
    using type = T;
    static constexpr bool is_result = true;
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

}  // namespace detail

/// Thread-safe: one guard serves all callers, and holds the state of its policies. A run costs what its layers cost; nothing is
/// allocated. Blocks the calling thread while a layer waits.
template <class Stack, class World = system_world>
class guard {
    using traits = detail::guard_traits<Stack>;

public:
    using interceptors = typename traits::interceptors;

    /// Options reach their layer by type, in any order. Throws `failure` when a value makes no sense.
    template <class... Options>
    explicit guard(const Options&... options) : guard(detail::own_world{}, in_world{}, options...) {}
    /// In a world that is shared (testing/simulated_world.hpp); it must outlive the guard.
    template <class... Options>
    explicit guard(World& world, const Options&... options) : guard(world, in_world{}, options...) {}

private:
    struct in_world {};

    template <class Where, class... Options>
    guard(Where&& where, in_world, const Options&... options)
        : world_(where), policies_([&]<class P>(std::type_identity<P>) { return detail::make_policy<P>(options...); }) {
        static_assert((detail::belongs_to<Options, Stack> && ...),
                      "strata: an option given to the guard belongs to no layer of its stack: add the layer, or remove the option");
        static_assert(((detail::occurrences<Options, Options...> == 1) && ...), "strata: the same kind of options is given twice");
    }

public:
    /// Runs `f()` or `f(const attempt&)`, as often as the layers say, and returns what it returned last (of a `result` its value).
    /// Throws `failure`, or what `f` threw.
    template <class F>
    auto run(F&& f, const run_options& o = {}) {
        std::exception_ptr thrown;
        auto r = go(f, o, thrown);
        if (!r) {
            if (thrown && r.error().code() == errc::user_exception) std::rethrow_exception(thrown);
            throw_failure(std::move(r).error());
        }
        if constexpr (!std::is_void_v<typename detail::called<std::remove_reference_t<F>>::value>) return std::move(*r);
    }
    /// The same with the error as a value. What `f` throws besides `failure` is thrown here too.
    template <class F>
    auto try_run(F&& f, const run_options& o = {}) {
        std::exception_ptr thrown;
        auto r = go(f, o, thrown);
        if (!r && thrown && r.error().code() == errc::user_exception) std::rethrow_exception(thrown);
        return r;
    }

    /// The state of a layer, to look at or to steer: `guard.policy<strata::circuit_breaker<>>().state()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return policies_.template of<P>();
    }

private:
    using op_type = operation<operation_facts{.kind = operation_kind::other, .idempotent = known::at_run_time}>;

    /// What the callable says went wrong. It was on its way, whatever phase its error was made with; and it was an error.
    static void failed(outcome& result, error e) noexcept {
        if (e.code() == errc::ok) e.set(errc::unknown);
        if (!e.local() && e.phase() == phase::admission) e.set(phase::execute);
        result.replace(std::move(e));
    }

    template <class F>
    auto go(F& f, const run_options& o, std::exception_ptr& thrown) -> result<typename detail::called<F>::value> {
        using call = detail::called<F>;
        using value = typename call::value;
        op_type op{o.name, {}, o.tags, o.deadline == duration::zero() ? never : add_saturated(world_.world.moment().now, o.deadline)};
        op.run_time_idempotent = o.idempotent;
        op.priority = o.priority;
        std::conditional_t<std::is_void_v<value>, char, std::optional<std::conditional_t<std::is_void_v<value>, char, value>>> slot{};
        passage<interceptors, op_type> p{policies_, op};
        for (step s = p.first(world_.world.moment()); s != step::done;) {
            if (s == step::park) {
                world_.world.park(p.parked_on(), p.parked_until());
                s = p.resume(world_.world.moment());
                continue;
            }
            thrown = nullptr;
            try {
                if constexpr (detail::value_of_run<typename call::returned>::is_result) {
                    auto r = call::call(f, attempt{op});
                    if (!r)
                        failed(p.result(), std::move(r).error());
                    else if constexpr (!std::is_void_v<value>)
                        slot.emplace(std::move(*r));
                } else if constexpr (std::is_void_v<value>) {
                    call::call(f, attempt{op});
                } else {
                    slot.emplace(call::call(f, attempt{op}));
                }
            } catch (const failure& e) {
                failed(p.result(), e.error());
            } catch (...) {
                thrown = std::current_exception();
                p.result().replace(error{errc::user_exception, phase::execute, effect::unknown});
            }
            s = p.landed(world_.world.moment());
        }
        if (!p.result().ok()) return std::move(p.result().error());
        if constexpr (std::is_void_v<value>)
            return {};
        else if (!slot)
            return error{errc::misuse, "a layer of the guard took a failure away, but there is no value", phase::result};
        else
            return std::move(*slot);
    }

    detail::world_of_runtime<World> world_;
    interceptors policies_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
