// Generated from include/strata/value/uuid.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_VALUE_UUID_HPP
#define STRATA_SINGLE_VALUE_UUID_HPP

#include <strata/strata.hpp>

#include <array>
#include <compare>

// A UUID: sixteen bytes, printed as 8-4-4-4-12 hexadecimal digits. Any version; none is generated here.
#ifndef STRATA_VALUE_UUID_HPP
#define STRATA_VALUE_UUID_HPP

namespace strata::inline STRATA_ABI {

/// Ordered as its bytes are, which is the order of its text.
struct uuid {
    std::array<std::byte, 16> bytes{};

    /// From `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in lower or upper case; nullopt for any other text.
    [[nodiscard]] static constexpr std::optional<uuid> parse(std::string_view text) noexcept {
        if (text.size() != 36) return std::nullopt;
        uuid id;
        std::size_t at = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            if (at == 8 || at == 13 || at == 18 || at == 23) {
                if (text[at++] != '-') return std::nullopt;
            }
            const int high = hex(text[at]);
            const int low = hex(text[at + 1]);
            if (high < 0 || low < 0) return std::nullopt;
            id.bytes[i] = static_cast<std::byte>(high * 16 + low);
            at += 2;
        }
        return id;
    }

    /// In lower case.
    [[nodiscard]] std::string to_string() const {
        char text[36];
        print(text);
        return {text, sizeof(text)};
    }
    constexpr void print(char (&text)[36]) const noexcept {
        char* at = text;
        for (const std::byte b : bytes) {
            if (at - text == 8 || at - text == 13 || at - text == 18 || at - text == 23) *at++ = '-';
            *at++ = "0123456789abcdef"[std::to_integer<unsigned>(b) / 16];
            *at++ = "0123456789abcdef"[std::to_integer<unsigned>(b) % 16];
        }
    }

    [[nodiscard]] constexpr bool operator==(const uuid&) const noexcept = default;
    [[nodiscard]] constexpr auto operator<=>(const uuid&) const noexcept = default;

private:
    static constexpr int hex(char c) noexcept {
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
    }
};

/// Reads text, and blobs of 16 bytes. Writes text, because every database takes it for its own type and people can read it; who
/// stores sixteen bytes in SQLite writes `std::span<const std::byte>{id.bytes}`.
template <>
struct codec<uuid> {
    static constexpr std::string_view name = "uuid";
    static constexpr column_classes takes{column_type::text, column_type::blob};
    static constexpr std::string_view hint = "a uuid is text like 123e4567-e89b-12d3-a456-426614174000, or a blob of 16 bytes";

    template <column_reader R>
    static errc read(const R& in, uuid& out) {
        const column_type found = in.type();
        if (found == column_type::text) {
            const std::optional<uuid> id = uuid::parse(in.text());
            if (!id) return errc::type_mismatch;
            out = *id;
            return errc::ok;
        }
        if (found != column_type::blob) return detail::unreadable(found);
        const std::span<const std::byte> bytes = in.blob();
        if (bytes.size() != out.bytes.size()) return errc::type_mismatch;
        for (std::size_t i = 0; i < out.bytes.size(); ++i) out.bytes[i] = bytes[i];
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const uuid& value) {
        char text[36];
        value.print(text);
        out.text_copy({text, sizeof(text)});
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

#endif
