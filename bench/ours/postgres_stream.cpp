// postgres.stream.memory: reads rows one after the other and keeps none.
//   ours_postgres_stream PASSES URL ROWS   prints kilobytes=PEAK_MEMORY besides
#include "../postgres_row.hpp"
#include "postgres_bank.hpp"

#include <boost/hana/adapt_struct.hpp>

using namespace strata::literals;

BOOST_HANA_ADAPT_STRUCT(measurement, id, total, name, value);

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{
        strata::postgres_options{.connection = bench::text(argc, argv, 2)}, strata::pool_options{.min_size = 1, .max_size = 1},
        strata::total_timeout_options{.limit = std::chrono::hours{1}}, strata::attempt_timeout_options{.limit = std::chrono::hours{1}}};
    const auto rows = static_cast<std::int32_t>(bench::number(argc, argv, 3));
    // In the select list the server makes the series row by row; in FROM it would keep all of it.
    constexpr auto all =
        "select i as id, i::int8 * 3 as total, 'row number ' || i as name, i / 4.0::float8 as value "
        "from (select generate_series(1, :n) as i) s"_sql;
    bench::checksum sum;
    const auto start = std::chrono::steady_clock::now();
    const long long cpu = bench::cpu_ns();
    for (long pass = 0; pass < passes; ++pass)
        for (const measurement& m : db.rows<measurement>(all("n"_arg = rows))) bench::add(sum, m);
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    bench::report(sum, start, cpu, (" kilobytes=" + std::to_string(used.ru_maxrss)).c_str());
}
