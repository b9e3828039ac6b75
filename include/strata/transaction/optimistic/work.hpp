// Versioned writes as one operation: one row, or many on one connection.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_WORK_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_WORK_HPP

#include <strata/core/guarded.hpp>
#include <strata/perform.hpp>
#include <strata/transaction/optimistic/write.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A caller may say `idempotent`. With `fail_fast` a write that is repeated finds the version that it wrote itself: nothing is done twice,
/// but the outcome is a conflict. What would go on from it, as if it were somebody else's, refuses (`Strategy::idempotent`).
consteval operation_facts facts_of_versioned_write(bool inside_transaction) {
    return {.kind = operation_kind::write, .idempotent = known::at_run_time, .inside_transaction = inside_transaction};
}

/// Tells the operation what it is.
template <class Write, class Op>
void describe_versioned_write(Op& op, const call_options& o) {
    op.statement = Write::text();
    op.tags = o.tags;
    op.priority = o.priority;
    op.run_time_idempotent = o.idempotent;
}

/// One write.
template <class Runtime, class Write>
class versioned_work {
    using connection = typename Runtime::driver::connection;

public:
    template <class... A>
    explicit versioned_work(Runtime& rt, A&&... a) : write_(std::forward<A>(a)...), rt_(rt) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        error e;
        const signal s = write_.resume(c, op, rt_.world(), e);
        if (s == signal::failed) result.replace(std::move(e));
        return s;
    }
    void end() noexcept { write_.end(); }
    [[nodiscard]] bool pauses() const noexcept { return write_.pauses(); }
    [[nodiscard]] time_point pauses_until() const noexcept { return write_.pauses_until(); }

    [[nodiscard]] const std::exception_ptr& thrown() const noexcept { return write_.thrown; }

private:
    Write write_;
    Runtime& rt_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
