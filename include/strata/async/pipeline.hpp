// Statements in one flight, asynchronously: sent and answered over the loop. What `strata/pipeline.hpp` says holds here.
//
//   auto [found, added] = co_await adb.async_pipeline(strata::one<account>(find(7)), add(-100, 7));
#ifndef STRATA_ASYNC_PIPELINE_HPP
#define STRATA_ASYNC_PIPELINE_HPP

#include <strata/async/calls.hpp>
#include <strata/pipeline.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `async_try_pipeline`: each statement has its own result, the call has none.
template <class Results>
struct each_alone {
    using value = Results;
    using signature = void(Results);
};
template <class Results>
struct answer<each_alone<Results>> {
    Results results;
    template <class Handler>
    void deliver(Handler&& handler) && {
        std::move(handler)(std::move(results));
    }
};

/// Owns the statements.
template <class Home, bool Alone, scope Where, class... Piped>
class pipeline_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_pipeline(Where != scope::database)>;
    using work_type = pipeline_work<typename runtime_type::driver, Piped...>;

public:
    using form = std::conditional_t<Alone, each_alone<typename work_type::results>, throwing<typename work_type::values>>;

    pipeline_job(Home home, std::tuple<Piped...> piped, const call_options& o, error wrong)
        : home_(std::move(home)), piped_(std::move(piped)), work_(std::apply([](const Piped&... p) { return work_type{p...}; }, piped_)),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.outer = home_.outer();
        if (wrong) {
            flight_.result().replace(std::move(wrong));
            return;
        }
        work_.describe(op_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.result().ok() ? flight_.start() : need::done; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<form> take_result() {
        error e = std::move(flight_.result().error());
        if constexpr (Alone) {
            if (flight_.thrown()) e = error_of_exception(flight_.thrown());
            return {work_.take_results(e)};
        } else {
            answer<form> a{std::move(e), std::move(flight_.thrown()), {}};
            if (!a.failed && !a.thrown) a.value.emplace(work_.take_values());
            return a;
        }
    }

private:
    Home home_;
    std::tuple<Piped...> piped_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

template <class T>
inline constexpr bool is_pipeable = is_piped<T> || is_literal<T> || bound_statement<T>;

template <class Session>
struct async_pipeline_calls<Session, true> {
    template <class... Arguments>
    static auto run(Session& session, Arguments&&... arguments) {
        return sort<false>(session, std::forward<Arguments>(arguments)...);
    }
    template <class... Arguments>
    static auto try_run(Session& session, Arguments&&... arguments) {
        return sort<true>(session, std::forward<Arguments>(arguments)...);
    }

private:
    // Options come first, a token last.
    template <bool Alone, class First, class... Rest>
    static auto sort(Session& session, First&& first, Rest&&... rest) {
        if constexpr (std::is_same_v<std::remove_cvref_t<First>, call_options>)
            return split<Alone>(session, first, std::forward_as_tuple(std::forward<Rest>(rest)...));
        else
            return split<Alone>(session, call_options{}, std::forward_as_tuple(std::forward<First>(first), std::forward<Rest>(rest)...));
    }
    template <bool Alone, class Tuple>
    static auto split(Session& session, const call_options& o, Tuple&& all) {
        constexpr std::size_t count = std::tuple_size_v<std::remove_cvref_t<Tuple>>;
        static_assert(count > 0, "strata: a pipeline needs a statement");
        using last = std::tuple_element_t<count - 1, std::remove_cvref_t<Tuple>>;
        if constexpr (is_pipeable<std::remove_cvref_t<last>>)
            return begin<Alone>(session, o, default_token{}, all, std::make_index_sequence<count>{});
        else
            return begin<Alone>(session, o, static_cast<last&&>(std::get<count - 1>(all)), all, std::make_index_sequence<count - 1>{});
    }
    template <bool Alone, class Token, class Tuple, std::size_t... I>
    static auto begin(Session& session, const call_options& o, Token&& token, Tuple& all, std::index_sequence<I...>) {
        static_assert(
            requires { session.home(); }, "strata: a pipeline needs a session whose type is known, not strata::any_async_session");
        error wrong;
        static_cast<void>(((wrong = check_piped(session, as_piped(std::get<I>(all))), !wrong) && ...));
        return initiate<Alone>(session, o, std::forward<Token>(token), std::move(wrong), as_piped(std::get<I>(all)).own()...);
    }
    template <bool Alone, class Token, class... Owned>
    static auto initiate(Session& session, const call_options& o, Token&& token, error wrong, Owned... owned) {
        using job = pipeline_job<decltype(session.home()), Alone, Session::where, Owned...>;
        return start<job>(session.world(), std::forward<Token>(token), session.home(), std::tuple<Owned...>{std::move(owned)...}, o,
                          std::move(wrong));
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
