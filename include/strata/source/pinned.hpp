// The source of statements inside a session or a transaction: the one connection that these hold.
#ifndef STRATA_SOURCE_PINNED_HPP
#define STRATA_SOURCE_PINNED_HPP

#include <strata/core/flight.hpp>
#include <strata/core/transaction_use.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Driver>
class pinned_source {
public:
    using driver = Driver;
    using connection = typename Driver::connection;
    using lease = connection*;

    explicit pinned_source(connection& c) noexcept : connection_(&c) {}
    /// Of the transaction's level `depth`: nothing runs once it has ended, for it would run outside of one. `alone`: nor beside another
    /// statement; a stream, which lies still between its rows, minds none.
    pinned_source(connection& c, transaction_use& use, unsigned depth, bool alone = true) noexcept
        : connection_(&c), use_(&use), depth_(depth), alone_(alone) {}

    STRATA_INLINE acquired acquire(operation_base&, waiter&, lease& out) noexcept {
        if (use_ != nullptr && !may_use()) [[unlikely]]
            return acquired::refused;
        out = connection_;
        return acquired::ready;
    }
    STRATA_INLINE void release(lease& l, operation_base&, health) noexcept {
        l = nullptr;
        if (use_ != nullptr && alone_) use_->leave(depth_);
    }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return *l; }
    /// Of an operation that failed.
    STRATA_COLD void note(const error& e) noexcept {
        if (use_ != nullptr) use_->note(e);
    }

    [[nodiscard]] STRATA_COLD error refusal(const operation_base&, time_point, bool) { return has_ended_ ? ended() : use_->refusal(); }
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
    [[nodiscard]] STRATA_INLINE bool may_use() noexcept {
        if (alone_ ? !use_->enter(depth_) : use_->has_ended()) [[unlikely]]
            return false;
        if (connection_->in_transaction()) [[likely]]
            return true;
        has_ended_ = true;
        if (alone_) use_->leave(depth_);
        return false;
    }

    connection* connection_;
    transaction_use* use_ = nullptr;
    unsigned depth_ = 0;
    bool alone_ = false;
    bool has_ended_ = false;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
