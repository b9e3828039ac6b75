// The asynchronous face of a stack.
//
//   auto adb = db.async(io.get_executor());            // shares pool, breaker and metrics with the blocking face
//   account a = co_await adb.async_one<account>(find("id"_arg = 7));
#ifndef STRATA_ASYNC_DATABASE_HPP
#define STRATA_ASYNC_DATABASE_HPP

#include <strata/async/close.hpp>
#include <strata/async/held.hpp>
#include <strata/async/independent.hpp>
#include <strata/database.hpp>

#include <thread>

namespace strata::inline STRATA_ABI {

namespace detail {

/// One set of work threads a runtime, its number said by its first asynchronous face.
template <class Runtime>
[[nodiscard]] std::shared_ptr<work_threads> work_threads_of(Runtime& rt, const async_options& o) {
    typename Runtime::extension& e = rt.asynchronous();
    hold guard(e.lock);
    if (e.object == nullptr) {
        std::size_t n = o.work_threads;
        if (n == 0) {
            const std::size_t processors = std::thread::hardware_concurrency();
            const std::size_t connections = rt.connections().capacity();
            // Where connections wait for each other's locks, fewer threads could all wait for one that has none.
            n = connections < processors + 1 || !Runtime::driver::single_writer ? connections : processors + 1;
        }
        e.object = std::shared_ptr<work_threads>(new work_threads(n), work_threads::end{});
    }
    return std::static_pointer_cast<work_threads>(e.object);
}

}  // namespace detail

class hedge;
template <class Database>
class async_hedged;

namespace detail {

/// Filled in by async/hedged.hpp.
template <class Database, bool HedgedIncluded>
struct async_hedged_calls {
    static int of(const Database&, hedge&) {
        static_assert(!HedgedIncluded, "strata: adb.hedged(h) needs  #include <strata/async/hedged.hpp>");
        return 0;
    }
};

}  // namespace detail

/// A database, as asynchronous code sees it. Cheap to copy; thread-safe. Calls keep the runtime alive, so the database may
/// be destroyed before they end; the executor's context must not be destroyed from within one of its own handlers. A handler
/// that is bound to an executor of another context must not outlive that context, as everywhere in Asio, and both must run until it
/// has been called.
template <class Stack, class World = system_world>
class async_database : public async_calls<async_database<Stack, World>>,
                       public detail::async_extensions<async_database<Stack, World>, Stack> {
public:
    using runtime_type = runtime<Stack, World>;
    using driver = typename runtime_type::driver;
    /// What a transaction's closure gets.
    using transaction_type = async_transaction_handle<runtime_type>;
    using owned_transaction_type = async_owned_transaction<runtime_type>;
    using session_type = async_session_handle<runtime_type>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;
    static_assert(std::is_trivially_destructible_v<transaction_options<driver>>);  // see start.hpp

    /// A face of an existing runtime: `db.async(executor)` is the same.
    async_database(std::shared_ptr<runtime_type> rt, asio::any_io_executor ex, const async_options& o = {})
        : rt_(std::move(rt)), world_(std::move(ex), detail::work_threads_of(*rt_, o)) {}
    /// A runtime of its own; options as for `database`. Opens the first connections in this thread.
    template <class... Options>
    explicit async_database(asio::any_io_executor ex, const Options&... options)
        : async_database(std::make_shared<runtime_type>(options...), std::move(ex)) {}

    /// Runs the coroutine closure in a transaction; see `database::transaction`. `void(std::exception_ptr, T)`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return async_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        using value = detail::awaited_value<Closure, transaction_type>;
        using job = detail::transaction_job<detail::runtime_home<runtime_type>, Closure, detail::throwing<value>>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), o);
    }
    /// The same; completes with `void(result<T>)`, exceptions of the closure as `errc::user_exception`.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return async_try_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        using value = detail::awaited_value<Closure, transaction_type>;
        using job = detail::transaction_job<detail::runtime_home<runtime_type>, Closure, detail::trying<value>>;
        return detail::start<job>(world_, std::forward<Token>(token), home(), world_, std::move(closure), o);
    }

    /// A transaction in the caller's hands.
    template <detail::completion Token = detail::default_token>
    auto async_begin(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_begin(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_begin(const transaction_options<driver>& o, Token&& token = {}, std::source_location at = std::source_location::current()) {
        return begun<detail::throwing<owned_transaction_type>>(o, at, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_try_begin(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_begin(const transaction_options<driver>& o, Token&& token = {},
                         std::source_location at = std::source_location::current()) {
        return begun<detail::trying<owned_transaction_type>>(o, at, std::forward<Token>(token));
    }

    /// A pinned connection.
    template <detail::completion Token = detail::default_token>
    auto async_session(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_session(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_session(const transaction_options<driver>& o, Token&& token = {},
                       std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, detail::throwing<session_type>>(o, std::nullopt, at, std::forward<Token>(token));
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(Token&& token = {}, std::source_location at = std::source_location::current()) {
        return async_try_session(transaction_options<driver>{}, std::forward<Token>(token), at);
    }
    template <detail::completion Token = detail::default_token>
    auto async_try_session(const transaction_options<driver>& o, Token&& token = {},
                           std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, detail::trying<session_type>>(o, std::nullopt, at, std::forward<Token>(token));
    }

    /// The same database for hedged reads: a second try where the first takes longer than such reads usually do. `h` must outlive the
    /// calls.
    template <class Self = async_database>
    [[nodiscard]] auto hedged(hedge& h) const {
        return detail::async_hedged_calls<Self, true>::of(*this, h);
    }

    /// As `database::independent`, over the loop.
    [[nodiscard]] async_independent_database<runtime_type> independent() const { return {rt_, world_}; }

    /// As `database::close`, for all faces of the runtime; a cancel of this call shortens the grace. `void(std::exception_ptr)`.
    template <class Token = detail::default_token>
    auto async_close(duration grace = std::chrono::seconds{5}, Token&& token = {}) {
        return detail::start<detail::close_job<runtime_type>>(world_, std::forward<Token>(token), rt_, grace);
    }

    /// The state of a layer: `adb.policy<strata::circuit_breaker<>>()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return rt_->template policy<P>();
    }
    [[nodiscard]] auto connections() noexcept { return rt_->connections().snapshot(); }
    /// The source itself, to steer: `db.source().resize(4)`, `db.source().retire_all()`. Thread-safe.
    [[nodiscard]] auto& source() noexcept { return rt_->connections(); }
    [[nodiscard]] const std::shared_ptr<runtime_type>& shared_runtime() const noexcept { return rt_; }

    // For `async_calls`.
    [[nodiscard]] detail::runtime_home<runtime_type> home() { return detail::runtime_home<runtime_type>{rt_}; }
    [[nodiscard]] static unsigned depth_of_batch() noexcept { return 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::runtime_home<runtime_type>, Bound, T, false>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    template <class Form, class Token>
    auto begun(const transaction_options<driver>& o, const std::source_location& at, Token&& token) {
        detail::assert_transactions<runtime_type>();
        return hold<detail::transaction_facts, Form>(o, detail::plan_of(*rt_, o), at, std::forward<Token>(token));
    }
    template <operation_facts Facts, class Form, class Token>
    auto hold(const transaction_options<driver>& o, const std::optional<detail::transaction_plan<driver>>& begin,
              const std::source_location& at, Token&& token) {
        return detail::start<detail::holding_job<runtime_type, Facts, Form>>(world_, std::forward<Token>(token), rt_, world_, o, begin, at);
    }

    std::shared_ptr<runtime_type> rt_;
    asio_world world_;
};

namespace detail {

template <class Stack, class World>
struct async_face<Stack, World, true> {
    template <class... Rest>
    static async_database<Stack, World> make(const std::shared_ptr<runtime<Stack, World>>& rt, asio::any_io_executor ex,
                                             const Rest&... rest) {
        return {rt, std::move(ex), rest...};
    }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
