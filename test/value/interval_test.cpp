// Intervals as text: what is printed reads back, and nothing that is no interval is taken for one.
#include <strata/value/interval.hpp>

#include <support/catch.hpp>

#include <limits>
#include <random>

using strata::errc;
using strata::interval;

namespace {

errc read(std::string_view text, interval& out) {
    return interval::parse(text, out);
}

}  // namespace

TEST_CASE("intervals are read from ISO 8601 with designators", "[value][interval]") {
    const auto is = [](std::string_view text, interval wanted) {
        interval found;
        INFO(text);
        CHECK(read(text, found) == errc::ok);
        CHECK(found == wanted);
    };
    is("PT0S", {});
    is("P1Y2M3W4DT5H6M7.5S", {14, 25, 18'367'500'000});
    is("P-1Y2M-3DT-4H", {-10, -3, -14'400'000'000});
    is("PT-0.000001S", {0, 0, -1});
    is("P2147483647M", {std::numeric_limits<std::int32_t>::max(), 0, 0});
    is("PT+1M", {0, 0, 60'000'000});
    for (const char* bad : {"",      "P",     "PT",           "1D",    "P1",   "P1X",  "P1DT", "P1H",    "PT1D",  "PT1S1H", "P1D1Y",
                            "P1.5D", "PT1.S", "PT1.1234567S", "P--1D", "P1D ", " P1D", "p1d",  "PT1S1S", "P1M1M", "PTT1S",  "P T1S"}) {
        interval found{1, 2, 3};
        INFO(bad);
        CHECK(read(bad, found) == errc::type_mismatch);
        CHECK(found == interval{1, 2, 3});
    }
    for (const char* great :
         {"P2147483648M", "P178956971Y", "P306783379W", "PT9223372036855S", "P99999999999999999999D", "PT2562047789H"}) {
        interval found;
        INFO(great);
        CHECK(read(great, found) == errc::out_of_range);
    }
}

TEST_CASE("every interval that is printed reads back", "[value][interval]") {
    std::mt19937_64 random{20261121};
    for (int i = 0; i < strata_test::count(20000, 1000000); ++i) {
        const interval wanted{static_cast<std::int32_t>(random() >> (32 + random() % 32)),
                              static_cast<std::int32_t>(random() >> (32 + random() % 32)),
                              static_cast<std::int64_t>(random()) >> (random() % 64)};
        interval found;
        REQUIRE(read(wanted.to_string(), found) == errc::ok);
        REQUIRE(found == wanted);
    }
    constexpr auto low = std::numeric_limits<std::int64_t>::min();
    interval found;
    CHECK(read(interval{std::numeric_limits<std::int32_t>::min(), 0, low}.to_string(), found) == errc::ok);
    CHECK(found.microseconds == low);
}
