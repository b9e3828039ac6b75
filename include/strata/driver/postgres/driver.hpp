// The tag that stands at the bottom of a stack: what the layers above ask a PostgreSQL driver for.
#ifndef STRATA_DRIVER_POSTGRES_DRIVER_HPP
#define STRATA_DRIVER_POSTGRES_DRIVER_HPP

#include <strata/core/joined.hpp>
#include <strata/core/place.hpp>
#include <strata/core/transaction_mode.hpp>
#include <strata/driver/postgres/lock_watch.hpp>
#include <strata/driver/postgres/options.hpp>
#include <strata/driver/postgres/pipeline.hpp>
#include <strata/driver/postgres/query.hpp>
#include <strata/driver/postgres/resolve.hpp>
#include <strata/sql/control_text.hpp>
#include <strata/sql/facts.hpp>
#include <strata/sql/prepared_transactions.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace strata::inline STRATA_ABI {

namespace detail {
template <class Rows>
class postgres_copy_in;
template <class T, class F>
class postgres_copy_out;
template <class Sink>
class postgres_copy_raw;
}  // namespace detail

struct postgres_sharing;

/// The driver for a PostgreSQL server, 12 or newer: `stack<..., pool<>, postgres>`. Link with libpq, 14 or newer.
struct postgres {
    static constexpr auto place = strata::place::driver;
    using options = postgres_options;
    using connection = postgres_connection;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    /// Waits for its descriptor, on whatever thread the drive runs. What may block all the same says so when it comes to it: name look-up,
    /// COPY, and the wait for the end of a cancel.
    static constexpr bool blocking = false;
    /// Statements may share a connection: `pipelined<2, pool<>>`; shared_query.hpp.
    using sharing = postgres_sharing;
    /// Statements may go in one flight: `db.pipeline(...)`.
    static constexpr bool pipelines = true;
    static constexpr bool row_locks = true;  ///< by statements: row_lock.hpp
    /// Rows may go in bulk: `db.copy_in(...)`; copy_in.hpp and copy_out.hpp.
    template <class Rows>
    using copy_in = detail::postgres_copy_in<Rows>;
    template <class T, class F>
    using copy_out = detail::postgres_copy_out<T, F>;
    template <class Sink>
    using copy_raw = detail::postgres_copy_raw<Sink>;
    /// Tells a pool's planner how many connections wait for locks.
    using lock_watch = detail::postgres_lock_watch;
    /// Takes part in distributed transactions, by PREPARE TRANSACTION: `strata/distributed_transaction.hpp`.
    using two_phase = prepared_transactions;
    /// All connections write.
    static constexpr bool single_writer = false;

    [[nodiscard]] static constexpr int role_of(bool, bool) noexcept { return 0; }

    static constexpr bool deferrable = true;        ///< SERIALIZABLE READ ONLY DEFERRABLE
    static constexpr bool resolves_commits = true;  ///< `transaction_options::resolve_commit`
    static constexpr bool advisory_locks = true;    ///< advisory_lock.hpp, `transaction_escalation::lock`

    [[nodiscard]] static constexpr std::string_view begin(const detail::transaction_mode<>& m) noexcept {
        constexpr std::string_view texts[4][2] = {
            {"begin", "begin read only"},
            {"begin isolation level read committed", "begin isolation level read committed, read only"},
            {"begin isolation level repeatable read", "begin isolation level repeatable read, read only"},
            {"begin isolation level serializable", "begin isolation level serializable, read only"}};
        if (m.deferrable) return "begin isolation level serializable, read only, deferrable";
        return texts[m.isolation ? 1 + static_cast<std::size_t>(*m.isolation) : 0][m.read_only ? 1 : 0];
    }
    /// The session's, so that a transaction may begin when it has it.
    [[nodiscard]] static std::string lock(std::int64_t key) {
        return detail::joined({"select pg_advisory_lock(", detail::digits_of(key), ")"});
    }
    [[nodiscard]] static std::string unlock(std::int64_t key) {
        return detail::joined({"select pg_advisory_unlock(", detail::digits_of(key), ")"});
    }
    /// What tells a transaction's fate on servers of this time, for people.
    [[nodiscard]] static constexpr std::string_view status_function() noexcept { return "pg_xact_status"; }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static constexpr control_text savepoint(unsigned depth) noexcept { return {"savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text release(unsigned depth) noexcept { return {"release savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text rollback_to(unsigned depth) noexcept { return {"rollback to savepoint strata_", depth}; }

    /// Connections to a server always see the same database.
    /// Whether its connections may be closed and opened anew, as a pool's upkeep does.
    [[nodiscard]] static error check_reopened(const postgres_options& o) {
        if (o.handle == nullptr) return {};
        return detail::bad_postgres_option(
            "handle", "is not opened anew, as a pool with max_lifetime, max_idle or check_interval does with connections");
    }
    [[nodiscard]] static error check_shared(const postgres_options& o) {
        if (o.handle == nullptr) return {};
        return detail::bad_postgres_option("handle", "is one connection: use single instead of the pool, or pool_options.max_size 1");
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
