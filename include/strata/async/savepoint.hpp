// A savepoint of an asynchronous transaction: entering, leaving and undoing it are operations of their own.
#ifndef STRATA_ASYNC_SAVEPOINT_HPP
#define STRATA_ASYNC_SAVEPOINT_HPP

#include <strata/async/answer.hpp>
#include <strata/core/health.hpp>
#include <strata/core/transaction_use.hpp>
#include <strata/transaction/control.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Enters, leaves or undoes a savepoint.
template <class Runtime>
class control_job {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    using form = trying<void>;
    enum class what : std::uint8_t { enter, leave, undo };

    /// `depth`: that of the savepoint.
    control_job(typename driver::connection& c, operation_base& outer, transaction_use& use, what w, unsigned depth) noexcept
        : connection_(c), use_(use), what_(w), depth_(depth), savepoint_(depth) {
        op_.deadline = outer.deadline;
    }
    control_job(const control_job&) = delete;
    control_job& operator=(const control_job&) = delete;
    ~control_job() {
        if (inside_) use_.leave(depth_);
    }
    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] control_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept {
        inside_ = use_.enter(what_ == what::enter ? depth_ - 1 : depth_);
        if (!inside_) return refuse();
        if constexpr (driver::blocking)
            return need::work;
        else
            return resume();
    }
    [[nodiscard]] need resume() noexcept {
        const guarded unhurried{connection_, nullptr};
        if constexpr (yielding_connection<connection>) connection_.may_yield(true);
        signal s = signal::done;
        try {
            s = step();
        } catch (...) {
            failed_ = error{errc::out_of_memory, phase::execute};
        }
        if (has_ended(s)) {
            if (failed_) use_.note(failed_);
            inside_ = false;
            use_.leave(stays_open() ? depth_ : depth_ - 1);
        }
        return has_ended(s) ? need::done : s == signal::io ? need::io : need::work;
    }
    [[nodiscard]] time_point parked_until() const noexcept { return never; }
    [[nodiscard]] io_wait awaited() noexcept
        requires yielding_connection<connection>
    {
        return connection_.awaited();
    }
    [[nodiscard]] watch_place& watch() noexcept
        requires yielding_connection<connection>
    {
        return connection_.watch();
    }
    [[nodiscard]] answer<form> take_result() {
        answer<form> a{std::move(failed_), nullptr, {}};
        if (!a.failed) a.value.emplace();
        return a;
    }

private:
    [[nodiscard]] bool stays_open() const noexcept {
        return what_ == what::enter ? !failed_ : what_ == what::leave && static_cast<bool>(failed_);
    }
    [[nodiscard]] STRATA_COLD need refuse() noexcept {
        try {
            failed_ = what_ == what::enter ? use_.refusal() : use_.doom_unfinished();
        } catch (...) {  // no memory
            failed_ = error{errc::misuse, phase::execute};
        }
        return need::done;
    }
    [[nodiscard]] signal step() {
        if (what_ == what::undo) return savepoint_.undo(connection_);
        if (!connection_.in_transaction()) {
            failed_ = error{errc::transaction_aborted, "the transaction has ended", phase::execute, effect::rolled_back};
            return signal::failed;
        }
        return what_ == what::enter ? savepoint_.enter(connection_, failed_) : savepoint_.leave(connection_, failed_);
    }

    connection& connection_;
    operation_base op_;
    transaction_use& use_;
    what what_;
    unsigned depth_;
    savepoint<driver> savepoint_;
    error failed_;
    bool inside_ = false;
};

/// Out of a savepoint that was rolled back.
[[noreturn]] STRATA_COLD inline void rethrow_undone(const std::exception_ptr& thrown) {
    try {
        std::rethrow_exception(thrown);
    } catch (const failure& f) {
        error e = told_by_closure(f.error());
        if (e.effect() == effect::none) e.set(effect::rolled_back);
        throw_failure(std::move(e));
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
