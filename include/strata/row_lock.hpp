// Rows locked by their key until the transaction ends, so that nobody changes them between a look and a decision.
//
//   db.transaction([&](auto& tx) {
//       account a = tx.template lock_one<account>(7);                                             // waits for who holds it
//       auto b = tx.template lock_maybe_one<account>(8, strata::for_update | strata::nowait);     // or fails at once
//       for (job& j : tx.template claim<job, "state = 'ready'">(10)) ...                          // rows that nobody holds
//   });
//
// Table, key and columns come from `mapping<T>`, quoted; the key is bound. Where a statement says more than this, write it by hand:
// `"select ... for no key update of a"_sql`. Only inside a transaction, for a lock ends with its transaction, and only on a database
// that has row locks: others do not compile. The order in which a transaction locks rows is its author's: one order everywhere (by key)
// is what avoids `errc::deadlock`.
//
// Who waits too long (`tx.set_lock_timeout`), or meets a locked row with `nowait`: `errc::lock_not_available`, whose message or detail
// names the table. As after every failure on PostgreSQL the transaction is then over, unless the call stood in one of its own:
// `tx.transaction([&](auto& inner) { ... })`.
#ifndef STRATA_ROW_LOCK_HPP
#define STRATA_ROW_LOCK_HPP

#include <strata/calls.hpp>
#include <strata/sql/written_literal.hpp>
#include <strata/value/key_fit.hpp>

#include <chrono>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

enum class lock_strength : std::uint8_t {
    update,         ///< against everybody who locks, changes or removes the row
    no_key_update,  ///< the same, but others may go on to refer to it by foreign keys: what an update of other columns takes
    share,          ///< against change; others may share it
    key_share       ///< against removal and a change of its key only
};
enum class lock_wait : std::uint8_t {
    wait,        ///< until the holder's transaction ends, the deadline, or the lock timeout
    nowait,      ///< `errc::lock_not_available` at once
    skip_locked  ///< as if the row were not there
};

/// How rows are locked, as a type. One of the constants below, with `| nowait` or `| skip_locked` where wanted.
template <lock_strength Strength, lock_wait Wait = lock_wait::wait>
struct row_lock {};
template <lock_wait Wait>
struct row_lock_wait {};

inline constexpr row_lock<lock_strength::update> for_update{};
inline constexpr row_lock<lock_strength::no_key_update> for_no_key_update{};
inline constexpr row_lock<lock_strength::share> for_share{};
inline constexpr row_lock<lock_strength::key_share> for_key_share{};
inline constexpr row_lock_wait<lock_wait::nowait> nowait{};
inline constexpr row_lock_wait<lock_wait::skip_locked> skip_locked{};

template <lock_strength Strength, lock_wait Wait>
[[nodiscard]] constexpr row_lock<Strength, Wait> operator|(row_lock<Strength>, row_lock_wait<Wait>) noexcept {
    return {};
}

namespace detail {

template <class T>
inline constexpr bool is_row_lock = false;
template <lock_strength S, lock_wait W>
inline constexpr bool is_row_lock<row_lock<S, W>> = true;

template <lock_strength Strength, lock_wait Wait>
constexpr void put_lock(text_writer& out, row_lock<Strength, Wait>) {
    constexpr std::string_view strengths[] = {" for update", " for no key update", " for share", " for key share"};
    constexpr std::string_view waits[] = {"", " nowait", " skip locked"};
    out.put(strengths[static_cast<std::size_t>(Strength)]);
    out.put(waits[static_cast<std::size_t>(Wait)]);
}

template <class T>
constexpr void put_select(text_writer& out) {
    static_assert(requires { mapping<T>::table; }, "strata: a row lock needs mapping<T>::table, the table's name");
    static_assert(!key_columns<T>.empty() && key_columns<T>.size() < 10, "strata: a row lock needs mapping<T>::key, one to nine columns");
    std::string_view before = "select ";
    for (const std::string_view column : column_names<T>) {
        out.put(before);
        put_quoted(out, column);
        before = ", ";
    }
    out.put(" from ");
    if constexpr (requires { mapping<T>::schema; }) {
        put_quoted(out, mapping<T>::schema);
        out.put('.');
    }
    if constexpr (requires { mapping<T>::table; }) put_quoted(out, mapping<T>::table);
}

/// `select "id", "owner" from "account" where "id" = :key_1 for update`
template <class T, class Lock>
struct row_by_key {
    static constexpr void write(text_writer& out) {
        put_select<T>(out);
        std::string_view before = " where ";
        char number = '1';
        for (const std::string_view column : key_columns<T>) {
            out.put(before);
            put_quoted(out, column);
            out.put(" = :key_");
            out.put(number++);
            before = " and ";
        }
        put_lock(out, Lock{});
    }
};

/// `select ... from "job" where (state = 'ready') order by "id" limit :most_rows for update skip locked`
template <class T, fixed_string Condition>
struct unlocked_rows {
    static constexpr void write(text_writer& out) {
        put_select<T>(out);
        out.put(" where (");
        out.put(Condition.view());
        std::string_view before = "\n) order by ";  // on a line of its own: the condition may end with a comment
        for (const std::string_view column : key_columns<T>) {
            out.put(before);
            put_quoted(out, column);
            before = ", ";
        }
        out.put(" limit :most_rows");
        put_lock(out, for_update | skip_locked);
    }
};

struct lock_timeout_text {
    static constexpr void write(text_writer& out) { out.put("select set_config('lock_timeout', :limit, true)"); }
};

/// As PostgreSQL takes it: whole milliseconds, rounded up, where 0 is no limit.
[[nodiscard]] inline std::string lock_timeout_value(duration limit) {
    using milliseconds = std::chrono::milliseconds;
    if (limit == duration::zero()) return "0";
    if (limit < milliseconds{1}) return "1";
    const auto most = milliseconds{std::numeric_limits<std::int32_t>::max()};
    return std::to_string(limit < most ? std::chrono::ceil<milliseconds>(limit).count() : most.count());
}

/// Parts the arguments of `claim` from its options and token.
template <bool Named, class A>
[[nodiscard]] auto only(A&& a) {
    if constexpr (is_named<std::remove_cvref_t<A>> == Named)
        return std::forward_as_tuple(std::forward<A>(a));
    else
        return std::tuple<>{};
}

template <class Session>
struct row_lock_calls<Session, true> {
    /// `call(statement, more...)` with the look-up of a row; a lock may stand first among `more`.
    template <class T, class Call, class Key, class... More>
    static decltype(auto) row(Call&& call, const Key& key, More&&... more) {
        return locked<T>(call, key, for_update, std::forward<More>(more)...);
    }
    template <class T, class Call, class Key, class Lock, class... More>
        requires is_row_lock<std::remove_cvref_t<Lock>>
    static decltype(auto) row(Call&& call, const Key& key, Lock&& lock, More&&... more) {
        return locked<T>(call, key, lock, std::forward<More>(more)...);
    }
    template <class T, fixed_string Condition, class Call, class... More>
    static decltype(auto) rows(Call&& call, std::int64_t most, More&&... more) {
        assert_session();
        auto statement = std::apply(
            [&](auto&&... named) {
                return written_literal<unlocked_rows<T, Condition>>(argument<"most_rows", std::int64_t>{most},
                                                                    std::forward<decltype(named)>(named)...);
            },
            std::tuple_cat(only<true>(std::forward<More>(more))...));
        return std::apply([&](auto&&... rest) -> decltype(auto) { return call(statement, std::forward<decltype(rest)>(rest)...); },
                          std::tuple_cat(only<false>(std::forward<More>(more))...));
    }
    template <class Call, class... More>
    static decltype(auto) timeout(Call&& call, duration limit, More&&... more) {
        assert_session();
        return call(written_literal<lock_timeout_text>(lock_timeout_value(limit)), std::forward<More>(more)...);
    }

private:
    static constexpr void assert_session() {
        static_assert(requires { typename Session::driver; }, "strata: row locks need a transaction whose type is known, not any_session");
        if constexpr (requires { typename Session::driver; }) {
            static_assert(
                requires { requires Session::driver::row_locks; },
                "strata: this database has no row locks: SQLite locks the whole file from the beginning of a transaction that writes, so "
                "nobody else changes the row: read it with tx.one<T>(...)");
            static_assert(Session::where == scope::transaction,
                          "strata: a row lock ends with its transaction, here with the very statement: write db.transaction([&](auto& tx) "
                          "{ tx.template lock_one<T>(key); ... })");
        }
    }
    template <class T, class Call, class Key, class Lock, class... More>
    static decltype(auto) locked(Call& call, const Key& key, Lock&, More&&... more) {
        assert_session();
        assert_key<T, Key>();
        constexpr auto statement = written_literal<row_by_key<T, std::remove_cvref_t<Lock>>>;
        if constexpr (requires { std::tuple_size<Key>::value; })
            return call(std::apply(statement, key), std::forward<More>(more)...);
        else
            return call(statement(key), std::forward<More>(more)...);
    }
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
