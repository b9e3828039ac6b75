// expect: column_reader
// A reader that lacks a getter is no column reader.
#include <strata/value/codec.hpp>

struct reader {
    strata::column_type type() const;
    bool boolean() const;
    std::int64_t integer() const;
    double real() const;
    std::string_view text() const;
#ifdef STRATA_CONTROL
    std::span<const std::byte> blob() const;
#endif
};

strata::errc read(const reader& in, int& out) { return strata::codec<int>::read(in, out); }
