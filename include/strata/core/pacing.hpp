// How a driver waits through the world: for time that it wants to pass, or for something that somebody will give.
//
// A driver whose connections have these members may answer `signal::park`, while it connects and while it works, and is
// resumed when the wait has ended, for whatever reason. It is told operation and time before each resume and so reads no
// clock; the blocking, the asynchronous and the simulated drive then wait for it as they wait for everything else.
// Connections without them never park, and cost nothing here.
#ifndef STRATA_CORE_PACING_HPP
#define STRATA_CORE_PACING_HPP

#include <strata/core/operation.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/watch.hpp>

#include <concepts>
#include <string_view>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Connection>
concept paced_connection = requires(Connection& c, operation_base& op, moment m) {
    // `on_resume(op, moment)` is missing: called before each resume; the node that is waited on is prepared with `op.waking()`.
    c.on_resume(op, m);
    // `parked_on()` is missing: after `park`, the node that is waited on; null when it is only time.
    { c.parked_on() } -> std::same_as<waiter*>;
    // `parked_until()` is missing: after `park`, how long at most; after `io`, the bound of that wait.
    { c.parked_until() } -> std::same_as<time_point>;
};

/// Connects over several resumes, and says so by a signal.
template <class Connection, class Options, class Role>
concept opens_in_steps = requires(Connection& c, const Options& o, Role role, error& e) {
    { c.open_step(o, role, e) } -> std::same_as<signal>;
};

/// Waits for its descriptor where the drive cannot block: what it does answers `signal::io` after `may_yield(true)`.
template <class Connection>
concept yielding_connection = requires(Connection& c) {
    // `may_yield(bool)` is missing: false before a drive that blocks, true before one that waits for descriptors.
    c.may_yield(true);
    // `awaited()` is missing: after `io`, what is waited for.
    { c.awaited() } -> std::same_as<io_wait>;
    // `watch()` is missing: a place for what the drive keeps with the descriptor; emptied before the descriptor is closed.
    { c.watch() } -> std::same_as<watch_place&>;
};

/// BEGIN, COMMIT and the like go over several resumes.
template <class Connection>
concept controls_in_steps = requires(Connection& c, std::string_view sql, error& e) {
    { c.control_step(sql, e) } -> std::same_as<signal>;
};
template <class Connection, class World>
STRATA_INLINE void announce_resume([[maybe_unused]] Connection& c, [[maybe_unused]] operation_base& op,
                                   [[maybe_unused]] World& world) noexcept {
    if constexpr (paced_connection<Connection>) c.on_resume(op, world.moment());
    if constexpr (yielding_connection<Connection>) c.may_yield(op.make_waker != nullptr);
}
template <class Connection>
[[nodiscard]] waiter* node_of([[maybe_unused]] Connection& c) noexcept {
    if constexpr (paced_connection<Connection>)
        return c.parked_on();
    else
        return nullptr;
}
template <class Connection>
[[nodiscard]] time_point end_of_wait([[maybe_unused]] Connection& c) noexcept {
    if constexpr (paced_connection<Connection>)
        return c.parked_until();
    else
        return never;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
