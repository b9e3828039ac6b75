// Rows as COPY wants them: in the binary form of the server's types, or as text or CSV.
//
// The values that most columns hold are written straight into the bytes to be sent; all others by the writer of parameters.
#ifndef STRATA_DRIVER_POSTGRES_COPY_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_COPY_WRITER_HPP

#include <strata/core/byte_buffer.hpp>
#include <strata/driver/postgres/writer.hpp>
#include <strata/value/copy_options.hpp>
#include <strata/value/primary.hpp>

#include <cstring>
#include <memory>

namespace strata::inline STRATA_ABI {
namespace detail {

/// Collects the bytes of rows; models `parameter_writer` for the binary form.
class postgres_copy_writer : public postgres_writer {
public:
    /// `types`: of the columns; they and the catalogue outlive the writer.
    postgres_copy_writer(std::span<const ::Oid> types, const type_catalogue& catalogue, copy_format format, std::size_t room)
        : types_of_columns_(types), catalogue_(catalogue), format_(format), bytes_(room) {}

    /// What goes before the first row.
    void begin() {
        if (format_ == copy_format::binary) bytes_.append({"PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19});
    }
    void begin_row() {
        column_ = 0;
        if (format_ == copy_format::binary) put(static_cast<std::uint16_t>(types_of_columns_.size()));
    }
    /// The next value of the row. On a refusal nothing more may be written.
    template <class T>
    [[nodiscard]] errc field(const T& value) {
        if (format_ == copy_format::binary) {
            direct_ = false;
            type_ = types_of_columns_[column_];
            reset(types_of_columns_.subspan(column_, 1), true, catalogue_);
            const errc why = codec<T>::write(*this, value);
            if (why == errc::ok && direct_) [[likely]]
                return ++column_, errc::ok;
            return end_field(why);
        }
        reset({}, false, catalogue_);
        return end_field(codec<T>::write(static_cast<postgres_writer&>(*this), value));
    }
    void end_row() {
        if (format_ != copy_format::binary) bytes_.append("\n");
    }
    /// What goes after the last row.
    void end() {
        if (format_ == copy_format::binary) put(static_cast<std::uint16_t>(-1));
    }
    /// True when the last refusal means that a value came in a form that only a text COPY takes.
    [[nodiscard]] bool wants_text() const noexcept { return wants_text_; }

    [[nodiscard]] const type_catalogue& catalogue() const noexcept { return catalogue_; }

    [[nodiscard]] const char* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    void clear() noexcept { bytes_.clear(); }

    // What codecs write; the rest is inherited.
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) {
        type_ = 0;  // what is within another value is none of ours
        return postgres_writer::open(what, dimensions, flags);
    }
    void null() {
        if (type_ == 0) return postgres_writer::null();
        put(static_cast<std::uint32_t>(-1));
        direct_ = true;
    }
    void boolean(bool v) {
        if (type_ != oid::boolean) return postgres_writer::boolean(v);
        const char byte = v ? 1 : 0;
        put_field({&byte, 1});
    }
    void integer(std::int64_t v) {
        if (type_ == oid::int8) return put_number(static_cast<std::uint64_t>(v));
        if (type_ == oid::int4 && v == static_cast<std::int32_t>(v)) return put_number(static_cast<std::uint32_t>(v));
        if (type_ == oid::int2 && v == static_cast<std::int16_t>(v)) return put_number(static_cast<std::uint16_t>(v));
        postgres_writer::integer(v);
    }
    void real(double v) {
        if (type_ == oid::float8) return put_number(std::bit_cast<std::uint64_t>(v));
        postgres_writer::real(v);
    }
    void text(std::string_view v) { text_copy(v); }
    void text_copy(std::string_view v) {
        if (!is_plain_text(type_) || v.size() > most_of_a_field || std::memchr(v.data() != nullptr ? v.data() : "", 0, v.size()) != nullptr)
            return postgres_writer::text_copy(v);
        put_field(v);
    }
    void blob(std::span<const std::byte> v) { blob_copy(v); }
    void blob_copy(std::span<const std::byte> v) {
        if (type_ != oid::bytea || v.size() > most_of_a_field) return postgres_writer::blob_copy(v);
        put_field({reinterpret_cast<const char*>(v.data()), v.size()});
    }

private:
    static constexpr std::size_t most_of_a_field = 0x3fffffff;

    /// A value that the parameter writer took.
    [[nodiscard]] errc end_field(errc why) {
        if (why == errc::ok) why = refused();
        if (why == errc::ok && written() != 1) why = errc::misuse;  // a codec must write exactly once
        if (why != errc::ok) return why;
        finish();
        const char* const value = values()[0];
        const std::string_view v{value != nullptr ? value : "", value != nullptr ? static_cast<std::size_t>(lengths()[0]) : 0};
        const bool is_binary = formats()[0] == 1;
        if (format_ != copy_format::binary) {
            if (column_++ != 0) bytes_.append(format_ == copy_format::csv ? "," : "\t");
            if (value == nullptr)
                bytes_.append(format_ == copy_format::csv ? "" : "\\N");
            else
                append_text(v, is_binary);
            return errc::ok;
        }
        if (value != nullptr && !is_binary) {
            wants_text_ = true;
            return errc::unsupported;
        }
        if (value == nullptr)
            put(static_cast<std::uint32_t>(-1));
        else
            put_field(v);
        ++column_;
        return errc::ok;
    }
    void append_text(std::string_view v, bool bytes) {
        if (bytes) {
            escaped_ = format_ == copy_format::csv ? "\\x" : "\\\\x";
            append_hex(escaped_, {reinterpret_cast<const std::byte*>(v.data()), v.size()});
            return bytes_.append(escaped_);
        }
        escaped_.clear();
        if (format_ == copy_format::csv) {
            escaped_ += '"';
            for (const char c : v) escaped_.append(c == '"' ? 2 : 1, c);
            escaped_ += '"';
            return bytes_.append(escaped_);
        }
        for (const char c : v) {
            switch (c) {
                case '\n':
                    escaped_ += "\\n";
                    break;
                case '\r':
                    escaped_ += "\\r";
                    break;
                case '\t':
                    escaped_ += "\\t";
                    break;
                case '\\':
                    escaped_ += "\\\\";
                    break;
                default:
                    escaped_ += c;
            }
        }
        bytes_.append(escaped_);
    }

    template <class Unsigned>
    static void store(char* to, Unsigned n) noexcept {
        if constexpr (std::endian::native == std::endian::little) {
            if constexpr (sizeof n == 2)
                n = __builtin_bswap16(n);
            else if constexpr (sizeof n == 4)
                n = __builtin_bswap32(n);
            else
                n = __builtin_bswap64(n);
        }
        std::memcpy(to, &n, sizeof n);
    }
    template <class Unsigned>
    void put(Unsigned n) {
        store(bytes_.extend(sizeof n), n);
    }
    template <class Unsigned>
    void put_number(Unsigned n) {
        char* const to = bytes_.extend(4 + sizeof n);
        store(to, std::uint32_t{sizeof n});
        store(to + 4, n);
        direct_ = true;
    }
    void put_field(std::string_view v) {
        char* const to = bytes_.extend(4 + v.size());
        store(to, static_cast<std::uint32_t>(v.size()));
        if (!v.empty()) std::memcpy(to + 4, v.data(), v.size());
        direct_ = true;
    }

    std::span<const ::Oid> types_of_columns_;
    const type_catalogue& catalogue_;
    copy_format format_;
    byte_buffer bytes_;
    std::size_t column_ = 0;
    ::Oid type_ = 0;
    bool direct_ = false;  // the value is written already
    bool wants_text_ = false;
    std::string escaped_;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
