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

namespace strata::inline STRATA_ABI {

namespace detail {

/// One statement of a session whose type is known: what `async_perform` of such a session does.
template <class Form, class Session, class Bound, class Sink, class Token>
auto start_statement(Session& session, Bound&& statement, Sink&& sink, const call_options& o, Token&& token) {
    using job = statement_job<decltype(session.home()), Bound, Sink, Form, Session::where>;
    return start<job>(session.world(), std::forward<Token>(token), session.home(), std::move(statement), std::move(sink), o);
}

}  // namespace detail

template <class Self>
class async_calls {
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

    /// A stream of rows that are fetched in batches; see `async_row_stream`. Nothing runs before its first `async_next`.
    template <class T, class S>
    [[nodiscard]] auto rows(const S& statement, const call_options& o = {}, std::size_t batch = 128) {
        decltype(auto) bound = detail::as_bound(statement);
        if (error e = detail::check_placement(static_cast<const Self&>(*this), bound)) throw_failure(std::move(e));
        return static_cast<Self&>(*this).template stream_of<T>(bound.own(), o, batch);
    }

private:
    template <class Sink, class Form, class S, class Token>
    auto go(const S& statement, const call_options& o, Token&& token) {
        decltype(auto) bound = detail::as_bound(statement);
        detail::assert_placement<std::remove_cvref_t<decltype(bound)>, Self>();
        return static_cast<Self&>(*this).template async_perform<Form>(bound.own(), Sink{}, o, std::forward<Token>(token));
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
