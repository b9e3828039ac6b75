// Generated from include/strata/pipeline.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_PIPELINE_HPP
#define STRATA_SINGLE_PIPELINE_HPP

#include <strata/strata.hpp>

#include <iterator>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

// A statement of a pipeline: what its rows become, and the place where they do.
#ifndef STRATA_PIPELINE_ITEM_HPP
#define STRATA_PIPELINE_ITEM_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct one_row {
    using value = T;
    using sink = one_sink<T, T&>;
};
template <class T>
struct maybe_one_row {
    using value = std::optional<T>;
    using sink = maybe_one_sink<T, std::optional<T>&>;
};
template <class T>
struct all_rows {
    using value = std::vector<T>;
    using sink = all_sink<T, std::vector<T>&>;
};
struct no_rows {
    using value = execution;
    using sink = discard_sink;
};

/// A statement, and what its rows become. `Bound` may be a const reference.
template <class Kind, class Bound>
struct piped {
    using bound_type = std::remove_cvref_t<Bound>;
    using kind = Kind;
    Bound statement;

    [[nodiscard]] auto own() const {
        auto owned = statement.own();
        return piped<Kind, decltype(owned)>{std::move(owned)};
    }
};
/// A literal for each element of a range. `Range` may be a const reference.
template <class Kind, class Literal, class Range>
struct piped_each {
    using bound_type = bound_element<Literal, std::remove_cvref_t<Range>>;
    using kind = Kind;
    Literal statement;
    Range elements;

    [[nodiscard]] auto own() const { return piped_each<Kind, Literal, std::remove_cvref_t<Range>>{statement, elements}; }
};

template <class P>
inline constexpr bool is_piped = false;
template <class Kind, class Bound>
inline constexpr bool is_piped<piped<Kind, Bound>> = true;
template <class Kind, class Literal, class Range>
inline constexpr bool is_piped<piped_each<Kind, Literal, Range>> = true;

/// What an argument is kept as: an lvalue by reference.
template <class S>
using piped_as = std::conditional_t<std::is_lvalue_reference_v<S>, const std::remove_cvref_t<S>&, std::remove_cvref_t<S>>;

template <class Kind, class S>
[[nodiscard]] auto pipe(S&& s) {
    using given = std::remove_cvref_t<S>;
    static_assert(!is_piped<given>, "strata: this statement says already what its rows become");
    if constexpr (is_literal<given>)
        return piped<Kind, decltype(s())>{s()};
    else if constexpr (bound_statement<given>)
        return piped<Kind, piped_as<S>>{static_cast<S&&>(s)};
    else
        return piped<Kind, std::remove_cvref_t<decltype(as_bound(s))>>{as_bound(s)};  // says what is wrong
}
/// A run-time statement finds out.
template <class Bound>
inline constexpr bool has_typed_arguments = true;
template <statement_facts Facts, class... Args>
inline constexpr bool has_typed_arguments<bound<Facts, Args...>> = (may_be_typed<std::remove_cvref_t<Args>> || ...);

template <class Kind, class Literal, class Range>
[[nodiscard]] auto pipe_each(const Literal& statement, Range&& elements) {
    static_assert(std::forward_iterator<decltype(std::begin(std::declval<const std::remove_cvref_t<Range>&>()))>,
                  "strata: the elements of a pipeline's statement must be a forward range: some may be sent again");
    static_assert(!has_typed_arguments<bound_element<Literal, std::remove_cvref_t<Range>>>,
                  "strata: say the type in the text, as in :x::jsonb: all elements of a pipeline's statement share one");
    return piped_each<Kind, Literal, piped_as<Range>>{statement, static_cast<Range&&>(elements)};
}
template <class S>
[[nodiscard]] decltype(auto) as_piped(const S& s) {
    if constexpr (is_piped<S>)
        return (s);
    else
        return pipe<no_rows>(s);
}
template <class S>
using piped_type = std::remove_cvref_t<decltype(as_piped(std::declval<const S&>()))>;

/// A statement in its flight, with the place for its result. `Piped` outlives it.
template <class Piped>
class pipeline_item;

/// What items of both kinds share.
template <class Kind, class Bound>
class pipeline_item_base {
public:
    using value = typename Kind::value;
    using sink = typename Kind::sink;
    static constexpr bool wants_count = std::is_same_v<Kind, no_rows>;

    [[nodiscard]] static const void* tag() noexcept {
        if constexpr (std::is_same_v<Kind, no_rows>)
            return nullptr;
        else
            return sink::tag();
    }
    template <class Row>
    [[nodiscard]] static error plan(const Row& meta, row_plan& p) {
        return sink::plan(meta, p);
    }

protected:
    template <class F>
    static void give_sink([[maybe_unused]] value& place, F& f) {
        if constexpr (wants_count)
            f(sink{});
        else
            f(sink{place});
    }
    /// A read that calls nothing but pure functions, whatever the user says of it.
    [[nodiscard]] static bool only_reads(const descriptor& d) noexcept { return d.kind == statement_kind::read && d.idempotent; }
};

template <class Kind, class Bound>
class pipeline_item<piped<Kind, Bound>> : public pipeline_item_base<Kind, Bound> {
    using base = pipeline_item_base<Kind, Bound>;

public:
    using bound_type = std::remove_cvref_t<Bound>;
    using value_type = typename base::value;
    using result_type = result<value_type>;
    static constexpr bool may_have_types = has_typed_arguments<bound_type>;

    explicit pipeline_item(const piped<Kind, Bound>& p) noexcept : statement_(p.statement) {}
    [[nodiscard]] const descriptor& text() const { return statement_.text(); }
    [[nodiscard]] static constexpr bool literal() noexcept { return bound_type::facts.kind_known; }
    [[nodiscard]] bool only_reads() const { return base::only_reads(text()); }
    [[nodiscard]] bool idempotent() const { return statement_.idempotent(); }
    [[nodiscard]] std::string_view label() const { return statement_.label(); }
    [[nodiscard]] static constexpr std::size_t size() noexcept { return 1; }
    template <class F>
    void with_statement(std::size_t, F&& f) const {
        f(statement_);
    }
    template <class F>
    void with_sink(std::size_t, F&& f) {
        base::give_sink(*result_, f);
    }
    void end(std::size_t, error e, [[maybe_unused]] const execution& done) {
        if (e) [[unlikely]]
            result_ = std::move(e);
        else if constexpr (base::wants_count)
            *result_ = done;
    }
    void restart() { result_ = value_type{}; }
    void fail(const error& e) { result_ = e; }
    [[nodiscard]] result_type take() { return std::move(result_); }
    /// When nothing has failed.
    [[nodiscard]] value_type take_value() { return *std::move(result_); }

private:
    const bound_type& statement_;
    result_type result_;
};

template <class Kind, class Literal, class Range>
class pipeline_item<piped_each<Kind, Literal, Range>>
    : public pipeline_item_base<Kind, typename piped_each<Kind, Literal, Range>::bound_type> {
    using base = pipeline_item_base<Kind, typename piped_each<Kind, Literal, Range>::bound_type>;
    using range = std::remove_cvref_t<Range>;
    using iterator = decltype(std::begin(std::declval<const range&>()));

public:
    using bound_type = typename piped_each<Kind, Literal, Range>::bound_type;
    using value_type = std::vector<typename base::value>;
    using result_type = std::vector<result<typename base::value>>;
    static constexpr bool may_have_types = false;

    explicit pipeline_item(const piped_each<Kind, Literal, Range>& p)
        : statement_(p.statement), elements_(p.elements), at_(std::begin(elements_)),
          size_(static_cast<std::size_t>(std::distance(std::begin(elements_), std::end(elements_)))), values_(size_) {}
    [[nodiscard]] const descriptor& text() const { return statement_.text(); }
    [[nodiscard]] static constexpr bool literal() noexcept { return true; }
    [[nodiscard]] bool only_reads() const { return base::only_reads(text()); }
    [[nodiscard]] static constexpr bool idempotent() noexcept { return bound_type::idempotent(); }
    [[nodiscard]] std::string_view label() const { return statement_.label(); }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    template <class F>
    void with_statement(std::size_t i, F&& f) {
        if (i < index_) {
            at_ = std::begin(elements_);
            index_ = 0;
        }
        std::advance(at_, i - index_);
        index_ = i;
        f(bind_element(statement_, *at_));
    }
    template <class F>
    void with_sink(std::size_t i, F&& f) {
        base::give_sink(values_[i], f);
    }
    void end(std::size_t i, error e, [[maybe_unused]] const execution& done) {
        if (e) [[unlikely]]
            failed_.emplace_back(i, std::move(e));
        else if constexpr (base::wants_count)
            values_[i] = done;
    }
    void restart() {
        failed_.clear();
        values_ = places(size_);
    }
    void fail(const error& e) {
        failed_.clear();
        for (std::size_t i = 0; i < size_; ++i) failed_.emplace_back(i, e);
    }
    [[nodiscard]] result_type take() {
        result_type all;
        all.reserve(size_);
        for (std::size_t i = 0; i < size_; ++i) all.emplace_back(std::move(values_[i]));
        for (auto& [i, e] : failed_) all[i] = std::move(e);
        return all;
    }
    [[nodiscard]] value_type take_value() {
        if constexpr (std::is_same_v<places, value_type>)
            return std::move(values_);
        else
            return value_type(values_.data(), values_.data() + size_);
    }

private:
    // std::vector<bool> has no bool to refer to
    using places = std::conditional_t<std::is_same_v<typename base::value, bool>, heap_array<typename base::value>, value_type>;

    const Literal& statement_;
    const range& elements_;
    iterator at_;
    std::size_t index_ = 0;
    std::size_t size_;
    places values_;
    std::vector<std::pair<std::size_t, error>> failed_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

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

#endif
