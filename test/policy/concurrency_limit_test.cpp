// The adaptive limit: that it finds what a database can do, and is not led astray.
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/concurrency_limit.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <memory>
#include <queue>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;

namespace {

using alone = strata::layers<strata::concurrency_limit<>>;
using options = strata::concurrency_limit_options;
using call = held_call<alone>;

/// A database that serves `capacity` at once as fast as one; more share it.
struct bench {
    explicit bench(options o) : l(build<alone>(o)) {}
    [[nodiscard]] auto now() { return l.at<0>().snapshot(); }

    /// `clients` call as soon as they may, `calls` altogether; a refused one tries again a little later.
    void load(std::size_t clients, double capacity, int calls, strata::duration service = 10ms, errc every_tenth = errc::ok) {
        struct event {
            strata::time_point at;
            std::size_t client;
            bool operator>(const event& o) const { return std::pair{at, client} > std::pair{o.at, o.client}; }
        };
        std::priority_queue<event, std::vector<event>, std::greater<>> events;
        std::vector<std::unique_ptr<call>> on_way(clients);
        for (std::size_t i = 0; i < clients; ++i) events.push({w.now + i * 100us, i});
        std::size_t inside = 0;
        for (int done = 0; done < calls;) {
            const event e = events.top();
            events.pop();
            w.now = e.at;
            auto& c = on_way[e.client];
            if (c) {
                c->end(++done % 10 == 0 ? every_tenth : errc::ok);
                c.reset();
                --inside;
                events.push({w.now + 10us, e.client});
                continue;
            }
            c = std::make_unique<call>(l, w);
            if (c->is_over()) {
                c.reset();
                events.push({w.now + 3ms, e.client});
                continue;
            }
            REQUIRE(c->is_inside());
            ++inside;
            if (inside > most) most = inside;
            const double share = static_cast<double>(inside) / capacity;
            const auto takes = static_cast<std::int64_t>(static_cast<double>(service.count()) * (share > 1 ? share : 1));
            events.push({w.now + strata::duration{takes}, e.client});
        }
    }

    alone l;
    manual_world w;
    std::size_t most = 0;
};

}  // namespace

TEST_CASE("so many are inside as the limit says", "[concurrency_limit]") {
    STATIC_REQUIRE(strata::concurrency_limit<>::place == strata::place::limit);
    bench b{{.initial = 2, .max = 2}};
    call one{b.l, b.w}, two{b.l, b.w}, three{b.l, b.w};
    CHECK(two.is_inside());
    REQUIRE(three.is_over());
    CHECK(three.error().code() == errc::bulkhead_full);
    CHECK(three.error().local());
    CHECK(b.now().inside == 2);
    CHECK(b.now().refused == 1);
    one.end();
    call four{b.l, b.w};
    CHECK(four.is_inside());
}

TEST_CASE("who may wait gets a slot in order", "[concurrency_limit]") {
    bench b{{.initial = 1, .max = 1, .max_waiting = 2, .max_wait = 10ms}};
    call one{b.l, b.w}, two{b.l, b.w}, high{b.l, b.w, strata::priority::high}, three{b.l, b.w};
    REQUIRE(two.waits());
    REQUIRE(high.waits());
    CHECK(three.is_over());
    CHECK(b.now().waiting == 2);
    one.end();
    REQUIRE(high.is_granted());
    high.resume();
    REQUIRE(high.is_inside());
    b.w.pass(10ms);
    two.resume();
    CHECK(two.error().code() == errc::bulkhead_full);
    CHECK(b.now().waiting == 0);
    {
        call waits{b.l, b.w};
        REQUIRE(waits.waits());
    }
    CHECK(b.now().waiting == 0);
    high.end();
    CHECK(b.now().inside == 0);
}

TEST_CASE("the limit grows while times stay as they were, up to its bound", "[concurrency_limit]") {
    bench b{{.initial = 5, .max = 40}};
    b.load(100, 1000, 5'000);
    CHECK(b.now().limit == 40);
    CHECK(b.most <= 40);
    CHECK(b.now().usual == strata::duration{10ms});
}

TEST_CASE("from the smallest limit it grows too", "[concurrency_limit]") {
    for (const std::uint32_t initial : {1u, 2u}) {
        bench b{{.initial = initial}};
        b.load(100, 1000, 10'000);
        CHECK(b.now().limit > 50);
    }
}

TEST_CASE("it does not grow when the application is what limits", "[concurrency_limit]") {
    bench b{{.initial = 20}};
    b.load(5, 1000, 10'000);
    CHECK(b.now().limit == 20);
}

TEST_CASE("it settles near what the database can do", "[concurrency_limit]") {
    bench b{{.initial = 20, .tolerance = 1.2}};
    b.load(5, 1000, 1'000);  // what is usual is learned while there is room
    b.load(300, 50, 10'000);
    const auto limit = b.now().limit;
    CHECK(limit >= 40);
    CHECK(limit <= 100);
}

TEST_CASE("a lasting overload does not become the usual", "[concurrency_limit]") {
    bench b{{.initial = 20}};
    b.load(5, 1000, 1'000);
    b.load(300, 50, 10'000);
    const auto soon = b.now().limit;
    b.load(300, 50, count(20'000, 100'000));
    CHECK(b.now().limit < soon * 5 / 4);
    CHECK(b.now().usual < strata::duration{12ms});
}

TEST_CASE("when the database can do less the limit falls, and rises again after", "[concurrency_limit]") {
    bench b{{.initial = 50}};
    b.load(300, 1000, count(10'000, 20'000));
    CHECK(b.now().limit == 200);
    b.load(300, 20, count(10'000, 20'000));
    const auto slow = b.now().limit;
    CHECK(slow >= 20);
    CHECK(slow <= 60);
    b.load(300, 1000, count(10'000, 20'000));
    CHECK(b.now().limit == 200);
}

TEST_CASE("where fewer callers do not make it faster the limit does not fall to nothing", "[concurrency_limit]") {
    bench b{{.initial = 50}};
    b.load(300, 1000, count(10'000, 20'000));
    b.load(300, 1000, count(10'000, 20'000), 100ms);  // heavier statements, say
    CHECK(b.now().limit >= 50);
    CHECK(b.now().usual > strata::duration{60ms});
}

TEST_CASE("failures of the database lower it, down to its bound; other ends do not", "[concurrency_limit]") {
    bench b{{.initial = 50, .min = 7}};
    SECTION("illness") {
        b.load(60, 1000, 2'000, 10ms, errc::io_error);
        CHECK(b.now().limit == 7);
    }
    SECTION("by the factor, once for all failures of a round") {
        for (int i = 0; i < 50; ++i) run(b.l, b.w, ends_with(errc::connection_lost));
        CHECK(b.now().limit == 45);
        b.load(300, 1000, count(10'000, 20'000));
        CHECK(b.now().limit == 200);  // and then it is forgotten
    }
    SECTION("also when it cannot be connected to, which begins with a wait") {
        for (int i = 0; i < 50; ++i)
            run(b.l, b.w, [](auto& op, strata::outcome& o) {
                op.waited_for_lease = true;
                o.replace(strata::error{errc::cannot_connect, strata::phase::connect});
            });
        CHECK(b.now().limit == 45);
    }
    SECTION("answers and cancels") {
        b.load(60, 1000, 2'000, 10ms, errc::unique_violation);
        CHECK(b.now().limit >= 50);
        b.load(60, 1000, 2'000, 10ms, errc::cancelled);
        CHECK(b.now().limit >= 50);
    }
}

TEST_CASE("what waited for a connection or met contention is no sample", "[concurrency_limit]") {
    bench b{{.initial = 3, .samples = 4}};
    for (int i = 0; i < 100; ++i) {
        run(b.l, b.w, [&](auto& op, strata::outcome&) {
            op.waited_for_lease = true;
            b.w.pass(1s);
        });
        run(b.l, b.w, [&](auto&, strata::outcome& o) {
            o.replace(strata::error{errc::deadlock, strata::phase::execute});
            b.w.pass(1s);
        });
        run(b.l, b.w, [&](auto&, strata::outcome& o) {
            o.replace(strata::error{errc::cancelled, strata::phase::execute});
            b.w.pass(1s);
        });
    }
    CHECK(b.now().usual == strata::duration::zero());  // nothing was decided
    for (int i = 0; i < 4; ++i) run(b.l, b.w, [&](auto&, strata::outcome&) { b.w.pass(5ms); });
    CHECK(b.now().usual == strata::duration{5ms});
    CHECK(b.now().limit == 3);
}

TEST_CASE("one that is destroyed on its way gives its slot back", "[concurrency_limit]") {
    bench b{{.initial = 1, .max = 1}};
    {
        call gone{b.l, b.w};
        REQUIRE(gone.is_inside());
    }
    CHECK(b.now().inside == 0);
}

TEST_CASE("threads: never above the bound, and none is lost", "[concurrency_limit][threads]") {
    alone l = build<alone>(options{.initial = 3, .max = 4, .max_waiting = 100, .max_wait = 10min});
    std::atomic<int> inside{0}, most{0};
    std::vector<std::thread> all;
    for (int t = 0; t < 8; ++t)
        all.emplace_back([&] {
            for (int i = 0; i < count(1'000, 20'000); ++i) {
                plain_operation op;
                strata::passage p{l, op};
                strata::step s = p.first({strata::steady_now()});
                while (s == strata::step::park) {
                    p.parked_on()->block(p.parked_until());
                    s = p.resume({strata::steady_now()});
                }
                if (s != strata::step::attempt) continue;
                const int now = ++inside;
                for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) {
                }
                --inside;
                static_cast<void>(p.landed({strata::steady_now()}));
            }
        });
    for (auto& t : all) t.join();
    CHECK(most <= 4);
    CHECK(l.at<0>().snapshot().inside == 0);
    CHECK(l.at<0>().snapshot().waiting == 0);
}

TEST_CASE("concurrency limit options that make no sense name their field", "[concurrency_limit]") {
    CHECK_FALSE(options{}.validate());
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.min = 0}), contains_text("concurrency_limit_options.min"));
    CHECK_THAT(says({.min = 30, .max = 20}), contains_text("concurrency_limit_options.max"));
    CHECK_THAT(says({.max = 1'000'001}), contains_text("concurrency_limit_options.max"));
    CHECK_THAT(says({.initial = 201}), contains_text("concurrency_limit_options.initial"));
    CHECK_THAT(says({.tolerance = 0.9}), contains_text("concurrency_limit_options.tolerance"));
    CHECK_THAT(says({.backoff = 1.0}), contains_text("concurrency_limit_options.backoff"));
    CHECK_THAT(says({.samples = 0}), contains_text("concurrency_limit_options.samples"));
    CHECK_THAT(says({.max_wait = -1ns}), contains_text("concurrency_limit_options.max_wait"));
}
