// SQLite opened by hand as strata opens a pool's reader: the same flags and the same pragmas.
#ifndef BENCH_RAW_OPEN_HPP
#define BENCH_RAW_OPEN_HPP

#include "../measure.hpp"

#include <sqlite3.h>

namespace bench {

inline void run(::sqlite3* db, const char* sql) {
    if (::sqlite3_exec(db, sql, nullptr, nullptr, nullptr) != SQLITE_OK) give_up(::sqlite3_errmsg(db));
}

/// For writing: as strata's defaults, write-ahead log and `synchronous = full`.
inline ::sqlite3* open(const char* file) {
    ::sqlite3* db = nullptr;
    const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    if (::sqlite3_open_v2(file, &db, flags, nullptr) != SQLITE_OK) give_up("cannot open the database");
    ::sqlite3_busy_timeout(db, 5000);
    ::sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
    ::sqlite3_db_config(db, SQLITE_DBCONFIG_DQS_DML, 0, nullptr);
    run(db, "pragma schema_version");
    run(db, "pragma journal_mode = wal");
    run(db, "pragma synchronous = full");
    return db;
}

inline ::sqlite3* open_reader(const char* file) {
    ::sqlite3* db = open(file);
    run(db, "pragma query_only = on");
    return db;
}

inline ::sqlite3_stmt* prepare(::sqlite3* db, const char* sql) {
    ::sqlite3_stmt* s = nullptr;
    if (::sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, nullptr) != SQLITE_OK) give_up(::sqlite3_errmsg(db));
    return s;
}

}  // namespace bench

#endif
