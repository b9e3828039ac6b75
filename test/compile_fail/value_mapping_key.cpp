// expect: strata: mapping<T>::key names a column that no member of T has
// needs: hana
#include <strata/value/row_decoder.hpp>

#include <boost/hana/adapt_struct.hpp>

struct account {
    int id = 0;
    int version = 0;
};
BOOST_HANA_ADAPT_STRUCT(account, id, version);

template <>
struct strata::mapping<account> {
#ifdef STRATA_CONTROL
    static constexpr std::string_view key = "id";
#else
    static constexpr std::string_view key = "account_id";
#endif
    static constexpr std::string_view version = "version";
};

auto tag = strata::row_decoder<account>::tag();
