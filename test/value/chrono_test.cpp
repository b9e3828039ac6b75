// Times as texts, checked against the calendar of <chrono>.
#include <value/fakes.hpp>

#include <strata/value/chrono.hpp>

using namespace strata_test;
using namespace std::chrono;
using strata::errc;

namespace {

using micro_time = sys_time<microseconds>;
using nano_time = sys_time<nanoseconds>;

micro_time at(int y, unsigned m, unsigned d, microseconds of_day = {}) { return sys_days{year{y} / month{m} / day{d}} + of_day; }

/// Offers timestamps of its own.
struct native_value : fake_value {
    std::optional<micro_time> stamp;
    [[nodiscard]] std::optional<micro_time> timestamp() const { return stamp; }
};
struct native_writer : fake_writer {
    std::vector<micro_time> stamps;
    void timestamp(micro_time t) { stamps.push_back(t); }
};

}  // namespace

TEST_CASE("timestamps are text of one form", "[chrono]") {
    CHECK(write(at(2024, 2, 29, hours{23} + minutes{5} + seconds{9} + microseconds{1})).bytes == "2024-02-29 23:05:09.000001");
    CHECK(write(at(1, 1, 1)).bytes == "0001-01-01 00:00:00.000000");
    CHECK(write(sys_seconds{seconds{-1}}).bytes == "1969-12-31 23:59:59.000000");
    CHECK(write(sys_days{year{2000} / 1 / 1}).bytes == "2000-01-01 00:00:00.000000");
    CHECK(write(at(1970, 1, 1)).copied);
    CHECK(strata::codec<micro_time>::name == "timestamp");
}

TEST_CASE("timestamps come back, in the order of their texts", "[chrono]") {
    numbers random;
    const std::int64_t first = at(0, 1, 1).time_since_epoch().count();
    const std::int64_t newest = at(9999, 12, 31, hours{24} - microseconds{1}).time_since_epoch().count();
    micro_time before{microseconds{first}};
    bool right = round_trip(before) && round_trip(micro_time{microseconds{newest}});
    for (int i = 0; i < 20000; ++i) {
        const micro_time t{microseconds{random.between(first, newest)}};
        const std::string text = write(t).bytes;
        right = right && round_trip(t) && (text < write(before).bytes) == (t < before);
        before = t;
        // the parts, by the calendar of <chrono>
        const sys_days day = floor<days>(t);
        const year_month_day date{day};
        const hh_mm_ss time{t - day};
        char expected[64];
        std::snprintf(expected, sizeof(expected), "%04d-%02u-%02u %02d:%02d:%02d.%06d", static_cast<int>(date.year()),
                      static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                      static_cast<int>(time.minutes().count()), static_cast<int>(time.seconds().count()),
                      static_cast<int>(time.subseconds().count()));
        right = right && text == expected;
    }
    CHECK(right);
    CHECK(write_code(micro_time{microseconds{first - 1}}) == errc::out_of_range);
    CHECK(write_code(micro_time{microseconds{newest + 1}}) == errc::out_of_range);
    CHECK(write_code(micro_time::max()) == errc::out_of_range);
    CHECK(write_code(sys_days::min()) == errc::out_of_range);
}

TEST_CASE("all forms of one moment are read", "[chrono]") {
    const micro_time moment = at(2024, 2, 29, hours{12} + minutes{30} + seconds{5} + microseconds{250000});
    for (const char* form :
         {"2024-02-29 12:30:05.25", "2024-02-29T12:30:05.25", "2024-02-29T12:30:05.250000Z", "2024-02-29 12:30:05.250000000",
          "2024-02-29 12:30:05.25+00", "2024-02-29 14:30:05.25+02", "2024-02-29 14:00:05.25+01:30", "2024-02-28 23:30:05.25-13:00",
          "2024-03-01 02:30:05.25000000000000000000+14"}) {
        INFO(form);
        CHECK(read<micro_time>(text(form)).code == errc::ok);
        CHECK((read<micro_time>(text(form)).value == moment));
    }
    CHECK((read<micro_time>(text("2024-02-29")).value == at(2024, 2, 29)));
    CHECK((read<micro_time>(text("2024-02-29 12:30")).value == at(2024, 2, 29, hours{12} + minutes{30})));
}

TEST_CASE("what is no timestamp is refused", "[chrono]") {
    for (const char* form :
         {"", "now", "2024", "2024-02", "2024-02-30", "2023-02-29", "2024-13-01", "2024-00-10", "2024-01-00", "24-01-01", "2024-1-1",
          "2024-01-01 ", "2024-01-01 1:00", "2024-01-01 24:00", "2024-01-01 23:60", "2024-01-01 23:59:60", "2024-01-01 00:00:00.",
          "2024-01-01 00:00:00,5", "2024-01-01 00:00:00 ", "2024-01-01 00:00:00ZZ", "2024-01-01 00:00:00+", "2024-01-01 00:00:00+2",
          "2024-01-01 00:00:00+24", "2024-01-01 00:00:00+01:60", "2024-01-01x00:00", "-024-01-01", "2024-01-01 00:00:00.5x",
          "+2024-01-01", "2024/01/01", " 2024-01-01"}) {
        INFO(form);
        CHECK(read_code<micro_time>(text(form)) == errc::type_mismatch);
    }
    CHECK(read_code<micro_time>(null_value()) == errc::null_value);
    CHECK(read_code<micro_time>(integer(1700000000)) == errc::type_mismatch);
    CHECK(read_code<micro_time>(real(2460000.5)) == errc::type_mismatch);
}

TEST_CASE("no precision is lost in silence", "[chrono]") {
    CHECK(write_code(nano_time{nanoseconds{1}}) == errc::out_of_range);
    CHECK(write_code(nano_time{nanoseconds{-1}}) == errc::out_of_range);
    CHECK(round_trip(nano_time{nanoseconds{-5000}}));
    CHECK((read<nano_time>(text("1970-01-01 00:00:00.123456789")).value == nano_time{nanoseconds{123456789}}));
    CHECK(read_code<micro_time>(text("1970-01-01 00:00:00.1234567")) == errc::out_of_range);
    CHECK(read_code<nano_time>(text("1970-01-01 00:00:00.1234567891")) == errc::out_of_range);
    CHECK(read_code<sys_seconds>(text("1970-01-01 00:00:00.5")) == errc::out_of_range);
    CHECK(read_code<sys_days>(text("1970-01-01 00:00:01")) == errc::out_of_range);
    CHECK((read<sys_days>(text("1969-12-31 00:00:00")).value == sys_days{days{-1}}));
    // the type is too small for the year
    CHECK(read_code<nano_time>(text("9999-12-31 00:00:00")) == errc::out_of_range);
    CHECK(read_code<nano_time>(text("1677-09-21 00:12:43")) == errc::out_of_range);
    CHECK(read_code<nano_time>(text("1677-09-21 00:12:44")) == errc::ok);
    using small = sys_time<duration<std::int32_t>>;
    CHECK(read_code<small>(text("2038-01-19 03:14:07")) == errc::ok);
    CHECK(read_code<small>(text("2038-01-19 03:14:08")) == errc::out_of_range);
    // odd periods
    using thirds = sys_time<duration<std::int64_t, std::ratio<1, 3>>>;
    CHECK(write_code(thirds{thirds::duration{1}}) == errc::out_of_range);
    CHECK(round_trip(thirds{thirds::duration{-3}}));
    CHECK((read<thirds>(text("1970-01-01 00:00:01")).value == thirds{thirds::duration{3}}));
    using atto_time = sys_time<duration<std::int64_t, std::atto>>;
    CHECK(round_trip(atto_time{atto_time::duration{1'000'000'000'000}}));
    CHECK(write_code(atto_time{atto_time::duration{1}}) == errc::out_of_range);
    CHECK(read_code<atto_time>(text("9999-01-01")) == errc::out_of_range);
}

TEST_CASE("a driver's own timestamps are preferred", "[chrono]") {
    native_value v;
    v.stamp = at(1969, 12, 31, hours{1} + microseconds{7});
    micro_time t;
    CHECK(strata::codec<micro_time>::read(v, t) == errc::ok);
    CHECK((t == *v.stamp));
    sys_seconds s;
    CHECK(strata::codec<sys_seconds>::read(v, s) == errc::out_of_range);
    v.stamp = {};
    static_cast<fake_value&>(v) = text("1970-01-01");
    CHECK(strata::codec<micro_time>::read(v, t) == errc::ok);
    CHECK((t == micro_time{}));
    native_writer w;
    CHECK(strata::codec<sys_seconds>::write(w, sys_seconds{seconds{5}}) == errc::ok);
    CHECK(w.written.empty());
    CHECK((w.stamps == std::vector<micro_time>{micro_time{seconds{5}}}));
}

TEST_CASE("every date of the calendar comes back", "[chrono]") {
    bool right = true;
    for (sys_days d{year{0} / 1 / 1}; d <= sys_days{year{9999} / 12 / 31}; d += days{count(37, 1)}) {
        const year_month_day date{d};
        right = right && round_trip(date);
    }
    CHECK(right);
    CHECK(write(year{2024} / 2 / 29).bytes == "2024-02-29");
    CHECK(write(year{7} / 1 / 1).bytes == "0007-01-01");
    CHECK(write_code(year{2023} / 2 / 29) == errc::invalid_argument);
    CHECK(write_code(year{-1} / 1 / 1) == errc::out_of_range);
    CHECK(write_code(year{10000} / 1 / 1) == errc::out_of_range);
    CHECK(read_code<year_month_day>(text("2023-02-29")) == errc::type_mismatch);
    CHECK(read_code<year_month_day>(text("2024-02-29 00:00")) == errc::type_mismatch);
    CHECK(read_code<year_month_day>(null_value()) == errc::null_value);
    CHECK(read_code<year_month_day>(integer(20240229)) == errc::type_mismatch);
}

TEST_CASE("durations count their own periods", "[chrono]") {
    CHECK(write(milliseconds{1500}).number == 1500);
    CHECK(round_trip(nanoseconds::min()));
    CHECK(round_trip(hours{-3}));
    using short_days = duration<std::int16_t, days::period>;
    CHECK(read_code<short_days>(integer(40000)) == errc::out_of_range);
    using real_seconds = duration<double>;
    CHECK(round_trip(real_seconds{0.25}));
    CHECK(write(real_seconds{0.25}).kind == strata::column_type::real);
    CHECK(read_code<seconds>(text("5 s")) == errc::type_mismatch);
}
