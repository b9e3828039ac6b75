// Codecs of texts and blobs: owned, or as views that cost no copy.
#ifndef STRATA_VALUE_TEXT_HPP
#define STRATA_VALUE_TEXT_HPP

#include <strata/value/primary.hpp>

#include <cstring>
#include <string>
#include <vector>

namespace strata::inline STRATA_ABI {

/// A blob that owns its bytes.
using blob = std::vector<std::byte>;

/// Text. Reads texts only, bytes as they are: neither a number nor a blob is taken for one.
template <>
struct codec<std::string> {
    static constexpr std::string_view name = "string";
    static constexpr column_classes takes{column_type::text};

    template <column_reader R>
    static errc read(const R& in, std::string& out) {
        const column_type found = in.type();
        if (found != column_type::text) [[unlikely]] return detail::unreadable(found);
        const std::string_view text = in.text();
        out.clear();  // together less work than assign(), which also minds a text that lies in `out` itself
        out.append(text);
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const std::string& value) {
        out.text(value);
        return errc::ok;
    }
};

/// Text without a copy. Read, it is a view into the row and lives until the next row: rows that are kept need `std::string`.
/// Written, its characters must live until the call ends (an asynchronous call: until its completion).
template <>
struct codec<std::string_view> {
    static constexpr std::string_view name = "string";
    static constexpr column_classes takes{column_type::text};
    static constexpr bool view = true;

    template <column_reader R>
    static errc read(const R& in, std::string_view& out) {
        const column_type found = in.type();
        if (found != column_type::text) [[unlikely]] return detail::unreadable(found);
        out = in.text();
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, std::string_view value) {
        out.text(value);
        return errc::ok;
    }
};

/// Parameters only. A null pointer is `errc::invalid_argument`: NULL is `std::nullopt`.
template <>
struct codec<const char*> {
    static constexpr std::string_view name = "string";

    template <parameter_writer W>
    static errc write(W& out, const char* value) {
        if (value == nullptr) return errc::invalid_argument;
        out.text(value);
        return errc::ok;
    }
};

template <>
struct codec<char*> : codec<const char*> {};

/// Parameters only: the characters before the first NUL.
template <std::size_t Size>
struct codec<char[Size]> {
    static constexpr std::string_view name = "string";

    template <parameter_writer W>
    static errc write(W& out, const char (&value)[Size]) {
        const void* const end = std::memchr(value, 0, Size);
        out.text({value, end != nullptr ? static_cast<std::size_t>(static_cast<const char*>(end) - value) : Size});
        return errc::ok;
    }
};

/// Bytes. Reads blobs only.
template <>
struct codec<blob> {
    static constexpr std::string_view name = "blob";
    static constexpr column_classes takes{column_type::blob};

    template <column_reader R>
    static errc read(const R& in, blob& out) {
        const column_type found = in.type();
        if (found != column_type::blob) return detail::unreadable(found);
        const std::span<const std::byte> bytes = in.blob();
        out.assign(bytes.begin(), bytes.end());
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, const blob& value) {
        out.blob(value);
        return errc::ok;
    }
};

/// Bytes without a copy; the same lifetimes as `std::string_view`.
template <>
struct codec<std::span<const std::byte>> {
    static constexpr std::string_view name = "blob";
    static constexpr column_classes takes{column_type::blob};
    static constexpr bool view = true;

    template <column_reader R>
    static errc read(const R& in, std::span<const std::byte>& out) {
        const column_type found = in.type();
        if (found != column_type::blob) return detail::unreadable(found);
        out = in.blob();
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, std::span<const std::byte> value) {
        out.blob(value);
        return errc::ok;
    }
};

/// Parameters only.
template <>
struct codec<std::span<std::byte>> {
    static constexpr std::string_view name = "blob";

    template <parameter_writer W>
    static errc write(W& out, std::span<const std::byte> value) {
        out.blob(value);
        return errc::ok;
    }
};

}  // namespace strata::inline STRATA_ABI

#endif
