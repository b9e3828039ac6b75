// Begin, commit and roll back on a leased connection, with the truth about the effect. Shared by all forms of transactions.
//
// Each goes over several resumes where the connection waits for its descriptor: it is called again, with the same arguments, until it
// answers `done` or `failed`. Where the thread may block it answers at once.
#ifndef STRATA_TRANSACTION_CONTROL_HPP
#define STRATA_TRANSACTION_CONTROL_HPP

#include <strata/core/guarded.hpp>
#include <strata/core/operation.hpp>
#include <strata/core/pacing.hpp>

#include <string_view>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] constexpr bool has_ended(signal s) noexcept {
    return s == signal::done || s == signal::failed;
}

template <class Connection>
[[nodiscard]] signal control(Connection& c, std::string_view sql, error& e) {
    if constexpr (controls_in_steps<Connection>) {
        return c.control_step(sql, e);
    } else {
        e = c.control(sql);
        return e ? signal::failed : signal::done;
    }
}

/// The end of a transaction: one of the two.
template <class Driver>
class transaction_end {
    using connection = typename Driver::connection;

public:
    /// COMMIT. On a failure the transaction is rolled back as far as possible, and the error says so.
    [[nodiscard]] signal commit(connection& c, error& e) {
        if (rolls_back_) return roll_back(c, e);
        const guarded unhurried{c, nullptr};
        if (!std::exchange(begun_, true) && !c.in_transaction()) {
            e = error{errc::transaction_aborted, "the database had already rolled the transaction back", phase::commit,
                      effect::rolled_back};
            return signal::failed;
        }
        const signal s = control(c, Driver::commit(), e);
        if (s != signal::failed) return s;
        e.set(phase::commit);
        return c.in_transaction() ? roll_back(c, e) : signal::failed;
    }
    /// Rolls back after `why`, which then knows what became of the transaction. Never `done`.
    [[nodiscard]] STRATA_COLD signal roll_back(connection& c, error& why) {
        const guarded unhurried{c, nullptr};
        if (std::exchange(rolls_back_, true) || c.in_transaction()) {
            const signal s = control(c, Driver::rollback(), second_);
            if (!has_ended(s)) return s;
            if (s == signal::failed && c.in_transaction()) {
                why.set_lost().set(effect::unknown);
                return signal::failed;
            }
        }
        why.set(effect::rolled_back);
        return signal::failed;
    }

private:
    bool begun_ = false;
    bool rolls_back_ = false;
    error second_;  // of the rollback
};

/// A savepoint of the transaction that is open.
template <class Driver>
class savepoint {
    using connection = typename Driver::connection;

public:
    explicit savepoint(unsigned depth) noexcept : depth_(depth) {}

    [[nodiscard]] signal enter(connection& c, error& e) { return control(c, Driver::savepoint(depth_), e); }
    [[nodiscard]] signal leave(connection& c, error& e) { return control(c, Driver::release(depth_), e); }
    /// Back to it, and it is gone; nothing where the database has rolled back everything by itself. Never `failed`: the transaction
    /// will see what is left.
    [[nodiscard]] STRATA_COLD signal undo(connection& c) noexcept {
        const guarded unhurried{c, nullptr};
        try {
            if (!undoing_ && !c.in_transaction()) return signal::done;
            undoing_ = true;
            if (!back_) {
                const signal s = control(c, Driver::rollback_to(depth_), ignored_);
                if (!has_ended(s)) return s;
                back_ = true;
            }
            const signal s = control(c, Driver::release(depth_), ignored_);
            return has_ended(s) ? signal::done : s;
        } catch (...) {  // no memory for an error's texts
            return signal::done;
        }
    }

private:
    unsigned depth_;
    bool undoing_ = false;
    bool back_ = false;
    error ignored_;
};

/// The deadline or a cancel stops a transaction up to here; a COMMIT once sent is awaited.
template <class World>
[[nodiscard]] error stopped(const operation_base& op, World& world) {
    if (op.is_cancelled()) return error{errc::cancelled, "cancelled before the transaction was committed", phase::commit};
    if (op.deadline != never && world.moment().now >= op.deadline)
        return error{errc::timeout, "the deadline passed before the transaction was committed", phase::commit};
    return {};
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
