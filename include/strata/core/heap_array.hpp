// An array on the heap whose size is set once. `std::unique_ptr<T[]>` does the same and is thirty functions more
// to compile in every program: measured 20 ms a type with g++ -O0, a tenth of what strata's smallest program may add.
#ifndef STRATA_CORE_HEAP_ARRAY_HPP
#define STRATA_CORE_HEAP_ARRAY_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <utility>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Owns value-initialised elements, or nothing. Indices are not checked.
template <class T>
class heap_array {
public:
    heap_array() noexcept = default;
    explicit heap_array(std::size_t size) : first_(new T[size]{}) {}
    heap_array(const heap_array&) = delete;
    heap_array& operator=(heap_array other) noexcept {
        std::swap(first_, other.first_);
        return *this;
    }
    heap_array(heap_array&& other) noexcept : first_(other.release()) {}
    ~heap_array() { delete[] first_; }

    [[nodiscard]] T& operator[](std::size_t i) const noexcept { return first_[i]; }
    [[nodiscard]] T* data() const noexcept { return first_; }
    [[nodiscard]] explicit operator bool() const noexcept { return first_ != nullptr; }
    /// Gives the elements up: nobody will destroy them.
    T* release() noexcept { return std::exchange(first_, nullptr); }

private:
    T* first_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
