// expect: strata: the statement has a parameter that no member of the struct is named after
// expect: boss
// needs: hana
// A parameter that no member is named after is refused, and the compiler names it.
#include <strata/value/bind_members.hpp>

#include <boost/hana/adapt_struct.hpp>

using namespace strata::literals;

struct account {
    int id = 0;
    std::string owner;
};
BOOST_HANA_ADAPT_STRUCT(account, id, owner);

#ifdef STRATA_CONTROL
constexpr auto insert = "insert into account values (:id, :owner)"_sql;
#else
constexpr auto insert = "insert into account values (:id, :boss)"_sql;
#endif

auto bind(const account& a) { return strata::bind_members(insert, a); }
