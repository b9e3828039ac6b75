// What a call that asks for caching hands down its stack: the key, where its result lies, and how a copy of that is made.
//
// So a cache knows no type of a row, and is compiled once. Only an operation whose facts say `cacheable` carries one.
#ifndef STRATA_CORE_CACHE_REQUEST_HPP
#define STRATA_CORE_CACHE_REQUEST_HPP

#include <strata/core/time.hpp>

#include <atomic>
#include <cstddef>
#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// A copy of a result, immutable and counted: it is copied out while others do the same, and lives as long as somebody reads it.
class kept_value {
public:
    kept_value(const kept_value&) = delete;
    kept_value& operator=(const kept_value&) = delete;

    /// Copies it to where a call wants its result, of the type that the call's key names. May throw; then nothing was changed.
    virtual void copy_to(void* result) const = 0;
    /// What it takes of memory.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

    void retain() noexcept { users_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (users_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

protected:
    kept_value() = default;
    virtual ~kept_value() = default;
    std::size_t bytes_ = 0;

private:
    std::atomic<std::uint32_t> users_{1};
};

/// The views live as long as the call.
struct cache_request {
    std::string_view key;  ///< statement, arguments, type of the result and tags: equal bytes, equal results
    std::uint64_t hash = 0;
    std::span<const std::string_view> tags;
    duration ttl{};  ///< zero: the cache's own
    void* result = nullptr;
    kept_value* (*keep)(const void* result) = nullptr;  ///< a copy with one user; may throw
};

}  // namespace strata::inline STRATA_ABI

#endif
