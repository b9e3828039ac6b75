// Beside postgres.copy_in: the same rows by libpqxx's stream, which is text.
//   raw_postgres_pqxx_copy_in PASSES URL ROWS
#include "../measure.hpp"

#include <pqxx/pqxx>

#include <string>
#include <tuple>
#include <vector>

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    pqxx::connection db{bench::text(argc, argv, 2)};
    std::vector<std::tuple<std::int32_t, std::int64_t, std::string, double>> rows(static_cast<std::size_t>(bench::number(argc, argv, 3)));
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i] = {static_cast<std::int32_t>(i), static_cast<std::int64_t>(i) * 7919, "text number " + std::to_string(i),
                   static_cast<double>(i) / 8};
    pqxx::nontransaction plain{db};
    plain.exec("set client_min_messages = warning");
    plain.exec("drop table if exists bench_rows");
    plain.exec("create unlogged table bench_rows (id int4, amount int8, text text, weight float8)");
    plain.commit();
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        pqxx::work tx{db};
        tx.exec("truncate bench_rows");
#if PQXX_VERSION_MAJOR < 7
        pqxx::stream_to stream{tx, "bench_rows", std::vector<std::string>{"id", "amount", "text", "weight"}};
#else
        auto stream = pqxx::stream_to::table(tx, {"bench_rows"}, {"id", "amount", "text", "weight"});
#endif
        for (const auto& row : rows) stream << row;
        stream.complete();
        tx.commit();
        sum.add(static_cast<std::int64_t>(rows.size()));
    });
}
