// postgres.roundtrip.blocking: the round trip of bench/raw/postgres_roundtrip.cpp through the bank's stack.
//   ours_postgres_roundtrip CALLS URL
#include "../measure.hpp"
#include "postgres_bank.hpp"

using namespace strata::literals;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{strata::postgres_options{.connection = bench::text(argc, argv, 2)},
                                              strata::pool_options{.min_size = 1, .max_size = 1}};
    constexpr auto echo = "select :n::int"_sql;
    bench::checksum sum;
    for (long i = 0; i < 100; ++i) sum.add(db.one<std::int32_t>(echo("n"_arg = static_cast<std::int32_t>(i))));
    bench::repeat(calls, sum, [&](long i) { sum.add(db.one<std::int32_t>(echo("n"_arg = static_cast<std::int32_t>(i)))); });
}
