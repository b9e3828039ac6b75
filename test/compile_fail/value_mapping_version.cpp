// expect: strata: mapping<T>::version names a column that no member of T has
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
    static constexpr std::array<std::string_view, 1> key = {"id"};
#ifdef STRATA_CONTROL
    static constexpr std::string_view version = "version";
#else
    static constexpr std::string_view version = "revision";
#endif
};

auto tag = strata::row_decoder<account>::tag();
