// What a pool does by itself, besides its callers: it closes connections that are too old, that nobody used for long, or that the server
// has given up; and it sees to it that those missing to `min_size` are opened, so that callers find them.
//
// A round looks at each idle connection once; who is leased and too old is closed when it comes back. Ages are drawn from a range, so
// that connections which were opened together do not end together. Where there is room, what replaces a connection is opened before
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
    explicit pool_upkeep(Places& places) noexcept : places_(places) {
        op_.name = "the pool itself";
        places_.upkeep_op_ = &op_;
    }

    STRATA_COLD time_point run(moment m) noexcept override {
        look_at_all(m);
        report_leaks(m);
        typename Places::opener* opener = nullptr;
        {
            hold guard(places_.lock_);
            if (places_.closed_ || op_.is_cancelled()) return never;
            places_.replacement_awaited_ = places_.replacing_ ? this : nullptr;
            opener = places_.wanted_opener();
        }
        static_cast<void>(places_.rouse(opener));
        return add_saturated(m.now, places_.options_.upkeep_period());
    }

    void cancel() noexcept override { op_.cancelled.store(true, std::memory_order_relaxed); }

private:
    void look_at_all(moment m) noexcept {
        now_ = m.now;
        {
            hold guard(places_.lock_);
            places_.replacing_ = false;
        }
        while (slot* s = take_unseen()) {
            if (std::exchange(s->seen_returns, s->returns) != s->returns || s->idle_since == time_point{}) s->idle_since = m.now;
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
            if (m.now >= s.ends && (s.marks & slot_mark::retired) == 0 && !is_needed_for_now()) s.marks |= slot_mark::retired;
        }
    }

    void report_leaks(moment m) noexcept {
        const duration threshold = places_.options_.leak_threshold;
        for (std::size_t i = 0; threshold > duration::zero() && i < places_.options_.max_size; ++i) {
            try {
                std::string name;
                pool_leak leak;
                {
                    hold guard(places_.lock_);
                    slot& s = places_.slots_[i];
                    if (!s.open || s.current == nullptr || s.need != slot_need::nothing) continue;
                    s.note_lease(m.now);
                    leak.held = m.now - s.lent_since;
                    if (leak.held < threshold || std::exchange(s.reported, true)) continue;
                    ++places_.leaks_;
                    name = !s.current->name.empty() ? s.current->name : s.current->statement;
                    leak.where = s.where;
                }
                leak.name = name;
                if (places_.options_.on_leak) places_.options_.on_leak(leak);
            } catch (...) {  // the user's, or no memory
            }
        }
    }

    /// The warmest idle connection that this round has not looked at, as a lease; null: there is none left. It goes to the cold end
    /// after, so at the end of the round the order is the same.
    [[nodiscard]] slot* take_unseen() noexcept {
        hold guard(places_.lock_);
        if (places_.closed_) return nullptr;
        for (auto& l : places_.lanes_) {
            slot** found = nullptr;
            for (slot** list : {&l.idle, &l.cold})
                for (slot** link = list; found == nullptr && *link != nullptr; link = &(*link)->next)
                    if (!(*link)->seen) found = link;
            if (found == nullptr) continue;
            slot* s = *found;
            *found = s->next;
            --l.count;
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
    [[nodiscard]] bool is_over(const slot& s, time_point now) noexcept {
        hold guard(places_.lock_);
        if ((s.marks & slot_mark::retired) != 0) return true;
        if (now >= s.ends) return !is_needed_for_now();
        const duration idle = places_.options_.max_idle;
        if (places_.split_ && s.lane == 0 && places_.options_.min_size > 0) return false;  // the writer is the first that is needed
        return idle > duration::zero() && now - s.idle_since >= idle && places_.open_or_opening() > places_.ready_;
    }
    /// Under the lock: true where its replacement can be opened first; it is asked for.
    [[nodiscard]] bool is_needed_for_now() noexcept {
        if (places_.open_or_opening() > places_.ready_) return false;
        if (places_.open_or_opening() >= places_.lanes_[0].limit || places_.split_) return false;
        places_.replacing_ = true;
        return true;
    }

    void close(slot* s, bool lost) noexcept {
        {
            hold guard(places_.lock_);
            ++(lost ? places_.lost_ : places_.retired_);
        }
        places_.release_unconnected(s);
    }
    /// To the oldest waiter, else to the cold end; one that is cold has to be checked first.
    void put_back(slot* s) noexcept {
        wake_call wake;
        typename Places::opener* opener = nullptr;
        bool at_rest = false;
        {
            hold guard(places_.lock_);
            s->current = nullptr;
            auto& l = places_.lanes_[s->lane];
            if (places_.closed_ || (s->marks & slot_mark::retired) != 0 || l.taken > l.limit) {
                if (!places_.closed_) ++places_.retired_;
                guard.unlock();
                return places_.release_unconnected(s);
            }
            const duration window = places_.options_.validate_after;
            const bool cold = window > duration::zero() && now_ - s->idle_since >= window;
            if (places_.suspended_ || cold || !l.queue.grant_first(s, wake)) {
                s->next = nullptr;
                Places::append(cold ? l.cold : places_.suspended_ ? l.kept : l.idle, s);
                ++l.count;
                if (cold) opener = places_.wanted_opener();
                at_rest = places_.suspended_ && places_.is_at_rest();
            }
        }
        wake();
        static_cast<void>(places_.rouse(opener));
        if (at_rest) places_.wake_closers();
    }

    Places& places_;
    operation_base op_;  ///< whoever leases for upkeep; cancelled when the pool is closed
    time_point now_{};   ///< of this round
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
