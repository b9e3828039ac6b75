// JSON columns. Boost.JSON is compiled into this file, so the program needs no library.
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wold-style-cast"
#endif
#include <boost/json/src.hpp>
#if defined(__GNUC__) || defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <value/fakes.hpp>

#include <strata/value/json.hpp>

using namespace strata_test;
using strata::errc;

TEST_CASE("JSON columns", "[json]") {
    const boost::json::value v = boost::json::parse(R"({"a":[1,-2,18446744073709551615,true,null,"x\u00e9"],"b":{}})");
    CHECK(round_trip(v));
    CHECK(round_trip(boost::json::value{}));
    CHECK(write(boost::json::value{}).bytes == "null");
    CHECK(write(v).copied);
    CHECK(read_code<boost::json::value>(text("{")) == errc::type_mismatch);
    CHECK(read_code<boost::json::value>(text("")) == errc::type_mismatch);
    CHECK(read_code<boost::json::value>(integer(1)) == errc::type_mismatch);
    CHECK(read_code<boost::json::value>(null_value()) == errc::null_value);
    CHECK(round_trip(std::optional<boost::json::value>{}));
    CHECK(round_trip(std::optional<boost::json::value>{v}));
}
