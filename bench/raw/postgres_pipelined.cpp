// The base of pipelined.cpu: point reads by key in libpq's pipeline mode, one flight after the other, each behind one Sync; binary.
//   raw_postgres_pipelined CALLS URL DEPTH      DEPTH: reads of a flight
#include "../account.hpp"
#include "postgres.hpp"

#include <poll.h>

namespace {

void send(PGconn* db, std::int64_t id) {
    char bytes[8];
    bench::write(bytes, static_cast<std::uint64_t>(id));
    const char* const values[] = {bytes};
    constexpr int lengths[] = {8};
    constexpr int formats[] = {1};
    if (::PQsendQueryPrepared(db, "find", 1, values, lengths, formats, 1) == 0) bench::give_up(::PQerrorMessage(db));
}

PGresult* next(PGconn* db) {
    while (::PQflush(db) > 0 || ::PQisBusy(db) != 0) {
        ::pollfd p{::PQsocket(db), POLLIN, 0};
        ::poll(&p, 1, -1);
        if (::PQconsumeInput(db) == 0) bench::give_up(::PQerrorMessage(db));
    }
    return ::PQgetResult(db);
}

account read(const PGresult* r) {
    if (::PQresultStatus(r) != PGRES_TUPLES_OK || ::PQntuples(r) != 1) bench::give_up(::PQresultErrorMessage(r));
    const auto number = [r](int column) { return static_cast<std::int64_t>(bench::read<std::uint64_t>(::PQgetvalue(r, 0, column))); };
    return {number(0), {::PQgetvalue(r, 0, 1), static_cast<std::size_t>(::PQgetlength(r, 0, 1))}, number(2), number(3)};
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    const long depth = bench::number(argc, argv, 3);
    bench::prepare(db, "find", "select id, owner, balance, version from strata_bench_account where id = $1");
    ::PQsetnonblocking(db, 1);
    if (::PQenterPipelineMode(db) == 0) bench::give_up(::PQerrorMessage(db));
    bench::checksum sum;
    const auto fly = [&](long first, long end) {
        for (long i = first; i < end; ++i) send(db, bench::key(i));
        if (::PQpipelineSync(db) == 0) bench::give_up(::PQerrorMessage(db));
        for (long i = first; i < end; ++i) {
            PGresult* const r = next(db);
            const account got = read(r);
            ::PQclear(r);
            if (next(db) != nullptr) bench::give_up("more than one result");
            if (got.id != bench::key(i)) bench::give_up("another one's row");
            bench::add_in_any_order(sum, got);
        }
        PGresult* const sync = next(db);
        if (::PQresultStatus(sync) != PGRES_PIPELINE_SYNC) bench::give_up("no sync");
        ::PQclear(sync);
    };
    fly(0, 1000);
    sum = {};
    const long long cpu = bench::cpu_ns();
    const auto start = std::chrono::steady_clock::now();
    for (long i = 0; i < calls; i += depth) fly(i, i + depth < calls ? i + depth : calls);
    bench::report(sum, start, cpu);
    ::PQfinish(db);
}
