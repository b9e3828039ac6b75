// A source in which many statements share a few connections: they travel together and do not wait for each other.
//
//   using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::pipelined<2, strata::pool<>>, strata::postgres>;
//
// It stands where a pool stands, and holds one, whose options are `pool_options` as ever. A statement by itself shares: an idempotent
// read, an insert, update or delete. Transactions, streams, COPY, sessions, and statements that call functions of which nothing is known
// have a connection of the pool to themselves.
//
// What sharing means. Reads that leave together share one implicit transaction of the server's, which under READ COMMITTED changes nothing
// that they can see but `now()`; where the database's default is stricter each has its own. Everything else has its own in any case. A
// caller's deadline or cancel abandons his answer: the server is not told, and his neighbours do not notice. A read whose connection is
// lost is sent again on another one; of a write that was sent and not answered `effect::unknown` is told.
#ifndef STRATA_SOURCE_PIPELINED_HPP
#define STRATA_SOURCE_PIPELINED_HPP

#include <strata/core/heap_array.hpp>
#include <strata/source/pool.hpp>
#include <strata/source/shared_lane.hpp>

#include <memory>

namespace strata::inline STRATA_ABI {

/// How connections are shared.
struct pipelined_options {
    /// Groups of connections: one for each thread that runs a loop, so that none hands anything to another. A thread has its group for
    /// ever.
    std::size_t groups = 1;
    std::size_t max_in_flight = 256;   ///< statements on one connection that were sent and not answered; 1 to 65536
    std::size_t max_bytes = 65'536;    ///< of their arguments, about
    std::size_t max_sharing = 64;      ///< reads behind one Sync
    std::size_t max_waiting = 10'000;  ///< statements on one connection; beyond them callers are refused

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* text) { return error{errc::invalid_argument, text, phase::admission}; };
        if (groups < 1 || groups > 256) return bad("pipelined_options.groups must lie in 1 to 256");
        if (max_in_flight < 1 || max_in_flight > 65'536) return bad("pipelined_options.max_in_flight must lie in 1 to 65536");
        if (max_bytes < 1) return bad("pipelined_options.max_bytes must be positive");
        if (max_sharing < 1) return bad("pipelined_options.max_sharing must be positive");
        return {};
    }
    friend bool operator==(const pipelined_options&, const pipelined_options&) = default;
};

namespace detail {

/// Where statements share; the work of a flight over it is the driver's `sharing`.
template <class PoolSource, class Driver>
class shared_side {
    using sharing = typename Driver::sharing;
    using lane = shared_lane<PoolSource, sharing>;

public:
    using driver = sharing;
    using connection = typename sharing::connection;
    /// What an operation keeps of it.
    struct lease {
        connection seat;
        lane* on = nullptr;
    };

    shared_side(PoolSource& pool, const pipelined_options& o, std::size_t each, duration max_wait)
        : lanes_(o.groups * each), number_(o.groups * each), groups_(o.groups), each_(each), max_waiting_(o.max_waiting),
          max_wait_(max_wait) {
        for (std::size_t i = 0; i < number_; ++i)
            lanes_[i].belong_to(pool, {.statements = o.max_in_flight, .bytes = o.max_bytes, .share = o.max_sharing});
    }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        lane& l = least_loaded();
        if (l.load() >= max_waiting_) [[unlikely]]
            return acquired::refused;
        out.on = &l;
        if (auto* const m = l.enter(); m != nullptr) [[likely]] {
            out.seat.sit(*m);
            return acquired::ready;
        }
        typename sharing::multiplexer* m = nullptr;
        const acquired a = l.wait(node, op.waking(), m);
        if (a == acquired::ready) out.seat.sit(*m);
        return a;
    }
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health) noexcept {
        std::exchange(l.on, nullptr)->leave();
    }
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base&, waiter& node, lease& out, duration) noexcept {
        auto* const m = out.on->end_wait(node);
        if (m == nullptr) return acquired::refused;
        out.seat.sit(*m);
        return acquired::ready;
    }
    [[nodiscard]] STRATA_COLD error refusal(const operation_base&, time_point, bool) noexcept { return least_loaded().refusal(); }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return l.seat; }
    [[nodiscard]] duration wait_limit() const noexcept { return max_wait_; }
    // Never asked for: a lane is connected by its pool.
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }

    void renew(bool close = false) noexcept {
        for (std::size_t i = 0; i < number_; ++i) lanes_[i].renew(close);
    }
    void cancel_all() noexcept {
        for (std::size_t i = 0; i < number_; ++i) lanes_[i].cancel_all();
    }

private:
    [[nodiscard]] lane& least_loaded() noexcept {
        lane* const group = &lanes_[groups_ == 1 ? 0 : thread_number() % groups_ * each_];
        lane* best = group;
        for (std::size_t i = 1; i < each_; ++i)
            if (group[i].load() < best->load()) best = group + i;
        return *best;
    }
    [[nodiscard]] static std::size_t thread_number() noexcept {
        static std::atomic<std::size_t> threads{0};
        thread_local const std::size_t mine = threads.fetch_add(1, std::memory_order_relaxed);
        return mine;
    }

    heap_array<lane> lanes_;
    std::size_t number_;
    std::size_t groups_;
    std::size_t each_;
    std::size_t max_waiting_;
    duration max_wait_;
};

template <class Driver, class Pool, std::size_t Shared>
class pipelined_source : public Pool::template source<Driver> {
    using pool = typename Pool::template source<Driver>;
    static_assert(
        requires { typename Driver::sharing; },
        "strata: pipelined needs a database to which many statements can be on their way on one connection, which is PostgreSQL; "
        "SQLite runs one statement after the other: write strata::pool<> in its place");

public:
    using shared_side = detail::shared_side<pool, Driver>;

    pipelined_source(const pipelined_options& options, const typename Pool::options& exclusive, const typename Driver::options& target)
        : pool(exclusive, target), lent_(for_sharing(options, exclusive), target), shared_(lent_, options, Shared, exclusive.max_wait) {}

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
    }

    /// Where statements share.
    [[nodiscard]] shared_side& shared() noexcept { return shared_; }
    /// Of the connections that are shared.
    [[nodiscard]] pool_snapshot shared_snapshot() noexcept { return lent_.snapshot(); }

    void retire_all() noexcept {
        pool::retire_all();
        lent_.retire_all();
        shared_.renew();
    }
    [[nodiscard]] error rotate(const typename Driver::options& target) {
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

    pool lent_;
    shared_side shared_;
};

}  // namespace detail

/// The layer. `Shared`: connections of each group; with `pipelined_options::groups` of them. `Pool`: where everything else goes.
template <std::size_t Shared = 2, class Pool = pool<>>
struct pipelined {
    static_assert(Shared >= 1, "strata: pipelined needs a connection at least that is shared: write pipelined<1, pool<>>");
    static constexpr auto place = strata::place::source;
    using options = pipelined_options;
    using inner = Pool;
    template <class Driver>
    using source = detail::pipelined_source<Driver, Pool, Shared>;
};

}  // namespace strata::inline STRATA_ABI

#endif
