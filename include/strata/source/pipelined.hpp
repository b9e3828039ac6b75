// A source in which many statements share a few connections: they travel together and do not wait for each other.
//
//   using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::pipelined<2, strata::pool<>>, strata::postgres>;
//
// It stands where a pool stands, and holds one, whose options are `pool_options` as ever. A statement by itself shares, if its text is
// known at compile time: an idempotent read, an insert, update or delete. Transactions, batches, streams, COPY, sessions, texts made at run
// time and reads that call functions of which nothing is known have a connection of the pool to themselves. So has, for a while, a
// statement that has kept others waiting longer than `slow`, or brought more than `max_result`.
//
// What sharing means. Reads that leave together share one implicit transaction of the server's, which under READ COMMITTED changes nothing
// that they can see but the transaction's time; so those that ask for it (now(), current_date ...) have one of their own, and all have
// where the database's default is stricter. Everything else has its own in any case. If a read fails, those behind it, which the server
// skips, are sent again without their callers noticing; so is one that a deadlock ends, for perhaps only sharing made it one.
// They keep their locks on tables until the last of them has ended, which only DDL can notice.
//
// A caller's deadline or cancel abandons his answer: the server is not told, and his neighbours do not notice. When a connection is lost,
// reads that were under way are sent once more, on another one; of a write that was sent and not answered `effect::unknown` is told.
//
// Whoever waits for the connection reads for all who share it. So a row type's own code may run on another caller's thread, and must not
// ask the database itself; and loops whose statements share (`groups`) must all go on running while any of them waits.
#ifndef STRATA_SOURCE_PIPELINED_HPP
#define STRATA_SOURCE_PIPELINED_HPP

#include <strata/source/pool.hpp>
#include <strata/source/shared_side.hpp>

#include <type_traits>

namespace strata::inline STRATA_ABI {

/// How connections are shared.
struct pipelined_options {
    /// Groups of connections: one for each thread that runs a loop, so that none hands anything to another; 1 to 256. A thread keeps its
    /// group.
    std::size_t groups = 1;
    std::size_t max_in_flight = 256;   ///< statements and Syncs on one connection that were sent and not answered; 1 to 65,536
    std::size_t max_bytes = 65'536;    ///< of their arguments, about
    std::size_t max_sharing = 64;      ///< reads behind one Sync; 1: each has its own
    std::size_t max_waiting = 10'000;  ///< statements on one connection; beyond them callers are refused with `errc::pool_exhausted`
    /// A statement that others wait for longer, twice, moves to the pool; zero: none. What a loop is busy with meanwhile counts as well:
    /// where handlers take milliseconds, set it higher than they take.
    duration slow = std::chrono::milliseconds{5};
    std::size_t max_result = 262'144;  ///< bytes of a result, about; what brings more moves to the pool; 0: nothing does
    /// What has moved is tried again after it; each time in a row it is doubled, to 32 times.
    duration apart_for = std::chrono::seconds{10};
    /// The user knows that a pooler in between keeps sessions, or knows prepared statements (pgbouncer 1.21 with max_prepared_statements).
    bool through_pooler = false;

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* text) { return error{errc::invalid_argument, text, phase::admission}; };
        if (groups < 1 || groups > 256) return bad("pipelined_options.groups must lie in 1 to 256");
        if (max_in_flight < 1 || max_in_flight > 65'536) return bad("pipelined_options.max_in_flight must lie in 1 to 65536");
        if (max_bytes < 1) return bad("pipelined_options.max_bytes must be positive");
        if (max_sharing < 1) return bad("pipelined_options.max_sharing must be positive; 1 means that each read has its own Sync");
        if (max_waiting < 1) return bad("pipelined_options.max_waiting must be positive");
        if (slow < duration::zero()) return bad("pipelined_options.slow is negative");
        if (apart_for <= duration::zero()) return bad("pipelined_options.apart_for must be positive");
        return {};
    }
    friend bool operator==(const pipelined_options&, const pipelined_options&) = default;
};

namespace detail {

template <class Driver, class Pool, std::size_t Shared>
class pipelined_source final : public Pool::template source<Driver>, farewell_listener {
    using pool = typename Pool::template source<Driver>;
    static_assert(
        requires { typename Driver::sharing; },
        "strata: pipelined needs a database to which many statements can be on their way on one connection, which is PostgreSQL; "
        "SQLite runs one statement after the other: write strata::pool<> in its place");

public:
    using shared_side = detail::shared_side<pool, typename Driver::sharing>;

    pipelined_source(const pipelined_options& options, const pool_options& exclusive, const typename Driver::options& target)
        : pool(exclusive, target), lent_(for_sharing(options, exclusive), target), shared_(lent_, limits_of(options), exclusive) {
        pool::tells(*this);
        lent_.tells(*this);
    }

    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = Driver::sharing::check(*this->target())) return e;
        if (error e = pool::open_first(world)) return e;
        return lent_.open_first(world);
    }
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        pool::spawn_tasks(begin);
        lent_.spawn_tasks(begin);
        shared_.spawn_tasks(begin);
    }

    /// Where statements share.
    [[nodiscard]] shared_side& shared() noexcept { return shared_; }
    /// Of the connections that are shared: they are lent out as long as they are sound. `snapshot()` is of all others.
    [[nodiscard]] pool_snapshot shared_snapshot() noexcept { return lent_.snapshot(); }

    /// The server said farewell to a connection of either kind.
    void all_lost() noexcept override { retire_all(); }

    void retire_all() noexcept {
        pool::retire_all();
        lent_.retire_all();
        shared_.renew();
    }
    [[nodiscard]] error rotate(const typename Driver::options& target) {
        if (error e = Driver::sharing::check(target)) return e;
        if (error e = pool::rotate(target)) return e;
        error e = lent_.rotate(target);
        shared_.renew();
        return e;
    }
    void suspend() noexcept {
        pool::suspend();
        lent_.suspend();
        shared_.renew();
    }
    void resume() noexcept {
        pool::resume();
        lent_.resume();
    }
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        lent_.suspend();
        shared_.renew();
        const bool drained = pool::drain(world, until);
        return lent_.drain(world, until) && drained;
    }
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        static_cast<void>(pool::stop(world, time_point::min()));  // nobody comes in any more
        shared_.renew(true);
        const bool stopped = lent_.stop(world, until);
        return pool::stop(world, until) && stopped;
    }
    void cancel_all() noexcept {
        shared_.cancel_all();
        lent_.cancel_all();
        pool::cancel_all();
    }

private:
    [[nodiscard]] static pool_options for_sharing(const pipelined_options& o, const pool_options& exclusive) {
        pool_options p = exclusive;
        p.reserved = 0;
        p.max_size = o.groups * Shared;
        p.min_size = exclusive.min_size == 0 ? 0 : p.max_size;
        p.planner = nullptr;
        p.leak_threshold = {};
        return p;
    }
    [[nodiscard]] static shared_limits limits_of(const pipelined_options& o) {
        return {.flow = {.statements = o.max_in_flight, .bytes = o.max_bytes, .share = o.max_sharing},
                .apart = {.slow = o.slow, .bytes = o.max_result, .period = o.apart_for},
                .groups = o.groups,
                .each = Shared,
                .max_waiting = o.max_waiting,
                .through_pooler = o.through_pooler};
    }

    pool lent_;
    shared_side shared_;
};

}  // namespace detail

/// The layer. `Shared`: connections of each group; with `pipelined_options::groups` of them. `Pool`: where everything else goes.
template <std::size_t Shared = 2, class Pool = pool<>>
struct pipelined {
    static_assert(Shared >= 1, "strata: pipelined needs a connection at least that is shared: write pipelined<1, pool<>>");
    static_assert(
        requires { requires std::is_same_v<typename Pool::options, pool_options>; },
        "strata: pipelined holds a pool for what cannot share: write pipelined<2, pool<>>");
    static_assert(
        !std::is_same_v<Pool, pool<no_lock>>,
        "strata: pipelined opens its connections behind its callers, which a pool for one thread cannot: write pipelined<2, pool<>>");
    static constexpr auto place = strata::place::source;
    using options = pipelined_options;
    using inner = Pool;
    template <class Driver>
    using source = detail::pipelined_source<Driver, Pool, Shared>;
};

}  // namespace strata::inline STRATA_ABI

#endif
