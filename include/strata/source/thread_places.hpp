// A number for each thread that uses an object: threads that come one after the other get different ones, as far as there are any.
#ifndef STRATA_SOURCE_THREAD_PLACES_HPP
#define STRATA_SOURCE_THREAD_PLACES_HPP

#include <strata/core/config.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// One for each object. Thread-safe. Costs a comparison where the thread used the same object last.
class thread_places {
public:
    thread_places() noexcept : id_(next_id()) {}
    thread_places(const thread_places&) = delete;
    thread_places& operator=(const thread_places&) = delete;

    /// From 0 to `number` - 1; the same each time that this thread asks.
    [[nodiscard]] STRATA_INLINE std::size_t of_this_thread(std::size_t number) noexcept {
        thread_local place last;
        if (last.id != id_) [[unlikely]]
            last = find(number);
        return last.at;
    }

private:
    struct place {
        std::uint64_t id = 0;
        std::size_t at = 0;
    };
    [[nodiscard]] static std::uint64_t next_id() noexcept {
        static std::atomic<std::uint64_t> ids{0};
        return ids.fetch_add(1, std::memory_order_relaxed) + 1;
    }
    [[nodiscard]] STRATA_COLD place find(std::size_t number) noexcept {
        thread_local std::vector<place> known;
        for (const place& p : known)
            if (p.id == id_) return p;
        place mine{id_, threads_.fetch_add(1, std::memory_order_relaxed) % number};
        try {
            known.push_back(mine);
        } catch (...) {  // no memory: another one the next time
        }
        return mine;
    }

    const std::uint64_t id_;
    std::atomic<std::size_t> threads_{0};
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
