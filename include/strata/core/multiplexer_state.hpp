// What a multiplexer consists of; see multiplexer.hpp.
#ifndef STRATA_CORE_MULTIPLEXER_STATE_HPP
#define STRATA_CORE_MULTIPLEXER_STATE_HPP

#include <strata/core/lock.hpp>
#include <strata/core/seat.hpp>
#include <strata/core/shared_link.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

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
