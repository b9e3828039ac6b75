// Chaos: the share of attempts that it strikes, how they fail, and that it can be steered while in use.
#include <strata/core/world.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/retry.hpp>
#include <strata/testing/chaos.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using strata::step;

namespace {

using alone = strata::layers<strata::chaos>;

}  // namespace

TEST_CASE("at rate 0 nothing is struck and nothing is drawn", "[chaos]") {
    STATIC_REQUIRE(strata::chaos::place == strata::place::attempt);
    alone l;
    manual_world w;
    for (int i = 0; i < 100; ++i) CHECK_FALSE(run(l, w, succeeds()));
    CHECK(l.at<0>().injected() == 0);
    CHECK(w.draws == 0);
}

TEST_CASE("a struck attempt fails as if the database had said so", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 1});
    manual_world w;
    bool attempted = false;
    const auto attempt = [&](auto&, auto&) { attempted = true; };
    w.random = ~std::uint64_t{0};  // the largest draw
    const strata::error e = run(l, w, attempt);
    CHECK(e.code() == errc::busy);
    CHECK_FALSE(e.local());
    CHECK(e.effect() == strata::effect::none);
    CHECK(e.phase() == strata::phase::execute);
    CHECK_FALSE(attempted);
    CHECK(l.at<0>().injected() == 1);

    l.at<0>().set_code(errc::connection_lost);
    CHECK(run(l, w, attempt).code() == errc::connection_lost);
    l.at<0>().set_rate(0);
    CHECK_FALSE(run(l, w, attempt));
    CHECK(attempted);
    CHECK(l.at<0>().injected() == 2);
}

TEST_CASE("the draw decides", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 0.25});
    manual_world w;
    w.set_unit(0.2499);
    CHECK(run(l, w, succeeds()).code() == errc::busy);
    w.set_unit(0.25);
    CHECK_FALSE(run(l, w, succeeds()));
    l.at<0>().set_rate(7);  // clipped
    w.set_unit(0.9999);
    CHECK(run(l, w, succeeds()).code() == errc::busy);
    l.at<0>().set_rate(-1);
    w.set_unit(0);
    CHECK_FALSE(run(l, w, succeeds()));
}

TEST_CASE("a seed gives the same faults again, in the ordered share", "[chaos]") {
    const auto faults = [](std::uint64_t seed) {
        alone l = build<alone>(strata::chaos_options{.rate = 0.05});
        strata::splitmix random{seed};
        std::vector<int> struck;
        for (int i = 0; i < 10'000; ++i) {
            plain_operation op;
            strata::passage p{l, op};
            if (p.first({strata::time_point{}, &random}) == step::done)
                struck.push_back(i);
            else
                static_cast<void>(p.landed({strata::time_point{}, &random}));
        }
        CHECK(l.at<0>().injected() == struck.size());
        return struck;
    };
    const auto a = faults(42);
    CHECK(a == faults(42));
    CHECK(a != faults(43));
    CHECK(a.size() > 400);
    CHECK(a.size() < 600);
}

TEST_CASE("latency comes before the failure, or alone", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 1, .latency = 20ms});
    manual_world w;
    const auto begin = w.now;
    std::vector<strata::duration> pauses;
    SECTION("and then the failure") {
        CHECK(run(l, w, succeeds(), &pauses).code() == errc::busy);
    }
    SECTION("only slow") {
        l.at<0>().set_code(errc::ok);
        CHECK_FALSE(run(l, w, succeeds(), &pauses));
    }
    SECTION("rate set to 0 meanwhile: what is struck stays struck") {
        plain_operation op;
        strata::passage p{l, op};
        REQUIRE(p.first(w.moment()) == step::park);
        l.at<0>().set_rate(0);
        pauses.push_back(p.parked_until() - w.now);
        w.now = p.parked_until();
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::busy);
    }
    CHECK(pauses == std::vector<strata::duration>{20ms});
    CHECK(w.now - begin == strata::duration{20ms});
    CHECK(l.at<0>().injected() == 1);
}

TEST_CASE("latency beyond the attempt's time is a timeout that a breaker counts", "[chaos]") {
    using three = strata::layers<strata::circuit_breaker<>, strata::attempt_timeout, strata::chaos>;
    three l = build<three>(strata::circuit_breaker_options{.consecutive_failures = 1}, strata::attempt_timeout_options{.limit = 10ms},
                           strata::chaos_options{.rate = 1, .code = errc::ok, .latency = 20ms});
    manual_world w;
    const auto begin = w.now;
    const strata::error e = run(l, w, succeeds());
    CHECK(e.code() == errc::timeout);
    CHECK_FALSE(e.local());
    CHECK(w.now - begin == strata::duration{10ms});
    CHECK(l.at<0>().state() == strata::circuit_state::open);
}

TEST_CASE("each attempt is drawn anew", "[chaos]") {
    using both = strata::layers<strata::retry<>, strata::chaos>;
    both l = build<both>(strata::retry_options{.max_attempts = 4}, strata::chaos_options{.rate = 1});
    manual_world w;
    CHECK(run(l, w, succeeds()).attempts() == 4);
    CHECK(l.at<1>().injected() == 4);
    l.at<1>().set_latency(1ms);
    CHECK(run(l, w, succeeds()).attempts() == 4);
    CHECK(l.at<1>().injected() == 8);
}

TEST_CASE("chaos may be steered from another thread", "[chaos][threads]") {
    alone l;
    std::atomic<bool> stop{false};
    std::thread steering([&] {
        while (!stop) {
            l.at<0>().set_rate(1);
            l.at<0>().set_code(errc::deadlock);
            l.at<0>().set_rate(0);
        }
    });
    manual_world w;
    std::uint64_t struck = 0;
    for (int i = 0; i < 20'000; ++i) {
        const strata::error e = run(l, w, succeeds());
        if (!e) continue;
        ++struck;
        if (e.code() != errc::busy && e.code() != errc::deadlock) FAIL("a code that nobody set");
    }
    stop = true;
    steering.join();
    CHECK(l.at<0>().injected() == struck);
}

TEST_CASE("chaos options that make no sense name their field", "[chaos]") {
    CHECK_FALSE(strata::chaos_options{}.validate());
    CHECK_THAT((strata::chaos_options{.rate = 1.5}.validate().message()), contains_text("chaos_options.rate"));
    CHECK_THAT((strata::chaos_options{.rate = -0.5}.validate().message()), contains_text("chaos_options.rate"));
    CHECK_THAT((strata::chaos_options{.latency = -1ms}.validate().message()), contains_text("chaos_options.latency"));
}
