// Decimals against 128-bit integers.
#include <value/fakes.hpp>

#include <strata/value/decimal.hpp>

using namespace strata_test;
using strata::decimal;
using strata::errc;

namespace {

__extension__ using wide = __int128;

/// `units` at a scale, as text, by another way than the code under test.
std::string printed(wide units, int scale) {
    const bool negative = units < 0;
    std::string digits;
    for (wide rest = negative ? -units : units; rest != 0; rest /= 10) {
        digits.insert(digits.begin(), static_cast<char>('0' + static_cast<int>(rest % 10)));
    }
    while (static_cast<int>(digits.size()) <= scale) digits.insert(digits.begin(), '0');
    if (scale != 0) digits.insert(digits.size() - static_cast<std::size_t>(scale), ".");
    return (negative ? "-" : "") + digits;
}

wide power(int n) { return n == 0 ? 1 : 10 * power(n - 1); }

errc parse_code(std::string_view text) {
    decimal d;
    return decimal::parse(text, d);
}

const std::string nines(38, '9');

}  // namespace

TEST_CASE("a decimal prints as it was written", "[decimal]") {
    for (const char* s : {"0", "1", "-1", "0.5", "-0.50", "1.50", "100", "0.00", "123456789.987654321", "-0.001"}) {
        CHECK(decimal{s}.to_string() == s);
    }
    CHECK(decimal{"+1.5"}.to_string() == "1.5");
    CHECK(decimal{"007"}.to_string() == "7");
    CHECK(decimal{"-0"}.to_string() == "0");
    CHECK(decimal{"-0.00"}.to_string() == "0.00");
    CHECK(decimal{nines}.to_string() == nines);
    CHECK(decimal{"-0." + nines}.to_string() == "-0." + nines);
    CHECK(decimal{"000000000000000000000000000000000000000000001.5"}.to_string() == "1.5");
    CHECK(decimal{"1.50"}.scale() == 2);
    CHECK(decimal{"-1"}.sign() == -1);
    CHECK(decimal{"-0"}.sign() == 0);
    CHECK(decimal{}.to_string() == "0");
    CHECK(decimal{std::numeric_limits<std::int64_t>::min()}.to_string() == "-9223372036854775808");
    CHECK(decimal{std::numeric_limits<std::uint64_t>::max()}.to_string() == "18446744073709551615");
}

TEST_CASE("what is no decimal is refused", "[decimal]") {
    for (const char* s : {"", "-", "+", ".", ".5", "5.", "1e5", "1,5", " 1", "1 ", "--1", "1.2.3", "NaN", "0x10", "1_000", "-.5"}) {
        INFO(s);
        CHECK(parse_code(s) == errc::type_mismatch);
    }
    CHECK(parse_code("1" + std::string(38, '0')) == errc::out_of_range);
    CHECK(parse_code("1." + nines) == errc::out_of_range);
    CHECK(parse_code("0." + std::string(38, '0') + "1") == errc::out_of_range);
    CHECK(parse_code(std::string(200, '9')) == errc::out_of_range);
    CHECK(parse_code(std::string(200, '9') + "x") == errc::type_mismatch);
    CHECK_THROWS_AS(decimal{"x"}, strata::failure);
    // zeros that do not fit are dropped, for they say nothing
    CHECK(decimal{"1." + std::string(60, '0')} == decimal{1});
    CHECK(decimal{"0." + std::string(60, '0')} == decimal{0});
    CHECK(decimal{"0.1" + std::string(60, '0')} == decimal{"0.1"});
    CHECK(decimal{nines + ".000"} == decimal{nines});
}

TEST_CASE("decimals agree with 128-bit integers", "[decimal]") {
    numbers random;
    bool right = true;
    for (int i = 0; i < 20000; ++i) {
        const int sa = static_cast<int>(random.between(0, 12));
        const int sb = static_cast<int>(random.between(0, 12));
        const wide a = random.between(-1'000'000'000'000'000, 1'000'000'000'000'000) >> random.between(0, 50);
        const wide b = random.between(-1'000'000'000'000'000, 1'000'000'000'000'000) >> random.between(0, 50);
        const decimal x{printed(a, sa)};
        const decimal y{printed(b, sb)};
        const int s = sa > sb ? sa : sb;
        const wide wa = a * power(s - sa);
        const wide wb = b * power(s - sb);
        right = right && x.to_string() == printed(a, sa);
        right = right && (x + y).to_string() == printed(wa + wb, s);
        right = right && (x - y).to_string() == printed(wa - wb, s);
        right = right && (x * y).to_string() == printed(a * b, sa + sb);
        right = right && (x == y) == (wa == wb) && (x < y) == (wa < wb) && (x > y) == (wa > wb) && (-x < -y) == (wa > wb);
        right = right && round_trip(x);
    }
    CHECK(right);
}

TEST_CASE("decimals compare by value at the limits", "[decimal]") {
    CHECK(decimal{"1.5"} == decimal{"1.500"});
    CHECK(decimal{"0." + nines} < decimal{1});
    CHECK(decimal{nines} > decimal{"0." + nines});
    CHECK(decimal{"-" + nines} < decimal{"-0." + nines});
    CHECK(decimal{"0.00000000000000000000000000000000000001"} > decimal{0});
    CHECK(decimal{"99999999999999999999999999999999999999"} > decimal{"99999999999999999999999999999999999998"});
    CHECK(decimal{"10"} == 10);
    CHECK(decimal{"10.01"} > 10);
}

TEST_CASE("a result is exact or an error", "[decimal]") {
    const decimal most{nines};
    decimal out{5};
    CHECK(decimal::add(most, decimal{1}, out) == errc::out_of_range);
    CHECK(out == 5);
    CHECK(decimal::subtract(most, most, out) == errc::ok);
    CHECK(out == 0);
    CHECK(decimal::add(most, decimal{"0.1"}, out) == errc::out_of_range);
    CHECK(decimal::add(most, decimal{"0.0"}, out) == errc::ok);  // only the zero stood in the way
    CHECK(out == most);
    CHECK(decimal::add(decimal{std::string(37, '9') + ".5"}, decimal{"0.5"}, out) == errc::ok);
    CHECK(out == decimal{"1" + std::string(37, '0')});
    CHECK(decimal::add(decimal{std::string(37, '9') + ".5"}, decimal{std::string(37, '9') + ".6"}, out) == errc::out_of_range);
    CHECK(decimal::add(decimal{"-" + nines}, decimal{-1}, out) == errc::out_of_range);
    // alignment passes 38 digits, the result does not
    CHECK(decimal::add(decimal{"12" + std::string(36, '0')}, -decimal{"3" + std::string(36, '0') + ".0"}, out) == errc::ok);
    CHECK(out == decimal{"9" + std::string(36, '0')});

    CHECK(decimal::multiply(most, decimal{2}, out) == errc::out_of_range);
    CHECK(decimal::multiply(most, most, out) == errc::out_of_range);
    CHECK(decimal::multiply(most, decimal{"1.00"}, out) == errc::ok);
    CHECK(out == most);
    CHECK(decimal::multiply(decimal{"1" + std::string(19, '0')}, decimal{"1" + std::string(19, '0')}, out) == errc::out_of_range);
    CHECK(decimal::multiply(most, decimal{0}, out) == errc::ok);
    CHECK(out == 0);
    CHECK(decimal::multiply(decimal{"0." + std::string(37, '0') + "1"}, decimal{"0.00"}, out) == errc::ok);
    CHECK(out == 0);
    CHECK(decimal::multiply(decimal{"0." + std::string(37, '0') + "1"}, decimal{"0.1"}, out) == errc::out_of_range);
    CHECK(decimal::multiply(decimal{"0." + std::string(37, '0') + "5"}, decimal{2}, out) == errc::ok);
    CHECK(out.to_string() == "0." + std::string(36, '0') + "10");
    // 2^60 at scale 20 times 5^49: no factor ends with a zero, the product with many
    const decimal twos = decimal{std::int64_t{1} << 60} * decimal{"0.00000000000000000001"};  // at scale 20
    CHECK(decimal::multiply(twos, decimal{"59604644775390625"} * decimal{"298023223876953125"}, out) == errc::ok);
    CHECK(out == decimal{"2048" + std::string(29, '0')});
    CHECK(decimal::multiply(decimal{"-1.5"}, decimal{"2"}, out) == errc::ok);
    CHECK(out.to_string() == "-3.0");
    CHECK((decimal{"-1"} * decimal{"0"}).sign() == 0);

    try {
        static_cast<void>(most + decimal{1});
        FAIL("must throw");
    } catch (const strata::failure& f) {
        CHECK(f.code() == errc::out_of_range);
    }
    decimal sum;
    for (int i = 0; i < 10; ++i) sum += decimal{"0.1"};
    CHECK(sum == 1);  // which no double does
    sum -= 1;
    sum *= 2;
    CHECK(sum == 0);
    static_assert(decimal{3} + decimal{4} == decimal{7});
    static_assert(!std::is_constructible_v<decimal, double> && !std::is_constructible_v<decimal, float>);
}

TEST_CASE("decimals are read from texts and integers, never from reals", "[decimal]") {
    CHECK(read<decimal>(text("-12.50")).value == decimal{"-12.5"});
    CHECK(read<decimal>(integer(-12)).value == decimal{-12});
    CHECK(read_code<decimal>(real(0.5)) == errc::type_mismatch);
    CHECK(read_code<decimal>(text("1e5")) == errc::type_mismatch);
    CHECK(read_code<decimal>(text(std::string(39, '9'))) == errc::out_of_range);
    CHECK(read_code<decimal>(null_value()) == errc::null_value);
    CHECK(write(decimal{"-12.50"}).bytes == "-12.50");
    CHECK(write(decimal{"-12.50"}).copied);
    CHECK_THAT(std::string{strata::codec<decimal>::hint}, contains_text("a real has lost digits"));
}
