// A policy for each key: that keys do not disturb each other, that the table stays bounded, and that nobody inside is evicted.
#include <strata/policy/bulkhead.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/keyed.hpp>
#include <strata/policy/total_timeout.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <list>
#include <map>
#include <memory>
#include <random>
#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::circuit_state;
using strata::errc;

namespace {

using keyed_breaker = strata::keyed<strata::circuit_breaker<>>;
using keyed_bulkhead = strata::keyed<strata::bulkhead<>>;
using breakers = strata::layers<keyed_breaker>;
using bulkheads = strata::layers<keyed_bulkhead>;

template <class Layers>
struct call_for {
    call_for(Layers& l, manual_world& w, std::string_view key) : mark{"shard", key}, passage(l, (op.tags = {&mark, 1}, op)), world(w) {
        step = passage.first(w.moment());
    }
    void end(errc code = errc::ok) {
        ends_with(code)(op, passage.result());
        step = passage.landed(world.moment());
    }

    strata::tag mark;
    plain_operation op;
    strata::passage<Layers, plain_operation> passage;
    manual_world& world;
    strata::step step;
};

template <class Layers>
errc call(Layers& l, manual_world& w, std::string_view key, errc code = errc::ok) {
    call_for<Layers> c{l, w, key};
    if (c.step == strata::step::attempt) c.end(code);
    return c.passage.result().code();
}

template <class Keyed>
std::map<std::string, int> keys_of(Keyed& k) {
    std::map<std::string, int> all;
    k.for_each([&](std::string_view key, auto&) { ++all[std::string{key}]; });
    return all;
}

}  // namespace

TEST_CASE("a breaker opens for its shard and for no other", "[keyed]") {
    STATIC_REQUIRE(keyed_breaker::place == strata::place::breaker);
    breakers l = build<breakers>(keyed_breaker::options{.tag = "shard", .each = {.consecutive_failures = 2}});
    manual_world w;
    for (int i = 0; i < 2; ++i) {
        CHECK(call(l, w, "a", errc::io_error) == errc::io_error);
        CHECK(call(l, w, "b") == errc::ok);
    }
    CHECK(call(l, w, "a") == errc::circuit_open);
    CHECK(call(l, w, "b") == errc::ok);
    std::map<std::string, circuit_state> states;
    l.at<0>().for_each([&](std::string_view key, auto& breaker) { states[std::string{key}] = breaker.state(); });
    CHECK(states == std::map<std::string, circuit_state>{
                        {"a", circuit_state::open}, {"b", circuit_state::closed}, {"(others)", circuit_state::closed}});
    CHECK(l.at<0>().size() == 2);
}

TEST_CASE("the key is the tag's value, or what a function says", "[keyed]") {
    SECTION("without the tag: the empty key") {
        breakers l = build<breakers>(keyed_breaker::options{.tag = "shard"});
        manual_world w;
        CHECK_FALSE(run(l, w, succeeds()));
        call(l, w, "x");
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"", 1}, {"x", 1}, {"(others)", 1}});
    }
    SECTION("among others") {
        breakers l = build<breakers>(keyed_breaker::options{.tag = "shard"});
        manual_world w;
        const strata::tag tags[] = {{"route", "/a"}, {"shard", "7"}};
        plain_operation op;
        op.tags = tags;
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"7", 1}, {"(others)", 1}});
    }
    SECTION("by kind") {
        breakers l = build<breakers>(keyed_breaker::options{
            .key = [](const strata::operation_base& op) noexcept { return op.attempt == 1 ? std::string_view{"first"} : "again"; }});
        manual_world w;
        CHECK_FALSE(run(l, w, succeeds()));
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"first", 1}, {"(others)", 1}});
    }
    SECTION("long keys are compared as far as they are kept") {
        breakers l = build<breakers>(keyed_breaker::options{.tag = "shard"});
        manual_world w;
        const std::string common(63, 'k');
        call(l, w, common + "1");
        call(l, w, common + "2");
        call(l, w, common.substr(1));
        CHECK(l.at<0>().size() == 2);
    }
}

TEST_CASE("the key that was not used for the longest time gives way", "[keyed]") {
    breakers l = build<breakers>(keyed_breaker::options{.tag = "shard", .capacity = 3, .each = {.consecutive_failures = 1}});
    manual_world w;
    call(l, w, "a", errc::io_error);
    call(l, w, "b");
    call(l, w, "c");
    CHECK(call(l, w, "a") == errc::circuit_open);  // used: b is the oldest now
    call(l, w, "d");
    CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"a", 1}, {"c", 1}, {"d", 1}, {"(others)", 1}});
    CHECK(l.at<0>().evicted() == 1);
    CHECK(call(l, w, "a") == errc::circuit_open);
    CHECK(call(l, w, "e") == errc::ok);
    CHECK(call(l, w, "f") == errc::ok);
    CHECK(call(l, w, "g") == errc::ok);  // where a's was: with a breaker of its own
    CHECK(call(l, w, "a") == errc::ok);  // forgotten, so it begins anew
    CHECK(l.at<0>().size() == 3);
}

TEST_CASE("who is inside keeps its instance; newcomers share one more where all are busy", "[keyed]") {
    bulkheads l = build<bulkheads>(keyed_bulkhead::options{.tag = "shard", .capacity = 2, .each = {.max_concurrent = 1}});
    manual_world w;
    auto a = std::make_unique<call_for<bulkheads>>(l, w, "a");
    auto b = std::make_unique<call_for<bulkheads>>(l, w, "b");
    CHECK(a->step == strata::step::attempt);
    CHECK(b->step == strata::step::attempt);
    auto c = std::make_unique<call_for<bulkheads>>(l, w, "c");
    CHECK(c->step == strata::step::attempt);
    auto d = std::make_unique<call_for<bulkheads>>(l, w, "d");
    CHECK(d->step == strata::step::park);  // c and d share a slot
    CHECK(l.at<0>().size() == 2);
    CHECK(l.at<0>().evicted() == 0);
    SECTION("who waits counts as inside") {
        auto waits = std::make_unique<call_for<bulkheads>>(l, w, "a");
        REQUIRE(waits->step == strata::step::park);
        a->end();
        a.reset();
        call(l, w, "e");  // b is busy, a is waited for: shares
        CHECK(keys_of(l.at<0>()).contains("a"));
        waits->step = waits->passage.resume(w.moment());
        CHECK(waits->step == strata::step::attempt);
        waits->end();
        waits.reset();
        call(l, w, "e");
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"b", 1}, {"e", 1}, {"(others)", 1}});
    }
    SECTION("a refusal, a wait given up and a destroyed operation leave nobody inside") {
        d.reset();
        c.reset();
        a.reset();
        b->end();
        {
            auto first = std::make_unique<call_for<bulkheads>>(l, w, "a");
            auto waits = std::make_unique<call_for<bulkheads>>(l, w, "a");
            REQUIRE(waits->step == strata::step::park);
            w.pass(1h);
            waits->step = waits->passage.resume(w.moment());
            CHECK(waits->passage.result().code() == errc::bulkhead_full);
        }
        call(l, w, "x");
        call(l, w, "y");
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"x", 1}, {"y", 1}, {"(others)", 1}});
    }
}

TEST_CASE("long operations on old keys do not stand in the way of new ones", "[keyed]") {
    breakers l = build<breakers>(keyed_breaker::options{.tag = "shard", .capacity = 32, .each = {.consecutive_failures = 1}});
    manual_world w;
    std::list<std::string> names;
    const auto name = [&](int i) -> const std::string& { return names.emplace_back("k" + std::to_string(i)); };
    std::list<call_for<breakers>> busy;
    for (int i = 0; i < 12; ++i) busy.emplace_back(l, w, name(i));
    for (int i = 12; i < 32; ++i) call(l, w, name(i));
    CHECK(call(l, w, name(100), errc::io_error) == errc::io_error);
    CHECK(call(l, w, name(101)) == errc::ok);  // not the breaker of another key
    CHECK(l.at<0>().evicted() == 2);
    for (auto& c : busy) c.end();
}

TEST_CASE("what a user set by hand is not forgotten", "[keyed]") {
    breakers l = build<breakers>(keyed_breaker::options{.tag = "shard", .capacity = 3, .each = {.consecutive_failures = 1}});
    manual_world w;
    const auto set = [&](std::string_view of, strata::circuit_mode mode) {
        l.at<0>().for_each([&](std::string_view key, auto& breaker) {
            if (key == of) breaker.set_mode(mode, "maintenance", w.now);
        });
    };
    call(l, w, "a");
    call(l, w, "b");
    set("a", strata::circuit_mode::forced_open);
    SECTION("while it is in force") {
        for (const char* key : {"c", "d", "e", "f", "g"}) CHECK(call(l, w, key) == errc::ok);
        CHECK(call(l, w, "a") == errc::circuit_open);
        CHECK(l.at<0>().evicted() == 4);  // one of the others each time
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"a", 1}, {"f", 1}, {"g", 1}, {"(others)", 1}});
    }
    SECTION("and no longer") {
        set("a", strata::circuit_mode::automatic);
        for (const char* key : {"c", "d", "e"}) call(l, w, key);
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"c", 1}, {"d", 1}, {"e", 1}, {"(others)", 1}});
    }
    SECTION("every mode counts, and where all are set the newcomers share one") {
        call(l, w, "c");
        set("b", strata::circuit_mode::observing);
        set("c", strata::circuit_mode::disabled);
        CHECK(call(l, w, "d", errc::io_error) == errc::io_error);
        CHECK(call(l, w, "e") == errc::circuit_open);
        CHECK(keys_of(l.at<0>()) == std::map<std::string, int>{{"a", 1}, {"b", 1}, {"c", 1}, {"(others)", 1}});
        CHECK(l.at<0>().evicted() == 0);
    }
    SECTION("so it is with a bulkhead's size") {
        bulkheads sized = build<bulkheads>(keyed_bulkhead::options{.tag = "shard", .capacity = 1, .each = {.max_concurrent = 2}});
        call(sized, w, "a");
        sized.at<0>().for_each([](std::string_view key, auto& bulkhead) {
            if (key == "a") bulkhead.resize(1);
        });
        call(sized, w, "b");
        CHECK(keys_of(sized.at<0>()) == std::map<std::string, int>{{"a", 1}, {"(others)", 1}});
    }
}

TEST_CASE("policies without a verdict, or without an exit, can be keyed too", "[keyed]") {
    using limits = strata::layers<strata::keyed<strata::total_timeout>>;
    limits l = build<limits>(strata::keyed_options<strata::total_timeout>{.tag = "shard", .each = {.limit = 5s}});
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == strata::step::attempt);
    CHECK(op.deadline == w.now + 5s);
    REQUIRE(p.landed(w.moment()) == strata::step::done);
    CHECK(op.deadline == strata::never);
}

TEST_CASE("random keys: the table is bounded, and each operation ends where it began", "[keyed][random]") {
    std::mt19937 dice{9};
    for (int round = 0; round < count(30, 500); ++round) {
        const std::size_t capacity = 1 + dice() % 6;
        bulkheads l =
            build<bulkheads>(keyed_bulkhead::options{.tag = "shard", .capacity = capacity, .each = {.max_concurrent = 1'000'000}});
        manual_world w;
        std::list<std::unique_ptr<call_for<bulkheads>>> inside;
        static const std::string names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"};
        for (int i = 0; i < 500; ++i) {
            if (dice() % 2 == 0 || inside.empty()) {
                inside.push_back(std::make_unique<call_for<bulkheads>>(l, w, names[dice() % 12]));
                REQUIRE(inside.back()->step == strata::step::attempt);
            } else {
                auto at = std::next(inside.begin(), static_cast<std::ptrdiff_t>(dice() % inside.size()));
                if (dice() % 4 != 0) (*at)->end();
                inside.erase(at);
            }
            std::size_t there = 0;
            l.at<0>().for_each([&](std::string_view, auto& bulkhead) { there += bulkhead.snapshot().inside; });
            REQUIRE(there == inside.size());
            REQUIRE(l.at<0>().size() <= capacity);
        }
    }
}

TEST_CASE("threads share a table", "[keyed][threads]") {
    bulkheads l = build<bulkheads>(keyed_bulkhead::options{.tag = "shard", .capacity = 4, .each = {.max_concurrent = 1'000}});
    std::vector<std::thread> all;
    for (int t = 0; t < 8; ++t)
        all.emplace_back([&, t] {
            manual_world w;
            const std::string name(1, static_cast<char>('a' + t));
            for (int i = 0; i < count(1'000, 20'000); ++i) static_cast<void>(call(l, w, i % 3 == 0 ? name : std::string{"z"}));
        });
    for (auto& t : all) t.join();
    std::size_t there = 0;
    l.at<0>().for_each([&](std::string_view, auto& bulkhead) { there += bulkhead.snapshot().inside; });
    CHECK(there == 0);
    CHECK(l.at<0>().size() <= 4);
}

TEST_CASE("keyed options that make no sense name their field", "[keyed]") {
    using options = keyed_breaker::options;
    CHECK_FALSE((options{.tag = "shard"}.validate()));
    CHECK_THAT(options{}.validate().message(), contains_text("keyed_options.tag"));
    CHECK_THAT(
        (options{.tag = "shard", .key = [](const strata::operation_base&) noexcept { return std::string_view{}; }}.validate().message()),
        contains_text("keyed_options.tag"));
    CHECK_THAT((options{.tag = "shard", .capacity = 0}.validate().message()), contains_text("keyed_options.capacity"));
    CHECK_THAT((options{.tag = "shard", .each = {.jitter = 2}}.validate().message()), contains_text("circuit_breaker_options.jitter"));
}
