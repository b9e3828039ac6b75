// Begin, commit and roll back on a leased connection, with the truth about the effect. Shared by all forms of transactions.
#ifndef STRATA_TRANSACTION_CONTROL_HPP
#define STRATA_TRANSACTION_CONTROL_HPP

#include <strata/core/guarded.hpp>
#include <strata/core/operation.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Rolls back after `why`, which then knows what became of the transaction.
template <class Driver>
STRATA_COLD void roll_back(typename Driver::connection& c, error& why) {
    const guarded unhurried{c, nullptr};
    if (c.in_transaction()) {
        const error e = c.control(Driver::rollback());
        if (e && c.in_transaction()) {
            why.set(health::lost).set(effect::unknown);
            return;
        }
    }
    why.set(effect::rolled_back);
}

/// Back to the savepoint of this depth, which is then gone; nothing where the database has rolled back everything by itself.
template <class Driver>
STRATA_COLD void undo_savepoint(typename Driver::connection& c, unsigned depth) noexcept {
    const guarded unhurried{c, nullptr};
    try {
        if (!c.in_transaction()) return;
        static_cast<void>(c.control(Driver::rollback_to(depth)));
        static_cast<void>(c.control(Driver::release(depth)));
    } catch (...) {  // no memory for an error's texts: the transaction will see what is left
    }
}

/// The deadline or a cancel stops a transaction up to here; a COMMIT once sent is awaited.
template <class World>
[[nodiscard]] error stopped(const operation_base& op, World& world) {
    if (op.is_cancelled())
        return error{errc::cancelled, "cancelled before the transaction was committed", phase::commit};
    if (op.deadline != never && world.moment().now >= op.deadline)
        return error{errc::timeout, "the deadline passed before the transaction was committed", phase::commit};
    return {};
}

/// COMMIT. On a failure the transaction is rolled back as far as possible, and the error says so.
template <class Driver>
[[nodiscard]] error commit(typename Driver::connection& c) {
    const guarded unhurried{c, nullptr};
    if (!c.in_transaction())
        return error{errc::transaction_aborted, "the database had already rolled the transaction back", phase::commit, effect::rolled_back};
    error e = c.control(Driver::commit());
    if (e) [[unlikely]] {
        e.set(phase::commit);
        if (c.in_transaction()) roll_back<Driver>(c, e);
    }
    return e;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
