// Several steps on one connection, all or nothing: in a transaction of their own, or behind a savepoint of the one that is open.
#ifndef STRATA_TRANSACTION_ENCLOSED_HPP
#define STRATA_TRANSACTION_ENCLOSED_HPP

#include <strata/transaction/control.hpp>

#include <exception>

namespace strata::inline STRATA_ABI {

namespace detail {

/// BEGIN, a body, COMMIT; inside a transaction, where `depth` is not 0, the savepoint of that depth. When the body fails, throws, or the
/// operation is stopped, nothing of it stays, and the error says so.
template <class Driver>
class enclosed {
    using connection = typename Driver::connection;

public:
    /// `plan`: of a transaction of its own; it must live as long.
    enclosed(unsigned depth, const transaction_plan<Driver>& plan) : savepoint_(depth), course_(plan, 1), in_savepoint_(depth != 0) {}

    /// `body(error&)` answers a signal, and is called again until that is `done` or `failed`. So is this, with the error in `e`.
    template <class World, class Body>
    [[nodiscard]] signal resume(connection& c, const operation_base& op, World& world, error& e, Body&& body) {
        if (at_ == at::entering) {
            const signal s = in_savepoint_ ? savepoint_.enter(c, e) : course_.begin(c, e);
            if (s != signal::done) return s;
            at_ = at::inside;
        }
        if (at_ == at::inside) {
            try {
                const signal s = body(e);
                if (!has_ended(s)) return s;
            } catch (...) {
                thrown_ = std::current_exception();
                e = error{errc::user_exception, phase::execute};
            }
            if (!e) e = stopped(op, world);
            at_ = e ? at::undoing : at::leaving;
        }
        if (at_ == at::leaving) {
            if (!in_savepoint_) return course_.commit(c, e);
            const signal s = savepoint_.leave(c, e);
            if (s != signal::failed) return s;
            at_ = at::undoing;
        }
        const signal s = in_savepoint_ ? savepoint_.undo(c) : course_.roll_back(c, e);
        if (!has_ended(s)) return s;
        if (in_savepoint_) e.set(effect::rolled_back);
        if (thrown_) std::rethrow_exception(thrown_);
        return signal::failed;
    }

private:
    enum class at : std::uint8_t { entering, inside, leaving, undoing };

    savepoint<Driver> savepoint_;
    transaction_course<Driver> course_;
    std::exception_ptr thrown_;  // by the body
    at at_ = at::entering;
    bool in_savepoint_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
