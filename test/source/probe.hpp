// A driver whose connections notice when they are used by two at once, and a client that leases them and writes down how
// it went: what the tests of the sources stand on.
#ifndef STRATA_TEST_SOURCE_PROBE_HPP
#define STRATA_TEST_SOURCE_PROBE_HPP

#include <support/catch.hpp>

#include <strata/source/pool.hpp>
#include <strata/testing/simulated_call.hpp>

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace strata_test {

/// What the connections of a test share. Only for one thread, but for what the stress test uses.
struct probe_log {
    int open = 0;
    int most_open = 0;
    int in_use = 0;
    int most_in_use = 0;
    std::vector<std::string> violations{};
    strata::duration connecting{};   ///< how long connecting takes
    int refuse_connects = 0;         ///< so many of the next connects fail
    std::vector<unsigned> opened{};  ///< numbers of the connections, as they were opened
    unsigned dead_up_to = 0;         ///< the server has given up the connections of these numbers
    unsigned numbers = 0;
    bool hides_death = false;             ///< only who asks them notices that
    std::function<void()> on_close{};     ///< called after a connection was closed, from where it was
    std::vector<std::string> controls{};  ///< what was run to make connections fit, `ping` among it

    // Locks: one, which leases get in the order in which they ask for it.
    strata::time_point lock_free_at{};
    std::vector<strata::time_point> locked_until{};     ///< by the number of a connection, less one
    std::function<strata::time_point()> now = nullptr;  ///< the world's
    std::vector<strata::time_point> asked_for_locks{};  ///< when the server was asked who waits
    int watches = 0;                                    ///< connections over which it is asked, now
    int watches_made = 0;
    bool keeps_locks_secret = false;  ///< it does not answer
    [[nodiscard]] std::size_t count_locked() const {
        return static_cast<std::size_t>(std::count_if(locked_until.begin(), locked_until.end(), [&](auto t) { return t > now(); }));
    }

    void violated(std::string what) { violations.push_back(std::move(what)); }
};

struct probe_options {
    probe_log* log = nullptr;
    [[nodiscard]] strata::error validate() const {
        return log != nullptr ? strata::error{} : strata::error{strata::errc::invalid_argument};
    }
};

class probe_connection {
public:
    [[nodiscard]] strata::signal open_step(const probe_options& o, unsigned role, strata::error& e) {
        if (log_ == nullptr) {
            log_ = o.log;
            if (++log_->open > log_->most_open) log_->most_open = log_->open;
            until = now + log_->connecting;
        }
        if (guard_ != nullptr && guard_->is_cancelled()) {
            e = strata::error{strata::errc::cancelled, strata::phase::connect};
            return strata::signal::failed;
        }
        if (now < until) return strata::signal::park;
        if (log_->refuse_connects > 0) {
            --log_->refuse_connects;
            e = strata::error{strata::errc::cannot_connect, "nobody is at home", strata::phase::connect};
            return strata::signal::failed;
        }
        number = ++log_->numbers;
        log_->opened.push_back(number);
        reads_only = role == 1;
        return strata::signal::done;
    }
    void close() noexcept {
        if (log_ == nullptr) return;
        if (in_use) log_->violated("a connection was closed while it was in use");
        --log_->open;
        probe_log* const log = std::exchange(log_, nullptr);
        number = 0;
        dirty = false;
        if (log->on_close) log->on_close();
    }
    void guard(const strata::interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const strata::interruption* guard() const noexcept { return guard_; }
    [[nodiscard]] std::int32_t session_number() const noexcept { return static_cast<std::int32_t>(number); }
    [[nodiscard]] bool in_transaction() const noexcept { return dirty; }
    [[nodiscard]] bool is_alive() noexcept {
        if (in_use) log_->violated("a connection was looked at while it was in use");
        return log_->hides_death || number > log_->dead_up_to;
    }
    [[nodiscard]] strata::error control(std::string_view sql) {
        if (in_use) log_->violated("a connection was made fit while it was in use");
        log_->controls.push_back(std::string{sql} + " on " + std::to_string(number));
        return number > log_->dead_up_to ? strata::error{} : strata::error{strata::errc::connection_lost};
    }
    [[nodiscard]] strata::error discard_all() { return control("discard all"); }
    [[nodiscard]] strata::health ping() noexcept { return control("ping") ? strata::health::lost : strata::health::good; }
    [[nodiscard]] bool has_changed_session() const noexcept { return changed; }
    strata::health tidy() noexcept {
        dirty = false;
        return untidy ? strata::health::lost : strata::health::good;
    }

    void on_resume(strata::operation_base&, strata::moment m) noexcept { now = m.now; }
    [[nodiscard]] strata::waiter* parked_on() noexcept { return nullptr; }
    [[nodiscard]] strata::time_point parked_until() const noexcept { return until; }

    void begin_use() {
        if (log_ == nullptr) return;
        if (in_use) log_->violated("a connection was leased twice");
        if (dirty) log_->violated("a connection was leased in the middle of a transaction");
        in_use = true;
        if (++log_->in_use > log_->most_in_use) log_->most_in_use = log_->in_use;
    }
    /// Ends after the lock was waited for and held for so long.
    void take_lock(strata::duration held) {
        if (log_->locked_until.size() < log_->numbers) log_->locked_until.resize(log_->numbers);
        strata::time_point& until_had = log_->locked_until[number - 1];
        until_had = std::max(now, log_->lock_free_at);
        until = log_->lock_free_at = strata::add_saturated(until_had, held);
    }
    void end_use() noexcept {
        if (log_ != nullptr) --log_->in_use;
        in_use = false;
    }

    strata::time_point now{};
    strata::time_point until{};
    unsigned number = 0;
    bool in_use = false;
    bool dirty = false;   ///< left in a transaction
    bool untidy = false;  ///< and cannot be brought out of it
    bool reads_only = false;
    bool changed = false;  ///< something of the session

private:
    probe_log* log_ = nullptr;
    const strata::interruption* guard_ = nullptr;
};

/// Asks the log.
class probe_lock_watch {
public:
    ~probe_lock_watch() {
        if (log_ != nullptr) --log_->watches;
    }
    [[nodiscard]] std::optional<std::size_t> ask(const probe_options& o, const std::int32_t* sessions, std::size_t n,
                                                 const strata::interruption& limit) noexcept {
        if (log_ == nullptr) {
            log_ = o.log;
            ++log_->watches;
            ++log_->watches_made;
        }
        const strata::time_point now = log_->now();
        log_->asked_for_locks.push_back(now);
        if (limit.deadline <= now || limit.deadline > now + std::chrono::seconds{5}) log_->violated("asked for locks without a limit");
        if (static_cast<int>(n) < log_->in_use) log_->violated("not asked for all sessions that are lent out");
        if (log_->keeps_locks_secret) return std::nullopt;
        std::size_t waiting = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const auto at = static_cast<std::size_t>(sessions[i] - 1);
            if (at < log_->locked_until.size() && log_->locked_until[at] > now) ++waiting;
        }
        return waiting;
    }

private:
    probe_log* log_ = nullptr;
};

template <bool SingleWriter>
struct probe_driver {
    using lock_watch = probe_lock_watch;
    using options = probe_options;
    using connection = probe_connection;
    static constexpr bool blocking = false;
    static constexpr bool single_writer = SingleWriter;
    [[nodiscard]] static constexpr unsigned role_of(bool reads, bool split) noexcept { return !split ? 2 : reads ? 1 : 0; }
    [[nodiscard]] static strata::error check_reopened(const probe_options&) noexcept { return {}; }
    [[nodiscard]] static strata::error check_shared(const probe_options&) noexcept { return {}; }
};

/// Holds the connection for a while.
struct holding_work {
    strata::duration takes{};
    strata::errc ends_with = strata::errc::ok;
    bool leaves_transaction = false;
    bool throws = false;
    bool stuck_in_transaction = false;
    bool all_lost = false;
    bool locks = false;
    probe_connection* held = nullptr;
    unsigned number = 0;  ///< of the connection it had, from the last attempt

    strata::signal resume(probe_connection& c, strata::operation_base& op, strata::outcome& result) {
        if (held == nullptr) {
            held = &c;
            number = c.number;
            c.begin_use();
            if (locks)
                c.take_lock(takes);
            else
                c.until = strata::add_saturated(c.now, takes);
            c.dirty = leaves_transaction || stuck_in_transaction;
            c.untidy = stuck_in_transaction;
        }
        if (throws && op.attempt == 1) throw std::runtime_error("the user's");
        if (op.is_cancelled()) return failed(result, strata::errc::cancelled);
        if (c.now < c.until) {
            if (op.deadline <= c.now) return failed(result, strata::errc::timeout);
            if (op.deadline < c.until) c.until = op.deadline;
            return strata::signal::park;
        }
        if (ends_with != strata::errc::ok) return failed(result, ends_with);
        return strata::signal::done;
    }
    void end() noexcept {
        if (held != nullptr) held->end_use();
        held = nullptr;
    }

private:
    strata::signal failed(strata::outcome& result, strata::errc code) const {
        strata::error e{code, strata::phase::execute};
        if (code == strata::errc::connection_lost) e.set(all_lost ? strata::health::all_lost : strata::health::lost);
        result.replace(std::move(e));
        return strata::signal::failed;
    }
};

using leasing_operation = strata::operation<strata::operation_facts{}>;

/// What a test leases from, and the order in which callers stand in its queue.
template <class Source, class Layers = strata::layers<>>
struct rig {
    strata::simulated_world& world;
    Source& source;
    Layers& layers;
    probe_log& log;
    bool split = false;       ///< two lanes: the queue below is not one queue
    std::deque<int> queue{};  ///< tickets of those who wait, oldest first
    int tickets = 0;
};

/// How a lease is asked for.
struct ask {
    strata::duration takes{};
    strata::duration deadline{};  ///< zero: none
    bool reads = false;
    strata::errc ends_with = strata::errc::ok;
    bool leaves_transaction = false;
    bool throws = false;
    bool stuck_in_transaction = false;  ///< leaves one, and it cannot be rolled back
    bool all_lost = false;              ///< with `connection_lost`: the server says that it goes down
    bool locks = false;                 ///< `takes` is spent with the lock, after waiting for it
    std::string_view name{};
};

/// How it went.
struct went {
    strata::error error;
    std::exception_ptr thrown;
    bool queued = false;
    unsigned connection = 0;
    strata::time_point began{};  ///< when the queue was left, or at once
};

/// One operation of a simulated client: `co_await lease(rig, {.takes = 5ms})`.
template <class Rig, class Source, class Layers>
class lease_job {
public:
    lease_job(Rig& r, const ask& a)
        : rig_(r), work_{a.takes, a.ends_with, a.leaves_transaction, a.throws, a.stuck_in_transaction, a.all_lost, a.locks},
          flight_(r.world, r.layers, r.source, op_, work_) {
        op_.reads_only = a.reads;
        op_.name = a.name;
        if (a.deadline > strata::duration::zero()) op_.deadline = r.world.now() + a.deadline;
    }
    ~lease_job() {
        if (was_queued_) leave_queue();
    }

    [[nodiscard]] strata::operation_base& op() noexcept { return op_; }
    [[nodiscard]] strata::need begin() noexcept {
        const std::size_t waiting = rig_.source.snapshot().waiting;
        const strata::need n = flight_.start();
        if (flight_.is_queued()) {
            was_queued_ = went_.queued = true;
            rig_.queue.push_back(ticket_ = ++rig_.tickets);
        } else {
            went_.began = rig_.world.now();
            if (waiting != 0 && work_.number != 0 && !rig_.split) rig_.log.violated("a newcomer overtook those who wait");
        }
        return n;
    }
    [[nodiscard]] strata::need resume() noexcept {
        const strata::need n = flight_.resume();
        if (was_queued_ && !flight_.is_queued()) {
            const bool refused = n == strata::need::done && work_.number == 0;
            if (!refused && !rig_.split && rig_.queue.front() != ticket_) rig_.log.violated("a waiter overtook an older one");
            went_.began = rig_.world.now();
            leave_queue();
        }
        return n;
    }
    [[nodiscard]] strata::time_point parked_until() noexcept { return flight_.parked_until(); }
    [[nodiscard]] bool is_queued() const noexcept { return flight_.is_queued(); }
    void call(strata::detail::simulated_loop&, strata::detail::continuation) noexcept {}
    [[nodiscard]] went take() {
        went_.error = std::move(flight_.result().error());
        went_.thrown = std::move(flight_.thrown());
        went_.connection = work_.number;
        return std::move(went_);
    }

private:
    void leave_queue() noexcept {
        was_queued_ = false;
        for (auto i = rig_.queue.begin(); i != rig_.queue.end(); ++i) {
            if (*i == ticket_) {
                rig_.queue.erase(i);
                return;
            }
        }
    }

    Rig& rig_;
    leasing_operation op_;
    holding_work work_;
    strata::flight<strata::simulated_world, Layers, Source, leasing_operation, holding_work> flight_;
    int ticket_ = 0;
    bool was_queued_ = false;
    went went_;
};

template <class Source, class Layers>
auto lease(rig<Source, Layers>& r, const ask& a = {}) {
    return strata::detail::simulated_call<lease_job<rig<Source, Layers>, Source, Layers>>{std::in_place, r, a};
}

/// A pool with the tasks that look after it, in a simulated world.
template <bool SingleWriter = false>
struct pool_of {
    using source_type = strata::detail::pool_source<probe_driver<SingleWriter>, strata::inline_lock>;

    explicit pool_of(const strata::pool_options& o, strata::duration connecting = {}, std::uint64_t seed = 1)
        : world(seed), log{.connecting = connecting}, source(o, probe_options{&log}),
          r{world, source, none, log, SingleWriter && o.max_size > 1} {
        log.now = [this] { return world.now(); };
        opening = source.open_first(world);
        source.spawn_tasks([this](strata::background& b) {
            world.spawn(b);
            tasks.push_back(&b);
        });
    }
    ~pool_of() {
        for (strata::background* b : tasks) world.unspawn(*b);
        CHECK(log.violations == std::vector<std::string>{});
    }

    template <class Body>
    auto client(std::string name, Body body) {
        return world.spawn(std::move(name), std::move(body));
    }
    /// `n` clients at once, each for so long.
    void use(int n, strata::duration takes) {
        for (int i = 0; i < n; ++i)
            world.spawn("client", [this, takes]() -> strata::simulated_task<> {
                const went w = co_await lease(r, {.takes = takes});
                CHECK_FALSE(w.error);
            });
        world.run();
    }
    strata::pool_snapshot now() { return source.snapshot(); }

    strata::simulated_world world;
    probe_log log;
    strata::layers<> none;
    source_type source;
    rig<source_type> r;
    strata::error opening;
    std::vector<strata::background*> tasks{};
};

}  // namespace strata_test

#endif
