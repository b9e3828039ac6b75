// A table for the negative tests of row locks, and a driver that claims to have them.
#ifndef STRATA_TEST_COMPILE_FAIL_ROW_LOCK_HPP
#define STRATA_TEST_COMPILE_FAIL_ROW_LOCK_HPP

#include "face.hpp"

#include <strata/row_lock.hpp>

#include <boost/hana/adapt_struct.hpp>

struct account {
    std::int64_t id = 0;
    std::string owner;
};
BOOST_HANA_ADAPT_STRUCT(account, id, owner);

struct locking_driver : strata::sqlite {
    static constexpr bool row_locks = true;
};
using locking_bank = strata::stack<strata::pool<>, locking_driver>;

#endif
