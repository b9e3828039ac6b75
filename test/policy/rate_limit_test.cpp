// The rate limit: against a bucket of tokens kept beside it, its edges, and what waits.
#include <strata/policy/rate_limit.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <memory>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;

namespace {

using alone = strata::layers<strata::rate_limit<>>;
using options = strata::rate_limit_options;
using call = held_call<alone>;

struct fixture {
    explicit fixture(options o) : l(build<alone>(o)) {}
    [[nodiscard]] bool passes() { return !run(l, w, succeeds()); }
    [[nodiscard]] strata::error refused() { return run(l, w, succeeds()); }
    [[nodiscard]] auto& limit() { return l.at<0>(); }

    alone l;
    manual_world w;
};

}  // namespace

TEST_CASE("a burst passes at once, then one each interval", "[rate_limit]") {
    STATIC_REQUIRE(strata::rate_limit<>::place == strata::place::rate);
    STATIC_REQUIRE(strata::rate_limit<void, strata::place::bound>::place == strata::place::bound);
    fixture f{{.permits = 10, .period = 1s, .burst = 3}};
    for (int i = 0; i < 3; ++i) CHECK(f.passes());
    const strata::error e = f.refused();
    CHECK(e.code() == errc::rate_limited);
    CHECK(e.local());
    CHECK(e.retry_after() == strata::duration{100ms});
    f.w.pass(100ms - 1ns);
    CHECK(f.refused().retry_after() == strata::duration{1ns});
    f.w.pass(1ns);
    CHECK(f.passes());
    CHECK_FALSE(f.passes());
    f.w.pass(200ms);
    CHECK(f.passes());
    CHECK(f.passes());
    CHECK_FALSE(f.passes());
    CHECK(f.limit().snapshot().refused == 4);
    f.w.pass(1h);  // what was not used is not saved up beyond the burst
    for (int i = 0; i < 3; ++i) CHECK(f.passes());
    CHECK_FALSE(f.passes());
}

TEST_CASE("the interval is rounded up, so the rate is never above what was asked", "[rate_limit]") {
    fixture f{{.permits = 3, .period = 1s}};
    CHECK(f.passes());
    CHECK(f.refused().retry_after() == strata::duration{333'333'334});
}

TEST_CASE("an operation may cost more, nothing, or too much", "[rate_limit]") {
    fixture f{{.permits = 1, .period = 1s, .burst = 4, .cost = [](const strata::operation_base& op) noexcept -> std::uint32_t {
                   return static_cast<std::uint32_t>(op.tags.size());
               }}};
    const std::vector<strata::tag> tags(5);
    const auto costs = [&](std::size_t n) {
        plain_operation op;
        op.tags = {tags.data(), n};
        strata::passage p{f.l, op};
        return drive(p, op, f.w, succeeds()).code();
    };
    CHECK(costs(5) == errc::rate_limited);  // could never pass
    CHECK(costs(4) == errc::ok);
    CHECK(costs(1) == errc::rate_limited);
    CHECK(costs(0) == errc::ok);
    f.w.pass(3s);
    CHECK(costs(4) == errc::rate_limited);
    CHECK(costs(3) == errc::ok);
    plain_operation op;
    op.tags = tags;
    fixture patient{{.permits = 1, .period = 1s, .burst = 4, .max_wait = 1h, .cost = [](const strata::operation_base& o) noexcept {
                         return static_cast<std::uint32_t>(o.tags.size());
                     }}};
    strata::passage p{patient.l, op};
    const strata::error& e = drive(p, op, patient.w, succeeds());
    CHECK(e.code() == errc::rate_limited);
    CHECK(e.retry_after() == strata::duration::zero());  // no time would help
}

TEST_CASE("who comes too early waits for its turn, in order, if there is time", "[rate_limit]") {
    fixture f{{.permits = 10, .period = 1s, .burst = 1, .max_wait = 250ms}};
    call a{f.l, f.w}, b{f.l, f.w}, c{f.l, f.w}, d{f.l, f.w};
    CHECK(a.is_inside());
    REQUIRE(b.waits());
    REQUIRE(c.waits());
    CHECK(b.until() == f.w.now + 100ms);
    CHECK(c.until() == f.w.now + 200ms);
    REQUIRE(d.is_over());  // 300 ms are too long
    CHECK(d.error().retry_after() == strata::duration{300ms});
    CHECK(f.limit().snapshot().waited == 2);
    f.w.pass(100ms);
    b.resume();
    CHECK(b.is_inside());
    c.resume();
    CHECK(c.waits());
    SECTION("who gives up in the middle leaves a gap, and nobody comes twice at one moment") {
        c.cancel();
        call e{f.l, f.w};
        REQUIRE(e.waits());
        f.w.pass(1ms);
        call g{f.l, f.w};
        REQUIRE(g.waits());
        CHECK(g.until() >= e.until() + 100ms);
        e.cancel();
        call h{f.l, f.w};
        REQUIRE(h.is_over());  // g keeps its moment, and the next would be too late
    }
    SECTION("a deadline that would come first refuses at once") {
        call e{f.l, f.w, strata::priority::normal, f.w.now + 200ms};
        REQUIRE(e.is_over());
        CHECK(e.error().code() == errc::rate_limited);
        call g{f.l, f.w, strata::priority::normal, f.w.now + 200ms + 1ns};
        CHECK(g.waits());
    }
    SECTION("who gives up gives its turn back") {
        c.cancel();
        CHECK(c.error().code() == errc::cancelled);
        call e{f.l, f.w};
        CHECK(e.until() == f.w.now + 100ms);
    }
    SECTION("who has had its turn does not") {
        f.w.pass(100ms);
        c.resume();
        REQUIRE(c.is_inside());
        c.end();
        call e{f.l, f.w};
        CHECK(e.until() == f.w.now + 100ms);
    }
    SECTION("nor who is destroyed after it, but who is destroyed before it does") {
        {
            call gone{f.l, f.w};
            REQUIRE(gone.waits());
        }
        auto used = std::make_unique<call>(f.l, f.w);
        CHECK(used->until() == f.w.now + 200ms);
        f.w.pass(200ms);
        used->resume();
        REQUIRE(used->is_inside());
        used.reset();
        call e{f.l, f.w};
        CHECK(e.until() == f.w.now + 100ms);
    }
}

TEST_CASE("random arrivals: exactly what a bucket of tokens lets pass", "[rate_limit][random]") {
    std::mt19937_64 dice{5};
    for (int round = 0; round < count(50, 2'000); ++round) {
        const auto permits = static_cast<std::uint32_t>(1 + dice() % 1000);
        const auto burst = static_cast<std::uint32_t>(1 + dice() % 20);
        const strata::duration period{static_cast<std::int64_t>(1'000'000 + dice() % 5'000'000'000)};
        fixture f{{.permits = permits, .period = period, .burst = burst}};
        const std::int64_t interval = (period.count() + permits - 1) / permits;
        std::int64_t tokens = interval * burst;  // in nanoseconds
        for (int i = 0; i < 500; ++i) {
            const auto step = static_cast<std::int64_t>(dice() % static_cast<std::uint64_t>(2 * interval));
            f.w.pass(strata::duration{step});
            tokens = std::min(tokens + step, interval * burst);
            const bool expected = tokens >= interval;
            REQUIRE(f.passes() == expected);
            if (expected) tokens -= interval;
        }
    }
}

TEST_CASE("many threads together pass no more than the rate", "[rate_limit][threads]") {
    alone l = build<alone>(options{.permits = 1, .period = 1h, .burst = 500});
    std::atomic<int> passed{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 8; ++t)
        all.emplace_back([&] {
            manual_world w;  // at one moment
            for (int i = 0; i < 400; ++i)
                if (!run(l, w, succeeds())) ++passed;
        });
    for (auto& t : all) t.join();
    CHECK(passed == 500);
}

TEST_CASE("rate limit options that make no sense name their field", "[rate_limit]") {
    CHECK_FALSE(options{}.validate());
    CHECK_FALSE((options{.permits = 1'000'000'000, .period = 1s}.validate()));
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.permits = 0}), contains_text("rate_limit_options.permits"));
    CHECK_THAT(says({.permits = 1'000'000'001, .period = 1s}), contains_text("rate_limit_options.period"));
    CHECK_THAT(says({.period = 0s}), contains_text("rate_limit_options.period"));
    CHECK_THAT(says({.period = std::chrono::hours{87'601}}), contains_text("rate_limit_options.period"));
    CHECK_THAT(says({.burst = 0}), contains_text("rate_limit_options.burst"));
    CHECK_THAT(says({.permits = 1, .period = std::chrono::hours{8760}, .burst = 10}), contains_text("rate_limit_options.burst"));
    CHECK_THAT(says({.max_wait = -1ns}), contains_text("rate_limit_options.max_wait"));
}
