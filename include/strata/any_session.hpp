// A session whose stack and driver are not known: for code compiled apart from both.
//
//   account load(strata::any_session& s, std::int64_t id);     // a .cpp that sees no stack and no driver
//   strata::any_session s{db};  load(s, 7);                    // database, session, transaction
//
// One virtual call an operation plus one a column and parameter. It refers to the session it was made from.
#ifndef STRATA_ANY_SESSION_HPP
#define STRATA_ANY_SESSION_HPP

#include <strata/any_statement.hpp>
#include <strata/calls.hpp>
#include <strata/stream.hpp>
#include <strata/transaction/closure.hpp>
#include <strata/transaction/options.hpp>

namespace strata::inline STRATA_ABI {

class any_session;

namespace detail {

/// An open stream whose type is forgotten.
class any_stream {
public:
    template <class State>
    explicit any_stream(std::unique_ptr<State> s)
        : state_(s.release(), [](void* p) { delete static_cast<State*>(p); }),
          advance_([](void* p, error& e) { return static_cast<State*>(p)->advance(e); }) {}

    [[nodiscard]] bool advance(error& e) { return advance_(state_.get(), e); }

private:
    std::unique_ptr<void, void (*)(void*)> state_;
    bool (*advance_)(void*, error&);
};

/// What a session must do, behind one table a session type.
struct session_table {
    dialect speaks;
    scope where;
    void (*perform)(void* session, const any_statement&, any_sink&, execution&, const call_options&, outcome&);
    any_stream (*open)(void* session, any_statement, any_sink&, const call_options&);
    /// Runs `call(closure, inner)` in a transaction, at most once if so marked; an error that it returns rolls back and comes out.
    /// Of the options a savepoint has no use for deadline and tags.
    error (*transact)(void* session, void* closure, error (*call)(void* closure, any_session& inner), bool once, const call_options&);
};

/// The near side of an erased stream: the arguments, and the sink that the far side fills.
template <class Bound, class Sink>
struct erased_stream_state {
    erased_stream_state(Bound s, Sink into) : statement(std::move(s)), arguments(statement), sink(std::move(into)), out(sink) {}

    Bound statement;
    argument_views arguments;
    Sink sink;
    erased_sink<Sink> out;
    std::optional<any_stream> far;

    bool advance(error& e) { return far->advance(e); }
};

}  // namespace detail

/// See above. Cheap to copy. Thread-safe where the session that it refers to is.
class any_session : public calls<any_session> {
public:
    /// From a database, a pinned session, a transaction or a transaction's handle, which must outlive it.
    template <class Session>
        requires(!std::is_same_v<std::remove_cv_t<Session>, any_session>)
    any_session(Session& session) noexcept;

    using transaction_type = any_session;

    [[nodiscard]] dialect dialect_now() const noexcept { return table_->speaks; }
    [[nodiscard]] scope where_now() const noexcept { return table_->where; }

    /// A transaction; inside one, a savepoint. The closure gets an `any_session&`; its value comes out.
    template <class Closure>
    auto transaction(Closure&& closure) {
        return transact(closure, {});
    }

private:
    template <class Closure>
    auto transact(Closure& closure, const call_options& o) {
        using value = detail::closure_value<Closure, any_session>;
        struct context {
            std::remove_reference_t<Closure>& closure;
            std::optional<detail::storable<value>> returned;
        } here{closure, {}};
        error e = table_->transact(
            session_, &here,
            [](void* c, any_session& inner) -> error {
                context& at = *static_cast<context*>(c);
                at.returned.reset();
                if constexpr (std::is_void_v<value>) {
                    at.closure(inner);
                    at.returned.emplace();
                } else {
                    at.returned.emplace(at.closure(inner));
                    if (detail::holds_error(*at.returned)) return detail::error_in(*at.returned);
                }
                return {};
            },
            detail::runs_once<std::remove_reference_t<Closure>>, o);
        if (e) {
            if constexpr (!std::is_void_v<value>) {
                if (here.returned && detail::holds_error(*here.returned))
                    return detail::failed_value(std::move(*here.returned), std::move(e));
            }
            throw_failure(std::move(e));
        }
        if constexpr (!std::is_void_v<value>) return std::move(*here.returned);
    }

public:
    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        const detail::argument_views arguments{statement};
        erased_sink<Sink> out{sink};
        table_->perform(session_, any_statement{statement, arguments.all()}, out, done, o, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        call_options each = o;
        const time_point until = o.deadline != duration::zero() ? add_saturated(steady_now(), o.deadline) : never;
        const auto run = [&](any_session& tx) -> result<execution> {
            execution total;
            std::size_t number = 0;
            for (const auto& element : elements) {
                if (until != never) each.deadline = until - steady_now() != duration::zero() ? until - steady_now() : duration{-1};
                auto one = tx.try_execute(detail::bind_element(statement, element), each);
                if (!one) return detail::in_element(std::move(one).error(), number);
                total.affected += one->affected;
                total.last_id = one->last_id;
                ++number;
            }
            return total;
        };
        try {
            const result<execution> r = transact(run, o);
            if (!r) return r.error();
            done = *r;
            return {};
        } catch (const failure& f) {
            return f.error();
        }
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        auto state = std::make_unique<detail::erased_stream_state<Bound, Sink>>(std::move(statement), std::move(sink));
        state->far.emplace(table_->open(session_, any_statement{state->statement, state->arguments.all()}, state->out, o));
        return state;
    }

private:
    void* session_;
    const detail::session_table* table_;
};

namespace detail {

template <class Session>
struct session_functions {
    static void perform(void* s, const any_statement& statement, any_sink& sink, execution& done, const call_options& o, outcome& ended) {
        sink_ref out{sink};
        static_cast<Session*>(s)->perform(statement, out, done, o, ended);
    }
    static any_stream open(void* s, any_statement statement, any_sink& sink, const call_options& o) {
        return any_stream{static_cast<Session*>(s)->open_stream(statement, stream_sink_ref{sink}, o)};
    }
    static error transact([[maybe_unused]] void* s, [[maybe_unused]] void* closure, [[maybe_unused]] error (*call)(void*, any_session&),
                          [[maybe_unused]] bool only_once, [[maybe_unused]] const call_options& o) {
        if constexpr (begins_no_transaction<Session>)
            return {errc::unsupported, "the stack of this session says transactions<none>", phase::admission};
        else
            return begin(s, closure, call, only_once, o);
    }
    static constexpr session_table table{Session::dialect, Session::where, &perform, &open, &transact};

private:
    static error begin(void* s, void* closure, error (*call)(void*, any_session&), bool only_once, const call_options& o) {
        const auto body = [&](auto& tx) -> result<void> {
            any_session inner{tx};
            if (error e = call(closure, inner)) return e;
            return {};
        };
        Session& session = *static_cast<Session*>(s);
        const auto run = [&](const auto& what) -> result<void> {
            using options = transaction_options<typename Session::driver>;
            if constexpr (requires { session.transaction(what, options{}); })
                return session.transaction(what, options{.deadline = o.deadline, .tags = o.tags, .priority = o.priority});
            else
                return session.transaction(what);
        };
        result<void> r = only_once ? run(once(body)) : run(body);
        return r ? error{} : std::move(r).error();
    }
};

}  // namespace detail

template <class Session>
    requires(!std::is_same_v<std::remove_cv_t<Session>, any_session>)
any_session::any_session(Session& session) noexcept : session_(&session), table_(&detail::session_functions<Session>::table) {}

}  // namespace strata::inline STRATA_ABI

#endif
