// A 128-bit hash of a statement's text: the same number in every library and process, at compile time for literals.
//
// It is the key of each connection's prepared cache and becomes the statement's name on a server. It is not
// cryptographic: texts come from programmers, and 128 well-mixed bits make an accidental collision negligible. A cache
// that may meet texts which an attacker composed (quoted identifiers) compares the text as well on a hit.
#ifndef STRATA_SQL_HASH_HPP
#define STRATA_SQL_HASH_HPP

#include <strata/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// 128 bits; structural and comparable.
struct hash128 {
    std::uint64_t high = 0;
    std::uint64_t low = 0;

    friend constexpr bool operator==(const hash128&, const hash128&) noexcept = default;
};

namespace detail {

/// The key of a text made at run time. Others may have composed it, so its look-up compares the text as well; and it never meets a
/// literal's, which is trusted by its hash.
[[nodiscard]] constexpr hash128 key_of_composed(hash128 text) noexcept { return {~text.high, text.low}; }

/// Eight bytes as a little-endian number: one step of constant evaluation.
[[nodiscard]] constexpr std::uint64_t eight_bytes(const char* p) noexcept {
    using u = std::uint64_t;
    using c = unsigned char;
    return static_cast<u>(static_cast<c>(p[0])) | static_cast<u>(static_cast<c>(p[1])) << 8 | static_cast<u>(static_cast<c>(p[2])) << 16 |
           static_cast<u>(static_cast<c>(p[3])) << 24 | static_cast<u>(static_cast<c>(p[4])) << 32 |
           static_cast<u>(static_cast<c>(p[5])) << 40 | static_cast<u>(static_cast<c>(p[6])) << 48 |
           static_cast<u>(static_cast<c>(p[7])) << 56;
}

/// MurmurHash3's 64-bit finaliser (Appleby, public domain): every input bit reaches every output bit.
[[nodiscard]] constexpr std::uint64_t finish_mix(std::uint64_t h) noexcept {
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdULL;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53ULL;
    return h ^ (h >> 33);
}

}  // namespace detail

/// Hash of a text. Two independent 64-bit states over words of eight bytes: one FNV-1a like (exclusive or, then
/// multiply) with a folding shift, one Murmur-like (multiply, add, rotate); both are finalised with the length.
[[nodiscard]] constexpr hash128 hash_text(std::string_view text) noexcept {
    std::uint64_t a = 0xcbf29ce484222325ULL;  // FNV-1a's offset basis
    std::uint64_t b = 0x9e3779b97f4a7c15ULL;  // 2^64 / golden ratio
    const auto take = [&](std::uint64_t word) {
        a = (a ^ word) * 0x00000100000001b3ULL;  // FNV's prime
        a ^= a >> 29;
        b += word * 0x87c37b91114253d5ULL;  // MurmurHash3's first constant
        b = ((b << 31) | (b >> 33)) * 0x4cf5ad432745937fULL;
    };
    const char* p = text.data();
    std::size_t left = text.size();
    for (; left >= 8; left -= 8, p += 8) take(detail::eight_bytes(p));
    std::uint64_t tail = 0;
    for (std::size_t i = 0; i < left; ++i) tail |= static_cast<std::uint64_t>(static_cast<unsigned char>(p[i])) << (8 * i);
    take(tail);
    const std::uint64_t length = text.size();
    const std::uint64_t high = detail::finish_mix(a ^ length);
    const std::uint64_t low = detail::finish_mix(b + length * 0x9e3779b97f4a7c15ULL);
    return {high + low, low ^ ((high << 17) | (high >> 47))};
}

}  // namespace strata::inline STRATA_ABI

#endif
