// Arguments of a statement as the server's types want them: binary where the form is plain, text where the server parses best.
#ifndef STRATA_DRIVER_POSTGRES_WRITER_HPP
#define STRATA_DRIVER_POSTGRES_WRITER_HPP

#include <strata/core/error.hpp>
#include <strata/driver/postgres/catalogue.hpp>
#include <strata/driver/postgres/literal.hpp>
#include <strata/driver/postgres/text.hpp>

#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace strata::inline STRATA_ABI {

/// Collects the parameters of one statement; models `parameter_writer`. The types are those that the server has described. Memory is
/// kept for the next statement.
class postgres_writer {
public:
    /// Begins a new statement; without types (nothing was described) everything but bytes goes as text, which the server parses.
    void reset(std::span<const ::Oid> types, bool described, const detail::type_catalogue& catalogue) {
        types_ = types;
        catalogue_ = &catalogue;
        described_ = described;
        count_ = 0;
        own_.clear();
        open_.clear();
        refused_ = errc::ok;
        as_text_ = false;
    }

    void null() {
        if (!open_.empty()) return add_null_part();
        add(nullptr, 0, 0);
    }
    void boolean(bool v) {
        if (next_type() == oid::boolean) {
            const char byte = v ? 1 : 0;
            return add_copy({&byte, 1}, 1);
        }
        add_copy(v ? "true" : "false", 0);
    }
    /// What does not fit the server's type is refused; digits go to types that take them.
    void integer(std::int64_t v) {
        switch (next_type()) {
            case oid::int8:
                return add_number(static_cast<std::uint64_t>(v));
            case oid::int4:
                return v == static_cast<std::int32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::int2:
                return v == static_cast<std::int16_t>(v) ? add_number(static_cast<std::uint16_t>(v)) : refuse(errc::out_of_range);
            case oid::oid:
                return v == static_cast<std::uint32_t>(v) ? add_number(static_cast<std::uint32_t>(v)) : refuse(errc::out_of_range);
            case oid::float8: {
                const auto d = static_cast<double>(v);
                // exact: compared as integers, and 2^63 itself is none
                if (d >= 9223372036854775808.0 || static_cast<std::int64_t>(d) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint64_t>(d));
            }
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (f >= 9223372036854775808.0F || static_cast<std::int64_t>(f) != v) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        char digits[24];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    void real(double v) {
        switch (next_type()) {
            case oid::float8:
                return add_number(std::bit_cast<std::uint64_t>(v));
            case oid::float4: {
                const auto f = static_cast<float>(v);
                if (std::isfinite(v) && !std::isfinite(f)) return refuse(errc::out_of_range);
                return add_number(std::bit_cast<std::uint32_t>(f));
            }
            // The server would round to a whole number.
            case oid::int2:
            case oid::int4:
            case oid::int8:
            case oid::oid:
            case oid::boolean:
            case oid::bytea:
                return refuse(errc::type_mismatch);
            default:
                break;
        }
        if (!std::isfinite(v)) return add_copy(std::isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity", 0);
        char digits[40];
        const auto end = std::to_chars(digits, digits + sizeof digits, v).ptr;  // the shortest text that reads back as the same number
        add_copy({digits, static_cast<std::size_t>(end - digits)}, 0);
    }
    /// Not copied: must live until the call ends. A text for another type is parsed by the server.
    void text(std::string_view v) {
        if (is_described() && detail::is_plain_text(next_type())) {
            if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);  // no text of the server's has one
            return add(v.data() != nullptr ? v.data() : "", v.size(), 1);
        }
        text_copy(v);
    }
    void text_copy(std::string_view v) {
        const ::Oid type = next_type();
        if (type == oid::bytea) return refuse(errc::type_mismatch);  // the server would read escapes in it
        if (v.find('\0') != v.npos) return refuse(errc::invalid_argument);
        add_copy(v, is_described() && detail::is_plain_text(type) ? 1 : 0);
    }
    void blob(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add(v.data() != nullptr ? reinterpret_cast<const char*>(v.data()) : "", v.size(), 1);
    }
    void blob_copy(std::span<const std::byte> v) {
        if (!takes_bytes(v.size())) return refuse(errc::type_mismatch);
        add_copy({reinterpret_cast<const char*>(v.data()), v.size()}, 1);
    }
    /// A point of time; for a column without zone, in UTC.
    void timestamp(std::chrono::sys_time<std::chrono::microseconds> t) {
        constexpr std::int64_t from_1970 = 946'684'800'000'000;
        const std::int64_t us = t.time_since_epoch().count();
        if (us < std::numeric_limits<std::int64_t>::min() + 1 + from_1970) return refuse(errc::out_of_range);
        switch (next_type()) {
            case oid::timestamptz:
            case oid::timestamp:
                return add_number(static_cast<std::uint64_t>(us - from_1970));
            default:
                break;
        }
        if (is_described() && class_of_next() != column_type::text) return refuse(errc::type_mismatch);
        std::string text;
        detail::append_timestamp(text, us - from_1970, true);
        add_copy(text, is_described() && detail::is_plain_text(next_type()) ? 1 : 0);
    }

    /// Begins a value that holds values; see `nested_writer`. An array whose elements are plain in binary goes so, everything else as the
    /// text that the server parses. A parameter of another kind is refused.
    [[nodiscard]] bool open(nesting what, std::span<const array_dimension> dimensions, std::uint8_t flags) {
        const bool top = open_.empty();
        const ::Oid type = type_to_open();
        const detail::type_shape shape = catalogue_->shape(type);
        if (type != oid::unknown && !detail::is_kind(what, shape.kind)) keep_refusal(errc::type_mismatch);
        if (!top && !open_.back().literal) open_.back().has_text = true;
        container& c = open_.emplace_back();
        c.type = type;
        c.begin = own_.size();
        if (!top || what != nesting::array || shape.kind != detail::type_kind::array || std::exchange(as_text_, false)) {
            c.literal.emplace(what, dimensions, flags);
            return true;
        }
        c.part = shape.part;
        put(static_cast<std::uint32_t>(dimensions.size()));
        put(std::uint32_t{0});  // whether a NULL is in it: set by the first
        put(static_cast<std::uint32_t>(shape.part));
        for (const array_dimension& d : dimensions) {
            put(static_cast<std::uint32_t>(d.size));
            put(static_cast<std::uint32_t>(d.lower));
        }
        return true;
    }
    /// Ends it; false when its parts are wanted once more, because one has no binary form here.
    [[nodiscard]] bool close() {
        container c = std::move(open_.back());
        open_.pop_back();
        if (refused_ != errc::ok) {
            if (open_.empty()) refuse(refused_);
        } else if (c.literal) {
            add_copy(std::move(*c.literal).finish(), 0);
        } else if (c.has_text) {
            own_.resize(c.begin);
            as_text_ = true;
            return false;
        } else {
            const std::size_t size = own_.size() - c.begin;
            add("", size, 1);
            offsets_[count_ - 1] = c.begin;
        }
        return true;
    }

    /// What attribute `i` of the composite that is open is called.
    [[nodiscard]] std::string_view part_name(std::size_t i) const noexcept {
        const detail::own_type* const own = open_.empty() ? nullptr : catalogue_->find(open_.back().type);
        return own != nullptr && i < own->attributes.size() ? std::string_view{own->attributes[i]} : std::string_view{};
    }

    [[nodiscard]] errc refused() const noexcept { return refused_; }
    [[nodiscard]] int written() const noexcept { return static_cast<int>(count_); }

    /// For libpq; valid until `reset`. Call `finish` once after the last parameter.
    void finish() noexcept {
        for (std::size_t i = 0; i < count_; ++i)
            if (offsets_[i] != not_own) values_[i] = own_.data() + offsets_[i];
    }
    [[nodiscard]] const char* const* values() const noexcept { return values_.data(); }
    [[nodiscard]] const int* lengths() const noexcept { return lengths_.data(); }
    [[nodiscard]] const int* formats() const noexcept { return formats_.data(); }

private:
    static constexpr std::size_t not_own = static_cast<std::size_t>(-1);
    static constexpr std::size_t too_long = 0x3fffffff;  // a field holds at most 1 GB

    /// A value that is being written part by part.
    struct container {
        std::optional<detail::nested_literal> literal;  // none: binary, in `own_` from `begin` on
        ::Oid type = oid::unknown;                      // its own, as far as it is known
        ::Oid part = oid::unknown;                      // of the parts that go in binary
        std::size_t parts = 0;                          // written
        std::size_t begin = 0;
        bool has_text = false;  // a part that is text where binary was wanted
    };

    /// The type of what is written next.
    [[nodiscard]] ::Oid next_type() const noexcept {
        if (!open_.empty()) [[unlikely]]
            return open_.back().part;
        return count_ < types_.size() ? types_[count_] : oid::unknown;
    }
    /// The type of a value that is about to be opened, without its domains; `unknown` where nobody knows.
    [[nodiscard]] ::Oid type_to_open() const noexcept {
        if (open_.empty()) return described_ ? catalogue_->base(next_type()) : ::Oid{oid::unknown};
        const container& c = open_.back();
        if (c.type == oid::unknown) return oid::unknown;
        const detail::own_type* const own = catalogue_->find(c.type);
        const ::Oid type = own == nullptr || own->shape.kind != detail::type_kind::record ? catalogue_->shape(c.type).part
                           : c.parts < own->attribute_types.size()                        ? own->attribute_types[c.parts]
                                                                                          : ::Oid{oid::unknown};
        return type == 0 ? ::Oid{oid::unknown} : catalogue_->base(type);
    }
    [[nodiscard]] bool is_described() const noexcept { return described_ && (open_.empty() || !open_.back().literal); }
    [[nodiscard]] column_type class_of_next() const noexcept { return detail::class_of(next_type()); }
    [[nodiscard]] bool takes_bytes(std::size_t size) const noexcept {
        return !is_described() || next_type() == oid::bytea || (next_type() == oid::uuid && size == 16);
    }
    void add(const char* data, std::size_t size, int format) {
        if (size > too_long) return refuse(errc::too_big);
        if (!open_.empty()) [[unlikely]]
            return add_part({data, size}, format);
        push(data, static_cast<int>(size), format, not_own);
    }
    STRATA_INLINE void push(const char* data, int size, int format, std::size_t offset) {
        if (count_ == values_.size()) [[unlikely]]
            grow();
        values_[count_] = data;
        lengths_[count_] = size;
        formats_[count_] = format;
        offsets_[count_] = offset;
        ++count_;
    }
    STRATA_COLD void grow() {
        const std::size_t room = count_ < 8 ? 8 : count_ * 2;
        offsets_.resize(room);
        formats_.resize(room);
        lengths_.resize(room);
        values_.resize(room);  // the last: its size says how much room there is
    }
    void add_copy(std::string_view v, int format) {
        if (!open_.empty()) [[unlikely]]
            return add(v.data(), v.size(), format);
        if (v.size() > too_long) return refuse(errc::too_big);
        const std::size_t at = own_.size();
        own_.append(v);
        own_.push_back('\0');  // libpq reads texts up to their NUL
        push(nullptr, static_cast<int>(v.size()), format, at);
    }
    void add_part(std::string_view v, int format) {
        container& c = open_.back();
        ++c.parts;
        if (c.literal && format == 0) {
            c.literal->part(v);
        } else if (c.literal) {
            std::string hex = "\\x";
            detail::append_hex(hex, {reinterpret_cast<const std::byte*>(v.data()), v.size()});
            c.literal->part(hex);
        } else if (format == 0 || c.has_text) {
            c.has_text = true;
        } else {
            put(static_cast<std::uint32_t>(v.size()));
            own_.append(v);
        }
    }
    void add_null_part() {
        container& c = open_.back();
        ++c.parts;
        if (c.literal) return c.literal->null_part();
        own_[c.begin + 7] = 1;
        put(~std::uint32_t{0});
    }
    template <class Unsigned>
    static void to_big_endian(Unsigned n, char (&bytes)[sizeof(Unsigned)]) noexcept {
        for (std::size_t i = 0; i < sizeof n; ++i) bytes[i] = static_cast<char>(static_cast<unsigned char>(n >> (8 * (sizeof n - 1 - i))));
    }
    template <class Unsigned>
    void add_number(Unsigned n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        if (!open_.empty()) [[unlikely]]
            return add(bytes, sizeof n, 1);
        const std::size_t at = own_.size();
        own_.append(bytes, sizeof n);
        push(nullptr, sizeof n, 1, at);
    }
    void put(std::uint32_t n) {
        char bytes[sizeof n];
        to_big_endian(n, bytes);
        own_.append(bytes, sizeof n);
    }
    void keep_refusal(errc why) noexcept {
        if (refused_ == errc::ok) refused_ = why;
    }
    void refuse(errc why) {
        keep_refusal(why);
        if (!open_.empty()) return;
        push(nullptr, 0, 0, not_own);
    }

    std::span<const ::Oid> types_;
    const detail::type_catalogue* catalogue_ = nullptr;
    bool described_ = false;
    std::size_t count_ = 0;  // of parameters; the vectors have room for more
    std::vector<const char*> values_;
    std::vector<int> lengths_;
    std::vector<int> formats_;
    std::vector<std::size_t> offsets_;  // into `own_`, which moves while it grows
    std::string own_;
    std::vector<container> open_;  // values that hold values, the innermost last
    bool as_text_ = false;         // the next array: it has been tried in binary
    errc refused_ = errc::ok;
};

}  // namespace strata::inline STRATA_ABI

#endif
