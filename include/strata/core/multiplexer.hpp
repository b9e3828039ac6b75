// One connection that many statements share: each is sent as soon as it comes, and none waits for the answer to another.
//
// Whatever has come while somebody was at work, or in one turn of the loop, leaves in one piece. A statement that is no idempotent read
// has a Sync of its own, so that none can roll another back, and is answered when that is; reads that leave together share one. Those
// that the server skipped, since one before them failed, are sent again, each behind a Sync of its own, and nobody notices.
//
// Nobody owns the connection. Of those who wait for answers one, the leader, waits for the descriptor as well; what has come he takes
// for everybody, and when his own was among it another one leads. Whoever works on the connection does so alone (`busy_`); whoever
// comes meanwhile is among the arrivals, and who works looks there before he stops.
//
// Waits are bounded: each statement's by its operation's deadline. Who gives up leaves an answer that is dropped when it comes; his
// neighbours do not notice, and the server is not told.
//
// The algorithm knows no database. `Link` is the connection: it finds and sends statements, and takes answers; see `shared_link`.
#ifndef STRATA_CORE_MULTIPLEXER_HPP
#define STRATA_CORE_MULTIPLEXER_HPP

#include <strata/core/kept_apart.hpp>
#include <strata/core/lock.hpp>
#include <strata/core/seat.hpp>

#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// How much may be under way on one shared connection.
struct flow_limits {
    std::size_t statements = 256;  ///< sent and not answered
    std::size_t bytes = 65536;     ///< of their arguments
    std::size_t share = 64;        ///< reads behind one Sync; 1: none shares
    kept_apart* apart = nullptr;   ///< hears how long each statement kept the others waiting, and how much it brought
};

/// Whether a statement can be sent.
enum class readiness : std::uint8_t {
    ready,
    refused,    ///< with an error
    waits,      ///< for the server: `awaited()` says for what, then ask `go_on`
    when_idle,  ///< it must be prepared, and nothing else may be under way then
};

/// What has come for one statement, or for one Sync.
struct shared_answer {
    enum class is : std::uint8_t {
        answered,
        skipped,  ///< not run, for one before it failed
        stale,    ///< not run, for it must be prepared anew
        more,     ///< of a Sync: to be asked for again, whatever else this says holds
        broken,   ///< the connection makes no sense any more
    };
    is what = is::answered;
    error failed;
    std::int64_t affected = 0;
    std::size_t bytes = 0;  ///< about
    std::exception_ptr thrown;
};

/// The connection, as `multiplexer` wants it. Called by one thread at a time, but for `interrupt`.
template <class L>
concept shared_link = requires(L& l, const L& c, typename L::call& call, typename L::call* listener, error& e, shared_answer& a, bool yes) {
    // `call::key()` is missing: the same for all statements of one text
    { std::as_const(call).key() } -> std::same_as<std::uint64_t>;
    // `find(call, idle, error)` is missing: whether the statement can be sent; `idle`: nothing is under way
    { l.find(call, yes, e) } -> std::same_as<readiness>;
    // `go_on(error)` is missing: after `waits`
    { l.go_on(e) } -> std::same_as<readiness>;
    // `may_share(call)` is missing: of one that was found, whether others may stand behind the same Sync
    { l.may_share(call) } -> std::same_as<bool>;
    // `send(call, error)` is missing: the bytes of its arguments, or -1 with the error
    { l.send(call, e) } -> std::same_as<std::ptrdiff_t>;
    // `sync()` is missing: puts a Sync behind what was sent
    { l.sync() } -> std::same_as<void>;
    // `flush()` is missing: true when all bytes have left
    { l.flush() } -> std::same_as<bool>;
    // `listen()` is missing: takes in what has come
    { l.listen() } -> std::same_as<void>;
    // `has_answer()` is missing: whether the next answer can be taken without waiting
    { l.has_answer() } -> std::same_as<bool>;
    // `take(call, answer)` is missing: the answer to the oldest statement; null: nobody wants it
    { l.take(listener, a) } -> std::same_as<void>;
    // `take_sync(call, answer)` is missing: that of the oldest Sync; `call`: the statement that it commits, or null
    { l.take_sync(listener, a) } -> std::same_as<void>;
    // `is_broken()` is missing: it cannot be used any more, and `lost_error(effect)`: which tells it
    { c.is_broken() } -> std::same_as<bool>;
    { c.lost_error(effect::none) } -> std::same_as<error>;
    // `looks_alive()` is missing: of an idle one, whether the server has not given it up; does not wait
    { l.looks_alive() } -> std::same_as<bool>;
    // `awaited()` is missing: the descriptor, and of a statement that `waits` what for
    { c.awaited() } -> std::same_as<io_wait>;
    // `wait(io_wait)` is missing: blocks the thread until then
    { l.wait(c.awaited()) } -> std::same_as<void>;
    { l.watch() } -> std::same_as<watch_place&>;
    // `clear()` is missing: fit for another use, once nothing is under way
    { l.clear() } -> std::same_as<void>;
};

/// Thread-safe but for its construction and end.
template <class Link>
class multiplexer {
    using seat = detail::seat<Link>;
    using seat_list = detail::seat_list<Link>;
    using call = typename Link::call;
    static_assert(shared_link<Link>);

public:
    using limits = flow_limits;

    template <class... Args>
    explicit multiplexer(const limits& most, Args&&... link) : link_(std::forward<Args>(link)...), limits_(most), sent_(64) {}
    multiplexer(const multiplexer&) = delete;
    multiplexer& operator=(const multiplexer&) = delete;
    ~multiplexer() { link_.clear(); }

    /// A statement comes. False when the connection is lost.
    [[nodiscard]] bool board(seat& s, signal& next);
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
        return {link_.awaited().descriptor, wait_writable_, leads_until_};
    }
    /// Until when one who does not lead waits by himself: the leader looks after those whose time ends after his wait.
    [[nodiscard]] time_point waits_until(const seat& s) noexcept {
        if (!s.yields_) return s.op_->deadline;
        hold guard(lock_);
        return s.op_->deadline < leads_until_ ? s.op_->deadline : never;
    }
    [[nodiscard]] watch_place& watch() noexcept { return link_.watch(); }

    /// Statements that are here.
    [[nodiscard]] std::size_t load() const noexcept { return load_.load(std::memory_order_relaxed); }
    [[nodiscard]] bool is_lost() const noexcept { return gone_.load(std::memory_order_acquire); }
    /// Why it takes nobody.
    [[nodiscard]] STRATA_COLD error refusal() const {
        return error{errc::connection_lost, "the shared connection was lost", phase::execute};
    }
    /// All that are here end soon, as if their callers had cancelled them.
    STRATA_COLD void cancel_all() noexcept {
        hold guard(lock_);
        cancelling_ = true;
        earliest_ = time_point::min();
        link_.watch().nudge();
    }

private:
    enum class what : std::uint8_t { dropped, statement, sync };
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
    /// For a thread that may block: until there is something to read, or a look around is due.
    [[nodiscard]] bool wait_here(const seat& s) noexcept {
        constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
        io_wait w = awaited();
        for (const time_point until : {time_point{s.op_->deadline}, add_saturated(steady_now(), slice)})
            if (until < w.until) w.until = until;
        link_.wait(w);
        return true;
    }

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
    void stays(seat& s) noexcept;
    void tell(const seat& me, wakes& w) noexcept;
    void let_leavers_go(const seat& me, wakes& w) noexcept;
    void look_after(const seat& me, wakes& w) noexcept;
    void appoint(wakes& w) noexcept;
    /// For one more: leaves the lock in between, where no more can be remembered.
    void make_room(wakes& w) noexcept {
        if (!w.full()) [[likely]]
            return;
        lock_.unlock();
        w.go();
        lock_.lock();
    }

    // Whoever is busy, without the lock.
    void send_queue();
    [[nodiscard]] bool look_before_first();
    [[nodiscard]] readiness make_ready(seat& s, error& e);
    void sync(seat* whose);
    void note(seat* who, what kind) noexcept { at(sent_end_++) = {who, kind}; }
    void make_room_in_ring();
    void flush() { unsent_ = !link_.flush(); }
    void take_answers();
    void take_answer(time_point now);
    void take_sync();
    void finish(seat& s, error&& e) noexcept;
    void lose() noexcept;
    [[nodiscard]] std::size_t in_flight() const noexcept { return static_cast<std::size_t>(sent_end_ - answered_); }
    [[nodiscard]] bool is_full() const noexcept { return in_flight() >= limits_.statements || bytes_ >= limits_.bytes; }
    [[nodiscard]] spot& at(std::uint64_t n) noexcept { return sent_[n & (sent_.size() - 1)]; }

    Link link_;
    const limits limits_;
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
    time_point heard_at_{};  // when the last answers came, or else the first of those was sent that wait
    duration kept_waiting_{};
    bool held_ = false;    // what comes next must be prepared, and waits for the answers before it, or for the server
    bool unsent_ = false;  // bytes
    bool lost_ = false;    // `lose` has told everybody
};

template <class Link>
bool multiplexer<Link>::board(seat& s, signal& next) {
    {
        hold guard(lock_);
        if (gone_.load(std::memory_order_relaxed)) return false;
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

/// One thing after the other that can be done without waiting.
template <class Link>
signal multiplexer<Link>::step(seat& s, bool readable) {
    lock_.lock();
    if (std::exchange(s.has_turn_, false)) turn_taken_ = false;
    for (;;) {
        look_at_guard(s);
        if (!busy_ && (readable || (can_send() && !leaves_it_to_another(s)))) {
            work(s, std::exchange(readable, false));
            continue;
        }
        if (s.at_ == seat::at::ended) {
            if (!busy_ && leader_ == nullptr && (in_flight() != 0 || !queue_.empty())) {
                wakes w;
                appoint(w);
                lock_.unlock();
                w.go();
            } else {
                lock_.unlock();
            }
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
template <class Link>
void multiplexer<Link>::work(seat& s, bool readable) noexcept {
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
            if (!lost_ && !link_.is_broken()) send_queue();
        } catch (...) {  // no memory: what the link has and what we know of it may differ
            lost_ = true;
        }
        lost_ = lost_ || link_.is_broken();
        if (lost_) lose();
        lock_.lock();
        if (lost_) gone_.store(true, std::memory_order_release);
        tell(s, w);
        let_leavers_go(s, w);
        look_after(s, w);
    } while (can_send() && !leaves_it_to_another(s));
    if (leader_ == nullptr) {
        if (s.at_ != seat::at::ended)
            leader_ = &s;
        else
            appoint(w);
    }
    const io_wait wanted = link_.awaited();
    wait_until_ = preparing_for_ != nullptr ? wanted.until : never;
    const bool writable = preparing_for_ != nullptr ? wanted.writable : unsent_;
    if (std::exchange(wait_writable_, writable) != writable && leader_ != &s) link_.watch().nudge();  // it waits for something else
    busy_ = false;
    lock_.unlock();
    w.go();
    lock_.lock();
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#include <strata/core/multiplexer_guests.hpp>
#include <strata/core/multiplexer_work.hpp>

#endif
