// Bytes that are only ever appended, without being cleared first: where requests to a server are put together.
#ifndef STRATA_CORE_BYTE_BUFFER_HPP
#define STRATA_CORE_BYTE_BUFFER_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Keeps its memory over `clear()`. Appending costs a comparison and the copy.
class byte_buffer {
public:
    byte_buffer() noexcept = default;
    explicit byte_buffer(std::size_t room) : bytes_(new char[room]), end_(bytes_.get()), limit_(bytes_.get() + room) {}

    [[nodiscard]] const char* data() const noexcept { return bytes_.get(); }
    [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - bytes_.get()); }
    void clear() noexcept { end_ = bytes_.get(); }

    /// Room for `n` more bytes, whose values are whatever was there. Pointers into the buffer are gone.
    [[nodiscard]] STRATA_INLINE char* extend(std::size_t n) {
        if (static_cast<std::size_t>(limit_ - end_) < n) [[unlikely]]
            grow(n);
        char* const at = end_;
        end_ += n;
        return at;
    }
    void append(std::string_view v) {
        char* const at = extend(v.size());
        if (!v.empty()) std::memcpy(at, v.data(), v.size());
    }

private:
    STRATA_COLD void grow(std::size_t n) {
        const std::size_t used = size();
        const auto room = static_cast<std::size_t>(limit_ - bytes_.get());
        const std::size_t wanted = used + n > 2 * room ? used + n : 2 * room;
        std::unique_ptr<char[]> larger{new char[wanted < 64 ? 64 : wanted]};
        if (used != 0) std::memcpy(larger.get(), bytes_.get(), used);
        bytes_ = std::move(larger);
        end_ = bytes_.get() + used;
        limit_ = bytes_.get() + (wanted < 64 ? 64 : wanted);
    }

    std::unique_ptr<char[]> bytes_;
    char* end_ = nullptr;
    char* limit_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
