// `any_session` for coroutines: an asynchronous session whose stack and driver are not known.
//
//   asio::awaitable<account> load(strata::any_async_session s, std::int64_t id);    // a .cpp that sees no stack
#ifndef STRATA_ASYNC_ANY_SESSION_HPP
#define STRATA_ASYNC_ANY_SESSION_HPP

#include <strata/any_statement.hpp>
#include <strata/async/calls.hpp>
#include <strata/async/caught.hpp>
#include <strata/transaction/closure.hpp>

#include <boost/asio/awaitable.hpp>

namespace strata::inline STRATA_ABI {

class any_async_session;

namespace detail {

/// How an erased call ends: whatever the near side makes of it.
struct erased_outcome {
    using signature = void(error, std::exception_ptr, execution);
};
template <>
struct answer<erased_outcome> {
    error failed;
    std::exception_ptr thrown;
    std::optional<execution> value;

    template <class Handler>
    void deliver(Handler&& handler) && {
        std::move(handler)(std::move(failed), std::move(thrown), value.value_or(execution{}));
    }
};
/// The value of a call whose rows went to an erased sink.
template <>
struct sink_value<sink_ref> {
    static execution take(sink_ref&, const execution& done) { return done; }
};

/// How the near side is told that an erased call has ended.
class erased_end {
public:
    virtual ~erased_end() = default;
    /// Takes itself along: the user's handler may destroy everything else.
    virtual void end(std::unique_ptr<erased_end> self, error failed, std::exception_ptr thrown, execution done) = 0;
};

/// The handler of the far side: the user's executor and cancellation slot without the user's type.
struct erased_handler {
    using executor_type = asio::any_io_executor;
    using cancellation_slot_type = asio::cancellation_slot;

    std::unique_ptr<erased_end> call;
    executor_type executor;
    cancellation_slot_type slot;

    [[nodiscard]] executor_type get_executor() const noexcept { return executor; }
    [[nodiscard]] cancellation_slot_type get_cancellation_slot() const noexcept { return slot; }
    void operator()(error failed, std::exception_ptr thrown, execution done) {
        erased_end& near_side = *call;
        near_side.end(std::move(call), std::move(failed), std::move(thrown), done);
    }
};

using erased_closure = asio::awaitable<error> (*)(void* closure, any_async_session& inner);

struct async_session_table {
    dialect speaks;
    scope where;
    asio_world (*world)(void* session);
    void (*start)(void* session, any_statement, any_sink&, const call_options&, erased_handler);
    /// At most once if so marked.
    asio::awaitable<error> (*transact)(void* session, void* closure, erased_closure, bool once);
};

/// The near side of an erased call: arguments and sink at a fixed address, until the far side has ended.
template <class Handler, class Form, class Bound, class Sink>
struct erased_call final : erased_end {
    erased_call(Handler h, Bound s, Sink into)
        : handler(std::move(h)), statement(std::move(s)), arguments(statement), sink(std::move(into)), out(sink) {}

    void end(std::unique_ptr<erased_end> self, error failed, std::exception_ptr thrown, execution done) override {
        answer<Form> a{std::move(failed), std::move(thrown), {}};
        if (!a.failed && !a.thrown) a.value.emplace(sink_value<Sink>::take(sink, done));
        Handler mine{std::move(handler)};
        self.reset();
        std::move(a).deliver(std::move(mine));
    }

    Handler handler;
    Bound statement;
    argument_views arguments;
    Sink sink;
    erased_sink<Sink> out;
};

}  // namespace detail

/// Refers to the session that it was made from. Cheap to copy. Streams are not offered here.
class any_async_session : public async_calls<any_async_session> {
    template <class Closure>
    using awaited_of = typename std::remove_cvref_t<std::invoke_result_t<Closure&, any_async_session&>>::value_type;

public:
    /// From an asynchronous database, session or transaction, which must outlive it and the calls on it.
    template <class Session>
        requires(!std::is_same_v<std::remove_cv_t<Session>, any_async_session>)
    any_async_session(Session& session) noexcept;

    [[nodiscard]] dialect dialect_now() const noexcept { return table_->speaks; }
    [[nodiscard]] scope where_now() const noexcept { return table_->where; }

    /// A transaction; inside one, a savepoint. The closure is a coroutine that gets an `any_async_session&`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<awaited_of<Closure>> {
        using value = awaited_of<Closure>;
        struct context {
            Closure& closure;
            std::optional<detail::storable<value>> returned;
        } here{closure, {}};
        error e = co_await table_->transact(
            session_, &here,
            [](void* c, any_async_session& inner) -> asio::awaitable<error> {
                context& at = *static_cast<context*>(c);
                at.returned.reset();
                if constexpr (std::is_void_v<value>) {
                    co_await at.closure(inner);
                    at.returned.emplace();
                } else {
                    at.returned.emplace(co_await at.closure(inner));
                    if (detail::holds_error(*at.returned)) co_return detail::error_in(*at.returned);
                }
                co_return error{};
            },
            detail::runs_once<Closure>);
        if (e) {
            if constexpr (!std::is_void_v<value>) {
                if (here.returned && detail::holds_error(*here.returned))
                    co_return detail::failed_value(std::move(*here.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<value>) co_return std::move(*here.returned);
    }

    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<awaited_of<Closure>>(async_transaction(std::move(closure)));
    }

    /// For `async_calls`.
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return asio::async_initiate<Token, typename Form::signature>(
            [me = *this](auto handler, Bound s, Sink into, const call_options& options) {
                using handler_type = decltype(handler);
                using call_type = detail::erased_call<handler_type, Form, Bound, Sink>;
                asio::any_io_executor executor{asio::get_associated_executor(handler, me.table_->world(me.session_).executor())};
                asio::cancellation_slot slot{asio::get_associated_cancellation_slot(handler)};
                auto call = std::make_unique<call_type>(std::move(handler), std::move(s), std::move(into));
                call_type& near_side = *call;
                detail::erased_handler back{std::move(call), executor, slot};
                if (error e = detail::check_placement(me, near_side.statement)) {
                    asio::post(executor, [back = std::move(back), e = std::move(e)]() mutable { back(std::move(e), nullptr, {}); });
                    return;
                }
                const any_statement erased{near_side.statement, near_side.arguments.all()};
                me.table_->start(me.session_, erased, near_side.out, options, std::move(back));
            },
            token, std::move(statement), std::move(sink), o);
    }

private:
    void* session_;
    const detail::async_session_table* table_;
};

namespace detail {

template <class Session>
struct async_session_functions {
    static asio_world world(void* s) { return static_cast<Session*>(s)->world(); }
    static void start(void* s, any_statement statement, any_sink& sink, const call_options& o, erased_handler handler) {
        Session& session = *static_cast<Session*>(s);
        static_cast<void>(session.template async_perform<erased_outcome>(statement, sink_ref{sink}, o, std::move(handler)));
    }
    static asio::awaitable<error> transact([[maybe_unused]] void* s, [[maybe_unused]] void* closure, [[maybe_unused]] erased_closure call,
                                           [[maybe_unused]] bool only_once) {
        if constexpr (begins_no_transaction<Session>)
            co_return error{errc::unsupported, "the stack of this session says transactions<none>", phase::admission};
        else
            co_return co_await begin(s, closure, call, only_once);
    }
    static constexpr async_session_table table{Session::dialect, Session::where, &world, &start, &transact};

private:
    static asio::awaitable<error> begin(void* s, void* closure, erased_closure call, bool only_once) {
        auto body = [closure, call](auto& tx) -> asio::awaitable<result<void>> {
            any_async_session inner{tx};
            error e = co_await call(closure, inner);
            if (e) co_return e;
            co_return result<void>{};
        };
        Session& session = *static_cast<Session*>(s);
        result<void> r;
        if (only_once)
            r = co_await session.async_transaction(once(body));
        else
            r = co_await session.async_transaction(body);
        co_return r ? error{} : std::move(r).error();
    }
};

}  // namespace detail

template <class Session>
    requires(!std::is_same_v<std::remove_cv_t<Session>, any_async_session>)
any_async_session::any_async_session(Session& session) noexcept
    : session_(&session), table_(&detail::async_session_functions<Session>::table) {
    // Names the table of its transactions here: clang 19 does not make all virtual functions that are needed first deep inside another's.
    static_cast<void>(&detail::async_session_functions<typename Session::transaction_type>::table);
}

}  // namespace strata::inline STRATA_ABI

#endif
