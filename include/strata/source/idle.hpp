// The source of an operation that is not worth waiting for: a connection of another source that is idle just now, or a refusal.
#ifndef STRATA_SOURCE_IDLE_HPP
#define STRATA_SOURCE_IDLE_HPP

#include <strata/core/flight.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Source` has `acquire_idle`. It must outlive this.
template <class Source>
class idle_source {
public:
    using driver = typename Source::driver;
    using connection = typename Source::connection;
    using lease = typename Source::lease;

    explicit idle_source(Source& s) noexcept : source_(&s) {}

    [[nodiscard]] acquired acquire(operation_base& op, waiter&, lease& out) noexcept {
        return source_->acquire_idle(op, out) ? acquired::ready : acquired::refused;
    }
    template <class Op>
    void release(lease& l, Op& op, health h) noexcept {
        source_->release(l, op, h);
    }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return source_->connection_of(l); }
    [[nodiscard]] static error refusal(const operation_base&) noexcept { return error{errc::pool_exhausted, phase::acquire}.set_local(); }

    // Never asked for: nobody waits here, and nothing is opened.
    [[nodiscard]] acquired end_wait(operation_base&, waiter&, lease&, duration) noexcept { return acquired::refused; }
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }
    [[nodiscard]] duration wait_limit() const noexcept { return {}; }

private:
    Source* source_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
