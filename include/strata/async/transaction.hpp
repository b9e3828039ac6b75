// Transactions whose closures are coroutines.
//
//   co_await adb.async_transaction([&](auto& tx) -> asio::awaitable<void> {
//       co_await tx.async_execute(add("amount"_arg = -100, "id"_arg = 1));
//       co_await tx.async_execute(add("amount"_arg = +100, "id"_arg = 2));
//   });
//
// g++ 12 destroys twice what a lambda written in a co_await expression captures by value (clang is right): capture by reference,
// or bind the closure first: `auto body = [name](auto& tx) -> ... { ... }; co_await adb.async_transaction(body);`.
#ifndef STRATA_ASYNC_TRANSACTION_HPP
#define STRATA_ASYNC_TRANSACTION_HPP

#include <strata/async/calls.hpp>
#include <strata/async/caught.hpp>
#include <strata/async/home.hpp>
#include <strata/async/savepoint.hpp>
#include <strata/core/health.hpp>
#include <strata/transaction/run.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class T>
struct awaited;
template <class T, class Executor>
struct awaited<asio::awaitable<T, Executor>> {
    using type = T;
};

template <class Closure, class Handle>
using awaited_value = typename awaited<std::remove_cvref_t<std::invoke_result_t<Closure&, Handle&>>>::type;

}  // namespace detail

/// An open transaction (or savepoint) as a coroutine closure sees it. Lives as long as the closure runs; one call at a time: a second one
/// is refused with `errc::misuse`, and so is the handle of an outer level while a savepoint is open.
template <class Runtime>
class async_transaction_handle : public async_calls<async_transaction_handle<Runtime>>,
                                 public detail::async_extensions<async_transaction_handle<Runtime>, typename Runtime::interceptors> {
public:
    using transaction_type = async_transaction_handle;
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    async_transaction_handle(Runtime& rt, const asio_world& world, connection& c, operation_base& op, detail::transaction_state& state,
                             unsigned depth)
        : rt_(rt), world_(world), connection_(c), op_(op), state_(state), depth_(depth) {}
    async_transaction_handle(const async_transaction_handle&) = delete;
    async_transaction_handle& operator=(const async_transaction_handle&) = delete;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, async_transaction_handle>> {
        using value = detail::awaited_value<Closure, async_transaction_handle>;
        using what = typename detail::control_job<Runtime>::what;
        detail::assert_kept<value, async_transaction_handle>();
        auto entered = co_await control(what::enter);
        if (!entered) throw_failure(std::move(entered).error());
        const detail::transaction_hooks::mark before = state_.hooks.now();
        async_transaction_handle inner{rt_, world_, connection_, op_, state_, depth_ + 1};
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
        // What follows must be said whatever was cancelled: a coroutine that throws on its next co_await would leave the savepoint open.
        const bool throws = co_await asio::this_coro::throw_if_cancelled();
        co_await asio::this_coro::throw_if_cancelled(false);
        bool failed = thrown || detail::holds_error(*returned);
        if (!failed) {
            auto left = co_await control(what::leave);
            failed = !left;
            if (failed) thrown = std::make_exception_ptr(failure(std::move(left).error()));
        }
        if (failed) {
            const auto undone = co_await control(what::undo);
            if (undone) state_.hooks.run(false, before);
        }
        co_await asio::this_coro::throw_if_cancelled(throws);
        if (thrown) detail::rethrow_undone(thrown);
        if constexpr (detail::our_result<value>) {
            if (failed) {
                error e = returned->error();
                e.set(effect::rolled_back);
                co_return detail::failed_value(std::move(*returned), std::move(e));
            }
        }
        if constexpr (!std::is_void_v<value>) co_return std::move(*returned);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, async_transaction_handle>>(async_transaction(std::move(closure)));
    }

    /// See `basic_transaction::on_commit`; the hook is a plain function and runs on the handler's executor.
    template <class F>
    void on_commit(F&& f) {
        state_.add_hook(depth_, true, std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        state_.add_hook(depth_, false, std::forward<F>(f));
    }

    /// Number of the attempt, from 1.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }

    // For `async_calls`.
    [[nodiscard]] auto home(bool alone = true) {
        return detail::pinned_home<Runtime>{rt_, detail::pinned_source<driver>{connection_, state_.use, depth_, alone}, &op_, nullptr};
    }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return depth_ + 1; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(false), std::move(statement), o, batch), world_};
    }

private:
    auto control(typename detail::control_job<Runtime>::what w) {
        detail::default_token token;
        return detail::start<detail::control_job<Runtime>>(world_, token, std::ref(connection_), std::ref(op_), std::ref(state_.use), w,
                                                           depth_ + 1);
    }

    Runtime& rt_;
    const asio_world& world_;
    connection& connection_;
    operation_base& op_;
    detail::transaction_state& state_;
    unsigned depth_;
};

namespace detail {

/// BEGIN, the closure on the caller's executor, COMMIT or ROLLBACK.
template <class Runtime, class Closure>
class async_transaction_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    using handle = async_transaction_handle<Runtime>;
    using value = awaited_value<Closure, handle>;

public:
    async_transaction_work(Runtime& rt, const asio_world& world, Closure closure, const transaction_plan<driver>& plan)
        : rt_(rt), world_(world), closure_(std::move(closure)), plan_(plan) {
        assert_kept<value, handle>();
    }

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = connection_ == nullptr ? enter(c, op) : leave(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept {
        connection_ = nullptr;
        course_.reset();
    }

    /// Does on the executor what only the user's code can, and calls `done` there when it has ended: the closure; before another attempt,
    /// the hooks of the one before; after the closure, nothing, until whoever still uses its handle has left.
    template <class Executor, class Done>
    void call(const Executor& ex, Done done) {
        if (!course_) {
            state.run_before_attempt();
            return done();
        }
        if (late_) return await_others(ex, std::move(done));
        if (op_->is_cancelled()) return done();
        op_->handed_over = runs_once<Closure>;
        asio::co_spawn(asio::any_io_executor(ex), run(),
                       asio::bind_cancellation_slot(stop_.slot(), [this, done = std::move(done)](std::exception_ptr unstarted) mutable {
                           if (unstarted && !op_->is_cancelled()) thrown = std::move(unstarted);  // or cancelled before its first line
                           done();
                       }));
    }
    void cancel(asio::cancellation_type type) { stop_.emit(type); }

    std::exception_ptr thrown;  ///< what the closure threw, unless it was ours
    std::optional<storable<value>> returned;
    transaction_state state;

private:
    [[nodiscard]] signal enter(connection& c, operation_base& op) {
        if (!state.hooks.empty()) return signal::call;  // of the attempt before
        if (!course_) {
            thrown = nullptr;
            returned.reset();
            error_ = {};
            course_.emplace(plan_, op.attempt);
        }
        const guarded guard{c, &op};
        const signal s = course_->begin(c, error_);
        if (s != signal::done) return s;
        state.use.begin();
        connection_ = &c;
        op_ = &op;
        ending_ = late_ = false;
        return signal::call;
    }
    [[nodiscard]] signal leave(connection& c, operation_base& op) {
        if (!ending_) {
            if (!state.use.try_end()) [[unlikely]] {  // a call that nobody waited for
                if (!std::exchange(late_, true)) was_cancelled_ = op.cancelled.exchange(true, std::memory_order_relaxed);
                return signal::call;
            }
            if (late_) op.cancelled.store(was_cancelled_, std::memory_order_relaxed);
            ending_ = true;
            error_ = {};
            if (thrown)
                error_ = own_error();
            else if (returned && holds_error(*returned))
                error_ = error_in(*returned);
            if (!error_) error_ = stopped(op, rt_.world());  // also when the cancel was there before the closure
            if (late_) error_ = state.use.doom_unfinished();
            error_ = verdict_of(state.use, std::move(error_));
            commits_ = !error_;
        }
        return commits_ ? course_->commit(c, error_) : course_->roll_back(c, error_);
    }

    /// Looks now and then.
    template <class Executor, class Done>
    STRATA_COLD void await_others(const Executor& ex, Done done) {
        auto timer = std::make_unique<asio::steady_timer>(ex, std::chrono::milliseconds{1});
        asio::steady_timer& t = *timer;
        t.async_wait([this, ex, timer = std::move(timer), done = std::move(done)](const boost::system::error_code&) mutable {
            if (state.use.is_busy()) return await_others(ex, std::move(done));
            done();
        });
    }

    /// Total cancellation is let through: by default a coroutine would not see it.
    asio::awaitable<void> run() {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        handle& tx = handle_.emplace(rt_, world_, *connection_, *op_, state, 0u);
        try {
            if constexpr (std::is_void_v<value>) {
                co_await closure_(tx);
                returned.emplace();
            } else {
                returned.emplace(co_await closure_(tx));
            }
        } catch (...) {
            thrown = std::current_exception();
        }
    }

    /// Ours is an error like others, and so is what Asio throws after a cancel; what else the closure threw is kept for the caller.
    [[nodiscard]] error own_error() {
        try {
            std::rethrow_exception(thrown);
        } catch (const failure& f) {
            thrown = nullptr;
            return told_by_closure(f.error());
        } catch (const boost::system::system_error& s) {
            if (s.code() != asio::error::operation_aborted || !op_->is_cancelled()) return error{errc::user_exception, phase::execute};
            thrown = nullptr;
            return error{errc::cancelled, phase::execute};
        } catch (...) {
            return error{errc::user_exception, phase::execute};
        }
    }

    Runtime& rt_;
    const asio_world& world_;
    Closure closure_;
    const transaction_plan<driver> plan_;
    std::optional<handle> handle_;  // outlives the closure, so that it can refuse whoever uses it then
    connection* connection_ = nullptr;
    operation_base* op_ = nullptr;
    std::optional<transaction_course<driver>> course_;  // of this attempt
    error error_;
    bool ending_ = false;
    bool late_ = false;  // a call on the handle outlasts the closure; it is cancelled, and waited for
    bool was_cancelled_ = false;
    bool commits_ = false;
    asio::cancellation_signal stop_;
};

template <class Home, class Closure, class Form>
class transaction_job {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<transaction_facts>;
    using work_type = async_transaction_work<runtime_type, Closure>;

public:
    using form = Form;

    transaction_job(Home home, const asio_world& world, Closure closure, const transaction_options<typename runtime_type::driver>& o)
        : home_(std::move(home)), world_(world), work_(home_.runtime(), world_, std::move(closure), plan_of(home_.runtime(), o)),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
        assert_transactions<runtime_type>();
        op_.name = o.name;
        op_.tags = o.tags;
        op_.priority = o.priority;
        op_.reads_only = o.read_only;
        op_.deadline = deadline_of(home_.runtime().world(), o.deadline, home_.outer());
        op_.outer = home_.outer();
    }

    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] auto& flown() noexcept { return flight_; }
    static constexpr bool has_closure = true;
    template <class Executor, class Done>
    void call(const Executor& ex, Done&& done) {
        work_.call(ex, std::forward<Done>(done));
    }
    void cancel(asio::cancellation_type type) { work_.cancel(type); }

    [[nodiscard]] answer<Form> take_result() {
        work_.state.run_hooks(flight_.result().error());
        answer<Form> a{std::move(flight_.result().error()), flight_.thrown() ? flight_.thrown() : work_.thrown, {}};
        if (work_.returned && !a.failed) {
            a.value.emplace(std::move(*work_.returned));
        } else if (work_.returned && holds_error(*work_.returned)) {  // comes out as a value, which knows what became of it
            a.value.emplace(failed_value(std::move(*work_.returned), std::move(a.failed)));
            a.failed = {};
        }
        return a;
    }

private:
    Home home_;
    asio_world world_;
    op_type op_;
    work_type work_;
    flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type> flight_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
