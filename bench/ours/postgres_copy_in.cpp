// postgres.copy_in: the rows of bench/raw/postgres_copy_in.cpp through the whole stack.
//   ours_postgres_copy_in PASSES URL ROWS
#include "../measure.hpp"
#include "postgres_bank.hpp"

#include <strata/copy.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <vector>

using namespace strata::literals;

struct row {
    std::int32_t id = 0;
    std::int64_t amount = 0;
    std::string text;
    double weight = 0;
};
BOOST_HANA_ADAPT_STRUCT(row, id, amount, text, weight);

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{
        strata::postgres_options{.connection = bench::text(argc, argv, 2)}, strata::pool_options{.min_size = 1, .max_size = 1},
        // callgrind takes fifty times as long as the machine
        strata::total_timeout_options{.limit = std::chrono::hours{1}}, strata::attempt_timeout_options{.limit = std::chrono::hours{1}}};
    std::vector<row> rows(static_cast<std::size_t>(bench::number(argc, argv, 3)));
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = {static_cast<std::int32_t>(i), static_cast<std::int64_t>(i) * 7919, "text number " + std::to_string(i),
                   static_cast<double>(i) / 8};
    db.execute("drop table if exists bench_rows"_sql());
    db.execute("create unlogged table bench_rows (id int4, amount int8, text text, weight float8)"_sql());
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        db.execute("truncate bench_rows"_sql());
        sum.add(db.copy_in("bench_rows", rows).rows);
    });
    db.execute("drop table bench_rows"_sql());
}
