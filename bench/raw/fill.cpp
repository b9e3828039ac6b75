// Makes the table that the SQLite lines read: fill ROWS FILE.
#include "open.hpp"

#include <cstdio>

int main(int argc, char** argv) {
    const long rows = bench::number(argc, argv, 1);
    ::sqlite3* db = bench::open(bench::text(argc, argv, 2));
    bench::run(db, "create table account (id integer primary key, owner text not null, "
                   "balance integer not null, version integer not null)");
    bench::run(db, "begin");
    ::sqlite3_stmt* insert = bench::prepare(db, "insert into account values (?1, ?2, ?3, ?4)");
    for (long id = 1; id <= rows; ++id) {
        char owner[32];
        const int size = std::snprintf(owner, sizeof owner, "owner-%ld", id);
        ::sqlite3_bind_int64(insert, 1, id);
        ::sqlite3_bind_text(insert, 2, owner, size, SQLITE_STATIC);
        ::sqlite3_bind_int64(insert, 3, id * 31 % 10'007 - 5'000);
        ::sqlite3_bind_int64(insert, 4, id % 17);
        if (::sqlite3_step(insert) != SQLITE_DONE) bench::give_up(::sqlite3_errmsg(db));
        ::sqlite3_reset(insert);
    }
    ::sqlite3_finalize(insert);
    bench::run(db, "commit");
    bench::run(db, "pragma wal_checkpoint(truncate)");
    ::sqlite3_close(db);
}
