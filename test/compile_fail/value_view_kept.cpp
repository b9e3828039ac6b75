// expect: strata: this type keeps a view (std::string_view, std::span) into the row, which is gone when the call returns
// needs: hana
// Rows that are kept must own their texts.
#include <strata/value/sinks.hpp>

#include <boost/hana/adapt_struct.hpp>

#ifdef STRATA_CONTROL
using text = std::string;
#else
using text = std::string_view;
#endif

struct account {
    int id = 0;
    std::optional<text> owner;
};
BOOST_HANA_ADAPT_STRUCT(account, id, owner);

strata::all_sink<account> sink;
