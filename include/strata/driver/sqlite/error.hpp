// SQLite's result codes and sentences as `strata::error`: what happened, to which table and column, and
// what is known about the effect.
//
// SQLite says the names of a violated constraint only in its message, so the message is read; a table is
// confirmed by asking SQLite for it, because names may contain dots.
#ifndef STRATA_DRIVER_SQLITE_ERROR_HPP
#define STRATA_DRIVER_SQLITE_ERROR_HPP

#include <strata/core/config.hpp>
#include <strata/core/error.hpp>
#include <strata/core/joined.hpp>

#include <sqlite3.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

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
