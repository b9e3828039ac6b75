// Who opens a pool's connections, so that callers wait only for the pool, never for a connect.
//
// An opener is a task of the world. It is roused when somebody has to wait and there is room, looks again when its turn comes (a lease that
// came back meanwhile has served the waiter: nothing is opened for nobody), opens one connection, hands it to the oldest waiter, and rests
// when nothing more is wanted. The governor says how many may be at it. After a failure one opener waits for the pause to end; meanwhile
// callers who would depend on it are refused with what it was told, or wait on, as `pool_options::wait_while_down` says.
#ifndef STRATA_SOURCE_POOL_OPENER_HPP
#define STRATA_SOURCE_POOL_OPENER_HPP

#include <strata/source/pool_places.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

/// A world for drivers that ask for the time.
struct at_moment {
    strata::moment given;
    [[nodiscard]] strata::moment moment() const noexcept { return given; }
};

/// Asks no peer.
[[nodiscard]] bool is_alive(auto& connection) noexcept {
    if constexpr (requires { connection.is_alive(); })
        return connection.is_alive();
    else
        return true;
}

/// What a waiter is given in place of a connection when none could be opened.
inline constexpr char connect_has_failed = 0;
[[nodiscard]] inline void* failed_connect() noexcept {
    return const_cast<char*>(&connect_has_failed);
}

template <class Places>
class pool_opener final : public background {
    using slot = typename Places::slot;

public:
    pool_opener() noexcept {
        due = never;
        op_.name = "the pool itself";
    }
    /// Before it is given to a world.
    void belong_to(Places& places) noexcept {
        places_ = &places;
        resting_behind = std::exchange(places.resting_, this);
    }

    STRATA_COLD time_point run(moment m) noexcept override {
        if (opening_ == nullptr) return begin(m) ? time_point{} : pauses_ ? until_ : never;
        if (opening_->need != slot_need::nothing) return made_fit(m);
        if (ended_ != signal::work) return end(m);
        at_moment now{m};
        announce_resume(opening_->connection, op_, now);
        signal s = signal::failed;
        error_ = {};
        try {
            do s = places_->connect(opening_, op_, error_);
            while (s == signal::work);
        } catch (...) {
            error_ = error{errc::out_of_memory, phase::connect};
        }
        if (s == signal::park) {  // a cancel is seen soon
            const time_point soon = m.now + std::chrono::milliseconds{50}, end = end_of_wait(opening_->connection);
            return end < soon ? end : soon;
        }
        ended_ = s;
        return {};  // it may have taken its time: what follows needs a moment of its own
    }

    void cancel() noexcept override { op_.cancelled.store(true, std::memory_order_relaxed); }

    pool_opener* resting_behind = nullptr;  ///< in the pool's list of those that rest
    /// Under the pool's lock.
    [[nodiscard]] bool is_pausing() const noexcept { return pauses_; }

private:
    /// False when nothing is to be opened now: then it rests, or waits for the end of the pause.
    [[nodiscard]] bool begin(moment m) noexcept {
        hold guard(places_->lock_);
        if (pauses_ && m.now >= until_) pauses_ = places_->pausing_ = false;
        places_->pausing_opener_ = pauses_ ? this : places_->pausing_opener_ == this ? nullptr : places_->pausing_opener_;
        places_->warm_up();
        if (places_->unfit_ != nullptr) {
            opening_ = std::exchange(places_->unfit_, places_->unfit_->next);
            opening_->current = &op_;
            return true;
        }
        auto* l = op_.is_cancelled() || places_->pausing_ || !places_->governor_.may_begin(m.now) ? nullptr : places_->wanting();
        opening_ = l != nullptr ? places_->take_empty(*l) : nullptr;
        if (opening_ == nullptr) {
            if (!pauses_) resting_behind = std::exchange(places_->resting_, this);
            return false;
        }
        places_->governor_.begun();
        ++l->opening;
        opening_->current = &op_;
        ended_ = signal::work;
        return true;
    }

    [[nodiscard]] time_point made_fit(moment m) noexcept {
        slot* s = std::exchange(opening_, nullptr);
        op_.deadline = add_saturated(m.now, std::chrono::seconds{5});
        const bool fit = s->need == slot_need::checking ? answers(*s) : is_usable(places_->clean(*s, &op_));
        op_.deadline = never;
        wake_call wake;
        slot* others = nullptr;
        bool closes = false, at_rest = false, farewell = false;
        {
            hold guard(places_->lock_);
            s->need = slot_need::nothing;
            auto& l = places_->lanes_[s->lane];
            --l.opening;
            --l.fitting;
            if constexpr (requires { s->connection.said(); })
                farewell = !fit && s->connection.said() == health::all_lost && (s->marks & slot_mark::retired) == 0;
            if (farewell) others = places_->take_all();
            closes = !fit || places_->closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit ||
                     s->score < places_->options_.min_health;
            if (!closes)
                places_->hand_over(s, wake);
            else if (!fit)
                ++places_->lost_;
            else if (!places_->closed_)
                ++places_->retired_;
            at_rest = places_->is_at_rest();
        }
        wake();
        if (closes) places_->release_unconnected(s);
        places_->close_all(others);
        if (farewell) places_->tell_farewell();
        if (at_rest) places_->wake_closers();
        return {};
    }
    [[nodiscard]] bool answers(slot& s) noexcept {
        if constexpr (requires { s.connection.ping(); }) {
            const guarded guard{s.connection, &op_};
            return is_usable(s.connection.ping());
        } else {
            return is_alive(s.connection);
        }
    }

    [[nodiscard]] time_point end(moment m) noexcept { return ended_ == signal::done ? opened() : failed(m); }

    [[nodiscard]] time_point opened() noexcept {
        slot* s = std::exchange(opening_, nullptr);
        wake_call wake;
        pool_opener* another = nullptr;
        background* awaiting = nullptr;
        bool closes = false, at_rest = false;
        {
            hold guard(places_->lock_);
            places_->governor_.succeeded();
            places_->connect_error_ = {};
            auto& l = places_->lanes_[s->lane];
            --l.opening;
            closes = places_->closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit;
            if (!closes)
                places_->hand_over(s, wake);
            else if (!places_->closed_)
                ++places_->retired_;
            another = places_->wanted_opener();
            awaiting = std::exchange(places_->replacement_awaited_, nullptr);
            at_rest = places_->is_at_rest();
        }
        wake();
        if (closes) places_->release_unconnected(s);
        static_cast<void>(places_->rouse(another));
        if (awaiting != nullptr) awaiting->rouse();
        if (at_rest) places_->wake_closers();
        return {};  // to look whether there is more to do
    }

    [[nodiscard]] time_point failed(moment m) noexcept {
        slot* s = std::exchange(opening_, nullptr);
        auto& l = places_->lanes_[s->lane];
        places_->close(*s);
        bool at_rest = false;
        std::size_t told = 0;
        {
            hold guard(places_->lock_);
            --l.opening;
            places_->free_place(s);
            if (op_.is_cancelled()) {
                places_->governor_.abandoned();
            } else {
                places_->governor_.failed(m);
                places_->connect_error_ = std::move(error_);
                pauses_ = !std::exchange(places_->pausing_, true);
                if (pauses_) {
                    until_ = places_->governor_.next_try();
                    places_->pausing_opener_ = this;
                }
            }
            told = l.queue.size();  // whoever has waited for it, not who comes now
            at_rest = places_->is_at_rest();
        }
        if (at_rest) places_->wake_closers();
        for (; told != 0; --told) {
            wake_call wake;
            {
                hold guard(places_->lock_);
                if (!places_->is_forlorn(l) || !l.queue.grant_first(failed_connect(), wake)) break;
            }
            wake();
        }
        return pauses_ ? until_ : time_point{};
    }

    Places* places_ = nullptr;
    operation_base op_;  ///< whoever holds the place meanwhile; cancelled when the pool is closed
    slot* opening_ = nullptr;
    signal ended_ = signal::work;  ///< how the attempt ended; `work`: it has not
    error error_;
    bool pauses_ = false;  ///< it is the one that waits for the end of the pause
    time_point until_{};
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
