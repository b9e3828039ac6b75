// What a versioned write does when the row has another version than expected. `merge` has a file of its own.
//
// Each says whether it `checks` the version, whether it `repeats` after a conflict, and whether it is `idempotent`: written once more after
// a lost answer, it comes to the same row. One that is not refuses `call_options::idempotent`.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_STRATEGIES_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_STRATEGIES_HPP

#include <strata/core/config.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace strata::inline STRATA_ABI {

/// Nothing: the outcome is `conflict`, with the row as it is now. The default.
struct fail_fast {
    static constexpr bool checks = true;
    static constexpr bool repeats = false;
    static constexpr bool idempotent = true;
};

/// It is not looked at: what others wrote since the row was read IS LOST, unless it is in columns that T has not. The outcome is `updated`
/// or `not_found`.
struct last_writer_wins {
    static constexpr bool checks = false;
    static constexpr bool repeats = false;
    static constexpr bool idempotent = true;
};

/// The function is called with the row as it is now, changes it, and that is written; when somebody else was faster, once more on the
/// fresh row: so no update is lost. At most `optimistic_locking_options::max_attempts` times, then the outcome is `exhausted`. Given a row
/// that was read, the first try is on it as it was read: what the caller has changed in it since is not written (`merge` does that).
///
/// It may run several times, and asynchronously on any thread; it must not use the database, and what it throws comes out and nothing
/// is written. With `call_options::idempotent` it is refused with `errc::invalid_argument`: repeated after a lost answer, the function
/// would run on what it may have written itself.
template <class F>
class recompute {
public:
    static constexpr bool checks = true;
    static constexpr bool repeats = true;
    static constexpr bool idempotent = false;

    explicit recompute(F f) : f_(std::move(f)) {}

    /// Of a copy of the fresh row makes the next one.
    template <class T>
    void make(T& row) const {
        // One that takes a copy would change nothing, and be told as updated.
        constexpr bool changes_it = std::is_invocable_v<F&, T&> && !std::is_invocable_v<F&, T>;
        static_assert(changes_it, "strata: the function of recompute changes the row in place: [](T& row) { ... }, by reference");
        if constexpr (changes_it) f_(row);
    }

private:
    mutable F f_;  // each call has its own
};

namespace detail {

template <class Strategy>
inline constexpr bool recomputes = false;
template <class F>
inline constexpr bool recomputes<recompute<F>> = true;

template <class Strategy>
inline constexpr bool merges = false;

template <class S>
concept conflict_strategy = requires {
    { S::checks } -> std::convertible_to<bool>;
    { S::repeats } -> std::convertible_to<bool>;
    { S::idempotent } -> std::convertible_to<bool>;
};

template <class Strategy>
constexpr void assert_strategy() {
    static_assert(conflict_strategy<Strategy>,
                  "strata: what follows the row is a strategy: strata::recompute{function}, strata::merge{rules...}, "
                  "strata::last_writer_wins{} or strata::fail_fast{}; or strata::expect_version{...}, or call_options");
}

/// A call that is given a key without a row, and is `right` with it.
template <bool Removes, bool Right>
constexpr void assert_key_alone() {
    static_assert(Right || Removes,
                  "strata: a key alone does not say what to write: update_versioned<T>(key, strata::recompute{[](T& row) { ... }}); a row "
                  "goes by itself: update_versioned(row)");
    static_assert(Right || !Removes,
                  "strata: a key alone does not say which version is removed: remove_versioned<T>(key, strata::expect_version{...}); a row "
                  "goes by itself: remove_versioned(row)");
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
