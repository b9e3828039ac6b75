// The base of overhead.sqlite.select: a prepared point select by hand, run to its end, each in autocommit.
//   raw_select CALLS FILE
#include "../account.hpp"
#include "open.hpp"

namespace {

account select(::sqlite3* db, ::sqlite3_stmt* s, std::int64_t id) {
    account a;
    ::sqlite3_bind_int64(s, 1, id);
    if (::sqlite3_step(s) != SQLITE_ROW) bench::give_up(::sqlite3_errmsg(db));
    a.id = ::sqlite3_column_int64(s, 0);
    const char* owner = reinterpret_cast<const char*>(::sqlite3_column_text(s, 1));
    a.owner.assign(owner, static_cast<std::size_t>(::sqlite3_column_bytes(s, 1)));
    a.balance = ::sqlite3_column_int64(s, 2);
    a.version = ::sqlite3_column_int64(s, 3);
    if (::sqlite3_step(s) != SQLITE_DONE) bench::give_up("more than one row");
    ::sqlite3_reset(s);
    return a;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    ::sqlite3* db = bench::open_reader(bench::text(argc, argv, 2));
    ::sqlite3_stmt* s = bench::prepare(db, bench::select_text);
    bench::checksum sum;
    for (long i = 0; i < 1000; ++i) bench::add(sum, select(db, s, bench::key(i)));
    bench::repeat(calls, sum, [&](long i) { bench::add(sum, select(db, s, bench::key(i))); });
    ::sqlite3_finalize(s);
    ::sqlite3_close(db);
}
