// overhead.sqlite.select: the point select of bench/raw/select.cpp through the bank's stack.
//   ours_select CALLS FILE
#include "bank.hpp"

using namespace strata::literals;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    strata::database<bench::bank> db{strata::sqlite_options{.path = bench::text(argc, argv, 2)},
                                     strata::pool_options{.min_size = 2, .max_size = 2}};
    constexpr auto find = "select id, owner, balance, version from account where id = :id"_sql;
    bench::checksum sum;
    for (long i = 0; i < 1000; ++i) bench::add(sum, db.one<account>(find("id"_arg = bench::key(i))));
    bench::repeat(calls, sum, [&](long i) { bench::add(sum, db.one<account>(find("id"_arg = bench::key(i)))); });
}
