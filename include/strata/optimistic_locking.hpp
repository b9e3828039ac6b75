// Optimistic locking: rows with versions, and writes that are done only if the version is the one that was read.
//
//   using bank = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;
//
//   std::optional<strata::versioned<account>> row = db.find_versioned<account>(7);
//   (*row)->balance += 100;
//   if (auto done = db.update_versioned(*row)) row->written(done.version);
//   else if (done.status == strata::write_status::conflict) show(done.row);             // as it is now
//
//   db.update_versioned<account>(7, strata::recompute{[](account& a) { a.balance += 100; }});      // no update is lost
//   db.update_versioned(*row, strata::merge{strata::field<"balance">(strata::add_numbers)});       // puts both sides' changes together
//
// Table, key, version and columns are those of `strata::mapping<T>`. The check and the write are one statement. A call with all its tries
// is one operation: admitted once by the layers below, and each of its statements stands for itself, so what it tells about the effect of a
// failure is that of the statement which failed: those before it have written nothing. Inside a transaction it is part of that.
#ifndef STRATA_OPTIMISTIC_LOCKING_HPP
#define STRATA_OPTIMISTIC_LOCKING_HPP

#include <strata/policy/tagged.hpp>
#include <strata/transaction/optimistic/async_calls.hpp>
#include <strata/transaction/optimistic/calls.hpp>

namespace strata::inline STRATA_ABI {

struct optimistic_locking_options {
    unsigned max_attempts = 10;                      ///< writes that recompute and merge try; 1 to 1,000,000
    duration base = std::chrono::microseconds{500};  ///< bound of the first pause between tries, drawn with full jitter; not negative
    duration cap = std::chrono::milliseconds{50};    ///< bound of every pause; not below `base`. The connection is kept meanwhile
    std::size_t hot_keys = 16;                       ///< keys that are counted; at most 4,096
    std::size_t history = 64;                        ///< conflicts that are remembered; at most 65,536

    [[nodiscard]] error validate() const {
        if (max_attempts < 1 || max_attempts > 1'000'000)
            return detail::bad_option("optimistic_locking_options.max_attempts", "must lie in 1 to 1,000,000");
        if (base < duration::zero()) return detail::bad_option("optimistic_locking_options.base", "must not be negative");
        if (cap < base) return detail::bad_option("optimistic_locking_options.cap", "must not be less than base");
        if (cap > std::chrono::hours{1}) return detail::bad_option("optimistic_locking_options.cap", "must be at most an hour");
        if (hot_keys > 4096) return detail::bad_option("optimistic_locking_options.hot_keys", "must be at most 4,096");
        if (history > 65'536) return detail::bad_option("optimistic_locking_options.history", "must be at most 65,536");
        return {};
    }
};

/// The policy; it adds the members below to the faces of its stack, and has no part in other calls. `Way` says what versions are where a
/// mapping names no version column: `by_version_column` (then each must), `by_xmin`, `by_row_hash`. Thread-safe.
template <class Way = by_version_column>
class optimistic_locking {
public:
    using options = optimistic_locking_options;
    static constexpr auto place = strata::place::extend;

    explicit optimistic_locking(const options& o) : log_(o.hot_keys, o.history), repetition_{o.max_attempts, o.base, o.cap} {}

    [[nodiscard]] conflict_snapshot snapshot() const { return log_.snapshot(); }

    template <class T, class Session>
    using table = detail::versioned_table<T, Way, Session::dialect>;

    // For the calls.
    [[nodiscard]] detail::conflict_log& log() noexcept { return log_; }
    [[nodiscard]] const detail::repetition& repeats() const noexcept { return repetition_; }

    template <class Self>
    struct members : detail::versioned_calls<optimistic_locking, Self> {};
    template <class Self>
    struct async_members : detail::async_versioned_members<optimistic_locking, Self> {};

private:
    detail::conflict_log log_;
    detail::repetition repetition_;
};

}  // namespace strata::inline STRATA_ABI

#endif
