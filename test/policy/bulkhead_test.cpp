// The bulkhead: how many at once, who waits, in which order, and that no slot is ever lost or given twice.
#include <strata/policy/bulkhead.hpp>
#include <strata/policy/retry.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <array>
#include <atomic>
#include <deque>
#include <list>
#include <memory>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using strata::priority;

namespace {

using alone = strata::layers<strata::bulkhead<>>;
using options = strata::bulkhead_options;
using call = held_call<alone>;

struct fixture {
    explicit fixture(options o) : l(build<alone>(o)) {}
    [[nodiscard]] auto& bulkhead() { return l.at<0>(); }
    [[nodiscard]] std::unique_ptr<call> begin(priority p = priority::normal) { return std::make_unique<call>(l, w, p); }

    alone l;
    manual_world w;
};

}  // namespace

TEST_CASE("so many are inside, the next waits, and gets the slot that comes back", "[bulkhead]") {
    STATIC_REQUIRE(strata::bulkhead<>::place == strata::place::bulkhead);
    STATIC_REQUIRE(strata::bulkhead<void, strata::place::bound>::place == strata::place::bound);
    fixture f{{.max_concurrent = 2}};
    auto a = f.begin(), b = f.begin(), c = f.begin();
    CHECK(a->is_inside());
    CHECK(b->is_inside());
    REQUIRE(c->waits());
    CHECK(f.bulkhead().snapshot().inside == 2);
    CHECK(f.bulkhead().snapshot().waiting == 1);
    CHECK(f.bulkhead().snapshot().waits == 1);
    CHECK_FALSE(c->is_granted());
    b->end(errc::io_error);  // however it ended
    REQUIRE(c->is_granted());
    CHECK(f.begin()->waits());  // the slot is c's, though c has not moved yet
    c->resume();
    CHECK(c->is_inside());
    c->end();
    a->end();
    CHECK(f.bulkhead().snapshot().inside == 0);
    CHECK(f.bulkhead().snapshot().waiting == 0);
    CHECK(f.begin()->is_inside());
}

TEST_CASE("who waits is served in order, by priority first", "[bulkhead]") {
    fixture f{{.max_concurrent = 1}};
    auto inside = f.begin();
    const std::array given{priority::low, priority::normal, priority::high, priority::normal, priority::high, priority::low};
    const std::array<std::size_t, 6> order{2, 4, 1, 3, 0, 5};
    std::vector<std::unique_ptr<call>> waiting;
    for (const priority p : given) waiting.push_back(f.begin(p));
    for (const std::size_t next : order) {
        inside->end();
        for (std::size_t i = 0; i < given.size(); ++i)
            if (waiting[i] && waiting[i]->is_granted()) {
                CHECK(i == next);
                inside = std::move(waiting[i]);
                inside->resume();
                REQUIRE(inside->is_inside());
            }
    }
    inside->end();
    CHECK(f.bulkhead().snapshot().inside == 0);
}

TEST_CASE("a full queue refuses, but for who is more important than somebody in it", "[bulkhead]") {
    fixture f{{.max_concurrent = 1, .max_waiting = 2}};
    auto inside = f.begin();
    auto older = f.begin(priority::low), younger = f.begin(priority::low);
    auto refused = f.begin(priority::low);
    REQUIRE(refused->is_over());
    CHECK(refused->error().code() == errc::bulkhead_full);
    CHECK(refused->error().local());
    SECTION("the youngest of the lowest gives way") {
        auto normal = f.begin(priority::normal);
        CHECK(normal->waits());
        REQUIRE(younger->is_granted());  // told, but with nothing
        CHECK_FALSE(older->is_granted());
        younger->resume();
        CHECK(younger->error().code() == errc::bulkhead_full);
        CHECK(f.bulkhead().snapshot().waiting == 2);
        auto high = f.begin(priority::high);
        CHECK(high->waits());
        REQUIRE(older->is_granted());
        older->resume();
        CHECK(older->error().code() == errc::bulkhead_full);
        auto higher = f.begin(priority::high);
        CHECK(higher->waits());
        normal->resume();
        CHECK(normal->error().code() == errc::bulkhead_full);
        CHECK(f.begin(priority::high)->error().code() == errc::bulkhead_full);
        inside->end();
        CHECK(high->is_granted());
        CHECK(f.bulkhead().snapshot().refused == 5);
    }
    SECTION("with equals it is first come, first served") {
        CHECK(f.begin(priority::low)->is_over());
        CHECK_FALSE(younger->is_granted());
    }
}

TEST_CASE("who has given up takes no place from the living", "[bulkhead]") {
    strata::detail::permits p{1};
    REQUIRE(p.try_take());
    strata::detail::permits::place live, gone, newcomer;
    const auto waits = [&](strata::detail::permits::place& at, priority of) {
        plain_operation op;
        op.priority = of;
        return p.admit_slowly(at, op, {}, 2, 1h).kind == strata::verdict::what::park;
    };
    REQUIRE(waits(live, priority::low));
    REQUIRE(waits(gone, priority::low));
    REQUIRE(gone.node.withdraw());
    CHECK(waits(newcomer, priority::normal));
    CHECK_FALSE(live.node.is_granted());
    p.abandon(gone);
    CHECK(p.queue_size() == 2);
}

TEST_CASE("where nobody may wait, who finds no slot is refused", "[bulkhead]") {
    fixture f{{.max_concurrent = 1, .max_waiting = 0}};
    auto inside = f.begin();
    CHECK(f.begin()->error().code() == errc::bulkhead_full);
    CHECK(f.begin(priority::high)->error().code() == errc::bulkhead_full);
    inside->end();
    CHECK(f.begin()->is_inside());
}

TEST_CASE("a wait ends: by the bulkhead's patience, the deadline, a cancel, the end of the operation", "[bulkhead]") {
    fixture f{{.max_concurrent = 1, .max_wait = 50ms}};
    auto inside = f.begin();
    SECTION("patience") {
        auto waits = f.begin();
        CHECK(waits->until() == f.w.now + 50ms);
        f.w.pass(50ms);
        waits->resume();
        REQUIRE(waits->is_over());
        CHECK(waits->error().code() == errc::bulkhead_full);
        CHECK(waits->error().local());
    }
    SECTION("deadline") {
        call waits{f.l, f.w, priority::normal, f.w.now + 20ms};
        CHECK(waits.until() == f.w.now + 20ms);
        f.w.pass(20ms);
        waits.resume();
        REQUIRE(waits.is_over());
        CHECK(waits.error().code() == errc::timeout);
    }
    SECTION("cancel") {
        auto waits = f.begin();
        waits->cancel();
        REQUIRE(waits->is_over());
        CHECK(waits->error().code() == errc::cancelled);
    }
    SECTION("destroyed while it waits") {
        auto waits = f.begin();
        waits.reset();
    }
    SECTION("destroyed when its slot has come") {
        auto waits = f.begin();
        inside->end();
        REQUIRE(waits->is_granted());
        CHECK(f.begin()->waits());
        waits.reset();
        inside = f.begin();
        REQUIRE(inside->is_inside());
    }
    SECTION("cancelled when its slot has come: the slot goes through it") {
        auto waits = f.begin();
        inside->end();
        waits->cancel();
        REQUIRE(waits->is_inside());
        inside = std::move(waits);
    }
    CHECK(f.bulkhead().snapshot().waiting == 0);
    CHECK(f.bulkhead().snapshot().inside == 1);
    CHECK(f.begin()->waits());
    inside->end();
    CHECK(f.begin()->is_inside());
    CHECK(f.bulkhead().snapshot().inside == 0);
}

TEST_CASE("an operation that is destroyed inside gives its slot back", "[bulkhead]") {
    fixture f{{.max_concurrent = 1}};
    auto inside = f.begin();
    auto waits = f.begin();
    inside.reset();
    CHECK(waits->is_granted());
}

TEST_CASE("the size can be changed: more come in at once, fewer when slots come back", "[bulkhead]") {
    fixture f{{.max_concurrent = 2}};
    auto a = f.begin(), b = f.begin(), c = f.begin(), d = f.begin();
    f.bulkhead().resize(3);
    REQUIRE(c->is_granted());
    CHECK_FALSE(d->is_granted());
    c->resume();
    f.bulkhead().resize(1);
    CHECK(f.bulkhead().snapshot().inside == 3);
    a->end();
    b->end();
    CHECK_FALSE(d->is_granted());
    CHECK(f.bulkhead().snapshot().inside == 1);
    f.bulkhead().resize(0);  // at least one
    c->end();
    CHECK(d->is_granted());
    d->resume();
    d->end();
    auto last = f.begin();
    CHECK(last->is_inside());
    CHECK(f.begin()->waits());
}

TEST_CASE("inside a retry no slot is held during a pause, outside of it one is", "[bulkhead][retry]") {
    using inside = strata::layers<strata::retry<>, strata::bulkhead<>>;
    using outside = strata::layers<strata::bulkhead<void, strata::place::bound>, strata::retry<>>;
    const strata::retry_options slow{.base = 10ms};
    manual_world w;
    w.set_unit(0.5);
    const auto inside_during_pause = [&](auto l_of) {
        using layers = typename decltype(l_of)::type;
        layers l = build<layers>(slow, options{.max_concurrent = 1});
        held_call<layers> c{l, w};
        c.end(errc::busy);
        REQUIRE(c.waits());
        if constexpr (std::is_same_v<layers, inside>)
            return l.template at<1>().snapshot().inside;
        else
            return l.template at<0>().snapshot().inside;
    };
    CHECK(inside_during_pause(std::type_identity<inside>{}) == 0);
    CHECK(inside_during_pause(std::type_identity<outside>{}) == 1);
}

TEST_CASE("bulkhead options that make no sense name their field", "[bulkhead]") {
    CHECK_FALSE(options{}.validate());
    CHECK_THAT((options{.max_concurrent = 0}.validate().message()), contains_text("bulkhead_options.max_concurrent"));
    CHECK_THAT((options{.max_concurrent = 1'000'001}.validate().message()), contains_text("bulkhead_options.max_concurrent"));
    CHECK_THAT((options{.max_wait = -1ns}.validate().message()), contains_text("bulkhead_options.max_wait"));
}

TEST_CASE("random comings, goings, cancels and sizes agree with a model", "[bulkhead][random]") {
    std::mt19937 dice{11};
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(dice() % n); };
    for (int round = 0; round < count(50, 1'000); ++round) {
        std::size_t size = 1 + below(4);
        const std::size_t most = below(6);
        fixture f{{.max_concurrent = static_cast<std::uint32_t>(size), .max_waiting = most, .max_wait = 1h}};
        struct client {
            std::unique_ptr<call> c;
            priority p;
        };
        std::list<client> inside;                // the model: these hold a slot
        std::array<std::list<client>, 3> queue;  // and these wait, oldest first
        const auto of = [&](priority p) -> auto& { return queue[static_cast<std::size_t>(p)]; };
        const auto waiting = [&] { return queue[0].size() + queue[1].size() + queue[2].size(); };
        const auto serve = [&] {  // what the bulkhead must have done: the free slots are given to the first
            while (inside.size() < size && waiting() > 0) {
                for (const priority p : {priority::high, priority::normal, priority::low})
                    if (!of(p).empty()) {
                        REQUIRE(of(p).front().c->is_granted());
                        of(p).front().c->resume();
                        REQUIRE(of(p).front().c->is_inside());
                        inside.splice(inside.end(), of(p), of(p).begin());
                        break;
                    }
            }
            for (auto& q : queue)
                for (auto& w : q) REQUIRE_FALSE(w.c->is_granted());
            REQUIRE(f.bulkhead().snapshot().inside == inside.size());
            REQUIRE(f.bulkhead().snapshot().waiting == waiting());
        };
        for (int i = 0; i < 400; ++i) {
            const std::size_t what = below(10);
            if (what < 5) {
                const auto p = static_cast<priority>(below(3));
                client c{f.begin(p), p};
                if (inside.size() < size && waiting() == 0) {
                    REQUIRE(c.c->is_inside());
                    inside.push_back(std::move(c));
                } else if (waiting() < most) {
                    REQUIRE(c.c->waits());
                    of(p).push_back(std::move(c));
                } else {
                    priority loser = priority::high;
                    if (p != priority::low && !of(priority::low).empty())
                        loser = priority::low;
                    else if (p == priority::high && !of(priority::normal).empty())
                        loser = priority::normal;
                    if (loser == priority::high) {
                        REQUIRE(c.c->is_over());
                    } else {
                        REQUIRE(c.c->waits());
                        REQUIRE(of(loser).back().c->is_granted());
                        of(loser).back().c->resume();
                        REQUIRE(of(loser).back().c->error().code() == errc::bulkhead_full);
                        of(loser).pop_back();
                        of(p).push_back(std::move(c));
                    }
                }
            } else if (what < 8 && !inside.empty()) {
                auto at = std::next(inside.begin(), static_cast<std::ptrdiff_t>(below(inside.size())));
                if (what == 7)
                    at->c.reset();  // destroyed on its way
                else
                    at->c->end();
                inside.erase(at);
            } else if (what == 8) {
                auto& q = queue[below(3)];
                if (!q.empty()) {
                    auto at = std::next(q.begin(), static_cast<std::ptrdiff_t>(below(q.size())));
                    if (below(2) == 0) at->c->cancel();
                    q.erase(at);
                }
            } else {
                size = 1 + below(4);
                f.bulkhead().resize(static_cast<std::uint32_t>(size));
            }
            serve();
        }
    }
}

TEST_CASE("under real threads never more than so many are inside, and all come through", "[bulkhead][threads]") {
    constexpr int limit = 3, threads = 8;
    const int each = count(2'000, 50'000);
    alone l = build<alone>(options{.max_concurrent = limit, .max_wait = 10min});
    std::atomic<int> inside{0}, most{0}, served{0};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&] {
            for (int i = 0; i < each; ++i) {
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
                if (i % 64 == 0) std::this_thread::yield();
                --inside;
                static_cast<void>(p.landed({strata::steady_now()}));
                ++served;
            }
        });
    for (auto& t : all) t.join();
    CHECK(most <= limit);
    CHECK(served == threads * each);
    CHECK(l.at<0>().snapshot().inside == 0);
    CHECK(l.at<0>().snapshot().waiting == 0);
}
