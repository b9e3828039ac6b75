// Rows and a stack for the negative tests of optimistic locking.
#ifndef STRATA_TEST_COMPILE_FAIL_OPTIMISTIC_HPP
#define STRATA_TEST_COMPILE_FAIL_OPTIMISTIC_HPP

#include <strata/driver/sqlite.hpp>
#include <strata/optimistic_locking.hpp>
#include <strata/strata.hpp>

#include <boost/hana/adapt_struct.hpp>

struct row {
    std::int64_t id;
    std::string name;
    std::int64_t version;
};
BOOST_HANA_ADAPT_STRUCT(row, id, name, version);

using store = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;

#ifndef NO_MAPPING
template <>
struct strata::mapping<row> {
    static constexpr std::string_view table = "row";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
};
#endif

#endif
