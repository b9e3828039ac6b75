// The places of a pool: which are empty, which hold an idle connection, who waits for one, and how a pool comes to an end.
//
// Under one lock: a list of idle connections and a queue of waiters for each lane, and the places without a connection.
// What a caller sees of it is source/pool.hpp; who opens connections is source/pool_opener.hpp; how a pool is steered is
// source/pool_control.hpp; what it does by itself is source/pool_upkeep.hpp.
#ifndef STRATA_SOURCE_POOL_PLACES_HPP
#define STRATA_SOURCE_POOL_PLACES_HPP

#include <strata/core/background.hpp>
#include <strata/core/flight.hpp>
#include <strata/core/fork.hpp>
#include <strata/core/guarded.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/source/connect_governor.hpp>
#include <strata/source/pool_options.hpp>
#include <strata/source/pool_slot.hpp>

#include <memory>

namespace strata::inline STRATA_ABI {

namespace detail {

template <class Places>
class pool_opener;

template <class Driver, class Lock>
class pool_places {
public:
    using driver = Driver;
    using slot = pool_slot<Driver>;
    using lane = pool_lane<slot>;
    using lease = slot*;
    using connection = typename Driver::connection;
    using opener = pool_opener<pool_places>;

    pool_places(const pool_options& options, const typename Driver::options& target)
        : options_(options), target_(std::make_shared<const typename Driver::options>(target)), slots_(options.max_size),
          split_(Driver::single_writer && options.max_size > 1), ready_(has_handle(target) ? 0 : options.min_size),
          governor_(options.connecting()) {
        lanes_[0].limit = split_ ? 1 : options.max_size;
        lanes_[1].limit = split_ ? options.max_size - 1 : 0;
        for (std::size_t i = options.max_size; i-- > 0;) put(empty_, &slots_[i]);
    }
    pool_places(const pool_places&) = delete;
    pool_places& operator=(const pool_places&) = delete;
    /// In a forked child the connections still belong to the parent: not even closing them would be safe, so they are left alone.
    ~pool_places() {
        if (process_.is_forked_child()) static_cast<void>(slots_.release());
    }

    /// Closes whatever connection there is, and gives the place back: it is free, and somebody may open another one.
    STRATA_COLD void release_unconnected(lease& l) noexcept {
        slot* s = std::exchange(l, nullptr);
        close(*s);
        wake_call wake;
        opener* next = nullptr;
        bool at_rest = false;
        {
            hold guard(lock_);
            lane& where = lanes_[s->lane];
            if (closed_ || has_openers() || suspended_ || where.taken > where.limit || !where.queue.grant_first(s, wake)) free_place(s);
            next = wanted_opener();
            at_rest = is_at_rest();
        }
        wake();
        static_cast<void>(rouse(next));
        if (at_rest) wake_closers();
    }

    /// Opens the connection of a place. A driver that waits while it connects is asked again after each wait.
    [[nodiscard]] STRATA_COLD signal connect(lease& l, operation_base& op, error& e) {
        const guarded guard_of_connection{l->connection, &op};
        const auto role = Driver::role_of(l->lane == 1, split_);
        const auto target = this->target();
        if constexpr (opens_in_steps<connection, typename Driver::options, decltype(role)>) {
            const signal s = l->connection.open_step(*target, role, e);
            if (s != signal::done) return s;
        } else {
            e = l->connection.open(*target, role, &op);  // the operation becomes the guard
            if (e) return signal::failed;
        }
        hold guard(lock_);
        l->open = true;
        if constexpr (requires { l->connection.session_number(); }) l->session = l->connection.session_number();
        l->ends = never;
        l->idle_since = {};
        l->score = full_score;
        ++opened_;
        return signal::done;
    }

    [[nodiscard]] STRATA_INLINE connection& connection_of(lease& l) noexcept { return l->connection; }
    [[nodiscard]] duration wait_limit() const noexcept { return options_.max_wait; }
    [[nodiscard]] std::size_t capacity() const noexcept { return options_.max_size; }
    /// Who else is to know when the server says farewell.
    void tells(farewell_listener& other) noexcept { beside_ = &other; }
    /// What its connections are opened with from now on.
    [[nodiscard]] std::shared_ptr<const typename Driver::options> target() noexcept {
        hold guard(lock_);
        return target_;
    }

protected:
    template <class Places>
    friend class pool_upkeep;
    template <class Places>
    friend class pool_opener;

    /// Of the user's: nothing is opened anew on it without being asked for.
    [[nodiscard]] static bool has_handle([[maybe_unused]] const typename Driver::options& o) noexcept {
        if constexpr (requires { o.handle; })
            return o.handle != nullptr;
        else
            return false;
    }
    static void put(slot*& list, slot* s) noexcept {
        s->next = list;
        list = s;
    }
    /// To the end of a list; `s` may be one itself.
    static void append(slot*& list, slot* s) noexcept {
        slot** end = &list;
        while (*end != nullptr) end = &(*end)->next;
        *end = s;
    }
    [[nodiscard]] STRATA_INLINE lane& lane_for(const operation_base& op) noexcept { return lanes_[split_ && op.reads_only ? 1 : 0]; }

    /// Under the lock, as everything below unless it says otherwise. Empty places are unmarked when they are taken.
    void mark_all(std::uint8_t mark) noexcept {
        for (std::size_t i = 0; i < options_.max_size; ++i) slots_[i].marks |= mark;
    }
    [[nodiscard]] std::size_t open_or_opening() const noexcept { return lanes_[0].taken + lanes_[1].taken; }

    /// Null when the lane is full.
    [[nodiscard]] slot* take_empty(lane& l) noexcept {
        if (l.taken >= l.limit) return nullptr;  // beyond it while a smaller size is awaited
        slot* s = empty_;
        empty_ = s->next;
        s->marks = closed_ ? slot_mark::retired : suspended_ ? slot_mark::held : 0;
        s->lane = static_cast<std::uint8_t>(&l - lanes_);
        ++l.taken;
        return s;
    }

    /// Without the lock, since it may take its time. The place still counts as taken.
    void close(slot& s) noexcept {
        {
            hold guard(lock_);
            s.current = nullptr;  // from here on nobody interrupts it
        }
        s.connection.close();
        hold guard(lock_);
        s.open = false;
        if (!closed_) s.marks = suspended_ ? slot_mark::held : 0;  // what is opened here from now on is new
    }
    /// Of a place whose connection was closed.
    void free_place(slot* s) noexcept {
        --lanes_[s->lane].taken;
        put(empty_, s);
    }

    // Opening. Where no world runs openers (pool<no_lock>), callers open what they need themselves.
    [[nodiscard]] bool has_openers() const noexcept { return openers_begun_; }
    /// Idle ones that are cold have to be checked first: they are, where somebody waits.
    void warm_up() noexcept {
        if (closed_ || suspended_) return;
        for (lane& l : lanes_)
            while (l.cold != nullptr && l.queue.size() > l.fitting) {
                slot* s = std::exchange(l.cold, l.cold->next);
                --l.count;
                make_fit(s, slot_need::checking);
            }
    }
    /// Before anybody gets it: by an opener, for which it waits in a list.
    void make_fit(slot* s, slot_need n) noexcept {
        s->current = nullptr;
        s->need = n;
        ++lanes_[s->lane].opening;
        ++lanes_[s->lane].fitting;
        s->next = nullptr;
        append(unfit_, s);
    }
    /// The lane that wants one more connection than there are and are being opened; null: none does.
    [[nodiscard]] lane* wanting() noexcept {
        if (closed_ || suspended_) return nullptr;
        for (lane& l : lanes_)
            if (l.queue.size() > l.opening && l.taken < l.limit) return &l;
        if (open_or_opening() >= ready_ + (replacing_ ? 1 : 0)) return nullptr;
        lane& l = lanes_[split_ && lanes_[0].taken != 0 ? 1 : 0];
        return l.taken < l.limit ? &l : nullptr;
    }
    /// One that rests, to be roused after the lock; null: none is needed, or those at work will look themselves.
    [[nodiscard]] opener* wanted_opener() noexcept {
        warm_up();
        if (unfit_ != nullptr && resting_ == nullptr) return std::exchange(pausing_opener_, nullptr);  // it need not wait for that
        if (resting_ == nullptr) return nullptr;
        if (unfit_ == nullptr && (pausing_ || governor_.connecting() >= governor_.allowed() || wanting() == nullptr)) return nullptr;
        return std::exchange(resting_, resting_->resting_behind);
    }
    /// Without the lock. False: there is no thread to be had.
    bool rouse(opener* o) noexcept {
        if (o == nullptr || o->rouse()) return true;
        hold guard(lock_);
        if (o->is_pausing()) {
            pausing_opener_ = o;
            return false;
        }
        o->resting_behind = std::exchange(resting_, o);
        return false;
    }
    /// Nobody has a connection of the lane that could come back, and none is being opened.
    [[nodiscard]] bool is_forlorn(const lane& l) const noexcept { return pausing_ && !options_.wait_while_down && l.taken == 0; }
    /// Callers are told so at once, instead of waiting until the next attempt. One failure alone, whose pause is short, is waited out.
    [[nodiscard]] bool is_refusing(const lane& l) const noexcept { return is_forlorn(l) && governor_.failures() > 1; }

    /// Serves the oldest waiter, else it is idle: the first to be taken, or the last (`behind`).
    void hand_over(slot* s, wake_call& wake, bool behind = false) noexcept {
        s->current = nullptr;
        lane& where = lanes_[s->lane];
        if (suspended_) {
            put(where.kept, s);
            ++where.count;
        } else if (!where.queue.grant_first(s, wake)) {
            slot** at = &where.idle;
            while (behind && *at != nullptr) at = &(*at)->next;
            put(*at, s);
            ++where.count;
        }
    }

    /// Rolls back what was left open, and resets the session. Without the lock, by whoever has the connection.
    /// `bound` ends the reset, not the rollback.
    [[nodiscard]] STRATA_COLD health clean(slot& s, const interruption* bound) noexcept {
        auto& c = s.connection;
        if (const health h = c.tidy(); !is_usable(h)) return h;
        if (options_.on_return == session_reset::rollback_only) return health::good;
        const guarded guard_of_connection{c, bound};
        try {
            if (options_.on_return == session_reset::custom) {
                if constexpr (requires { c.control(options_.reset_sql); }) {
                    if (c.control(options_.reset_sql)) return health::lost;
                    if constexpr (requires { c.session_was_reset(); }) c.session_was_reset();
                    return health::good;
                }
            } else if constexpr (requires { c.discard_all(); }) {
                return c.discard_all() ? health::lost : health::good;
            }
        } catch (...) {  // no memory
        }
        return health::lost;
    }
    /// A connection that nobody may get as it is. Without the lock.
    STRATA_COLD void release_unfit(slot* s, health h) noexcept {
        opener* next = nullptr;
        bool left_to_opener = false;
        const std::uint8_t score = s->score;
        {
            hold guard(lock_);
            if (s->connection.in_transaction()) ++left_open_;
            if (has_openers() && !closed_ && (s->marks & slot_mark::retired) == 0 && resting_ != nullptr) {
                ++s->returns;
                if (h != health::good) ++faults_;
                if (h != health::late) s->score = score_after(s->score, h);
                if (s->score < full_score) s->marks |= slot_mark::unwell;
                make_fit(s, slot_need::cleaning);
                next = wanted_opener();
                left_to_opener = true;
            }
        }
        if (left_to_opener) {
            if (rouse(next)) return;
            hold guard(lock_);  // no thread is to be had
            slot** link = &unfit_;
            while (*link != nullptr && *link != s) link = &(*link)->next;
            if (*link == nullptr) return;  // another opener has it
            *link = s->next;
            s->need = slot_need::nothing;
            --lanes_[s->lane].opening;
            --lanes_[s->lane].fitting;
            --s->returns;
            if (h != health::good) --faults_;
            s->score = score;
        }
        release_slowly(s, is_usable(clean(*s, nullptr)) ? h : health::lost);
    }

    /// What took the slow way back. Without the lock.
    STRATA_COLD void release_slowly(slot* s, health h, bool behind = false) noexcept {
        wake_call wake;
        slot* others = nullptr;
        bool closes = false, at_rest = false, farewell = false;
        {
            hold guard(lock_);
            ++s->returns;
            if (h != health::good) ++faults_;
            farewell = h == health::all_lost && (s->marks & slot_mark::retired) == 0;
            if (farewell) others = take_all();
            closes = !stays(*s, h);
            if (!closes)
                hand_over(s, wake, behind);
            else if (!is_usable(h))
                ++lost_;
            else if (!closed_)
                ++retired_;
            at_rest = suspended_ && is_at_rest();
        }
        wake();
        if (closes) release_unconnected(s);
        close_all(others);
        if (farewell) tell_farewell();
        if (at_rest) wake_closers();
    }
    STRATA_COLD void tell_farewell() noexcept {
        if (beside_ != nullptr) beside_->all_lost();
    }
    /// Whether a connection that comes back is kept; its score and marks are those from here on.
    [[nodiscard]] bool stays(slot& s, health h) noexcept {
        s.marks &= static_cast<std::uint8_t>(~(slot_mark::check | slot_mark::unwell));
        if (is_usable(h) && h != health::late) s.score = score_after(s.score, h);
        const bool stays = is_usable(h) && !closed_ && (s.marks & slot_mark::retired) == 0 &&
                           lanes_[s.lane].taken <= lanes_[s.lane].limit && s.score >= options_.min_health;
        if (s.score < full_score) s.marks |= slot_mark::unwell;
        return stays;
    }

    /// Every connection that there is: those lent out and being opened are closed when they come back, the idle ones are in the list.
    [[nodiscard]] slot* take_all() noexcept {
        mark_all(slot_mark::retired);
        slot* all = nullptr;
        for (lane& l : lanes_)
            for (slot** list : {&l.idle, &l.cold, &l.kept})
                while (slot* s = *list) {
                    *list = s->next;
                    --l.count;
                    ++retired_;
                    put(all, s);
                }
        return all;
    }
    /// Without the lock.
    void close_all(slot* list) noexcept {
        while (list != nullptr) {
            slot* s = std::exchange(list, list->next);
            release_unconnected(s);
        }
    }

    /// No lease is out and nothing is being opened; of a closed pool: nothing is open.
    [[nodiscard]] bool is_at_rest() const noexcept { return open_or_opening() == (closed_ ? 0 : lanes_[0].count + lanes_[1].count); }
    /// The pool has come to rest: all who wait for that are told. Without the lock.
    STRATA_COLD void wake_closers() noexcept {
        for (;;) {
            wake_call wake;
            {
                hold guard(lock_);
                if (!closers_.grant_first(nullptr, wake)) return;
            }
            wake();
        }
    }
    Lock lock_;
    lane lanes_[2];
    wait_queue closers_;
    bool closed_ = false;
    bool cancelling_ = false;
    bool suspended_ = false;
    bool pausing_ = false;  ///< after a connect that failed: an opener waits until the next one may begin
    const pool_options options_;
    std::shared_ptr<const typename Driver::options> target_;
    heap_array<slot> slots_;
    slot* empty_ = nullptr;
    const bool split_;
    fork_guard process_;
    std::size_t ready_;       ///< so many connections are opened without being asked for
    bool replacing_ = false;  ///< and one more, for one that is too old
    connect_governor governor_;
    bool openers_begun_ = false;
    opener* resting_ = nullptr;
    opener* pausing_opener_ = nullptr;  ///< the one that waits for the end of the pause
    slot* unfit_ = nullptr;             ///< connections that have to be cleaned or checked, the oldest first
    error connect_error_;               ///< why the latest connect failed; empty after one that did not
    std::uint64_t waits_ = 0, timeouts_ = 0, opened_ = 0, lost_ = 0, retired_ = 0, left_open_ = 0, leaks_ = 0, faults_ = 0;
    duration waited_{};
    operation_base* upkeep_op_ = nullptr;
    farewell_listener* beside_ = nullptr;
    background* replacement_awaited_ = nullptr;  ///< by this task, which is roused when one more has been opened
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
