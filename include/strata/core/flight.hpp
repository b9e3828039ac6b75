// One operation on its whole way: through the interceptors, to a connection, to the database and back.
//
// A resumable algorithm over a passage, a source and a piece of work; nothing in it knows whether a thread, an
// Asio loop or a simulation drives it. The driver of a flight does what `need` says and calls `resume`:
//
//   park   wait for `parked_on()` until `parked_until()`
//   work   the next resume may block: go where that is allowed
//   io     wait for the connection's descriptor until `parked_until()`
//   call   a user's asynchronous closure must run: start it, resume when it has ended
//   item   rows, or a handle, are with the user: resume when they are done with it
//   done   `result()` and `thrown()` are final
#ifndef STRATA_CORE_FLIGHT_HPP
#define STRATA_CORE_FLIGHT_HPP

#include <strata/core/health.hpp>
#include <strata/core/pacing.hpp>
#include <strata/core/passage.hpp>
#include <strata/core/signal.hpp>

#include <exception>

namespace strata::inline STRATA_ABI {

enum class need : std::uint8_t { done, park, work, io, call, item, turn };

/// What a source answers to a request for a connection.
enum class acquired : std::uint8_t {
    ready,    ///< the lease is there
    connect,  ///< the lease is a place without a connection: open one there
    wait,     ///< the node stands in the queue
    refused   ///< `refusal` was set
};

namespace detail {

/// Work that may let time pass between its statements: it answers `park`, and these say that it is the work, not its connection, that
/// waits.
template <class Work>
concept pausing_work = requires(const Work& w) {
    { w.pauses() } -> std::same_as<bool>;
    { w.pauses_until() } -> std::same_as<time_point>;
};

}  // namespace detail

/// A flight of `Op` through `World`'s time. `Source` leases, `Work` does the attempt:
///     signal Work::resume(connection&, Op&, outcome&)   // starts, goes on, ends; sets the outcome when it fails
///     void   Work::end() noexcept                       // lets go of the connection, also midway
///
/// `Way` is the passage, or a reference to one that was entered before anything else was built: so a refusal pays for nothing more.
template <class World, class Layers, class Source, class Op, class Work, class Way = passage<Layers, Op>>
class flight {
    using lease = typename Source::lease;
    enum class at : std::uint8_t { outside, waiting, connecting, working };

public:
    /// Whether it must be done where blocking is allowed.
    static constexpr bool blocks = Source::driver::blocking;

    flight(World& world, Layers& layers, Source& source, Op& op, Work& work) noexcept
        : op_(op), world_(world), work_(work), source_(source), passage_(layers, op) {}
    flight(World& world, std::remove_reference_t<Way>& entered, Source& source, Op& op, Work& work) noexcept
        requires(std::is_reference_v<Way>)
        : op_(op), world_(world), work_(work), source_(source), passage_(entered) {}
    flight(const flight&) = delete;
    flight& operator=(const flight&) = delete;
    /// Destroyed midway: the place in the queue and the connection go back; the passage abandons its layers.
    ~flight() {
        if (at_ != at::outside) [[unlikely]]
            give_up();
    }

    [[nodiscard]] STRATA_INLINE need start() noexcept { return follow<false>(passage_.first(timed_moment())); }
    /// The same for a drive that may block where it stands: the first attempt is made at once.
    [[nodiscard]] STRATA_INLINE need start_here() noexcept { return go_on_here(passage_.first(timed_moment())); }
    /// The same on a passage that has been entered already.
    [[nodiscard]] STRATA_INLINE need go_on_here(step entered) noexcept { return follow<true>(entered); }

    [[nodiscard]] STRATA_INLINE need resume() noexcept {
        if (at_ == at::working) [[likely]]
            return run();
        return resume_elsewhere();
    }

    [[nodiscard]] outcome& result() noexcept { return passage_.result(); }
    /// What the user's code threw in the last attempt; null when it threw nothing.
    [[nodiscard]] std::exception_ptr& thrown() noexcept { return thrown_; }
    [[nodiscard]] waiter* parked_on() noexcept {
        switch (at_) {
            case at::outside:
                return passage_.parked_on();
            case at::waiting:
                return &node_;
            default:
                if constexpr (detail::pausing_work<Work>)
                    if (work_.pauses()) return nullptr;
                return detail::node_of(source_.connection_of(lease_));
        }
    }
    [[nodiscard]] time_point parked_until() noexcept {
        switch (at_) {
            case at::outside:
                return passage_.parked_until();
            case at::waiting:
                return until_;
            default:
                if constexpr (detail::pausing_work<Work>)
                    if (work_.pauses()) return work_.pauses_until();
                return detail::end_of_wait(source_.connection_of(lease_));
        }
    }
    /// After `io`: the descriptor, and where the drive keeps what it has registered it with.
    [[nodiscard]] io_wait awaited() noexcept
        requires detail::yielding_connection<typename Source::connection>
    {
        return source_.connection_of(lease_).awaited();
    }
    [[nodiscard]] watch_place& watch() noexcept
        requires detail::yielding_connection<typename Source::connection>
    {
        return source_.connection_of(lease_).watch();
    }
    /// True while it stands in the source's queue.
    [[nodiscard]] bool is_queued() const noexcept { return at_ == at::waiting; }
    [[nodiscard]] Op& operation() noexcept { return op_; }
    [[nodiscard]] lease& leased() noexcept { return lease_; }

private:
    [[nodiscard]] STRATA_INLINE moment timed_moment() noexcept {
        if constexpr (std::remove_reference_t<Way>::timed)
            return world_.moment();
        else
            return moment{};
    }

    template <bool MayBlock>
    [[nodiscard]] STRATA_INLINE need follow(step s) noexcept {
        if (s == step::attempt) [[likely]]
            return acquire<MayBlock>();
        return s == step::park ? need::park : need::done;
    }

    template <bool MayBlock>
    [[nodiscard]] STRATA_INLINE need acquire() noexcept {
        const acquired a = source_.acquire(op_, node_, lease_);
        if (a == acquired::ready) [[likely]] {
            at_ = at::working;
            if constexpr (blocks && !MayBlock)
                return need::work;
            else
                return run();
        }
        return acquire_otherwise(a);
    }

    [[nodiscard]] STRATA_COLD need acquire_otherwise(acquired a) noexcept {
        op_.waited_for_lease = true;
        switch (a) {
            case acquired::connect:
                return begin_connecting();
            case acquired::wait: {
                at_ = at::waiting;
                const time_point now = world_.moment().now;
                waiting_since_ = now;
                const time_point limit = add_saturated(now, source_.wait_limit());
                until_ = time_point{limit < op_.deadline ? limit : op_.deadline};
                return need::park;
            }
            default:
                result().replace(source_.refusal(op_, world_.moment().now, false));
                return follow_cold(passage_.landed(timed_moment()));
        }
    }

    [[nodiscard]] STRATA_COLD need follow_cold(step s) noexcept {
        if (s == step::attempt) thrown_ = nullptr;  // of the attempt before
        return follow<false>(s);
    }

    [[nodiscard]] STRATA_INLINE need run() noexcept {
        signal s = signal::failed;
        detail::announce_resume(source_.connection_of(lease_), op_, world_);
        try {
            s = work_.resume(source_.connection_of(lease_), op_, result());
        } catch (...) {
            user_threw();
        }
        if (s == signal::done || s == signal::failed) [[likely]] {
            end_of_work();
            const step next = passage_.landed(timed_moment());
            if (next == step::done) [[likely]]
                return need::done;
            return follow_cold(next);
        }
        return more_work(s);
    }

    [[nodiscard]] STRATA_COLD need more_work(signal s) noexcept {
        switch (s) {
            case signal::io:
                return need::io;
            case signal::park:
                return need::park;
            case signal::turn:
                return need::turn;
            case signal::call:
                return need::call;
            case signal::item:
                op_.handed_over = true;
                return need::item;
            default:
                return need::work;
        }
    }

    STRATA_INLINE void end_of_work() noexcept {
        at_ = at::outside;
        work_.end();
        source_.release(lease_, op_, result().ok() ? health::good : after_failure());
    }
    [[nodiscard]] STRATA_COLD health after_failure() noexcept {
        if constexpr (requires { source_.note(result().error()); }) source_.note(result().error());
        return detail::health_after(result().error());
    }

    /// An exception of the user's sink, codec or closure, or out of memory: an outcome like others, rethrown by the face.
    STRATA_COLD void user_threw() noexcept {
        thrown_ = std::current_exception();
        result().replace(error{errc::user_exception, phase::result, effect::unknown});
    }

    [[nodiscard]] STRATA_COLD need resume_elsewhere() noexcept {
        switch (at_) {
            case at::waiting:
                return end_waiting();
            case at::connecting:
                return connect();
            default:
                thrown_ = nullptr;
                return follow<false>(passage_.resume(world_.moment()));
        }
    }

    /// A lease that came late: a driver that blocks is moved to where it may.
    [[nodiscard]] STRATA_COLD need begin_working() noexcept {
        at_ = at::working;
        if constexpr (blocks)
            return need::work;
        else
            return run();
    }
    [[nodiscard]] STRATA_COLD need begin_connecting() noexcept {
        at_ = at::connecting;
        if constexpr (blocks)
            return need::work;
        else
            return connect();
    }

    [[nodiscard]] STRATA_COLD need connect() noexcept {
        error e;
        detail::announce_resume(source_.connection_of(lease_), op_, world_);
        try {
            const signal s = source_.connect(lease_, op_, e);
            if (s == signal::io) return need::io;
            if (s == signal::park) return need::park;
            if (s == signal::work) return need::work;
            if (s == signal::done) {
                at_ = at::working;
                return run();
            }
        } catch (...) {
            thrown_ = std::current_exception();
            e = error{errc::user_exception, phase::connect};
        }
        at_ = at::outside;
        source_.release_unconnected(lease_);
        result().replace(std::move(e));
        return follow_cold(passage_.landed(timed_moment()));
    }

    [[nodiscard]] STRATA_COLD need end_waiting() noexcept {
        const moment m = world_.moment();
        if (!node_.is_granted() && m.now < time_point{until_} && !op_.cancelled.load(std::memory_order_relaxed))
            return need::park;  // woken for nothing
        at_ = at::outside;
        const acquired a = source_.end_wait(op_, node_, lease_, m.now - time_point{waiting_since_});
        if (a == acquired::ready) return begin_working();
        if (a == acquired::connect) return begin_connecting();
        if (op_.cancelled.load(std::memory_order_relaxed)) {
            result().replace(error{errc::cancelled, phase::acquire}.set_local());
        } else {
            error e = source_.refusal(op_, m.now, true);
            // It was the call's own time that ran out, not the source's patience.
            if (e.code() == errc::pool_exhausted && m.now >= op_.deadline) e.set(errc::timeout);
            result().replace(std::move(e));
        }
        return follow_cold(passage_.landed(m));
    }

    STRATA_COLD void give_up() noexcept {
        switch (at_) {
            case at::waiting:
                switch (source_.end_wait(op_, node_, lease_, duration::zero())) {
                    case acquired::ready:
                        source_.release(lease_, op_, health::good);
                        break;
                    case acquired::connect:
                        source_.release_unconnected(lease_);
                        break;
                    default:
                        break;
                }
                break;
            case at::connecting:
                source_.release_unconnected(lease_);
                break;
            case at::working:
                work_.end();
                source_.release(lease_, op_, health::good);
                break;
            default:
                break;
        }
        at_ = at::outside;
    }

    // Operation and work lie in the caller's frame, and so are not neighbours here: g++ 12 would make a pair of their addresses before it
    // is known whether the call is refused.
    Op& op_;
    World& world_;
    Work& work_;
    Source& source_;
    Way passage_;
    lease lease_{};
    at at_ = at::outside;
    waiter node_;
    unset<time_point> until_;  // these two are written when it begins to wait
    unset<time_point> waiting_since_;
    std::exception_ptr thrown_;
};

/// The blocking drive: the calling thread waits and works. Returns at `done` or `item`.
template <class Flight, class World>
STRATA_INLINE need drive(Flight& f, World& world, need n) noexcept {
    while (n == need::work || n == need::park) [[unlikely]] {
        if (n == need::park) world.park(f.parked_on(), f.parked_until());
        n = f.resume();
    }
    return n;
}

}  // namespace strata::inline STRATA_ABI

#endif
