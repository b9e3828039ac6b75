// Lets an operation guard a connection for a scope, and puts back whoever guarded it before: the operation
// may lie on a stack that is gone when the connection is used again.
#ifndef STRATA_CORE_GUARDED_HPP
#define STRATA_CORE_GUARDED_HPP

#include <strata/core/interruption.hpp>

namespace strata::inline STRATA_ABI {

/// A connection whose calls end early when `i` says so, until the end of the scope. Null: nothing ends them.
template <class Connection>
class [[nodiscard]] guarded {
public:
    STRATA_INLINE guarded(Connection& c, const interruption* i) noexcept : connection_(c), before_(c.guard()) { c.guard(i); }
    guarded(const guarded&) = delete;
    guarded& operator=(const guarded&) = delete;
    STRATA_INLINE ~guarded() { connection_.guard(before_); }

private:
    Connection& connection_;
    const interruption* before_;
};

}  // namespace strata::inline STRATA_ABI

#endif
