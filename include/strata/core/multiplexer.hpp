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

#include <strata/core/multiplexer_guests.hpp>
#include <strata/core/multiplexer_work.hpp>

#include <utility>

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
