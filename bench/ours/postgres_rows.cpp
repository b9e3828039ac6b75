// postgres.rows: the rows of bench/raw/postgres_rows.cpp through the bank's stack.
//   ours_postgres_rows PASSES URL ROWS
#include "../postgres_row.hpp"
#include "postgres_bank.hpp"

#include <boost/hana/adapt_struct.hpp>

#include <chrono>

using namespace strata::literals;

BOOST_HANA_ADAPT_STRUCT(measurement, id, total, name, value);

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{
        strata::postgres_options{.connection = bench::text(argc, argv, 2)}, strata::pool_options{.min_size = 1, .max_size = 1},
        // callgrind takes fifty times as long as the machine
        strata::total_timeout_options{.limit = std::chrono::hours{1}}, strata::attempt_timeout_options{.limit = std::chrono::hours{1}}};
    const auto rows = static_cast<std::int32_t>(bench::number(argc, argv, 3));
    constexpr auto all =
        "select i as id, i::int8 * 3 as total, 'row number ' || i as name, i / 4.0::float8 as value from generate_series(1, :n) i"_sql;
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        for (const measurement& m : db.all<measurement>(all("n"_arg = rows))) bench::add(sum, m);
    });
}
