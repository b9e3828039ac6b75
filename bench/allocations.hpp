// Counts what a program takes from the heap, by standing in front of the C library's functions and operator new.
// For exactly one source file of a program. Nothing of strata.
#ifndef BENCH_ALLOCATIONS_HPP
#define BENCH_ALLOCATIONS_HPP

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace bench {

/// Calls of operator new, malloc, calloc, realloc and their aligned forms since the program began.
inline long allocations = 0;

}  // namespace bench

extern "C" {
// glibc's own names of the functions that are replaced here
void* __libc_malloc(std::size_t) noexcept;
void* __libc_calloc(std::size_t, std::size_t) noexcept;
void* __libc_realloc(void*, std::size_t) noexcept;
void* __libc_memalign(std::size_t, std::size_t) noexcept;
void __libc_free(void*) noexcept;

void* malloc(std::size_t n) noexcept { return ++bench::allocations, __libc_malloc(n); }
void* calloc(std::size_t n, std::size_t size) noexcept { return ++bench::allocations, __libc_calloc(n, size); }
void* realloc(void* p, std::size_t n) noexcept { return ++bench::allocations, __libc_realloc(p, n); }
void* memalign(std::size_t align, std::size_t n) noexcept { return ++bench::allocations, __libc_memalign(align, n); }
void* aligned_alloc(std::size_t align, std::size_t n) noexcept { return ++bench::allocations, __libc_memalign(align, n); }
int posix_memalign(void** p, std::size_t align, std::size_t n) noexcept {
    ++bench::allocations;
    *p = __libc_memalign(align, n);
    return *p != nullptr ? 0 : ENOMEM;
}
void free(void* p) noexcept { __libc_free(p); }
}

void* operator new(std::size_t n) {
    ++bench::allocations;
    if (void* p = __libc_malloc(n)) return p;
    throw std::bad_alloc{};
}
void* operator new(std::size_t n, std::align_val_t align) {
    ++bench::allocations;
    if (void* p = __libc_memalign(static_cast<std::size_t>(align), n)) return p;
    throw std::bad_alloc{};
}
void operator delete(void* p) noexcept { __libc_free(p); }
void operator delete(void* p, std::size_t) noexcept { __libc_free(p); }
void operator delete(void* p, std::align_val_t) noexcept { __libc_free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { __libc_free(p); }

#endif
