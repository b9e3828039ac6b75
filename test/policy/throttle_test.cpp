// The throttle: the formula, what counts as accepted, how it forgets, and that it sends what the database can take.
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/throttle.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;

namespace {

using alone = strata::layers<strata::throttle<>>;
using options = strata::throttle_options;

struct fixture {
    explicit fixture(options o = {}) : l(build<alone>(o)) {}
    strata::error call(errc code) { return run(l, w, ends_with(code)); }
    void calls(int n, errc code) {
        for (int i = 0; i < n; ++i) call(code);
    }
    [[nodiscard]] auto now() { return l.at<0>().snapshot(); }
    /// Whether an attempt is refused when chance says `unit`.
    [[nodiscard]] bool refuses_at(double unit) {
        w.set_unit(unit);
        const bool refused = call(errc::cancelled).code() == errc::refused;  // otherwise it leaves no trace
        w.set_unit(0.999);
        return refused;
    }

    alone l;
    manual_world w;
};

}  // namespace

TEST_CASE("nothing is refused while the database answers", "[throttle]") {
    STATIC_REQUIRE(strata::throttle<>::place == strata::place::throttle);
    fixture f;
    for (int i = 0; i < 1000; ++i) REQUIRE(f.call(i % 2 == 0 ? errc::ok : errc::unique_violation).code() != errc::refused);
    CHECK(f.w.draws == 0);
    CHECK(f.now().requests == 1000);
    CHECK(f.now().accepts == 1000);
    CHECK(f.now().share == 0);
}

TEST_CASE("the share refused is (requests - K accepts) / (requests + 1)", "[throttle]") {
    fixture f{{.k = 2, .minimum_requests = 10}};
    f.w.set_unit(0.999);
    f.calls(40, errc::ok);
    f.calls(40, errc::io_error);
    CHECK(f.now().share == 0);  // half of them: just what K lets pass
    f.calls(19, errc::connection_lost);
    CHECK(f.now().requests == 99);
    CHECK(f.now().share == approx(0.19));
    CHECK(f.refuses_at(0.18));
    CHECK(f.now().requests == 100);  // those refused here are counted too
    CHECK_FALSE(f.refuses_at(0.20));
    CHECK(f.now().requests == 100);
    const strata::error e = f.call(errc::ok);
    CHECK_FALSE(e);
}

TEST_CASE("a refusal is local, and no sample for a breaker outside", "[throttle]") {
    fixture f{{.minimum_requests = 0}};
    f.calls(20, errc::io_error);
    f.w.set_unit(0);
    const strata::error e = f.call(errc::ok);
    CHECK(e.code() == errc::refused);
    CHECK(e.local());
    CHECK(f.now().refused >= 1);
}

TEST_CASE("with few requests nothing is refused", "[throttle]") {
    fixture f{{.minimum_requests = 20}};
    f.w.set_unit(0);
    for (int i = 0; i < 20; ++i) CHECK(f.call(errc::io_error).code() == errc::io_error);
    CHECK(f.call(errc::io_error).code() == errc::refused);
}

TEST_CASE("never everything is refused, so that a recovery is seen", "[throttle]") {
    fixture f{{.max_refused = 0.75}};
    f.w.set_unit(0.999);
    f.calls(10'000, errc::io_error);
    CHECK(f.now().share == 0.75);
    CHECK(f.refuses_at(0.74));
    CHECK_FALSE(f.refuses_at(0.76));
}

TEST_CASE("what says nothing of the database's health is taken back", "[throttle]") {
    fixture f{{.minimum_requests = 1}};
    f.calls(50, errc::cancelled);
    run(f.l, f.w, [](auto&, strata::outcome& o) { o.replace(strata::error{errc::timeout, strata::phase::acquire}); });
    {
        held_call<alone> destroyed{f.l, f.w};
    }
    CHECK(f.now().requests == 0);
    CHECK(f.now().accepts == 0);
    f.call(errc::busy);  // contention is an answer
    CHECK(f.now().accepts == 1);
}

TEST_CASE("after the window all is forgotten, and gradually before", "[throttle]") {
    fixture f{{.window = 10s}};
    f.w.set_unit(0.999);
    for (int second = 0; second < 10; ++second) {
        f.calls(10, errc::io_error);
        f.w.pass(1s);
    }
    f.call(errc::ok);
    CHECK(f.now().requests == 101);
    for (int second = 1; second <= 9; ++second) {
        f.w.pass(1s);
        f.call(errc::cancelled);  // only to let the window turn
        CHECK(f.now().requests <= 111u - 10u * static_cast<unsigned>(second));
        CHECK(f.now().requests >= 91u - 10u * static_cast<unsigned>(second));
    }
    f.w.pass(1h);
    f.call(errc::ok);
    CHECK(f.now().requests == 1);
    CHECK(f.now().accepts == 1);
}

TEST_CASE("a late end of what began before the window does not upset the counts", "[throttle]") {
    fixture f{{.window = 10s, .minimum_requests = 1}};
    {
        held_call<alone> late{f.l, f.w}, lost{f.l, f.w};
        f.w.pass(1h);
        f.call(errc::ok);
        late.end(errc::ok);
    }
    CHECK(f.now().requests == 1);
    CHECK(f.now().accepts == 2);
    CHECK(f.now().share == 0);
    {
        held_call<alone> one{f.l, f.w}, two{f.l, f.w}, three{f.l, f.w};
        f.w.pass(1h);
        f.w.set_unit(0.999);
        f.calls(6, errc::io_error);
    }
    CHECK(f.now().requests == 6);  // three were taken back that are not in the window
    CHECK(f.now().share == approx(6.0 / 7));
}

TEST_CASE("the window holds exactly what was counted in it and not taken back", "[throttle][random]") {
    std::mt19937 dice{5};
    for (int round = 0; round < count(50, 1000); ++round) {
        fixture f{{.window = 10s, .minimum_requests = 1'000'000}};
        struct one {
            std::unique_ptr<held_call<alone>> call;
            long second;
            bool counts = true;
        };
        std::vector<one> all;
        long latest = 0;  // the slice that the throttle knows of: it turns when somebody comes
        for (int i = 0; i < 300; ++i) {
            if (dice() % 5 == 0) f.w.pass(std::chrono::milliseconds{dice() % (dice() % 20 == 0 ? 30'000 : 2'000)});
            if (all.empty() || dice() % 2 == 0) {
                latest = static_cast<long>(f.w.now.time_since_epoch() / 1s);
                all.push_back({std::make_unique<held_call<alone>>(f.l, f.w), latest});
                REQUIRE(all.back().call->is_inside());
            } else if (one& o = all[dice() % all.size()]; o.call) {
                const unsigned how = dice() % 4;
                if (how < 2) o.call->end(how == 0 ? errc::ok : errc::io_error);
                if (how == 2) o.call->end(errc::cancelled);
                o.counts = how < 2;
                o.call.reset();
            }
            const auto counted = std::count_if(all.begin(), all.end(), [&](const one& o) { return o.counts && o.second >= latest - 10; });
            REQUIRE(f.now().requests == static_cast<std::uint64_t>(counted));
        }
    }
}

TEST_CASE("a user's judgement decides what is an answer", "[throttle]") {
    fixture f{{.judge = [](const strata::error& e, strata::condition_traits t) noexcept {
        if (e.code() == errc::busy) t.sign = strata::health_sign::ill;
        return t;
    }}};
    f.w.set_unit(0.999);
    f.calls(10, errc::busy);
    CHECK(f.now().requests == 10);
    CHECK(f.now().accepts == 0);
}

TEST_CASE("a database that does a tenth of the work gets about K times that", "[throttle][random]") {
    fixture f{{.k = 2, .window = 10s, .max_refused = 0.99}};
    std::mt19937_64 dice{3};
    int sent = 0, done = 0;
    for (int i = 0; i < 100'000; ++i) {
        f.w.pass(1ms);
        f.w.random = dice();
        const bool able = i % 10 == 0;  // 100 a second
        run(f.l, f.w, [&](auto&, strata::outcome& o) {
            if (i < 50'000) return;
            ++sent;
            if (able)
                ++done;
            else
                o.replace(strata::error{errc::timeout, strata::phase::execute});
        });
        if (i < 50'000) continue;
    }
    CHECK(done > 500);
    CHECK(sent < 35'000);  // without it: 50,000
    f.w.set_unit(0.5);
    const auto before = f.now().share;
    f.w.pass(1h);
    f.call(errc::ok);
    CHECK(f.now().share < before);
}

TEST_CASE("threads do not lose counts", "[throttle][threads]") {
    fixture f;
    std::vector<std::thread> all;
    for (int t = 0; t < 8; ++t)
        all.emplace_back([&] {
            manual_world w;
            for (int i = 0; i < 2'000; ++i) run(f.l, w, succeeds());
        });
    for (auto& t : all) t.join();
    CHECK(f.now().requests == 16'000);
    CHECK(f.now().accepts == 16'000);
}

TEST_CASE("throttle options that make no sense name their field", "[throttle]") {
    CHECK_FALSE(options{}.validate());
    CHECK_THAT((options{.k = 0.9}.validate().message()), contains_text("throttle_options.k"));
    CHECK_THAT((options{.window = 9us}.validate().message()), contains_text("throttle_options.window"));
    CHECK_THAT((options{.max_refused = 1.0}.validate().message()), contains_text("throttle_options.max_refused"));
    CHECK_THAT((options{.max_refused = -0.1}.validate().message()), contains_text("throttle_options.max_refused"));
}
