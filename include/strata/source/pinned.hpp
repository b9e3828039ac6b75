// The source of statements inside a session or a transaction: the one connection that these hold.
#ifndef STRATA_SOURCE_PINNED_HPP
#define STRATA_SOURCE_PINNED_HPP

#include <strata/core/flight.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver>
class pinned_source {
public:
    using driver = Driver;
    using connection = typename Driver::connection;
    using lease = connection*;

    /// `needs_transaction`: nothing runs once the transaction has ended, for it would run outside of one.
    explicit pinned_source(connection& c, bool needs_transaction = false) noexcept
        : connection_(&c), needs_transaction_(needs_transaction) {}

    STRATA_INLINE acquired acquire(operation_base&, waiter&, lease& out) noexcept {
        if (needs_transaction_ && !connection_->in_transaction()) [[unlikely]]
            return acquired::refused;
        out = connection_;
        return acquired::ready;
    }
    STRATA_INLINE void release(lease& l, operation_base&, health) noexcept { l = nullptr; }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return *l; }

    [[nodiscard]] STRATA_COLD error refusal(const operation_base&, time_point, bool) noexcept { return ended(); }
    [[nodiscard]] STRATA_COLD static error ended() {
        return {errc::transaction_aborted, "the transaction has ended: the database rolled it back, or it was committed", phase::admission,
                effect::rolled_back};
    }

    // Never asked for: nobody waits for a pinned connection.
    [[nodiscard]] acquired end_wait(operation_base&, waiter&, lease&, duration) noexcept { return acquired::refused; }
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }
    [[nodiscard]] duration wait_limit() const noexcept { return {}; }

private:
    connection* connection_;
    bool needs_transaction_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
