// expect: strata: this type is neither a column nor a parameter. Specialise strata::codec<T>
// A type that strata does not know is refused where it is read.
#include <strata/value/sinks.hpp>

struct point {
    int x = 0;
    int y = 0;
};
#ifdef STRATA_CONTROL
template <>
struct strata::codec<point> {
    static constexpr std::string_view name = "point";
    template <column_reader R>
    static errc read(const R& in, point& out) {
        return codec<int>::read(in, out.x);
    }
};
#endif

strata::flow take(strata::one_sink<point>& sink, const strata::any_row& row, const strata::row_plan& plan, strata::error& e) {
    return sink.row(row, plan, e);
}
