// Rows out of the bytes of a binary COPY, wherever the server has cut them.
#ifndef STRATA_DRIVER_POSTGRES_COPY_READER_HPP
#define STRATA_DRIVER_POSTGRES_COPY_READER_HPP

#include <strata/driver/postgres/reader.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace strata::inline STRATA_ABI {
namespace detail {

/// One value as it lies in the bytes; a negative size is NULL.
struct copied_field {
    const char* data = nullptr;
    int size = -1;
};

/// A row of a COPY, whose columns the server described before; models `row_reader`. Valid until the next row.
class postgres_copy_row {
public:
    postgres_copy_row(const PGresult* columns, const copied_field* fields, reading_memory& memory) noexcept
        : columns_(columns), fields_(fields), memory_(memory) {}

    [[nodiscard]] int size() const noexcept { return ::PQnfields(columns_); }
    [[nodiscard]] std::string_view name(int i) const noexcept {
        const char* const text = ::PQfname(columns_, i);
        return text != nullptr ? std::string_view{text} : std::string_view{};
    }
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return memory_.types.name(::PQftype(columns_, i)); }
    [[nodiscard]] postgres_column column(int i) const noexcept {
        const copied_field f = fields_ != nullptr ? fields_[i] : copied_field{};
        std::optional<std::span<const std::byte>> bytes;
        if (f.size >= 0) bytes.emplace(reinterpret_cast<const std::byte*>(f.data), static_cast<std::size_t>(f.size));
        return {::PQftype(columns_, i), bytes, i, memory_};
    }

private:
    const PGresult* columns_;
    const copied_field* fields_;
    reading_memory& memory_;
};

/// Parts the bytes into rows. What it has not understood yet it keeps: at most one row and one piece.
class postgres_copy_reader {
public:
    enum class found : std::uint8_t { row, more, end, nonsense };

    explicit postgres_copy_reader(std::size_t columns) : fields_(columns) {}

    /// The next piece, which must live until `next()` has asked for more.
    void take(std::string_view piece) {
        if (rest_.empty()) {
            kept_.clear();
            rest_ = piece;
        } else {
            kept_ = std::string{rest_}.append(piece);
            rest_ = kept_;
        }
    }
    [[nodiscard]] found next() {
        if (!begun_) {
            if (rest_.size() < 19) return keep();
            if (rest_.substr(0, 11) != std::string_view{"PGCOPY\n\377\r\n\0", 11}) return found::nonsense;
            const auto flags = big_endian<std::uint32_t>(rest_.data() + 11);
            const auto more = big_endian<std::int32_t>(rest_.data() + 15);
            if ((flags & 0xffff0000u) != 0 || more < 0) return found::nonsense;
            if (rest_.size() - 19 < static_cast<std::size_t>(more)) return keep();
            rest_.remove_prefix(19 + static_cast<std::size_t>(more));
            begun_ = true;
        }
        const char* at = rest_.data();
        const char* const end = at + rest_.size();
        if (end - at < 2) return keep();
        const auto count = big_endian<std::int16_t>(at);
        if (count == -1) return found::end;
        if (static_cast<std::size_t>(count) != fields_.size()) return found::nonsense;
        at += 2;
        for (copied_field& f : fields_) {
            if (end - at < 4) return keep();
            f.size = big_endian<std::int32_t>(at);
            at += 4;
            f.data = at;
            if (f.size < -1) return found::nonsense;
            if (f.size == -1) continue;
            if (end - at < f.size) return keep();
            at += f.size;
        }
        rest_ = {at, static_cast<std::size_t>(end - at)};
        return found::row;
    }
    [[nodiscard]] const copied_field* fields() const noexcept { return fields_.data(); }

private:
    /// The piece goes: what is left of it is copied.
    [[nodiscard]] found keep() {
        if (!rest_.empty() && rest_.data() != kept_.data()) {
            kept_ = std::string{rest_};
            rest_ = kept_;
        }
        return found::more;
    }

    std::vector<copied_field> fields_;
    std::string_view rest_;
    std::string kept_;
    bool begun_ = false;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif
