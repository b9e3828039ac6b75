// Results of reads, kept for a while: a call that asks for it is answered without the database.
//
//   using bank = strata::stack<strata::metrics<>, strata::cache<>, strata::retry<>, strata::pool<>, strata::sqlite>;
//   db.one<account>(cached(find("id"_arg = 7), {.ttl = 5s, .tags = {"accounts"}}));
//   db.policy<strata::cache<>>().invalidate("accounts");
//
// Single flight: of calls that miss the same result one goes on, the others wait for what it brings. If it fails, is cancelled or
// destroyed, its turn passes to the one that waits longest; who has waited for `max_wait` goes on by itself. So nobody waits for ever, and
// a failure of one is not that of all.
//
// A result is fresh for its `ttl` less a random share of it, lest what was cached together expires together. Then the next call fetches it
// anew; for `stale_for` longer the old one is kept, and if the fetch fails because the database cannot be had (no connection, a timeout,
// contention, a machine's fault, a refusal of this process) the call, and who waits for it, are answered with that.
//
// Invalidate after a write was committed: what is being fetched at that time reaches those who wait for it, who asked before, but is
// not kept. Nothing is invalidated by itself: not by a transaction that commits, not by another process.
#ifndef STRATA_POLICY_CACHE_HPP
#define STRATA_POLICY_CACHE_HPP

#include <strata/core/interceptor.hpp>
#include <strata/core/lock.hpp>
#include <strata/policy/cache_table.hpp>
#include <strata/policy/conditions.hpp>
#include <strata/policy/tagged.hpp>
#include <strata/sql/marked.hpp>

namespace strata::inline STRATA_ABI {

struct cache_options {
    std::size_t max_bytes = 16u << 20;            ///< of all that is kept, keys included (see value/heap_size.hpp); 4 KiB at least
    double max_share = 0.125;                     ///< a result that takes a greater share of `max_bytes` is not kept; in (0, 1]
    duration ttl = std::chrono::seconds{10};      ///< where the call does not say it; positive
    double jitter = 0.1;                          ///< up to this share of the ttl is cut off, at random; in [0, 1)
    duration stale_for{};                         ///< after it has expired a result may stand in for a failed fetch; not negative
    duration max_wait = std::chrono::seconds{1};  ///< how long a call waits at most for what another fetches; not negative

    [[nodiscard]] error validate() const {
        if (max_bytes < 4096) return detail::bad_option("cache_options.max_bytes", "must be at least 4096");
        if (!(max_share > 0.0 && max_share <= 1.0)) return detail::bad_option("cache_options.max_share", "must be above 0 and at most 1");
        if (ttl <= duration::zero()) return detail::bad_option("cache_options.ttl", "must be positive");
        if (!(jitter >= 0.0 && jitter < 1.0)) return detail::bad_option("cache_options.jitter", "must lie in 0 to 1, without 1");
        if (stale_for < duration::zero()) return detail::bad_option("cache_options.stale_for", "must not be negative");
        if (max_wait < duration::zero()) return detail::bad_option("cache_options.max_wait", "must not be negative");
        return {};
    }
    friend bool operator==(const cache_options&, const cache_options&) = default;
};

/// What a cache holds and has done so far, at one moment. A call that asks for caching is counted once: as a hit, joined, stale, or a miss;
/// not at all where it gave up waiting for another.
struct cache_snapshot {
    std::uint64_t hits = 0;       ///< answered by a fresh result
    std::uint64_t misses = 0;     ///< went on to the database
    std::uint64_t joined = 0;     ///< answered by what another call fetched meanwhile
    std::uint64_t stale = 0;      ///< answered by an expired result, since the fetch failed
    std::uint64_t impatient = 0;  ///< of the misses: had waited for another call, but for `max_wait`
    std::uint64_t evictions = 0;  ///< results that had to make room
    std::uint64_t too_big = 0;    ///< results that were not kept
    std::size_t entries = 0;
    std::size_t bytes = 0;
};

/// Thread-safe; one lock, held for a look-up (on a miss for an allocation too) and never while a result is copied. Costs a call that does
/// not ask for caching nothing but a store. `Tag` tells two of them apart; then a call looks into both.
template <class Tag = void>
class cache {
    using entry = detail::cache_entry;

public:
    using options = detail::options_for<Tag, cache_options>;
    static constexpr auto place = strata::place::cache;
    static constexpr bool holds = true;
    static constexpr bool caches = true;
    struct frame {
        entry* on = nullptr;  ///< that it fetches, or waits for; null: it has nothing to do with the cache
        unset<bool> waits;    ///< read where `on` is set
        waiter node;
    };

    cache() : cache(options{}) {}
    explicit cache(const options& o) noexcept : options_(detail::untagged(o)), table_(options_.max_bytes, options_.max_share) {}

    template <class Op>
    STRATA_INLINE verdict admit([[maybe_unused]] Op& op, [[maybe_unused]] frame& f, [[maybe_unused]] moment m) noexcept {
        if constexpr (Op::facts.cacheable) {
            if (op.cache != nullptr && op.kind() == operation_kind::read && op.idempotent())
                return f.on == nullptr ? look_up(op, *op.cache, f, m) : end_of_wait(*op.cache, f);
        }
        return proceed();
    }
    template <class Op>
    STRATA_INLINE void settle([[maybe_unused]] Op& op, [[maybe_unused]] frame& f, [[maybe_unused]] outcome& result,
                              [[maybe_unused]] moment m) noexcept {
        if constexpr (Op::facts.cacheable) {
            if (f.on != nullptr) land(*op.cache, *f.on, result, m);
        }
    }
    void abandon(frame& f) noexcept {
        if (f.on != nullptr) [[unlikely]]
            give_up(f);
    }

    /// Drops all results whose calls named this tag; how many they were, those that are being fetched included. In time that grows with
    /// their number.
    std::size_t invalidate(std::string_view tag) noexcept {
        detail::cache_litter litter;
        hold guard{lock_};
        return table_.drop_tagged(tag, litter);
    }
    /// Drops all.
    std::size_t invalidate_all() noexcept {
        detail::cache_litter litter;
        hold guard{lock_};
        return table_.drop_all(litter);
    }

    [[nodiscard]] cache_snapshot snapshot() noexcept {
        hold guard{lock_};
        cache_snapshot s = counts_;
        s.evictions = table_.evictions();
        s.too_big = table_.too_big();
        s.entries = table_.size();
        s.bytes = table_.bytes();
        return s;
    }

private:
    STRATA_NOINLINE verdict look_up(operation_base& op, const cache_request& r, frame& f, moment m) noexcept {
        kept_value* found = nullptr;
        {
            hold guard{lock_};
            entry* e = table_.find(r);
            if (e != nullptr && e->value != nullptr && m.now < e->fresh_until) {
                table_.touch(*e);
                found = e->value;
                found->retain();
                ++counts_.hits;
            } else if (e != nullptr && e->in_flight) {
                f.on = e;
                f.waits = true;
                f.node.prepare(op.waking());
                e->waiting.push(f.node);
                return park(&f.node, add_saturated(m.now, options_.max_wait), errc::ok);
            } else {
                ++counts_.misses;
                f.on = e != nullptr ? e : added(r);
                f.waits = false;
                if (f.on != nullptr) f.on->in_flight = true;
                return proceed();
            }
        }
        return answer_with(*found, r);
    }
    [[nodiscard]] entry* added(const cache_request& r) noexcept {
        try {
            return &table_.add(r);
        } catch (...) {  // no memory: then it is not cached
            return nullptr;
        }
    }

    /// Asked again: with a value, with the turn to fetch it, or without either after `max_wait`.
    STRATA_COLD verdict end_of_wait(const cache_request& r, frame& f) noexcept {
        f.waits = false;
        if (f.node.is_granted()) {
            if (f.node.gift == nullptr) {
                hold guard{lock_};
                ++counts_.misses;
                return proceed();
            }
            f.on = nullptr;
            return answer_with(*static_cast<kept_value*>(f.node.gift), r);
        }
        hold guard{lock_};
        if (f.node.queued) f.on->waiting.remove(f.node);
        f.on = nullptr;
        ++counts_.misses;
        ++counts_.impatient;
        return proceed();
    }

    /// Copies it to where the call wants it, and lets go of it. Without memory for that the call goes on to the database.
    [[nodiscard]] static bool copy_out(kept_value& v, const cache_request& r) noexcept {
        bool copied = true;
        try {
            v.copy_to(r.result);
        } catch (...) {
            copied = false;
        }
        v.release();
        return copied;
    }
    [[nodiscard]] static verdict answer_with(kept_value& v, const cache_request& r) noexcept {
        return copy_out(v, r) ? answer() : proceed();
    }

    /// What was fetched has come, or not.
    STRATA_COLD void land(const cache_request& r, entry& e, outcome& result, moment m) noexcept {
        if (!result.ok()) return land_without(r, e, result, m);
        kept_value* v = nullptr;
        try {
            v = r.keep(r.result);
        } catch (...) {
            return pass_turn(e);
        }
        const duration ttl = r.ttl > duration::zero() ? r.ttl : options_.ttl;
        const duration cut{static_cast<duration::rep>(static_cast<double>(ttl.count()) * options_.jitter * m.random_unit())};
        const time_point fresh_until = add_saturated(m.now, ttl - cut);
        kept_value* old = nullptr;
        detail::cache_litter litter;
        {
            hold guard{lock_};
            if (e.in_table) table_.store(e, *v, fresh_until, add_saturated(fresh_until, options_.stale_for), old, litter);
        }
        if (old != nullptr) old->release();
        hand_out(e, *v, counts_.joined);
    }

    STRATA_COLD void land_without(const cache_request& r, entry& e, outcome& result, moment m) noexcept {
        kept_value* v = nullptr;
        if (can_stand_in_for(result.error())) {
            hold guard{lock_};
            if (e.in_table && e.value != nullptr && m.now < e.stale_until) {
                v = e.value;
                v->retain();
            }
        }
        if (v == nullptr) return pass_turn(e);
        v->retain();
        if (copy_out(*v, r)) {
            result.clear();
            hold guard{lock_};
            ++counts_.stale;
            --counts_.misses;
        }
        hand_out(e, *v, counts_.stale);
    }
    [[nodiscard]] static bool can_stand_in_for(const error& e) noexcept {
        const condition_traits t = traits_of(e.code());
        return is_refusal(e.code()) || t.transient || t.sign == health_sign::ill;
    }

    /// To all who wait for it now; one user of the value is gone then. Who comes meanwhile finds it, or has the turn where it was stale.
    void hand_out(entry& e, kept_value& v, std::uint64_t& count) noexcept {
        std::size_t left = 0;
        {
            hold guard{lock_};
            left = e.waiting.size();
        }
        for (; left != 0; --left) {
            wake_call wake;
            hold guard{lock_};
            v.retain();
            if (!e.waiting.grant_first(&v, wake)) {
                v.release();
                break;
            }
            ++count;
            guard.unlock();
            wake();
        }
        v.release();
        pass_turn(e);
    }
    /// To the one who waits longest; where nobody does, the flight is over.
    STRATA_COLD void pass_turn(entry& e) noexcept {
        detail::cache_litter litter;
        wake_call wake;
        {
            hold guard{lock_};
            if (!e.waiting.grant_first(nullptr, wake)) end_flight(e, litter);
        }
        wake();
    }
    /// Under the lock.
    void end_flight(entry& e, detail::cache_litter& litter) noexcept {
        e.in_flight = false;
        if (!e.in_table)
            litter.take(e);
        else if (e.value == nullptr)
            table_.drop(e, litter);
    }

    STRATA_COLD void give_up(frame& f) noexcept {
        if (f.waits) {
            hold guard{lock_};
            if (!f.node.is_granted()) {
                static_cast<void>(f.node.withdraw());
                if (f.node.queued) f.on->waiting.remove(f.node);
                return;
            }
            if (f.node.gift != nullptr) return static_cast<kept_value*>(f.node.gift)->release();
        }
        pass_turn(*f.on);
    }

    const cache_options options_;
    inline_lock lock_;
    detail::cache_table table_;
    cache_snapshot counts_;
};

}  // namespace strata::inline STRATA_ABI

#endif
