// expect: strata: the enumerators have no names: use BOOST_DESCRIBE_ENUM, or give the codec a list `names`
#include <strata/value/any_row.hpp>
#include <strata/value/enum_name.hpp>

enum class mood { sad, ok };
template <>
struct strata::codec<mood> : strata::enum_codec<mood> {
#ifdef STRATA_CONTROL
    static constexpr strata::enum_name<mood> names[] = {{mood::sad, "sad"}, {mood::ok, "ok"}};
#endif
};
strata::errc read(const strata::any_column_reader& in, mood& out) { return strata::codec<mood>::read(in, out); }
