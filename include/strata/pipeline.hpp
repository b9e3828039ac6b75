// Independent statements in one flight to the server and back, each with a typed result of its own.
//
//   auto [found, added, entries] = db.pipeline(strata::one<account>(find(7)), add(-100, 7), strata::all<entry>(list(7)));
//   auto [accounts] = db.pipeline(strata::one_each<account>(find, ids));       // one statement for each element of a range
//
// On a database, or a session outside of a transaction, each statement stands for itself: one that fails rolls no other back, and
// the others are run. Inside a transaction what follows a failure is not run (`errc::not_run`). The error names the statement, by
// number and text. It is one operation: admitted once, and repeated only if all its statements may be. For drivers that can.
#ifndef STRATA_PIPELINE_HPP
#define STRATA_PIPELINE_HPP

#include <strata/calls.hpp>
#include <strata/perform.hpp>
#include <strata/pipeline_item.hpp>

#include <optional>
#include <tuple>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

consteval operation_facts facts_of_pipeline(bool inside_transaction) {
    return {.kind = operation_kind::batch, .idempotent = known::at_run_time, .inside_transaction = inside_transaction};
}

template <class Driver, class... Piped>
class pipeline_work {
    static_assert(
        requires { requires Driver::pipelines; }, "strata: this driver has no pipeline: run the statements one by one, or by execute_many");
    static_assert(sizeof...(Piped) > 0, "strata: a pipeline needs a statement");
    using connection = typename Driver::connection;
    using items = std::tuple<pipeline_item<Piped>...>;
    using query = typename connection::template pipeline<pipeline_item<Piped>...>;

public:
    using results = std::tuple<typename pipeline_item<Piped>::result_type...>;
    using values = std::tuple<typename pipeline_item<Piped>::value_type...>;

    explicit pipeline_work(const Piped&... p) : items_(p...) {}

    template <class Op>
    void describe(Op& op, const call_options& o) {
        op.tags = o.tags;
        op.priority = o.priority;
        std::apply(
            [&](auto&... i) {
                op.run_time_idempotent = o.idempotent || (i.idempotent() && ...);
                op.reads_only = (i.only_reads() && ...);
                static_cast<void>(((op.name = i.label(), !op.name.empty()) || ...));  // the first that has one
                op.statement = std::get<0>(items_).text().text;
            },
            items_);
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!query_) {
            if (op.attempt > 1) [[unlikely]]
                std::apply([](auto&... i) { (i.restart(), ...); }, items_);
            complete_ = false;
            query_.emplace(c, items_);
        }
        const signal s = query_->resume();
        complete_ = s == signal::done || s == signal::failed;
        if (s == signal::failed) result.replace(std::move(query_->failure()));
        return s;
    }
    void end() noexcept { query_.reset(); }

    /// Each one's own result. `e`: what the flight ended with, in case it never came to a connection.
    [[nodiscard]] results take_results(const error& e) {
        return std::apply(
            [&](auto&... i) {
                if (e && !complete_) (i.fail(e), ...);
                return results{i.take()...};
            },
            items_);
    }
    /// All of them went well.
    [[nodiscard]] values take_values() {
        return std::apply([](auto&... i) { return values{i.take_value()...}; }, items_);
    }

private:
    items items_;
    std::optional<query> query_;
    bool complete_ = false;
};

template <class Session, class Kind, class Bound>
[[nodiscard]] error check_piped(const Session& session, const piped<Kind, Bound>& p) {
    return check_placement(session, p.statement);
}
template <class Session, class Kind, class Literal, class Range>
[[nodiscard]] error check_piped(const Session&, const piped_each<Kind, Literal, Range>&) {
    assert_placement<typename piped_each<Kind, Literal, Range>::bound_type, Session>();
    return {};
}

template <class Session>
struct pipeline_calls<Session, true> {
    template <class... S>
    static auto run(Session& session, const call_options& o, const S&... statements) {
        return fly(
            session, o,
            [](auto& work, error& e) {
                if (e) throw_failure(std::move(e));
                return work.take_values();
            },
            statements...);
    }
    template <class... S>
    static auto try_run(Session& session, const call_options& o, const S&... statements) {
        return fly(session, o, [](auto& work, const error& e) { return work.take_results(e); }, statements...);
    }

private:
    template <class Finish, class... S>
    static auto fly(Session& session, const call_options& o, Finish finish, const S&... statements) {
        static_assert(
            requires { typename Session::driver; }, "strata: a pipeline needs a session whose type is known, not strata::any_session");
        const std::tuple<decltype(as_piped(statements))...> held{as_piped(statements)...};
        auto work = std::apply(
            [](const auto&... p) { return pipeline_work<typename Session::driver, std::remove_cvref_t<decltype(p)>...>{p...}; }, held);
        error e = std::apply(
            [&](const auto&... p) {
                error wrong;
                static_cast<void>(((wrong = check_piped(session, p), !wrong) && ...));
                return wrong;
            },
            held);
        if (!e) {
            e = session.on_source([&](auto& rt, auto& source, unsigned, const interruption* outer) {
                operation<facts_of_pipeline(Session::where != scope::database)> op;
                work.describe(op, o);
                op.deadline = deadline_of(rt.world(), o.deadline, outer);
                op.outer = outer;
                return perform_work(rt, source, op, work);
            });
        }
        return finish(work, e);
    }
};

}  // namespace detail

/// A statement of a pipeline that must have exactly one row: its result is a `T`. An lvalue statement is kept by reference.
template <class T, class S>
[[nodiscard]] auto one(S&& statement) {
    return detail::pipe<detail::one_row<T>>(std::forward<S>(statement));
}
/// One row or none: `std::optional<T>`.
template <class T, class S>
[[nodiscard]] auto maybe_one(S&& statement) {
    return detail::pipe<detail::maybe_one_row<T>>(std::forward<S>(statement));
}
/// All rows: `std::vector<T>`.
template <class T, class S>
[[nodiscard]] auto all(S&& statement) {
    return detail::pipe<detail::all_rows<T>>(std::forward<S>(statement));
}

/// A literal once for each element of a range: a tuple of arguments in order, a struct whose members have the parameters' names, or
/// one argument. Its result is a vector: of `T`, and in the `try_` form of `result<T>`. An lvalue range is kept by reference.
template <class T, class Literal, class Range>
[[nodiscard]] auto one_each(const Literal& statement, Range&& elements) {
    return detail::pipe_each<detail::one_row<T>>(statement, std::forward<Range>(elements));
}
/// The same with `std::optional<T>` for each.
template <class T, class Literal, class Range>
[[nodiscard]] auto maybe_one_each(const Literal& statement, Range&& elements) {
    return detail::pipe_each<detail::maybe_one_row<T>>(statement, std::forward<Range>(elements));
}
/// The same with `std::vector<T>` for each.
template <class T, class Literal, class Range>
[[nodiscard]] auto all_each(const Literal& statement, Range&& elements) {
    return detail::pipe_each<detail::all_rows<T>>(statement, std::forward<Range>(elements));
}
/// The same with `execution` for each.
template <class Literal, class Range>
[[nodiscard]] auto execute_each(const Literal& statement, Range&& elements) {
    return detail::pipe_each<detail::no_rows>(statement, std::forward<Range>(elements));
}

}  // namespace strata::inline STRATA_ABI

#endif
