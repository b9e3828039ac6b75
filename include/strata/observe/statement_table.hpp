// Counters by statement name, for up to 256 names, without a lock.
//
// A name's counters are made when it is first seen, entered by one compare-and-swap, and live as long as the table. Names
// beyond the 256th share one line, so a program that makes up names cannot fill the memory.
#ifndef STRATA_OBSERVE_STATEMENT_TABLE_HPP
#define STRATA_OBSERVE_STATEMENT_TABLE_HPP

#include <strata/observe/histogram.hpp>

#include <cstring>
#include <new>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// What is counted of one name. Thread-safe.
class statement_counters {
public:
    static constexpr std::size_t longest_name = 63;  ///< what is longer is cut: names alike up to there share a line

    statement_counters() noexcept = default;
    statement_counters(std::string_view name, std::uint64_t hash) noexcept : hash_(hash) { size_ = name.copy(name_, longest_name); }

    STRATA_INLINE void record(duration d, bool ok) noexcept {
        latency_.record(d);
        if (!ok) [[unlikely]]
            failures_.fetch_add(1, std::memory_order_relaxed);
    }
    [[nodiscard]] std::string_view name() const noexcept { return {name_, size_}; }
    [[nodiscard]] bool is(std::string_view name, std::uint64_t hash) const noexcept { return hash_ == hash && this->name() == name; }
    [[nodiscard]] std::uint64_t failures() const noexcept { return failures_.load(std::memory_order_relaxed); }
    [[nodiscard]] const small_histogram& latency() const noexcept { return latency_; }

private:
    std::uint64_t hash_ = 0;
    std::size_t size_ = 0;
    char name_[longest_name + 1] = {};
    std::atomic<std::uint64_t> failures_{0};
    small_histogram latency_;
};

class statement_table {
public:
    static constexpr std::size_t capacity = 256;

    statement_table() noexcept = default;
    statement_table(const statement_table&) = delete;
    statement_table& operator=(const statement_table&) = delete;
    ~statement_table() {
        for (auto& slot : slots_) delete slot.load(std::memory_order_relaxed);
    }

    /// The counters of a name; those of `others()` when the table is full or memory is out.
    [[nodiscard]] statement_counters& find(std::string_view name) noexcept {
        if (name.size() > statement_counters::longest_name) name = name.substr(0, statement_counters::longest_name);
        const std::uint64_t hash = hash_of(name);
        for (std::size_t i = hash >> shift;; i = (i + 1) % places) {
            statement_counters* there = slots_[i].load(std::memory_order_acquire);
            if (there == nullptr) {
                there = enter(i, name, hash);
                if (there == nullptr) return others_;
            }
            if (there->is(name, hash)) return *there;
        }
    }

    /// Statements whose name found no place.
    [[nodiscard]] const statement_counters& others() const noexcept { return others_; }

    /// `f(counters)` for each name, in no order.
    template <class F>
    void for_each(F&& f) const {
        for (const auto& slot : slots_)
            if (const statement_counters* there = slot.load(std::memory_order_acquire)) f(*there);
    }

private:
    static constexpr std::size_t places = 2 * capacity;  // never more than half full: a search is short and ends
    static constexpr unsigned shift = 64 - 9;
    static_assert(places == 1u << 9);

    /// By words, of which the last two overlap, so that no byte is read alone: 38 instructions less for a name of 13.
    [[nodiscard]] static std::uint64_t hash_of(std::string_view name) noexcept {
        std::uint64_t h = name.size();
        const auto mix = [&h](std::uint64_t word) { h = (std::rotl(h, 29) ^ word) * 0x9e3779b97f4a7c15ull; };
        const char* p = name.data();
        const std::size_t size = name.size();
        if (size >= 8) {
            for (std::size_t i = 0; i + 8 < size; i += 8) mix(read<std::uint64_t>(p + i));
            mix(read<std::uint64_t>(p + size - 8));
        } else if (size >= 4) {
            mix(read<std::uint32_t>(p) | read<std::uint32_t>(p + size - 4) << 32);
        } else if (size > 0) {
            mix(read<std::uint8_t>(p) | read<std::uint8_t>(p + size / 2) << 8 | read<std::uint8_t>(p + size - 1) << 16);
        }
        return h;
    }
    template <class Word>
    [[nodiscard]] static std::uint64_t read(const char* from) noexcept {
        Word word;
        std::memcpy(&word, from, sizeof word);
        return word;
    }

    /// Puts new counters into an empty place; returns what lies there afterwards, null when there is no room.
    [[nodiscard]] STRATA_COLD statement_counters* enter(std::size_t i, std::string_view name, std::uint64_t hash) noexcept {
        if (used_.fetch_add(1, std::memory_order_relaxed) < capacity) {
            if (auto* made = new (std::nothrow) statement_counters(name, hash)) {
                statement_counters* there = nullptr;
                if (slots_[i].compare_exchange_strong(there, made, std::memory_order_acq_rel, std::memory_order_acquire)) return made;
                delete made;
                used_.fetch_sub(1, std::memory_order_relaxed);
                return there;
            }
        }
        used_.fetch_sub(1, std::memory_order_relaxed);
        return nullptr;
    }

    std::array<std::atomic<statement_counters*>, places> slots_{};
    std::atomic<std::size_t> used_{0};
    statement_counters others_;
};

}  // namespace strata::inline STRATA_ABI

#endif
