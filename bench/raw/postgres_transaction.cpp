// The base of locking.transaction: begin, a prepared update of one row, commit, by libpq alone.
//   raw_postgres_transaction CALLS URL
#include "postgres.hpp"

namespace {

std::int64_t add(PGconn* db, std::int64_t id, std::int64_t amount) {
    const std::uint64_t sent[] = {bench::swapped(static_cast<std::uint64_t>(amount)), bench::swapped(static_cast<std::uint64_t>(id))};
    const char* const values[] = {reinterpret_cast<const char*>(&sent[0]), reinterpret_cast<const char*>(&sent[1])};
    const int lengths[] = {sizeof sent[0], sizeof sent[1]};
    const int formats[] = {1, 1};
    PGresult* const r = ::PQexecPrepared(db, "add", 2, values, lengths, formats, 1);
    if (::PQresultStatus(r) != PGRES_COMMAND_OK) bench::give_up(::PQerrorMessage(db));
    const std::int64_t changed = std::strtoll(::PQcmdTuples(r), nullptr, 10);
    ::PQclear(r);
    return changed;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    bench::run(db, "create temporary table account (id bigint primary key, balance bigint not null)");
    bench::run(db, "insert into account select i, 0 from generate_series(0, 99) i");
    bench::prepare(db, "add", "update account set balance = balance + $1::int8 where id = $2::int8");
    bench::checksum sum;
    const auto transfer = [&](long i) {
        bench::run(db, "begin");
        sum.add(add(db, i % 100, i));
        bench::run(db, "commit");
    };
    for (long i = 0; i < 100; ++i) transfer(i);
    bench::repeat(calls, sum, transfer);
    ::PQfinish(db);
}
