// Those who sit on a shared connection: who gives up, who is told, and who leads.
#ifndef STRATA_CORE_MULTIPLEXER_GUESTS_HPP
#define STRATA_CORE_MULTIPLEXER_GUESTS_HPP

#include <strata/core/multiplexer_state.hpp>

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
