// What whoever is busy does on a shared connection: sends the queue, and takes answers.
#ifndef STRATA_CORE_MULTIPLEXER_WORK_HPP
#define STRATA_CORE_MULTIPLEXER_WORK_HPP

#include <strata/core/multiplexer_state.hpp>

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
