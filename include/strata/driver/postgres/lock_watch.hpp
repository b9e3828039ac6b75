// How many sessions of a pool wait for locks, asked of the server for the pool's planner; see source/pool_lock_watch.hpp.
//
// It costs the server what a look at pg_stat_activity costs: in proportion to all of its sessions (46 of them: 0.6 ms measured, of which
// two thirds are the plan). A role sees what its own sessions wait for, and needs no right for that. Behind a proxy that shares sessions
// (PgBouncer) their numbers are not the server's: then it finds none that wait.
#ifndef STRATA_DRIVER_POSTGRES_LOCK_WATCH_HPP
#define STRATA_DRIVER_POSTGRES_LOCK_WATCH_HPP

#include <strata/driver/postgres/connection.hpp>

#include <charconv>
#include <optional>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A connection of its own, opened when it is asked first. Not thread-safe.
class postgres_lock_watch {
public:
    /// How many of `n` sessions, by their processes' numbers, wait for a lock of any kind. None where there is no answer until the
    /// deadline, and for a connection of the user's, which is not opened twice.
    [[nodiscard]] STRATA_COLD std::optional<std::size_t> ask(const postgres_options& o, const std::int32_t* sessions, std::size_t n,
                                                             const interruption& limit) noexcept {
        if (o.handle != nullptr) return std::nullopt;
        try {
            if (!connection_.is_open() && connection_.open(o, 0, &limit)) return std::nullopt;
            std::string sql = "select count(*) from pg_catalog.pg_stat_activity where wait_event_type = 'Lock' and pid in (0";
            for (std::size_t i = 0; i < n; ++i) sql.append(",").append(digits_of(sessions[i]));
            sql += ")";
            connection_.guard(&limit);
            std::string text;
            error e;
            static_cast<void>(connection_.control_step(sql, e, &text));
            connection_.guard(nullptr);
            std::size_t waiting = 0;
            if (e || std::from_chars(text.data(), text.data() + text.size(), waiting).ec != std::errc{}) return std::nullopt;
            return waiting;
        } catch (...) {  // no memory
            return std::nullopt;
        }
    }

private:
    postgres_connection connection_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
