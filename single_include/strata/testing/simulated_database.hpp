// Generated from include/strata/testing/simulated_database.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_TESTING_SIMULATED_DATABASE_HPP
#define STRATA_SINGLE_TESTING_SIMULATED_DATABASE_HPP

#include <strata/strata.hpp>
#include <strata/testing/simulated_world.hpp>

// What an asynchronous call keeps alive and works on: the runtime and its source, or a pinned connection.
#ifndef STRATA_ASYNC_HOME_HPP
#define STRATA_ASYNC_HOME_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Runtime>
class runtime_home {
public:
    using runtime_type = Runtime;
    using source_type = typename Runtime::source;

    explicit runtime_home(std::shared_ptr<Runtime> rt) noexcept : rt_(std::move(rt)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return rt_->connections(); }
    [[nodiscard]] const interruption* outer() const noexcept { return nullptr; }

private:
    std::shared_ptr<Runtime> rt_;
};

/// The same among statements that share connections.
template <class Runtime>
class sharing_home : public runtime_home<Runtime> {
public:
    using source_type = typename Runtime::source::shared_side;
    explicit sharing_home(runtime_home<Runtime>&& home) noexcept : runtime_home<Runtime>(std::move(home)) {}
    [[nodiscard]] source_type& source() noexcept { return this->runtime().connections().shared(); }
};

/// A call on a connection that a session or a transaction holds. The lease lives until the call has ended: `keep` says so
/// for what is held by hand, and a transaction's closure outlives what it awaits.
template <class Runtime>
class pinned_home {
public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using source_type = pinned_source<driver>;

    pinned_home(Runtime& rt, source_type source, const interruption* outer, std::shared_ptr<void> keep) noexcept
        : rt_(&rt), source_(source), outer_(outer), keep_(std::move(keep)) {}
    [[nodiscard]] Runtime& runtime() noexcept { return *rt_; }
    [[nodiscard]] source_type& source() noexcept { return source_; }
    [[nodiscard]] const interruption* outer() const noexcept { return outer_; }

private:
    Runtime* rt_;
    source_type source_;
    const interruption* outer_;
    std::shared_ptr<void> keep_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// One operation of a simulated client: the same flight that a blocked thread and Asio drive, carried on by the world.
#ifndef STRATA_TESTING_SIMULATED_CALL_HPP
#define STRATA_TESTING_SIMULATED_CALL_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// The awaitable around a job, which has
///     operation_base& op();   need begin();   need resume();   time_point parked_until();   bool is_queued();
///     void call(simulated_loop&, continuation done);     // for need::call: starts the user's coroutine
///     T take();                                           // what comes out of co_await
template <class Job>
class simulated_call {
public:
    template <class... Args>
    explicit simulated_call(std::in_place_t, Args&&... args) : job_(std::forward<Args>(args)...) {}
    simulated_call(const simulated_call&) = delete;
    simulated_call& operator=(const simulated_call&) = delete;
    ~simulated_call() { leave(); }

    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> h) {
        process_ = &process_of(h);
        back_ = continuation::of_coroutine(h);
        operation_base& op = job_.op();
        op.drive = process_;
        op.make_waker = [](operation_base& o) -> waker* { return static_cast<simulated_process*>(o.drive); };
        if (process_->call == nullptr) process_->call = &op;
        return !carry_on(job_.begin());
    }
    decltype(auto) await_resume() { return job_.take(); }

    void go_on() noexcept {
        if (carry_on(job_.resume())) process_->next = back_;
    }

private:
    /// True when it has come to its end.
    [[nodiscard]] bool carry_on(need n) noexcept {
        for (;;) {
            switch (n) {
                case need::work:
                    n = job_.resume();
                    break;
                case need::park: {
                    const operation_base& op = job_.op();
                    process_->park(continuation::of(*this), job_.parked_until(), job_.is_queued() ? "a connection" : "an answer",
                                   op.name.empty() ? op.statement : op.name);
                    return false;
                }
                case need::call:
                    job_.call(*process_, continuation::of(*this));
                    return false;
                default:
                    leave();
                    return true;
            }
        }
    }
    void leave() noexcept {
        if (process_ != nullptr && process_->call == &job_.op()) process_->call = nullptr;
    }

    Job job_;
    simulated_process* process_ = nullptr;
    continuation back_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// The calls of simulated clients: `co_await db.one<account>(find("id"_arg = 7))`.
#ifndef STRATA_TESTING_SIMULATED_CALLS_HPP
#define STRATA_TESTING_SIMULATED_CALLS_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What comes out of a call: the value or an exception, or a `result`.
template <class T, bool Tries>
[[nodiscard]] auto simulated_outcome(error& failed, std::exception_ptr& thrown, std::optional<storable<T>>& value)
    -> std::conditional_t<Tries, result<T>, T> {
    if (thrown) std::rethrow_exception(std::move(thrown));
    if (failed) {
        if constexpr (Tries)
            return std::move(failed);
        else
            throw_failure(std::move(failed));
    }
    if constexpr (!std::is_void_v<T>)
        return std::move(*value);
    else if constexpr (Tries)
        return {};
}

/// One statement; the twin of `async/statement.hpp`.
template <class Home, class Bound, class Sink, class T, bool InsideTransaction, bool Tries, class Wish = no_wish>
class simulated_statement {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<Wish::refine(facts_of_statement<Bound>(InsideTransaction))>;
    using work_type = typename work_of_statement<runtime_type, typename Home::source_type, Bound, Sink,
                                                 runtime_type::interceptors::automatic && !InsideTransaction>::type;

public:
    simulated_statement(Home home, Bound&& statement, const call_options& o, Wish wish = {})
        : home_(std::move(home)), statement_(std::move(statement)), wish_(std::move(wish)), work_(statement_, sink_),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        if constexpr (requires { work_.runs_in(home_.runtime()); }) work_.runs_in(home_.runtime());
        describe(op_, statement_, o);
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
        wish_.tell(op_, statement_, sink_);
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.start(); }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] bool is_queued() const noexcept { return flight_.is_queued(); }
    void call(simulated_loop&, continuation) noexcept {}
    [[nodiscard]] auto take() {
        std::optional<T> value;
        error& failed = flight_.result().error();
        if (!failed && !flight_.thrown()) failed = wish_.fulfil(sink_);
        if (!failed && !flight_.thrown()) {
            if constexpr (std::is_same_v<Sink, discard_sink>)
                value.emplace(work_.executed());
            else
                value.emplace(std::move(sink_).take());
        }
        return simulated_outcome<T, Tries>(failed, flight_.thrown(), value);
    }

protected:
    Home home_;
    Bound statement_;
    Sink sink_;
    [[no_unique_address]] Wish wish_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

/// The calls of simulated sessions; each returns something to be awaited at once, and means what it means in `calls`. The
/// forms with `try_` give a `result`, the others throw `failure`.
template <class Self>
class simulated_calls {
public:
    template <class S>
    [[nodiscard]] auto execute(const S& statement, const call_options& o = {}) {
        return go<discard_sink, execution, false>(statement, o);
    }
    template <class S>
    [[nodiscard]] auto try_execute(const S& statement, const call_options& o = {}) {
        return go<discard_sink, execution, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_one(const S& statement, const call_options& o = {}) {
        return go<one_sink<T>, T, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_maybe_one(const S& statement, const call_options& o = {}) {
        return go<maybe_one_sink<T>, std::optional<T>, true>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, false>(statement, o);
    }
    template <class T, class S>
    [[nodiscard]] auto try_all(const S& statement, const call_options& o = {}) {
        return go<all_sink<T>, std::vector<T>, true>(statement, o);
    }

private:
    template <class Sink, class T, bool Tries, class S>
    auto go(const S& statement, const call_options& o) {
        if constexpr (!detail::is_marked<S>) {
            return perform<Sink, T, Tries>(detail::as_bound(statement), o);
        } else if constexpr (detail::fulfils_wishes<S, Self>()) {
            return perform<Sink, T, Tries>(statement.bound, o, statement.template wish_for<Sink>());
        } else {
            return perform<Sink, T, Tries>(statement.bound, o);
        }
    }
    template <class Sink, class T, bool Tries, class Bound, class... Wish>
    auto perform(const Bound& bound, const call_options& o, Wish... wish) {
        Self& self = static_cast<Self&>(*this);
        if (error e = detail::check_placement(self, bound)) throw_failure(std::move(e));
        auto kept = bound.own();
        using job =
            detail::simulated_statement<decltype(self.home()), decltype(kept), Sink, T, Self::where == scope::transaction, Tries, Wish...>;
        return detail::simulated_call<job>{std::in_place, self.home(), std::move(kept), o, std::move(wish)...};
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// The face of a stack for simulated clients, and their transactions, whose closures are coroutines of the simulation.
#ifndef STRATA_TESTING_SIMULATED_DATABASE_HPP
#define STRATA_TESTING_SIMULATED_DATABASE_HPP

namespace strata::inline STRATA_ABI {

/// An open transaction (or savepoint) as a simulated client sees it. Lives as long as the closure runs; one call at a time.
template <class Runtime>
class simulated_transaction : public simulated_calls<simulated_transaction<Runtime>> {
public:
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    simulated_transaction(Runtime& rt, connection& c, operation_base& op, detail::transaction_state& state, unsigned depth) noexcept
        : rt_(rt), connection_(c), op_(op), state_(state), depth_(depth) {}
    simulated_transaction(const simulated_transaction&) = delete;
    simulated_transaction& operator=(const simulated_transaction&) = delete;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto transaction(Closure closure) -> std::invoke_result_t<Closure&, simulated_transaction&> {
        using value = typename std::invoke_result_t<Closure&, simulated_transaction&>::value_type;
        if (!state_.use.enter(depth_)) throw_failure(state_.use.refusal());
        error entered = connection_.control(driver::savepoint(depth_ + 1));
        state_.use.leave(entered ? depth_ : depth_ + 1);
        if (entered) throw_failure(std::move(entered));
        const detail::transaction_hooks::mark before = state_.hooks.now();
        simulated_transaction inner{rt_, connection_, op_, state_, depth_ + 1};
        std::exception_ptr thrown;
        std::optional<detail::storable<value>> returned;
        try {
            if constexpr (std::is_void_v<value>) {
                co_await closure(inner);
                returned.emplace();
            } else {
                returned.emplace(co_await closure(inner));
            }
        } catch (...) {
            thrown = std::current_exception();
        }
        const bool failed = thrown || detail::holds_error(*returned);
        if (!state_.use.enter(depth_ + 1)) throw_failure(state_.use.doom_unfinished());
        error left = failed ? undo() : connection_.control(driver::release(depth_ + 1));
        state_.use.leave(depth_);
        if (failed) state_.hooks.run(false, before);
        if (left) state_.use.note(left);
        if (left && !thrown) throw_failure(std::move(left));
        if (thrown) std::rethrow_exception(thrown);
        if constexpr (!std::is_void_v<value>) co_return std::move(*returned);
    }

    /// Number of the attempt, from 1.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }

    /// See `basic_transaction::on_commit`.
    template <class F>
    void on_commit(F&& f) {
        state_.hooks.add(true, std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        state_.hooks.add(false, std::forward<F>(f));
    }

    /// For `simulated_calls`.
    [[nodiscard]] auto home() {
        return detail::pinned_home<Runtime>{rt_, detail::pinned_source<driver>{connection_, state_.use, depth_}, &op_, nullptr};
    }

private:
    [[nodiscard]] error undo() {
        if (!connection_.in_transaction()) return {};
        if (error e = connection_.control(driver::rollback_to(depth_ + 1))) return e;
        return connection_.control(driver::release(depth_ + 1));
    }

    Runtime& rt_;
    connection& connection_;
    operation_base& op_;
    detail::transaction_state& state_;
    unsigned depth_;
};

namespace detail {

/// BEGIN, the closure's coroutine, COMMIT or ROLLBACK.
template <class Runtime, class Closure>
class simulated_transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = simulated_transaction<Runtime>;
    using task = std::invoke_result_t<Closure&, handle&>;

public:
    using value = typename task::value_type;

    simulated_transaction_work(Runtime& rt, Closure closure, const transaction_plan<driver>& plan)
        : rt_(rt), closure_(std::move(closure)), plan_(plan) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const guarded guard{c, &op};
        if (!handle_) {
            thrown = nullptr;
            returned.reset();
            state.run_before_attempt();
            course_.emplace(plan_, op.attempt);
            error e;
            if (course_->begin(c, e) == signal::failed) {  // the drivers that are simulated take no time for it
                result.replace(std::move(e));
                return signal::failed;
            }
            state.use.begin();
            handle_.emplace(rt_, c, op, state, 0u);
            op.handed_over = runs_once<Closure>;
            return signal::call;
        }
        error e = take();
        if (!state.use.try_end() && !e) e = state.use.doom_unfinished();
        e = verdict_of(state.use, std::move(e));
        if (!e) e = stopped(op, rt_.world());
        const signal s = e ? course_->roll_back(c, e) : course_->commit(c, e);
        if (s == signal::failed) result.replace(std::move(e));
        return s;
    }
    void end() noexcept {
        running_.reset();  // before the connection goes back
        handle_.reset();
    }
    void call(simulated_loop& loop, continuation done) {
        running_.emplace(closure_(*handle_));
        running_->start(loop, done);
    }

    std::exception_ptr thrown;  ///< what the closure threw, unless it was ours
    std::optional<storable<value>> returned;
    transaction_state state;

private:
    [[nodiscard]] error take() {
        try {
            if constexpr (std::is_void_v<value>) {
                running_->take();
                returned.emplace();
            } else {
                returned.emplace(running_->take());
                if (holds_error(*returned)) return error_in(*returned);
            }
            return {};
        } catch (const failure& f) {
            return told_by_closure(f.error());
        } catch (...) {
            thrown = std::current_exception();
            return error{errc::user_exception, phase::execute};
        }
    }

    Runtime& rt_;
    Closure closure_;
    const transaction_plan<driver> plan_;
    std::optional<transaction_course<driver>> course_;
    std::optional<handle> handle_;
    std::optional<task> running_;
};

template <class Runtime, class Closure, bool Tries>
class simulated_transaction_job {
    using work_type = simulated_transaction_work<Runtime, Closure>;
    using op_type = operation<transaction_facts>;

public:
    simulated_transaction_job(runtime_home<Runtime> home, Closure closure, const transaction_options<typename Runtime::driver>& o)
        : home_(std::move(home)), work_(home_.runtime(), std::move(closure), plan_of(home_.runtime(), o)),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        op_.name = o.name;
        op_.tags = o.tags;
        op_.priority = o.priority;
        op_.reads_only = o.read_only;
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, nullptr);
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] need begin() noexcept { return flight_.start(); }
    [[nodiscard]] need resume() noexcept { return flight_.resume(); }
    [[nodiscard]] time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] bool is_queued() const noexcept { return flight_.is_queued(); }
    void call(simulated_loop& loop, continuation done) { work_.call(loop, done); }
    [[nodiscard]] auto take() {
        using value = typename work_type::value;
        work_.state.run_hooks(flight_.result().error());
        error& failed = flight_.result().error();
        // An error-valued result comes out as it is, unless the database had another say.
        if (failed && work_.returned && holds_error(*work_.returned) && !Tries) failed = {};
        return simulated_outcome<value, Tries>(failed, flight_.thrown() ? flight_.thrown() : work_.thrown, work_.returned);
    }

private:
    runtime_home<Runtime> home_;
    op_type op_;
    work_type work_;
    flight<typename Runtime::world_type, typename Runtime::interceptors, typename Runtime::source, op_type, work_type> flight_;
};

}  // namespace detail

class hedge;
template <class Database>
class simulated_hedged;

namespace detail {

/// Filled in by testing/simulated_hedged.hpp.
template <class Database, bool HedgedIncluded>
struct simulated_hedged_calls {
    static int of(const Database&, hedge&) {
        static_assert(!HedgedIncluded, "strata: db.hedged(h) needs  #include <strata/testing/simulated_hedged.hpp>");
        return 0;
    }
};

}  // namespace detail

/// A database as simulated clients see it. Cheap to copy; calls keep the runtime alive. The world must outlive it.
template <class Stack>
class simulated_database : public simulated_calls<simulated_database<Stack>> {
public:
    using runtime_type = runtime<Stack, simulated_world>;
    using driver = typename runtime_type::driver;
    /// What a transaction's closure gets.
    using transaction_type = simulated_transaction<runtime_type>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::database;

    /// Options by type, in any order, as for `database`. Connecting may pass time in the world.
    template <class... Options>
    explicit simulated_database(simulated_world& world, const Options&... options)
        : rt_(std::make_shared<runtime_type>(world, options...)) {}
    /// The same runtime as a blocking database in the same world.
    explicit simulated_database(const database<Stack, simulated_world>& db) : rt_(db.shared_runtime()) {}

    /// Runs the coroutine closure in a transaction; see `database::transaction`.
    template <class Closure>
    [[nodiscard]] auto transaction(Closure closure, const transaction_options<driver>& o = {}) {
        return detail::simulated_call<detail::simulated_transaction_job<runtime_type, Closure, false>>{std::in_place, home(),
                                                                                                       std::move(closure), o};
    }
    template <class Closure>
    [[nodiscard]] auto try_transaction(Closure closure, const transaction_options<driver>& o = {}) {
        return detail::simulated_call<detail::simulated_transaction_job<runtime_type, Closure, true>>{std::in_place, home(),
                                                                                                      std::move(closure), o};
    }

    /// The same database for hedged reads; see `async_database::hedged`. `h` must outlive the calls.
    template <class Self = simulated_database>
    [[nodiscard]] auto hedged(hedge& h) const {
        return detail::simulated_hedged_calls<Self, true>::of(*this, h);
    }

    /// As `database::close`; not from within a client.
    void close(duration grace = std::chrono::seconds{5}) noexcept { rt_->close(grace); }
    template <class P>
    [[nodiscard]] P& policy() noexcept {
        return rt_->template policy<P>();
    }
    [[nodiscard]] auto connections() noexcept { return rt_->connections().snapshot(); }
    /// The source itself, to steer: `db.source().resize(4)`, `db.source().retire_all()`. Thread-safe.
    [[nodiscard]] auto& source() noexcept { return rt_->connections(); }
    [[nodiscard]] const std::shared_ptr<runtime_type>& shared_runtime() const noexcept { return rt_; }

    /// For `simulated_calls`.
    [[nodiscard]] detail::runtime_home<runtime_type> home() { return detail::runtime_home<runtime_type>{rt_}; }

private:
    std::shared_ptr<runtime_type> rt_;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
