// The base of postgres.copy_in: ROWS structs encoded by hand and sent by libpq's binary COPY, in pieces of 64 KiB.
//   raw_postgres_copy_in PASSES URL ROWS
#include "postgres.hpp"

#include <string>
#include <vector>

namespace {

struct row {
    std::int32_t id = 0;
    std::int64_t amount = 0;
    std::string text;
    double weight = 0;
};

char* field(char* to, const char* data, std::size_t size) {
    to = bench::write(to, static_cast<std::uint32_t>(size));
    std::memcpy(to, data, size);
    return to + size;
}

void put(PGconn* db, const char* from, const char* to) {
    if (::PQputCopyData(db, from, static_cast<int>(to - from)) != 1) bench::give_up(::PQerrorMessage(db));
}

void copy(PGconn* db, const std::vector<row>& rows, std::vector<char>& buffer) {
    bench::run(db, "begin");
    PGresult* const r = ::PQexec(db, "copy bench_rows (id, amount, text, weight) from stdin (format binary)");
    if (::PQresultStatus(r) != PGRES_COPY_IN) bench::give_up(::PQresultErrorMessage(r));
    ::PQclear(r);
    constexpr std::size_t piece = 64 * 1024;
    char* at = buffer.data();
    std::memcpy(at, "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
    at += 19;
    for (const row& w : rows) {
        at = bench::write(at, std::uint16_t{4});
        at = bench::write(bench::write(at, std::uint32_t{4}), static_cast<std::uint32_t>(w.id));
        at = bench::write(bench::write(at, std::uint32_t{8}), static_cast<std::uint64_t>(w.amount));
        at = field(at, w.text.data(), w.text.size());
        std::uint64_t bits;
        std::memcpy(&bits, &w.weight, sizeof bits);
        at = bench::write(bench::write(at, std::uint32_t{8}), bits);
        if (static_cast<std::size_t>(at - buffer.data()) >= piece) {
            put(db, buffer.data(), at);
            at = buffer.data();
        }
    }
    at = bench::write(at, static_cast<std::uint16_t>(-1));
    put(db, buffer.data(), at);
    if (::PQputCopyEnd(db, nullptr) != 1) bench::give_up(::PQerrorMessage(db));
    for (PGresult* end = ::PQgetResult(db); end != nullptr; end = ::PQgetResult(db)) {
        if (::PQresultStatus(end) != PGRES_COMMAND_OK) bench::give_up(::PQresultErrorMessage(end));
        ::PQclear(end);
    }
    bench::run(db, "commit");
}

}  // namespace

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    std::vector<row> rows(static_cast<std::size_t>(bench::number(argc, argv, 3)));
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = {static_cast<std::int32_t>(i), static_cast<std::int64_t>(i) * 7919, "text number " + std::to_string(i),
                   static_cast<double>(i) / 8};
    std::vector<char> buffer(128 * 1024);
    bench::run(db, "set client_min_messages = warning");
    bench::run(db, "drop table if exists bench_rows");
    bench::run(db, "create unlogged table bench_rows (id int4, amount int8, text text, weight float8)");
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        bench::run(db, "truncate bench_rows");
        copy(db, rows, buffer);
        sum.add(static_cast<std::int64_t>(rows.size()));
    });
    bench::run(db, "drop table bench_rows");
    ::PQfinish(db);
}
