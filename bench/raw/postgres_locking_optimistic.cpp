// The base of locking.optimistic: a prepared update that checks the version, binary both ways, by libpq alone. A caller by hand knows the
// new version, and that no row means a conflict.
//   raw_postgres_locking_optimistic CALLS URL
#include "../account.hpp"
#include "../versioned_account.hpp"
#include "postgres.hpp"

#include <string_view>

namespace {

void update(PGconn* db, account& a) {
    const std::uint64_t numbers[] = {
        bench::swapped(static_cast<std::uint64_t>(a.balance)), bench::swapped(static_cast<std::uint64_t>(a.id)),
        bench::swapped(static_cast<std::uint64_t>(a.version)), bench::swapped(static_cast<std::uint64_t>(a.version + 1))};
    const auto at = [&](int i) { return reinterpret_cast<const char*>(&numbers[i]); };
    const char* const values[] = {a.owner.c_str(), at(0), at(3), at(1), at(2)};
    const int lengths[] = {static_cast<int>(a.owner.size()), 8, 8, 8, 8};
    const int formats[] = {0, 1, 1, 1, 1};
    PGresult* const r = ::PQexecPrepared(db, "update", 5, values, lengths, formats, 1);
    if (::PQresultStatus(r) != PGRES_COMMAND_OK) bench::give_up(::PQerrorMessage(db));
    if (std::string_view{::PQcmdTuples(r)} != "1") bench::give_up("a conflict");
    ::PQclear(r);
    ++a.version;
}

}  // namespace

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    bench::run(db, "set client_min_messages = warning");
    bench::run(db, bench::drop_versioned);
    bench::run(db, bench::create_versioned);
    bench::run(db, bench::insert_versioned);
    bench::prepare(db, "update", "update versioned_account set owner = $1, balance = $2, version = $3 where id = $4 and version = $5");
    account a{7, "Ada Lovelace", 100, 1};
    bench::checksum sum;
    const auto step = [&](long) {
        ++a.balance;
        update(db, a);
        sum.add(a.version);
    };
    for (long i = 0; i < 100; ++i) step(i);
    bench::repeat(calls, sum, step);
    ::PQfinish(db);
}
