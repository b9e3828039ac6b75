// postgres.pipeline100: the flights of bench/raw/postgres_pipeline100.cpp through the whole stack.
//   ours_postgres_pipeline100 FLIGHTS URL [blocking]
#include "../measure.hpp"
#include "postgres_bank.hpp"

#include <strata/pipeline.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <vector>

using namespace strata::literals;

struct row {
    std::int32_t id = 0;
    std::string text;
};
BOOST_HANA_ADAPT_STRUCT(row, id, text);

int main(int argc, char** argv) {
    constexpr int depth = 100;
    constexpr auto find = "select :id::int4 as id, 'a text of some length'::text as text"_sql;
    const long flights = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{
        strata::postgres_options{.connection = bench::text(argc, argv, 2)}, strata::pool_options{.min_size = 1, .max_size = 1},
        // callgrind takes fifty times as long as the machine
        strata::total_timeout_options{.limit = std::chrono::hours{1}}, strata::attempt_timeout_options{.limit = std::chrono::hours{1}}};
    static_cast<void>(db.one<row>(find(0)));  // prepared, as the base's is
    bench::checksum sum;
    const auto add = [&](const row& r) {
        sum.add(r.id);
        sum.add(r.text);
    };
    if (argc > 3) {
        bench::repeat(flights, sum, [&](long i) {
            for (int k = 0; k < depth; ++k) add(db.one<row>(find(static_cast<std::int32_t>(i + k))));
        });
    } else {
        std::vector<std::int32_t> ids(depth);
        bench::repeat(flights, sum, [&](long i) {
            for (int k = 0; k < depth; ++k) ids[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(i + k);
            const auto [rows] = db.pipeline(strata::one_each<row>(find, ids));
            for (const row& r : rows) add(r);
        });
    }
}
