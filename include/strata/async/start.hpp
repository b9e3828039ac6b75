// Starts a job for whatever completion token the caller chose.
#ifndef STRATA_ASYNC_START_HPP
#define STRATA_ASYNC_START_HPP

#include <strata/async/drive.hpp>
#include <strata/transaction/options.hpp>

#include <boost/asio/async_result.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace strata::inline STRATA_ABI {

struct copy_options;

namespace detail {

using default_token = asio::use_awaitable_t<asio::any_io_executor>;

template <class T>
inline constexpr bool is_options = std::is_same_v<T, call_options>;
template <class Driver>
inline constexpr bool is_options<transaction_options<Driver>> = true;
template <>
inline constexpr bool is_options<copy_options> = true;

// Options are written in braces inside a co_await, where g++ 12 destroys an aggregate's members twice: none may mind.
static_assert(std::is_trivially_destructible_v<call_options>);

/// Tells a completion token from options.
template <class Token>
concept completion = !is_options<std::remove_cvref_t<Token>>;

/// The initiation: what a lazy token (deferred, use_awaitable) keeps and calls later.
template <class Job>
struct start_job {
    asio_world world;
    using executor_type = asio::any_io_executor;
    [[nodiscard]] executor_type get_executor() const noexcept { return world.executor(); }

    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) && {
        async_operation<std::decay_t<Handler>, Job>::launch(std::forward<Handler>(handler), std::move(world), std::forward<Args>(args)...);
    }
    template <class Handler, class... Args>
    void operator()(Handler&& handler, Args&&... args) const& {
        async_operation<std::decay_t<Handler>, Job>::launch(std::forward<Handler>(handler), world, std::forward<Args>(args)...);
    }
};

/// The same for a statement that may share a connection, or not: known when it is initiated.
template <class Job, class Sharing>
struct start_sharing_job {
    asio_world world;
    using executor_type = asio::any_io_executor;
    [[nodiscard]] executor_type get_executor() const noexcept { return world.executor(); }

    template <class Handler, class Home, class Statement, class Sink, class Options, class... Wish>
    void operator()(Handler&& handler, Home&& home, Statement&& statement, Sink&& sink, const Options& o, Wish&&... wish) const {
        using handler_type = std::decay_t<Handler>;
        if (shares_connection(home.source(), statement, o))
            async_operation<handler_type, Sharing>::launch(
                std::forward<Handler>(handler), world, typename Sharing::home_type{std::forward<Home>(home)},
                std::forward<Statement>(statement), std::forward<Sink>(sink), o, std::forward<Wish>(wish)...);
        else
            async_operation<handler_type, Job>::launch(std::forward<Handler>(handler), world, std::forward<Home>(home),
                                                       std::forward<Statement>(statement), std::forward<Sink>(sink), o,
                                                       std::forward<Wish>(wish)...);
    }
};

/// `args` make the job, when the operation is initiated.
template <class Job, class Token, class... Args>
auto start(const asio_world& world, Token&& token, Args&&... args) {
    return asio::async_initiate<Token, typename Job::form::signature>(start_job<Job>{world}, token, std::forward<Args>(args)...);
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
