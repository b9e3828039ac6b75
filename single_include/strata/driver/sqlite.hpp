// Generated from include/strata/driver/sqlite.hpp by single_include/generate.sh: edit that, not this.
// Distributed under the Boost Software License, Version 1.0 (LICENSE, or https://www.boost.org/LICENSE_1_0.txt).
#ifndef STRATA_SINGLE_DRIVER_SQLITE_HPP
#define STRATA_SINGLE_DRIVER_SQLITE_HPP

#include <strata/strata.hpp>

#include <sqlite3.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

// SQLite's result codes and sentences as `strata::error`: what happened, to which table and column, and
// what is known about the effect.
//
// SQLite says the names of a violated constraint only in its message, so the message is read; a table is
// confirmed by asking SQLite for it, because names may contain dots.
#ifndef STRATA_DRIVER_SQLITE_ERROR_HPP
#define STRATA_DRIVER_SQLITE_ERROR_HPP

#if SQLITE_VERSION_NUMBER < 3038000
#error "strata needs SQLite 3.38 or newer (Debian 12: libsqlite3-dev)"
#endif

namespace strata::inline STRATA_ABI {

/// The portable condition of an SQLite result code, extended or primary. A code alone does not tell a syntax
/// error from a missing table: see `sqlite_condition(code, message)`.
[[nodiscard]] constexpr errc sqlite_condition(int code) noexcept {
    switch (code) {  // extended codes that differ from their class
        case SQLITE_OK: case SQLITE_ROW: case SQLITE_DONE: return errc::ok;
        case SQLITE_ERROR_MISSING_COLLSEQ: return errc::undefined_object;
        case SQLITE_BUSY_SNAPSHOT: return errc::busy_snapshot;
        case SQLITE_ABORT_ROLLBACK: return errc::transaction_aborted;
        case SQLITE_IOERR_NOMEM: return errc::out_of_memory;
        case SQLITE_IOERR_CORRUPTFS: return errc::corrupt;
        case SQLITE_CONSTRAINT_UNIQUE: case SQLITE_CONSTRAINT_PRIMARYKEY: case SQLITE_CONSTRAINT_ROWID: return errc::unique_violation;
        case SQLITE_CONSTRAINT_NOTNULL: return errc::not_null_violation;
        case SQLITE_CONSTRAINT_CHECK: return errc::check_violation;
        case SQLITE_CONSTRAINT_FOREIGNKEY: return errc::foreign_key_violation;
        default: break;
    }
    switch (code & 0xff) {
        case SQLITE_PERM: case SQLITE_AUTH: return errc::permission_denied;
        case SQLITE_ABORT: return errc::cancelled;
        case SQLITE_BUSY: case SQLITE_PROTOCOL: case SQLITE_SCHEMA: return errc::busy;
        case SQLITE_LOCKED: return errc::locked;
        case SQLITE_NOMEM: return errc::out_of_memory;
        case SQLITE_READONLY: return errc::read_only;
        case SQLITE_INTERRUPT: return errc::cancelled;
        case SQLITE_IOERR: return errc::io_error;
        case SQLITE_CORRUPT: return errc::corrupt;
        case SQLITE_FULL: return errc::disk_full;
        case SQLITE_CANTOPEN: return errc::cannot_connect;
        case SQLITE_TOOBIG: return errc::too_big;
        case SQLITE_CONSTRAINT: return errc::constraint_violation;
        case SQLITE_MISMATCH: return errc::type_mismatch;
        case SQLITE_MISUSE: return errc::misuse;
        case SQLITE_NOLFS: case SQLITE_NOTFOUND: return errc::unsupported;
        case SQLITE_RANGE: return errc::invalid_argument;
        case SQLITE_NOTADB: return errc::not_a_database;
        default: return errc::unknown;
    }
}

/// The condition when SQLite's sentence is known too: tells apart what it lumps together as SQLITE_ERROR.
[[nodiscard]] inline errc sqlite_condition(int code, std::string_view message) noexcept {
    if (code != SQLITE_ERROR) return sqlite_condition(code);
    const auto has = [message](std::string_view part) { return message.find(part) != message.npos; };
    if (has("syntax error") || has("incomplete input") || has("unrecognized token")) return errc::syntax_error;
    if (has("no such savepoint") || has("within a transaction") || has("no transaction is active")) return errc::misuse;
    if (has("no such ") || has("has no column named ")) return errc::undefined_object;
    if (has("integer overflow")) return errc::out_of_range;
    return errc::unknown;
}

namespace detail {

/// The circumstances of a failed call, collected by whoever made it.
struct sqlite_circumstances {
    int code = SQLITE_ERROR;               // what SQLite returned
    strata::phase at = phase::execute;
    errc ended_by = errc::ok;              // timeout or cancelled when a handler ended the call
    bool was_in_transaction = false;       // before the call
    bool commits = false;                  // the call could commit: COMMIT itself, or a write outside a transaction
    bool kept = false;                     // rows of the failed statement are kept (`or fail`), or earlier statements have run
    std::string_view written = {};         // the statement as the user wrote it
    std::string_view sent = {};            // the statement as SQLite saw it
    std::size_t sent_from = 0;             // where in `sent` the failed one of several statements begins
};

/// Where a byte of the text that SQLite saw lies in the text as written; the two differ only in the names of
/// parameters. -1 when they do not match.
STRATA_COLD inline std::int64_t position_as_written(std::string_view written, std::string_view sent, std::size_t offset) noexcept {
    const auto is_word = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
               static_cast<unsigned char>(c) >= 0x80;
    };
    std::size_t w = 0;
    std::size_t s = 0;
    while (s < offset) {
        if (s >= sent.size() || w >= written.size()) return -1;
        if (sent[s] == written[w]) {
            ++s, ++w;
            continue;
        }
        if (sent[s] != '?' || written[w] != ':') return -1;
        for (++w; w < written.size() && is_word(written[w]);) ++w;
        const bool list = written.substr(w, 3) == "...";  // stands for one placeholder or more
        if (list) w += 3;
        do {
            for (++s; s < sent.size() && sent[s] >= '0' && sent[s] <= '9';) ++s;
            if (list && sent.substr(s, 3) == ", ?") s += 2;
        } while (list && sent.substr(s, 1) == "?");
    }
    return static_cast<std::int64_t>(w);
}

/// Fills table and columns from "t.a, t.b".
STRATA_COLD inline void name_columns(::sqlite3* db, std::string_view names, error_texts& texts) {
    const std::string first{names.substr(0, names.find(", "))};
    std::size_t dot = first.find('.');
    if (dot == first.npos) return;
    for (std::size_t at = dot; at != first.npos; at = first.find('.', at + 1)) {
        const std::string table = first.substr(0, at);
        const char* const column = first.c_str() + at + 1;
        if (::sqlite3_table_column_metadata(db, nullptr, table.c_str(), column, nullptr, nullptr, nullptr, nullptr, nullptr) == SQLITE_OK) {
            dot = at;
            break;
        }
    }
    texts.table = first.substr(0, dot);
    const std::string between = joined({", ", texts.table, "."});
    for (std::string_view rest = names.substr(dot + 1);;) {
        const std::size_t end = rest.find(between);
        texts.column += rest.substr(0, end);
        if (end == rest.npos) break;
        texts.column += ", ";
        rest.remove_prefix(end + between.size());
    }
}

/// Names of a violated constraint, from "UNIQUE constraint failed: t.a, t.b" and its relatives.
STRATA_COLD inline void name_constraint(::sqlite3* db, int code, std::string_view message, error_texts& texts) {
    constexpr std::string_view mark = " constraint failed: ";
    constexpr std::string_view index_mark = "index '";
    if (code == SQLITE_CONSTRAINT_DATATYPE) {  // cannot store TEXT value in INTEGER column t.a
        constexpr std::string_view column_mark = " column ";
        if (const std::size_t at = message.rfind(column_mark); at != message.npos) {
            name_columns(db, message.substr(at + column_mark.size()), texts);
        }
        return;
    }
    const std::size_t at = message.find(mark);
    if (at == message.npos) return;
    std::string_view names = message.substr(at + mark.size());
    if (code == SQLITE_CONSTRAINT_CHECK) {
        texts.constraint = names;
    } else if (names.substr(0, index_mark.size()) == index_mark) {  // an index over expressions
        names.remove_prefix(index_mark.size());
        texts.constraint = names.substr(0, names.rfind('\''));
    } else {
        name_columns(db, names, texts);
    }
}

[[nodiscard]] constexpr std::string_view hint_for(errc code) noexcept {
    switch (code) {
        case errc::busy: return "another connection held the lock longer than busy_timeout allows";
        case errc::busy_snapshot: return "another connection wrote since this transaction read: roll back and begin it IMMEDIATE";
        case errc::locked: return "another statement of this connection, or of its shared cache, is still running";
        case errc::transaction_aborted: return "the transaction was rolled back while this statement was running";
        case errc::not_a_database: return "the file is not an SQLite database, or it is encrypted";
        case errc::corrupt: return "run integrity_check() and restore a backup";
        default: return {};
    }
}

/// Whether the connection is worth keeping.
[[nodiscard]] constexpr health health_after(int code) noexcept {
    if (code == SQLITE_READONLY_DBMOVED || code == SQLITE_CORRUPT || code == SQLITE_IOERR_CORRUPTFS) return health::lost;
    const int primary = code & 0xff;
    return (primary == SQLITE_IOERR && code != SQLITE_IOERR_NOMEM) || primary == SQLITE_NOTADB ? health::lost : health::good;
}

/// What the failed call did. A failed statement is undone by SQLite, except by `or fail`; a transaction that
/// was open and is no longer has been rolled back; and when the disk failed while a commit was being written, only
/// the file knows.
[[nodiscard]] inline effect effect_after(::sqlite3* db, int code, const sqlite_circumstances& what) noexcept {
    const bool in_transaction = ::sqlite3_get_autocommit(db) == 0;
    if (what.commits && (code & 0xff) == SQLITE_IOERR) return effect::unknown;
    if (what.was_in_transaction && !in_transaction) return effect::rolled_back;
    if (!what.kept) return effect::none;
    return !what.was_in_transaction && in_transaction ? effect::unknown : effect::applied;
}

/// The error of a call that SQLite has just refused. Reads the connection's last error, so call it first.
STRATA_COLD inline error make_sqlite_error(::sqlite3* db, const sqlite_circumstances& what) {
    // The connection remembers the extended code even when its owner asked for primary ones.
    const int remembered = ::sqlite3_extended_errcode(db);
    const int code = (remembered & 0xff) == (what.code & 0xff) ? remembered : what.code;
    const bool said = code == remembered;
    std::string message = said ? ::sqlite3_errmsg(db) : ::sqlite3_errstr(code);
    const int offset = said ? ::sqlite3_error_offset(db) : -1;
    const int system = ::sqlite3_system_errno(db);
    const int primary = code & 0xff;

    errc condition = sqlite_condition(code, message);
    if (primary == SQLITE_CANTOPEN && what.at != phase::connect) condition = errc::io_error;
    if (what.ended_by != errc::ok && (primary == SQLITE_INTERRUPT || code == SQLITE_BUSY || code == SQLITE_BUSY_RECOVERY)) {
        condition = what.ended_by;
    }

    error e{condition, std::move(message), what.at};
    e.set(effect_after(db, code, what)).set(health_after(code));
    error_texts& texts = e.edit_texts();
    texts.native_code = digits_of(code);
    texts.hint = hint_for(condition);
    texts.statement = what.written.empty() ? what.sent : what.written;
    if (offset >= 0) {
        const std::size_t at = what.sent_from + static_cast<std::size_t>(offset);
        texts.position = what.written.empty() ? static_cast<std::int64_t>(at) : position_as_written(what.written, what.sent, at);
    }
    if ((primary == SQLITE_CANTOPEN || primary == SQLITE_IOERR) && system != 0) texts.detail = std::generic_category().message(system);
    if (primary == SQLITE_CONSTRAINT) name_constraint(db, code, texts.message, texts);
    return e;
}

/// A misuse that SQLite would not notice, or only badly.
STRATA_COLD inline error bad_statement(std::string message, std::string_view statement) {
    error e{errc::invalid_statement, std::move(message), phase::prepare};
    e.edit_texts().statement = statement;
    return e;
}

}  // namespace detail

}  // namespace strata::inline STRATA_ABI

#endif

// How an SQLite database is opened: plain numbers and names, checked before anything is touched.
#ifndef STRATA_DRIVER_SQLITE_OPTIONS_HPP
#define STRATA_DRIVER_SQLITE_OPTIONS_HPP

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

// The little that the driver itself must see in a text when a statement is prepared.
#ifndef STRATA_DRIVER_SQLITE_SCAN_HPP
#define STRATA_DRIVER_SQLITE_SCAN_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// Takes white space, semicolons and comments off the front of an SQLite text.
STRATA_COLD constexpr void skip_blank_sql(std::string_view& text) noexcept {
    while (!text.empty()) {
        const char c = text.front();
        if (c == ' ' || c == ';' || (c >= '\t' && c <= '\r')) {
            text.remove_prefix(1);
            continue;
        }
        const bool line = text.substr(0, 2) == "--";
        if (!line && text.substr(0, 2) != "/*") return;
        const std::size_t end = line ? text.find('\n') : text.find("*/", 2);
        text.remove_prefix(end == text.npos ? text.size() : end + (line ? 1 : 2));
    }
}

/// True when nothing but white space, semicolons and comments is left.
[[nodiscard]] constexpr bool is_blank_sql(std::string_view text) noexcept {
    skip_blank_sql(text);
    return text.empty();
}

/// Takes a quoted piece off the front; its closing quote may be doubled inside.
STRATA_COLD constexpr void skip_quoted(std::string_view& text, char close) noexcept {
    std::size_t end = text.find(close, 1);
    while (close != ']' && end != text.npos && end + 1 < text.size() && text[end + 1] == close) end = text.find(close, end + 2);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
}

/// True for INSERT and REPLACE, also behind WITH: only they set a last row id. The text is one that SQLite accepts.
[[nodiscard]] STRATA_COLD constexpr bool inserts_rows(std::string_view text) noexcept {
    const auto letter = [](char c) -> char { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    const auto is = [letter](std::string_view word, std::string_view wanted) {
        if (word.size() != wanted.size()) return false;
        for (std::size_t i = 0; i < word.size(); ++i) {
            if (letter(word[i]) != wanted[i]) return false;
        }
        return true;
    };
    bool first = true;
    int depth = 0;
    for (skip_blank_sql(text); !text.empty(); skip_blank_sql(text)) {
        const char c = text.front();
        std::size_t length = 0;
        while (length < text.size() && ((letter(text[length]) >= 'a' && letter(text[length]) <= 'z') || text[length] == '_' ||
                                        (text[length] >= '0' && text[length] <= '9') || static_cast<unsigned char>(text[length]) >= 0x80)) {
            ++length;
        }
        if (length != 0) {
            const std::string_view word = text.substr(0, length);
            if (depth == 0 && (is(word, "insert") || is(word, "replace"))) return true;
            if (depth == 0 && (is(word, "select") || is(word, "update") || is(word, "delete") || is(word, "values"))) return false;
            if (first && !is(word, "with")) return false;
            first = false;
            text.remove_prefix(length);
        } else if (c == '\'' || c == '"' || c == '`' || c == '[') {
            skip_quoted(text, c == '[' ? ']' : c);
        } else {
            depth += c == '(' ? 1 : c == ')' ? -1 : 0;
            text.remove_prefix(1);
        }
    }
    return false;
}

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// The prepared statements of one connection: found by the hash of their text, the least recently used let go first.
//
// A hit is a look into a bucket, a comparison and a move to the front of a list, without allocation. An entry that
// is in use (a stream stands on it) is neither evicted nor given out twice: the second user prepares its own.
#ifndef STRATA_DRIVER_SQLITE_STATEMENT_CACHE_HPP
#define STRATA_DRIVER_SQLITE_STATEMENT_CACHE_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// A prepared statement with what was found out about it. Lives in a cache, or alone ("loose").
struct cached_statement {
    hash128 key{};
    ::sqlite3_stmt* handle = nullptr;
    row_plan plan{};            // made for its tag when SQLite had prepared the statement anew `plan_prepared` times
    int plan_prepared = -1;     // -1: there is no plan
    bool plan_fixed = false;    // it holds however often the statement is prepared anew
    bool has_star = true;       // the text has a '*': a change of the schema may change the columns
    bool in_use = true;
    bool loose = true;
    bool reads_only = false;    // SQLite's own judgement
    bool inserts = false;
    cached_statement* newer = nullptr;
    cached_statement* older = nullptr;
    cached_statement* next_in_bucket = nullptr;

    cached_statement() = default;
    cached_statement(const cached_statement&) = delete;
    cached_statement& operator=(const cached_statement&) = delete;
    ~cached_statement() { ::sqlite3_finalize(handle); }
};

/// Owned by one connection and used by one thread at a time.
class statement_cache {
public:
    statement_cache() = default;
    statement_cache(const statement_cache&) = delete;
    statement_cache& operator=(const statement_cache&) = delete;
    ~statement_cache() { clear(); }

    /// Empties the cache and sets how many statements it keeps; 0 keeps none.
    STRATA_COLD void reset(std::size_t bound) {
        clear();
        std::size_t buckets = 1;
        while (buckets < 2 * bound) buckets *= 2;
        buckets_ = heap_array<cached_statement*>(buckets);
        mask_ = buckets - 1;
        bound_ = bound;
    }

    /// The idle statement of this key, now in use; null when there is none. `unsure` is the text itself when others may
    /// have composed it: it is then compared, because a hash that is not cryptographic can be made to collide.
    [[nodiscard]] STRATA_INLINE cached_statement* take(const hash128& key, std::string_view unsure = {}) noexcept {
        if (!buckets_) return nullptr;
        for (cached_statement* s = bucket(key); s != nullptr; s = s->next_in_bucket) {
            if (!(s->key == key)) continue;
            if (s->in_use || (!unsure.empty() && !is_of(*s, unsure))) return nullptr;
            s->in_use = true;
            if (s != newest_) {
                unlink(*s);
                push_front(*s);
            }
            return s;
        }
        return nullptr;
    }

    /// Takes over a statement that was just prepared and is in use. It stays loose when it should not be kept, when
    /// another one with its key is there, or when every place is in use.
    STRATA_COLD cached_statement* put(cached_statement* s, bool keep) noexcept {
        if (!keep || bound_ == 0 || holds(s->key) || (size_ >= bound_ && !evict())) return s;
        s->loose = false;
        s->next_in_bucket = bucket(s->key);
        bucket(s->key) = s;
        push_front(*s);
        ++size_;
        return s;
    }

    /// Ends the use of a statement, which must have been reset.
    static STRATA_INLINE void give_back(cached_statement* s) noexcept {
        s->in_use = false;
        if (s->loose) [[unlikely]] remove(s);
    }

    /// Lets all statements go. Those in use become loose: they go when their user is done.
    STRATA_COLD void clear() noexcept {
        for (cached_statement* s = newest_; s != nullptr;) {
            cached_statement* const older = s->older;
            if (s->in_use) s->loose = true;
            else remove(s);
            s = older;
        }
        newest_ = oldest_ = nullptr;
        size_ = 0;
        if (buckets_) {
            for (std::size_t i = 0; i <= mask_; ++i) buckets_[i] = nullptr;
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool holds(const hash128& key) const noexcept {
        if (!buckets_) return false;
        const cached_statement* s = buckets_[key.low & mask_];
        while (s != nullptr && !(s->key == key)) s = s->next_in_bucket;
        return s != nullptr;
    }

private:
    /// SQLite keeps the text of a statement up to its semicolon.
    [[nodiscard]] static bool is_of(const cached_statement& s, std::string_view text) noexcept {
        const std::string_view mine = ::sqlite3_sql(s.handle);
        return text.substr(0, mine.size()) == mine && (text.size() == mine.size() || is_blank_sql(text.substr(mine.size())));
    }

    static STRATA_COLD void remove(cached_statement* s) noexcept { delete s; }

    [[nodiscard]] cached_statement*& bucket(const hash128& key) noexcept { return buckets_[key.low & mask_]; }

    void unlink(cached_statement& s) noexcept {
        (s.newer != nullptr ? s.newer->older : newest_) = s.older;
        (s.older != nullptr ? s.older->newer : oldest_) = s.newer;
    }

    void push_front(cached_statement& s) noexcept {
        s.newer = nullptr;
        s.older = newest_;
        (newest_ != nullptr ? newest_->newer : oldest_) = &s;
        newest_ = &s;
    }

    /// Lets the least recently used idle statement go; false when all are in use.
    bool evict() noexcept {
        cached_statement* s = oldest_;
        while (s != nullptr && s->in_use) s = s->newer;
        if (s == nullptr) return false;
        unlink(*s);
        cached_statement** link = &bucket(s->key);
        while (*link != s) link = &(*link)->next_in_bucket;
        *link = s->next_in_bucket;
        --size_;
        remove(s);
        return true;
    }

    heap_array<cached_statement*> buckets_;
    std::size_t mask_ = 0;
    std::size_t bound_ = 0;
    std::size_t size_ = 0;
    cached_statement* newest_ = nullptr;
    cached_statement* oldest_ = nullptr;
};

}  // namespace detail
}  // namespace strata::inline STRATA_ABI

#endif

// One SQLite connection: its handle, its prepared statements, and the two handlers by which SQLite asks us,
// while it works or waits, whether the call should go on.
//
// The handlers are installed once; `guard()` only stores a pointer that they read. So a deadline costs a
// statement nothing until it has run for a thousand steps of SQLite's virtual machine.
#ifndef STRATA_DRIVER_SQLITE_CONNECTION_HPP
#define STRATA_DRIVER_SQLITE_CONNECTION_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

class sqlite_run;

/// A short sleep of the calling thread, between two tries to get a lock.
STRATA_COLD inline void pause_for(duration d) noexcept {
#if defined(_WIN32)
    ::sqlite3_sleep(static_cast<int>(d / std::chrono::milliseconds{1}) + 1);
#else
    std::timespec t{};
    t.tv_nsec = static_cast<long>(d.count());  // always less than a second
    ::nanosleep(&t, nullptr);
#endif
}

/// How long to wait before the n-th new try: 50 microseconds, doubling up to 10 milliseconds.
[[nodiscard]] constexpr duration lock_pause(int n) noexcept {
    constexpr duration most = std::chrono::milliseconds{10};
    const duration d = std::chrono::microseconds{50} * (1 << (n < 8 ? n : 8));
    return d < most ? d : most;
}

}  // namespace detail

/// An SQLite connection. It belongs to one thread at a time (a lease) and is opened without SQLite's own mutex;
/// it does not move, because SQLite holds its address.
class sqlite_connection {
public:
    /// One statement on its way through a connection; see query.hpp.
    template <class Bound, class Sink>
    class query;

    sqlite_connection() noexcept = default;
    sqlite_connection(const sqlite_connection&) = delete;
    sqlite_connection& operator=(const sqlite_connection&) = delete;
    ~sqlite_connection() { close(); }

    /// Opens the database and applies the options. On an error the connection stays closed. May block; `i` can end
    /// it early and becomes the guard. Errors: `invalid_argument` (options), `cannot_connect`, `not_a_database`, `busy`, ...
    [[nodiscard]] error open(const sqlite_options& options, connection_role role = connection_role::both, const interruption* i = nullptr);

    /// Works on a handle that the user opened. Only `busy_timeout` and `statement_cache` of the options are used.
    /// Replaces the handle's busy and progress handlers, and takes them off again in `close()`; the handle itself is
    /// closed only if `close_it`. A handle in use by another thread at the same time must be in serialized mode.
    [[nodiscard]] error adopt(::sqlite3* handle, const sqlite_options& options = {}, bool close_it = false);

    /// Lets the statements go and closes the handle, unless it was adopted. No error is possible.
    void close() noexcept;

    [[nodiscard]] bool is_open() const noexcept { return db_ != nullptr; }

    /// SQLite's handle, null when closed. Statements made on it are the caller's; do not replace its busy or progress handler.
    [[nodiscard]] ::sqlite3* native_handle() const noexcept { return db_; }

    /// True between BEGIN and COMMIT or ROLLBACK. The connection must be open.
    [[nodiscard]] bool in_transaction() const noexcept { return ::sqlite3_get_autocommit(db_) == 0; }

    /// From now on every call ends early when `i` says so: `errc::timeout` at its deadline, `errc::cancelled` when it
    /// is cancelled. `i` must live until the next `guard()`; null guards nothing. Cost: a store.
    void guard(const interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const interruption* guard() const noexcept { return guard_; }

    /// Runs one statement without parameters, such as BEGIN, COMMIT or SAVEPOINT, through the cache; rows are
    /// dropped. It waits for locks only as long as the guard allows, but once it runs it is not interrupted.
    [[nodiscard]] error control(std::string_view sql);

    /// Makes the connection fit for the next user: an open transaction is rolled back, and the guard taken off.
    [[nodiscard]] health tidy() noexcept;

    /// The error of a call that was made on `native_handle()` and returned `code`. Ask before the connection does anything else.
    [[nodiscard]] error error_of(int code, phase at = phase::execute) {
        detail::sqlite_circumstances what;
        what.code = code;
        what.at = at;
        return error_of(what);
    }

    /// How long its calls have waited for locks of other connections, all together since it was made; from any thread.
    [[nodiscard]] duration waited_for_locks() const noexcept { return duration{waited_.load(std::memory_order_relaxed)}; }

    /// Prepared statements that are kept at the moment.
    [[nodiscard]] std::size_t cached_statements() const noexcept { return cache_.size(); }

private:
    friend class detail::sqlite_run;

    static int on_progress(void* self) noexcept;
    static int on_busy(void* self, int tries) noexcept;
    [[nodiscard]] error error_of(detail::sqlite_circumstances what);
    [[nodiscard]] bool wait_for_lock(time_point since, int tries) noexcept;
    void install(const sqlite_options& options);
    [[nodiscard]] error open_steps(const sqlite_options& options, connection_role role);
    [[nodiscard]] error load_extensions(const sqlite_options& options);
    [[nodiscard]] error set_journal(const sqlite_options& options);
    [[nodiscard]] error setting(const char* sql, std::string* answer = nullptr);
    [[nodiscard]] detail::cached_statement* prepare(const hash128& key, std::string_view sent, const descriptor* what, bool keep, error& e,
                                                    std::string_view* rest = nullptr);

    ::sqlite3* db_ = nullptr;
    const interruption* guard_ = nullptr;
    detail::statement_cache cache_;
    duration busy_timeout_{};
    time_point busy_since_{};
    std::atomic<duration::rep> waited_{0};
    std::size_t value_distance_ = 0;  // see distance_of_values
    errc ended_by_ = errc::ok;   // set by a handler that ends a call, cleared when a call begins
    bool uninterruptible_ = false;
    bool owned_ = false;
};

inline int sqlite_connection::on_progress(void* self) noexcept {
    sqlite_connection& c = *static_cast<sqlite_connection*>(self);
    const interruption* const i = c.guard_;
    if (i == nullptr || c.uninterruptible_) return 0;
    if (i->is_cancelled()) c.ended_by_ = errc::cancelled;
    else if (i->deadline != never && clock::now() >= i->deadline) c.ended_by_ = errc::timeout;
    else return 0;
    return 1;
}

STRATA_COLD inline int sqlite_connection::on_busy(void* self, int tries) noexcept {
    sqlite_connection& c = *static_cast<sqlite_connection*>(self);
    if (tries == 0) c.busy_since_ = clock::now();
    return c.wait_for_lock(c.busy_since_, tries) ? 1 : 0;
}

/// A pause before the next try to get a lock; false, at once, when no more time is left or the call is cancelled.
STRATA_COLD inline bool sqlite_connection::wait_for_lock(time_point since, int tries) noexcept {
    if (guard_ != nullptr && guard_->is_cancelled()) {
        ended_by_ = errc::cancelled;
        return false;
    }
    time_point until = add_saturated(since, busy_timeout_);
    const bool bounded = guard_ != nullptr && guard_->deadline < until;
    if (bounded) until = guard_->deadline;
    const time_point now = clock::now();
    if (now >= until) {
        if (bounded) ended_by_ = errc::timeout;
        return false;
    }
    const duration pause = detail::lock_pause(tries);
    detail::pause_for(pause < until - now ? pause : until - now);
    waited_.fetch_add((clock::now() - now).count(), std::memory_order_relaxed);
    return true;
}

STRATA_COLD inline error sqlite_connection::error_of(detail::sqlite_circumstances what) {
    what.ended_by = ended_by_;
    ended_by_ = errc::ok;
    return detail::make_sqlite_error(db_, what);
}

inline void sqlite_connection::close() noexcept {
    guard_ = nullptr;
    if (db_ == nullptr) return;
    cache_.clear();
    ::sqlite3_busy_handler(db_, nullptr, nullptr);
    ::sqlite3_progress_handler(db_, 0, nullptr, nullptr);
    if (owned_) ::sqlite3_close_v2(db_);
    db_ = nullptr;
}

inline error sqlite_connection::control(std::string_view sql) {
    ended_by_ = errc::ok;
    const hash128 key = hash_text(sql);
    error e;
    detail::cached_statement* s = cache_.take(key);
    if (s == nullptr) s = prepare(key, sql, nullptr, true, e);
    if (s == nullptr) return e;
    const bool was_in_transaction = in_transaction();
    uninterruptible_ = true;
    int code = SQLITE_ROW;
    while (code == SQLITE_ROW) code = ::sqlite3_step(s->handle);
    uninterruptible_ = false;
    if (code != SQLITE_DONE) [[unlikely]] {
        detail::sqlite_circumstances what;
        what.code = code;
        const bool commit = ::sqlite3_strnicmp(::sqlite3_sql(s->handle), "commit", 6) == 0;
        what.at = commit ? phase::commit : phase::execute;
        what.commits = commit || (!was_in_transaction && !s->reads_only);
        what.was_in_transaction = was_in_transaction;
        what.sent = sql;
        e = error_of(what);
    }
    ::sqlite3_reset(s->handle);
    detail::statement_cache::give_back(s);
    return e;
}

inline health sqlite_connection::tidy() noexcept {
    guard_ = nullptr;
    if (db_ == nullptr) return health::lost;
    if (!in_transaction()) return health::good;
    try {
        const error e = control("rollback");
        return in_transaction() || e.health() == health::lost ? health::lost : health::good;
    } catch (...) {  // no memory for the error's texts
        return health::lost;
    }
}

/// Prepares a text that is not in the cache: the slow path of every use. Null, with the error set, when it is not right.
/// With `rest`, the text may hold more statements: the first is prepared and `rest` is what follows it.
STRATA_COLD inline detail::cached_statement* sqlite_connection::prepare(const hash128& key, std::string_view sent, const descriptor* what,
                                                                        bool keep, error& e, std::string_view* rest) {
    const std::string_view written = what != nullptr ? what->text : sent;
    const auto refuse = [&](std::string message) {
        e = detail::bad_statement(std::move(message), written);
        return nullptr;
    };
    if (sent.find('\0') != sent.npos) return refuse("the statement contains a NUL character");
    if (sent.size() > 0x7ffffff0) return refuse("the statement is longer than 2 GiB");
    struct prepared {
        ::sqlite3_stmt* handle = nullptr;
        ~prepared() { ::sqlite3_finalize(handle); }
    } fresh;
    const std::string_view whole = what != nullptr ? what->sqlite_text : sent;
    while (fresh.handle == nullptr && !sent.empty()) {  // once, but for leading semicolons and comments
        const char* tail = nullptr;
        const unsigned flags = keep ? SQLITE_PREPARE_PERSISTENT : 0;
        const int code = ::sqlite3_prepare_v3(db_, sent.data(), static_cast<int>(sent.size()), flags, &fresh.handle, &tail);
        if (code != SQLITE_OK) {
            detail::sqlite_circumstances why;
            why.code = code;
            why.at = phase::prepare;
            why.was_in_transaction = in_transaction();
            why.written = written;
            why.sent = whole;
            why.sent_from = static_cast<std::size_t>(sent.data() - whole.data());
            e = error_of(why);
            return nullptr;
        }
        sent.remove_prefix(static_cast<std::size_t>(tail - sent.data()));
    }
    if (fresh.handle == nullptr) return refuse("the statement is empty");
    if (rest != nullptr) *rest = sent;
    else if (!detail::is_blank_sql(sent)) return refuse("the text holds more than one statement");
    const int parameters = ::sqlite3_bind_parameter_count(fresh.handle);
    const int known = what != nullptr ? what->parameters : 0;
    if (parameters != known) {
        return refuse(detail::joined(
            {"SQLite counts ", detail::digits_of(parameters), " parameters where ", detail::digits_of(known), " are bound"}));
    }
    auto* const s = new detail::cached_statement;
    s->key = key;
    s->handle = std::exchange(fresh.handle, nullptr);
    s->reads_only = ::sqlite3_stmt_readonly(s->handle) != 0;
    s->has_star = std::string_view{::sqlite3_sql(s->handle)}.find('*') != std::string_view::npos;
    s->inserts = detail::inserts_rows(::sqlite3_sql(s->handle));
    return cache_.put(s, keep);
}

}  // namespace strata::inline STRATA_ABI

#endif

// A row of a running statement, as codecs read it.
//
// `sqlite3_column_value` is asked once a column; what it points to is then read directly. SQLite calls such
// values unprotected: fine here, because a connection is used by one thread at a time and has no mutex.
#ifndef STRATA_DRIVER_SQLITE_READER_HPP
#define STRATA_DRIVER_SQLITE_READER_HPP

namespace strata::inline STRATA_ABI {

/// One value of the current row; models `column_reader`. Texts and blobs live until the next row.
class sqlite_column {
public:
    explicit sqlite_column(::sqlite3_value* value) noexcept : value_(value) {}

    /// The usual classes first: a codec that asks for one of them is left with a single comparison.
    [[nodiscard]] column_type type() const noexcept {
        const int t = ::sqlite3_value_type(value_);
        if (t == SQLITE_INTEGER) return column_type::integer;
        if (t == SQLITE_TEXT) return column_type::text;
        if (t == SQLITE_FLOAT) return column_type::real;
        return t == SQLITE_BLOB ? column_type::blob : column_type::null;
    }
    /// Never asked: SQLite has no booleans.
    [[nodiscard]] bool boolean() const noexcept { return integer() != 0; }
    [[nodiscard]] std::int64_t integer() const noexcept { return ::sqlite3_value_int64(value_); }
    [[nodiscard]] double real() const noexcept { return ::sqlite3_value_double(value_); }
    [[nodiscard]] std::string_view text() const noexcept {
        const unsigned char* const text = ::sqlite3_value_text(value_);  // before the size: it may convert
        if (text == nullptr) return {};                                  // no memory: the next step says so
        return {reinterpret_cast<const char*>(text), static_cast<std::size_t>(::sqlite3_value_bytes(value_))};
    }
    [[nodiscard]] std::span<const std::byte> blob() const noexcept {
        const void* const data = ::sqlite3_value_blob(value_);
        if (data == nullptr) return {};
        return {static_cast<const std::byte*>(data), static_cast<std::size_t>(::sqlite3_value_bytes(value_))};
    }

private:
    ::sqlite3_value* value_;
};

namespace detail {

/// How many bytes lie between two values of a row; 0 when they do not stand in a row.
///
/// SQLite's virtual machine keeps a result row in consecutive registers (opcode ResultRow), so the address of its first
/// value gives all the others. No interface promises it: it is looked at once a connection, and where it is not so,
/// each value is asked for by `sqlite3_column_value`, which costs as much as all the rest of reading an integer.
[[nodiscard]] STRATA_COLD inline std::size_t distance_of_values(::sqlite3* db) noexcept {
    ::sqlite3_stmt* row = nullptr;
    std::size_t distance = 0;
    if (::sqlite3_prepare_v2(db, "select 1, 'two', 3.0, null", -1, &row, nullptr) == SQLITE_OK && ::sqlite3_step(row) == SQLITE_ROW) {
        const auto address = [row](int i) { return reinterpret_cast<std::uintptr_t>(::sqlite3_column_value(row, i)); };
        const std::uintptr_t step = address(1) - address(0);
        const bool even = address(1) > address(0) && address(2) - address(1) == step && address(3) - address(2) == step;
        distance = even ? step : 0;
    }
    ::sqlite3_finalize(row);
    return distance;
}

}  // namespace detail

/// The current row of a statement; models `row_reader`. Only valid until the statement takes its next step.
class sqlite_row {
public:
    /// `distance` is that of `detail::distance_of_values`; 0 is always right, and needed where there is no row.
    explicit sqlite_row(::sqlite3_stmt* statement, std::size_t distance = 0) noexcept
        : statement_(statement), distance_(distance), first_(distance != 0 ? ::sqlite3_column_value(statement, 0) : nullptr) {}

    [[nodiscard]] int size() const noexcept { return ::sqlite3_column_count(statement_); }
    [[nodiscard]] std::string_view name(int i) const noexcept { return view(::sqlite3_column_name(statement_, i)); }
    [[nodiscard]] sqlite_column column(int i) const noexcept {
        if (distance_ == 0) [[unlikely]]
            return sqlite_column{::sqlite3_column_value(statement_, i)};
        const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(first_) + static_cast<std::size_t>(i) * distance_;
        return sqlite_column{reinterpret_cast<::sqlite3_value*>(at)};
    }
    /// As the table declares it, such as `INTEGER`; empty for an expression.
    [[nodiscard]] std::string_view declared_type(int i) const noexcept { return view(::sqlite3_column_decltype(statement_, i)); }

private:
    static std::string_view view(const char* text) noexcept { return text != nullptr ? std::string_view{text} : std::string_view{}; }

    ::sqlite3_stmt* statement_;
    std::size_t distance_;
    ::sqlite3_value* first_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// How a connection comes to be: the handle, the settings of `sqlite_options` in an order that works, and the
// adoption of a handle that the user made. All of it is off the hot path.
#ifndef STRATA_DRIVER_SQLITE_OPEN_HPP
#define STRATA_DRIVER_SQLITE_OPEN_HPP

namespace strata::inline STRATA_ABI {

namespace detail {

/// "cannot open 'bank.db': unable to open database file", and what the system said.
STRATA_COLD inline error cannot_open(const std::string& path, error e) {
    e.set(phase::connect);
    error_texts& t = e.edit_texts();
    t.message = joined({"cannot open '", path, "': ", t.message});
    return e;
}

}  // namespace detail

STRATA_COLD inline void sqlite_connection::install(const sqlite_options& options) {
    constexpr int steps_between_looks = 1000;
    cache_.reset(options.statement_cache);
    busy_timeout_ = options.busy_timeout;
    ended_by_ = errc::ok;
    value_distance_ = detail::distance_of_values(db_);
    ::sqlite3_busy_handler(db_, &on_busy, this);
    ::sqlite3_progress_handler(db_, steps_between_looks, &on_progress, this);
}

STRATA_COLD inline error sqlite_connection::open(const sqlite_options& options, connection_role role, const interruption* i) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (error e = options.validate()) return e;
    if (::sqlite3_libversion_number() < 3038000 || ::sqlite3_threadsafe() == 0) {
        return error{errc::unsupported, "the SQLite library at hand is older than 3.38 or built without threads", phase::connect};
    }
    if (options.handle != nullptr) return adopt(options.handle, options);
    guard_ = i;
    error e;
    try {
        e = open_steps(options, role);
    } catch (...) {
        close();
        throw;
    }
    if (e) {
        close();
        return detail::cannot_open(options.path, std::move(e));
    }
    return e;
}

STRATA_COLD inline error sqlite_connection::adopt(::sqlite3* handle, const sqlite_options& options, bool close_it) {
    if (db_ != nullptr) return error{errc::misuse, "the connection is open already", phase::connect};
    if (handle == nullptr) return error{errc::invalid_argument, "the adopted handle is null", phase::connect};
    if (options.busy_timeout < duration::zero()) return detail::bad_sqlite_option("busy_timeout", "must not be negative");
    if (options.statement_cache > 65536) return detail::bad_sqlite_option("statement_cache", "must not exceed 65536 statements");
    db_ = handle;
    owned_ = close_it;
    install(options);
    return {};
}

STRATA_COLD inline error sqlite_connection::open_steps(const sqlite_options& o, connection_role role) {
    using detail::digits_of, detail::joined;
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE;
    flags |= o.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | (o.create ? SQLITE_OPEN_CREATE : 0);
    const int code = ::sqlite3_open_v2(o.path.c_str(), &db_, flags, nullptr);
    owned_ = true;
    if (db_ == nullptr) return error{errc::out_of_memory, phase::connect};
    if (code != SQLITE_OK) return error_of(code, phase::connect);
    install(o);

    ::sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_FKEY, o.foreign_keys ? 1 : 0, nullptr);
    ::sqlite3_db_config(db_, SQLITE_DBCONFIG_DQS_DML, o.double_quoted_strings ? 1 : 0, nullptr);
    if (error e = load_extensions(o)) return e;
    if (o.cache_size) {  // a negative number is KiB
        if (error e = setting(joined({"pragma cache_size = -", digits_of((*o.cache_size + 1023) / 1024)}).c_str())) return e;
    }
    if (o.mmap_size) {
        if (error e = setting(joined({"pragma mmap_size = ", digits_of(*o.mmap_size)}).c_str())) return e;
    }
    // The first touch of the file: says whether it is a database at all.
    if (error e = setting("pragma schema_version")) return e;
    if (role != connection_role::reader && !o.read_only) {
        if (error e = set_journal(o)) return e;
    }
    constexpr const char* levels[] = {"pragma synchronous = full", "pragma synchronous = normal", "pragma synchronous = off"};
    if (error e = setting(levels[static_cast<std::size_t>(o.synchronous)])) return e;
    for (const std::string& text : o.pragmas) {
        if (error e = setting(text.c_str())) return e;
    }
    return role == connection_role::reader ? setting("pragma query_only = on") : error{};
}

STRATA_COLD inline error sqlite_connection::load_extensions(const sqlite_options& o) {
    // Only the C interface is opened, and only for this moment: the SQL function load_extension() stays off.
    ::sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, o.extensions.empty() ? 0 : 1, nullptr);
    error e;
    for (const std::string& file : o.extensions) {
        char* why = nullptr;
        const int code = ::sqlite3_load_extension(db_, file.c_str(), nullptr, &why);
        if (code == SQLITE_OK) continue;
        e = error{errc::unsupported, detail::joined({"extension '", file, "': ", why != nullptr ? why : ::sqlite3_errstr(code)}),
                  phase::connect};
        ::sqlite3_free(why);
        break;
    }
    ::sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, nullptr);
    return e;
}

STRATA_COLD inline error sqlite_connection::set_journal(const sqlite_options& o) {
    if (o.journal == sqlite_journal::as_is) return {};
    const bool wal = o.journal == sqlite_journal::wal;
    const char* const sql = wal ? "pragma journal_mode = wal" : "pragma journal_mode = delete";
    std::string answer;
    // The change needs the file for itself, and SQLite asks no busy handler for it: several processes that open a
    // new file at once meet here.
    const time_point since = clock::now();
    error e = setting(sql, &answer);
    for (int tries = 0; e.code() == errc::busy && wait_for_lock(since, tries); ++tries) e = setting(sql, &answer);
    if (e) return e;
    if (answer == (wal ? "wal" : "delete") || answer == "memory") return {};  // a database in memory has no choice
    return error{errc::unsupported,
                 detail::joined({"the journal mode stays '", answer,
                                 "': this file system or VFS cannot do another; set sqlite_options.journal to rollback or as_is"}),
                 phase::connect};
}

/// Runs one statement without the cache; the first column of its first row goes to `answer`.
STRATA_COLD inline error sqlite_connection::setting(const char* sql, std::string* answer) {
    error e;
    ended_by_ = errc::ok;
    detail::cached_statement* const s = prepare(hash128{}, sql, nullptr, false, e);
    if (s == nullptr) return e.set(phase::connect), e;
    int code = ::sqlite3_step(s->handle);
    if (code == SQLITE_ROW && answer != nullptr) {
        const unsigned char* const text = ::sqlite3_column_text(s->handle, 0);
        if (text != nullptr) answer->assign(reinterpret_cast<const char*>(text));
    }
    while (code == SQLITE_ROW) code = ::sqlite3_step(s->handle);
    if (code != SQLITE_DONE) {
        e = error_of(code, phase::connect);
        e.edit_texts().statement = sql;
    }
    detail::statement_cache::give_back(s);
    return e;
}

}  // namespace strata::inline STRATA_ABI

#endif

// Arguments of a statement, as codecs write them.
#ifndef STRATA_DRIVER_SQLITE_WRITER_HPP
#define STRATA_DRIVER_SQLITE_WRITER_HPP

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

// One statement on its way: found prepared or prepared, bound, stepped, its rows given to a sink, reset.
//
// What depends on neither arguments nor row type is in `sqlite_run`, mostly out of line; the template only
// binds and loops. The prepared statement goes back to the cache however the query ends.
#ifndef STRATA_DRIVER_SQLITE_QUERY_HPP
#define STRATA_DRIVER_SQLITE_QUERY_HPP

namespace strata::inline STRATA_ABI {
namespace detail {

/// The part of a query that needs no templates.
class sqlite_run {
public:
    sqlite_run(const sqlite_run&) = delete;
    sqlite_run& operator=(const sqlite_run&) = delete;

    /// What went wrong, after `resume()` said `failed`.
    [[nodiscard]] error& failure() noexcept { return error_; }
    /// Rows that were inserted, updated or deleted; 0 for everything else. Known when the query is done.
    [[nodiscard]] std::int64_t affected() const noexcept { return affected_; }
    /// The rowid of the last row inserted; 0 when the statement is no insert or changed nothing. An upsert that only
    /// updated leaves the id of the insert before it, as SQLite does.
    [[nodiscard]] std::int64_t last_id() const noexcept { return last_id_; }

protected:
    explicit sqlite_run(sqlite_connection& c) noexcept : connection_(c) {}
    ~sqlite_run() {
        if (entry_ != nullptr) [[unlikely]] release();
    }

    /// Finds or prepares the statement; false when it cannot be, with the error set. `literal`: its text is a literal.
    [[nodiscard]] STRATA_INLINE bool take(const descriptor& what, bool literal) {
        what_ = &what;
        connection_.ended_by_ = errc::ok;
        was_in_transaction_ = connection_.in_transaction();
        entry_ = connection_.cache_.take(key_of(what, literal), literal ? std::string_view{} : what.sqlite_text);
        if (entry_ == nullptr) [[unlikely]] {
            if (!prepare(key_of(what, literal))) return false;
        }
        if (!entry_->reads_only) changes_before_ = ::sqlite3_total_changes64(connection_.db_);
        return true;
    }

    /// Some texts act when they are prepared here: a pragma, all but the last statement of several.
    [[nodiscard]] STRATA_COLD bool can_be_described(const descriptor& what) {
        if (what.statements <= 1 && what.kind != statement_kind::session) return true;
        error_ = bad_statement("a pragma, or a text of several statements, cannot be described: it would act", what.text);
        return false;
    }

    /// The statement goes back to the cache.
    STRATA_INLINE void release() noexcept {
        ::sqlite3_reset(entry_->handle);
        // The arguments live no longer than the call, and copies of them should not either.
        if (holds_memory_) ::sqlite3_clear_bindings(entry_->handle);
        statement_cache::give_back(std::exchange(entry_, nullptr));
    }

    /// True when the plan in the cache was made for these rows and for the statement as it is prepared now. A change of
    /// the schema makes SQLite prepare it anew; but without a `*` the text alone says which column is where.
    [[nodiscard]] STRATA_INLINE bool plan_is_current(const void* tag) const noexcept {
        return entry_->plan.tag == tag && (entry_->plan_fixed || entry_->plan_prepared == times_prepared());
    }
    STRATA_COLD void plan_made(const void* tag) noexcept {
        entry_->plan.tag = tag;
        entry_->plan_prepared = times_prepared();
        entry_->plan_fixed = !entry_->has_star && entry_->plan.layout == nullptr;  // a layout holds declared types too
    }

    [[nodiscard]] STRATA_INLINE sqlite_row current_row() const noexcept { return sqlite_row{entry_->handle, connection_.value_distance_}; }

    /// Takes what a finished write leaves behind.
    STRATA_INLINE void count() noexcept {
        if (!entry_->reads_only) count_changes();
    }

    [[nodiscard]] signal step_failed(int code);
    [[nodiscard]] signal argument_refused(int number, errc why, std::string_view type, int code);
    [[nodiscard]] signal rows_refused();
    [[nodiscard]] signal stopped_early();

    sqlite_connection& connection_;
    const descriptor* what_;  // from take() on
    cached_statement* entry_ = nullptr;
    error error_;
    std::int64_t affected_ = 0;
    std::int64_t last_id_ = 0;
    std::int64_t changes_before_;  // of a statement that writes
    bool was_in_transaction_ = false;
    bool holds_memory_ = false;
    bool planned_ = false;
    bool script_wrote_ = false;  // an earlier statement of the same text has run

private:
    [[nodiscard]] int times_prepared() const noexcept { return ::sqlite3_stmt_status(entry_->handle, SQLITE_STMTSTATUS_REPREPARE, 0); }
    [[nodiscard]] static STRATA_INLINE hash128 key_of(const descriptor& what, bool literal) noexcept {
        return literal ? what.hash : key_of_composed(what.hash);
    }
    [[nodiscard]] bool prepare(hash128 key);
    [[nodiscard]] bool run_script(hash128 key);
    void count_changes() noexcept;
    [[nodiscard]] sqlite_circumstances circumstances(int code) const noexcept;
};

STRATA_COLD inline bool sqlite_run::prepare(hash128 key) {
    if (!what_->fits(dialect::sqlite)) {
        error_ = bad_statement("the text does not follow SQLite's lexical rules", what_->text);
        return false;
    }
    if (what_->statements > 1) return run_script(key);
    const bool keep = what_->kind == statement_kind::read || what_->kind == statement_kind::write;  // others come once, as a rule
    entry_ = connection_.prepare(key, what_->sqlite_text, what_, keep, error_);
    return entry_ != nullptr;
}

/// Runs all statements of a text but the last one, which is left in `entry_`: its rows are the ones that are wanted.
STRATA_COLD inline bool sqlite_run::run_script(hash128 key) {
    if (what_->parameters != 0) {
        error_ = bad_statement("a text of several statements cannot have parameters", what_->text);
        return false;
    }
    for (std::string_view rest = what_->sqlite_text;;) {
        entry_ = connection_.prepare(key, rest, what_, false, error_, &rest);
        if (entry_ == nullptr) {
            if (script_wrote_) error_.set(effect_after(connection_.db_, SQLITE_ERROR, circumstances(SQLITE_ERROR)));
            return false;
        }
        if (is_blank_sql(rest)) return true;
        changes_before_ = ::sqlite3_total_changes64(connection_.db_);
        int code = SQLITE_ROW;
        while (code == SQLITE_ROW) code = ::sqlite3_step(entry_->handle);
        if (code != SQLITE_DONE) {
            static_cast<void>(step_failed(code));
            return false;
        }
        count();
        script_wrote_ = script_wrote_ || !entry_->reads_only;
        release();
    }
}

inline void sqlite_run::count_changes() noexcept {
    ::sqlite3* const db = connection_.db_;
    // Only what changes rows moves the total; after anything else sqlite3_changes() still tells of an earlier statement.
    if (::sqlite3_total_changes64(db) == changes_before_) return;
    const std::int64_t changes = ::sqlite3_changes64(db);
    affected_ += changes;
    if (entry_->inserts && changes > 0) last_id_ = ::sqlite3_last_insert_rowid(db);
}

STRATA_COLD inline sqlite_circumstances sqlite_run::circumstances(int code) const noexcept {
    const bool writes = entry_ != nullptr && !entry_->reads_only;
    sqlite_circumstances c;
    c.code = code;
    c.was_in_transaction = was_in_transaction_;
    c.commits = !was_in_transaction_ && writes;
    // `insert or fail` keeps the rows before the failing one; whatever else fails is undone by SQLite.
    c.kept = script_wrote_ || (writes && ::sqlite3_total_changes64(connection_.db_) != changes_before_);
    c.written = what_->text;
    c.sent = what_->sqlite_text;
    return c;
}

STRATA_COLD inline signal sqlite_run::step_failed(int code) {
    error_ = connection_.error_of(circumstances(code));
    release();
    return signal::failed;
}

/// An argument that its codec (`why`) or SQLite (`code`) does not take. Nothing has run.
STRATA_COLD inline signal sqlite_run::argument_refused(int number, errc why, std::string_view type, int code) {
    if (code != SQLITE_OK) error_ = connection_.error_of(circumstances(code));
    else error_ = error{why, std::string{strata::to_string(why)}, phase::execute};
    error_.set(effect::none);
    error_texts& texts = error_.edit_texts();
    const std::string_view name = what_->parameter(static_cast<std::size_t>(number - 1));
    const bool named = !name.empty(), typed = !type.empty();
    texts.message = joined(
        {"argument ", digits_of(number), named ? " (:" : "", name, named ? ")" : "", typed ? " of type " : "", type, ": ", texts.message});
    texts.statement = what_->text;
    release();
    return signal::failed;
}

/// The sink does not take the rows, or misses some: the statement itself went well, and a write has happened.
STRATA_COLD inline signal sqlite_run::rows_refused() {
    bool wrote = script_wrote_;
    if (entry_ != nullptr && !entry_->reads_only) {
        const int code = ::sqlite3_reset(entry_->handle);  // commits what `returning` left open
        if (code != SQLITE_OK) return step_failed(code);
        wrote = wrote || ::sqlite3_total_changes64(connection_.db_) != changes_before_;
    }
    if (entry_ != nullptr) release();
    error_.set(phase::result).set(wrote || affected_ != 0 ? effect::applied : effect::none);
    if (error_.has_texts() && error_.texts().statement.empty()) error_.edit_texts().statement = what_->text;
    return signal::failed;
}

/// The sink has enough.
STRATA_COLD inline signal sqlite_run::stopped_early() {
    const int code = ::sqlite3_reset(entry_->handle);
    if (code != SQLITE_OK) return step_failed(code);
    count();
    release();
    return signal::done;
}

}  // namespace detail

/// One statement. Call `resume()` until it says `done` or `failed`, and not again after that; `item` means that the
/// sink has paused and goes on at the next call. Connection, statement, arguments and sink must outlive the query. When it is
/// destroyed midway, a read just ends, and a write that has returned rows has happened.
template <class Bound, class Sink>
class sqlite_connection::query : public detail::sqlite_run {
public:
    query(sqlite_connection& connection, const Bound& statement, Sink& sink) noexcept
        : detail::sqlite_run(connection), statement_(statement), sink_(sink) {}

    /// Never `io` or `work`; may block.
    [[nodiscard]] signal resume() {
        if (entry_ == nullptr) {
            if (!take(statement_.text(), Bound::facts.kind_known)) return signal::failed;
            if (!bind()) [[unlikely]] return signal::failed;
        }
        for (;;) {
            const int code = ::sqlite3_step(entry_->handle);
            if (code == SQLITE_ROW) {
                if (!planned_ && !plan()) [[unlikely]] return rows_refused();
                switch (sink_.row(current_row(), entry_->plan, error_)) {
                    case flow::more: continue;
                    case flow::pause: return signal::item;
                    case flow::stop: return error_ ? rows_refused() : stopped_early();
                }
            }
            if (code != SQLITE_DONE) [[unlikely]] return step_failed(code);
            count();
            if (!planned_ && !plan()) [[unlikely]] return rows_refused();  // a wrong row type fails on an empty table too
            release();
            sink_.finish(error_);
            return error_ ? rows_refused() : signal::done;
        }
    }

    /// Prepares the statement, executes nothing, and hands its columns, an `sqlite_row`, to `use`; their types are the values' own. False
    /// when that fails: see `failure()`.
    template <class Use>
    [[nodiscard]] bool describe(Use&& use) {
        if (!can_be_described(statement_.text()) || !take(statement_.text(), Bound::facts.kind_known)) return false;
        use(sqlite_row{entry_->handle});
        release();
        return true;
    }

private:
    /// Binds the arguments; false when one is refused.
    STRATA_INLINE bool bind() {
        sqlite_writer out{entry_->handle};
        int refused = 0;  // number of the first one
        errc why = errc::ok;
        std::string_view type;
        statement_.for_each_argument([&](std::size_t index, const auto& value) {
            using value_codec = codec<std::remove_cvref_t<decltype(value)>>;
            if (refused != 0) return;
            const int number = static_cast<int>(index) + 1;
            why = value_codec::write(out, value);
            if (why == errc::ok) why = out.refused();
            if (why == errc::ok && out.written() != number) why = errc::misuse;  // a codec must write exactly once
            if (why == errc::ok && out.code() == SQLITE_OK) return;
            refused = number;
            type = value_codec::name;
        });
        holds_memory_ = out.holds_memory();
        if (refused == 0) [[likely]] return true;
        static_cast<void>(argument_refused(refused, why, type, out.code()));
        return false;
    }

    [[nodiscard]] STRATA_INLINE bool plan() {
        planned_ = true;
        return plan_is_current(sink_.tag()) || make_plan();
    }

    STRATA_COLD bool make_plan() {
        entry_->plan_prepared = -1;
        entry_->plan_fixed = false;
        error_ = sink_.plan(sqlite_row{entry_->handle}, entry_->plan);
        if (error_) return false;
        plan_made(sink_.tag());
        return true;
    }

    const Bound& statement_;
    Sink& sink_;
};

}  // namespace strata::inline STRATA_ABI

#endif

// Statements that only differ in a number, such as `savepoint strata_3`, without an allocation.
#ifndef STRATA_SQL_CONTROL_TEXT_HPP
#define STRATA_SQL_CONTROL_TEXT_HPP

namespace strata::inline STRATA_ABI {

/// A short control statement with a number in it, by value.
class control_text {
public:
    constexpr control_text(std::string_view words, unsigned number) noexcept {
        for (const char c : words) text_[size_++] = c;
        char digits[10];
        int count = 0;
        do {
            digits[count++] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        while (count > 0) text_[size_++] = digits[--count];
    }
    [[nodiscard]] constexpr operator std::string_view() const noexcept { return {text_, size_}; }

private:
    char text_[40]{};
    std::size_t size_ = 0;
};

}  // namespace strata::inline STRATA_ABI

#endif

// The tag that stands at the bottom of a stack: what the layers above ask an SQLite driver for.
#ifndef STRATA_DRIVER_SQLITE_DRIVER_HPP
#define STRATA_DRIVER_SQLITE_DRIVER_HPP

namespace strata::inline STRATA_ABI {

/// When an SQLite transaction takes its locks.
enum class sqlite_locking : std::uint8_t {
    deferred,   ///< at the first read and the first write; a write may then fail with `errc::busy_snapshot`
    immediate,  ///< the write lock at once: the right one for a transaction that will write
    exclusive   ///< under a rollback journal it shuts readers out too; under WAL the same as immediate
};

/// The driver for an embedded SQLite file: `stack<..., pool<>, sqlite>`.
struct sqlite {
    static constexpr auto place = strata::place::driver;
    using options = sqlite_options;
    using connection = sqlite_connection;
    using locking = sqlite_locking;
    static constexpr strata::dialect dialect = strata::dialect::sqlite;
    /// Every resume of a query may block: the asynchronous drive moves to a thread that may.
    static constexpr bool blocking = true;
    /// One connection writes at a time, any number read: a pool keeps one writer and lends the others for reads.
    static constexpr bool single_writer = true;

    /// The role of a connection in a pool; `split` when writer and readers are kept apart.
    [[nodiscard]] static constexpr connection_role role_of(bool reads, bool split) noexcept {
        return !split ? connection_role::both : reads ? connection_role::reader : connection_role::writer;
    }

    /// Always serializable, and so at least as isolated as one may ask for.
    [[nodiscard]] static constexpr std::string_view begin(const detail::transaction_mode<sqlite_locking>& m) noexcept {
        return begin(m.locking.value_or(m.read_only ? sqlite_locking::deferred : sqlite_locking::immediate));
    }
    [[nodiscard]] static constexpr std::string_view begin(sqlite_locking how) noexcept {
        constexpr std::string_view texts[] = {"begin deferred", "begin immediate", "begin exclusive"};
        return texts[static_cast<std::size_t>(how)];
    }
    [[nodiscard]] static constexpr std::string_view commit() noexcept { return "commit"; }
    [[nodiscard]] static constexpr std::string_view rollback() noexcept { return "rollback"; }
    [[nodiscard]] static constexpr control_text savepoint(unsigned depth) noexcept { return {"savepoint strata_", depth}; }
    [[nodiscard]] static constexpr control_text release(unsigned depth) noexcept { return {"release strata_", depth}; }
    [[nodiscard]] static constexpr control_text rollback_to(unsigned depth) noexcept { return {"rollback to strata_", depth}; }

    /// Whether several connections opened with these options see the same database; asked by a pool.
    /// Whether its connections may be closed and opened anew, as a pool's upkeep does.
    [[nodiscard]] static error check_reopened(const sqlite_options& options) {
        const bool in_memory = is_private_memory(options.path) || options.path.find("vfs=memdb") != options.path.npos ||
                               options.path.find("mode=memory") != options.path.npos;
        if (options.handle == nullptr && !in_memory) return {};
        return detail::bad_sqlite_option(
            options.handle != nullptr ? "handle" : "path",
            "would not outlive its connections, which a pool with max_lifetime, max_idle or check_interval closes");
    }
    [[nodiscard]] static error check_shared(const sqlite_options& options) {
        if (options.handle != nullptr)
            return detail::bad_sqlite_option("handle", "is one connection: use single instead of the pool, or pool_options.max_size 1");
        if (!is_private_memory(options.path)) return {};
        return detail::bad_sqlite_option(
            "path", detail::joined({"'", options.path,
                                    "' is private to one connection, so each connection of a pool would see its own empty database; use "
                                    "single instead of the pool, or a shared memory database: \"file:/name?vfs=memdb\""}));
    }
};

}  // namespace strata::inline STRATA_ABI

#endif

// Care of a database file while it is in use: copy it, shorten its log, look for damage.
// All three block, honour the connection's guard, and are meant for a leased connection.
#ifndef STRATA_DRIVER_SQLITE_MAINTENANCE_HPP
#define STRATA_DRIVER_SQLITE_MAINTENANCE_HPP

namespace strata::inline STRATA_ABI {

/// How far a backup has come, in pages. `total` may grow while others write.
struct sqlite_backup_progress {
    int remaining = 0;
    int total = 0;
};

/// How much of the write-ahead log was looked at; both -1 when the database is not in WAL mode.
struct sqlite_checkpoint_counts {
    int log = -1;           ///< frames in the log
    int checkpointed = -1;  ///< frames of it that are in the file now
};

enum class sqlite_checkpoint_mode : std::uint8_t {
    passive,  ///< as much as is possible without waiting for anybody
    full,     ///< waits for writers and readers, then all
    restart,  ///< and the next writer begins the log anew
    truncate  ///< and the log is cut to nothing
};

namespace detail {

struct backup_handle {
    ::sqlite3_backup* handle;
    ~backup_handle() { ::sqlite3_backup_finish(handle); }
};

struct guard_lent {  // the target waits no longer than the source may
    sqlite_connection& to;
    const interruption* before;
    guard_lent(sqlite_connection& target, const interruption* i) : to(target), before(target.guard()) { to.guard(i); }
    guard_lent(const guard_lent&) = delete;
    guard_lent& operator=(const guard_lent&) = delete;
    ~guard_lent() { to.guard(before); }
};

/// errc::ok as long as the call may go on.
[[nodiscard]] inline errc ended(const interruption* i) noexcept {
    if (i == nullptr) return errc::ok;
    if (i->is_cancelled()) return errc::cancelled;
    return i->deadline != never && clock::now() >= i->deadline ? errc::timeout : errc::ok;
}

using backup_report = void (*)(void*, const sqlite_backup_progress&);

STRATA_COLD inline error run_backup(sqlite_connection& from, sqlite_connection& to, int pages, void* user, backup_report report) {
    if (pages == 0) return error{errc::invalid_argument, "pages_per_step must not be 0; a negative number copies all at once"};
    const guard_lent lent{to, from.guard()};
    const backup_handle backup{::sqlite3_backup_init(to.native_handle(), "main", from.native_handle(), "main")};
    if (backup.handle == nullptr) return to.error_of(::sqlite3_errcode(to.native_handle()));
    for (;;) {
        if (const errc why = ended(from.guard()); why != errc::ok) return error{why, phase::execute};
        const int code = ::sqlite3_backup_step(backup.handle, pages);
        if (code != SQLITE_OK && code != SQLITE_DONE) return to.error_of(code);
        report(user, {::sqlite3_backup_remaining(backup.handle), ::sqlite3_backup_pagecount(backup.handle)});
        if (code == SQLITE_DONE) return {};
    }
}

}  // namespace detail

/// Copies the whole database of `from` over that of `to`, a few pages at a time, so that others can write in
/// between (the copy then starts again, and is consistent). `progress(sqlite_backup_progress)` is called after each step.
/// On an error, or when the guard of `from` ends the call, `to` holds what it held before.
template <class Progress>
[[nodiscard]] error sqlite_backup(sqlite_connection& from, sqlite_connection& to, Progress&& progress, int pages_per_step = 256) {
    const auto report = [](void* user, const sqlite_backup_progress& p) { (*static_cast<std::remove_reference_t<Progress>*>(user))(p); };
    void* const user = const_cast<void*>(static_cast<const volatile void*>(&progress));
    return detail::run_backup(from, to, pages_per_step, user, report);
}

/// The same into a file, which is made when it does not exist and replaced when it does.
template <class Progress>
[[nodiscard]] error sqlite_backup(sqlite_connection& from, const std::string& path, Progress&& progress, int pages_per_step = 256) {
    sqlite_connection to;
    if (error e = to.open({.path = path, .journal = sqlite_journal::as_is}, connection_role::both, from.guard())) return e;
    return strata::sqlite_backup(from, to, progress, pages_per_step);
}

/// Moves the write-ahead log into the database file. Waits only in modes other than `passive`, and no longer than
/// `busy_timeout` and the guard allow; then `errc::busy` or `errc::timeout`.
[[nodiscard]] inline result<sqlite_checkpoint_counts> sqlite_checkpoint(sqlite_connection& c,
                                                                        sqlite_checkpoint_mode mode = sqlite_checkpoint_mode::passive) {
    static_assert(SQLITE_CHECKPOINT_PASSIVE == 0 && SQLITE_CHECKPOINT_TRUNCATE == 3);
    sqlite_checkpoint_counts counts;
    const int code = ::sqlite3_wal_checkpoint_v2(c.native_handle(), "main", static_cast<int>(mode), &counts.log, &counts.checkpointed);
    if (code != SQLITE_OK) return c.error_of(code);
    return counts;
}

/// What is wrong with the file, one finding a string, at most `limit`; empty when it is sound. `quick` leaves out the
/// comparison of tables with their indexes. Reads the whole file. An error when the check itself could not be done.
[[nodiscard]] inline result<std::vector<std::string>> sqlite_integrity_check(sqlite_connection& c, bool quick = false, int limit = 100) {
    const std::string sql = detail::joined({quick ? "pragma quick_check(" : "pragma integrity_check(", detail::digits_of(limit), ")"});
    detail::cached_statement statement;  // finalizes
    int code = ::sqlite3_prepare_v2(c.native_handle(), sql.c_str(), -1, &statement.handle, nullptr);
    if (code != SQLITE_OK) return c.error_of(code, phase::prepare);
    std::vector<std::string> findings;
    while ((code = ::sqlite3_step(statement.handle)) == SQLITE_ROW) {
        const unsigned char* const text = ::sqlite3_column_text(statement.handle, 0);
        findings.emplace_back(text != nullptr ? reinterpret_cast<const char*>(text) : "");
    }
    if (code != SQLITE_DONE) return c.error_of(code);
    if (findings.size() == 1 && findings.front() == "ok") findings.clear();
    return findings;
}

}  // namespace strata::inline STRATA_ABI

#endif

// The SQLite driver: one include. Link with -lsqlite3 (3.38 or newer).
#ifndef STRATA_DRIVER_SQLITE_HPP
#define STRATA_DRIVER_SQLITE_HPP

#endif

#endif
