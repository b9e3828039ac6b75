// expect: strata: a row is read into a default-constructed object; give this type a default constructor
// needs: hana
#include <strata/value/sinks.hpp>

#include <boost/hana/adapt_struct.hpp>

struct account {
#ifdef STRATA_CONTROL
    account() = default;
#endif
    explicit account(int i) : id(i) {}
    int id = 0;
};
BOOST_HANA_ADAPT_STRUCT(account, id);

using sink = strata::maybe_one_sink<account>;
auto size = sizeof(sink);
