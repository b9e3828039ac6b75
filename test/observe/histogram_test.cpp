// The histogram: every number has one bucket, and what is read back is as near as promised.
#include <strata/observe/histogram.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using strata::duration;

TEMPLATE_TEST_CASE_SIG("the buckets tile all numbers", "[histogram]", ((unsigned Bits), Bits), 2, 4) {
    using layout = strata::detail::log_linear<Bits>;
    std::uint64_t next = 0;
    for (std::size_t i = 0; i < layout::buckets; ++i) {
        REQUIRE(layout::lower(i) == next);
        REQUIRE(layout::index(layout::lower(i)) == i);
        const std::uint64_t last = layout::lower(i) + (layout::width(i) - 1);
        REQUIRE(layout::index(last) == i);
        REQUIRE(layout::middle(i) >= layout::lower(i));
        REQUIRE(layout::middle(i) <= last);
        next = last + 1;
    }
    CHECK(next == 0);  // past the largest number
    CHECK(layout::index(~std::uint64_t{0}) == layout::buckets - 1);
}

TEMPLATE_TEST_CASE_SIG("a value read back is within the promised error", "[histogram]", ((unsigned Bits), Bits), 2, 4) {
    std::mt19937_64 dice{3};
    for (int i = 0; i < 2'000; ++i) {
        const auto value = static_cast<duration::rep>(dice() >> (1 + dice() % 63));
        strata::basic_histogram<Bits> h;
        h.record(duration{value});
        const auto read = static_cast<double>(h.snapshot().percentile(0.5).count());
        REQUIRE(std::abs(read - static_cast<double>(value)) <= static_cast<double>(value) / (2u << Bits));
    }
}

TEST_CASE("percentiles of known values", "[histogram]") {
    strata::histogram h;
    CHECK(h.snapshot().percentile(0.5) == duration{});
    CHECK(h.snapshot().mean() == duration{});
    CHECK(h.snapshot().largest() == duration{});
    for (int i = 1; i <= 20; ++i) h.record(duration{i});  // exact below 32
    const auto s = h.snapshot();
    CHECK(s.count() == 20);
    CHECK(s.percentile(0) == duration{1});
    CHECK(s.percentile(0.05) == duration{1});
    CHECK(s.percentile(0.0501) == duration{2});
    CHECK(s.percentile(0.5) == duration{10});
    CHECK(s.percentile(0.95) == duration{19});
    CHECK(s.percentile(1) == duration{20});
    CHECK(s.percentile(2) == duration{20});
    CHECK(s.percentile(-1) == duration{1});
    CHECK(s.mean() == duration{10});
    CHECK(s.largest() == duration{20});
}

TEST_CASE("percentiles agree with sorting", "[histogram][random]") {
    std::mt19937_64 dice{11};
    std::lognormal_distribution<double> latency{13.0, 1.5};
    strata::histogram h;
    std::vector<duration::rep> all;
    for (int i = 0; i < 20'000; ++i) {
        all.push_back(static_cast<duration::rep>(latency(dice)));
        h.record(duration{all.back()});
    }
    std::sort(all.begin(), all.end());
    const auto s = h.snapshot();
    for (const double q : {0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
        const auto rank = static_cast<std::size_t>(std::ceil(q * static_cast<double>(all.size())));
        const auto exact = static_cast<double>(all[rank - 1]);
        CAPTURE(q);
        CHECK(std::abs(static_cast<double>(s.percentile(q).count()) - exact) <= exact / 32);
    }
    double sum = 0;
    for (const auto v : all) sum += static_cast<double>(v);
    const double mean = sum / static_cast<double>(all.size());
    CHECK(std::abs(static_cast<double>(s.mean().count()) - mean) <= mean / 32);
}

TEST_CASE("odd durations are kept in bounds", "[histogram]") {
    strata::histogram h;
    h.record(duration{0});
    CHECK(h.snapshot().percentile(1) == duration{0});
    h.record(duration{-1});
    h.record(duration::max());
    const auto s = h.snapshot();
    CHECK(s.count() == 3);
    CHECK(s.percentile(1) == duration::max());
    CHECK(s.percentile(0.6) > duration::max() / 2);
}

TEST_CASE("snapshots are added and subtracted", "[histogram]") {
    strata::histogram a, b;
    a.record(5ns);
    b.record(7ns);
    b.record(9ns);
    auto sum = a.snapshot();
    sum.merge(b.snapshot());
    CHECK(sum.count() == 3);
    CHECK(sum.percentile(1) == duration{9});
    const auto before = b.snapshot();
    b.record(30ns);
    const auto between = b.snapshot().since(before);
    CHECK(between.count() == 1);
    CHECK(between.percentile(0.5) == duration{30});
}

TEST_CASE("threads record without loss", "[histogram][threads]") {
    strata::small_histogram h;
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t)
        all.emplace_back([&h] {
            for (int i = 0; i < 20'000; ++i) h.record(duration{i % 100});
        });
    for (std::thread& t : all) t.join();
    CHECK(h.snapshot().count() == 80'000);
}
