// A driver without a database: it answers and fails as a script says, so that code above it is tested alone.
//
//   strata::script script;
//   strata::database<strata::stack<strata::retry<>, strata::pool<>, strata::scripted>> db{strata::scripted_options{.script = script}};
//
// It waits through the world: in a `simulated_world` an answer that takes an hour takes no time.
#ifndef STRATA_TESTING_SCRIPTED_HPP
#define STRATA_TESTING_SCRIPTED_HPP

#include <strata/core/pacing.hpp>
#include <strata/core/place.hpp>
#include <strata/core/signal.hpp>
#include <strata/core/transaction_mode.hpp>
#include <strata/sql/prepared_transactions.hpp>
#include <strata/testing/script.hpp>
#include <strata/value/sinks.hpp>

namespace strata::inline STRATA_ABI {

struct scripted_options {
    strata::script script{};  ///< shared with whoever wrote it
    friend bool operator==(const scripted_options&, const scripted_options&) = default;
};

/// A connection of the scripted driver.
class scripted_connection {
public:
    template <class Bound, class Sink>
    class query;

    scripted_connection() noexcept = default;
    scripted_connection(const scripted_connection&) = delete;
    scripted_connection& operator=(const scripted_connection&) = delete;
    ~scripted_connection() { close(); }

    /// Opens it, over several resumes when the script lets that take time.
    [[nodiscard]] signal open_step(const scripted_options& o, unsigned, error& e) {
        if (opening_ == nullptr) {
            script_ = o.script;
            opening_ = script_->state().connect();
            if (opening_ == nullptr) opening_ = std::make_shared<const detail::scripted_answer>();
            begin_wait(*opening_);
        }
        const waiting w = wait();
        if (w == waiting::still) return signal::park;
        const auto answer = std::exchange(opening_, nullptr);
        e = w == waiting::over ? answer->failure : cut_short(w);
        if (e) {
            e.set(phase::connect);
            return signal::failed;
        }
        number_ = script_->state().number_connection();
        return signal::done;
    }
    void close() noexcept {
        end_wait();
        opening_ = nullptr;
        script_.reset();
        guard_ = nullptr;
        in_transaction_ = lost_ = false;
    }

    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }
    [[nodiscard]] bool in_transaction() const noexcept { return in_transaction_; }
    /// A `connection_lost` was scripted on it.
    [[nodiscard]] bool is_lost() const noexcept { return lost_; }
    [[nodiscard]] health said() const noexcept { return lost_ ? health::lost : health::good; }
    /// What the script said of its answers so far: `waits_for_lock`. From any thread.
    [[nodiscard]] duration waited_for_locks() const noexcept { return duration{waited_.load(std::memory_order_relaxed)}; }
    /// Its number, from 1 in the order of opening.
    [[nodiscard]] unsigned native_handle() const noexcept { return number_; }

    /// BEGIN, COMMIT and the like; takes no time.
    [[nodiscard]] error control(std::string_view sql) {
        using enum detail::scripted_event;
        const auto starts = [&](std::string_view with) { return sql.substr(0, with.size()) == with; };
        const auto event = starts("begin")                 ? begin
                           : starts("prepare transaction") ? prepare
                           : starts("commit prepared")     ? commit_prepared
                           : starts("rollback prepared")   ? rollback_prepared
                           : starts("commit")              ? commit
                           : sql == "rollback"             ? rollback
                                                           : savepoint;
        if (lost_) return lost_error();
        const auto a = script_->state().answer(event, {{}, std::string(sql), {}, number_});
        if (a != nullptr && a->failure) return failed(a->failure);
        if (event != savepoint) in_transaction_ = event == begin;
        return {};
    }
    /// For `resolve_commit`: the answer scripted for `pg_current_xact_id`.
    [[nodiscard]] signal transaction_id_step(std::string& id, error& e) {
        e = lost_ ? lost_error() : asked("pg_current_xact_id", {}, id);
        return e ? signal::failed : signal::done;
    }
    /// The answer scripted for `pg_xact_status`; its failure says why nothing is known.
    [[nodiscard]] detail::commit_fate resolve_commit(const std::string& id, std::string& why) {
        std::string status;
        const error e = asked("pg_xact_status", id, status);
        why = e ? e.message() : status;
        return status == "committed" ? detail::commit_fate::committed
               : status == "aborted" ? detail::commit_fate::rolled_back
                                     : detail::commit_fate::unknown;
    }
    [[nodiscard]] static constexpr bool yields() noexcept { return false; }

    [[nodiscard]] health tidy() noexcept {
        guard_ = nullptr;
        if (lost_) return health::lost;
        if (!in_transaction_) return health::good;
        try {
            static_cast<void>(control("rollback"));
        } catch (...) {  // no memory
        }
        return in_transaction_ || lost_ ? health::lost : health::good;
    }

    // How it waits through the world; see core/pacing.hpp.
    void on_resume(operation_base& op, moment m) noexcept {
        op_ = &op;
        now_ = m.now;
    }
    [[nodiscard]] waiter* parked_on() noexcept { return &node_; }
    [[nodiscard]] time_point parked_until() const noexcept { return until_; }
    /// Ends a wait after the operation was cancelled. From any thread.
    void interrupt() noexcept {
        wake_call wake;
        {
            hold lock(lock_);
            if (!waits_ || !node_.grant(nullptr, wake)) return;
        }
        wake();
    }

private:
    enum class waiting : std::uint8_t { over, still, cancelled, late };

    [[nodiscard]] time_point deadline() const noexcept { return guard_ != nullptr ? guard_->deadline : never; }
    void begin_wait(const detail::scripted_answer& a) noexcept {
        over_at_ = a.hangs ? never : add_saturated(now_, a.takes);
        free_at_ = add_saturated(now_, a.locked);
        locked_since_ = now_;
    }
    [[nodiscard]] waiting wait() {
        end_wait();
        count_lock();
        if (is_cancelled()) return waiting::cancelled;
        if (over_at_ <= now_ && over_at_ <= deadline()) return waiting::over;
        if (deadline() <= now_) return waiting::late;
        until_ = over_at_ < deadline() ? over_at_ : deadline();
        waker* const other = op_->waking();
        hold lock(lock_);
        node_.prepare(other);
        waits_ = true;
        if (!is_cancelled()) return waiting::still;  // from here on `interrupt` finds it waiting
        waits_ = false;
        return waiting::cancelled;
    }
    /// Nobody may wake the operation any more: it may be gone.
    void end_wait() noexcept {
        hold lock(lock_);
        if (std::exchange(waits_, false)) static_cast<void>(node_.withdraw());
    }
    void count_lock() noexcept {
        const time_point until = free_at_ < now_ ? free_at_ : now_;
        if (until > locked_since_) waited_.fetch_add((until - std::exchange(locked_since_, until)).count(), std::memory_order_relaxed);
    }
    [[nodiscard]] bool is_cancelled() const noexcept { return guard_ != nullptr && guard_->is_cancelled(); }
    [[nodiscard]] static error cut_short(waiting w) {
        if (w == waiting::cancelled) return error{errc::cancelled, "cancelled while the scripted answer was awaited", phase::execute};
        return error{errc::timeout, "the deadline passed before the scripted answer came", phase::execute};
    }
    [[nodiscard]] static error lost_error() {
        return error{errc::connection_lost, "the connection was lost before", phase::execute}.set(health::lost);
    }
    [[nodiscard]] error asked(std::string_view what, const std::string& about, std::string& text) {
        scripted_call call{{}, std::string(what), {}, number_};
        if (!about.empty()) call.arguments.emplace_back(about);
        const auto a = script_->state().answer(detail::scripted_event::statement, call);
        if (a == nullptr) return {};
        if (a->failure) return failed(a->failure);
        if (!a->rows.empty() && !a->rows.front().empty()) text = a->rows.front().front().text();
        return {};
    }
    /// What an error does to the connection.
    [[nodiscard]] error failed(const error& e) {
        if (e.health() != health::good) lost_ = true;
        if (lost_ || e.effect() == effect::rolled_back) in_transaction_ = false;
        return e;
    }

    std::optional<strata::script> script_;
    const interruption* guard_ = nullptr;
    operation_base* op_ = nullptr;  ///< whoever resumes it
    time_point now_{};
    time_point over_at_{};  ///< when the answer comes
    time_point until_{};    ///< the same, but not beyond the deadline
    time_point free_at_{};  ///< when the lock is had that the script lets it wait for
    time_point locked_since_{};
    std::atomic<duration::rep> waited_{0};
    std::shared_ptr<const detail::scripted_answer> opening_;
    inline_lock lock_;  ///< guards the next two against `interrupt`
    waiter node_;
    bool waits_ = false;
    bool in_transaction_ = false;
    bool lost_ = false;
    unsigned number_ = 0;
};

/// One statement on its way to its scripted answer.
template <class Bound, class Sink>
class scripted_connection::query {
public:
    query(scripted_connection& connection, const Bound& statement, Sink& sink) noexcept
        : connection_(connection), statement_(statement), sink_(sink) {}
    query(const query&) = delete;
    query& operator=(const query&) = delete;
    ~query() { connection_.end_wait(); }

    /// `park` until the answer comes, `item` when the sink pauses, `done` or `failed`.
    [[nodiscard]] signal resume() {
        if (answer_ == nullptr) {
            if (!ask()) return signal::failed;
            connection_.begin_wait(*answer_);
        }
        if (!came_) {
            const waiting w = connection_.wait();
            if (w == waiting::still) return signal::park;
            if (w != waiting::over) return fail(cut_short(w));
            if (answer_->failure) return fail(connection_.failed(answer_->failure));
            came_ = true;
            if (!answer_->columns.empty() && !plan()) return signal::failed;
        }
        return deliver();
    }

    [[nodiscard]] error& failure() noexcept { return error_; }
    [[nodiscard]] std::int64_t affected() const noexcept { return answer_->affected; }
    [[nodiscard]] std::int64_t last_id() const noexcept { return answer_->last_id; }

private:
    /// Takes the call down and finds its answer.
    [[nodiscard]] bool ask() {
        scripted_call call{std::string(statement_.label()), detail::single_spaced(statement_.text().text), {}, connection_.number_};
        detail::scripted_writer out{call.arguments};
        statement_.for_each_argument([&](std::size_t i, const auto& value) {
            using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
            if (error_) return;
            const errc e = value_codec::write(out, value);
            if (e == errc::ok) return;
            error_ = error{
                e, "argument " + std::to_string(i + 1) + " of type " + std::string(value_codec::name) + ": " + std::string(to_string(e)),
                phase::execute};
        });
        if (error_) return false;
        if (connection_.lost_) {
            error_ = lost_error();
            return false;
        }
        answer_ = connection_.script_->state().answer(detail::scripted_event::statement, call);
        if (answer_ != nullptr) return true;
        error_ = error{errc::misuse, "the script has no answer for this statement: " + call.to_string(), phase::prepare};
        error_.edit_texts().detail = "it has answers for " + connection_.script_->state().keys();
        error_.edit_texts().hint = "script.on(...), or script.on_any()";
        return false;
    }
    [[nodiscard]] signal fail(error e) {
        error_ = std::move(e);
        if (!error_.has_texts() || error_.texts().statement.empty()) error_.edit_texts().statement = statement_.text().text;
        return signal::failed;
    }
    [[nodiscard]] bool plan() {
        error_ = sink_.plan(detail::scripted_row{answer_->columns, nullptr}, plan_);
        if (!error_) return true;
        if (error_.code() == errc::missing_column && answer_->columns.front() == "column 1")
            error_.edit_texts().hint =
                "name the columns of the script: script.on(...).columns({\"id\", ...}).rows(...), or give it structs with returns(...)";
        return false;
    }
    [[nodiscard]] signal deliver() {
        while (next_ < answer_->rows.size()) {
            switch (sink_.row(detail::scripted_row{answer_->columns, &answer_->rows[next_++]}, plan_, error_)) {
                case flow::more:
                    continue;
                case flow::pause:
                    return signal::item;
                case flow::stop:
                    return error_ ? refused() : signal::done;
            }
        }
        sink_.finish(error_);
        return error_ ? refused() : signal::done;
    }
    /// The sink does not take the rows: the statement itself went well.
    [[nodiscard]] signal refused() {
        error_.set(phase::result).set(answer_->affected != 0 ? effect::applied : effect::none);
        return fail(std::move(error_));
    }

    scripted_connection& connection_;
    const Bound& statement_;
    Sink& sink_;
    std::shared_ptr<const detail::scripted_answer> answer_;
    row_plan plan_;
    error error_;
    std::size_t next_ = 0;
    bool came_ = false;
};

enum class scripted_locking : std::uint8_t { deferred, immediate, exclusive };

namespace detail {

template <strata::dialect Dialect, bool SingleWriter>
struct scripted_driver {
    static constexpr auto place = strata::place::driver;
    using options = scripted_options;
    using connection = scripted_connection;
    static constexpr strata::dialect dialect = Dialect;
    static constexpr bool blocking = false;
    static constexpr bool single_writer = SingleWriter;

    [[nodiscard]] static constexpr unsigned role_of(bool, bool) noexcept { return 0; }
    [[nodiscard]] static error check_shared(const scripted_options&) noexcept { return {}; }
    [[nodiscard]] static error check_reopened(const scripted_options&) noexcept { return {}; }

    /// `begin immediate`, or `begin deferred` for one that reads, and what else was asked for: `begin immediate serializable`.
    template <class Locking>
    [[nodiscard]] static std::string begin(const transaction_mode<Locking>& m) {
        std::string text = m.read_only ? "begin deferred" : "begin immediate";
        if constexpr (std::is_same_v<Locking, scripted_locking>) {
            constexpr std::string_view kinds[] = {"deferred", "immediate", "exclusive"};
            if (m.locking) text = joined({"begin ", kinds[static_cast<std::size_t>(*m.locking)]});
        }
        if (m.isolation) text.append(" ").append(to_string(*m.isolation));
        if (m.deferrable) text.append(" deferrable");
        return text;
    }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static std::string savepoint(unsigned depth) { return "savepoint " + std::to_string(depth); }
    [[nodiscard]] static std::string release(unsigned depth) { return "release " + std::to_string(depth); }
    [[nodiscard]] static std::string rollback_to(unsigned depth) { return "rollback to " + std::to_string(depth); }
};

}  // namespace detail

/// In the place of `sqlite`; its pool does not tell readers from the writer.
struct scripted : detail::scripted_driver<dialect::sqlite, false> {
    using locking = scripted_locking;
};
/// In the place of `sqlite`, with one writing connection as SQLite's pool has.
struct scripted_single_writer : detail::scripted_driver<dialect::sqlite, true> {
    using locking = scripted_locking;
};
/// In the place of `postgres`. What `resolve_commit` asks is scripted as `script.on("pg_current_xact_id")` and
/// `script.on("pg_xact_status")`, which answer a text; without, there is no id, and nothing is known.
struct scripted_postgres : detail::scripted_driver<dialect::postgres, false> {
    static constexpr bool deferrable = true;
    static constexpr bool resolves_commits = true;
    static constexpr bool advisory_locks = true;
    [[nodiscard]] static std::string lock(std::int64_t key) { return "lock " + std::to_string(key); }
    [[nodiscard]] static std::string unlock(std::int64_t key) { return "unlock " + std::to_string(key); }
    [[nodiscard]] static constexpr std::string_view status_function() noexcept { return "pg_xact_status"; }
    using two_phase = prepared_transactions;
};

}  // namespace strata::inline STRATA_ABI

#endif
