// How an SQLite database is opened: plain numbers and names, checked before anything is touched.
#ifndef STRATA_DRIVER_SQLITE_OPTIONS_HPP
#define STRATA_DRIVER_SQLITE_OPTIONS_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>
#include <strata/core/time.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

struct sqlite3;  // of <sqlite3.h>

namespace strata::inline STRATA_ABI {

/// What a connection is for. A pool holds one writer and several readers.
enum class connection_role : std::uint8_t {
    both,    ///< alone: reads and writes
    writer,  ///< the one connection that writes; it also sets the journal mode
    reader   ///< `pragma query_only`: a write fails with `errc::read_only`
};

/// How SQLite makes transactions atomic.
enum class sqlite_journal : std::uint8_t {
    wal,       ///< write-ahead log: readers and the writer do not wait for each other
    rollback,  ///< rollback journal (`delete`): one file when at rest, but a writer shuts readers out
    as_is      ///< what the file says; nothing is changed
};

/// When SQLite waits for the disk. With every value an acknowledged transaction survives the death of
/// the process (SIGKILL, crash); they differ in what the death of the machine can take.
enum class sqlite_synchronous : std::uint8_t {
    /// Nothing acknowledged is lost in a power cut. With a rollback journal perhaps the last transaction: against that `pragmas` says
    /// `pragma synchronous = extra`.
    full,
    normal,  ///< under WAL the last transactions may be lost in a power cut, the file stays sound
    off      ///< a power cut may corrupt the file
};

/// Options of the SQLite driver. A value that makes no sense is refused by `validate()`, which `open()` calls.
struct sqlite_options {
    /// File name, a `file:` URI, or `:memory:` (private to its connection, so refused by a pool).
    std::string path = {};
    /// Makes the file when it does not exist. Without effect when `read_only`.
    bool create = true;
    /// Opens the file itself read-only: a write fails with `errc::read_only`, the journal mode stays as it is.
    bool read_only = false;
    sqlite_journal journal = sqlite_journal::wal;
    sqlite_synchronous synchronous = sqlite_synchronous::full;
    /// How long a statement waits for locks of other connections, unless its deadline comes first. 0: not at all.
    duration busy_timeout = std::chrono::seconds{5};
    /// Foreign keys are enforced (SQLite's own default is not to).
    bool foreign_keys = true;
    /// Accepts `"text"` as a string where no such column exists, as SQLite does by default. Off, a misspelt
    /// quoted column is an error. Concerns queries and writes; schemas are left alone.
    bool double_quoted_strings = false;
    /// Page cache in bytes; SQLite's default (2 MB) when absent.
    std::optional<std::int64_t> cache_size = std::nullopt;
    /// Bytes of the file that are mapped into memory; SQLite's default (none) when absent.
    std::optional<std::int64_t> mmap_size = std::nullopt;
    /// Prepared statements kept a connection; the least recently used goes first. 0 keeps none.
    std::size_t statement_cache = 64;
    /// Shared libraries loaded at open. Loading is possible only while `open()` runs, and only these;
    /// the SQL function `load_extension()` stays off.
    std::vector<std::string> extensions = {};
    /// The user's own statements, run one by one at the end of `open()`, such as `"pragma temp_store = memory"`.
    std::vector<std::string> pragmas = {};

    /// A handle of the user's own, used instead of opening one: for `single`, or a pool of one. It stays the user's, who closes it after
    /// the database. Of the other options only `busy_timeout` and `statement_cache` apply.
    ::sqlite3* handle = nullptr;

    /// `errc::invalid_argument` naming the field, or no error.
    [[nodiscard]] error validate() const;
    friend bool operator==(const sqlite_options&, const sqlite_options&) = default;
};

/// True when the path names a database that only its own connection sees: `:memory:`, a URI of it with a
/// private cache, or a `memdb` file whose name does not begin with '/'.
[[nodiscard]] inline bool is_private_memory(std::string_view path) noexcept {
    const auto has = [path](std::string_view part) { return path.find(part) != path.npos; };
    if (path.empty() || path == ":memory:") return true;
    if (path.substr(0, 5) != "file:") return false;
    if (has("vfs=memdb")) return path.substr(5, 1) != "/";
    const bool shared_cache = has("cache=shared");
    return !shared_cache && (path.substr(5, 8) == ":memory:" || has("mode=memory"));
}

namespace detail {

STRATA_COLD inline error bad_sqlite_option(std::string_view field, std::string_view why) {
    std::string text{"sqlite_options."};
    text.append(field).append(": ").append(why);
    return error{errc::invalid_argument, std::move(text), phase::connect};
}

/// True when C would see nothing, or only the beginning.
[[nodiscard]] inline bool empty_or_cut(const std::string& text) noexcept {
    return text.empty() || text.find('\0') != text.npos;
}

}  // namespace detail

STRATA_COLD inline error sqlite_options::validate() const {
    using detail::bad_sqlite_option;
    if (handle == nullptr && path.empty()) return bad_sqlite_option("path", "is empty; name a file, a file: URI, or \":memory:\"");
    if (path.find('\0') != path.npos) return bad_sqlite_option("path", "contains a NUL character");
    if (busy_timeout < duration::zero()) return bad_sqlite_option("busy_timeout", "must not be negative");
    constexpr std::int64_t most_cache = 0x7fffffffLL * 1024;  // SQLite counts KiB in an int
    if (cache_size && (*cache_size <= 0 || *cache_size > most_cache))
        return bad_sqlite_option("cache_size", "must be positive, and less than 2 TiB (bytes)");
    if (mmap_size && *mmap_size < 0) return bad_sqlite_option("mmap_size", "must not be negative (bytes)");
    if (statement_cache > 65536) return bad_sqlite_option("statement_cache", "must not exceed 65536 statements");
    for (const std::string& name : extensions) {
        if (detail::empty_or_cut(name)) return bad_sqlite_option("extensions", "holds an empty name or one with a NUL character");
    }
    for (const std::string& text : pragmas) {
        if (detail::empty_or_cut(text)) return bad_sqlite_option("pragmas", "holds an empty text or one with a NUL character");
    }
    return {};
}

}  // namespace strata::inline STRATA_ABI

#endif
