// The base of postgres.rows: a result in binary form, decoded by hand into a vector of structs.
//   raw_postgres_rows PASSES URL ROWS
#include "../postgres_row.hpp"
#include "postgres.hpp"

#include <string>
#include <vector>

namespace {

std::vector<measurement> fetch(PGconn* db, std::int32_t rows) {
    const std::uint32_t sent = bench::swapped(static_cast<std::uint32_t>(rows));
    const char* const values[] = {reinterpret_cast<const char*>(&sent)};
    const int lengths[] = {sizeof sent};
    const int formats[] = {1};
    PGresult* const r = ::PQexecPrepared(db, "rows", 1, values, lengths, formats, 1);
    if (::PQresultStatus(r) != PGRES_TUPLES_OK) bench::give_up(::PQerrorMessage(db));
    std::vector<measurement> all;
    const int n = ::PQntuples(r);
    for (int i = 0; i < n; ++i) {
        for (int c = 0; c < 4; ++c)
            if (::PQgetisnull(r, i, c) != 0) bench::give_up("a NULL");
        measurement& m = all.emplace_back();
        m.id = static_cast<std::int32_t>(bench::read<std::uint32_t>(::PQgetvalue(r, i, 0)));
        m.total = static_cast<std::int64_t>(bench::read<std::uint64_t>(::PQgetvalue(r, i, 1)));
        m.name.assign(::PQgetvalue(r, i, 2), static_cast<std::size_t>(::PQgetlength(r, i, 2)));
        m.value = std::bit_cast<double>(bench::read<std::uint64_t>(::PQgetvalue(r, i, 3)));
    }
    ::PQclear(r);
    return all;
}

}  // namespace

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    const auto rows = static_cast<std::int32_t>(bench::number(argc, argv, 3));
    bench::prepare(db, "rows", "select i, i::int8 * 3, 'row number ' || i, i / 4.0::float8 from generate_series(1, $1) i");
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        for (const measurement& m : fetch(db, rows)) bench::add(sum, m);
    });
    ::PQfinish(db);
}
