// Several steps on one connection, all or nothing: in a transaction of their own, or behind a savepoint of the one that is open.
#ifndef STRATA_TRANSACTION_ENCLOSED_HPP
#define STRATA_TRANSACTION_ENCLOSED_HPP

#include <strata/transaction/control.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver>
STRATA_COLD void undo_enclosed(typename Driver::connection& c, unsigned depth, error& why) {
    if (depth == 0) return roll_back<Driver>(c, why);
    undo_savepoint<Driver>(c, depth);
    why.set(effect::rolled_back);
}

/// BEGIN, `body()`, COMMIT; inside a transaction, where `depth` is not 0, the savepoint of that depth. When the body answers an
/// error, throws, or the operation is stopped, nothing of it stays, and the error says so.
template <class Driver, class World, class Body>
[[nodiscard]] error enclose(typename Driver::connection& c, const operation_base& op, World& world, unsigned depth, Body&& body) {
    error e = depth == 0 ? c.control(Driver::begin(Driver::locking::immediate)) : c.control(Driver::savepoint(depth));
    if (e) return e;
    try {
        e = body();
    } catch (...) {
        undo_enclosed<Driver>(c, depth, e);
        throw;
    }
    if (!e) e = stopped(op, world);
    if (!e && depth == 0) return commit<Driver>(c);
    if (!e) e = c.control(Driver::release(depth));
    if (e) undo_enclosed<Driver>(c, depth, e);
    return e;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
