// The calls of simulated clients: `co_await db.one<account>(find("id"_arg = 7))`.
#ifndef STRATA_TESTING_SIMULATED_CALLS_HPP
#define STRATA_TESTING_SIMULATED_CALLS_HPP

#include <strata/async/home.hpp>
#include <strata/core/health.hpp>
#include <strata/database.hpp>
#include <strata/testing/simulated_call.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// What comes out of a call: the value or an exception, or a `result`.
template <class T, bool Tries>
[[nodiscard]] auto simulated_outcome(error& failed, std::exception_ptr& thrown, std::optional<storable<T>>& value)
    -> std::conditional_t<Tries, result<T>, T> {
    if (thrown) std::rethrow_exception(std::move(thrown));
    if (failed) {
        if constexpr (Tries)
            return std::move(failed);
        else
            throw_failure(std::move(failed));
    }
    if constexpr (!std::is_void_v<T>)
        return std::move(*value);
    else if constexpr (Tries)
        return {};
}

/// One statement; the twin of `async/statement.hpp`.
template <class Home, class Bound, class Sink, class T, bool InsideTransaction, bool Tries, class Wish = no_wish>
class simulated_statement {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<Wish::refine(facts_of_statement<Bound>(InsideTransaction))>;
    using work_type = typename work_of_statement<runtime_type, typename Home::source_type, Bound, Sink,
                                                 runtime_type::interceptors::automatic && !InsideTransaction>::type;

public:
    simulated_statement(Home home, Bound&& statement, const call_options& o, Wish wish = {})
        : home_(std::move(home)), statement_(std::move(statement)), wish_(std::move(wish)), work_(statement_, sink_),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        if constexpr (requires { work_.runs_in(home_.runtime()); }) work_.runs_in(home_.runtime());
        describe(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
        wish_.tell(op_, statement_, sink_);
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.start(); }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] bool is_queued() const noexcept { return flight_.is_queued(); }
    void call(simulated_loop&, continuation) noexcept {}
    [[nodiscard]] auto take() {
        std::optional<T> value;
        error& failed = flight_.result().error();
        if (!failed && !flight_.thrown()) failed = wish_.fulfil(sink_);
        if (!failed && !flight_.thrown()) {
            if constexpr (std::is_same_v<Sink, discard_sink>)
                value.emplace(work_.executed());
            else
                value.emplace(std::move(sink_).take());
        }
        return simulated_outcome<T, Tries>(failed, flight_.thrown(), value);
    }

protected:
    Home home_;
    Bound statement_;
    Sink sink_;
    [[no_unique_address]] Wish wish_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

/// The calls of simulated sessions; each returns something to be awaited at once, and means what it means in `calls`. The
/// forms with `try_` give a `result`, the others throw `failure`.
template <class Self>
class simulated_calls {
public:
    template <class S>
    [[nodiscard]] auto execute(const S& statement, const call_options& o = {}) {
        return go<discard_sink, execution, false>(statement, o);
    }
    template <class S>
    [[nodiscard]] auto try_execute(const S& statement, const call_options& o = {}) {
        return go<discard_sink, execution, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, true>(statement, o);
    }

private:
    template <class Sink, class T, bool Tries, class S>
    auto go(const S& statement, const call_options& o) {
        if constexpr (!detail::is_marked<S>) {
            return perform<Sink, T, Tries>(detail::as_bound(statement), o);
        } else if constexpr (detail::fulfils_wishes<S, Self>()) {
            return perform<Sink, T, Tries>(statement.bound, o, statement.template wish_for<Sink>());
        } else {
            return perform<Sink, T, Tries>(statement.bound, o);
        }
    }
    template <class Sink, class T, bool Tries, class Bound, class... Wish>
    auto perform(const Bound& bound, const call_options& o, Wish... wish) {
        Self& self = static_cast<Self&>(*this);
        if (error e = detail::check_placement(self, bound)) throw_failure(std::move(e));
        auto kept = bound.own();
        using job =
            detail::simulated_statement<decltype(self.home()), decltype(kept), Sink, T, Self::where == scope::transaction, Tries, Wish...>;
        return detail::simulated_call<job>{std::in_place, self.home(), std::move(kept), o, std::move(wish)...};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
