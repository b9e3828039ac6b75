// Rows in batches, asynchronously: one hop to a work thread a batch, never one a row.
//
//   auto accounts = adb.rows<account>(query);
//   for (auto batch = co_await accounts.async_next(); !batch.empty(); batch = co_await accounts.async_next()) ...
#ifndef STRATA_ASYNC_STREAM_HPP
#define STRATA_ASYNC_STREAM_HPP

#include <strata/async/answer.hpp>
#include <strata/async/start.hpp>
#include <strata/perform.hpp>
#include <strata/value/sinks.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The operation behind a stream: it lives between the batches, holding its connection.
template <class Home, class Bound, class T, bool InsideTransaction>
class async_stream_state {
    using runtime_type = typename Home::runtime_type;
    using op_type = operation<facts_of_statement<Bound>(InsideTransaction)>;
    using work_type = statement_work<typename runtime_type::driver, Bound, batch_sink<T>>;

public:
    static constexpr bool blocking = runtime_type::driver::blocking;
    static constexpr bool inside_transaction = InsideTransaction;

    async_stream_state(Home h, Bound s, const call_options& o, std::size_t batch)
        : home(std::move(h)), statement(std::move(s)), sink(batch), work(statement, sink),
          f(std::in_place, home.runtime().world(), home.runtime().policies(), home.source(), op, work) {
        describe(op, statement, o);
        op.deadline = deadline_of(home.runtime().world(), o.deadline, home.outer());
        op.outer = home.outer();
    }

    Home home;
    Bound statement;
    batch_sink<T> sink;
    op_type op;
    work_type work;
    /// Gone once the stream has ended: the connection goes back with it.
    std::optional<
        flight<typename runtime_type::world_type, typename runtime_type::interceptors, typename Home::source_type, op_type, work_type>>
        f;
    bool started = false;
    bool busy = false;
};

/// One batch: drives the stream's flight to its next pause.
template <class State, class Form>
class next_batch_job {
public:
    using form = Form;

    /// A call that overlaps with another has an operation of its own, so that it cannot disturb the other's.
    explicit next_batch_job(std::shared_ptr<State> s) noexcept
        : state_(std::move(s)), overlaps_(state_->busy), mine_(!overlaps_ && state_->f.has_value()) {
        if (mine_) state_->busy = true;
    }
    next_batch_job(const next_batch_job&) = delete;
    next_batch_job& operator=(const next_batch_job&) = delete;
    /// Destroyed on its way, with its executor: the stream is over.
    ~next_batch_job() {
        if (mine_) state_->f.reset();
    }

    [[nodiscard]] operation_base& op() noexcept { return mine_ ? state_->op : idle_; }
    [[nodiscard]] need begin() noexcept {
        if (!mine_) return need::done;
        // A flight that pauses resumes where blocking is allowed.
        if (std::exchange(state_->started, true)) return last_ = resume_held();
        return last_ = state_->f->start();
    }
    [[nodiscard]] need resume() noexcept { return last_ = state_->f->resume(); }
    [[nodiscard]] auto& flown() noexcept { return *state_->f; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a;
        if (overlaps_) {
            a.failed = error{errc::misuse, "async_next was called while the batch before it is still on its way", phase::admission};
            return a;
        }
        if (!mine_) {
            a.value.emplace();  // the stream has ended before
            return a;
        }
        state_->busy = mine_ = false;
        if (last_ != need::item) {
            a.failed = std::move(state_->f->result().error());
            a.thrown = std::move(state_->f->thrown());
            state_->f.reset();
        }
        if (!a.failed && !a.thrown) a.value.emplace(std::exchange(state_->sink.batch(), {}));
        return a;
    }

private:
    [[nodiscard]] need resume_held() noexcept {
        if constexpr (State::blocking)
            return need::work;
        else
            return state_->f->resume();
    }

    std::shared_ptr<State> state_;
    operation_base idle_;
    need last_ = need::done;
    bool overlaps_;
    bool mine_;
};

}  // namespace detail

/// A stream of batches. One `async_next` at a time. It holds a connection from the first batch until the last one, or until
/// it is destroyed. Repeated by the stack's retry only until the first batch has arrived.
template <class T, class State>
class async_row_stream {
public:
    using state_type = State;
    async_row_stream(std::shared_ptr<State> s, asio_world w) noexcept : state_(std::move(s)), world_(std::move(w)) {}

    /// The next rows, at least one; none at the end. Completes with `void(std::exception_ptr, std::vector<T>)`.
    template <class Token = detail::default_token>
    auto async_next(Token&& token = {}) {
        return next<detail::throwing<std::vector<T>>>(std::forward<Token>(token));
    }
    /// Completes with `void(result<std::vector<T>>)`.
    template <class Token = detail::default_token>
    auto async_try_next(Token&& token = {}) {
        return next<detail::trying<std::vector<T>>>(std::forward<Token>(token));
    }

private:
    template <class Form, class Token>
    auto next(Token&& token) {
        return detail::start<detail::next_batch_job<State, Form>>(world_, std::forward<Token>(token), state_);
    }

    std::shared_ptr<State> state_;
    asio_world world_;
};

}  // namespace strata::inline STRATA_ABI

#endif
