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
#include <strata/core/health.hpp>
#include <strata/transaction/run.hpp>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
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

/// Enters, leaves or undoes a savepoint.
template <class Runtime>
class control_job {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    using form = trying<void>;
    enum class what : std::uint8_t { enter, leave, undo };

    control_job(typename driver::connection& c, operation_base& outer, what w, unsigned depth) noexcept
        : connection_(c), what_(w), savepoint_(depth) {
        op_.deadline = outer.deadline;
    }
    [[nodiscard]] operation_base& op() noexcept { return op_; }
    [[nodiscard]] control_job& flown() noexcept { return *this; }
    [[nodiscard]] need start() noexcept {
        if constexpr (driver::blocking)
            return need::work;
        else
            return resume();
    }
    [[nodiscard]] need resume() noexcept {
        const guarded unhurried{connection_, nullptr};
        if constexpr (yielding_connection<connection>) connection_.may_yield(true);
        signal s = signal::done;
        try {
            s = step();
        } catch (...) {
            failed_ = error{errc::out_of_memory, phase::execute};
        }
        return has_ended(s) ? need::done : s == signal::io ? need::io : need::work;
    }
    [[nodiscard]] time_point parked_until() const noexcept { return never; }
    [[nodiscard]] io_wait awaited() noexcept
        requires yielding_connection<connection>
    {
        return connection_.awaited();
    }
    [[nodiscard]] watch_place& watch() noexcept
        requires yielding_connection<connection>
    {
        return connection_.watch();
    }
    [[nodiscard]] answer<form> take_result() {
        answer<form> a{std::move(failed_), nullptr, {}};
        if (!a.failed) a.value.emplace();
        return a;
    }

private:
    [[nodiscard]] signal step() {
        if (what_ == what::undo) return savepoint_.undo(connection_);
        if (!connection_.in_transaction()) {
            failed_ = error{errc::transaction_aborted, "the transaction has ended", phase::execute, effect::rolled_back};
            return signal::failed;
        }
        return what_ == what::enter ? savepoint_.enter(connection_, failed_) : savepoint_.leave(connection_, failed_);
    }

    connection& connection_;
    operation_base op_;
    what what_;
    savepoint<driver> savepoint_;
    error failed_;
};

}  // namespace detail

/// An open transaction (or savepoint) as a coroutine closure sees it. Lives as long as the closure runs; one call at a time.
template <class Runtime>
class async_transaction_handle : public async_calls<async_transaction_handle<Runtime>>,
                                 public detail::async_extensions<async_transaction_handle<Runtime>, typename Runtime::interceptors> {
public:
    using transaction_type = async_transaction_handle;
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    async_transaction_handle(Runtime& rt, const asio_world& world, connection& c, operation_base& op, unsigned depth)
        : rt_(rt), world_(world), connection_(c), op_(op), depth_(depth) {}
    async_transaction_handle(const async_transaction_handle&) = delete;
    async_transaction_handle& operator=(const async_transaction_handle&) = delete;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, async_transaction_handle>> {
        using value = detail::awaited_value<Closure, async_transaction_handle>;
        using what = typename detail::control_job<Runtime>::what;
        auto entered = co_await control(what::enter);
        if (!entered) throw_failure(std::move(entered).error());
        async_transaction_handle inner{rt_, world_, connection_, op_, depth_ + 1};
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
        auto left = co_await control(failed ? what::undo : what::leave);
        if (thrown) std::rethrow_exception(thrown);
        if (!failed && !left) throw_failure(std::move(left).error());
        if constexpr (!std::is_void_v<value>) co_return std::move(*returned);
    }
    /// The same; failures of the database come as a `result`, exceptions of the closure are thrown.
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, async_transaction_handle>>(async_transaction(std::move(closure)));
    }

    /// Number of the attempt, from 1.
    [[nodiscard]] unsigned attempt() const noexcept { return op_.attempt; }

    // For `async_calls`.
    [[nodiscard]] auto home() { return detail::pinned_home<Runtime>{rt_, connection_, true, &op_, nullptr}; }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return depth_ + 1; }
    [[nodiscard]] const asio_world& world() const noexcept { return world_; }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return detail::start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = detail::async_stream_state<detail::pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(), std::move(statement), o, batch), world_};
    }

private:
    auto control(typename detail::control_job<Runtime>::what w) {
        detail::default_token token;
        return detail::start<detail::control_job<Runtime>>(world_, token, std::ref(connection_), std::ref(op_), w, depth_ + 1);
    }

    Runtime& rt_;
    const asio_world& world_;
    connection& connection_;
    operation_base& op_;
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
    async_transaction_work(Runtime& rt, const asio_world& world, Closure closure, typename driver::locking locking)
        : rt_(rt), world_(world), closure_(std::move(closure)), locking_(locking) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = connection_ == nullptr ? enter(c, op) : leave(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { connection_ = nullptr; }

    /// Starts the closure; `done` is called on the executor when it has ended.
    template <class Executor, class Done>
    void call(const Executor& ex, Done done) {
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

private:
    [[nodiscard]] signal enter(connection& c, operation_base& op) {
        thrown = nullptr;
        returned.reset();
        const guarded guard{c, &op};
        const signal s = control(c, driver::begin(locking_), error_);
        if (s != signal::done) return s;
        connection_ = &c;
        op_ = &op;
        ending_ = false;
        return signal::call;
    }
    [[nodiscard]] signal leave(connection& c, operation_base& op) {
        if (!std::exchange(ending_, true)) {
            end_ = {};
            error_ = {};
            if (thrown)
                error_ = own_error();
            else if (returned && holds_error(*returned))
                error_ = error_in(*returned);
            if (!error_) error_ = stopped(op, rt_.world());  // also when the cancel was there before the closure
            commits_ = !error_;
        }
        return commits_ ? end_.commit(c, error_) : end_.roll_back(c, error_);
    }

    /// Total cancellation is let through: by default a coroutine would not see it.
    asio::awaitable<void> run() {
        co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
        co_await asio::this_coro::throw_if_cancelled(false);
        handle tx{rt_, world_, *connection_, *op_, 0};
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
    typename driver::locking locking_;
    connection* connection_ = nullptr;
    operation_base* op_ = nullptr;
    transaction_end<driver> end_;
    error error_;
    bool ending_ = false;
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
        : home_(std::move(home)), world_(world), work_(home_.runtime(), world_, std::move(closure), o.locking_or_default()),
          flight_(home_.runtime().world(), home_.runtime().policies(), home_.source(), op_, work_) {
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
