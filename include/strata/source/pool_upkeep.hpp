// What a pool does by itself, besides its callers: it closes connections that are too old, that nobody used for long, or that the server
// has given up; and it opens those that are missing to `min_size`, so that callers find them.
//
// A round looks at each idle connection once; who is leased and too old is closed when it comes back. Ages are drawn from a range, so
// that connections which were opened together do not end together. One connection is opened at a time, and after a failure only after a
// pause that grows: while the server is away, this is the one prober. Where there is room, what replaces a connection is opened before
// that is closed (not with two lanes: a database with one writer is a file, and opened at once).
#ifndef STRATA_SOURCE_POOL_UPKEEP_HPP
#define STRATA_SOURCE_POOL_UPKEEP_HPP

#include <strata/core/background.hpp>
#include <strata/source/pool_places.hpp>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Places>
class pool_upkeep final : public background {
    using slot = typename Places::slot;

public:
    explicit pool_upkeep(Places& places) noexcept : places_(places) { places_.upkeep_op_ = &op_; }

    STRATA_COLD time_point run(moment m) noexcept override {
        if (std::exchange(failed_, false)) pause(m);  // counted from the end of the attempt, which may have taken its time
        if (opening_ == nullptr && m.now >= next_round_) {
            next_round_ = add_saturated(m.now, places_.options_.upkeep_period());
            look_at_all(m);
        }
        const time_point goes_on = open_missing(m);
        return opening_ != nullptr || goes_on < next_round_ ? goes_on : next_round_;  // no round while one is being opened
    }

    void cancel() noexcept override { op_.cancelled.store(true, std::memory_order_relaxed); }

private:
    void look_at_all(moment m) noexcept {
        replacing_ = false;
        while (slot* s = take_unseen()) {
            if (s->used || s->idle_since == time_point{}) s->idle_since = m.now;
            s->used = false;
            give_age(*s, m);
            const bool lost = !is_alive(s->connection);
            if (lost || is_over(*s, m.now))
                close(s, lost);
            else
                put_back(s);
        }
        hold guard(places_.lock_);
        for (std::size_t i = 0; i < places_.options_.max_size; ++i) {
            slot& s = places_.slots_[i];
            s.seen = false;
            if (s.current == nullptr || !s.open) continue;
            give_age(s, m);
            if (m.now >= s.ends && (s.marks & retired) == 0 && !is_needed_for_now()) s.marks |= retired;
        }
    }

    /// The warmest idle connection that this round has not looked at, as a lease; null: there is none left. It goes to the cold end
    /// after, so at the end of the round the order is the same.
    [[nodiscard]] slot* take_unseen() noexcept {
        hold guard(places_.lock_);
        if (places_.closed_) return nullptr;
        for (auto& l : places_.lanes_) {
            slot** found = nullptr;
            for (slot** link = &l.idle; found == nullptr && *link != nullptr; link = &(*link)->next)
                if (!(*link)->seen) found = link;
            if (found == nullptr) continue;
            slot* s = *found;
            *found = s->next;
            --l.idle_count;
            s->seen = true;
            s->current = &op_;
            return s;
        }
        return nullptr;
    }

    void give_age(slot& s, moment m) noexcept {
        const duration limit = places_.options_.max_lifetime;
        if (limit == duration::zero() || s.ends != never) return;
        const double left_out = static_cast<double>(limit.count()) * places_.options_.lifetime_jitter * m.random_unit();
        s.ends = add_saturated(m.now, limit - duration{static_cast<duration::rep>(left_out)});
    }
    [[nodiscard]] static bool is_alive(auto& connection) noexcept {
        if constexpr (requires { connection.is_alive(); })
            return connection.is_alive();
        else
            return true;
    }

    [[nodiscard]] bool is_over(const slot& s, time_point now) noexcept {
        hold guard(places_.lock_);
        if (s.marks != 0) return true;
        if (now >= s.ends) return !is_needed_for_now();
        const duration idle = places_.options_.max_idle;
        if (places_.split_ && s.lane == 0 && places_.options_.min_size > 0) return false;  // the writer is the first that is needed
        return idle > duration::zero() && now - s.idle_since >= idle && open_or_opening() > places_.options_.min_size;
    }
    /// Under the lock: true where its replacement can be opened first; it is asked for.
    [[nodiscard]] bool is_needed_for_now() noexcept {
        if (open_or_opening() > places_.options_.min_size) return false;
        const std::size_t room = places_.lanes_[0].limit + places_.lanes_[1].limit;
        if (open_or_opening() >= room || places_.split_) return false;
        replacing_ = true;
        return true;
    }
    [[nodiscard]] std::size_t open_or_opening() const noexcept { return places_.lanes_[0].taken + places_.lanes_[1].taken; }

    void close(slot* s, bool lost) noexcept {
        {
            hold guard(places_.lock_);
            ++(lost ? places_.lost_ : places_.retired_);
        }
        places_.release_unconnected(s);
    }
    /// To the oldest waiter, else to the cold end.
    void put_back(slot* s) noexcept {
        wake_call wake;
        {
            hold guard(places_.lock_);
            s->current = nullptr;
            auto& l = places_.lanes_[s->lane];
            if (places_.closed_ || s->marks != 0 || l.taken > l.limit) {
                guard.unlock();
                return places_.release_unconnected(s);
            }
            if (!l.queue.grant_first(s, wake)) {
                slot** end = &l.idle;
                while (*end != nullptr) end = &(*end)->next;
                s->next = nullptr;
                *end = s;
                ++l.idle_count;
            }
        }
        wake();
    }

    /// When it wants to go on.
    [[nodiscard]] time_point open_missing(moment m) noexcept {
        for (;;) {
            if (opening_ == nullptr) {
                if (!take_missing(m)) return never;
                if (opening_ == nullptr) return try_again_;
            }
            at_moment now{m};
            announce_resume(opening_->connection, op_, now);
            error e;
            signal s = signal::failed;
            try {
                s = places_.connect(opening_, op_, e);
            } catch (...) {  // no memory for it
            }
            if (s == signal::park) {  // a cancel is seen soon
                const time_point soon = m.now + std::chrono::milliseconds{50}, end = end_of_wait(opening_->connection);
                return end < soon ? end : soon;
            }
            if (s == signal::work) continue;
            if (s == signal::done) {
                failures_ = 0;
                if (std::exchange(replacing_, false)) next_round_ = m.now;  // the old one can go
                opening_->idle_since = m.now;
                put_back(std::exchange(opening_, nullptr));
            } else {
                places_.release_unconnected(opening_);
                opening_ = nullptr;
                failed_ = true;
            }
            return m.now;  // the next one with a moment of its own
        }
    }
    /// After a failure to connect.
    void pause(moment m) noexcept {
        constexpr duration first = std::chrono::milliseconds{100}, longest = std::chrono::seconds{10};
        if (failures_ < 16) ++failures_;
        duration bound = first;
        for (unsigned i = 1; i < failures_ && bound < longest; ++i) bound *= 2;
        if (bound > longest) bound = longest;
        try_again_ = m.now + bound / 2 + duration{static_cast<duration::rep>(static_cast<double>(bound.count() / 2) * m.random_unit())};
    }
    /// False when nothing is missing, or must not be opened any more.
    [[nodiscard]] bool take_missing(moment m) noexcept {
        hold guard(places_.lock_);
        const std::size_t wanted = places_.options_.min_size + (replacing_ ? 1 : 0);
        if (places_.closed_ || op_.is_cancelled() || open_or_opening() >= wanted) return false;
        if (m.now < try_again_) return true;
        opening_ = places_.take_empty(places_.split_ && places_.lanes_[0].taken != 0);
        if (opening_ == nullptr) return false;
        opening_->seen = false;
        opening_->current = &op_;
        return true;
    }

    /// A world for drivers that ask for the time.
    struct at_moment {
        strata::moment given;
        [[nodiscard]] strata::moment moment() const noexcept { return given; }
    };

    Places& places_;
    operation_base op_;  ///< whoever leases for upkeep; cancelled when the pool is closed
    slot* opening_ = nullptr;
    time_point next_round_{};
    time_point try_again_{};
    unsigned failures_ = 0;   ///< in a row, to connect
    bool failed_ = false;     ///< the latest attempt to connect; the pause is yet to be drawn
    bool replacing_ = false;  ///< one more is wanted, for one that is too old
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
