// The base of postgres.roundtrip.blocking: one prepared statement after the other, binary both ways, by libpq alone.
//   raw_postgres_roundtrip CALLS URL
#include "postgres.hpp"

namespace {

std::int32_t ask(PGconn* db, std::int32_t n) {
    const std::uint32_t sent = bench::swapped(static_cast<std::uint32_t>(n));
    const char* const values[] = {reinterpret_cast<const char*>(&sent)};
    const int lengths[] = {sizeof sent};
    const int formats[] = {1};
    PGresult* const r = ::PQexecPrepared(db, "echo", 1, values, lengths, formats, 1);
    if (::PQresultStatus(r) != PGRES_TUPLES_OK || ::PQntuples(r) != 1) bench::give_up(::PQerrorMessage(db));
    const auto answer = static_cast<std::int32_t>(bench::read<std::uint32_t>(::PQgetvalue(r, 0, 0)));
    ::PQclear(r);
    return answer;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    bench::prepare(db, "echo", "select $1::int");
    bench::checksum sum;
    for (long i = 0; i < 100; ++i) sum.add(ask(db, static_cast<std::int32_t>(i)));
    bench::repeat(calls, sum, [&](long i) { sum.add(ask(db, static_cast<std::int32_t>(i))); });
    ::PQfinish(db);
}
