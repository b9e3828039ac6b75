// What the fuzz targets share: bytes cut into choices and texts, each in memory of exactly its size, so that AddressSanitizer sees
// the first byte that is read beyond it.
#ifndef STRATA_TEST_FUZZ_HPP
#define STRATA_TEST_FUZZ_HPP

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace strata_fuzz {

/// A promise that was broken: libFuzzer keeps the input.
inline void require(bool holds) {
    if (!holds) std::abort();
}

class input {
public:
    input(const std::uint8_t* data, std::size_t size) : choice_(size > 0 ? data[0] : 0), size_(size > 0 ? size - 1 : 0) {
        copy_ = std::make_unique<char[]>(size_);
        if (size_ > 0) std::memcpy(copy_.get(), data + 1, size_);
    }
    /// The first byte.
    [[nodiscard]] std::size_t choice() const noexcept { return choice_; }
    /// The others.
    [[nodiscard]] std::string_view text() const noexcept { return {copy_.get(), size_}; }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {reinterpret_cast<const std::byte*>(copy_.get()), size_}; }

private:
    std::size_t choice_;
    std::size_t size_;
    std::unique_ptr<char[]> copy_;
};

}  // namespace strata_fuzz

#endif
