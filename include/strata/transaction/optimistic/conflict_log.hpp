// What optimistic locking has met so far: counts, the keys that are fought over most, and the latest conflicts.
//
// A write that meets no conflict costs one relaxed addition. The keys are counted by the space-saving algorithm (Metwally, Agrawal, El
// Abbadi 2005): a bounded table in which a new key takes the place and the count of the least, so that a key which makes up more than
// 1/N of all conflicts is surely in it, and no count is too low.
#ifndef STRATA_TRANSACTION_OPTIMISTIC_CONFLICT_LOG_HPP
#define STRATA_TRANSACTION_OPTIMISTIC_CONFLICT_LOG_HPP

#include <strata/core/joined.hpp>
#include <strata/core/lock.hpp>
#include <strata/core/time.hpp>
#include <strata/transaction/optimistic/versioned.hpp>
#include <strata/value/any_writer.hpp>
#include <strata/value/codec.hpp>

#include <algorithm>
#include <atomic>
#include <new>
#include <string>
#include <tuple>
#include <vector>

namespace strata::inline STRATA_ABI {

/// A key that is fought over.
struct hot_key {
    std::string table;
    std::string key;              ///< readable; the parts of a key of several columns separated by ", "
    std::uint64_t conflicts = 0;  ///< not less than there were
    std::uint64_t over = 0;       ///< by so much it may be more, since the key took another's place
};

/// One conflict: a try to write met another version.
struct conflict_record {
    std::string table;
    std::string key;
    time_point when;
    unsigned attempt = 0;  ///< which try of its operation it was, from 1
};

/// What was done so far; not one moment's state.
struct conflict_snapshot {
    std::uint64_t operations = 0;          ///< versioned updates and removals that came to a write, those of batches one by one
    std::uint64_t attempts = 0;            ///< writes that they tried
    std::uint64_t conflicts = 0;           ///< of these, met another version
    std::uint64_t retries = 0;             ///< writes after the first of an operation
    std::uint64_t exhausted = 0;           ///< operations that gave up after their last try
    std::uint64_t merge_conflicts = 0;     ///< operations that met a true conflict
    std::vector<hot_key> hot_keys;         ///< the most first
    std::vector<conflict_record> history;  ///< the latest last

    [[nodiscard]] double average_attempts() const noexcept {
        return operations == 0 ? 0.0 : static_cast<double>(attempts) / static_cast<double>(operations);
    }
};

namespace detail {

/// Writes a key's parts as people read them.
class key_text final : public any_parameter_writer {
public:
    template <class... K>
    [[nodiscard]] static std::string of(const std::tuple<K...>& keys) {
        std::string text;
        key_text writer{text};
        const auto add = [&](const auto& part) {
            if (!text.empty()) text += ", ";
            static_cast<void>(codec<std::remove_cvref_t<decltype(part)>>::write(writer, part));
        };
        std::apply([&](const auto&... part) { (add(part), ...); }, keys);
        return text;
    }

    void null() override { text_ += "null"; }
    void boolean(bool v) override { text_ += v ? "true" : "false"; }
    void integer(std::int64_t v) override { text_ += std::string_view{digits_of{v}}; }
    void real(double v) override { text_ += std::to_string(v); }
    void text(std::string_view v) override { text_ += v; }
    void text_copy(std::string_view v) override { text_ += v; }
    void blob(std::span<const std::byte> v) override {
        for (const std::byte b : v)
            for (const unsigned half : {std::to_integer<unsigned>(b) >> 4, std::to_integer<unsigned>(b) & 15u})
                text_ += "0123456789abcdef"[half];
    }
    void blob_copy(std::span<const std::byte> v) override { blob(v); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t v) override {
        integer(v);
        return true;
    }

private:
    explicit key_text(std::string& text) noexcept : text_(text) {}
    std::string& text_;
};

/// Thread-safe.
class conflict_log {
public:
    conflict_log(std::size_t hot_keys, std::size_t history) : most_keys_(hot_keys), most_records_(history) {}

    void began() noexcept { operations_.fetch_add(1, std::memory_order_relaxed); }
    void retried() noexcept { retries_.fetch_add(1, std::memory_order_relaxed); }
    void exhausted() noexcept { exhausted_.fetch_add(1, std::memory_order_relaxed); }
    void merge_conflict() noexcept { merge_conflicts_.fetch_add(1, std::memory_order_relaxed); }

    /// Without memory only the counts are right.
    STRATA_COLD void met(std::string_view table, std::string key, unsigned attempt, time_point now) noexcept {
        conflicts_.fetch_add(1, std::memory_order_relaxed);
        const hold guard{lock_};
        try {
            count(table, key);
            record(table, std::move(key), attempt, now);
        } catch (const std::bad_alloc&) {
        }
    }

    [[nodiscard]] conflict_snapshot snapshot() const {
        conflict_snapshot s;
        s.operations = operations_.load(std::memory_order_relaxed);
        s.retries = retries_.load(std::memory_order_relaxed);
        s.attempts = s.operations + s.retries;
        s.conflicts = conflicts_.load(std::memory_order_relaxed);
        s.exhausted = exhausted_.load(std::memory_order_relaxed);
        s.merge_conflicts = merge_conflicts_.load(std::memory_order_relaxed);
        const hold guard{lock_};
        s.hot_keys = keys_;
        std::sort(s.hot_keys.begin(), s.hot_keys.end(), [](const hot_key& a, const hot_key& b) { return a.conflicts > b.conflicts; });
        s.history.reserve(records_.size());
        for (std::size_t i = 0; i < records_.size(); ++i) s.history.push_back(records_[(oldest_ + i) % records_.size()]);
        return s;
    }

private:
    void count(std::string_view table, const std::string& key) {
        if (most_keys_ == 0) return;
        hot_key* least = nullptr;
        for (hot_key& k : keys_) {
            if (k.key == key && k.table == table) {
                ++k.conflicts;
                return;
            }
            if (least == nullptr || k.conflicts < least->conflicts) least = &k;
        }
        if (keys_.size() < most_keys_) {
            keys_.push_back({std::string{table}, key, 1, 0});
        } else {
            const std::uint64_t taken = least->conflicts;
            *least = {std::string{table}, key, taken + 1, taken};
        }
    }
    void record(std::string_view table, std::string key, unsigned attempt, time_point now) {
        conflict_record r{std::string{table}, std::move(key), now, attempt};
        if (records_.size() < most_records_) {
            records_.push_back(std::move(r));
        } else if (most_records_ != 0) {
            records_[oldest_] = std::move(r);
            oldest_ = (oldest_ + 1) % most_records_;
        }
    }

    std::atomic<std::uint64_t> operations_{0};
    std::atomic<std::uint64_t> retries_{0};
    std::atomic<std::uint64_t> conflicts_{0};
    std::atomic<std::uint64_t> exhausted_{0};
    std::atomic<std::uint64_t> merge_conflicts_{0};
    const std::size_t most_keys_, most_records_;
    mutable inline_lock lock_;
    std::vector<hot_key> keys_;
    std::vector<conflict_record> records_;  // a ring once it is full
    std::size_t oldest_ = 0;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
