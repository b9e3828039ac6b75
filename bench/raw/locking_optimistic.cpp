// The base of locking.optimistic on SQLite: a prepared update that checks the version, by hand; nothing is synchronised with the disk.
//   raw_locking_optimistic CALLS FILE
#include "../account.hpp"
#include "../versioned_account.hpp"
#include "open.hpp"

namespace {

void update(::sqlite3* db, ::sqlite3_stmt* s, account& a) {
    ::sqlite3_bind_text(s, 1, a.owner.data(), static_cast<int>(a.owner.size()), SQLITE_STATIC);
    ::sqlite3_bind_int64(s, 2, a.balance);
    ::sqlite3_bind_int64(s, 3, a.version + 1);
    ::sqlite3_bind_int64(s, 4, a.id);
    ::sqlite3_bind_int64(s, 5, a.version);
    if (::sqlite3_step(s) != SQLITE_DONE) bench::give_up(::sqlite3_errmsg(db));
    ::sqlite3_reset(s);
    if (::sqlite3_changes(db) != 1) bench::give_up("a conflict");
    ++a.version;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    ::sqlite3* db = bench::open(bench::text(argc, argv, 2));
    bench::run(db, "pragma synchronous = off");
    bench::run(db, bench::drop_versioned);
    bench::run(db, bench::create_versioned);
    bench::run(db, bench::insert_versioned);
    ::sqlite3_stmt* s =
        bench::prepare(db, "update versioned_account set owner = ?1, balance = ?2, version = ?3 where id = ?4 and version = ?5");
    account a{7, "Ada Lovelace", 100, 1};
    bench::checksum sum;
    const auto step = [&](long) {
        ++a.balance;
        update(db, s, a);
        sum.add(a.version);
    };
    for (long i = 0; i < 100; ++i) step(i);
    bench::repeat(calls, sum, step);
    ::sqlite3_finalize(s);
    ::sqlite3_close(db);
}
