// The prepared statements of one connection: found by the hash of their text, the least recently used let go first.
//
// A hit is a look into a bucket, a comparison and a move to the front of a list, without allocation. An entry that
// is in use (a stream stands on it) is neither evicted nor given out twice: the second user prepares its own.
#ifndef STRATA_DRIVER_SQLITE_STATEMENT_CACHE_HPP
#define STRATA_DRIVER_SQLITE_STATEMENT_CACHE_HPP

#include <strata/core/config.hpp>
#include <strata/core/heap_array.hpp>
#include <strata/driver/sqlite/scan.hpp>
#include <strata/sql/hash.hpp>
#include <strata/value/row_plan.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// A prepared statement with what was found out about it. Lives in a cache, or alone ("loose").
struct cached_statement {
    hash128 key{};
    ::sqlite3_stmt* handle = nullptr;
    row_plan plan{};            // made for its tag when SQLite had prepared the statement anew `plan_prepared` times
    int plan_prepared = -1;     // -1: there is no plan
    bool plan_fixed = false;    // it holds however often the statement is prepared anew
    bool has_star = true;       // the text has a '*': a change of the schema may change the columns
    bool in_use = true;
    bool loose = true;
    bool reads_only = false;    // SQLite's own judgement
    bool inserts = false;
    cached_statement* newer = nullptr;
    cached_statement* older = nullptr;
    cached_statement* next_in_bucket = nullptr;

    cached_statement() = default;
    cached_statement(const cached_statement&) = delete;
    cached_statement& operator=(const cached_statement&) = delete;
    ~cached_statement() { ::sqlite3_finalize(handle); }
};

/// Owned by one connection and used by one thread at a time.
class statement_cache {
public:
    statement_cache() = default;
    statement_cache(const statement_cache&) = delete;
    statement_cache& operator=(const statement_cache&) = delete;
    ~statement_cache() { clear(); }

    /// Empties the cache and sets how many statements it keeps; 0 keeps none.
    STRATA_COLD void reset(std::size_t bound) {
        clear();
        std::size_t buckets = 1;
        while (buckets < 2 * bound) buckets *= 2;
        buckets_ = heap_array<cached_statement*>(buckets);
        mask_ = buckets - 1;
        bound_ = bound;
    }

    /// The idle statement of this key, now in use; null when there is none. `unsure` is the text itself when others may
    /// have composed it: it is then compared, because a hash that is not cryptographic can be made to collide.
    [[nodiscard]] STRATA_INLINE cached_statement* take(const hash128& key, std::string_view unsure = {}) noexcept {
        if (!buckets_) return nullptr;
        for (cached_statement* s = bucket(key); s != nullptr; s = s->next_in_bucket) {
            if (!(s->key == key)) continue;
            if (s->in_use || (!unsure.empty() && !is_of(*s, unsure))) return nullptr;
            s->in_use = true;
            if (s != newest_) {
                unlink(*s);
                push_front(*s);
            }
            return s;
        }
        return nullptr;
    }

    /// Takes over a statement that was just prepared and is in use. It stays loose when it should not be kept, when
    /// another one with its key is there, or when every place is in use.
    STRATA_COLD cached_statement* put(cached_statement* s, bool keep) noexcept {
        if (!keep || bound_ == 0 || holds(s->key) || (size_ >= bound_ && !evict())) return s;
        s->loose = false;
        s->next_in_bucket = bucket(s->key);
        bucket(s->key) = s;
        push_front(*s);
        ++size_;
        return s;
    }

    /// Ends the use of a statement, which must have been reset.
    static STRATA_INLINE void give_back(cached_statement* s) noexcept {
        s->in_use = false;
        if (s->loose) [[unlikely]] remove(s);
    }

    /// Lets all statements go. Those in use become loose: they go when their user is done.
    STRATA_COLD void clear() noexcept {
        for (cached_statement* s = newest_; s != nullptr;) {
            cached_statement* const older = s->older;
            if (s->in_use) s->loose = true;
            else remove(s);
            s = older;
        }
        newest_ = oldest_ = nullptr;
        size_ = 0;
        if (buckets_) {
            for (std::size_t i = 0; i <= mask_; ++i) buckets_[i] = nullptr;
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool holds(const hash128& key) const noexcept {
        if (!buckets_) return false;
        const cached_statement* s = buckets_[key.low & mask_];
        while (s != nullptr && !(s->key == key)) s = s->next_in_bucket;
        return s != nullptr;
    }

private:
    /// SQLite keeps the text of a statement up to its semicolon.
    [[nodiscard]] static bool is_of(const cached_statement& s, std::string_view text) noexcept {
        const std::string_view mine = ::sqlite3_sql(s.handle);
        return text.substr(0, mine.size()) == mine && (text.size() == mine.size() || is_blank_sql(text.substr(mine.size())));
    }

    static STRATA_COLD void remove(cached_statement* s) noexcept { delete s; }

    [[nodiscard]] cached_statement*& bucket(const hash128& key) noexcept { return buckets_[key.low & mask_]; }

    void unlink(cached_statement& s) noexcept {
        (s.newer != nullptr ? s.newer->older : newest_) = s.older;
        (s.older != nullptr ? s.older->newer : oldest_) = s.newer;
    }

    void push_front(cached_statement& s) noexcept {
        s.newer = nullptr;
        s.older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = &s;
        newest_ = &s;
    }

    /// Lets the least recently used idle statement go; false when all are in use.
    bool evict() noexcept {
        cached_statement* s = oldest_;
        while (s != nullptr && s->in_use) s = s->newer;
        if (s == nullptr) return false;
        unlink(*s);
        cached_statement** link = &bucket(s->key);
        while (*link != s) link = &(*link)->next_in_bucket;
        *link = s->next_in_bucket;
        --size_;
        remove(s);
        return true;
    }

    heap_array<cached_statement*> buckets_;
    std::size_t mask_ = 0;
    std::size_t bound_ = 0;
    std::size_t size_ = 0;
    cached_statement* newest_ = nullptr;
    cached_statement* oldest_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
