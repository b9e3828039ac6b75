// A connection in the user's hands: a pinned session, or a transaction that the user ends by hand.
//
// It is one operation, admitted once; the layers above see its end when the handle is given back. It is never
// repeated, since nobody but the user knows what was done with it.
#ifndef STRATA_TRANSACTION_HELD_HPP
#define STRATA_TRANSACTION_HELD_HPP

#include <strata/transaction/run.hpp>

#include <atomic>
#include <memory>
#include <source_location>

namespace strata::inline STRATA_ABI {

namespace detail {

enum class ending : std::uint8_t { give_back, commit, roll_back };

/// First resume: begins (a transaction) and hands the connection over. Second: ends as told.
template <class Runtime>
class held_work {
    using driver = typename Runtime::driver;
    using connection = typename driver::connection;

public:
    /// `begin`: how the transaction begins; none for a session.
    explicit held_work(Runtime& rt, const std::optional<transaction_plan<driver>>& begin) noexcept : rt_(rt), begin_(begin) {}

    signal resume(connection& c, operation_base& op, outcome& result) {
        const signal s = held == nullptr ? take(c, op) : give_back(c, op);
        if (s == signal::failed) result.replace(std::move(error_));
        return s;
    }
    void end() noexcept { held = nullptr; }

    connection* held = nullptr;
    ending how = ending::give_back;
    transaction_state state;

    /// By the user, who can reach it through a session.
    [[nodiscard]] static bool is_closed(const connection& c) noexcept {
        if constexpr (requires { c.is_open(); })
            return !c.is_open();
        else
            return false;
    }

private:
    [[nodiscard]] signal take(connection& c, operation_base& op) {
        const guarded guard{c, &op};
        error_ = {};
        if (!course_) begin_ ? course_.emplace(*begin_, 1u) : course_.emplace();
        if (begin_) {
            const signal s = course_->begin(c, error_);
            if (s == signal::failed) course_.reset();
            if (s != signal::done) return s;
        }
        state.use.begin();
        ending_ = false;
        held = &c;
        return signal::item;
    }
    [[nodiscard]] signal give_back(connection& c, operation_base& op) {
        if (!ending_) {
            ending_ = true;
            if (is_closed(c)) {
                error_ = error{errc::misuse, "the connection was closed while it was held", phase::execute}.set(health::lost);
                return signal::failed;
            }
            if (how != ending::commit && !c.in_transaction()) return signal::done;
            left_open_ = how == ending::give_back;
            if (how == ending::commit) error_ = verdict_of(state.use, stopped(op, rt_.world()));
            commits_ = how == ending::commit && !error_;
        }
        const signal s = commits_ ? course_->commit(c, error_) : course_->roll_back(c, error_);
        if (s != signal::failed || how == ending::commit) return s;
        const bool lost = error_.health() != health::good;
        if (lost)
            error_ = error{errc::connection_lost, "the rollback failed", phase::commit, effect::unknown}.set(health::lost);
        else if (left_open_)
            error_ = error{errc::misuse, "the session ended in the middle of a transaction, which was rolled back", phase::commit,
                           effect::rolled_back};
        else
            error_ = {};
        return error_ ? signal::failed : signal::done;
    }

    Runtime& rt_;
    const std::optional<transaction_plan<driver>> begin_;
    std::optional<transaction_course<driver>> course_;
    error error_;
    bool ending_ = false;
    bool commits_ = false;
    bool left_open_ = false;
};

/// The operation behind a handle, at a fixed address.
template <class Runtime, operation_facts Facts>
struct holding {
    using op_type = operation<Facts>;
    using work_type = held_work<Runtime>;

    holding(std::shared_ptr<Runtime> r, const std::optional<transaction_plan<typename Runtime::driver>>& begin)
        : rt(std::move(r)), work(*rt, begin), f(rt->world(), rt->policies(), rt->connections(), op, work) {}

    std::shared_ptr<Runtime> rt;
    std::atomic<unsigned> closures{0};  ///< of a session: that run in a transaction on it
    std::source_location where{};       ///< where the user asked for it
    op_type op;
    work_type work;
    flight<typename Runtime::world_type, typename Runtime::interceptors, typename Runtime::source, op_type, work_type> f;

    /// Blocks until the connection is here.
    [[nodiscard]] error take() {
        static_cast<void>(drive(f, rt->world(), f.start()));
        if (f.thrown()) std::rethrow_exception(f.thrown());
        note_place();
        return work.held != nullptr ? error{} : std::move(f.result().error());
    }
    /// For the report of a leak.
    void note_place() noexcept {
        if constexpr (requires { rt->connections().lent_to(f.leased(), where); })
            if (work.held != nullptr) rt->connections().lent_to(f.leased(), where);
    }
    /// Blocks until the connection has been given back as told.
    [[nodiscard]] error give_back(ending how) {
        if (!work.state.use.try_end()) [[unlikely]]
            work.state.end_late(op);
        work.how = how;
        op.make_waker = nullptr;  // also where it was taken by a drive that waits
        static_cast<void>(drive(f, rt->world(), f.resume()));
        run_hooks();
        return std::move(f.result().error());
    }
    /// After its end.
    void run_hooks() noexcept {
        if (work.state.hooks.empty()) return;
        if (how_rolled_back()) return work.state.hooks.run(false);
        work.state.run_hooks(f.result().error());
    }
    /// As told, and so without an error.
    [[nodiscard]] bool how_rolled_back() noexcept { return work.how != ending::commit && f.result().ok(); }
};

inline constexpr operation_facts session_facts{.kind = operation_kind::pinned_session};

}  // namespace detail

/// A transaction in the user's hands (RAII). Destroyed without `commit()` it rolls back. Moves, does not copy.
/// One thread at a time, as a closure's: whoever comes while another is inside is refused with `errc::misuse`. To be destroyed, assigned to
/// or moved when nobody is. What it is made of, with the database, lives until then, also after its end.
template <class Runtime>
class owned_transaction : public calls<owned_transaction<Runtime>>,
                          public detail::extensions<owned_transaction<Runtime>, typename Runtime::interceptors> {
    using held = detail::holding<Runtime, detail::transaction_facts>;

public:
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::transaction;

    owned_transaction(owned_transaction&&) noexcept = default;
    owned_transaction& operator=(owned_transaction&& other) noexcept {
        std::swap(held_, other.held_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~owned_transaction() {
        if (held_ != nullptr && !held_->work.state.use.has_ended()) static_cast<void>(held_->give_back(detail::ending::roll_back));
    }

    /// Makes everything durable, or throws; either way the transaction has ended after it. But not where a statement or a savepoint of it
    /// is open, in this thread or another: then nothing is done, it goes on, and this is `errc::misuse`. So is `rollback`.
    void commit() {
        if (error e = finish(detail::ending::commit)) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_commit() {
        if (error e = finish(detail::ending::commit)) return e;
        return {};
    }
    void rollback() {
        if (error e = finish(detail::ending::roll_back)) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_rollback() {
        if (error e = finish(detail::ending::roll_back)) return e;
        return {};
    }

    /// A savepoint; see `basic_transaction::transaction`.
    template <class Closure>
    auto transaction(Closure&& closure) {
        return handle().transaction(closure);
    }

    /// See `basic_transaction::on_commit`; here they run in `commit`, `rollback` or the destructor.
    template <class F>
    void on_commit(F&& f) {
        handle().on_commit(std::forward<F>(f));
    }
    template <class F>
    void on_rollback(F&& f) {
        handle().on_rollback(std::forward<F>(f));
    }

    /// The same handle that a closure gets, for functions that take one.
    [[nodiscard]] basic_transaction<Runtime>& handle() {
        if (!handle_ || held_->work.state.use.has_ended()) throw_failure(gone());
        return *handle_;
    }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if (handle_ == nullptr) return ended.replace(gone());
        handle_->perform(statement, sink, done, o, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        return handle_ != nullptr ? handle_->perform_batch(statement, elements, done, o) : gone();
    }
    template <class F>
    error on_source(F&& f) {
        return handle_ != nullptr ? handle_->on_source(f) : gone();
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        return handle().open_stream(std::move(statement), std::move(sink), o);
    }

    /// Made by `begin()`.
    explicit owned_transaction(std::unique_ptr<held> h)
        : held_(std::move(h)),
          handle_(std::make_unique<basic_transaction<Runtime>>(*held_->rt, *held_->work.held, held_->op, held_->work.state, 0u)) {}

private:
    [[nodiscard]] STRATA_COLD static error gone() {
        return {errc::misuse, "the transaction has ended: it was committed, rolled back or moved from", phase::admission};
    }
    /// Frees nothing: another thread may be on its way in.
    [[nodiscard]] error finish(detail::ending how) {
        if (held_ != nullptr) {
            detail::transaction_use& use = held_->work.state.use;
            if (use.try_end_alone()) return held_->give_back(how);
            if (!use.has_ended()) return use.refusal();
        }
        return how == detail::ending::commit ? gone() : error{};
    }

    std::unique_ptr<held> held_;
    std::unique_ptr<basic_transaction<Runtime>> handle_;
};

/// A pinned connection: temporary tables, session settings and statements in sequence. It goes back to the source when the
/// handle dies, rolled back if needed; what else was set on it stays, so set back what you set. Moves, does not copy.
template <class Runtime>
class basic_session : public calls<basic_session<Runtime>>,
                      public detail::extensions<basic_session<Runtime>, typename Runtime::interceptors> {
    using held = detail::holding<Runtime, detail::session_facts>;

public:
    using runtime_type = Runtime;
    using driver = typename Runtime::driver;
    using transaction_type = basic_transaction<Runtime>;
    static constexpr strata::dialect dialect = driver::dialect;
    static constexpr scope where = scope::session;

    basic_session(basic_session&&) noexcept = default;
    basic_session& operator=(basic_session&& other) noexcept {
        std::swap(held_, other.held_);
        return *this;
    }
    ~basic_session() {
        if (held_ != nullptr) static_cast<void>(held_->give_back(detail::ending::give_back));
    }

    /// Gives the connection back now; the handle is empty after it. Throws `failure`: `errc::misuse` where a transaction was left open,
    /// which was rolled back. (The destructor does so silently; layers above see the error.) Within `transaction` nothing is done, and that
    /// is `errc::misuse`.
    void close() {
        if (error e = give_back()) throw_failure(std::move(e));
    }
    [[nodiscard]] result<void> try_close() {
        if (error e = give_back()) return e;
        return {};
    }

    /// A transaction on this very connection. Like `database::transaction`, it may be repeated.
    template <class Closure>
    auto transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        detail::pinned_source<driver> source{connection()};
        const inside here{*held_};
        return detail::run_transaction(*held_->rt, source, closure, o, &held_->op);
    }
    template <class Closure>
    auto try_transaction(Closure&& closure, const transaction_options<driver>& o = {}) {
        detail::pinned_source<driver> source{connection()};
        const inside here{*held_};
        return detail::try_run_transaction(*held_->rt, source, closure, o, &held_->op);
    }

    [[nodiscard]] auto native_handle() { return connection().native_handle(); }
    [[nodiscard]] typename driver::connection& connection() {
        if (held_ == nullptr) throw_failure(gone());
        return *held_->work.held;
    }

    /// For `calls`.
    template <class Bound, class Sink>
    void perform(const Bound& statement, Sink& sink, execution& done, const call_options& o, outcome& ended) {
        if (held_ == nullptr) return ended.replace(gone());
        detail::pinned_source<driver> source{connection()};
        detail::perform_statement<true>(*held_->rt, source, statement, sink, done, o, &held_->op, ended);
    }
    template <class Statement, class Range>
    error perform_batch(const Statement& statement, const Range& elements, execution& done, const call_options& o) {
        if (held_ == nullptr) return gone();
        detail::pinned_source<driver> source{connection()};
        return detail::perform_batch<false>(*held_->rt, source, statement, elements, 0, done, o, &held_->op);
    }
    template <class F>
    error on_source(F&& f) {
        if (held_ == nullptr) return gone();
        detail::pinned_source<driver> source{connection()};
        return f(*held_->rt, source, 0u, static_cast<const interruption*>(&held_->op));
    }
    template <class Bound, class Sink>
    auto open_stream(Bound statement, Sink sink, const call_options& o) {
        using source = detail::own_source<detail::pinned_source<driver>>;
        using state = detail::stream_state<Runtime, source, Bound, Sink, true>;
        return std::make_unique<state>(*held_->rt, source{detail::pinned_source<driver>{connection()}}, std::move(statement),
                                       std::move(sink), o, &held_->op, held_->rt);
    }

    /// Made by `session()`.
    explicit basic_session(std::unique_ptr<held> h) noexcept : held_(std::move(h)) {}

private:
    [[nodiscard]] STRATA_COLD static error gone() { return {errc::misuse, "the session was closed or moved from", phase::admission}; }
    /// While a closure runs in a transaction of the session.
    class inside {
    public:
        explicit inside(held& h) noexcept : of_(h) { of_.closures.fetch_add(1, std::memory_order_relaxed); }
        inside(const inside&) = delete;
        inside& operator=(const inside&) = delete;
        ~inside() { of_.closures.fetch_sub(1, std::memory_order_relaxed); }

    private:
        held& of_;
    };
    [[nodiscard]] error give_back() {
        if (held_ != nullptr && held_->closures.load(std::memory_order_relaxed) != 0)
            return {errc::misuse, "the session is closed within a transaction on it: end that first", phase::admission};
        const std::unique_ptr<held> h = std::move(held_);
        return h != nullptr ? h->give_back(detail::ending::give_back) : gone();
    }

    std::unique_ptr<held> held_;
};

}  // namespace strata::inline STRATA_ABI

#endif
