// The row that the SQLite and pipelined lines read, and the order in which they ask for keys. Nothing of strata.
#ifndef BENCH_ACCOUNT_HPP
#define BENCH_ACCOUNT_HPP

#include "measure.hpp"

#include <cstdint>
#include <string>

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
    std::int64_t version = 0;
};

namespace bench {

inline constexpr const char* select_text = "select id, owner, balance, version from account where id = ?1";
inline constexpr const char* scan_text = "select id, owner, balance, version from account where id <= ?1";

/// The i-th key asked for: all of them, in an order without locality.
inline std::int64_t key(long i) noexcept { return i * 7919 % 100'000 + 1; }

inline void add(checksum& sum, const account& a) noexcept {
    sum.add(a.id);
    sum.add(a.owner);
    sum.add(a.balance);
    sum.add(a.version);
}

/// For rows that come in an order of their own. Without the balance, which others change.
inline void add_in_any_order(checksum& sum, const account& a) noexcept {
    checksum one;
    one.add(a.id);
    one.add(a.owner);
    one.add(a.version);
    sum.sum += one.sum;
}

}  // namespace bench

#endif
