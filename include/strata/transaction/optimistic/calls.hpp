// The calls of the blocking faces for versioned rows.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_CALLS_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_CALLS_HPP

#include <strata/calls.hpp>
#include <strata/transaction/optimistic/batch.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `update_versioned<T>(key)`: what stands first is no T.
template <class T, class Key>
concept key_without_row = !std::is_convertible_v<const Key&, const T&>;

template <class Rows>
using element_of = std::remove_cvref_t<decltype(*std::begin(std::declval<const Rows&>()))>;

/// The part of a batch that writes a row.
template <class Policy, class Session, class Rows, class Strategy, bool Removes>
struct part_of_writes_type {
    static_assert(conflict_strategy<Strategy>,
                  "strata: what follows the rows is a strategy: strata::recompute{function}, strata::merge{rules...}, "
                  "strata::last_writer_wins{} or strata::fail_fast{}; after it call_options");
    static_assert(std::is_lvalue_reference_v<decltype(*std::begin(std::declval<const Rows&>()))>,
                  "strata: the rows of a batch lie in a container: std::vector<strata::versioned<T>>");
    using element = element_of<Rows>;
    using table = typename Policy::template table<typename row_of<element>::type, Session>;
    using given = decltype(given_for(std::declval<const element&>()));
    using type = versioned_part<versioned_write<typename Session::driver, table, given, Strategy, Removes>, given, element, Strategy>;
};
template <class Policy, class Session, class Rows, class Strategy, bool Removes>
using part_of_writes = typename part_of_writes_type<Policy, Session, Rows, Strategy, Removes>::type;
template <class Policy, class Session, class Rows>
struct part_of_inserts_type {
    using element = element_of<Rows>;
    using table = typename Policy::template table<element, Session>;
    using type = versioned_part<versioned_insert<typename Session::driver, table>, const element&, element, fail_fast>;
};
template <class Policy, class Session, class Rows>
using part_of_inserts = typename part_of_inserts_type<Policy, Session, Rows>::type;

/// Of `database`, transactions and sessions. The forms without `try_` throw `failure` for errors, never for a conflict. A row is given
/// as `find_versioned` returned it, or as a T that carries its version in the member of its version column. Keys: a value, or a tuple
/// for a key of several columns.
template <class Policy, class Self>
class versioned_calls {
public:
    /// The row with this key and its version; none if there is no such row. A read like others: it may be repeated.
    template <class T, class Key>
    [[nodiscard]] std::optional<versioned<T>> find_versioned(const Key& key, const call_options& o = no_call_options) {
        return try_find_versioned<T>(key, o).value();
    }
    template <class T, class Key>
    result<std::optional<versioned<T>>> try_find_versioned(const Key& key, const call_options& o = no_call_options) {
        using table = typename Policy::template table<T, Self>;
        return read<versioned_sink<T>>(table::find(table::key_from(key)), o);
    }

    /// Inserts the row, with 1 in its version column, and returns it as the database has it. A key that is there already is
    /// `errc::unique_violation`. Where the key of a removed row is used again, the new row's versions begin anew: whoever still holds the
    /// old row may then hold a version that the new one has.
    template <class T>
    versioned<T> insert_versioned(const T& row, const call_options& o = no_call_options) {
        return try_insert_versioned(row, o).value();
    }
    template <class T>
    result<versioned<T>> try_insert_versioned(const T& row, const call_options& o = no_call_options) {
        return read<inserted_sink<T>>(Policy::template table<T, Self>::insert(row), o);
    }

    /// Writes all columns of the row but its key, if it has the version that was read; else what the strategy says.
    template <class Row>
    auto update_versioned(const Row& row, const call_options& o = no_call_options) {
        return update_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto update_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return write_or_throw<typename row_of<Row>::type, false>(given_for(row), strategy, o);
    }
    template <class Row>
    auto try_update_versioned(const Row& row, const call_options& o = no_call_options) {
        return try_update_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto try_update_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return try_write<typename row_of<Row>::type, false>(given_for(row), strategy, o);
    }
    /// The same with the version beside the row.
    template <class T, class Version>
    auto update_versioned(const T& row, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return write_or_throw<T, false>(given_row_and_version<T, const T&>{row, Policy::template table<T, Self>::expected(expected)},
                                        fail_fast{}, o);
    }
    template <class T, class Version>
    auto try_update_versioned(const T& row, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return try_write<T, false>(given_row_and_version<T, const T&>{row, Policy::template table<T, Self>::expected(expected)},
                                   fail_fast{}, o);
    }
    /// Of the row with this key, read and written as often as it takes.
    template <class T, class Key, class F>
    write_outcome<T> update_versioned(const Key& key, const recompute<F>& strategy, const call_options& o = no_call_options) {
        return write_or_throw<T, false>(given_key<T, const Key&>{key}, strategy, o);
    }
    template <class T, class Key, class F>
    result<write_outcome<T>> try_update_versioned(const Key& key, const recompute<F>& strategy, const call_options& o = no_call_options) {
        return try_write<T, false>(given_key<T, const Key&>{key}, strategy, o);
    }
    /// Refused: a key by itself, or with what does not go with one.
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!recomputes<Other>)
    auto update_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<false, !key_without_row<T, Key>>();
    }
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!recomputes<Other>)
    auto try_update_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<false, !key_without_row<T, Key>>();
    }

    /// Removes the row if it has the version that was read. Strategies: `fail_fast`, `last_writer_wins`.
    template <class Row>
    auto remove_versioned(const Row& row, const call_options& o = no_call_options) {
        return remove_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto remove_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return write_or_throw<typename row_of<Row>::type, true>(given_for(row), strategy, o);
    }
    template <class Row>
    auto try_remove_versioned(const Row& row, const call_options& o = no_call_options) {
        return try_remove_versioned(row, fail_fast{}, o);
    }
    template <class Row, class Strategy>
    auto try_remove_versioned(const Row& row, const Strategy& strategy, const call_options& o = no_call_options) {
        assert_strategy<Strategy>();
        if constexpr (conflict_strategy<Strategy>) return try_write<typename row_of<Row>::type, true>(given_for(row), strategy, o);
    }
    /// The same of a key with the version beside it.
    template <class T, class Key, class Version>
    write_outcome<T> remove_versioned(const Key& key, const expect_version<Version>& expected, const call_options& o = no_call_options) {
        return write_or_throw<T, true>(given_key_and_version<T, const Key&>{key, Policy::template table<T, Self>::expected(expected)},
                                       fail_fast{}, o);
    }
    template <class T, class Key, class Version>
    result<write_outcome<T>> try_remove_versioned(const Key& key, const expect_version<Version>& expected,
                                                  const call_options& o = no_call_options) {
        return try_write<T, true>(given_key_and_version<T, const Key&>{key, Policy::template table<T, Self>::expected(expected)},
                                  fail_fast{}, o);
    }
    /// Refused: a key by itself, or with what does not go with one.
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!is_expected_version<Other>)
    auto remove_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<true, !key_without_row<T, Key>>();
    }
    template <class T, class Key, class Other = fail_fast>
        requires key_without_row<T, Key> && (!is_expected_version<Other>)
    auto try_remove_versioned(const Key&, const Other& = {}, const call_options& = no_call_options) {
        assert_key_alone<true, !key_without_row<T, Key>>();
    }

    /// Batches, of a range of what the calls above take, on one connection and as one operation. `_all_`: all or nothing, in a transaction
    /// of their own or behind a savepoint; the first row that is not written, for whatever reason, stops it. `_each_`: every row by
    /// itself, with its own result, whatever becomes of the others (inside a transaction of PostgreSQL what follows an error fails too).
    /// Rows in the order of their keys cannot deadlock with other such batches.
    template <class Rows, class Strategy = fail_fast>
    auto update_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return try_update_all_versioned(rows, strategy, o).value();
    }
    template <class Rows, class Strategy = fail_fast>
    auto try_update_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, false>, true>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto update_each_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, false>, false>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto remove_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return try_remove_all_versioned(rows, strategy, o).value();
    }
    template <class Rows, class Strategy = fail_fast>
    auto try_remove_all_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, true>, true>(rows, strategy, o);
    }
    template <class Rows, class Strategy = fail_fast>
    auto remove_each_versioned(const Rows& rows, const Strategy& strategy = {}, const call_options& o = no_call_options) {
        return batch<writes<Rows, Strategy, true>, false>(rows, strategy, o);
    }
    /// `std::vector<versioned<T>>`; the error of a row ends it, and names the row.
    template <class Rows>
    auto insert_all_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return try_insert_all_versioned(rows, o).value();
    }
    template <class Rows>
    auto try_insert_all_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return batch<inserts<Rows>, true>(rows, fail_fast{}, o);
    }
    template <class Rows>
    auto insert_each_versioned(const Rows& rows, const call_options& o = no_call_options) {
        return batch<inserts<Rows>, false>(rows, fail_fast{}, o);
    }

private:
    [[nodiscard]] Self& self() noexcept { return static_cast<Self&>(*this); }

    template <class Sink, class Bound>
    auto read(const Bound& statement, const call_options& o) {
        using value = decltype(std::declval<Sink>().take());
        Sink sink;
        execution done;
        outcome ended;
        self().perform(statement, sink, done, o, ended);
        if (!ended.ok()) return result<value>{std::move(ended.error())};
        return result<value>{std::move(sink).take()};
    }

    template <class T, bool Removes, class Given, class Strategy>
    result<write_outcome<T>> try_write(const Given& given, const Strategy& strategy, const call_options& o) {
        result<write_outcome<T>> answer;
        if (error e = write<T, Removes>(given, strategy, o, *answer)) return e;
        return answer;
    }
    template <class T, bool Removes, class Given, class Strategy>
    write_outcome<T> write_or_throw(const Given& given, const Strategy& strategy, const call_options& o) {
        write_outcome<T> answer;
        if (error e = write<T, Removes>(given, strategy, o, answer)) throw_failure(std::move(e));
        return answer;
    }
    template <class T, bool Removes, class Given, class Strategy>
    error write(const Given& given, const Strategy& strategy, const call_options& o, write_outcome<T>& told) {
        using write_type = versioned_write<typename Self::driver, typename Policy::template table<T, Self>, Given, Strategy, Removes>;
        return self().on_source([&](auto& rt, auto& source, unsigned, const interruption* outer) {
            using work_type = versioned_work<std::remove_cvref_t<decltype(rt)>, write_type>;
            auto& policy = rt.template policy<Policy>();
            operation<facts_of_versioned_write(Self::where != scope::database)> op;
            describe_versioned_write<write_type>(op, o);
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            work_type work{rt, told, given, strategy, policy.log(), policy.repeats()};
            error failed = perform_work(rt, source, op, work);
            if (work.thrown()) [[unlikely]]
                std::rethrow_exception(work.thrown());
            return failed;
        });
    }

    template <class Rows, class Strategy, bool Removes>
    using writes = part_of_writes<Policy, Self, Rows, Strategy, Removes>;
    template <class Rows>
    using inserts = part_of_inserts<Policy, Self, Rows>;

    template <class Part, bool Together, class Rows, class Strategy>
    auto batch(const Rows& rows, const Strategy& strategy, const call_options& o) {
        using outcome_type = typename Part::outcome_type;
        using answer = batch_answer<outcome_type, Together>;
        typename answer::type value;
        error e = self().on_source([&](auto& rt, auto& source, unsigned depth, const interruption* outer) {
            using work_type = versioned_batch_work<std::remove_cvref_t<decltype(rt)>, Part, Rows, Strategy, Together>;
            auto& policy = rt.template policy<Policy>();
            operation<facts_of_batch(Self::where != scope::database)> op;
            describe_versioned_write<typename Part::write_type>(op, o);
            op.deadline = deadline_of(rt.world(), o.deadline, outer);
            op.outer = outer;
            work_type work{rt, rows, strategy, policy.log(), policy.repeats(), depth};
            error failed = perform_work(rt, source, op, work);
            if (work.thrown()) std::rethrow_exception(work.thrown());
            value = answer::of(work, std::size(rows));
            return work.of_row(std::move(failed));
        });
        return answer::finish(std::move(value), std::size(rows), std::move(e));
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
