// A connection in the hands of asynchronous code: a pinned session, or a transaction that is ended by hand.
#ifndef STRATA_ASYNC_HELD_HPP
#define STRATA_ASYNC_HELD_HPP

#include <strata/async/transaction.hpp>
#include <strata/transaction/held.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// The end of a held connection that nobody has ended: when its handle and the calls on it are all gone it is rolled back and
/// returned on a work thread.
template <class Runtime, operation_facts Facts>
struct give_back_later {
    asio_world world;

    void operator()(holding<Runtime, Facts>* h) const {
        std::unique_ptr<holding<Runtime, Facts>> last{h};
        if (last->work.held == nullptr) return;
        try {
            auto workers = world.workers();
            asio::post(workers, [last = std::move(last)] { static_cast<void>(last->give_back(ending::roll_back)); });
        } catch (const std::exception&) {  // no thread: here, then, unless it is gone already
            if (last != nullptr) static_cast<void>(last->give_back(ending::roll_back));
        }
    }
};

/// Takes the connection, or gives it back: the two halves of a held operation.
template <class Runtime, operation_facts Facts, class Form>
class holding_job {
    using value = typename Form::value;
    using state = holding<Runtime, Facts>;

public:
    using form = Form;

    /// Takes a connection.
    holding_job(const std::shared_ptr<Runtime>& rt, const asio_world& world, const transaction_options<typename Runtime::driver>& o,
                const std::optional<transaction_plan<typename Runtime::driver>>& begin, const std::source_location& where)
        : state_(new state(rt, begin), give_back_later<Runtime, Facts>{world}), world_(world) {
        state_->where = where;
        state_->op.name = o.name;
        state_->op.tags = o.tags;
        state_->op.priority = o.priority;
        state_->op.reads_only = o.read_only;
        state_->op.deadline = deadline_of(rt->world(), o.deadline, nullptr);
    }
    /// Gives it back.
    holding_job(std::shared_ptr<state> s, const asio_world& world, ending how) noexcept : state_(std::move(s)), world_(world), how_(how) {}

    [[nodiscard]] operation_base& op() noexcept { return state_->op; }
    [[nodiscard]] need begin() noexcept {
        if (!how_) return state_->f.start();
        in_use_ = !state_->work.state.use.try_end();
        if (in_use_) return need::done;  // who uses it keeps it alive; then it is rolled back
        state_->work.how = *how_;
        if constexpr (Runtime::driver::blocking)
            return need::work;
        else
            return state_->f.resume();
    }
    [[nodiscard]] auto& flown() noexcept { return state_->f; }

    [[nodiscard]] answer<Form> take_result() {
        answer<Form> a;
        if (in_use_) {
            a.failed = state_->work.state.use.doom_unfinished();
            return a;
        }
        if (how_) state_->run_hooks();
        const bool here = state_->work.held != nullptr;
        state_->note_place();
        if (!here) {
            a.failed = std::move(state_->f.result().error());
            a.thrown = std::move(state_->f.thrown());
        }
        if (!a.failed && !a.thrown) {
            if constexpr (std::is_void_v<value>)
                a.value.emplace();
            else
                a.value.emplace(value{std::move(state_), world_});
        }
        return a;
    }

private:
    std::shared_ptr<state> state_;
    asio_world world_;
    std::optional<ending> how_;
    bool in_use_ = false;
};

/// What a handle owns.
template <class Runtime, operation_facts Facts>
class held_connection {
public:
    using state = holding<Runtime, Facts>;

    held_connection() noexcept = default;
    held_connection(std::shared_ptr<state> s, asio_world w) : state_(std::move(s)), world_(std::in_place, std::move(w)) {}

    [[nodiscard]] state& get() {
        if (state_ == nullptr) throw_failure(error{errc::misuse, "the handle is empty: it was ended or moved from", phase::admission});
        return *state_;
    }
    [[nodiscard]] const std::shared_ptr<state>& shared() {
        static_cast<void>(get());
        return state_;
    }
    [[nodiscard]] std::shared_ptr<state> take() {
        static_cast<void>(get());
        return std::move(state_);
    }
    [[nodiscard]] const asio_world& world() const noexcept { return *world_; }

private:
    std::shared_ptr<state> state_;
    std::optional<asio_world> world_;
};

/// What sessions and transactions in the user's hands share. `Scope` says which.
template <class Runtime, operation_facts Facts, scope Scope>
class async_held : public async_calls<async_held<Runtime, Facts, Scope>>,
                   public async_extensions<async_held<Runtime, Facts, Scope>, typename Runtime::interceptors> {
public:
    using driver = typename Runtime::driver;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = Scope;

    async_held() noexcept = default;  // Asio needs an empty one to complete with an error
    async_held(std::shared_ptr<holding<Runtime, Facts>> s, const asio_world& w) : held_(std::move(s), w) {}

    /// The driver's own handle. Not while a call is on its way.
    [[nodiscard]] auto native_handle() { return held_.get().work.held->native_handle(); }

    // For `async_calls`.
    [[nodiscard]] auto home(bool alone = true) {
        auto& s = held_.get();
        using source = pinned_source<driver>;
        return pinned_home<Runtime>{*s.rt,
                                    Scope == scope::transaction ? source{*s.work.held, s.work.state.use, 0, alone} : source{*s.work.held},
                                    &s.op, held_.shared()};
    }
    [[nodiscard]] unsigned depth_of_batch() const noexcept { return Scope == scope::transaction ? 1 : 0; }
    [[nodiscard]] const asio_world& world() const noexcept { return held_.world(); }
    template <class Form, class Bound, class Sink, class Token>
    auto async_perform(Bound statement, Sink sink, const call_options& o, Token&& token) {
        return start_statement<Form>(*this, std::move(statement), std::move(sink), o, std::forward<Token>(token));
    }
    template <class T, class Bound>
    auto stream_of(Bound statement, const call_options& o, std::size_t batch) {
        using state = async_stream_state<pinned_home<Runtime>, Bound, T, true>;
        return async_row_stream<T, state>{std::make_shared<state>(home(false), std::move(statement), o, batch), world()};
    }

protected:
    template <class Form, class Token>
    auto finish(ending how, Token&& token) {
        auto last = held_.take();
        const asio_world w = held_.world();
        return start<holding_job<Runtime, Facts, Form>>(w, std::forward<Token>(token), std::move(last), w, how);
    }
    [[nodiscard]] const std::shared_ptr<holding<Runtime, Facts>>& shared() { return held_.shared(); }

private:
    held_connection<Runtime, Facts> held_;
};

}  // namespace detail

/// A pinned connection. It goes back when the handle dies, or by `async_release`.
template <class Runtime>
class async_session_handle : public detail::async_held<Runtime, detail::session_facts, scope::session> {
public:
    using detail::async_held<Runtime, detail::session_facts, scope::session>::async_held;

    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using transaction_type = async_transaction_handle<Runtime>;

    /// A transaction on this very connection. Like `async_database::async_transaction`, it may be repeated.
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, Token&& token = {}) {
        return async_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        return run<detail::throwing<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), o, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, Token&& token = {}) {
        return async_try_transaction(std::move(closure), transaction_options<driver>{}, std::forward<Token>(token));
    }
    template <class Closure, detail::completion Token = detail::default_token>
    auto async_try_transaction(Closure closure, const transaction_options<driver>& o, Token&& token = {}) {
        return run<detail::trying<detail::awaited_value<Closure, transaction_type>>>(std::move(closure), o, std::forward<Token>(token));
    }

    /// Gives the connection back and waits for it. The handle is empty after it.
    template <class Token = detail::default_token>
    auto async_release(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::give_back, std::forward<Token>(token));
    }

private:
    template <class Form, class Closure, class Token>
    auto run(Closure closure, const transaction_options<driver>& o, Token&& token) {
        using job = detail::transaction_job<detail::pinned_home<Runtime>, Closure, Form>;
        return detail::start<job>(this->world(), std::forward<Token>(token), this->home(), this->world(), std::move(closure), o);
    }
};

/// A transaction in the user's hands. Dropped without `async_commit` it is rolled back.
template <class Runtime>
class async_owned_transaction : public detail::async_held<Runtime, detail::transaction_facts, scope::transaction> {
public:
    using detail::async_held<Runtime, detail::transaction_facts, scope::transaction>::async_held;

    using transaction_type = async_transaction_handle<Runtime>;

    /// A savepoint around a coroutine closure; see `basic_transaction::transaction`.
    template <class Closure>
    auto async_transaction(Closure closure) -> asio::awaitable<detail::awaited_value<Closure, transaction_type>> {
        const auto keep = this->shared();
        const asio_world w = this->world();
        transaction_type self{*keep->rt, w, *keep->work.held, keep->op, keep->work.state, 0};
        co_return co_await self.async_transaction(std::move(closure));
    }
    template <class Closure>
    auto async_try_transaction(Closure closure) {
        return detail::caught<detail::awaited_value<Closure, transaction_type>>(async_transaction(std::move(closure)));
    }

    /// See `basic_transaction::on_commit`; they run on the handler's executor, on a work thread where the handle is dropped.
    template <class F>
    void on_commit(F&& f) {
        this->shared()->work.state.add_hook(0, true, std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        this->shared()->work.state.add_hook(0, false, std::forward<F>(f));
    }

    /// Completes with `void(std::exception_ptr)`; the handle is empty after it, whatever comes out. `errc::misuse`, and a rollback, while a
    /// call on it is on its way.
    template <class Token = detail::default_token>
    auto async_commit(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::commit, std::forward<Token>(token));
    }
    template <class Token = detail::default_token>
    auto async_try_commit(Token&& token = {}) {
        return this->template finish<detail::trying<void>>(detail::ending::commit, std::forward<Token>(token));
    }
    template <class Token = detail::default_token>
    auto async_rollback(Token&& token = {}) {
        return this->template finish<detail::throwing<void>>(detail::ending::roll_back, std::forward<Token>(token));
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
