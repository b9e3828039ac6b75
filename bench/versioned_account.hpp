// The table whose one row the lines of optimistic locking update. Nothing of strata.
#ifndef BENCH_VERSIONED_ACCOUNT_HPP
#define BENCH_VERSIONED_ACCOUNT_HPP

namespace bench {

inline constexpr const char* drop_versioned = "drop table if exists versioned_account";
inline constexpr const char* create_versioned =
    "create table versioned_account (id bigint primary key, owner text not null, balance bigint not null, version bigint not null)";
inline constexpr const char* insert_versioned = "insert into versioned_account values (7, 'Ada Lovelace', 100, 1)";

}  // namespace bench

#endif
