// A guard: callables through interceptors alone, what they return and throw, and what is repeated.
#include <strata/guard.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/bulkhead.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/keyed.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/rate_limit.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>
#include <strata/testing/simulated_world.hpp>

#include <support/catch.hpp>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using strata::errc;

namespace {

using stack = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>, strata::bulkhead<>,
                            strata::attempt_timeout>;
using simulated = strata::guard<stack, strata::simulated_world>;

strata::error busy() {
    return strata::error{errc::busy, "in use", strata::phase::execute};
}

}  // namespace

TEST_CASE("a guard returns what its callable returns", "[guard]") {
    strata::guard<stack> g;
    CHECK(g.run([] { return 7; }) == 7);
    g.run([] {});
    CHECK(g.run([](const strata::attempt& a) { return a.number(); }) == 1);
    CHECK(*g.run([] { return std::make_unique<int>(3); }) == 3);
    CHECK(g.run([]() -> strata::result<std::string> { return std::string{"ok"}; }) == "ok");
    g.run([]() -> strata::result<void> { return {}; });
    const strata::result<int> r = g.try_run([] { return 8; });
    REQUIRE(r);
    CHECK(*r == 8);
    CHECK(g.try_run([] {}));
    struct without_default {
        explicit without_default(int n) : number(n) {}
        int number;
    };
    CHECK(g.run([] { return without_default{4}; }).number == 4);
    CHECK(g.policy<strata::metrics<>>().snapshot().latency.count() == 9);
}

TEST_CASE("a passing fault is repeated, whether thrown or returned", "[guard]") {
    strata::simulated_world world;
    simulated g{world, strata::retry_options{.max_attempts = 3, .base = 10ms, .jitter = strata::jitter::none}};
    unsigned made = 0;
    const auto begin = world.elapsed();
    CHECK(g.run([&](const strata::attempt& a) {
        made = a.number();
        if (made < 3) throw strata::failure{busy()};
        return made;
    }) == 3);
    CHECK(world.elapsed() - begin == strata::duration{30ms});
    const auto r = g.try_run([&](const strata::attempt& a) -> strata::result<int> {
        made = a.number();
        return busy();
    });
    REQUIRE_FALSE(r);
    CHECK(r.error().code() == errc::busy);
    CHECK(r.error().attempts() == 3);
    CHECK(r.error().message() == "in use");
    CHECK(made == 3);
    CHECK_THROWS_AS(g.run([&]() -> strata::result<void> { return busy(); }), strata::failure);
}

TEST_CASE("what may have taken place is repeated only if the run is idempotent", "[guard]") {
    strata::simulated_world world;
    simulated g{world};
    for (const bool idempotent : {false, true}) {
        int calls = 0;
        const auto r = g.try_run(
            [&]() -> strata::result<void> {
                ++calls;
                return strata::error{errc::timeout, strata::phase::execute, strata::effect::unknown};
            },
            {.idempotent = idempotent});
        CHECK(r.error().code() == errc::timeout);
        CHECK(calls == (idempotent ? 3 : 1));
    }
}

TEST_CASE("other exceptions come out as they were thrown, also of try_run", "[guard]") {
    strata::guard<stack> g;
    int calls = 0;
    const auto throws = [&]() -> int {
        ++calls;
        throw std::out_of_range("there is no such thing");
    };
    CHECK_THROWS_AS(g.run(throws), std::out_of_range);
    CHECK_THROWS_AS(g.try_run(throws), std::out_of_range);
    CHECK(calls == 2);
    SECTION("unless the user holds them for passing faults, and the run for repeatable") {
        strata::simulated_world world;
        simulated patient{world, strata::retry_options{.judge = [](const strata::error& e, strata::condition_traits t) noexcept {
                              if (e.code() == errc::user_exception) t.transient = true;
                              return t;
                          }}};
        calls = 0;
        CHECK_THROWS_AS(patient.run(throws), std::out_of_range);
        CHECK(calls == 1);
        CHECK_THROWS_AS(patient.run(throws, {.idempotent = true}), std::out_of_range);
        CHECK(calls == 4);
        CHECK(patient.run([&](const strata::attempt& a) { return a.number() < 3 ? throws() : 5; }, {.idempotent = true}) == 5);
    }
    SECTION("a refusal after it is not hidden by it") {
        using strict = strata::stack<strata::retry<>, strata::circuit_breaker<>>;
        strata::simulated_world world;
        const strata::condition_judge all = [](const strata::error&, strata::condition_traits) noexcept {
            return strata::condition_traits{true, strata::health_sign::ill};
        };
        strata::guard<strict, strata::simulated_world> once{world, strata::retry_options{.judge = all},
                                                            strata::circuit_breaker_options{.consecutive_failures = 1, .judge = all}};
        try {
            once.run(throws, {.idempotent = true});
            FAIL("it must not succeed");
        } catch (const strata::failure& e) {
            CHECK(e.code() == errc::circuit_open);
        }
    }
}

TEST_CASE("what a callable says is taken as it is meant", "[guard]") {
    strata::simulated_world world;
    SECTION("an error without a phase happened on the way") {
        using strict = strata::stack<strata::circuit_breaker<>>;
        strata::guard<strict, strata::simulated_world> g{world, strata::circuit_breaker_options{.consecutive_failures = 2}};
        for (int i = 0; i < 2; ++i)
            CHECK(g.try_run([]() -> strata::result<void> { return strata::error{errc::timeout}; }).error().code() == errc::timeout);
        CHECK(g.policy<strata::circuit_breaker<>>().state() == strata::circuit_state::open);
    }
    SECTION("an error without a condition is none that anybody knows") {
        simulated g{world};
        CHECK(g.try_run([]() -> int { throw strata::failure{strata::error{}}; }).error().code() == errc::unknown);
    }
    SECTION("the latest exception counts") {
        simulated g{world, strata::retry_options{.judge = [](const strata::error&, strata::condition_traits t) noexcept {
                        t.transient = true;
                        return t;
                    }}};
        try {
            g.run(
                [](const strata::attempt& a) -> int {
                    if (a.number() < 3) throw std::out_of_range("first");
                    throw strata::failure{strata::error{errc::user_exception, "last"}};
                },
                {.idempotent = true});
            FAIL("it must not succeed");
        } catch (const strata::failure& e) {
            CHECK(e.error().message() == "last");
        }
    }
}

namespace {

struct reply {
    int status = 200;
    std::string text;
};

struct replaces {
    static constexpr auto place = strata::place::attempt;
    void settle(auto&, strata::no_frame&, strata::outcome& o) { o.replace(strata::error{errc::connection_lost}); }
};
template <strata::place Where>
struct forgives {
    static constexpr auto place = Where;
    void settle(auto&, strata::no_frame&, strata::outcome& o) { o.clear(); }
};

strata::judged<reply> judge(reply r, strata::effect did = strata::effect::none) {
    strata::error verdict;
    if (r.status == 503) verdict = strata::error{errc::busy, strata::phase::admission, did};
    if (r.status == 500) verdict = strata::error{errc::io_error, "broken", strata::phase::execute, did};
    return {std::move(verdict), std::move(r)};
}

}  // namespace

TEST_CASE("a value that says failure is one to the layers, and comes out all the same", "[guard]") {
    strata::simulated_world world;
    simulated g{world, strata::retry_options{.max_attempts = 3, .budget = 0}, strata::circuit_breaker_options{.consecutive_failures = 2}};
    auto& breaker = g.policy<strata::circuit_breaker<>>();
    std::vector<int> says;
    unsigned made = 0;
    const auto call = [&](const strata::attempt& a) {
        made = a.number();
        return judge({says.at(made - 1), "reply " + std::to_string(made)});
    };
    SECTION("repeated while it may pass") {
        says = {503, 503, 200};
        CHECK(g.run(call).text == "reply 3");
        CHECK(made == 3);
        CHECK(g.policy<strata::metrics<>>().snapshot().retries == 2);
    }
    SECTION("the last one is what the caller gets, as a value") {
        says = {503, 503, 503};
        const strata::result<reply> r = g.try_run(call);
        REQUIRE(r);
        CHECK(r->status == 503);
        CHECK(r->text == "reply 3");
        CHECK(g.run(call).text == "reply 3");
        CHECK(g.policy<strata::retry<>>().snapshot().attempts_used_up == 2);
        CHECK(g.policy<strata::metrics<>>().snapshot().count(strata::operation_kind::other, strata::outcome_class::ok) == 0);
    }
    SECTION("what may have taken place is not repeated") {
        CHECK(g.run([&](const strata::attempt& a) {
                   made = a.number();
                   return judge({503, {}}, strata::effect::unknown);
               }).status == 503);
        CHECK(made == 1);
    }
    SECTION("the breaker counts it, and its refusal is not hidden by an older value") {
        says = {500};
        CHECK(g.run(call).status == 500);
        CHECK(g.run(call).text == "reply 1");
        CHECK(breaker.state() == strata::circuit_state::open);
        CHECK(g.try_run(call).error().code() == errc::circuit_open);
    }
    SECTION("nor is that of the next attempt") {
        using strict = strata::stack<strata::retry<>, strata::circuit_breaker<>>;
        const strata::condition_judge ill = [](const strata::error&, strata::condition_traits) noexcept {
            return strata::condition_traits{true, strata::health_sign::ill};
        };
        const strata::retry_options at_once{.base = {}, .cap = {}};
        strata::guard<strict, strata::simulated_world> once{world, at_once,
                                                            strata::circuit_breaker_options{.consecutive_failures = 1, .judge = ill}};
        CHECK(once.try_run([] { return judge({503, {}}); }).error().code() == errc::circuit_open);
        // Not even where the value had spoken of the same.
        strata::guard<strict, strata::simulated_world> twice{world, strata::retry_options{.base = {}, .cap = {}, .judge = ill},
                                                             strata::circuit_breaker_options{.consecutive_failures = 1, .judge = ill}};
        const auto r = twice.try_run([] { return strata::judged<int>{strata::error{errc::circuit_open}, 1}; });
        REQUIRE_FALSE(r);
        CHECK(r.error().local());
    }
    SECTION("nor is a failure of the next attempt") {
        const auto r = g.try_run([&](const strata::attempt& a) {
            if (a.number() == 2) throw strata::failure{strata::error{errc::syntax_error, "no", strata::phase::execute}};
            return judge({503, {}});
        });
        REQUIRE_FALSE(r);
        CHECK(r.error().code() == errc::syntax_error);
    }
    SECTION("an outcome that a layer replaced is the layer's") {
        strata::guard<strata::stack<replaces>> lost;
        CHECK(lost.try_run([] { return judge({503, {}}); }).error().code() == errc::connection_lost);
        CHECK(lost.try_run([] { return judge({200, {}}); }).error().code() == errc::connection_lost);
        strata::guard<strata::stack<forgives<strata::place::attempt>>> kind;
        CHECK(kind.run([] { return judge({503, "kept"}); }).text == "kept");
        CHECK(kind.try_run([]() -> strata::result<int> { return busy(); }).error().code() == errc::misuse);
        strata::guard<strata::stack<forgives<strata::place::bound>, strata::retry<>>> outside{strata::retry_options{.base = {}, .cap = {}}};
        const auto r = outside.try_run([](const strata::attempt& a) -> strata::judged<int> {
            if (a.number() == 2) throw std::out_of_range("nothing came of it");
            return {busy(), 1};
        });
        CHECK(r.error().code() == errc::misuse);  // not the value of the attempt before
    }
}

TEST_CASE("deadlines reach the callable, and bound pauses and waits", "[guard]") {
    strata::simulated_world world;
    simulated g{
        world, strata::total_timeout_options{.limit = 1s}, strata::attempt_timeout_options{.limit = 300ms},
        strata::retry_options{.max_attempts = 100, .base = 200ms, .jitter = strata::jitter::none, .backoff = strata::backoff::constant}};
    const auto begin = world.moment().now;
    std::vector<strata::duration> left;
    const auto r = g.try_run([&](const strata::attempt& a) -> strata::result<void> {
        left.push_back(a.deadline() - world.moment().now);
        return busy();
    });
    CHECK(r.error().code() == errc::busy);
    CHECK(world.moment().now - begin == strata::duration{800ms});  // the next could not begin before 1 s
    CHECK(left == std::vector<strata::duration>{300ms, 300ms, 300ms, 300ms, 200ms});
    left.clear();
    CHECK_FALSE(g.try_run(
        [&](const strata::attempt& a) -> strata::result<void> {
            left.push_back(a.deadline() - world.moment().now);
            return busy();
        },
        {.deadline = 100ms}));
    CHECK(left == std::vector<strata::duration>{100ms});
}

TEST_CASE("the layers of a guard are its own, and seen", "[guard]") {
    using keyed = strata::keyed<strata::circuit_breaker<>>;
    strata::guard<strata::stack<strata::rate_limit<>, keyed>> g{strata::rate_limit_options{.permits = 1, .period = 1h, .burst = 5},
                                                                keyed::options{.tag = "host", .each = {.consecutive_failures = 1}}};
    const strata::tag a[] = {{"host", "a"}}, b[] = {{"host", "b"}};
    const auto fails = []() -> strata::result<void> { return strata::error{errc::cannot_connect, strata::phase::connect}; };
    CHECK(g.try_run(fails, {.tags = a}).error().code() == errc::cannot_connect);
    CHECK(g.try_run(fails, {.tags = a}).error().code() == errc::circuit_open);
    CHECK(g.try_run(fails, {.tags = b}).error().code() == errc::cannot_connect);
    CHECK(g.policy<keyed>().size() == 2);
    CHECK(g.try_run([] {}, {.tags = b}).error().code() == errc::circuit_open);
    CHECK(g.try_run([] {}));
    CHECK(g.try_run([] {}).error().code() == errc::rate_limited);
    CHECK(g.policy<strata::rate_limit<>>().snapshot().refused == 1);
}

TEST_CASE("threads share a guard", "[guard][threads]") {
    using small = strata::stack<strata::bulkhead<>>;
    strata::guard<small> g{strata::bulkhead_options{.max_concurrent = 2, .max_wait = 10min}};
    std::atomic<int> inside{0}, most{0}, done{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 8; ++t)
        all.emplace_back([&] {
            for (int i = 0; i < 500; ++i)
                g.run([&] {
                    const int now = ++inside;
                    for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
                    }
                    --inside;
                    ++done;
                });
        });
    for (auto& t : all) t.join();
    CHECK(done == 4'000);
    CHECK(most <= 2);
}

TEST_CASE("guard options that make no sense are refused", "[guard]") {
    CHECK_THROWS_WITH((strata::guard<stack>{strata::retry_options{.max_attempts = 0}}),
                      strata_test::contains_text("retry_options.max_attempts"));
}
