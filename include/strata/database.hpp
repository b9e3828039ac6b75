// The blocking face of a stack.
//
//   strata::database<bank> db{strata::sqlite_options{.path = "bank.db"}};
//   account a = db.one<account>(find("id"_arg = 7));
#ifndef STRATA_DATABASE_HPP
#define STRATA_DATABASE_HPP

#include <strata/independent.hpp>
#include <strata/runtime.hpp>
#include <strata/transaction/held.hpp>

#include <source_location>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Filled in by async.hpp, so that this file does not know Asio.
template <class Stack, class World, bool AsioIncluded>
struct async_face {
    template <class... Any>
    static int make(const Any&...) {
        static_assert(sizeof...(Any) == 0, "strata: db.async(...) needs  #include <strata/async.hpp>");
        return 0;
    }
};

}  // namespace detail

/// A database, as threads that block see it. Thread-safe; cheap to share by reference, not copied.
template <class Stack, class World = system_world>
class database : public calls<database<Stack, World>>, public detail::extensions<database<Stack, World>, Stack> {
public:
    using runtime_type = runtime<Stack, World>;
    using driver = typename runtime_type::driver;
    /// What a transaction's closure gets, for functions that take one: `void pay(strata::database<bank>::transaction_type& tx)`.
    using transaction_type = basic_transaction<runtime_type>;
    using owned_transaction_type = owned_transaction<runtime_type>;
    using session_type = basic_session<runtime_type>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// Options by type, in any order: `sqlite_options`, `pool_options`, `retry_options` ... Opens the first connections.
    /// Throws `failure`: `invalid_argument` for options that make no sense, and what opening gives.
    template <class... Options>
    explicit database(const Options&... options) : rt_(new runtime_type(options...)) {}
    /// The same in a world that is shared with others (a simulation), which must outlive the database.
    template <class... Options>
    explicit database(World& world, const Options&... options) : rt_(new runtime_type(world, options...)) {}
    database(const database&) = delete;
    database& operator=(const database&) = delete;

    /// Runs the closure in a transaction: commits when it returns, rolls back when it throws or returns a `result` that
    /// holds an error. Repeated as a whole by the stack's retry after conflicts, so the closure may run several times
    /// (`strata::once` forbids it). The closure's value comes out.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::run_transaction(*rt_, rt_->connections(), closure, o);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        return detail::try_run_transaction(*rt_, rt_->connections(), closure, o);
    }

    /// A transaction in the caller's hands: rolled back unless `commit()` is called.
    [[nodiscard]] owned_transaction_type begin(const transaction_options<driver>& o = {},
                                               std::source_location at = std::source_location::current()) {
        return try_begin(o, at).value();
    }
    [[nodiscard]] result<owned_transaction_type> try_begin(const transaction_options<driver>& o = {},
                                                           std::source_location at = std::source_location::current()) {
        return begun(o, at);
    }

    /// A pinned connection; the writing one unless `read_only`.
    [[nodiscard]] session_type session(const transaction_options<driver>& o = {},
                                       std::source_location at = std::source_location::current()) {
        return try_session(o, at).value();
    }
    [[nodiscard]] result<session_type> try_session(const transaction_options<driver>& o = {},
                                                   std::source_location at = std::source_location::current()) {
        return hold<detail::session_facts, session_type>(o, std::nullopt, at);
    }

    /// Calls and transactions on the connections that `pool_options::reserved` keeps for work that must go through while all others are in
    /// use, by this very caller even; see independent.hpp. Throws `failure`: `errc::misuse` where none are reserved.
    [[nodiscard]] independent_database<runtime_type> independent() { return independent_database<runtime_type>{rt_}; }

    /// Stops admission (`errc::shutting_down`), waits up to `grace` for what is on its way, cancels the rest and waits for its end.
    void close(duration grace = std::chrono::seconds{5}) noexcept { rt_->close(grace); }

    /// Gives nobody a connection any more (they wait), and waits up to `grace` for those that are lent out. True when all came back; either
    /// way `db.source().resume()` goes on. For a planned switch of the server.
    bool drain(duration grace) noexcept { return rt_->connections().drain(rt_->world(), add_saturated(rt_->world().moment().now, grace)); }

    /// The state of a layer: `db.policy<strata::circuit_breaker<>>()`.
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return rt_->template policy<P>();
    }

    /// What the source has done and holds, as `pool_snapshot`.
    [[nodiscard]] auto connections() noexcept { return rt_->connections().snapshot(); }
    /// The source itself, to steer: `db.source().resize(4)`, `db.source().retire_all()`. Thread-safe.
    [[nodiscard]] auto& source() noexcept { return rt_->connections(); }

    /// Not here: `db.async(executor).hedged(h)`. A thread that is blocked in one try cannot wait for another beside it.
    template <class Hedge>
    auto hedged(Hedge&) const {
        static_assert(!std::is_class_v<Hedge>,
                      "strata: hedged reads belong to the asynchronous face, for a thread that is blocked in one try cannot wait for a "
                      "second: write db.async(executor).hedged(h), with boost::asio::use_future where a thread is to wait for the result");
        return 0;
    }

    /// The asynchronous face of the same runtime: `db.async(io.get_executor())`, with `async_options` if wanted.
    template <class Executor, class... Options>
    [[nodiscard]] auto async(const Executor& ex, const Options&... options) const {
        return detail::async_face<Stack, World, true>::make(rt_, ex, options...);
    }

    /// What both faces share.
    [[nodiscard]] const std::shared_ptr<runtime_type>& shared_runtime() const noexcept { return rt_; }

    /// For `calls`. `ended` is empty, and holds the error if there is one.
    template <class Bound, class Sink, class Wish = detail::no_wish>
    STRATA_INLINE void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended,
                               Wish&& wish = {}) {
        detail::perform_statement<false>(*rt_, rt_->connections(), statement, sink, done, o, nullptr, ended, wish);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return detail::perform_batch<false>(*rt_, rt_->connections(), statement, elements, 0, done, o, nullptr);
    }
    /// For work of several statements: `f(runtime, source, depth, outer)`, which answers an error. `depth`: of its savepoint, or 0.
    template <class F>
    error on_source(F&& f) {
        return f(*rt_, rt_->connections(), 0u, static_cast<const interruption*>(nullptr));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::borrowed_source<typename runtime_type::source>;
        using state = detail::stream_state<runtime_type, source, Bound, Sink, false>;
        return std::make_unique<state>(*rt_, source{&rt_->connections()}, std::move(statement), std::move(sink), o, nullptr, rt_);
    }

private:
    [[nodiscard]] result<owned_transaction_type> begun(const transaction_options<driver>& o, const std::source_location& at) {
        detail::assert_transactions<runtime_type>();
        return hold<detail::transaction_facts, owned_transaction_type>(o, detail::plan_of(*rt_, o), at);
    }
    template <operation_facts Facts, class Handle>
    [[nodiscard]] result<Handle> hold(const transaction_options<driver>& o, std::optional<detail::transaction_plan<driver>> begin,
                                      const std::source_location& at) {
        auto h = std::make_unique<detail::holding<runtime_type, Facts>>(rt_, begin);
        h->where = at;
        h->op.name = o.name;
        h->op.tags = o.tags;
        h->op.priority = o.priority;
        h->op.reads_only = o.read_only;
        h->op.deadline = detail::deadline_of(rt_->world(), o.deadline, nullptr);
        if (error e = h->take()) return e;
        return Handle{std::move(h)};
    }

    std::shared_ptr<runtime_type> rt_;
};

}  // namespace strata::inline STRATA_ABI

#endif
