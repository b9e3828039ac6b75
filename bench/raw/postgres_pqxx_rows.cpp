// Beside postgres.rows: the same rows by libpqxx into a vector of structs.
//   raw_postgres_pqxx_rows PASSES URL ROWS
#include "../postgres_row.hpp"

#include <pqxx/pqxx>

#include <vector>

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    pqxx::connection db{bench::text(argc, argv, 2)};
    const long rows = bench::number(argc, argv, 3);
    db.prepare("rows", "select i, i::int8 * 3, 'row number ' || i, i / 4.0::float8 from generate_series(1, $1) i");
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        pqxx::work tx{db};
        std::vector<measurement> all;
        for (const auto& row : tx.exec_prepared("rows", rows))
            all.push_back({row[0].as<std::int32_t>(), row[1].as<std::int64_t>(), row[2].as<std::string>(), row[3].as<double>()});
        for (const measurement& m : all) bench::add(sum, m);
    });
}
