// The base of overhead.sqlite.scan: the first ROWS rows into a vector of structs by hand-written column reads.
//   raw_scan PASSES FILE ROWS
#include "../account.hpp"
#include "open.hpp"

#include <vector>

namespace {

std::vector<account> scan(::sqlite3* db, ::sqlite3_stmt* s, std::int64_t rows) {
    std::vector<account> all;
    ::sqlite3_bind_int64(s, 1, rows);
    int code = ::sqlite3_step(s);
    for (; code == SQLITE_ROW; code = ::sqlite3_step(s)) {
        account& a = all.emplace_back();
        a.id = ::sqlite3_column_int64(s, 0);
        const char* owner = reinterpret_cast<const char*>(::sqlite3_column_text(s, 1));
        a.owner.assign(owner, static_cast<std::size_t>(::sqlite3_column_bytes(s, 1)));
        a.balance = ::sqlite3_column_int64(s, 2);
        a.version = ::sqlite3_column_int64(s, 3);
    }
    if (code != SQLITE_DONE) bench::give_up(::sqlite3_errmsg(db));
    ::sqlite3_reset(s);
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    ::sqlite3* db = bench::open_reader(bench::text(argc, argv, 2));
    const long rows = bench::number(argc, argv, 3);
    ::sqlite3_stmt* s = bench::prepare(db, bench::scan_text);
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        for (const account& a : scan(db, s, rows)) bench::add(sum, a);
    });
    ::sqlite3_finalize(s);
    ::sqlite3_close(db);
}
