// Generated from include/strata/async/optimistic_locking.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_ASYNC_OPTIMISTIC_LOCKING_HPP
#define STRATA_SINGLE_ASYNC_OPTIMISTIC_LOCKING_HPP

#include <strata/strata.hpp>
#include <strata/async.hpp>
#include <strata/optimistic_locking.hpp>

// Versioned rows, asynchronously: the calls of strata/optimistic_locking.hpp with `async_` before their names.
//
//   auto row = co_await adb.async_find_versioned<account>(7);
//   auto done = co_await adb.async_update_versioned(*row, strata::merge{strata::field<"balance">(strata::add_numbers)});
//
// Same order of arguments: what is written; a strategy or `expect_version`; `call_options`; a completion token. Each but the first may be
// left out. Everything is copied in the call. The pauses between tries wait on the loop's timer. Functions of recompute and merge run where
// the connection is driven: on the caller's executor for PostgreSQL, on a work thread for SQLite.
#ifndef STRATA_ASYNC_OPTIMISTIC_LOCKING_HPP
#define STRATA_ASYNC_OPTIMISTIC_LOCKING_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// A batch whose rows have results of their own, so that the call has none.
template <class Results>
struct rows_alone {
    using value = Results;
    using signature = void(Results);
};
template <class Results>
struct answer<rows_alone<Results>> {
    Results results;
    template <class Handler>
    void deliver(Handler&& handler) && {
        std::move(handler)(std::move(results));
    }
};

/// One write. Owns what it was given.
template <class Home, class Policy, class Write, class Given, class Strategy, class Form, scope Where>
class versioned_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_versioned_write(Where != scope::database)>;
    using work_type = versioned_work<runtime_type, Write>;

public:
    using form = Form;

    versioned_job(Home home, Given given, Strategy strategy, const call_options& o)
        : home_(std::move(home)), given_(std::move(given)), strategy_(std::move(strategy)),
          work_(home_.runtime(), told_, given_, strategy_, policy().log(), policy().repeats()),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        describe_versioned_write<Write>(op_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a{std::move(flight_.result().error()), flight_.thrown() ? flight_.thrown() : work_.thrown(), {}};
        if (!a.failed && !a.thrown) a.value.emplace(std::move(told_));
        return a;
    }

private:
    [[nodiscard]] Policy& policy() { return home_.runtime().template policy<Policy>(); }

    Home home_;
    Given given_;
    Strategy strategy_;
    typename Write::outcome_type told_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

/// A batch. Owns its rows.
template <class Home, class Policy, class Part, class Rows, class Strategy, bool Together, class Form, scope Where>
class versioned_batch_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_batch(Where != scope::database)>;
    using work_type = versioned_batch_work<runtime_type, Part, Rows, Strategy, Together>;
    using told = batch_answer<typename Part::outcome_type, Together>;

public:
    using form = Form;

    versioned_batch_job(Home home, unsigned depth, Rows rows, Strategy strategy, const call_options& o)
        : home_(std::move(home)), rows_(std::move(rows)), strategy_(std::move(strategy)),
          work_(home_.runtime(), rows_, strategy_, policy().log(), policy().repeats(), depth),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        describe_versioned_write<typename Part::write_type>(op_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }

    [[nodiscard]] answer<Form> take_result() {
        if constexpr (Together) {
            answer<Form> a{std::move(flight_.result().error()), flight_.thrown() ? flight_.thrown() : work_.thrown(), {}};
            if (!a.failed && !a.thrown) a.value.emplace(told::of(work_, std::size(rows_)));
            return a;
        } else {
            return {told::finish(told::of(work_, std::size(rows_)), std::size(rows_), work_.of_row(std::move(flight_.result().error())))};
        }
    }

private:
    [[nodiscard]] Policy& policy() { return home_.runtime().template policy<Policy>(); }

    Home home_;
    Rows rows_;
    Strategy strategy_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

template <class Policy, class Self>
struct async_versioned_calls<Policy, Self, true> {
    template <class T>
    using table_of = typename Policy::template table<T, Self>;

    template <class T, template <class> class Form, class Key, class... Rest>
    static auto find(Self& self, const Key& key, Rest&&... rest) {
        return with_options(
            [&]<class Token>(const call_options& o, Token&& token) {
                return self.template async_perform<Form<std::optional<versioned<T>>>>(table_of<T>::find(table_of<T>::key_from(key)).own(),
                                                                                      versioned_sink<T>{}, o, std::forward<Token>(token));
            },
            std::forward<Rest>(rest)...);
    }
    template <template <class> class Form, class T, class... Rest>
    static auto insert(Self& self, const T& row, Rest&&... rest) {
        return with_options(
            [&]<class Token>(const call_options& o, Token&& token) {
                return self.template async_perform<Form<versioned<T>>>(table_of<T>::insert(row).own(), inserted_sink<T>{}, o,
                                                                       std::forward<Token>(token));
            },
            std::forward<Rest>(rest)...);
    }
    /// Of a row. `T` is void, or given with a key.
    template <class T, bool Removes, template <class> class Form, class Given, class... Rest>
    static auto write(Self& self, const Given& given, Rest&&... rest) {
        return with_strategy(
            [&]<class Strategy, class Token>(Strategy strategy, const call_options& o, Token&& token) {
                constexpr bool key_alone = !std::is_void_v<T> && key_without_row<T, Given>;
                constexpr bool right = Removes ? is_expected_version<Strategy> : recomputes<Strategy>;
                if constexpr (key_alone && !right)
                    assert_key_alone<Removes, right>();
                else if constexpr (is_expected_version<Strategy> && Removes)
                    return start_write<T, Removes, Form>(self, given_key_and_version<T, Given>{given, table_of<T>::expected(strategy)},
                                                         fail_fast{}, o, std::forward<Token>(token));
                else if constexpr (is_expected_version<Strategy>)
                    return start_write<Given, Removes, Form>(
                        self, given_row_and_version<Given, Given>{given, table_of<Given>::expected(strategy)}, fail_fast{}, o,
                        std::forward<Token>(token));
                else if constexpr (key_alone)
                    return start_write<T, Removes, Form>(self, given_key<T, Given>{given}, std::move(strategy), o,
                                                         std::forward<Token>(token));
                else
                    return start_write<typename row_of<Given>::type, Removes, Form>(self, given_for(Given(given)), std::move(strategy), o,
                                                                                    std::forward<Token>(token));
            },
            std::forward<Rest>(rest)...);
    }
    template <bool Removes, bool Together, template <class> class Form, class Rows, class... Rest>
    static auto write_many(Self& self, const Rows& rows, Rest&&... rest) {
        return with_strategy(
            [&]<class Strategy, class Token>(Strategy strategy, const call_options& o, Token&& token) {
                return start_batch<part_of_writes<Policy, Self, Rows, Strategy, Removes>, Together, Form>(self, rows, std::move(strategy),
                                                                                                          o, std::forward<Token>(token));
            },
            std::forward<Rest>(rest)...);
    }
    template <bool Together, template <class> class Form, class Rows, class... Rest>
    static auto insert_many(Self& self, const Rows& rows, Rest&&... rest) {
        return with_options(
            [&]<class Token>(const call_options& o, Token&& token) {
                return start_batch<part_of_inserts<Policy, Self, Rows>, Together, Form>(self, rows, fail_fast{}, o,
                                                                                        std::forward<Token>(token));
            },
            std::forward<Rest>(rest)...);
    }

private:
    template <class T, bool Removes, template <class> class Form, class Given, class Strategy, class Token>
    static auto start_write(Self& self, Given given, Strategy strategy, const call_options& o, Token&& token) {
        using write_type = versioned_write<typename Self::driver, table_of<T>, Given, Strategy, Removes>;
        using job = versioned_job<decltype(self.home()), Policy, write_type, Given, Strategy, Form<write_outcome<T>>, Self::where>;
        return start<job>(self.world(), std::forward<Token>(token), self.home(), std::move(given), std::move(strategy), o);
    }
    template <class Part, bool Together, template <class> class Form, class Rows, class Strategy, class Token>
    static auto start_batch(Self& self, Rows rows, Strategy strategy, const call_options& o, Token&& token) {
        using told = typename batch_answer<typename Part::outcome_type, Together>::type;
        using form = std::conditional_t<Together, Form<told>, rows_alone<told>>;
        using job = versioned_batch_job<decltype(self.home()), Policy, Part, Rows, Strategy, Together, form, Self::where>;
        return start<job>(self.world(), std::forward<Token>(token), self.home(), self.depth_of_batch(), std::move(rows),
                          std::move(strategy), o);
    }

    // What may be left out.
    template <class Then>
    static auto with_strategy(Then then) {
        return then(fail_fast{}, call_options{}, default_token{});
    }
    template <class Then, class First, class... Rest>
    static auto with_strategy(Then then, First&& first, Rest&&... rest) {
        using given = std::remove_cvref_t<First>;
        if constexpr (conflict_strategy<given> || is_expected_version<given>)
            return with_options(
                [&]<class Token>(const call_options& o, Token&& token) {
                    return then(given(std::forward<First>(first)), o, std::forward<Token>(token));
                },
                std::forward<Rest>(rest)...);
        else
            return with_options(
                [&]<class Token>(const call_options& o, Token&& token) { return then(fail_fast{}, o, std::forward<Token>(token)); },
                std::forward<First>(first), std::forward<Rest>(rest)...);
    }
    template <class Then>
    static auto with_options(Then then) {
        return then(call_options{}, default_token{});
    }
    template <class Then, class First>
    static auto with_options(Then then, First&& first) {
        if constexpr (std::is_same_v<std::remove_cvref_t<First>, call_options>)
            return then(first, default_token{});
        else
            return then(call_options{}, std::forward<First>(first));
    }
    template <class Then, class Token>
    static auto with_options(Then then, const call_options& o, Token&& token) {
        return then(o, std::forward<Token>(token));
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

#endif
