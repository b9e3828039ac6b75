// Arguments as bytes that tell them apart: what the key of a cache is made of. Equal bytes mean equal parameters.
//
// Each value is its kind, its length where that varies, and its bytes as they lie in memory: a key never leaves the process.
#ifndef STRATA_VALUE_KEY_WRITER_HPP
#define STRATA_VALUE_KEY_WRITER_HPP

#include <strata/value/any_writer.hpp>

#include <string>
#include <type_traits>

namespace strata::inline STRATA_ABI {

namespace detail {

/// Appends to a key what has a length of its own.
inline void append_to_key(std::string& key, std::string_view text) {
    const std::size_t size = text.size();
    key.append(reinterpret_cast<const char*>(&size), sizeof(size)).append(text);
}
/// Appends the bytes of a number or an address.
template <class T>
void append_bytes_to_key(std::string& key, const T& value) {
    static_assert(std::is_scalar_v<T>);
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

/// A parameter writer that appends to a key.
class key_writer final : public any_parameter_writer {
public:
    explicit key_writer(std::string& key) noexcept : key_(key) {}

    void null() override { key_ += 'n'; }
    void boolean(bool value) override { key_ += value ? 'y' : 'z'; }
    void integer(std::int64_t value) override { number('i', value); }
    void real(double value) override { number('r', value); }
    void text(std::string_view value) override { bytes('t', value); }
    void text_copy(std::string_view value) override { bytes('t', value); }
    void blob(std::span<const std::byte> value) override { bytes('b', {reinterpret_cast<const char*>(value.data()), value.size()}); }
    void blob_copy(std::span<const std::byte> value) override { blob(value); }
    [[nodiscard]] bool timestamp_since_1970(std::int64_t microseconds) override {
        number('u', microseconds);
        return true;
    }
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) override {
        key_ += '(';
        key_ += static_cast<char>(what);
        key_ += static_cast<char>(flags);
        append_bytes_to_key(key_, dimensions.size());
        for (const array_dimension& d : dimensions) {
            append_bytes_to_key(key_, d.size);
            append_bytes_to_key(key_, d.lower);
        }
        return true;
    }
    [[nodiscard]] bool close() override {
        key_ += ')';
        return true;
    }

private:
    template <class T>
    void number(char kind, T value) {
        key_ += kind;
        append_bytes_to_key(key_, value);
    }
    void bytes(char kind, std::string_view value) {
        key_ += kind;
        append_to_key(key_, value);
    }

    std::string& key_;
};

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif
