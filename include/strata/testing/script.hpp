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

#include <strata/sql/literal.hpp>
#include <strata/testing/scripted_value.hpp>
#include <strata/value/mapping.hpp>
#include <strata/value/members.hpp>
#include <strata/value/row_decoder.hpp>

#include <initializer_list>
#include <memory>
#include <mutex>

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
