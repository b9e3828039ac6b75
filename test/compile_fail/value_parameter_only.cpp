// expect: strata: this type can be a parameter but not a column; read std::string for text
// A C string can be written, but a row cannot be read into one.
#include <strata/value/sinks.hpp>

#ifdef STRATA_CONTROL
using text = std::string;
#else
using text = const char*;
#endif

strata::flow take(strata::one_sink<text>& sink, const strata::any_row& row, const strata::row_plan& plan, strata::error& e) {
    return sink.row(row, plan, e);
}
