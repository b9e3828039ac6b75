// Arrays, records, ranges and hstores in PostgreSQL's binary form: bytes that a server would not send are no value, and what is read
// never holds more than its bytes can.
#include "fuzz.hpp"

#include <strata/driver/postgres/reader.hpp>
#include <strata/driver/postgres/writer.hpp>
#include <strata/value/array.hpp>
#include <strata/value/composite.hpp>
#include <strata/value/decimal.hpp>
#include <strata/value/hstore.hpp>
#include <strata/value/range.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <string>
#include <vector>

namespace {

struct inner {
    std::optional<std::int32_t> number;
    std::optional<std::string> text;
};
struct outer {
    std::optional<inner> one;
    std::optional<std::vector<std::optional<inner>>> more;
};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(inner, number, text);
BOOST_HANA_ADAPT_STRUCT(outer, one, more);
template <>
struct strata::codec<inner> : strata::composite_codec<inner> {};
template <>
struct strata::codec<outer> : strata::composite_codec<outer> {};

namespace {

// numbers that fuzzed bytes hit easily: those of the database's own types begin at 10000, which is 0x2710
constexpr ::Oid inner_type = 0x2711, inner_array = 0x2712, outer_type = 0x2713, domain_type = 0x2714, endless_type = 0x2715,
                hstore_type = 0x2716, enum_type = 0x2717;

strata::detail::reading_memory& memory() {
    static strata::detail::reading_memory m = [] {
        using strata::detail::type_kind;
        strata::detail::reading_memory made;
        made.types.put(inner_type) = {{type_kind::record, 0}, "inner", {"number", "text"}, {strata::oid::int4, strata::oid::text}};
        made.types.put(inner_array) = {{type_kind::array, inner_type}, "inner[]", {}, {}};
        made.types.put(outer_type) = {{type_kind::record, 0}, "outer", {"more", "one"}, {inner_array, inner_type}};
        made.types.put(domain_type) = {{type_kind::domain, strata::oid::int4}, "domain", {}, {}};
        made.types.put(endless_type) = {{type_kind::domain, endless_type}, "endless", {}, {}};
        made.types.put(hstore_type) = {{type_kind::hstore, 0}, "hstore", {}, {}};
        made.types.put(enum_type) = {{type_kind::enumeration, 0}, "enum", {}, {}};
        return made;
    }();
    return m;
}

template <class T>
[[nodiscard]] bool read(::Oid type, std::span<const std::byte> bytes, T& out) {
    const strata::postgres_column column{type, bytes, 0, memory()};
    return strata::codec<T>::read(column, out) == strata::errc::ok;
}

/// What was read may be written: in binary for plain elements, and then by the same bytes but for the flag of NULLs.
template <class T>
void write(::Oid type, const T& value) {
    strata::postgres_writer writer;
    const ::Oid types[] = {type};
    writer.reset(types, true, memory().types);
    const strata::errc e = strata::codec<T>::write(writer, value);
    strata_fuzz::require(e != strata::errc::ok || writer.written() == 1);
    writer.finish();
    if (e == strata::errc::ok && writer.refused() == strata::errc::ok && writer.formats()[0] == 1) {
        T again;
        const auto* const bytes = reinterpret_cast<const std::byte*>(writer.values()[0]);
        strata_fuzz::require(read(type, {bytes, static_cast<std::size_t>(writer.lengths()[0])}, again) && again == value);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const strata_fuzz::input in{data, size};
    const std::span<const std::byte> bytes = in.bytes();
    switch (in.choice() % 8) {
        case 0: {
            std::vector<std::optional<std::int32_t>> v;
            if (read(1007, bytes, v)) {
                strata_fuzz::require(v.size() <= bytes.size() / 4);
                write(1007, v);
            }
            break;
        }
        case 1: {
            strata::array<std::optional<std::string>> v;
            if (read(1009, bytes, v)) {
                strata_fuzz::require(v.dimensions.size() <= 6 && v.elements.size() <= bytes.size() / 4);
                // an empty array may come with a dimension of no elements; we send none
                if (!v.elements.empty()) write(1009, v);
            }
            break;
        }
        case 2: {
            std::vector<strata::decimal> v;
            static_cast<void>(read(1231, bytes, v));
            break;
        }
        case 3: {
            strata::range<std::int32_t> v;
            if (read(strata::oid::int4range, bytes, v)) write(strata::oid::int4range, v);
            break;
        }
        case 4: {
            strata::multirange<strata::decimal> v;
            if (read(strata::oid::nummultirange, bytes, v)) strata_fuzz::require(v.ranges.size() <= bytes.size() / 4);
            break;
        }
        case 5: {
            outer v;
            static_cast<void>(read(outer_type, bytes, v));
            break;
        }
        case 6: {
            strata::hstore v;
            if (read(hstore_type, bytes, v)) strata_fuzz::require(v.size() <= bytes.size() / 8);
            break;
        }
        default: {
            inner v;
            static_cast<void>(read(strata::oid::record, bytes, v));
            break;
        }
    }
    return 0;
}
