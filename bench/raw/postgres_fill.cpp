// Makes the table of the pipelined lines anew: rows as those of raw/fill.cpp.
//   raw_postgres_fill ROWS URL
#include "postgres.hpp"

#include <string>

int main(int argc, char** argv) {
    const long rows = bench::number(argc, argv, 1);
    PGconn* const db = bench::connect(bench::text(argc, argv, 2));
    bench::run(db, "set client_min_messages = warning");
    bench::run(db, "drop table if exists strata_bench_account");
    if (rows != 0) {
        bench::run(db,
                   "create table strata_bench_account (id bigint primary key, owner text not null, balance bigint not null, "
                   "version bigint not null) with (fillfactor = 50)");
        const std::string insert =
            "insert into strata_bench_account select i, 'owner-' || i, i * 31 % 10007 - 5000, i % 17 from generate_series(1, " +
            std::to_string(rows) + ") i";
        bench::run(db, insert.c_str());
        bench::run(db, "vacuum analyze strata_bench_account");
    }
    ::PQfinish(db);
}
