// How a connection comes to be: the handle, the settings of `sqlite_options` in an order that works, and the
// adoption of a handle that the user made. All of it is off the hot path.
#ifndef STRATA_DRIVER_SQLITE_OPEN_HPP
#define STRATA_DRIVER_SQLITE_OPEN_HPP

#include <strata/core/joined.hpp>
#include <strata/driver/sqlite/connection.hpp>
#include <strata/driver/sqlite/reader.hpp>

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
