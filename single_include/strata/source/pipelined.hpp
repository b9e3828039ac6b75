// Generated from include/strata/source/pipelined.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_SOURCE_PIPELINED_HPP
#define STRATA_SINGLE_SOURCE_PIPELINED_HPP

#include <strata/strata.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

// Which statements are kept off shared connections for a while, since they keep the others waiting: what was slow, or brought much.
//
// Each time that a statement is the one that the others waited for, longer than the threshold, its level rises by 8; each time that it is
// not, it falls by 1. At 16 it is kept apart for `period`, then tried again among the others; if it shows itself slow once more, for twice
// as long, up to 32 times. So one hiccup of the server moves nothing, and what is slow each time is moved after two. What brings more
// than the bound moves at once.
//
// A table of fixed size: while nothing was slow, asking it is one load. Where it is full, what is new to it is not kept apart.
#ifndef STRATA_CORE_KEPT_APART_HPP
#define STRATA_CORE_KEPT_APART_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

struct apart_limits {
    duration slow{};        ///< zero: nothing is slow
    std::size_t bytes = 0;  ///< of one result; 0: nothing is much
    duration period = std::chrono::seconds{10};
};

/// Thread-safe. Statements are known by a hash of their text.
class kept_apart {
public:
    explicit kept_apart(const apart_limits& limits) noexcept : limits_(limits) {}

    /// Whether it is to have a connection for itself.
    [[nodiscard]] STRATA_INLINE bool contains(std::uint64_t key) noexcept {
        return known_.load(std::memory_order_relaxed) != 0 && look_up(key);
    }
    /// It was answered. `kept_waiting`: how long all waited for it; zero where they waited for another.
    STRATA_INLINE void judge(std::uint64_t key, duration kept_waiting, std::size_t bytes, time_point now) noexcept {
        const bool slow = limits_.slow > duration::zero() && kept_waiting > limits_.slow;
        const bool much = limits_.bytes != 0 && bytes > limits_.bytes;
        if (slow || much || known_.load(std::memory_order_relaxed) != 0) [[unlikely]]
            note(key, slow, much, now);
    }
    /// Statements that are kept apart at the moment, or were.
    [[nodiscard]] std::size_t size() const noexcept { return known_.load(std::memory_order_relaxed); }

private:
    static constexpr std::size_t places = 256;
    static constexpr unsigned tries = 8;
    static constexpr unsigned rise = 8, full = 16;

    struct entry {
        std::uint64_t key = 0;
        unsigned level = 0;
        unsigned times = 0;  // it was kept apart, in a row
        time_point until{};
    };

    /// Its entry, or the place for one; null where there is none.
    [[nodiscard]] entry* find(std::uint64_t key) noexcept {
        for (unsigned i = 0; i < tries; ++i) {
            entry& e = table_[(key + i) % places];
            if (e.key == key || e.key == 0) return &e;
        }
        return nullptr;
    }
    [[nodiscard]] STRATA_COLD bool look_up(std::uint64_t key) noexcept {
        hold guard(lock_);
        const entry* const e = find(key);
        return e != nullptr && e->key == key && e->until != time_point{} && steady_now() < e->until;
    }
    STRATA_COLD void note(std::uint64_t key, bool slow, bool much, time_point now) noexcept {
        hold guard(lock_);
        entry* const e = find(key);
        if (e == nullptr || (e->key == 0 && !slow && !much)) return;
        if (e->key == 0) {
            e->key = key;
            known_.fetch_add(1, std::memory_order_relaxed);
        }
        if (now < e->until) return;  // it was on its way already
        if (!slow && !much) {
            if (e->level != 0 && --e->level == 0) e->times = 0;
            return;
        }
        e->level += much ? full : rise;
        if (e->level < full) return;
        e->level = full - rise;  // once more, and it goes
        const unsigned shift = e->times < 5 ? e->times++ : 5;
        e->until = add_saturated(now, limits_.period * (1 << shift));
    }

    const apart_limits limits_;
    inline_lock lock_;
    std::atomic<std::size_t> known_{0};
    std::array<entry, places> table_{};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// A statement's place on a connection that it shares: what it takes for its connection, and its notes on the way. See multiplexer.hpp.
#ifndef STRATA_CORE_SEAT_HPP
#define STRATA_CORE_SEAT_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Link>
class multiplexer;
template <class Link>
class seat_list;

/// Where one who sits may go when his connection is lost: to another one. Of the source's.
template <class Link>
class seat_owner {
public:
    /// Leaves the lost connection; `to` is another one, or null. True when one must be waited for, on this node, until then.
    [[nodiscard]] virtual bool move(operation_base& op, waiter& node, multiplexer<Link>*& to, time_point& until) noexcept = 0;
    /// Ends the wait: the connection, or null.
    [[nodiscard]] virtual multiplexer<Link>* arrive(waiter& node) noexcept = 0;

protected:
    ~seat_owner() = default;
};

/// Lies in the operation. One operation's, but for what the multiplexer does under its lock.
template <class Link>
class seat {
public:
    using call = typename Link::call;

    seat() noexcept = default;
    seat(const seat&) = delete;
    seat& operator=(const seat&) = delete;

    // For the engine; see core/pacing.hpp. Before each resume; others may read what does not change while it is aboard.
    void on_resume(operation_base& op, moment) noexcept {
        if (op_ != &op) op_ = &op;
    }
    [[nodiscard]] waiter* parked_on() noexcept { return &node_; }
    [[nodiscard]] time_point parked_until() noexcept { return moving_ ? moves_until_ : on_->waits_until(*this); }
    void may_yield(bool yes) noexcept {
        if (yields_ != yes) yields_ = yes;  // others look at it, under the lock, once it sits
    }
    [[nodiscard]] io_wait awaited() noexcept { return on_->awaited(*this); }
    [[nodiscard]] watch_place& watch() noexcept { return on_->watch(); }
    // Its operation's deadline and cancel are asked by itself.
    void guard(const interruption*) noexcept {}
    [[nodiscard]] static const interruption* guard() noexcept { return nullptr; }

    /// Where it sits from now on.
    void sit(multiplexer<Link>& m, seat_owner<Link>* owner) noexcept {
        on_ = &m;
        owner_ = owner;
    }

    /// The statement begins. `idempotent`: a read that may be sent again.
    [[nodiscard]] signal begin(call& statement, bool idempotent) {
        call_ = &statement;
        idempotent_ = idempotent;
        alone_ = renewed_ = has_moved_ = moving_ = false;
        return board();
    }
    [[nodiscard]] signal go_on() {
        if (!moving_) [[likely]]
            return told(on_->go_on(*this));
        if (!node_.is_granted() && !op_->is_cancelled() && steady_now() < moves_until_) return signal::park;  // woken for nothing
        moving_ = false;
        on_ = owner_->arrive(node_);
        if (on_ != nullptr) return board();
        if (op_->is_cancelled()) error_ = error{errc::cancelled, phase::execute};
        return signal::failed;
    }
    /// Leaves, whether it has ended or not; what was sent is not taken back.
    void end() noexcept {
        if (std::exchange(moving_, false)) static_cast<void>(owner_->arrive(node_));
        if (stay_ == stay::aboard) on_->abandon(*this);
        stay_ = stay::none;
    }
    [[nodiscard]] bool is_seated() const noexcept { return stay_ != stay::none; }

    error error_;
    std::int64_t affected_ = 0;
    operation_base* op_ = nullptr;

private:
    friend class multiplexer<Link>;
    friend class seat_list<Link>;

    /// Just come; in the queue of what is to be sent; sent; answered.
    enum class at : std::uint8_t { nowhere, arrived, queued, sent, ended };
    /// As its operation knows it: what has ended is aboard until it has been told, for others may be telling it.
    enum class stay : std::uint8_t { none, aboard, over };

    [[nodiscard]] signal board() {
        leads_ = lost_with_connection_ = false;
        given_up_ = errc::ok;
        signal next = signal::failed;
        stay_ = stay::aboard;
        if (on_->board(*this, next)) [[likely]]
            return told(next);
        stay_ = stay::over;
        error_ = on_->refusal();
        lost_with_connection_ = true;
        return move_or_fail();
    }
    [[nodiscard]] signal told(signal next) {
        if (next == signal::done || next == signal::failed) stay_ = stay::over;
        if (next != signal::failed) [[likely]]
            return next;
        return move_or_fail();
    }
    [[nodiscard]] STRATA_COLD signal move_or_fail() {
        if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
        if (!lost_with_connection_ || owner_ == nullptr || std::exchange(has_moved_, true)) return signal::failed;
        multiplexer<Link>* to = nullptr;
        moving_ = owner_->move(*op_, node_, to, moves_until_);
        on_ = to;
        if (moving_) return signal::park;
        return to != nullptr ? board() : signal::failed;
    }

    multiplexer<Link>* on_ = nullptr;
    seat_owner<Link>* owner_ = nullptr;
    call* call_ = nullptr;
    seat* next_ = nullptr;  // in one list
    seat* previous_ = nullptr;
    seat* next_leaver_ = nullptr;
    std::uint64_t number_ = 0;  // of what was sent
    /// Whoever works writes it without the lock; only `arrived` and `ended`, which are written under it, mean something to others.
    class place {
    public:
        operator at() const noexcept { return value_.load(std::memory_order_relaxed); }
        void operator=(at value) noexcept { value_.store(value, std::memory_order_relaxed); }

    private:
        std::atomic<at> value_{at::nowhere};
    };
    place at_;
    stay stay_ = stay::none;
    bool yields_ = false;
    bool idempotent_ = false;            // a read: it may be sent again
    bool alone_ = false;                 // it was skipped: behind a Sync of its own
    bool has_turn_ = false;              // it sends for all, in the next turn
    bool leads_ = false;                 // it waits for the descriptor
    bool leaves_ = false;                // whoever is busy will let it go
    bool renewed_ = false;               // its prepared statement was stale once
    bool lost_with_connection_ = false;  // and nothing came of it
    bool has_moved_ = false;
    bool moving_ = false;
    time_point moves_until_{};
    errc given_up_ = errc::ok;
    waiter node_;
    std::exception_ptr thrown_;  // by its sink
};

/// Seats in a row.
template <class Link>
class seat_list {
public:
    [[nodiscard]] seat<Link>* first() const noexcept { return first_; }
    [[nodiscard]] seat<Link>* last() const noexcept { return last_; }
    [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
    void push_back(seat<Link>& s) noexcept {
        s.next_ = nullptr;
        s.previous_ = last_;
        (last_ != nullptr ? last_->next_ : first_) = &s;
        last_ = &s;
    }
    void push_front(seat<Link>& s) noexcept {
        s.previous_ = nullptr;
        s.next_ = first_;
        (first_ != nullptr ? first_->previous_ : last_) = &s;
        first_ = &s;
    }
    void remove(seat<Link>& s) noexcept {
        (s.previous_ != nullptr ? s.previous_->next_ : first_) = s.next_;
        (s.next_ != nullptr ? s.next_->previous_ : last_) = s.previous_;
    }
    [[nodiscard]] seat<Link>* pop() noexcept {
        seat<Link>* const s = first_;
        if (s != nullptr) remove(*s);
        return s;
    }
    [[nodiscard]] static seat<Link>* after(const seat<Link>& s) noexcept { return s.next_; }

private:
    seat<Link>* first_ = nullptr;
    seat<Link>* last_ = nullptr;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// What a connection must be able to do to be shared by many statements.
#ifndef STRATA_CORE_SHARED_LINK_HPP
#define STRATA_CORE_SHARED_LINK_HPP

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
        stale,    ///< nothing came of it, for it must be prepared anew, or stood in its neighbours' way: once more, alone
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

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What a multiplexer consists of; see multiplexer.hpp.
#ifndef STRATA_CORE_MULTIPLEXER_STATE_HPP
#define STRATA_CORE_MULTIPLEXER_STATE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

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
    explicit multiplexer(const limits& most, Args&&... link)
        : link_(std::forward<Args>(link)...), limits_(most), descriptor_(link_.awaited().descriptor), sent_(64) {}
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
        {
            hold guard(lock_);  // whoever works may be about to let it go
            s.yields_ = false;
            s.given_up_ = errc::cancelled;
        }
        for (signal now = step(s, false); now == signal::park || now == signal::io; now = step(s, now == signal::io && wait_here(s)))
            if (now == signal::park) s.node_.block(never);
    }

    /// The leader's wait.
    [[nodiscard]] io_wait awaited(const seat& s) noexcept {
        hold guard(lock_);
        if (leader_ != &s) [[unlikely]]  // it ended, or was relieved, before it began to wait: the nudge may have gone to another
            return {descriptor_, wait_writable_, time_point::min()};
        leads_until_ = earliest_ < wait_until_ ? earliest_ : wait_until_;
        if (wait_writable_) [[unlikely]]  // the server may want to be read from before it reads on
            leads_until_ = std::min(leads_until_, add_saturated(steady_now(), std::chrono::milliseconds{5}));
        return {descriptor_, wait_writable_, leads_until_};
    }
    /// Until when one who does not lead waits by himself: the leader looks after those whose time ends after his wait.
    [[nodiscard]] time_point waits_until(const seat& s) noexcept {
        hold guard(lock_);
        if (s.leaves_) return never;  // whoever works lets it go
        if (!s.yields_) return s.op_->deadline;
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
        std::uint64_t key = 0;  // of a statement whose caller has given up
        std::size_t bytes = 0;  // of its arguments
    };
    /// Wakes some, once the lock has gone. Empty when it ends; nothing is made before it is needed.
    class wakes {
    public:
        wakes() noexcept {}
        wakes(const wakes&) = delete;
        wakes& operator=(const wakes&) = delete;
        ~wakes() {}
        [[nodiscard]] bool full() const noexcept { return number_ == most; }
        void add(seat& s) noexcept {
            wake_call w;
            if (s.node_.grant(nullptr, w)) std::construct_at(&all_[number_++], std::move(w));
        }
        void go() noexcept {
            for (std::size_t i = 0; i < number_; ++i) {
                all_[i]();
                std::destroy_at(&all_[i]);
            }
            number_ = 0;
        }

    private:
        static constexpr std::size_t most = 32;
        union {
            wake_call all_[most];
        };
        std::size_t number_ = 0;
    };

    [[nodiscard]] signal step(seat& s, bool readable);
    void work(seat& s, bool readable) noexcept;
    /// For a thread that may block: until there is something to read, or a look around is due.
    [[nodiscard]] bool wait_here(const seat& s) noexcept {
        constexpr duration slice = std::chrono::milliseconds{10};  // how soon a cancel by another thread is seen
        io_wait w = awaited(s);
        const time_point soon = add_saturated(steady_now(), slice);
        if (s.given_up_ == errc::ok && s.op_->deadline < w.until) w.until = s.op_->deadline;
        if (soon < w.until) w.until = soon;
        link_.wait(w);
        return true;
    }

    // Under the lock.
    void prepare_to_park(seat& s) { s.node_.prepare(s.yields_ ? s.op_->waking() : nullptr); }
    void end(seat& s) noexcept {
        s.at_ = seat::at::ended;
        load_.store(load() - 1, std::memory_order_release);
        if (leader_ == &s) leader_ = nullptr;
    }
    [[nodiscard]] bool can_send() const noexcept { return (!arrivals_.empty() || !queue_.empty()) && !held_ && !is_full(); }
    /// In a loop: to whoever has the next turn, so that what becomes ready in one turn leaves together.
    [[nodiscard]] bool leaves_it_to_another(const seat& s) const noexcept { return s.yields_ && turn_taken_; }
    /// Who may block does not rely on a loop: it may be the one that he blocks, or nobody may run it any more.
    [[nodiscard]] bool takes_the_lead(const seat& s) const noexcept { return !s.yields_ && leader_->yields_; }
    void look_at_guard(seat& s);
    [[nodiscard]] bool let_go(seat& s);
    void stays(seat& s) noexcept;
    void tell(const seat& me, wakes& w) noexcept;
    void rouse(seat& s, wakes& w) noexcept;
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
    void note(seat* who, what kind, std::size_t bytes = 0) noexcept { at(sent_end_++) = {who, kind, 0, bytes}; }
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
    int descriptor_;
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
    std::size_t bytes_ = 0;   // of the arguments of what is under way
    std::size_t shared_ = 0;  // reads that were sent since the last Sync
    seat* preparing_for_ = nullptr;
    time_point heard_at_{};  // when the last answers came, or else the first of those was sent that wait
    duration kept_waiting_{};
    bool held_ = false;    // what comes next must be prepared, and waits for the answers before it, or for the server
    bool unsent_ = false;  // bytes
    bool lost_ = false;    // `lose` has told everybody
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// Those who sit on a shared connection: who gives up, who is told, and who leads.
#ifndef STRATA_CORE_MULTIPLEXER_GUESTS_HPP
#define STRATA_CORE_MULTIPLEXER_GUESTS_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

template <class Link>
void multiplexer<Link>::look_at_guard(seat& s) {
    if (s.at_ == seat::at::ended || (s.leaves_ && busy_)) return;
    if (s.leaves_) stays(s);  // it was being prepared
    if (s.given_up_ == errc::ok) {
        if (s.op_->is_cancelled() || cancelling_)
            s.given_up_ = errc::cancelled;
        else if (s.op_->deadline == never || steady_now() < s.op_->deadline)
            return;
        else
            s.given_up_ = errc::timeout;
    }
    if ((s.at_ == seat::at::arrived || !busy_) && let_go(s)) return;
    s.leaves_ = true;
    s.next_leaver_ = std::exchange(leavers_, &s);
}

/// Who has given up: what was sent will be answered to nobody. False for what is being prepared: that must be waited for, and has a bound.
template <class Link>
bool multiplexer<Link>::let_go(seat& s) {
    effect did = effect::none;
    if (s.at_ == seat::at::arrived) {
        arrivals_.remove(s);
    } else if (s.at_ == seat::at::queued) {
        if (preparing_for_ == &s) return false;
        queue_.remove(s);
        held_ = false;  // perhaps it was the one that had to wait
    } else {
        spot& its = at(s.number_);
        its = {nullptr, what::dropped, s.call_->key(), its.bytes};
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

template <class Link>
void multiplexer<Link>::let_leavers_go(const seat& me, wakes& w) noexcept {
    seat* waits = nullptr;
    while (leavers_ != nullptr) {
        make_room(w);
        seat* const n = leavers_;
        leavers_ = n->next_leaver_;
        if (let_go(*n))
            n->leaves_ = false;
        else
            waits = n;
        if (n != &me && (n != waits || !n->yields_)) rouse(*n, w);  // who may block leads, rather than wait for the end
    }
    if (waits == nullptr) return;
    waits->next_leaver_ = nullptr;
    leavers_ = waits;
}

/// Wherever it waits.
template <class Link>
void multiplexer<Link>::rouse(seat& s, wakes& w) noexcept {
    if (s.leads_ && s.yields_) link_.watch().nudge();
    w.add(s);
}

/// Its answer was quicker.
template <class Link>
void multiplexer<Link>::stays(seat& s) noexcept {
    seat** link = &leavers_;
    while (*link != &s) link = &(*link)->next_leaver_;
    *link = s.next_leaver_;
    s.leaves_ = false;
}

/// Those whose answers were taken.
template <class Link>
void multiplexer<Link>::tell(const seat& me, wakes& w) noexcept {
    while (!ended_.empty()) {
        make_room(w);
        seat* const n = ended_.pop();
        if (n->leaves_) [[unlikely]]
            stays(*n);
        end(*n);
        if (n != &me) rouse(*n, w);
    }
}

/// Wakes those whose deadline has come: they look at it themselves.
template <class Link>
void multiplexer<Link>::look_after(const seat& me, wakes& w) noexcept {
    if (earliest_ == never) return;
    const time_point now = steady_now();
    if (now < earliest_ && !cancelling_) return;
    earliest_ = never;
    const auto look = [&](seat& n) {
        if (n.op_->deadline > now && !cancelling_) {
            if (n.op_->deadline < earliest_) earliest_ = n.op_->deadline;
        } else if (n.yields_ && &n != &me && !n.leaves_) {
            if (w.full() || n.leads_) earliest_ = now;  // before a leader begins to wait the nudge may go to another
            if (!w.full()) rouse(n, w);
        }
    };
    for (seat* n = queue_.first(); n != nullptr; n = seat_list::after(*n)) look(*n);
    for (seat* n = arrivals_.first(); n != nullptr; n = seat_list::after(*n)) look(*n);
    for (std::uint64_t n = answered_; n != sent_end_; ++n)
        if (at(n).who != nullptr) look(*at(n).who);  // a write's until its Sync is answered
}

/// Somebody who is here leads from now on: the newest, so that he leads for long.
template <class Link>
void multiplexer<Link>::appoint(wakes& w) noexcept {
    make_room(w);
    for (std::uint64_t n = sent_end_; n != answered_ && leader_ == nullptr; --n)
        if (seat* const s = at(n - 1).who; s != nullptr && !s->leaves_) leader_ = s;
    if (leader_ == nullptr) leader_ = queue_.first();
    if (leader_ == nullptr) leader_ = arrivals_.first();
    if (leader_ != nullptr) w.add(*leader_);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// What whoever is busy does on a shared connection: sends the queue, and takes answers.
#ifndef STRATA_CORE_MULTIPLEXER_WORK_HPP
#define STRATA_CORE_MULTIPLEXER_WORK_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// As much of the queue as may be sent.
template <class Link>
void multiplexer<Link>::send_queue() {
    if (unsent_) flush();
    if (held_ && preparing_for_ == nullptr && in_flight() != 0) return;
    if (queue_.empty()) return;
    if (in_flight() == 0 && preparing_for_ == nullptr && !look_before_first()) return;
    bool any = false;
    while (seat* const s = queue_.first()) {
        if (link_.is_broken() || is_full()) break;
        error refused;
        const bool was_prepared = preparing_for_ == s;
        const readiness r = make_ready(*s, refused);
        held_ = r == readiness::waits || r == readiness::when_idle;
        if (held_ || (was_prepared && r == readiness::ready)) break;  // perhaps it has given up meanwhile: it is looked for again
        if (r == readiness::ready) {
            const bool shares = s->idempotent_ && !s->alone_ && limits_.share > 1 && link_.may_share(*s->call_);
            if (shared_ != 0 && (!shares || shared_ == limits_.share)) sync(nullptr);
            make_room_in_ring();
            std::ptrdiff_t bytes = -1;
            try {
                bytes = link_.send(*s->call_, refused);
            } catch (...) {  // by a codec of the user's, while it wrote an argument: nothing was sent, and nobody else is concerned
                s->thrown_ = std::current_exception();
            }
            if (bytes >= 0) {
                bytes_ += static_cast<std::size_t>(bytes);
                queue_.remove(*s);
                s->at_ = seat::at::sent;
                s->number_ = sent_end_;
                note(s, what::statement, static_cast<std::size_t>(bytes));
                any = true;
                if (shares)
                    ++shared_;
                else
                    sync(s->idempotent_ ? nullptr : s);
                continue;
            }
        }
        queue_.remove(*s);
        finish(*s, std::move(refused));
    }
    if (shared_ != 0) sync(nullptr);
    if (any) flush();
}

/// Nothing is under way: false when the server has given up the connection meanwhile, so that nothing is sent to nobody.
template <class Link>
bool multiplexer<Link>::look_before_first() {
    constexpr duration unheard = std::chrono::seconds{1};
    const time_point now = steady_now();
    if (now - heard_at_ > unheard && !link_.looks_alive()) return false;
    heard_at_ = now;
    return true;
}

/// Its statement is found, or prepared when nothing is under way.
template <class Link>
readiness multiplexer<Link>::make_ready(seat& s, error& e) {
    const readiness r = preparing_for_ == &s ? link_.go_on(e) : link_.find(*s.call_, in_flight() == 0, e);
    preparing_for_ = r == readiness::waits ? &s : nullptr;
    return r;
}

template <class Link>
void multiplexer<Link>::sync(seat* whose) {
    make_room_in_ring();
    link_.sync();
    note(whose, what::sync);
    shared_ = 0;
}
/// For one more, before anything is given to the link.
template <class Link>
void multiplexer<Link>::make_room_in_ring() {
    if (in_flight() + 1 < sent_.size()) [[likely]]
        return;
    std::vector<spot> larger(2 * sent_.size());
    for (std::uint64_t n = answered_; n != sent_end_; ++n) larger[n & (larger.size() - 1)] = at(n);
    sent_.swap(larger);
}

/// Whatever has come.
template <class Link>
void multiplexer<Link>::take_answers() {
    if (preparing_for_ != nullptr) return;  // the link listens itself
    link_.listen();
    const time_point now = steady_now();
    kept_waiting_ = now - heard_at_;
    if (in_flight() != 0 && !link_.is_broken() && link_.has_answer()) heard_at_ = now;
    while (in_flight() != 0 && !link_.is_broken() && !lost_ && link_.has_answer())
        at(answered_).kind == what::sync ? take_sync() : take_answer(now);
    for (seat* last = again_.last(); last != nullptr; last = again_.last()) {
        again_.remove(*last);
        last->at_ = seat::at::queued;
        queue_.push_front(*last);
    }
}

template <class Link>
void multiplexer<Link>::take_sync() {
    seat* const s = at(answered_).who;
    shared_answer a;
    link_.take_sync(s != nullptr ? s->call_ : nullptr, a);
    if (a.what == shared_answer::is::broken) {
        lost_ = true;
        return;
    }
    if (s != nullptr && a.failed) s->error_ = std::move(a.failed);
    if (a.what == shared_answer::is::more) return;
    ++answered_;
    if (s != nullptr) finish(*s, std::move(s->error_));
}

template <class Link>
void multiplexer<Link>::take_answer(time_point now) {
    spot& first = at(answered_);
    seat* const s = first.kind == what::statement ? first.who : nullptr;
    shared_answer a;
    link_.take(s != nullptr ? s->call_ : nullptr, a);
    if (a.what == shared_answer::is::broken) {
        lost_ = true;
        return;
    }
    ++answered_;
    bytes_ -= first.bytes;
    duration waited = std::exchange(kept_waiting_, duration::zero());  // the others, for the first of what came
    if (load() == (s != nullptr ? 1 : 0)) waited = duration::zero();   // there are none
    if (s == nullptr) {
        if (first.key != 0 && a.what == shared_answer::is::answered && limits_.apart != nullptr)
            limits_.apart->judge(first.key, waited, 0, now);
        return;
    }
    if (a.what == shared_answer::is::skipped || (a.what == shared_answer::is::stale && !std::exchange(s->renewed_, true))) {
        s->alone_ = true;
        again_.push_back(*s);
        if (!s->idempotent_) at(answered_).who = nullptr;  // its Sync commits nothing
        return;
    }
    if (a.failed.health() >= health::lost) {  // the server's farewell: no answer to a read
        lost_ = true;
        if (s->idempotent_) {
            --answered_;
            return;
        }
        at(answered_).who = nullptr;
        return finish(*s, std::move(a.failed));
    }
    if (limits_.apart != nullptr) limits_.apart->judge(s->call_->key(), waited, a.bytes, now);
    s->affected_ = a.affected;
    s->thrown_ = std::move(a.thrown);
    if (s->idempotent_)
        finish(*s, std::move(a.failed));
    else
        s->error_ = std::move(a.failed);  // until it is committed
}

template <class Link>
void multiplexer<Link>::finish(seat& s, error&& e) noexcept {
    if (&e != &s.error_) s.error_ = std::move(e);
    s.at_ = seat::at::sent;
    ended_.push_back(s);
}

/// The connection broke: of a write that was sent and not answered nobody knows anything; nothing came of all else.
template <class Link>
void multiplexer<Link>::lose() noexcept {
    const auto fail = [this](seat& s, effect did) {
        s.lost_with_connection_ = did == effect::none;
        try {
            finish(s, link_.lost_error(did));
        } catch (...) {  // no memory for the texts
            error e{errc::connection_lost, phase::execute, did};
            finish(s, std::move(e.set_lost()));
        }
    };
    preparing_for_ = nullptr;
    held_ = unsent_ = false;
    bytes_ = 0;
    for (; answered_ != sent_end_; ++answered_) {
        const spot& now = at(answered_);
        const bool has_sync = answered_ + 1 != sent_end_;  // but for a write whose Sync threw
        if (now.who == nullptr || (now.kind == what::statement && !now.who->idempotent_ && has_sync)) continue;
        if (now.who->error_ && !now.who->idempotent_)  // the server has said that it failed: so it was not committed
            finish(*now.who, std::move(now.who->error_));
        else
            fail(*now.who, now.who->idempotent_ ? effect::none : effect::unknown);
    }
    while (seat* const s = again_.pop()) fail(*s, effect::none);
    while (seat* const s = queue_.pop()) fail(*s, effect::none);
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

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

namespace strata::inline STRATA_ABI {
namespace detail {

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
    hold guard(lock_);
    if (std::exchange(s.has_turn_, false)) turn_taken_ = false;
    for (;;) {
        look_at_guard(s);
        if (!busy_ && (readable || (can_send() && !leaves_it_to_another(s)))) {
            work(s, std::exchange(readable, false));
            continue;
        }
        if (s.at_ == seat::at::ended) {
            if (!busy_ && leader_ == nullptr && (in_flight() != 0 || !queue_.empty() || !arrivals_.empty())) {
                wakes w;
                appoint(w);
                guard.unlock();
                w.go();
            }
            s.leads_ = false;
            return s.error_ || s.thrown_ ? signal::failed : signal::done;
        }
        s.leads_ = leader_ == &s || (!busy_ && (leader_ == nullptr || takes_the_lead(s)));
        if (!s.leads_)
            prepare_to_park(s);
        else if (seat* const before = std::exchange(leader_, &s); before != nullptr && before != &s)
            link_.watch().nudge();
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
    } while ((can_send() && !leaves_it_to_another(s)) || w.full());  // full: nobody was looked after that found no room
    if (leader_ == nullptr) {
        if (s.at_ != seat::at::ended)
            leader_ = &s;
        else
            appoint(w);
    }
    const io_wait wanted = link_.awaited();
    descriptor_ = wanted.descriptor;
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

#endif

// One shared connection of a `pipelined` source: leased from a pool for as long as it is sound, and made anew when it is not.
#ifndef STRATA_SOURCE_SHARED_LANE_HPP
#define STRATA_SOURCE_SHARED_LANE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// `Pool` leases connections of its driver; `Link` shares one. Thread-safe.
template <class Pool, class Link>
class shared_lane final : waker {
    using shared = multiplexer<Link>;

public:
    void belong_to(Pool& pool, const flow_limits& limits, bool through_pooler) noexcept {
        pool_ = &pool;
        limits_ = limits;
        through_pooler_ = through_pooler;
        op_.name = "statements that share a connection";
        op_.drive = this;
        op_.make_waker = [](operation_base& o) -> waker* { return static_cast<shared_lane*>(o.drive); };
    }

    /// A seat's stay begins: the connection, or null where it must be waited for.
    [[nodiscard]] STRATA_INLINE shared* enter() noexcept {
        users_.fetch_add(1, std::memory_order_seq_cst);
        if (at_.load(std::memory_order_seq_cst) == at::open && !shared_->is_lost()) [[likely]]
            return &*shared_;
        leave();
        return nullptr;
    }
    STRATA_INLINE void leave() noexcept {
        const bool lost = at_.load(std::memory_order_seq_cst) == at::open && shared_->is_lost();  // which is there as long as somebody is
        if (users_.fetch_sub(1, std::memory_order_seq_cst) == 1 && (lost || at_.load(std::memory_order_seq_cst) == at::leaving))
            close_if_empty();
    }

    /// Stands in line for the connection.
    [[nodiscard]] STRATA_COLD acquired wait(waiter& node, waker* by, shared*& out) noexcept {
        {
            hold guard(lock_);
            if (closed_) return acquired::refused;
            if (at_ == at::open && !shared_->is_lost()) {
                users_.fetch_add(1);
                out = &*shared_;
                return acquired::ready;
            }
            if (at_ == at::open) at_ = at::leaving;
            node.prepare(by);
            waiting_.push(node);
            waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
        }
        close_if_empty();
        return acquired::wait;
    }
    /// The end of that; null: refused, or out of time.
    [[nodiscard]] STRATA_COLD shared* end_wait(waiter& node) noexcept {
        hold guard(lock_);
        if (node.withdraw()) {
            waiting_.remove(node);
            waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
            return nullptr;
        }
        return static_cast<shared*>(node.gift);
    }

    /// Why there was none.
    [[nodiscard]] STRATA_COLD error refusal() {
        hold guard(lock_);
        if (closed_) return error{errc::shutting_down, phase::acquire}.set_local();
        return failed_ ? failed_ : error{errc::pool_exhausted, "the shared connection was not there in time", phase::acquire}.set_local();
    }

    [[nodiscard]] STRATA_COLD bool is_closed() noexcept {
        hold guard(lock_);
        return closed_;
    }
    [[nodiscard]] bool is_open() const noexcept { return at_.load(std::memory_order_relaxed) == at::open; }
    /// Whether it has neither a connection nor asked for one.
    [[nodiscard]] bool is_cold() const noexcept { return at_.load(std::memory_order_relaxed) == at::nowhere; }
    /// Statements that are on it, or wait for it.
    [[nodiscard]] std::size_t load() const noexcept {
        return users_.load(std::memory_order_relaxed) + waiting_now_.load(std::memory_order_relaxed);
    }

    /// Asks for a connection before somebody waits for it.
    STRATA_COLD void warm() noexcept {
        {
            hold guard(lock_);
            if (at_ != at::nowhere || closed_) return;
            at_ = at::opening;
        }
        open();
    }
    /// Lets go of its connection as soon as nobody is on it; the next who comes gets another. `close`: nobody does.
    STRATA_COLD void renew(bool close) noexcept {
        {
            hold guard(lock_);
            closed_ = closed_ || close;
            if (at_ == at::open) at_ = at::leaving;
        }
        close_if_empty();
        if (close) tell_waiting(nullptr);
    }
    /// The same for one that has grown too old.
    STRATA_COLD void look_at_age(moment m, duration lifetime, double jitter) noexcept {
        {
            hold guard(lock_);
            if (at_ != at::open) return;
            if (ends_ == never) ends_ = add_saturated(m.now, lifetime - scaled(lifetime, jitter * m.random_unit()));
            if (m.now < ends_) return;
        }
        renew(false);
    }
    STRATA_COLD void cancel_all() noexcept {
        hold guard(lock_);
        if (shared_) shared_->cancel_all();
    }

private:
    enum class at : std::uint8_t { nowhere, opening, open, leaving, closing };

    [[nodiscard]] static duration scaled(duration d, double by) noexcept {
        return duration{static_cast<duration::rep>(static_cast<double>(d.count()) * by)};
    }

    /// Gives the connection back when nobody is on it, and asks for one when somebody waits.
    STRATA_COLD void close_if_empty() noexcept {
        health h = health::good;
        {
            hold guard(lock_);
            if (at_ == at::open && shared_->is_lost()) at_ = at::leaving;
            if (at_ == at::leaving) {
                if (users_.load() != 0) return;
                if (shared_->is_lost()) h = health::lost;
                shared_.reset();
                at_ = at::closing;
                ends_ = never;
            } else if (!begins_to_open()) {
                return;
            }
        }
        if (at_ == at::closing) {
            pool_->release(lease_, op_, h);  // without the lock: where the server said farewell, all lanes are renewed
            hold guard(lock_);
            at_ = at::nowhere;
            if (!begins_to_open()) return;
        }
        open();
    }
    /// Under the lock.
    [[nodiscard]] bool begins_to_open() noexcept {
        if (at_ != at::nowhere || waiting_.empty() || closed_) return false;
        at_ = at::opening;
        return true;
    }
    STRATA_COLD void open() noexcept {
        const acquired a = pool_->acquire(op_, node_, lease_);
        if (a != acquired::wait) adopt(a);
    }
    /// The pool has an answer.
    void wake() noexcept override { adopt(pool_->end_wait(op_, node_, lease_, duration::zero())); }
    void dispose() noexcept override {}

    STRATA_COLD void adopt(acquired a) noexcept {
        error why;
        if (a == acquired::connect) pool_->release_unconnected(lease_);  // nobody opens connections in the background
        if (a != acquired::ready) why = pool_->refusal(op_, steady_now(), true);
        shared* here = nullptr;
        {
            hold guard(lock_);
            at_ = at::nowhere;
            if (a == acquired::ready) {
                try {
                    here = &shared_.emplace(limits_, pool_->connection_of(lease_), through_pooler_);
                    at_ = closed_ ? at::leaving : at::open;
                    users_.fetch_add(1);  // it stays until those who waited were told
                } catch (...) {           // no memory
                    pool_->release(lease_, op_, health::good);
                }
            }
            failed_ = std::move(why);
        }
        tell_waiting(here);
        if (here != nullptr) leave();
        close_if_empty();
    }
    /// `m`: whose connection cannot go meanwhile; null: there is none.
    STRATA_COLD void tell_waiting(shared* m) noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (m != nullptr) users_.fetch_add(1);  // before it is told, for it may leave at once
                const bool told = waiting_.grant_first(m, wake);
                if (!told && m != nullptr) users_.fetch_sub(1);
                waiting_now_.store(waiting_.size(), std::memory_order_relaxed);
                if (!told) return;
            }
            wake();
        }
    }

    Pool* pool_ = nullptr;
    flow_limits limits_{};
    bool through_pooler_ = false;
    inline_lock lock_;
    std::atomic<at> at_{at::nowhere};
    std::atomic<std::size_t> users_{0};
    std::atomic<std::size_t> waiting_now_{0};
    std::optional<shared> shared_;
    wait_queue waiting_;
    time_point ends_ = never;  // by its age
    bool closed_ = false;
    error failed_;  // the last time that the pool was asked
    // As the pool knows it.
    operation<operation_facts{.kind = operation_kind::other}> op_;
    waiter node_;
    typename Pool::lease lease_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A number for each thread that uses an object: threads that come one after the other get different ones, as far as there are any.
#ifndef STRATA_SOURCE_THREAD_PLACES_HPP
#define STRATA_SOURCE_THREAD_PLACES_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// One for each object. Thread-safe. Costs a comparison where the thread used the same object last.
class thread_places {
public:
    thread_places() noexcept : id_(next_id()) {}
    thread_places(const thread_places&) = delete;
    thread_places& operator=(const thread_places&) = delete;

    /// From 0 to `number` - 1; the same each time that this thread asks.
    [[nodiscard]] STRATA_INLINE std::size_t of_this_thread(std::size_t number) noexcept {
        thread_local place last;
        if (last.id != id_) [[unlikely]]
            last = find(number);
        return last.at;
    }

private:
    struct place {
        std::uint64_t id = 0;
        std::size_t at = 0;
    };
    [[nodiscard]] static std::uint64_t next_id() noexcept {
        static std::atomic<std::uint64_t> ids{0};
        return ids.fetch_add(1, std::memory_order_relaxed) + 1;
    }
    [[nodiscard]] STRATA_COLD place find(std::size_t number) noexcept {
        thread_local std::vector<place> known;
        for (const place& p : known)
            if (p.id == id_) return p;
        place mine{id_, threads_.fetch_add(1, std::memory_order_relaxed) % number};
        try {
            known.push_back(mine);
        } catch (...) {  // no memory: another one the next time
        }
        return mine;
    }

    const std::uint64_t id_;
    std::atomic<std::size_t> threads_{0};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The shared connections of a `pipelined` source: which of them a statement takes, and where it goes when that is lost.
#ifndef STRATA_SOURCE_SHARED_SIDE_HPP
#define STRATA_SOURCE_SHARED_SIDE_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// What of a `pipelined` source's options is its own.
struct shared_limits {
    flow_limits flow;
    apart_limits apart;
    std::size_t groups = 1;
    std::size_t each = 1;  ///< connections of a group
    std::size_t max_waiting = 0;
    bool through_pooler = false;
};

/// A source by itself, for flights of statements that share; `Sharing`: the driver, as they see it. `Pool` lends the connections.
template <class Pool, class Sharing>
class shared_side {
    using link = typename Sharing::link;
    using lane = shared_lane<Pool, link>;
    using shared = multiplexer<link>;

public:
    using driver = Sharing;
    using connection = typename Sharing::connection;
    /// What an operation keeps of it.
    class lease final : seat_owner<link> {
        friend class shared_side;
        [[nodiscard]] bool move(operation_base& op, waiter& node, shared*& to, time_point& until) noexcept override {
            return side->move(*this, op, node, to, until);
        }
        [[nodiscard]] shared* arrive(waiter& node) noexcept override {
            shared* const to = on->end_wait(node);
            if (to == nullptr) on = nullptr;
            return to;
        }

        connection seat;
        lane* on = nullptr;
        shared_side* side = nullptr;
    };

    shared_side(Pool& pool, const shared_limits& limits, const pool_options& o)
        : pool_(pool), apart_(limits.apart), limits_(limits), lanes_(limits.groups * limits.each), max_wait_(o.max_wait),
          lifetime_(o.max_lifetime), jitter_(o.lifetime_jitter), period_(o.upkeep_period()), upkeep_(*this) {
        limits_.flow.apart = &apart_;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].belong_to(pool, limits_.flow, limits.through_pooler);
    }
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        if (lifetime_ > duration::zero()) begin(upkeep_);
    }

    /// Whether statements of this text have shown that they keep others waiting.
    [[nodiscard]] STRATA_INLINE bool keeps_apart(std::uint64_t key) noexcept { return apart_.contains(key); }

    [[nodiscard]] STRATA_INLINE acquired acquire(operation_base& op, waiter& node, lease& out) noexcept {
        if (process_.is_forked_child()) [[unlikely]]
            return acquired::refused;
        lane& l = choose();
        if (l.load() >= limits_.max_waiting) [[unlikely]]
            return acquired::refused;
        out.on = &l;
        out.side = this;
        shared* m = l.enter();
        const acquired a = m != nullptr ? acquired::ready : l.wait(node, op.waking(), m);
        if (a == acquired::ready) [[likely]]
            out.seat.sit(*m, &out);
        return a;
    }
    template <class Op>
    STRATA_INLINE void release(lease& l, Op&, health) noexcept {  // the pool hears what the connection has come to from the lane
        if (lane* const on = std::exchange(l.on, nullptr); on != nullptr) [[likely]]
            on->leave();
    }
    [[nodiscard]] STRATA_COLD acquired end_wait(operation_base&, waiter& node, lease& out, duration) noexcept {
        auto* const m = out.on->end_wait(node);
        if (m == nullptr) return acquired::refused;
        out.seat.sit(*m, &out);
        return acquired::ready;
    }
    [[nodiscard]] STRATA_COLD error refusal(const operation_base& op, time_point now, bool waited) noexcept {
        if (process_.is_forked_child()) return pool_.refusal(op, now, waited);
        try {
            lane& l = choose();
            if (waited || l.is_closed()) return l.refusal();
            return error{errc::pool_exhausted, "too many statements are on the shared connections already (pipelined_options.max_waiting)",
                         phase::acquire}
                .set_local();
        } catch (...) {  // no memory for the texts
            return error{errc::pool_exhausted, phase::acquire}.set_local();
        }
    }
    [[nodiscard]] connection& connection_of(lease& l) noexcept { return l.seat; }
    [[nodiscard]] duration wait_limit() const noexcept { return max_wait_; }
    // Never asked for: a lane is connected by its pool.
    void release_unconnected(lease&) noexcept {}
    [[nodiscard]] signal connect(lease&, operation_base&, error&) noexcept { return signal::failed; }

    /// Statements that are on shared connections, or wait for one.
    [[nodiscard]] std::size_t load() const noexcept {
        std::size_t all = 0;
        for (std::size_t i = 0; i < number(); ++i) all += lanes_[i].load();
        return all;
    }
    // In a forked child these do nothing.
    /// Opens all connections that are missing.
    void warm() noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].warm();
    }
    void renew(bool close = false) noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].renew(close);
    }
    void cancel_all() noexcept {
        if (process_.is_forked_child()) return;
        for (std::size_t i = 0; i < number(); ++i) lanes_[i].cancel_all();
    }

private:
    /// Connections that are too old are left, one after the other.
    class upkeep final : public background {
    public:
        explicit upkeep(shared_side& side) noexcept : side_(side) {}
        STRATA_COLD time_point run(moment m) noexcept override {
            for (std::size_t i = 0; i < side_.number(); ++i) side_.lanes_[i].look_at_age(m, side_.lifetime_, side_.jitter_);
            return add_saturated(m.now, side_.period_);
        }

    private:
        shared_side& side_;
    };

    [[nodiscard]] std::size_t number() const noexcept { return limits_.groups * limits_.each; }
    /// The first connection of this thread's group.
    [[nodiscard]] STRATA_INLINE lane* group() noexcept {
        return &lanes_[limits_.groups == 1 ? 0 : places_.of_this_thread(limits_.groups) * limits_.each];
    }
    /// The one with the fewest statements; one that is not open, only while none is.
    [[nodiscard]] STRATA_INLINE lane& choose() noexcept {
        lane* const all = group();
        lane* best = all;
        for (std::size_t i = 1; i < limits_.each; ++i)
            if (all[i].load() < best->load()) best = all + i;
        if (best->is_open()) [[likely]]
            return *best;
        return choose_open(all, *best);
    }
    [[nodiscard]] STRATA_COLD lane& choose_open(lane* all, lane& best) noexcept {
        lane* open = nullptr;
        for (std::size_t i = 0; i < limits_.each; ++i)
            if (all[i].is_open() && (open == nullptr || all[i].load() < open->load())) open = all + i;
        if (open == nullptr) return best;
        if (best.is_cold() && open->load() != 0) best.warm();
        return *open;
    }
    [[nodiscard]] STRATA_COLD bool move(lease& l, operation_base& op, waiter& node, shared*& to, time_point& until) noexcept {
        std::exchange(l.on, nullptr)->leave();
        lane& next = choose();
        l.on = &next;
        to = next.enter();
        const acquired a = to != nullptr ? acquired::ready : next.wait(node, op.waking(), to);
        if (a == acquired::refused) l.on = nullptr;
        until = std::min(time_point{op.deadline}, add_saturated(steady_now(), max_wait_));
        return a == acquired::wait;
    }

    Pool& pool_;
    fork_guard process_;
    thread_places places_;
    kept_apart apart_;
    shared_limits limits_;
    heap_array<lane> lanes_;
    duration max_wait_;
    duration lifetime_;
    double jitter_;
    duration period_;
    upkeep upkeep_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// A source in which many statements share a few connections: they travel together and do not wait for each other.
//
//   using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::pipelined<2, strata::pool<>>, strata::postgres>;
//
// It stands where a pool stands, and holds one, whose options are `pool_options` as ever. A statement by itself shares, if its text is
// known at compile time: an idempotent read, an insert, update or delete. Transactions, batches, streams, COPY, sessions, texts made at run
// time and reads that call functions of which nothing is known have a connection of the pool to themselves. So has, for a while, a
// statement that has kept others waiting longer than `slow`, or brought more than `max_result`.
//
// What sharing means. Reads that leave together share one implicit transaction of the server's, which under READ COMMITTED changes nothing
// that they can see but the transaction's time; so those that ask for it (now(), current_date ...) have one of their own, and all have
// where the database's default is stricter. Everything else has its own in any case. If a read fails, those behind it, which the server
// skips, are sent again without their callers noticing; so is one that a deadlock ends, for perhaps only sharing made it one.
// They keep their locks on tables until the last of them has ended, which only DDL can notice.
//
// A caller's deadline or cancel abandons his answer: the server is not told, and his neighbours do not notice. When a connection is lost,
// reads that were under way are sent once more, on another one; of a write that was sent and not answered `effect::unknown` is told.
//
// Whoever waits for the connection reads for all who share it. So a row type's own code may run on another caller's thread, and must not
// ask the database itself; and loops whose statements share (`groups`) must all go on running while any of them waits.
#ifndef STRATA_SOURCE_PIPELINED_HPP
#define STRATA_SOURCE_PIPELINED_HPP

namespace strata::inline STRATA_ABI {

/// How connections are shared.
struct pipelined_options {
    /// Groups of connections: one for each thread that runs a loop, so that none hands anything to another; 1 to 256. A thread keeps its
    /// group.
    std::size_t groups = 1;
    std::size_t max_in_flight = 256;   ///< statements and Syncs on one connection that were sent and not answered; 1 to 65,536
    std::size_t max_bytes = 65'536;    ///< of their arguments, about
    std::size_t max_sharing = 64;      ///< reads behind one Sync; 1: each has its own
    std::size_t max_waiting = 10'000;  ///< statements on one connection; beyond them callers are refused with `errc::pool_exhausted`
    /// A statement that others wait for longer, twice, moves to the pool; zero: none. What a loop is busy with meanwhile counts as well:
    /// where handlers take milliseconds, set it higher than they take.
    duration slow = std::chrono::milliseconds{5};
    std::size_t max_result = 262'144;  ///< bytes of a result, about; what brings more moves to the pool; 0: nothing does
    /// What has moved is tried again after it; each time in a row it is doubled, to 32 times.
    duration apart_for = std::chrono::seconds{10};
    /// The user knows that a pooler in between keeps sessions, or knows prepared statements (pgbouncer 1.21 with max_prepared_statements).
    bool through_pooler = false;

    [[nodiscard]] error validate() const {
        const auto bad = [](const char* text) { return error{errc::invalid_argument, text, phase::admission}; };
        if (groups < 1 || groups > 256) return bad("pipelined_options.groups must lie in 1 to 256");
        if (max_in_flight < 1 || max_in_flight > 65'536) return bad("pipelined_options.max_in_flight must lie in 1 to 65536");
        if (max_bytes < 1) return bad("pipelined_options.max_bytes must be positive");
        if (max_sharing < 1) return bad("pipelined_options.max_sharing must be positive; 1 means that each read has its own Sync");
        if (max_waiting < 1) return bad("pipelined_options.max_waiting must be positive");
        if (slow < duration::zero()) return bad("pipelined_options.slow is negative");
        if (apart_for <= duration::zero()) return bad("pipelined_options.apart_for must be positive");
        return {};
    }
    friend bool operator==(const pipelined_options&, const pipelined_options&) = default;
};

namespace detail {

template <class Driver, class Pool, std::size_t Shared>
class pipelined_source final : public Pool::template source<Driver>, farewell_listener {
    using pool = typename Pool::template source<Driver>;
    static_assert(
        requires { typename Driver::sharing; },
        "strata: pipelined needs a database to which many statements can be on their way on one connection, which is PostgreSQL; "
        "SQLite runs one statement after the other: write strata::pool<> in its place");

public:
    using shared_side = detail::shared_side<pool, typename Driver::sharing>;

    pipelined_source(const pipelined_options& options, const pool_options& exclusive, const typename Driver::options& target)
        : pool(exclusive, target), lent_(for_sharing(options, exclusive), target), shared_(lent_, limits_of(options), exclusive) {
        pool::tells(*this);
        lent_.tells(*this);
    }

    template <class World>
    [[nodiscard]] error open_first(World& world) {
        if (error e = Driver::sharing::check(*this->target())) return e;
        if (error e = pool::open_first(world)) return e;
        return lent_.open_first(world);
    }
    template <class Begin>
    void spawn_tasks(Begin&& begin) {
        pool::spawn_tasks(begin);
        lent_.spawn_tasks(begin);
        shared_.spawn_tasks(begin);
    }

    /// Where statements share.
    [[nodiscard]] shared_side& shared() noexcept { return shared_; }
    /// Of the connections that are shared: they are lent out as long as they are sound. `snapshot()` is of all others.
    [[nodiscard]] pool_snapshot shared_snapshot() noexcept { return lent_.snapshot(); }

    /// The server said farewell to a connection of either kind.
    void all_lost() noexcept override { retire_all(); }

    void retire_all() noexcept {
        pool::retire_all();
        lent_.retire_all();
        shared_.renew();
    }
    [[nodiscard]] error rotate(const typename Driver::options& target) {
        if (error e = Driver::sharing::check(target)) return e;
        if (error e = pool::rotate(target)) return e;
        error e = lent_.rotate(target);
        shared_.renew();
        return e;
    }
    void suspend() noexcept {
        pool::suspend();
        lent_.suspend();
        shared_.renew();
    }
    void resume() noexcept {
        pool::resume();
        lent_.resume();
    }
    template <class World>
    bool drain(World& world, time_point until) noexcept {
        lent_.suspend();
        shared_.renew();
        const bool drained = pool::drain(world, until);
        return lent_.drain(world, until) && drained;
    }
    template <class World>
    bool stop(World& world, time_point until) noexcept {
        static_cast<void>(pool::stop(world, time_point::min()));  // nobody comes in any more
        shared_.renew(true);
        const bool stopped = lent_.stop(world, until);
        return pool::stop(world, until) && stopped;
    }
    void cancel_all() noexcept {
        shared_.cancel_all();
        lent_.cancel_all();
        pool::cancel_all();
    }

private:
    [[nodiscard]] static pool_options for_sharing(const pipelined_options& o, const pool_options& exclusive) {
        pool_options p = exclusive;
        p.reserved = 0;
        p.max_size = o.groups * Shared;
        p.min_size = exclusive.min_size == 0 ? 0 : p.max_size;
        p.planner = nullptr;
        p.leak_threshold = {};
        return p;
    }
    [[nodiscard]] static shared_limits limits_of(const pipelined_options& o) {
        return {.flow = {.statements = o.max_in_flight, .bytes = o.max_bytes, .share = o.max_sharing},
                .apart = {.slow = o.slow, .bytes = o.max_result, .period = o.apart_for},
                .groups = o.groups,
                .each = Shared,
                .max_waiting = o.max_waiting,
                .through_pooler = o.through_pooler};
    }

    pool lent_;
    shared_side shared_;
};

}  // namespace detail

/// The layer. `Shared`: connections of each group; with `pipelined_options::groups` of them. `Pool`: where everything else goes.
template <std::size_t Shared = 2, class Pool = pool<>>
struct pipelined {
    static_assert(Shared >= 1, "strata: pipelined needs a connection at least that is shared: write pipelined<1, pool<>>");
    static_assert(
        requires { requires std::is_same_v<typename Pool::options, pool_options>; },
        "strata: pipelined holds a pool for what cannot share: write pipelined<2, pool<>>");
    static_assert(
        !std::is_same_v<Pool, pool<no_lock>>,
        "strata: pipelined opens its connections behind its callers, which a pool for one thread cannot: write pipelined<2, pool<>>");
    static constexpr auto place = strata::place::source;
    using options = pipelined_options;
    using inner = Pool;
    template <class Driver>
    using source = detail::pipelined_source<Driver, Pool, Shared>;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
