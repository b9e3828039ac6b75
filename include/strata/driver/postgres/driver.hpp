// The tag that stands at the bottom of a stack: what the layers above ask a PostgreSQL driver for.
#ifndef STRATA_DRIVER_POSTGRES_DRIVER_HPP
#define STRATA_DRIVER_POSTGRES_DRIVER_HPP

#include <strata/core/place.hpp>
#include <strata/driver/postgres/options.hpp>
#include <strata/driver/postgres/pipeline.hpp>
#include <strata/driver/postgres/query.hpp>
#include <strata/sql/control_text.hpp>
#include <strata/sql/facts.hpp>
#include <strata/sql/prepared_transactions.hpp>

#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// How a PostgreSQL transaction is isolated, and whether it may write.
enum class postgres_locking : std::uint8_t {
    immediate,        ///< reads and writes at the server's default isolation
    deferred,         ///< only reads: a write fails with `errc::read_only`
    repeatable_read,  ///< one snapshot; a conflicting write is `errc::serialization_failure`
    serializable,     ///< as if one after the other; may end with `errc::serialization_failure`
};

namespace detail {
template <class Rows>
class postgres_copy_in;
template <class T, class F>
class postgres_copy_out;
template <class Sink>
class postgres_copy_raw;
}  // namespace detail

/// The driver for a PostgreSQL server, 12 or newer: `stack<..., pool<>, postgres>`. Link with libpq, 14 or newer.
struct postgres {
    static constexpr auto place = strata::place::driver;
    using options = postgres_options;
    using connection = postgres_connection;
    using locking = postgres_locking;
    static constexpr strata::dialect dialect = strata::dialect::postgres;
    /// Waits for its descriptor, on whatever thread the drive runs. What may block all the same says so when it comes to it: name look-up,
    /// COPY, and the wait for the end of a cancel.
    static constexpr bool blocking = false;
    /// Statements may go in one flight: `db.pipeline(...)`.
    static constexpr bool pipelines = true;
    /// Rows may go in bulk: `db.copy_in(...)`; copy_in.hpp and copy_out.hpp.
    template <class Rows>
    using copy_in = detail::postgres_copy_in<Rows>;
    template <class T, class F>
    using copy_out = detail::postgres_copy_out<T, F>;
    template <class Sink>
    using copy_raw = detail::postgres_copy_raw<Sink>;
    /// Takes part in distributed transactions, by PREPARE TRANSACTION: `strata/distributed_transaction.hpp`.
    using two_phase = prepared_transactions;
    /// All connections write.
    static constexpr bool single_writer = false;

    [[nodiscard]] static constexpr int role_of(bool, bool) noexcept { return 0; }

    [[nodiscard]] static constexpr std::string_view begin(postgres_locking how) noexcept {
        constexpr std::string_view texts[] = {"begin", "begin read only", "begin isolation level repeatable read",
                                              "begin isolation level serializable"};
        return texts[static_cast<std::size_t>(how)];
    }
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
