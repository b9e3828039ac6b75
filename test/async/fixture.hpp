// What the tests of the asynchronous face share: running coroutines to their end, callbacks that may only move, executors.
#ifndef STRATA_TEST_ASYNC_FIXTURE_HPP
#define STRATA_TEST_ASYNC_FIXTURE_HPP

#include <face/fixture.hpp>

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>

namespace strata_test {

namespace asio = boost::asio;

/// Runs the coroutine alone until it has ended; its value comes out, or its exception.
template <class T>
T run(asio::io_context& io, asio::awaitable<T> work) {
    std::exception_ptr thrown;
    std::optional<std::conditional_t<std::is_void_v<T>, int, T>> value;
    asio::co_spawn(
        io, [&, w = std::move(work)]() mutable -> asio::awaitable<void> {
            if constexpr (std::is_void_v<T>) {
                co_await std::move(w);
                value.emplace(0);
            } else {
                value.emplace(co_await std::move(w));
            }
        },
        [&](std::exception_ptr e) { thrown = e; });
    io.restart();
    io.run();
    if (thrown) std::rethrow_exception(thrown);
    REQUIRE(value.has_value());
    if constexpr (!std::is_void_v<T>) return std::move(*value);
}

/// A bank with an io_context that ends first, and a face on it.
template <class Stack = plain_stack>
struct async_bank : bank<Stack> {
    asio::io_context io;
    strata::async_database<Stack> adb;

    template <class... Options>
    explicit async_bank(const Options&... options) : bank<Stack>(options...), adb(this->db.async(io.get_executor())) {}
};

/// The error of an exception that a completion handler was given.
inline strata::error error_of(const std::exception_ptr& e) {
    if (!e) return {};
    try {
        std::rethrow_exception(e);
    } catch (const strata::failure& f) {
        return f.error();
    } catch (...) {
        return strata::error{errc::user_exception};
    }
}

template <class Db>
bool all_home(Db& db) {
    const strata::pool_snapshot s = db.connections();
    return s.open == s.idle && s.waiting == 0;
}

}  // namespace strata_test

#endif
