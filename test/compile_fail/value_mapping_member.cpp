// expect: strata: mapping<T>::columns renames a member that T does not have, or has not adapted
// needs: hana
#include <strata/value/row_decoder.hpp>

#include <boost/hana/adapt_struct.hpp>

struct account {
    int id = 0;
    std::string owner;
};
BOOST_HANA_ADAPT_STRUCT(account, id, owner);

template <>
struct strata::mapping<account> {
#ifdef STRATA_CONTROL
    static constexpr strata::renamed columns[] = {{.member = "owner", .column = "owner_name"}};
#else
    static constexpr strata::renamed columns[] = {{.member = "ower", .column = "owner_name"}};
#endif
};

auto tag = strata::row_decoder<account>::tag();
