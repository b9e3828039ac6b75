// What a connection must be able to do to be shared by many statements.
#ifndef STRATA_CORE_SHARED_LINK_HPP
#define STRATA_CORE_SHARED_LINK_HPP

#include <strata/core/error.hpp>
#include <strata/core/kept_apart.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/watch.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

/// How much may be under way on one shared connection.
struct flow_limits {
    std::size_t statements = 256;  ///< sent and not answered
    std::size_t bytes = 65536;     ///< of their arguments
    std::size_t share = 64;        ///< reads behind one Sync; 1: none shares
    kept_apart* apart = nullptr;   ///< hears how long each statement kept the others waiting, and how much it brought
};

/// Whether a statement can be sent.
enum class readiness : std::uint8_t {
    ready,
    refused,    ///< with an error
    waits,      ///< for the server: `awaited()` says for what, then ask `go_on`
    when_idle,  ///< it must be prepared, and nothing else may be under way then
};

/// What has come for one statement, or for one Sync.
struct shared_answer {
    enum class is : std::uint8_t {
        answered,
        skipped,  ///< not run, for one before it failed
        stale,    ///< nothing came of it, for it must be prepared anew, or stood in its neighbours' way: once more, alone
        more,     ///< of a Sync: to be asked for again, whatever else this says holds
        broken,   ///< the connection makes no sense any more
    };
    is what = is::answered;
    error failed;
    std::int64_t affected = 0;
    std::size_t bytes = 0;  ///< about
    std::exception_ptr thrown;
};

/// The connection, as `multiplexer` wants it. Called by one thread at a time, but for `interrupt`.
template <class L>
concept shared_link = requires(L& l, const L& c, typename L::call& call, typename L::call* listener, error& e, shared_answer& a, bool yes) {
    // `call::key()` is missing: the same for all statements of one text
    { std::as_const(call).key() } -> std::same_as<std::uint64_t>;
    // `find(call, idle, error)` is missing: whether the statement can be sent; `idle`: nothing is under way
    { l.find(call, yes, e) } -> std::same_as<readiness>;
    // `go_on(error)` is missing: after `waits`
    { l.go_on(e) } -> std::same_as<readiness>;
    // `may_share(call)` is missing: of one that was found, whether others may stand behind the same Sync
    { l.may_share(call) } -> std::same_as<bool>;
    // `send(call, error)` is missing: the bytes of its arguments, or -1 with the error
    { l.send(call, e) } -> std::same_as<std::ptrdiff_t>;
    // `sync()` is missing: puts a Sync behind what was sent
    { l.sync() } -> std::same_as<void>;
    // `flush()` is missing: true when all bytes have left
    { l.flush() } -> std::same_as<bool>;
    // `listen()` is missing: takes in what has come
    { l.listen() } -> std::same_as<void>;
    // `has_answer()` is missing: whether the next answer can be taken without waiting
    { l.has_answer() } -> std::same_as<bool>;
    // `take(call, answer)` is missing: the answer to the oldest statement; null: nobody wants it
    { l.take(listener, a) } -> std::same_as<void>;
    // `take_sync(call, answer)` is missing: that of the oldest Sync; `call`: the statement that it commits, or null
    { l.take_sync(listener, a) } -> std::same_as<void>;
    // `is_broken()` is missing: it cannot be used any more, and `lost_error(effect)`: which tells it
    { c.is_broken() } -> std::same_as<bool>;
    { c.lost_error(effect::none) } -> std::same_as<error>;
    // `looks_alive()` is missing: of an idle one, whether the server has not given it up; does not wait
    { l.looks_alive() } -> std::same_as<bool>;
    // `awaited()` is missing: the descriptor, and of a statement that `waits` what for
    { c.awaited() } -> std::same_as<io_wait>;
    // `wait(io_wait)` is missing: blocks the thread until then
    { l.wait(c.awaited()) } -> std::same_as<void>;
    { l.watch() } -> std::same_as<watch_place&>;
    // `clear()` is missing: fit for another use, once nothing is under way
    { l.clear() } -> std::same_as<void>;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
