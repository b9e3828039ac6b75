// Arguments of a statement, as codecs write them.
#ifndef STRATA_DRIVER_SQLITE_WRITER_HPP
#define STRATA_DRIVER_SQLITE_WRITER_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace strata::inline STRATA_ABI {

/// Binds one parameter after the other; models `parameter_writer`. A text or blob of length zero is not NULL.
class sqlite_writer {
public:
    explicit sqlite_writer(::sqlite3_stmt* statement) noexcept : statement_(statement) {}

    void null() noexcept { keep(::sqlite3_bind_null(statement_, next())); }
    void boolean(bool v) noexcept { integer(v ? 1 : 0); }
    void integer(std::int64_t v) noexcept { keep(::sqlite3_bind_int64(statement_, next(), v)); }
    /// A NaN is refused: SQLite would store NULL.
    void real(double v) noexcept {
        if (v != v) [[unlikely]] refused_ = errc::out_of_range;
        keep(::sqlite3_bind_double(statement_, next(), v));
    }
    /// Not copied: must live until the call ends.
    void text(std::string_view v) noexcept { bind_text(v, nullptr); }
    void text_copy(std::string_view v) noexcept { bind_text(v, copied()); }
    /// Not copied: must live until the call ends.
    void blob(std::span<const std::byte> v) noexcept { bind_blob(v, nullptr); }
    void blob_copy(std::span<const std::byte> v) noexcept { bind_blob(v, copied()); }

    /// out_of_range when a value was written that SQLite cannot hold.
    [[nodiscard]] errc refused() const noexcept { return refused_; }
    /// The first code of SQLite that was not SQLITE_OK.
    [[nodiscard]] int code() const noexcept { return code_; }
    /// True when a text or blob was bound: the statement then points to memory that is not its own, or holds a copy.
    [[nodiscard]] bool holds_memory() const noexcept { return holds_memory_; }
    /// Parameters written so far; while one is being bound, its number.
    [[nodiscard]] int written() const noexcept { return index_; }

private:
    int next() noexcept { return ++index_; }
    void keep(int code) noexcept {
        if (code_ == SQLITE_OK) code_ = code;
    }
    static ::sqlite3_destructor_type copied() noexcept {
        return SQLITE_TRANSIENT;
    }
    void bind_text(std::string_view v, ::sqlite3_destructor_type how) noexcept {
        holds_memory_ = true;
        const char* const data = v.data() != nullptr ? v.data() : "";  // a null pointer would bind NULL
        keep(::sqlite3_bind_text64(statement_, next(), data, v.size(), how, SQLITE_UTF8));
    }
    void bind_blob(std::span<const std::byte> v, ::sqlite3_destructor_type how) noexcept {
        holds_memory_ = true;
        const void* const data = v.data() != nullptr ? static_cast<const void*>(v.data()) : "";
        keep(::sqlite3_bind_blob64(statement_, next(), data, v.size(), how));
    }

    ::sqlite3_stmt* statement_;
    int index_ = 0;
    int code_ = SQLITE_OK;
    errc refused_ = errc::ok;
    bool holds_memory_ = false;
};

}  // namespace strata::inline STRATA_ABI

#endif
