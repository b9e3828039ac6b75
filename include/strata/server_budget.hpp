// What a PostgreSQL server allows its clients, asked of itself: for the planner of a pool (source/pool_planner.hpp).
#ifndef STRATA_SERVER_BUDGET_HPP
#define STRATA_SERVER_BUDGET_HPP

#include <strata/calls.hpp>
#include <strata/source/pool_sizing.hpp>

#include <tuple>

namespace strata::inline STRATA_ABI {

/// One statement on `session`, a database or any session of one: `max_connections`, what is reserved for superusers, and the role's limit.
/// `instances`: so many processes have a pool like this one; `share`: of the server, for all of them. Errors as of any statement.
///
///   planner->set_budget(strata::ask_server_budget(db, 4).value());
template <class Session>
[[nodiscard]] result<server_budget> ask_server_budget(Session& session, std::size_t instances = 1, double share = 1) {
    using namespace literals;
    using row = std::tuple<std::int64_t, std::int64_t, std::int64_t>;
    constexpr auto ask =
        "select current_setting('max_connections')::int8, current_setting('superuser_reserved_connections')::int8"
        " + coalesce(current_setting('reserved_connections', true), '0')::int8,"
        " (select rolconnlimit::int8 from pg_catalog.pg_roles where rolname = current_user)"_sql;
    auto r = session.template try_one<row>(ask());
    if (!r) return std::move(r).error();
    const auto& [max_connections, reserved, role_limit] = *r;
    return server_budget{.max_connections = static_cast<std::size_t>(max_connections),
                         .superuser_reserved = static_cast<std::size_t>(reserved),
                         .role_limit = role_limit,
                         .instances = instances,
                         .share = share};
}

}  // namespace strata::inline STRATA_ABI

#endif
