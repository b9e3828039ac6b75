// One connection that many statements share: each is sent as soon as it comes, and none waits for the answer to another.
//
// The connection is in libpq's pipeline mode. Whatever has come while somebody was at work, or in one turn of the loop, leaves in one
// piece. A statement that is no idempotent read has a Sync of its own, so that none can roll another back, and is answered when that
// is; reads that leave together share one. Those that the server skipped, since one before them failed, are sent again, each behind a
// Sync of its own, and nobody notices.
//
// Nobody owns the connection. Of those who wait for answers one, the leader, waits for the descriptor as well; what has come he takes
// for everybody, and when his own was among it another one leads. Whoever works on the connection does so alone (`busy_`); whoever
// comes meanwhile is among the arrivals, and who works looks there before he stops.
//
// Waits are bounded: each statement's by its operation's deadline. Who gives up leaves an answer that is dropped when it comes; his
// neighbours do not notice, and the server is not told.
#ifndef STRATA_DRIVER_POSTGRES_MULTIPLEXER_HPP
#define STRATA_DRIVER_POSTGRES_MULTIPLEXER_HPP

#include <strata/core/lock.hpp>
#include <strata/core/waiter.hpp>
#include <strata/driver/postgres/run.hpp>
#include <strata/driver/postgres/seat.hpp>

#include <poll.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// How much may be under way on one shared connection.
struct postgres_flow_limits {
    std::size_t statements = 256;  ///< sent and not answered
    std::size_t bytes = 65536;     ///< of their arguments
    std::size_t share = 64;        ///< reads behind one Sync
    bool shares = true;            ///< whether reads may share one at all
};

/// Thread-safe but for its construction and end. The connection belongs to it meanwhile, and must prepare its statements.
class postgres_multiplexer : postgres_run {
    using seat = postgres_seat;

public:
    using limits = postgres_flow_limits;
    postgres_multiplexer(postgres_connection& c, const limits& most) : postgres_run(c), limits_(most), sent_(64) {}
    ~postgres_multiplexer() { static_cast<void>(clear_connection()); }

    /// A statement comes. False when the connection is lost or is to be given back.
    [[nodiscard]] bool board(seat& s, signal& next) {
        {
            hold guard(lock_);
            if (gone_.load(std::memory_order_relaxed) || leaving_) return false;
            s.at_ = seat::at::arrived;
            s.error_ = {};
            arrivals_.push_back(s);
            load_.store(load() + 1, std::memory_order_relaxed);
            if (s.op_->deadline < earliest_) earliest_ = s.op_->deadline;
            if (s.yields_) {
                next = signal::park;
                if (!busy_ && !std::exchange(turn_taken_, true)) {
                    s.has_turn_ = true;
                    next = signal::turn;
                } else {
                    prepare_to_park(s);
                }
                return true;
            }
        }
        next = go_on(s);
        return true;
    }
    /// It has waited. Where it may block it returns only to park, or at its end.
    [[nodiscard]] signal go_on(seat& s) {
        for (bool readable = s.yields_ && s.leads_;; readable = wait_here(s)) {
            const signal next = step(s, readable);
            if (next != signal::io || s.yields_) return next;
        }
    }
    /// Its operation ends without waiting for the end.
    void abandon(seat& s) noexcept {
        s.yields_ = false;
        s.given_up_ = errc::cancelled;
        for (signal now = step(s, false); now == signal::park || now == signal::io; now = step(s, now == signal::io && wait_here(s)))
            if (now == signal::park) s.node_.block(never);
    }

    /// The leader's wait.
    [[nodiscard]] io_wait awaited() noexcept {
        hold guard(lock_);
        leads_until_ = earliest_ < wait_until_ ? earliest_ : wait_until_;
        return {::PQsocket(connection_.db_), wait_writable_, leads_until_};
    }
    /// Until when one who does not lead waits by himself: the leader looks after those whose time ends after his wait.
    [[nodiscard]] time_point waits_until(const seat& s) noexcept {
        if (!s.yields_) return s.op_->deadline;
        hold guard(lock_);
        return s.op_->deadline < leads_until_ ? s.op_->deadline : never;
    }
    [[nodiscard]] watch_place& watch() noexcept { return connection_.watch(); }

    /// Statements that are here.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool is_lost() const noexcept { return gone_.load(std::memory_order_acquire); }
    /// Takes nobody any more. True when nobody is here: then the connection may be given back.
    [[nodiscard]] bool leave() noexcept {
        hold guard(lock_);
        leaving_ = true;
        return load() == 0 && !busy_;
    }
    /// All that are here end soon, as if their callers had cancelled them.
    void cancel_all() noexcept;

private:
    enum class what : std::uint8_t { dropped, statement, sync };
    enum class readiness : std::uint8_t { ready, refused, waits };
    /// Something that was sent and will be answered.
    struct spot {
        seat* who = nullptr;  // of a Sync: whose statement it commits
        what kind = what::dropped;
    };
    /// Wakes some, once the lock has gone.
    class wakes {
    public:
        [[nodiscard]] bool full() const noexcept { return number_ == all_.size(); }
        void add(seat& s) noexcept {
            if (s.node_.grant(nullptr, all_[number_])) ++number_;
        }
        void go() noexcept {
            for (std::size_t i = 0; i < number_; ++i) std::exchange(all_[i], wake_call{})();
            number_ = 0;
        }

    private:
        std::array<wake_call, 32> all_;
        std::size_t number_ = 0;
    };

    [[nodiscard]] signal step(seat& s, bool readable);
    void work(seat& s, bool readable) noexcept;
    [[nodiscard]] bool wait_here(const seat& s) noexcept;
    [[nodiscard]] bool clear_connection() noexcept;

    // Under the lock.
    void prepare_to_park(seat& s) noexcept { s.node_.prepare(s.yields_ ? s.op_->waking() : nullptr); }
    void end(seat& s) noexcept {
        s.at_ = seat::at::ended;
        load_.store(load() - 1, std::memory_order_release);
        if (leader_ == &s) leader_ = nullptr;
    }
    [[nodiscard]] bool can_send() const noexcept { return (!arrivals_.empty() || !queue_.empty()) && !held_ && !is_full(); }
    /// In a loop: to whoever has the next turn, so that what becomes ready in one turn leaves together.
    [[nodiscard]] bool leaves_it_to_another(const seat& s) const noexcept { return s.yields_ && turn_taken_; }
    void look_at_guard(seat& s);
    [[nodiscard]] bool let_go(seat& s);
    void tell(seat_list& those, const seat& me, wakes& w) noexcept;
    void look_after(const seat& me, wakes& w) noexcept;
    void appoint(wakes& w) noexcept;
    STRATA_COLD void appoint_one() noexcept {
        wakes w;
        appoint(w);
        lock_.unlock();
        w.go();
        lock_.lock();
    }

    // Whoever is busy, without the lock.
    void send_queue();
    [[nodiscard]] readiness make_ready(seat& s);
    void plan(seat& s);
    [[nodiscard]] bool bind_and_send(seat& s);
    void sync(seat* whose);
    void note(seat* who, what kind) noexcept;
    void make_room();
    void flush() noexcept;
    void take_answers();
    void take_answer();
    void finish(seat& s) noexcept { ended_.push_back(s); }
    [[nodiscard]] bool is_stale(seat& s);
    void lose() noexcept;
    [[nodiscard]] std::size_t in_flight() const noexcept { return static_cast<std::size_t>(sent_end_ - answered_); }
    [[nodiscard]] bool is_broken() const noexcept { return connection_.lost_ || ::PQstatus(connection_.db_) != CONNECTION_OK; }
    [[nodiscard]] bool is_full() const noexcept { return in_flight() >= limits_.statements || bytes_ >= limits_.bytes; }
    [[nodiscard]] spot& at(std::uint64_t n) noexcept { return sent_[n & (sent_.size() - 1)]; }

    const postgres_flow_limits limits_;
    inline_lock lock_;
    seat_list arrivals_;
    seat* leader_ = nullptr;
    seat* leavers_ = nullptr;         // gave up while somebody was busy
    time_point earliest_ = never;     // nobody's deadline is before it
    time_point leads_until_ = never;  // the bound of the leader's wait
    time_point wait_until_ = never;   // while something is prepared
    bool wait_writable_ = false;
    bool turn_taken_ = false;  // somebody will send in his turn
    bool busy_ = false;
    bool leaving_ = false;
    bool cancelling_ = false;
    std::atomic<std::size_t> load_{0};
    std::atomic<bool> gone_{false};

    // Of whoever is busy; under the lock while nobody is.
    seat_list queue_;         // to be sent
    seat_list ended_;         // their answers were taken, and they were not told yet
    seat_list again_;         // skipped by the server
    std::vector<spot> sent_;  // a ring
    std::uint64_t answered_ = 0, sent_end_ = 0;
    std::size_t bytes_ = 0;   // of arguments, since nothing was under way
    std::size_t shared_ = 0;  // reads that were sent since the last Sync
    seat* preparing_for_ = nullptr;
    bool held_ = false;    // what comes next must be prepared, and waits for the answers before it, or for the server
    bool unsent_ = false;  // bytes
};

/// One thing after the other that can be done without waiting.
inline signal postgres_multiplexer::step(seat& s, bool readable) {
    lock_.lock();
    if (std::exchange(s.has_turn_, false)) turn_taken_ = false;
    for (;;) {
        look_at_guard(s);
        if (!busy_ && (readable || (can_send() && !leaves_it_to_another(s)))) {
            work(s, std::exchange(readable, false));
            continue;
        }
        if (s.at_ == seat::at::ended) {
            if (!busy_ && leader_ == nullptr && (in_flight() != 0 || !queue_.empty())) appoint_one();
            lock_.unlock();
            s.leads_ = false;
            return s.error_ || s.thrown_ ? signal::failed : signal::done;
        }
        s.leads_ = leader_ == &s || (!busy_ && leader_ == nullptr);
        if (s.leads_)
            leader_ = &s;
        else
            prepare_to_park(s);
        lock_.unlock();
        return s.leads_ ? signal::io : signal::park;
    }
}

/// With the lock, which it leaves in between. Afterwards nothing can be done without waiting, unless it came in the last moment.
inline void postgres_multiplexer::work(seat& s, bool readable) noexcept {
    busy_ = true;
    wakes w;
    do {
        while (seat* const n = arrivals_.pop()) {
            n->at_ = seat::at::queued;
            queue_.push_back(*n);
        }
        lock_.unlock();
        w.go();
        try {
            if (std::exchange(readable, false)) take_answers();
            send_queue();
        } catch (...) {  // no memory: what libpq has and what we know of it may differ
            connection_.lost_ = true;
        }
        if (is_broken()) lose();
        lock_.lock();
        if (is_broken()) gone_.store(true, std::memory_order_release);
        tell(ended_, s, w);
        while (seat* const n = leavers_) {
            leavers_ = n->next_leaver_;
            n->leaves_ = false;
            if (n->at_ == seat::at::ended || !let_go(*n)) continue;
            if (n != &s && !w.full()) w.add(*n);
        }
        look_after(s, w);
    } while (can_send() && !leaves_it_to_another(s));
    if (leader_ == nullptr) {
        if (s.at_ != seat::at::ended)
            leader_ = &s;
        else
            appoint(w);
    }
    wait_until_ = preparing_for_ != nullptr ? connection_.awaited().until : never;
    const bool writable = preparing_for_ != nullptr ? connection_.awaited().writable : unsent_;
    if (std::exchange(wait_writable_, writable) != writable && leader_ != &s)
        connection_.interrupt();  // the leader waits for something else
    busy_ = false;
    lock_.unlock();
    w.go();
    lock_.lock();
}

/// For a thread that may block: until there is something to read, or a look around is due.
inline bool postgres_multiplexer::wait_here(const seat& s) noexcept {
    constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
    const io_wait w = awaited();
    ::pollfd p{w.descriptor, static_cast<short>(POLLIN | (w.writable ? POLLOUT : 0)), 0};
    const time_point until = s.op_->deadline < w.until ? s.op_->deadline : w.until;
    const duration left = time_left(until, slice);
    static_cast<void>(::poll(&p, 1, left > duration::zero() ? static_cast<int>(left / std::chrono::milliseconds{1}) + 1 : 0));
    return true;
}

inline void postgres_multiplexer::look_at_guard(seat& s) {
    if (s.at_ == seat::at::ended || s.leaves_) return;
    if (s.given_up_ == errc::ok) {
        if (s.op_->is_cancelled() || cancelling_)
            s.given_up_ = errc::cancelled;
        else if (s.op_->deadline == never || steady_now() < s.op_->deadline)
            return;
        else
            s.given_up_ = errc::timeout;
    }
    if (s.at_ == seat::at::arrived || !busy_) {
        static_cast<void>(let_go(s));
    } else {
        s.leaves_ = true;
        s.next_leaver_ = std::exchange(leavers_, &s);
    }
}

/// Who has given up: what was sent will be answered to nobody. False for what must be waited for, which has a bound.
inline bool postgres_multiplexer::let_go(seat& s) {
    effect did = effect::none;
    if (s.at_ == seat::at::arrived) {
        arrivals_.remove(s);
    } else if (s.at_ == seat::at::queued) {
        if (preparing_for_ == &s) return false;
        queue_.remove(s);
    } else {
        at(s.number_) = {};
        if (!s.idempotent_) {
            did = effect::unknown;
            for (std::uint64_t n = s.number_; n != sent_end_; ++n)
                if (at(n).who == &s) at(n).who = nullptr;
        }
    }
    s.error_ = error{s.given_up_, phase::execute, did};
    end(s);
    return true;
}

inline void postgres_multiplexer::tell(seat_list& those, const seat& me, wakes& w) noexcept {
    while (seat* const n = those.pop()) {
        end(*n);
        if (n == &me) continue;
        if (n->leads_ && n->yields_) connection_.interrupt();
        if (w.full()) {
            lock_.unlock();
            w.go();
            lock_.lock();
        }
        w.add(*n);
    }
}

inline void postgres_multiplexer::cancel_all() noexcept {
    hold guard(lock_);
    cancelling_ = true;
    earliest_ = time_point::min();
    connection_.interrupt();
}

/// After the last one has gone.
inline bool postgres_multiplexer::clear_connection() noexcept {
    under_way_ = connection_.busy_ = false;
    if (!is_broken() && ::PQpipelineStatus(connection_.db_) != PQ_PIPELINE_OFF && ::PQexitPipelineMode(connection_.db_) == 0)
        connection_.lost_ = true;
    return !connection_.lost_;
}

/// By whoever is busy: those who do not wait for their deadline themselves.
inline void postgres_multiplexer::look_after(const seat& me, wakes& w) noexcept {
    if (earliest_ == never) return;
    const time_point now = steady_now();
    if (now < earliest_ && !cancelling_) return;
    earliest_ = never;
    const auto look = [&](seat& n) {
        if (n.op_->deadline > now && !cancelling_) {
            if (n.op_->deadline < earliest_) earliest_ = n.op_->deadline;
        } else if (n.yields_ && &n != &me && !n.leaves_) {
            if (w.full())
                earliest_ = now;
            else
                w.add(n);
        }
    };
    for (seat* n = queue_.first(); n != nullptr; n = n->next_) look(*n);
    for (seat* n = arrivals_.first(); n != nullptr; n = n->next_) look(*n);
    for (std::uint64_t n = answered_; n != sent_end_; ++n)
        if (at(n).kind == what::statement) look(*at(n).who);
}

/// Somebody who is here leads from now on: the newest, so that he leads for long.
inline void postgres_multiplexer::appoint(wakes& w) noexcept {
    for (std::uint64_t n = sent_end_; n != answered_ && leader_ == nullptr; --n)
        if (seat* const s = at(n - 1).who; s != nullptr && !s->leaves_) leader_ = s;
    if (leader_ == nullptr) leader_ = queue_.first();
    if (leader_ != nullptr) w.add(*leader_);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#include <strata/driver/postgres/multiplexer_work.hpp>

#endif
