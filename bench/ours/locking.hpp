// What the lines of optimistic locking share: the row, its mapping, and the loop that updates it.
#ifndef BENCH_OURS_LOCKING_HPP
#define BENCH_OURS_LOCKING_HPP

#include "../account.hpp"
#include "../versioned_account.hpp"

#include <strata/optimistic_locking.hpp>
#include <strata/sql/statement.hpp>

#include <boost/hana/adapt_struct.hpp>

struct versioned_account : account {};
BOOST_HANA_ADAPT_STRUCT(versioned_account, id, owner, balance, version);

template <>
struct strata::mapping<versioned_account> {
    static constexpr std::string_view table = "versioned_account";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
};

namespace bench {

/// Updates the row `calls` times, a round trip each, and prints what it cost.
template <class Database>
void update_versioned(Database& db, long calls) {
    for (const char* const text : {drop_versioned, create_versioned, insert_versioned}) db.execute(strata::statement{text});
    strata::versioned<versioned_account> row = *db.template find_versioned<versioned_account>(7);
    checksum sum;
    const auto step = [&](long) {
        ++row->balance;
        const auto done = db.update_versioned(row);
        if (!done) give_up("a conflict");
        row.written(done.version);
        sum.add(done.version);
    };
    for (long i = 0; i < 100; ++i) step(i);
    repeat(calls, sum, step);
}

}  // namespace bench

#endif
