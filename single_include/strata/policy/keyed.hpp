// Generated from include/strata/policy/keyed.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_POLICY_KEYED_HPP
#define STRATA_SINGLE_POLICY_KEYED_HPP

#include <strata/strata.hpp>

#include <optional>

// One policy for each host, shard, tenant or class of operation: `keyed<circuit_breaker<>>` opens for the shard that is ill and for no
// other.
//
// Shards fail by themselves; one breaker for all would turn the failure of one into the failure of all (Brooker 2022). The key comes
// from a call's tag, or from a function. Each key has its own instance of the policy, in a table of bounded size: the key that was not
// used for the longest time gives way to a new one, but never while an operation is inside, nor while what a user set by hand is in force
// (a breaker's mode, a bulkhead's size). Where all are busy or set the newcomers share one instance more.
#ifndef STRATA_POLICY_KEYED_HPP
#define STRATA_POLICY_KEYED_HPP

namespace strata::inline STRATA_ABI {

/// Of `keyed<Policy>`. One of `tag` and `key` must be given.
template <class Policy>
struct keyed_options {
    std::string_view tag = {};  ///< the key is the value of the call's tag with this key, "" where it has none; static storage
    /// The key of an operation; must not block. What it returns must live as long as the call.
    std::string_view (*key)(const operation_base& op) noexcept = nullptr;
    std::size_t capacity = 256;          ///< so many keys at a time; 1 to 65,535
    typename Policy::options each = {};  ///< of each instance

    [[nodiscard]] error validate() const {
        if (tag.empty() == (key == nullptr))
            return detail::bad_option("keyed_options.tag", "or keyed_options.key must be given, and not both");
        if (capacity < 1 || capacity > 65'535) return detail::bad_option("keyed_options.capacity", "must lie in 1 to 65,535");
        return each.validate();
    }
    friend bool operator==(const keyed_options&, const keyed_options&) = default;
};

/// Thread-safe. An operation costs a look-up under a short lock each way, besides what the policy costs. Keys are compared whole and
/// kept up to 63 bytes; those that agree so far are one.
template <class Policy>
class keyed {
    static_assert(Policy::place != strata::place::repeat && Policy::place != strata::place::extend,
                  "strata: only a policy that admits or settles can be keyed, and none that repeats: it is entered again below itself");

public:
    using options = keyed_options<Policy>;
    static constexpr auto place = Policy::place;
    static constexpr bool holds = true;
    static constexpr bool inside_transaction = detail::goes_inside_transaction<Policy>;
    static constexpr bool asks_priority = true;  // for the user's `key`

private:
    struct entry {
        std::optional<Policy> policy;
        entry* next = nullptr;                     ///< in its chain
        entry *newer = nullptr, *older = nullptr;  ///< in the order of use
        std::size_t users = 0;
        std::uint64_t hash = 0;
        std::uint8_t length = 0;
        char key[63];

        [[nodiscard]] std::string_view text() const noexcept { return {key, length}; }
    };

public:
    struct frame {
        entry* on = nullptr;
        typename detail::frame_type<Policy>::type inner{};
    };

    explicit keyed(const options& o)
        : options_(o), entries_(o.capacity + 1), buckets_(buckets_for(o.capacity)), mask_(buckets_for(o.capacity) - 1) {
        others()->policy.emplace(options_.each);
        for (std::size_t i = options_.capacity; i-- > 0; free_ = &entries_[i]) entries_[i].next = free_;
    }

    template <class Op>
    STRATA_INLINE verdict admit(Op& op, frame& f, moment m) noexcept {
        if (f.on == nullptr) f.on = enter(op);
        if constexpr (std::is_void_v<decltype(detail::call_admit(*f.on->policy, op, f.inner, m))>) {
            detail::call_admit(*f.on->policy, op, f.inner, m);
            return proceed();
        } else {
            const verdict v = detail::call_admit(*f.on->policy, op, f.inner, m);
            if (v.kind != verdict::what::proceed && v.kind != verdict::what::park) leave(f);  // not entered: it will not be settled
            return v;
        }
    }
    template <class Op>
    STRATA_INLINE verdict settle(Op& op, frame& f, outcome& result, moment m) noexcept {
        if constexpr (detail::settles_at<Policy> || detail::settles_untimed<Policy>) {
            if constexpr (std::is_void_v<decltype(detail::call_settle(*f.on->policy, op, f.inner, result, m))>) {
                detail::call_settle(*f.on->policy, op, f.inner, result, m);
            } else {
                const verdict v = detail::call_settle(*f.on->policy, op, f.inner, result, m);
                leave(f);
                return v;
            }
        }
        leave(f);
        return accept();
    }
    void abandon(frame& f) noexcept {
        detail::call_abandon(*f.on->policy, f.inner);
        leave(f);
    }

    /// Calls `f(key, policy)` for each key in the table, the latest first, then with "(others)" for what the keys share that found no
    /// place. Holds the lock meanwhile: `f` must be short, and must not use the database.
    template <class F>
    void for_each(F&& f) {
        hold guard{lock_};
        for (entry* e = newest_; e != nullptr; e = e->older) f(e->text(), *e->policy);
        f(std::string_view{"(others)"}, *others()->policy);
    }
    /// How many keys are in the table.
    [[nodiscard]] std::size_t size() noexcept {
        hold guard{lock_};
        return size_;
    }
    /// Keys that had to give way to another so far.
    [[nodiscard]] std::uint64_t evicted() noexcept {
        hold guard{lock_};
        return evicted_;
    }

private:
    [[nodiscard]] static std::size_t buckets_for(std::size_t capacity) noexcept {
        std::size_t n = 1;
        while (n < capacity) n *= 2;
        return n;
    }
    /// FNV-1a (Fowler, Noll, Vo).
    [[nodiscard]] static std::uint64_t hash_of(std::string_view key) noexcept {
        std::uint64_t h = 14695981039346656037u;
        for (const char c : key) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211u;
        return h ^ h >> 32;
    }
    [[nodiscard]] entry* others() noexcept { return &entries_[options_.capacity]; }

    [[nodiscard]] std::string_view key_of(const operation_base& op) const noexcept {
        if (options_.key != nullptr) return options_.key(op);
        for (const tag& t : op.tags)
            if (t.key == options_.tag) return t.value;
        return {};
    }

    [[nodiscard]] STRATA_NOINLINE entry* enter(const operation_base& op) noexcept {
        const std::string_view key = key_of(op).substr(0, sizeof(entry::key));
        const std::uint64_t hash = hash_of(key);
        hold guard{lock_};
        entry* e = buckets_[hash & mask_];
        while (e != nullptr && (e->hash != hash || e->text() != key)) e = e->next;
        if (e == nullptr) {
            e = place_for_one();
            if (e == nullptr) return ++others()->users, others();
            e->hash = hash;
            e->length = static_cast<std::uint8_t>(key.copy(e->key, sizeof(e->key)));
            e->next = buckets_[hash & mask_];
            buckets_[hash & mask_] = e;
        } else {
            unlink(e);
        }
        link_newest(e);
        ++e->users;
        return e;
    }
    void leave(frame& f) noexcept {
        hold guard{lock_};
        --f.on->users;
        f.on = nullptr;
    }

    // Under the lock.

    /// An entry with a new instance: a free one, else that which was not used for the longest time and may go.
    /// Null: none may, or there is no memory.
    [[nodiscard]] entry* place_for_one() noexcept {
        entry* e = free_;
        if (e != nullptr)
            free_ = e->next;
        else if (e = oldest_at_rest(); e != nullptr)
            take_out(e);
        else
            return nullptr;
        try {
            e->policy.emplace(options_.each);
        } catch (...) {
            e->next = free_;
            free_ = e;
            return nullptr;
        }
        ++size_;
        return e;
    }
    /// Nobody is inside, and nothing would be forgotten that a user said.
    [[nodiscard]] static bool may_go(entry& e) noexcept {
        if constexpr (requires { e.policy->is_set_by_hand(); }) {
            if (e.policy->is_set_by_hand()) return false;
        }
        return e.users == 0;
    }
    /// Keys that stand in the way are in use, and so not old.
    [[nodiscard]] entry* oldest_at_rest() noexcept {
        for (int looked_at = 0; looked_at < 16 && oldest_ != nullptr; ++looked_at) {
            entry* e = oldest_;
            if (may_go(*e)) return e;
            unlink(e);
            link_newest(e);
        }
        return nullptr;
    }
    void take_out(entry* e) noexcept {
        unlink(e);
        entry** link = &buckets_[e->hash & mask_];
        while (*link != e) link = &(*link)->next;
        *link = e->next;
        --size_;
        ++evicted_;
    }
    void link_newest(entry* e) noexcept {
        e->newer = nullptr;
        e->older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = e;
        newest_ = e;
    }
    void unlink(entry* e) noexcept {
        (e->newer != nullptr ? e->newer->older : newest_) = e->older;
        (e->older != nullptr ? e->older->newer : oldest_) = e->newer;
    }

    const options options_;
    detail::heap_array<entry> entries_;  ///< the last one is shared by those that find no place
    detail::heap_array<entry*> buckets_;
    const std::size_t mask_;
    inline_lock lock_;
    entry* free_ = nullptr;
    entry *newest_ = nullptr, *oldest_ = nullptr;
    std::size_t size_ = 0;
    std::uint64_t evicted_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
