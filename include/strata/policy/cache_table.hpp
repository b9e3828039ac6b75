// The entries of a cache: found by key, dropped by tag, evicted when they were not used for the longest time. Not synchronised: its owner's
// lock guards it. What is dropped goes into a `cache_litter`, which frees it after the lock was let go.
#ifndef STRATA_POLICY_CACHE_TABLE_HPP
#define STRATA_POLICY_CACHE_TABLE_HPP

#include <strata/core/cache_request.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/core/waiter.hpp>

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace strata::inline STRATA_ABI {

namespace detail {

struct cache_entry;

/// A place in the ring of all entries that carry a tag. The ring's head has no entry, but the tag's name.
struct tag_link {
    tag_link* next = this;
    tag_link* previous = this;
    cache_entry* entry = nullptr;
    const std::string* name = nullptr;

    [[nodiscard]] bool is_alone() const noexcept { return next == this; }
    void leave() noexcept {
        next->previous = previous;
        previous->next = next;
        next = previous = this;
    }
};

/// A result, or one that is on its way, or both: an old one that is being fetched anew.
struct cache_entry {
    explicit cache_entry(const cache_request& r) : hash(r.hash), key(r.key), tags(r.tags.size()), links(tags) {}
    cache_entry(const cache_entry&) = delete;
    cache_entry& operator=(const cache_entry&) = delete;
    ~cache_entry() {
        if (value != nullptr) value->release();
    }

    const std::uint64_t hash;
    const std::string key;
    const std::size_t tags;
    heap_array<tag_link> links;

    kept_value* value = nullptr;  ///< with one it stands in the order of use
    time_point fresh_until{};
    time_point stale_until{};
    std::size_t bytes = 0;
    cache_entry *newer = nullptr, *older = nullptr;

    bool in_table = false;   ///< false: dropped while it was being fetched, so that nobody finds it any more
    bool in_flight = false;  ///< somebody fetches it, who will put it away if it is no longer in the table
    wait_queue waiting;      ///< for what is fetched
};

/// Entries on their way out.
class cache_litter {
public:
    cache_litter() noexcept = default;
    cache_litter(const cache_litter&) = delete;
    cache_litter& operator=(const cache_litter&) = delete;
    ~cache_litter() {
        while (first_ != nullptr) delete std::exchange(first_, first_->older);
    }
    void take(cache_entry& e) noexcept { e.older = std::exchange(first_, &e); }

private:
    cache_entry* first_ = nullptr;
};

class cache_table {
public:
    cache_table(std::size_t max_bytes, double max_share) noexcept
        : max_bytes_(max_bytes), max_entry_(static_cast<std::size_t>(static_cast<double>(max_bytes) * max_share)) {}
    cache_table(const cache_table&) = delete;
    cache_table& operator=(const cache_table&) = delete;
    ~cache_table() {
        for (cache_entry* e : entries_) delete e;
    }

    /// Null: there is none.
    [[nodiscard]] cache_entry* find(const cache_request& r) const noexcept {
        const auto at = entries_.find(r);
        return at != entries_.end() ? *at : nullptr;
    }

    /// A new one, without a value. Throws where there is no memory; then nothing has changed.
    [[nodiscard]] cache_entry& add(const cache_request& r) {
        auto e = std::make_unique<cache_entry>(r);
        try {
            for (std::size_t i = 0; i < e->tags; ++i) join(e->links[i], *e, r.tags[i]);
            entries_.insert(e.get());
        } catch (...) {
            leave_tags(*e, nullptr);
            throw;
        }
        e->in_table = true;
        return *e.release();
    }

    /// Gives an entry of the table its value, and evicts others until there is room; where it is too big the entry is dropped instead.
    /// `old`: the value it had, for the caller to release.
    void store(cache_entry& e, kept_value& v, time_point fresh_until, time_point stale_until, kept_value*& old,
               cache_litter& litter) noexcept {
        const std::size_t bytes = v.bytes() + cost_of(e);
        if (bytes > max_entry_) {
            ++too_big_;
            return drop(e, litter);
        }
        if (e.value != nullptr) {
            unlink(e);
            bytes_ -= e.bytes;
        } else {
            ++size_;
        }
        v.retain();
        old = std::exchange(e.value, &v);
        e.fresh_until = fresh_until;
        e.stale_until = stale_until;
        e.bytes = bytes;
        bytes_ += bytes;
        link_newest(e);
        while (bytes_ > max_bytes_) {
            ++evictions_;
            drop(*oldest_, litter);
        }
    }

    /// It was used.
    void touch(cache_entry& e) noexcept {
        unlink(e);
        link_newest(e);
    }

    /// Out of the table; and away, unless it is in flight.
    void drop(cache_entry& e, cache_litter& litter, const tag_link* kept = nullptr) noexcept {
        entries_.erase(&e);
        leave_tags(e, kept);
        if (e.value != nullptr) {
            unlink(e);
            bytes_ -= e.bytes;
            --size_;
        }
        e.in_table = false;
        if (!e.in_flight) litter.take(e);
    }
    /// All that carry the tag; how many they were.
    std::size_t drop_tagged(std::string_view tag, cache_litter& litter) noexcept {
        const auto at = tags_.find(tag);
        if (at == tags_.end()) return 0;
        std::size_t n = 0;
        for (tag_link& head = at->second; !head.is_alone(); ++n) drop(*head.next->entry, litter, &head);
        tags_.erase(at);
        return n;
    }
    std::size_t drop_all(cache_litter& litter) noexcept {
        const std::size_t n = entries_.size();
        while (!entries_.empty()) drop(**entries_.begin(), litter);
        return n;
    }

    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }  ///< with a value
    [[nodiscard]] std::size_t tags() const noexcept { return tags_.size(); }
    [[nodiscard]] std::uint64_t evictions() const noexcept { return evictions_; }
    [[nodiscard]] std::uint64_t too_big() const noexcept { return too_big_; }

private:
    struct by_key {
        using is_transparent = void;
        [[nodiscard]] std::size_t operator()(const cache_entry* e) const noexcept { return static_cast<std::size_t>(e->hash); }
        [[nodiscard]] std::size_t operator()(const cache_request& r) const noexcept { return static_cast<std::size_t>(r.hash); }
        [[nodiscard]] bool operator()(const cache_entry* a, const cache_entry* b) const noexcept { return a == b; }
        [[nodiscard]] bool operator()(const cache_request& r, const cache_entry* e) const noexcept { return is_of(r, *e); }
        [[nodiscard]] bool operator()(const cache_entry* e, const cache_request& r) const noexcept { return is_of(r, *e); }
        [[nodiscard]] static bool is_of(const cache_request& r, const cache_entry& e) noexcept {
            return r.hash == e.hash && r.key == e.key;
        }
    };
    struct by_text {
        using is_transparent = void;
        [[nodiscard]] std::size_t operator()(std::string_view text) const noexcept { return std::hash<std::string_view>{}(text); }
    };

    /// What an entry takes besides its value: itself, its key and tags, and its places in the two tables, roughly.
    [[nodiscard]] static std::size_t cost_of(const cache_entry& e) noexcept {
        return sizeof(cache_entry) + e.key.capacity() + e.tags * sizeof(tag_link) + 4 * sizeof(void*);
    }

    void join(tag_link& l, cache_entry& e, std::string_view tag) {
        auto at = tags_.find(tag);
        if (at == tags_.end()) {
            at = tags_.try_emplace(std::string{tag}).first;
            at->second.name = &at->first;
        }
        tag_link& head = at->second;
        l.entry = &e;
        l.next = &head;
        l.previous = std::exchange(head.previous, &l);
        l.previous->next = &l;
    }
    /// A ring that becomes empty goes, unless it is `kept`.
    void leave_tags(cache_entry& e, const tag_link* kept) noexcept {
        for (std::size_t i = 0; i < e.tags; ++i) {
            tag_link& l = e.links[i];
            if (l.is_alone()) continue;
            tag_link& neighbour = *l.next;
            l.leave();
            if (neighbour.is_alone() && &neighbour != kept) tags_.erase(tags_.find(*neighbour.name));  // it is the head
        }
    }
    void link_newest(cache_entry& e) noexcept {
        e.newer = nullptr;
        e.older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = &e;
        newest_ = &e;
    }
    void unlink(cache_entry& e) noexcept {
        (e.newer != nullptr ? e.newer->older : newest_) = e.older;
        (e.older != nullptr ? e.older->newer : oldest_) = e.newer;
    }

    const std::size_t max_bytes_;
    const std::size_t max_entry_;
    std::unordered_set<cache_entry*, by_key, by_key> entries_;
    std::unordered_map<std::string, tag_link, by_text, std::equal_to<>> tags_;
    cache_entry *newest_ = nullptr, *oldest_ = nullptr;
    std::size_t bytes_ = 0;
    std::size_t size_ = 0;
    std::uint64_t evictions_ = 0;
    std::uint64_t too_big_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
