// What a caller may say about one call.
#ifndef STRATA_CALL_OPTIONS_HPP
#define STRATA_CALL_OPTIONS_HPP

#include <strata/core/operation.hpp>

namespace strata::inline STRATA_ABI {

struct call_options {
    duration deadline{};             ///< from the start of the call; zero: none of its own. A call past it ends with `errc::timeout`
    std::span<const tag> tags = {};  ///< for logs and metrics; must live as long as the call
    bool idempotent = false;         ///< repeating the call after it may have been sent changes nothing
    strata::priority priority = strata::priority::normal;  ///< who goes first where calls wait for a slot of a bulkhead or limit
};

/// Of a call that says nothing of the kind.
inline constexpr call_options no_call_options{};

/// What `execute` returns.
struct execution {
    std::int64_t affected = 0;  ///< rows inserted, updated or deleted
    /// SQLite: rowid of the last inserted row, 0 when none was. Of a table WITHOUT ROWID, or of an upsert that only updated, the
    /// rowid that was inserted last before it on that connection.
    std::int64_t last_id = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif
