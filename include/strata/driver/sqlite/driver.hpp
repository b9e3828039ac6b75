// The tag that stands at the bottom of a stack: what the layers above ask an SQLite driver for.
#ifndef STRATA_DRIVER_SQLITE_DRIVER_HPP
#define STRATA_DRIVER_SQLITE_DRIVER_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>
#include <strata/core/place.hpp>
#include <strata/core/transaction_mode.hpp>
#include <strata/driver/sqlite/open.hpp>
#include <strata/driver/sqlite/options.hpp>
#include <strata/driver/sqlite/query.hpp>
#include <strata/sql/control_text.hpp>
#include <strata/sql/facts.hpp>

#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// When an SQLite transaction takes its locks.
enum class sqlite_locking : std::uint8_t {
    deferred,   ///< at the first read and the first write; a write may then fail with `errc::busy_snapshot`
    immediate,  ///< the write lock at once: the right one for a transaction that will write
    exclusive   ///< under a rollback journal it shuts readers out too; under WAL the same as immediate
};

/// The driver for an embedded SQLite file: `stack<..., pool<>, sqlite>`.
struct sqlite {
    static constexpr auto place = strata::place::driver;
    using options = sqlite_options;
    using connection = sqlite_connection;
    using locking = sqlite_locking;
    static constexpr strata::dialect dialect = strata::dialect::sqlite;
    /// Every resume of a query may block: the asynchronous drive moves to a thread that may.
    static constexpr bool blocking = true;
    /// One connection writes at a time, any number read: a pool keeps one writer and lends the others for reads.
    static constexpr bool single_writer = true;

    /// The role of a connection in a pool; `split` when writer and readers are kept apart.
    [[nodiscard]] static constexpr connection_role role_of(bool reads, bool split) noexcept {
        return !split ? connection_role::both : reads ? connection_role::reader : connection_role::writer;
    }

    /// Always serializable, and so at least as isolated as one may ask for.
    [[nodiscard]] static constexpr std::string_view begin(const detail::transaction_mode<sqlite_locking>& m) noexcept {
        return begin(m.locking.value_or(m.read_only ? sqlite_locking::deferred : sqlite_locking::immediate));
    }
    [[nodiscard]] static constexpr std::string_view begin(sqlite_locking how) noexcept {
        constexpr std::string_view texts[] = {"begin deferred", "begin immediate", "begin exclusive"};
        return texts[static_cast<std::size_t>(how)];
    }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static constexpr control_text savepoint(unsigned depth) noexcept { return {"savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text release(unsigned depth) noexcept { return {"release strata_", depth}; }
    [[nodiscard]] static constexpr control_text rollback_to(unsigned depth) noexcept { return {"rollback to strata_", depth}; }

    /// Whether several connections opened with these options see the same database; asked by a pool.
    /// Whether its connections may be closed and opened anew, as a pool's upkeep does.
    [[nodiscard]] static error check_reopened(const sqlite_options& options) {
        const bool in_memory = is_private_memory(options.path) || options.path.find("vfs=memdb") != options.path.npos ||
                               options.path.find("mode=memory") != options.path.npos;
        if (options.handle == nullptr && !in_memory) return {};
        return detail::bad_sqlite_option(
            options.handle != nullptr ? "handle" : "path",
            "would not outlive its connections, which a pool with max_lifetime, max_idle or check_interval closes");
    }
    [[nodiscard]] static error check_shared(const sqlite_options& options) {
        if (options.handle != nullptr)
            return detail::bad_sqlite_option("handle", "is one connection: use single instead of the pool, or pool_options.max_size 1");
        if (!is_private_memory(options.path)) return {};
        return detail::bad_sqlite_option(
            "path", detail::joined({"'", options.path,
                                    "' is private to one connection, so each connection of a pool would see its own empty database; use "
                                    "single instead of the pool, or a shared memory database: \"file:/name?vfs=memdb\""}));
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
