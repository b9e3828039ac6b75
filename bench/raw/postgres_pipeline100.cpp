// The base of postgres.pipeline100: flights of 100 prepared point reads in libpq's pipeline mode, binary, one Sync a flight.
//   raw_postgres_pipeline100 FLIGHTS URL [blocking]      blocking: one round trip after the other, 100 for each of FLIGHTS
#include "postgres.hpp"

#include <poll.h>
#include <string>
#include <vector>

namespace {

constexpr int depth = 100;

struct row {
    std::int32_t id = 0;
    std::string text;
};

row read(const PGresult* r) {
    if (::PQresultStatus(r) != PGRES_TUPLES_OK || ::PQntuples(r) != 1) bench::give_up(::PQresultErrorMessage(r));
    row out;
    out.id = static_cast<std::int32_t>(bench::read<std::uint32_t>(::PQgetvalue(r, 0, 0)));
    out.text.assign(::PQgetvalue(r, 0, 1), static_cast<std::size_t>(::PQgetlength(r, 0, 1)));
    return out;
}

void send(PGconn* db, std::int32_t id) {
    char bytes[4];
    bench::write(bytes, static_cast<std::uint32_t>(id));
    const char* const values[] = {bytes};
    constexpr int lengths[] = {4};
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

}  // namespace

int main(int argc, char** argv) {
    const long flights = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    ::PQclear(::PQprepare(db, "find", "select $1::int4, 'a text of some length'::text", 1, nullptr));
    ::PQsetnonblocking(db, 1);
    bench::checksum sum;
    if (argc > 3) {
        bench::repeat(flights, sum, [&](long i) {
            for (int k = 0; k < depth; ++k) {
                send(db, static_cast<std::int32_t>(i + k));
                PGresult* const r = next(db);
                const row got = read(r);
                sum.add(got.id);
                sum.add(got.text);
                ::PQclear(r);
                if (next(db) != nullptr) bench::give_up("more than one result");
            }
        });
    } else {
        std::vector<row> rows;
        bench::repeat(flights, sum, [&](long i) {
            rows.clear();
            rows.reserve(depth);
            if (::PQenterPipelineMode(db) == 0) bench::give_up(::PQerrorMessage(db));
            for (int k = 0; k < depth; ++k) send(db, static_cast<std::int32_t>(i + k));
            if (::PQpipelineSync(db) == 0) bench::give_up(::PQerrorMessage(db));
            for (int k = 0; k < depth; ++k) {
                PGresult* const r = next(db);
                rows.push_back(read(r));
                ::PQclear(r);
                if (next(db) != nullptr) bench::give_up("more than one result");
            }
            PGresult* const sync = next(db);
            if (::PQresultStatus(sync) != PGRES_PIPELINE_SYNC) bench::give_up("no sync");
            ::PQclear(sync);
            if (::PQexitPipelineMode(db) == 0) bench::give_up(::PQerrorMessage(db));
            for (const row& r : rows) {
                sum.add(r.id);
                sum.add(r.text);
            }
        });
    }
    ::PQfinish(db);
}
