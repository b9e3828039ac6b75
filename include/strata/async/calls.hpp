// The calls that every asynchronous session offers, written once over `home()`: what a call needs to stay alive.
//
// Every call copies its arguments before it returns, except string_view, span and reference_wrapper. Any completion token
// serves; the default is `use_awaitable`. Cancellation of every type is honoured.
#ifndef STRATA_ASYNC_CALLS_HPP
#define STRATA_ASYNC_CALLS_HPP

#include <strata/async/batch.hpp>
#include <strata/async/start.hpp>
#include <strata/async/statement.hpp>
#include <strata/async/stream.hpp>
#include <strata/calls.hpp>
#include <strata/core/extensions.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Runtime>
class sharing_home;

/// One statement of a session whose type is known: what `async_perform` of such a session does.
template <class Form, class Session, class Bound, class Sink, class Token, class... Wish>
auto start_statement(Session& session, Bound&& statement, Sink&& sink, const call_options& o, Token&& token, Wish&&... wish) {
    using home = decltype(session.home());
    using job = statement_job<home, Bound, Sink, Form, Session::where, Wish...>;
    if constexpr (has_shared_side<typename home::source_type> && !home::runtime_type::interceptors::automatic) {
        using sharing = statement_job<sharing_home<typename home::runtime_type>, Bound, Sink, Form, Session::where, Wish...>;
        return asio::async_initiate<Token, typename Form::signature>(start_sharing_job<job, sharing>{session.world()}, token,
                                                                     session.home(), std::move(statement), std::move(sink), o,
                                                                     std::move(wish)...);
    } else {
        return start<job>(session.world(), std::forward<Token>(token), session.home(), std::move(statement), std::move(sink), o,
                          std::move(wish)...);
    }
}

/// Filled in by async/copy.hpp and async/pipeline.hpp, so that this file does not know them.
template <class Session, bool CopyIncluded>
struct async_copy_calls {
    template <template <class> class Form, class... Any>
    static auto in(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: asynchronous COPY needs  #include <strata/async/copy.hpp>");
    }
    template <class T, template <class> class Form, class... Any>
    static auto out(const Any&... any) {
        return in<Form>(any...);
    }
};
template <class Session, bool PipelineIncluded>
struct async_pipeline_calls {
    template <class... Any>
    static auto run(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: async_pipeline(...) needs  #include <strata/async/pipeline.hpp>");
    }
    template <class... Any>
    static auto try_run(const Any&... any) {
        return run(any...);
    }
};

}  // namespace detail

template <class Self>
class async_calls : public detail::async_row_lock_members<Self> {
    using use_awaitable = detail::default_token;

public:
    /// As `calls::execute`.
    template <class S, detail::completion Token = use_awaitable>
    auto async_execute(const S& statement, Token&& token = {}) {
        return async_execute(statement, call_options{}, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_execute(const S& statement, const call_options& o, Token&& token = {}) {
        return go<discard_sink, detail::throwing<execution>>(statement, o, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_try_execute(const S& statement, Token&& token = {}) {
        return async_try_execute(statement, call_options{}, std::forward<Token>(token));
    }
    template <class S, detail::completion Token = use_awaitable>
    auto async_try_execute(const S& statement, const call_options& o, Token&& token = {}) {
        return go<discard_sink, detail::trying<execution>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::one`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_one(const S& statement, Token&& token = {}) {
        return async_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<one_sink<T>, detail::throwing<T>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_one(const S& statement, Token&& token = {}) {
        return async_try_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<one_sink<T>, detail::trying<T>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::maybe_one`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_maybe_one(const S& statement, Token&& token = {}) {
        return async_maybe_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_maybe_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<maybe_one_sink<T>, detail::throwing<std::optional<T>>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_maybe_one(const S& statement, Token&& token = {}) {
        return async_try_maybe_one<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_maybe_one(const S& statement, const call_options& o, Token&& token = {}) {
        return go<maybe_one_sink<T>, detail::trying<std::optional<T>>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::all`.
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_all(const S& statement, Token&& token = {}) {
        return async_all<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_all(const S& statement, const call_options& o, Token&& token = {}) {
        return go<all_sink<T>, detail::throwing<std::vector<T>>>(statement, o, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_all(const S& statement, Token&& token = {}) {
        return async_try_all<T>(statement, call_options{}, std::forward<Token>(token));
    }
    template <class T, class S, detail::completion Token = use_awaitable>
    auto async_try_all(const S& statement, const call_options& o, Token&& token = {}) {
        return go<all_sink<T>, detail::trying<std::vector<T>>>(statement, o, std::forward<Token>(token));
    }

    /// As `calls::execute_many`. The elements are copied, or moved from an rvalue, in the call.
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_execute_many(const S& statement, Range&& elements, Token&& token = {}) {
        return async_execute_many(statement, std::forward<Range>(elements), call_options{}, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_execute_many(const S& statement, Range&& elements, const call_options& o, Token&& token = {}) {
        return go_many<detail::throwing<execution>>(statement, std::forward<Range>(elements), o, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_try_execute_many(const S& statement, Range&& elements, Token&& token = {}) {
        return async_try_execute_many(statement, std::forward<Range>(elements), call_options{}, std::forward<Token>(token));
    }
    template <class S, class Range, detail::completion Token = use_awaitable>
    auto async_try_execute_many(const S& statement, Range&& elements, const call_options& o, Token&& token = {}) {
        return go_many<detail::trying<execution>>(statement, std::forward<Range>(elements), o, std::forward<Token>(token));
    }

    /// As `calls::copy_in`, on a work thread. The rows are copied, or moved from an rvalue, in the call.
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_copy_in(const Table& table, Rows&& rows, Token&& token = {}) {
        return copies::template in<detail::throwing>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token));
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_copy_in(const Table& table, Rows&& rows, const copy_options& o, Token&& token = {}) {
        return copies::template in<detail::throwing>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token), o);
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_try_copy_in(const Table& table, Rows&& rows, Token&& token = {}) {
        return copies::template in<detail::trying>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token));
    }
    template <class Table, class Rows, detail::completion Token = use_awaitable>
    auto async_try_copy_in(const Table& table, Rows&& rows, const copy_options& o, Token&& token = {}) {
        return copies::template in<detail::trying>(self(), table, std::forward<Rows>(rows), std::forward<Token>(token), o);
    }

    /// As `calls::copy_out`; the function is copied, or moved from an rvalue, and is called on a work thread.
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_copy_out(const Source& source, F&& each_row, Token&& token = {}) {
        return copies::template out<T, detail::throwing>(self(), source, std::forward<F>(each_row), std::forward<Token>(token));
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_copy_out(const Source& source, F&& each_row, const copy_options& o, Token&& token = {}) {
        return copies::template out<T, detail::throwing>(self(), source, std::forward<F>(each_row), std::forward<Token>(token), o);
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_try_copy_out(const Source& source, F&& each_row, Token&& token = {}) {
        return copies::template out<T, detail::trying>(self(), source, std::forward<F>(each_row), std::forward<Token>(token));
    }
    template <class T, class Source, class F, detail::completion Token = use_awaitable>
    auto async_try_copy_out(const Source& source, F&& each_row, const copy_options& o, Token&& token = {}) {
        return copies::template out<T, detail::trying>(self(), source, std::forward<F>(each_row), std::forward<Token>(token), o);
    }

    /// As `calls::copy_to`, on a work thread. A function is copied, or moved from an rvalue; a stream must live until the call has ended.
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_copy_to(const Source& source, Sink&& sink, Token&& token = {}) {
        return copies::template raw<detail::throwing>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token));
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_copy_to(const Source& source, Sink&& sink, const copy_options& o, Token&& token = {}) {
        return copies::template raw<detail::throwing>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token), o);
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_try_copy_to(const Source& source, Sink&& sink, Token&& token = {}) {
        return copies::template raw<detail::trying>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token));
    }
    template <class Source, class Sink, detail::completion Token = use_awaitable>
    auto async_try_copy_to(const Source& source, Sink&& sink, const copy_options& o, Token&& token = {}) {
        return copies::template raw<detail::trying>(self(), source, std::forward<Sink>(sink), std::forward<Token>(token), o);
    }

    /// As `calls::pipeline`, over the loop. After the statements a completion token, before them `call_options`, where wanted.
    template <class... Arguments>
    auto async_pipeline(Arguments&&... arguments) {
        return detail::async_pipeline_calls<Self, true>::run(self(), std::forward<Arguments>(arguments)...);
    }
    /// Completes with `void(std::tuple<result<T>...>)`.
    template <class... Arguments>
    auto async_try_pipeline(Arguments&&... arguments) {
        return detail::async_pipeline_calls<Self, true>::try_run(self(), std::forward<Arguments>(arguments)...);
    }

    /// A stream of rows that are fetched in batches; see `async_row_stream`. Nothing runs before its first `async_next`.
    template <class T, class S>
    [[nodiscard]] auto rows(const S& statement, const call_options& o = {}, std::size_t batch = 128) {
        static_assert(!detail::is_marked<S>, "strata: rows one after the other are neither cached nor replaced: use all");
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        return static_cast<Self&>(*this).template stream_of<T>(bound.own(), o, batch);
    }

private:
    using copies = detail::async_copy_calls<Self, true>;
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Sink, class Form, class S, class Token>
    auto go(const S& statement, const call_options& o, Token&& token) {
        if constexpr (detail::is_marked<S>) {
            return go_marked<Sink, Form>(statement, o, std::forward<Token>(token));
        } else {
            decltype(auto) bound = detail::as_bound(statement);
            detail::assert_placement<std::remove_cvref_t<decltype(bound)>, Self>();
            return static_cast<Self&>(*this).template async_perform<Form>(bound.own(), Sink{}, o, std::forward<Token>(token));
        }
    }
    template <class Sink, class Form, class S, class Token>
    auto go_marked(const S& statement, const call_options& o, Token&& token) {
        if constexpr (!detail::fulfils_wishes<S, Self>()) {
            return go<Sink, Form>(statement.bound, o, std::forward<Token>(token));
        } else {
            detail::assert_placement<decltype(statement.bound), Self>();
            return detail::start_statement<Form>(self(), statement.bound.own(), Sink{}, o, std::forward<Token>(token),
                                                 statement.template wish_for<Sink>());
        }
    }

    template <class Form, class Statement, class Range, class Token>
    auto go_many(const Statement& statement, Range&& elements, const call_options& o, Token&& token) {
        using range = std::remove_cvref_t<Range>;
        detail::assert_placement<detail::bound_element<Statement, range>, Self>();
        static_assert(
            requires(Self& s) { s.home(); },
            "strata: a batch needs a session whose type is known; with any_async_session write async_transaction and async_execute");
        Self& self = static_cast<Self&>(*this);
        using job = detail::batch_job<decltype(self.home()), Statement, range, Form, Self::where == scope::transaction>;
        return detail::start<job>(self.world(), std::forward<Token>(token), self.home(), self.depth_of_batch(), statement,
                                  range(std::forward<Range>(elements)), o);
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
