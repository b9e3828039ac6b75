// Generated from include/strata/testing/scripted.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_TESTING_SCRIPTED_HPP
#define STRATA_SINGLE_TESTING_SCRIPTED_HPP

#include <strata/strata.hpp>

#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The statements of two-phase commit, as PostgreSQL writes them. A driver whose database understands them says
// `using two_phase = prepared_transactions;`
#ifndef STRATA_SQL_PREPARED_TRANSACTIONS_HPP
#define STRATA_SQL_PREPARED_TRANSACTIONS_HPP

namespace strata::inline STRATA_ABI {

/// `id`: less than 200 bytes, chosen by whoever prepares; quoted here.
struct prepared_transactions {
    /// Ends the open transaction of a connection, and keeps what it did until somebody decides.
    [[nodiscard]] static std::string prepare(std::string_view id) { return quoted("prepare transaction ", id); }
    [[nodiscard]] static std::string commit(std::string_view id) { return quoted("commit prepared ", id); }
    [[nodiscard]] static std::string roll_back(std::string_view id) { return quoted("rollback prepared ", id); }

private:
    [[nodiscard]] static std::string quoted(std::string_view words, std::string_view id) {
        std::string s{words};
        s += '\'';
        for (const char c : id) s.append(c == '\'' ? 2 : 1, c);
        return s += '\'';
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Values of the scripted driver: what a script answers, and what a statement was called with.
#ifndef STRATA_TESTING_SCRIPTED_VALUE_HPP
#define STRATA_TESTING_SCRIPTED_VALUE_HPP

namespace strata::inline STRATA_ABI {

class scripted_value;

namespace detail {

/// Takes down arguments; models `parameter_writer`.
class scripted_writer {
public:
    explicit scripted_writer(std::vector<scripted_value>& out) noexcept : out_(out) {}
    inline void null();
    inline void boolean(bool v);
    inline void integer(std::int64_t v);
    inline void real(double v);
    inline void text(std::string_view v);
    void text_copy(std::string_view v) { text(v); }
    inline void blob(std::span<const std::byte> v);
    void blob_copy(std::span<const std::byte> v) { blob(v); }

private:
    inline scripted_value& add(column_type type);

    std::vector<scripted_value>& out_;
};

}  // namespace detail

/// One value as databases have them: null, boolean, integer, real, text or blob. Made from whatever has a codec.
class scripted_value {
public:
    scripted_value() noexcept = default;
    scripted_value(std::nullptr_t) noexcept {}                                    // NOLINT: {7, "ada", nullptr} is a row
    scripted_value(const char* text) : type_(column_type::text), bytes_(text) {}  // NOLINT
    /// Throws `failure` for what its codec does not write.
    template <class T>
        requires(!std::is_same_v<T, scripted_value> && has_codec<T>)
    scripted_value(const T& value) {  // NOLINT
        std::vector<scripted_value> written;
        detail::scripted_writer out{written};
        const errc e = codec<T>::write(out, value);
        if (e != errc::ok || written.size() != 1) {
            throw_failure(error{e != errc::ok ? e : errc::misuse, "a value of type " + std::string(codec<T>::name) + " cannot be scripted",
                                phase::prepare});
        }
        *this = std::move(written.front());
    }

    [[nodiscard]] column_type type() const noexcept { return type_; }
    [[nodiscard]] bool operator==(const scripted_value&) const = default;

    // For codecs; each only when `type()` says so.
    [[nodiscard]] bool boolean() const noexcept { return integer_ != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return integer_; }
    [[nodiscard]] double real() const noexcept { return real_; }
    [[nodiscard]] std::string_view text() const noexcept { return bytes_; }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return std::as_bytes(std::span<const char>(bytes_)); }

    /// `null`, `true`, `7`, `0.5`, `'ada'`, `x'00ff'`.
    [[nodiscard]] std::string to_string() const {
        switch (type()) {
            case column_type::boolean:
                return boolean() ? "true" : "false";
            case column_type::integer:
                return std::to_string(integer());
            case column_type::real: {
                std::string s = std::to_string(real());
                s.erase(s.find_last_not_of('0') + 1);
                return s.back() == '.' ? s + '0' : s;
            }
            case column_type::text:
                return "'" + std::string(text()) + "'";
            case column_type::blob: {
                std::string s = "x'";
                for (const std::byte b : blob()) {
                    s += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
                    s += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
                }
                return s + "'";
            }
            default:
                return "null";
        }
    }

private:
    friend class detail::scripted_writer;

    column_type type_ = column_type::null;
    std::int64_t integer_ = 0;  // 0 or 1 for a boolean
    double real_ = 0;
    std::string bytes_;  // text or blob
};

using scripted_rows = std::vector<std::vector<scripted_value>>;

namespace detail {

inline scripted_value& scripted_writer::add(column_type type) {
    scripted_value& v = out_.emplace_back();
    v.type_ = type;
    return v;
}
inline void scripted_writer::null() {
    add(column_type::null);
}
inline void scripted_writer::boolean(bool v) {
    add(column_type::boolean).integer_ = v ? 1 : 0;
}
inline void scripted_writer::integer(std::int64_t v) {
    add(column_type::integer).integer_ = v;
}
inline void scripted_writer::real(double v) {
    add(column_type::real).real_ = v;
}
inline void scripted_writer::text(std::string_view v) {
    add(column_type::text).bytes_ = v;
}
inline void scripted_writer::blob(std::span<const std::byte> v) {
    add(column_type::blob).bytes_.assign(reinterpret_cast<const char*>(v.data()), v.size());
}

/// A value of an answer; models `column_reader`.
class scripted_column {
public:
    explicit scripted_column(const scripted_value& v) noexcept : value_(&v) {}
    [[nodiscard]] column_type type() const noexcept { return value_->type(); }
    [[nodiscard]] bool boolean() const noexcept { return value_->boolean(); }
    [[nodiscard]] std::int64_t integer() const noexcept { return value_->integer(); }
    [[nodiscard]] double real() const noexcept { return value_->real(); }
    [[nodiscard]] std::string_view text() const noexcept { return value_->text(); }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept { return value_->blob(); }

private:
    const scripted_value* value_;
};

/// A row of an answer; models `row_reader`. Columns without names are called by their numbers.
class scripted_row {
public:
    /// `row` is null where only the columns are asked for.
    scripted_row(const std::vector<std::string>& names, const std::vector<scripted_value>* row) noexcept : names_(names), row_(row) {}

    [[nodiscard]] int size() const noexcept { return static_cast<int>(names_.size()); }
    [[nodiscard]] std::string_view name(int i) const noexcept { return names_[static_cast<std::size_t>(i)]; }
    [[nodiscard]] std::string_view declared_type(int) const noexcept { return {}; }
    [[nodiscard]] scripted_column column(int i) const noexcept { return scripted_column{(*row_)[static_cast<std::size_t>(i)]}; }

private:
    const std::vector<std::string>& names_;
    const std::vector<scripted_value>* row_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What the scripted driver answers, and what it was asked.
//
//   strata::script script;
//   script.on(find).returns(account{7, "ada", 100, 1});
//   script.on(withdraw).fails(errc::busy).times(2);          // then what was scripted before
//   script.on("select name from city").columns({"name"}).rows({{"Rome"}, {"Oslo"}}).takes(20ms);
//   script.on_commit().fails(errc::connection_lost, effect::unknown);
//
//   script.journal()  ->  {"begin immediate", "withdraw [100, 1]", "commit"}
#ifndef STRATA_TESTING_SCRIPT_HPP
#define STRATA_TESTING_SCRIPT_HPP

namespace strata::inline STRATA_ABI {

/// What the driver was asked to do.
struct scripted_call {
    std::string name;  ///< of the statement, from `.named()`; may be empty
    std::string text;  ///< as written, with single spaces; `begin immediate`, `commit` ... too
    std::vector<scripted_value> arguments;
    unsigned connection = 0;  ///< number of the connection, from 1

    /// `withdraw [100, 1]`: name, or text where there is none, and the arguments.
    [[nodiscard]] std::string to_string() const {
        std::string s = name.empty() ? text : name;
        for (std::size_t i = 0; i < arguments.size(); ++i) s.append(i == 0 ? " [" : ", ").append(arguments[i].to_string());
        if (!arguments.empty()) s += ']';
        return s;
    }
};

namespace detail {

enum class scripted_event : std::uint8_t {
    connect,
    begin,
    commit,
    rollback,
    savepoint,
    prepare,
    commit_prepared,
    rollback_prepared,
    statement,
    any_statement
};

/// One answer, and how often it is given.
struct scripted_answer {
    std::vector<std::string> columns;
    scripted_rows rows;
    std::int64_t affected = 0;
    std::int64_t last_id = 0;
    error failure;
    duration takes{};
    duration locked{};
    bool hangs = false;
    unsigned times = 1;
    bool limited = false;  ///< `times` was said: it ends also when it is the last one
    bool open = false;     ///< only `takes` or `times` were said so far
    unsigned given = 0;
};

struct scripted_rule {
    scripted_event event;
    std::string key;  ///< name or text of the statement
    std::vector<std::string> columns;
    std::vector<std::shared_ptr<scripted_answer>> answers;

    /// Null when it is used up, or has no answer yet.
    [[nodiscard]] std::shared_ptr<const scripted_answer> next() {
        for (auto& a : answers) {
            if (&a == &answers.back() && !a->limited) return a;
            if (a->given == a->times) continue;
            ++a->given;
            return a;
        }
        return nullptr;
    }
};

/// Runs of white space become one space; none at the ends.
[[nodiscard]] inline std::string single_spaced(std::string_view text) {
    std::string s;
    for (const char c : text) {
        const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
        if (!blank)
            s += c;
        else if (!s.empty() && s.back() != ' ')
            s += ' ';
    }
    if (!s.empty() && s.back() == ' ') s.pop_back();
    return s;
}

/// What scripts and connections share. Thread-safe.
class script_state {
public:
    /// The newest rule for the event that is not used up; null when there is none.
    [[nodiscard]] std::shared_ptr<const scripted_answer> answer(scripted_event event, const scripted_call& call) {
        const std::lock_guard guard(mutex_);
        calls_.push_back(call);
        if (auto a = find(event, call)) return a;
        return event == scripted_event::statement ? find(scripted_event::any_statement, call) : nullptr;
    }
    [[nodiscard]] std::shared_ptr<const scripted_answer> connect() {
        const std::lock_guard guard(mutex_);
        return find(scripted_event::connect, {});
    }
    [[nodiscard]] unsigned number_connection() {
        const std::lock_guard guard(mutex_);
        return ++connections_;
    }
    scripted_rule& add(scripted_event event, std::string key) {
        const std::lock_guard guard(mutex_);
        return *rules_.emplace_back(std::make_unique<scripted_rule>(scripted_rule{event, std::move(key), {}, {}}));
    }
    template <class F>
    auto locked(F&& f) {
        const std::lock_guard guard(mutex_);
        return f();
    }
    /// For the error about a statement that nobody expected.
    [[nodiscard]] std::string keys() {
        const std::lock_guard guard(mutex_);
        std::string s;
        for (const auto& r : rules_) {
            const std::string key = "'" + r->key + "'";
            if (r->event == scripted_event::statement && s.find(key) == s.npos) s.append(s.empty() ? "" : ", ").append(key);
        }
        return s.empty() ? "nothing" : s;
    }
    std::vector<scripted_call> calls_;

private:
    [[nodiscard]] std::shared_ptr<const scripted_answer> find(scripted_event event, const scripted_call& call) {
        for (auto r = rules_.rbegin(); r != rules_.rend(); ++r) {
            scripted_rule& rule = **r;
            if (rule.event != event) continue;
            if (event == scripted_event::statement && rule.key != call.text && (call.name.empty() || rule.key != call.name)) continue;
            if (auto a = rule.next()) return a;
        }
        return nullptr;
    }

    std::mutex mutex_;
    std::vector<std::unique_ptr<scripted_rule>> rules_;
    unsigned connections_ = 0;
};

}  // namespace detail

/// Says what a statement, or another event, is answered with. Each answer is given once, in order, and the last one for ever;
/// `times` says otherwise. Thread-safe.
class scripting {
public:
    scripting(std::shared_ptr<detail::script_state> state, detail::scripted_rule& rule) noexcept : state_(std::move(state)), rule_(&rule) {}

    /// Names of the columns of the rows that follow.
    scripting& columns(std::initializer_list<std::string_view> names) {
        state_->locked([&] { rule_->columns.assign(names.begin(), names.end()); });
        return *this;
    }
    /// Answers rows: `rows({{7, "ada"}, {8, nullptr}})`. To be read as structs they need `columns`.
    scripting& rows(std::initializer_list<std::initializer_list<scripted_value>> values) {
        scripted_rows all;
        for (const auto& row : values) all.emplace_back(row);
        return rows(std::move(all));
    }
    scripting& rows(scripted_rows values) {
        detail::scripted_answer a;
        a.columns = state_->locked([&] { return rule_->columns; });
        if (a.columns.empty() && !values.empty())
            for (std::size_t i = 1; i <= values.front().size(); ++i) a.columns.push_back("column " + std::to_string(i));
        for (const auto& row : values)
            if (row.size() != a.columns.size())
                throw_failure(error{errc::misuse, "the rows of a scripted answer have different numbers of columns", phase::prepare});
        a.rows = std::move(values);
        return add(std::move(a));
    }
    /// Answers these rows: structs with the columns' names, or single values.
    template <class First, class... Rest>
    scripting& returns(const First& first, const Rest&... rest) {
        detail::scripted_answer a;
        if constexpr (detail::struct_row<First>) {
            for (const std::string_view name : column_names<First>) a.columns.emplace_back(name);
            a.rows = {row_of(first, detail::members<First>{}), row_of(rest, detail::members<First>{})...};
        } else {
            a.columns = state_->locked([&] { return rule_->columns; });
            if (a.columns.empty()) a.columns.emplace_back("column 1");
            a.rows = {{scripted_value(first)}, {scripted_value(rest)}...};
        }
        return add(std::move(a));
    }
    /// Answers that so many rows were changed, and the id of the last one inserted.
    scripting& affected(std::int64_t rows, std::int64_t last_id = 0) {
        detail::scripted_answer a;
        a.affected = rows;
        a.last_id = last_id;
        return add(std::move(a));
    }
    /// Answers an error. After `connection_lost` the connection is broken; `rolled_back` ends the transaction that it is in.
    scripting& fails(errc code, effect did = effect::none, std::string message = {}) {
        detail::scripted_answer a;
        a.failure = error{code, message.empty() ? "as the script says" : std::move(message), phase::execute, did};
        if (code == errc::connection_lost) a.failure.set(health::lost);
        return add(std::move(a));
    }
    /// Never answers: only a deadline, a cancel or the end of the operation helps.
    scripting& hangs() {
        detail::scripted_answer a;
        a.hangs = true;
        return add(std::move(a));
    }

    /// The answer before this (the first one, if there is none yet) takes so long, in the world's time. Not for `begin`, `commit` and the
    /// like, which take no time.
    scripting& takes(duration d) {
        return edit([&](detail::scripted_answer& a) { a.takes = d; });
    }
    /// So much of `takes` is a wait for a lock: what a pool's planner is told of it (`connection.waited_for_locks()`) when it is over.
    scripting& waits_for_lock(duration d) {
        return edit([&](detail::scripted_answer& a) { a.locked = d; });
    }
    /// The answer before this is given `n` times; after the last answer of all, what was scripted earlier is given again.
    scripting& times(unsigned n) {
        return edit([&](detail::scripted_answer& a) {
            a.times = n;
            a.limited = true;
        });
    }

private:
    scripting& add(detail::scripted_answer a) {
        state_->locked([&] {
            auto& all = rule_->answers;
            if (!all.empty() && all.back()->open) {
                const detail::scripted_answer& said = *all.back();
                a.takes = said.takes;
                a.locked = said.locked;
                a.times = said.times;
                a.limited = said.limited;
                all.pop_back();
            }
            all.push_back(std::make_shared<detail::scripted_answer>(std::move(a)));
        });
        return *this;
    }
    /// A connection may hold the answer, so a new one takes its place.
    template <class F>
    scripting& edit(F&& f) {
        state_->locked([&] {
            auto& all = rule_->answers;
            auto edited = std::make_shared<detail::scripted_answer>();
            if (all.empty())
                all.emplace_back();
            else
                *edited = *all.back();
            edited->open = edited->open || all.back() == nullptr;
            all.back() = std::move(edited);
            f(*all.back());
        });
        return *this;
    }
    template <class T, class... M>
    static std::vector<scripted_value> row_of(const T& object, detail::member_list<M...>) {
        return {scripted_value(M::get(object))...};
    }

    std::shared_ptr<detail::script_state> state_;
    detail::scripted_rule* rule_;
};

/// A script. Copies are the same script: give one to `scripted_options` and keep one to add answers and read what was called,
/// also while it is used. The newest answer for a statement counts. What is not scripted fails with `errc::misuse`; connecting
/// and transactions succeed unless the script says otherwise. Thread-safe.
class script {
public:
    script() : state_(std::make_shared<detail::script_state>()) {}
    /// Copies are one script.
    friend bool operator==(const script&, const script&) = default;

    /// Answers of a statement: a literal, or its name from `.named()`, or its text as written (spaces count as one).
    template <class S>
    scripting on(const S& statement) {
        if constexpr (std::is_convertible_v<const S&, std::string_view>)
            return rule(detail::scripted_event::statement, detail::single_spaced(statement));
        else
            return rule(detail::scripted_event::statement, detail::single_spaced(statement.text().text));
    }
    /// Answers of all statements that have none of their own.
    scripting on_any() { return rule(detail::scripted_event::any_statement); }
    /// Opening a connection.
    scripting on_connect() { return rule(detail::scripted_event::connect); }
    scripting on_begin() { return rule(detail::scripted_event::begin); }
    scripting on_commit() { return rule(detail::scripted_event::commit); }
    scripting on_rollback() { return rule(detail::scripted_event::rollback); }
    /// The steps of two-phase commit, of `scripted_postgres`.
    scripting on_prepare() { return rule(detail::scripted_event::prepare); }
    scripting on_commit_prepared() { return rule(detail::scripted_event::commit_prepared); }
    scripting on_rollback_prepared() { return rule(detail::scripted_event::rollback_prepared); }
    /// Savepoints: setting, releasing, rolling back to.
    scripting on_savepoint() { return rule(detail::scripted_event::savepoint); }

    /// What was called so far, in order.
    [[nodiscard]] std::vector<scripted_call> calls() const {
        return state_->locked([&] { return state_->calls_; });
    }
    /// The same, a line each; see `scripted_call::to_string`.
    [[nodiscard]] std::vector<std::string> journal() const {
        std::vector<std::string> lines;
        for (const scripted_call& c : calls()) lines.push_back(c.to_string());
        return lines;
    }
    void forget_calls() {
        state_->locked([&] { state_->calls_.clear(); });
    }

    /// For the driver.
    [[nodiscard]] detail::script_state& state() const noexcept { return *state_; }

private:
    scripting rule(detail::scripted_event event, std::string key = {}) { return {state_, state_->add(event, std::move(key))}; }

    std::shared_ptr<detail::script_state> state_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// A driver without a database: it answers and fails as a script says, so that code above it is tested alone.
//
//   strata::script script;
//   strata::database<strata::stack<strata::retry<>, strata::pool<>, strata::scripted>> db{strata::scripted_options{.script = script}};
//
// It waits through the world: in a `simulated_world` an answer that takes an hour takes no time.
#ifndef STRATA_TESTING_SCRIPTED_HPP
#define STRATA_TESTING_SCRIPTED_HPP

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

#endif
