// locking.transaction: the transaction of bench/raw/postgres_transaction.cpp as a closure through the bank's stack.
//   ours_postgres_transaction CALLS URL [resolve]     resolve: with resolve_commit
#include "../measure.hpp"
#include "postgres_bank.hpp"

using namespace strata::literals;

int main(int argc, char** argv) {
    const long calls = bench::number(argc, argv, 1);
    strata::database<bench::postgres_bank> db{strata::postgres_options{.connection = bench::text(argc, argv, 2)},
                                              strata::pool_options{.min_size = 1, .max_size = 1}};
    db.execute("create temporary table account (id bigint primary key, balance bigint not null)"_sql);  // of the one connection
    db.execute("insert into account select i, 0 from generate_series(0, 99) i"_sql);
    constexpr auto add = "update account set balance = balance + :amount::int8 where id = :id::int8"_sql;
    const strata::transaction_options<strata::postgres> options{.resolve_commit = argc > 3};
    bench::checksum sum;
    const auto transfer = [&](long i) {
        db.transaction([&](auto& tx) { sum.add(tx.execute(add("amount"_arg = i, "id"_arg = i % 100)).affected); }, options);
    };
    for (long i = 0; i < 100; ++i) transfer(i);
    bench::repeat(calls, sum, transfer);
}
