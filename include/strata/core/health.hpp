// What a failed call tells about the connection that it ran on.
#ifndef STRATA_CORE_HEALTH_HPP
#define STRATA_CORE_HEALTH_HPP

#include <strata/core/error.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

[[nodiscard]] constexpr bool is_usable(health h) noexcept {
    return h < health::lost;
}

/// Another place with connections to the same server. Called without the lock of who tells.
class farewell_listener {
public:
    /// The server said farewell to a connection (`health::all_lost`): nor can any here be used.
    virtual void all_lost() noexcept = 0;

protected:
    ~farewell_listener() = default;
};

/// An error that the user's closure lets out: what it says of other connections may be of another database's.
[[nodiscard]] STRATA_COLD inline error told_by_closure(error e) noexcept {
    if (e.health() == health::all_lost) e.set(health::lost);
    return e;
}

/// A violated constraint tells nothing about a connection, nor does a conflict, a caller's cancel or a refusal. Nor does a call that ran
/// out of time, where the connection could be brought back. An I/O error, or lack of memory, may be its own fault.
[[nodiscard]] STRATA_COLD inline health health_after(const error& e) noexcept {
    if (e.health() != health::good || e.local()) return e.health();
    switch (e.code()) {
        case errc::timeout:
            return health::late;
        case errc::io_error:
        case errc::out_of_memory:
            return health::doubtful;
        default:
            return health::good;
    }
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
