// overhead.sqlite.scan: the scan of bench/raw/scan.cpp through the bank's stack.
//   ours_scan PASSES FILE ROWS
#include "bank.hpp"

using namespace strata::literals;

int main(int argc, char** argv) {
    const long passes = bench::number(argc, argv, 1);
    strata::database<bench::bank> db{strata::sqlite_options{.path = bench::text(argc, argv, 2)},
                                     strata::pool_options{.min_size = 2, .max_size = 2},
                                     // callgrind takes fifty times as long as the machine
                                     strata::total_timeout_options{.limit = std::chrono::hours{1}},
                                     strata::attempt_timeout_options{.limit = std::chrono::hours{1}}};
    const std::int64_t rows = bench::number(argc, argv, 3);
    constexpr auto scan = "select id, owner, balance, version from account where id <= :last"_sql;
    bench::checksum sum;
    bench::repeat(passes, sum, [&](long) {
        for (const account& a : db.all<account>(scan("last"_arg = rows))) bench::add(sum, a);
    });
}
