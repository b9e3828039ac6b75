// Which statements are kept off shared connections: after how much, for how long, and how many.
#include <strata/core/kept_apart.hpp>

#include <support/catch.hpp>

using namespace std::chrono_literals;
using strata::duration;
using strata::time_point;
using strata::detail::apart_limits;
using strata::detail::kept_apart;

namespace {

constexpr apart_limits limits{.slow = 5ms, .bytes = 1000, .period = 10s};

/// A judgement may lie in the past; `contains` asks the clock.
struct apart {
    explicit apart(const apart_limits& l = limits) : table(l) {}
    bool slow(std::uint64_t key) { return judge(key, 6ms, 10); }
    bool quick(std::uint64_t key) { return judge(key, 5ms, 10); }
    bool much(std::uint64_t key) { return judge(key, 0ms, 1001); }
    bool judge(std::uint64_t key, duration waited, std::size_t bytes) {
        table.judge(key, waited, bytes, now);
        return table.contains(key);
    }
    kept_apart table;
    time_point now = strata::steady_now();
};

}  // namespace

TEST_CASE("one hiccup moves nothing; what is slow twice is kept apart", "[kept_apart]") {
    apart a;
    CHECK_FALSE(a.quick(7));
    CHECK(a.table.size() == 0);
    CHECK_FALSE(a.slow(7));
    CHECK(a.table.size() == 1);
    CHECK(a.slow(7));
    CHECK_FALSE(a.table.contains(8));
}

TEST_CASE("much moves at once, and exactly the bounds are neither slow nor much", "[kept_apart]") {
    apart a;
    CHECK_FALSE(a.judge(1, 5ms, 1000));
    CHECK(a.table.size() == 0);
    CHECK(a.much(1));
}

TEST_CASE("what is slow now and then is never kept apart", "[kept_apart]") {
    apart a;
    for (int round = 0; round < 100; ++round) {
        CHECK_FALSE(a.slow(3));
        for (int i = 0; i < 8; ++i) CHECK_FALSE(a.quick(3));
    }
    CHECK_FALSE(a.slow(3));
    for (int i = 0; i < 7; ++i) CHECK_FALSE(a.quick(3));  // one too few: a level stays
    CHECK_FALSE(a.slow(3));
    CHECK(a.slow(3));
}

TEST_CASE("a limit of zero judges nothing", "[kept_apart]") {
    apart a{{.slow = 0ms, .bytes = 0, .period = 10s}};
    for (int i = 0; i < 5; ++i) CHECK_FALSE(a.judge(1, 1h, 1'000'000'000));
    CHECK(a.table.size() == 0);
}

TEST_CASE("each time in a row it is kept apart twice as long, to 32 times", "[kept_apart]") {
    for (int times = 0; times < 8; ++times) {
        INFO(times << " times before");
        const int n = 1 << (times < 5 ? times : 5);
        for (const bool still : {false, true}) {
            apart a{{.slow = 5ms, .bytes = 1000, .period = 1s}};
            const time_point real = a.now;
            a.now = real - 300s;
            CHECK_FALSE(a.slow(5));
            for (int i = 0; i < times; ++i) {
                CHECK_FALSE(a.slow(5));
                a.now += 33s;
            }
            a.now = real - n * 1s + (still ? 500ms : -500ms);
            CHECK(a.slow(5) == still);
        }
    }
}

TEST_CASE("what shows itself quick again begins anew", "[kept_apart]") {
    apart a{{.slow = 5ms, .bytes = 1000, .period = 1s}};
    const time_point real = a.now;
    a.now = real - 300s;
    CHECK_FALSE(a.slow(5));
    for (int i = 0; i < 4; ++i) {
        CHECK_FALSE(a.slow(5));
        a.now += 33s;
    }
    SECTION("quick for long: one period, after two") {
        for (int i = 0; i < 8; ++i) CHECK_FALSE(a.quick(5));
        a.now = real - 2s;
        CHECK_FALSE(a.slow(5));
        CHECK_FALSE(a.slow(5));  // for a second: it is over
        a.now = real;
        CHECK(a.slow(5));
    }
    SECTION("quick for less: it goes on where it was") {
        for (int i = 0; i < 7; ++i) CHECK_FALSE(a.quick(5));
        a.now = real - 2s;
        CHECK_FALSE(a.slow(5));
        CHECK(a.slow(5));  // for 16 s
    }
}

TEST_CASE("the table is bounded, and what finds no place is not kept apart", "[kept_apart]") {
    apart a;
    std::size_t kept = 0;
    for (std::uint64_t key = 1; key <= 10'000; ++key) kept += a.much(key);
    CHECK(kept == 256);
    CHECK(a.table.size() == 256);
    // Keys that want the same place find it within eight.
    apart b;
    for (std::uint64_t n = 0; n < 8; ++n) CHECK(b.much(256 * n + 17));
    CHECK_FALSE(b.much(256 * 8 + 17));
    CHECK_FALSE(b.table.contains(256 * 8 + 17));
    CHECK(b.table.size() == 8);
    for (std::uint64_t n = 0; n < 8; ++n) CHECK(b.table.contains(256 * n + 17));
}

TEST_CASE("a neighbour in the table is not taken for another", "[kept_apart]") {
    apart a;
    CHECK(a.much(40));
    for (std::uint64_t n = 1; n < 9; ++n) CHECK_FALSE(a.table.contains(256 * n + 40));
    CHECK_FALSE(a.quick(296));  // 256 + 40: no entry is made for what is quick
    CHECK(a.table.size() == 1);
}
