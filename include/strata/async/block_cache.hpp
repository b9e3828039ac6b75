// Memory for asynchronous operations: a thread keeps what one operation gives back for the next.
//
// Asio's recycling allocator does this for blocks of up to a kilobyte. An operation with the six interceptors of a careful stack is
// larger, so its block came from malloc each time, and aligned: 350 instructions a call.
#ifndef STRATA_ASYNC_BLOCK_CACHE_HPP
#define STRATA_ASYNC_BLOCK_CACHE_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <new>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Two blocks of each size from 64 bytes to 4 KiB, in steps of 64, for each thread.
class block_cache {
public:
    [[nodiscard]] static void* allocate(std::size_t size) {
        const std::size_t n = kind_of(size);
        if (n >= kinds || is_gone()) [[unlikely]]
            return ::operator new(size);
        block*& first = here().first_[n];
        if (block* const b = first; b != nullptr) [[likely]] {
            first = b->next;
            return b;
        }
        return ::operator new((n + 1) * step);
    }
    static void deallocate(void* p, std::size_t size) noexcept {
        const std::size_t n = kind_of(size);
        if (n >= kinds || is_gone()) [[unlikely]]
            return ::operator delete(p);
        block*& first = here().first_[n];
        if (first != nullptr && first->next != nullptr) return ::operator delete(p);
        first = ::new (p) block{first};
    }

private:
    struct block {
        block* next;
    };
    static constexpr std::size_t step = 64, kinds = 64;

    block_cache() = default;
    ~block_cache() {
        is_gone() = true;
        for (block* b : first_)
            while (b != nullptr) {
                block* const next = b->next;
                ::operator delete(b);
                b = next;
            }
    }
    [[nodiscard]] static std::size_t kind_of(std::size_t size) noexcept { return (size - 1) / step; }
    [[nodiscard]] static block_cache& here() {
        thread_local block_cache mine;
        return mine;
    }
    /// The thread ends, and something still gives back.
    [[nodiscard]] static bool& is_gone() noexcept {
        thread_local bool gone = false;
        return gone;
    }

    block* first_[kinds]{};
};

/// An allocator over it; of what is aligned as no block is, past it.
template <class T>
struct block_allocator {
    using value_type = T;
    static constexpr bool fits = alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__;

    block_allocator() noexcept = default;
    template <class U>
    block_allocator(const block_allocator<U>&) noexcept {}
    [[nodiscard]] T* allocate(std::size_t n) {
        if constexpr (fits)
            return static_cast<T*>(block_cache::allocate(n * sizeof(T)));
        else
            return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t{alignof(T)}));
    }
    void deallocate(T* p, std::size_t n) noexcept {
        if constexpr (fits)
            block_cache::deallocate(p, n * sizeof(T));
        else
            ::operator delete(p, std::align_val_t{alignof(T)});
    }
    friend bool operator==(const block_allocator&, const block_allocator&) noexcept { return true; }
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
