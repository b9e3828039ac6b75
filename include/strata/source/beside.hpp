// The sources of two operations that run beside each other for one result, over the source of the stack.
//
// The second leases only what is idle just now: never both on one saturated pool. Whichever is cancelled has lost, and its connection was
// the slower one: it goes behind all others, or the next call would take it first.
#ifndef STRATA_SOURCE_BESIDE_HPP
#define STRATA_SOURCE_BESIDE_HPP

#include <strata/core/flight.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Source` has `acquire_idle` and `release_behind`, and outlives this.
template <class Source, bool OnlyIdle>
class source_beside {
public:
    using driver = typename Source::driver;
    using connection = typename Source::connection;
    using lease = typename Source::lease;

    explicit source_beside(Source& s) noexcept : source_(&s) {}

    [[nodiscard]] acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if constexpr (OnlyIdle)
            return source_->acquire_idle(op, out) ? acquired::ready : acquired::refused;
        else
            return source_->acquire(op, node, out);
    }
    template <class Op>
    void release(lease& l, Op& op, health h) noexcept {
        if (op.is_cancelled())
            source_->release_behind(l, op, h);
        else
            source_->release(l, op, h);
    }
    [[nodiscard]] error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if constexpr (OnlyIdle)
            return error{errc::pool_exhausted, phase::acquire}.set_local();
        else
            return source_->refusal(op, now, waited);
    }
    [[nodiscard]] acquired end_wait(operation_base& op, waiter& node, lease& out, duration waited) noexcept {
        return source_->end_wait(op, node, out, waited);
    }
    void release_unconnected(lease& l) noexcept { source_->release_unconnected(l); }
    [[nodiscard]] signal connect(lease& l, operation_base& op, error& e) { return source_->connect(l, op, e); }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return source_->connection_of(l); }
    [[nodiscard]] duration wait_limit() const noexcept { return source_->wait_limit(); }

private:
    Source* source_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
