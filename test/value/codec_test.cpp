// Codecs: what goes out comes back, and what does not fit is an error.
#include <value/fakes.hpp>

#include <cstring>
#include <functional>
#include <limits>

using namespace strata_test;
using strata::column_type;
using strata::errc;

namespace {

struct celsius {
    double degrees = 0;
    bool operator==(const celsius&) const = default;
};

enum class colour : std::uint8_t { red = 1, green = 2 };
enum weekday { monday, tuesday };
enum class mood { calm, wild };

template <class T>
bool fits(std::int64_t v) {
    __extension__ using wide = __int128;
    return wide{v} >= wide{std::numeric_limits<T>::min()} && wide{v} <= wide{std::numeric_limits<T>::max()};
}

template <class T>
void check_integer() {
    INFO(strata::codec<T>::name);
    numbers random;
    bool right = true;
    for (int i = 0; i < 20000; ++i) {
        const std::int64_t v = random.integer();
        const read_result<T> r = read<T>(integer(v));
        if (fits<T>(v)) right = right && r.code == errc::ok && static_cast<std::int64_t>(r.value) == v;
        else right = right && r.code == errc::out_of_range && r.value == T{};
    }
    CHECK(right);
    for (const T v : {std::numeric_limits<T>::min(), T{0}, T{1}, static_cast<T>(std::numeric_limits<T>::max() / 2)}) CHECK(round_trip(v));
    if (sizeof(T) < 8 || std::numeric_limits<T>::is_signed) CHECK(round_trip(std::numeric_limits<T>::max()));
    CHECK(read_code<T>(null_value()) == errc::null_value);
    for (const fake_value& v : {real(1.0), text("1"), blob("1"), boolean(true), other()}) CHECK(read_code<T>(v) == errc::type_mismatch);
    if constexpr (sizeof(T) < 8) {
        CHECK(read_code<T>(integer(std::int64_t{std::numeric_limits<T>::max()} + 1)) == errc::out_of_range);
        CHECK(read_code<T>(integer(std::int64_t{std::numeric_limits<T>::min()} - 1)) == errc::out_of_range);
    }
}

}  // namespace

// What a user writes for a type of theirs.
template <>
struct strata::codec<celsius> {
    static constexpr std::string_view name = "celsius";
    static constexpr std::string_view hint = "a temperature is a number";

    template <column_reader R>
    static errc read(const R& in, celsius& out) {
        const errc e = codec<double>::read(in, out.degrees);
        return e == errc::ok && out.degrees < -273.15 ? errc::out_of_range : e;
    }
    template <parameter_writer W>
    static errc write(W& out, const celsius& value) {
        return codec<double>::write(out, value.degrees);
    }
};

template <>
struct strata::codec<mood> {
    static constexpr std::string_view name = "mood";

    template <column_reader R>
    static errc read(const R& in, mood& out) {
        std::string_view text;
        if (const errc e = codec<std::string_view>::read(in, text); e != errc::ok) return e;
        if (text != "calm" && text != "wild") return errc::out_of_range;
        out = text == "calm" ? mood::calm : mood::wild;
        return errc::ok;
    }
    template <parameter_writer W>
    static errc write(W& out, mood value) {
        return codec<std::string_view>::write(out, value == mood::calm ? "calm" : "wild");
    }
};

TEST_CASE("integers of every width are exact", "[codec]") {
    check_integer<char>();
    check_integer<signed char>();
    check_integer<unsigned char>();
    check_integer<short>();
    check_integer<unsigned short>();
    check_integer<int>();
    check_integer<unsigned>();
    check_integer<long>();
    check_integer<unsigned long>();
    check_integer<long long>();
    check_integer<unsigned long long>();
    CHECK(strata::codec<std::uint16_t>::name == "uint16");
    CHECK(strata::codec<long long>::name == "int64");
}

TEST_CASE("an unsigned number above the greatest signed one is refused, not wrapped", "[codec]") {
    CHECK(write_code(std::uint64_t{1} << 63) == errc::out_of_range);
    CHECK(write_code(std::numeric_limits<std::uint64_t>::max()) == errc::out_of_range);
    CHECK(write(static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())).number == std::numeric_limits<std::int64_t>::max());
    CHECK(read_code<std::uint64_t>(integer(-1)) == errc::out_of_range);
    CHECK(read_code<std::uint64_t>(integer(std::numeric_limits<std::int64_t>::min())) == errc::out_of_range);
}

TEST_CASE("booleans are booleans, or 0 and 1", "[codec]") {
    CHECK(round_trip(true));
    CHECK(round_trip(false));
    CHECK(write(true).kind == column_type::boolean);
    CHECK(read<bool>(integer(1)).value);
    CHECK_FALSE(read<bool>(integer(0)).value);
    CHECK(read_code<bool>(integer(0)) == errc::ok);
    CHECK(read_code<bool>(integer(2)) == errc::out_of_range);
    CHECK(read_code<bool>(integer(-1)) == errc::out_of_range);
    CHECK(read_code<bool>(text("t")) == errc::type_mismatch);
    CHECK(read_code<bool>(null_value()) == errc::null_value);
}

TEST_CASE("doubles are exact, and integers are taken for them where nothing is lost", "[codec]") {
    numbers random;
    bool right = true;
    for (int i = 0; i < 20000; ++i) {
        const std::uint64_t bits = random.engine();
        double v = 0;
        std::memcpy(&v, &bits, sizeof(v));
        const read_result<double> back = read<double>(write(v));
        right = right && back.code == errc::ok && std::memcmp(&back.value, &v, sizeof(v)) == 0;

        const std::int64_t n = random.integer();
        const read_result<double> from = read<double>(integer(n));
        __extension__ using wide = __int128;
        const bool exact = static_cast<wide>(static_cast<double>(n)) == wide{n};
        right = right && (exact ? from.code == errc::ok && static_cast<wide>(from.value) == wide{n} : from.code == errc::out_of_range);
    }
    CHECK(right);
    CHECK(read_code<double>(integer(std::numeric_limits<std::int64_t>::max())) == errc::out_of_range);
    CHECK(read_code<double>(integer(std::numeric_limits<std::int64_t>::min())) == errc::ok);
    CHECK(read_code<double>(integer((std::int64_t{1} << 53) + 1)) == errc::out_of_range);
    CHECK(read_code<double>(text("1.5")) == errc::type_mismatch);
    CHECK(read_code<double>(null_value()) == errc::null_value);
}

TEST_CASE("a float is the nearest one; what is greater than all is out of range", "[codec]") {
    constexpr float most = std::numeric_limits<float>::max();
    constexpr double infinite = std::numeric_limits<double>::infinity();
    for (const float v : {0.0F, -1.5F, most, -most, std::numeric_limits<float>::denorm_min(), static_cast<float>(infinite)}) {
        CHECK(round_trip(v));
    }
    CHECK(read<float>(real(0.1)).value == 0.1F);
    CHECK(read_code<float>(real(1e39)) == errc::out_of_range);
    CHECK(read_code<float>(real(-1e39)) == errc::out_of_range);
    CHECK(read_code<float>(real(std::nextafter(double{most}, infinite))) == errc::out_of_range);
    CHECK(read_code<float>(real(-infinite)) == errc::ok);
    CHECK(std::isnan(read<float>(real(std::nan(""))).value));
    CHECK(read_code<float>(text("1")) == errc::type_mismatch);
}

TEST_CASE("texts and blobs keep every byte", "[codec]") {
    const std::string odd{"a\0b\xff", 4};
    CHECK(round_trip(std::string{}));
    CHECK(round_trip(odd));
    CHECK(round_trip(strata::blob{}));
    CHECK(round_trip(strata::blob{std::byte{0}, std::byte{255}}));
    CHECK_FALSE(write(odd).copied);
    CHECK(read_code<std::string>(blob("x")) == errc::type_mismatch);
    CHECK(read_code<std::string>(integer(1)) == errc::type_mismatch);
    CHECK(read_code<std::string>(null_value()) == errc::null_value);
    CHECK(read_code<strata::blob>(text("x")) == errc::type_mismatch);
    CHECK(read_code<strata::blob>(null_value()) == errc::null_value);

    const strata::blob bytes{std::byte{1}, std::byte{2}};
    CHECK(write(std::span<const std::byte>{bytes}).bytes == "\x01\x02");
    strata::blob mutable_bytes = bytes;
    CHECK(write(std::span<std::byte>{mutable_bytes}).kind == column_type::blob);
}

TEST_CASE("views point into the row", "[codec]") {
    const fake_value t = text("hello");
    std::string_view view;
    REQUIRE(strata::codec<std::string_view>::read(t, view) == errc::ok);
    CHECK(view.data() == t.bytes.data());
    CHECK(strata::codec<std::string_view>::read(integer(1), view) == errc::type_mismatch);

    const fake_value b = blob("hello");
    std::span<const std::byte> bytes;
    REQUIRE(strata::codec<std::span<const std::byte>>::read(b, bytes) == errc::ok);
    CHECK(static_cast<const void*>(bytes.data()) == static_cast<const void*>(b.bytes.data()));
    CHECK(strata::codec<std::span<const std::byte>>::read(null_value(), bytes) == errc::null_value);
}

TEST_CASE("C strings are parameters", "[codec]") {
    CHECK(write<char[6]>("hello").bytes == "hello");
    const char full[2] = {'h', 'i'};
    CHECK(write(full).bytes == "hi");
    const char* const pointer = "hi";
    CHECK(write(pointer).bytes == "hi");
    CHECK(write_code(static_cast<const char*>(nullptr)) == errc::invalid_argument);
}

TEST_CASE("optional is NULL or a value", "[codec]") {
    CHECK(round_trip(std::optional<int>{}));
    CHECK(round_trip(std::optional<int>{7}));
    CHECK(round_trip(std::optional<std::string>{""}));
    CHECK(write(std::optional<int>{}).kind == column_type::null);
    CHECK(write(std::nullopt).kind == column_type::null);
    CHECK(strata::codec<std::optional<int>>::name == "int32");
    CHECK(read_code<std::optional<std::int8_t>>(integer(128)) == errc::out_of_range);
    CHECK(write_code(std::optional<std::uint64_t>{~std::uint64_t{0}}) == errc::out_of_range);
    std::optional<int> was = 5;  // reused, as by a stream of rows
    CHECK(strata::codec<std::optional<int>>::read(null_value(), was) == errc::ok);
    CHECK_FALSE(was.has_value());
    was = 5;
    CHECK(strata::codec<std::optional<int>>::read(text("x"), was) == errc::type_mismatch);
    CHECK_FALSE(was.has_value());
    static_assert(strata::codec<std::optional<std::string_view>>::view);
}

TEST_CASE("enumerations are integers unless their codec says otherwise", "[codec]") {
    CHECK(round_trip(colour::green));
    CHECK(write(colour::green).number == 2);
    CHECK(round_trip(tuesday));
    CHECK(read_code<colour>(integer(256)) == errc::out_of_range);
    CHECK(read_code<colour>(text("red")) == errc::type_mismatch);
    CHECK(strata::codec<colour>::name == "uint8");
    CHECK(strata::codec<mood>::name == "mood");
    CHECK(round_trip(mood::wild));
    CHECK(write(mood::wild).bytes == "wild");
    CHECK(read_code<mood>(text("tepid")) == errc::out_of_range);
}

TEST_CASE("a reference wrapper is what it refers to", "[codec]") {
    const std::string owner = "Ada";
    CHECK(write(std::cref(owner)).bytes == "Ada");
    int n = 7;
    CHECK(write(std::ref(n)).number == 7);
}

TEST_CASE("a user's codec works alone and inside optional", "[codec]") {
    CHECK(strata::codec<celsius>::name == "celsius");
    CHECK(round_trip(celsius{21.5}));
    CHECK(round_trip(std::optional<celsius>{celsius{21.5}}));
    CHECK(read_code<celsius>(real(-300)) == errc::out_of_range);
    CHECK(strata::codec<std::optional<celsius>>::hint == "a temperature is a number");
    struct unknown {};
    static_assert(strata::has_codec<celsius> && strata::has_codec<int> && !strata::has_codec<unknown>);
}

TEST_CASE("an integer is read into a float only where the float holds it", "[codec]") {
    CHECK(read_code<float>(integer(16'777'216)) == errc::ok);
    CHECK(read_code<float>(integer(16'777'217)) == errc::out_of_range);
}
