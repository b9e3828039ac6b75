// What a pool does by itself: ages, idle times, dead connections, what is missing; and pools that change their size.
#include "probe.hpp"

#include <support/catch.hpp>

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using task = strata::simulated_task<>;

TEST_CASE("without options that need it there is no upkeep", "[upkeep]") {
    pool_of<> p{{.min_size = 1}}, q{{.min_size = 1, .max_idle = 1s}};
    CHECK(q.tasks.size() == p.tasks.size() + 1);
    const strata::time_point before = p.world.now();
    p.world.run();
    CHECK(p.world.now() == before);
}

TEST_CASE("a pool for one thread takes no thread for its upkeep", "[upkeep]") {
    strata::simulated_world world;
    probe_log log;
    strata::detail::pool_source<probe_driver<false>, strata::no_lock> source({.max_idle = 1s}, probe_options{&log});
    CHECK(source.open_first(world).code() == errc::invalid_argument);
    strata::detail::pool_source<probe_driver<false>, strata::no_lock> plain({}, probe_options{&log});
    CHECK_FALSE(plain.open_first(world));
}

TEST_CASE("upkeep options that make no sense name their field", "[upkeep]") {
    using options = strata::pool_options;
    CHECK_FALSE((options{.max_lifetime = 1s, .max_idle = 1s, .check_interval = 1s}.validate()));
    CHECK_THAT((options{.max_lifetime = -1s}.validate().message()), contains_text("pool_options.max_lifetime"));
    CHECK_THAT((options{.lifetime_jitter = 1.0}.validate().message()), contains_text("pool_options.lifetime_jitter"));
    CHECK_THAT((options{.max_idle = -1s}.validate().message()), contains_text("pool_options.max_idle"));
    CHECK_THAT((options{.check_interval = -1s}.validate().message()), contains_text("pool_options.check_interval"));
}

TEST_CASE("connections that nobody uses are closed down to min_size, and only those", "[upkeep]") {
    pool_of<> p{{.min_size = 2, .max_size = 8, .max_idle = 1s}};
    p.use(6, 10ms);
    CHECK(p.now().open == 6);
    p.world.run_for(900ms);
    CHECK(p.now().open == 6);
    p.world.run_for(500ms);
    CHECK(p.now().open == 2);
    CHECK(p.now().retired == 4);
    CHECK(p.now().lost == 0);
    SECTION("what is used stays") {
        p.use(6, 10ms);
        for (int i = 0; i < 100; ++i) {  // two at a time: the warmest
            p.use(2, 10ms);
            p.world.run_for(100ms);
        }
        CHECK(p.now().open == 2);
        CHECK(p.log.opened.size() == 10);
        p.use(3, 10ms);
        for (int i = 0; i < 100; ++i) {
            p.use(3, 10ms);
            p.world.run_for(100ms);
        }
        CHECK(p.now().open == 3);
        CHECK(p.log.opened.size() == 11);
    }
}

TEST_CASE("a connection is replaced when its life is over, and the new one is there first", "[upkeep]") {
    pool_of<> p{{.min_size = 3, .max_size = 4, .max_lifetime = 10s, .lifetime_jitter = 0.5}, 20ms};
    std::size_t least = 3;
    for (int i = 0; i < 40'000; ++i) {
        p.world.run_for(1ms);
        least = std::min(least, p.now().idle);
    }
    CHECK(least == 3);
    CHECK(p.log.most_open == 4);
    CHECK(p.now().retired >= 3 * 4);
    CHECK(p.now().retired <= 3 * 8);
    CHECK(p.log.opened.size() == p.now().retired + 3);
}

TEST_CASE("the old one goes as soon as the new one is there, not a round later", "[upkeep]") {
    pool_of<> p{{.min_size = 1, .max_size = 2, .max_lifetime = 10s, .lifetime_jitter = 0, .check_interval = 1s}, 20ms};
    int both = 0;
    for (int i = 0; i < 40'000; ++i) {
        p.world.run_for(1ms);
        if (p.now().idle == 2) ++both;
    }
    CHECK(p.now().retired >= 3);
    CHECK(both == 0);
}

TEST_CASE("where the pool is full the old one goes first", "[upkeep]") {
    pool_of<> p{{.min_size = 2, .max_size = 2, .max_lifetime = 10s, .lifetime_jitter = 0}};
    p.world.run_for(60s);
    CHECK(p.now().open == 2);
    CHECK(p.log.most_open == 2);
    CHECK(p.now().retired >= 8);
}

TEST_CASE("lives are drawn from a range, so that those who began together do not end together", "[upkeep]") {
    pool_of<> p{{.min_size = 50, .max_size = 60, .max_lifetime = 100s, .lifetime_jitter = 0.2, .check_interval = 100ms}};
    std::vector<std::uint64_t> each_second;
    std::uint64_t before = 0;
    for (int i = 0; i < 101; ++i) {
        p.world.run_for(1s);
        each_second.push_back(p.now().retired - before);
        before = p.now().retired;
    }
    CHECK(std::accumulate(each_second.begin(), each_second.begin() + 79, std::uint64_t{0}) == 0);
    CHECK(p.now().retired >= 50);
    CHECK(*std::max_element(each_second.begin(), each_second.end()) <= 10);
    CHECK(p.now().open == 50);
}

TEST_CASE("one that is lent out is not disturbed, and closed when it comes back", "[upkeep]") {
    pool_of<> p{{.min_size = 0, .max_size = 2, .max_lifetime = 1s, .lifetime_jitter = 0}};
    p.world.spawn("client", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 5s});
        CHECK_FALSE(w.error);
        CHECK(w.connection == 1);
        const went next = co_await lease(p.r);
        CHECK(next.connection == 2);
    });
    p.world.run();
    CHECK(p.now().retired == 1);
    CHECK(p.now().lost == 0);
}

TEST_CASE("what the server has given up is noticed while idle, and made anew", "[upkeep]") {
    pool_of<> p{{.min_size = 3, .max_size = 5, .check_interval = 1s}, 20ms};
    REQUIRE(p.now().open == 3);
    p.log.dead_up_to = 2;
    p.world.run_for(1500ms);
    CHECK(p.now().open == 3);
    CHECK(p.now().lost == 2);
    CHECK(p.log.opened == std::vector<unsigned>{1, 2, 3, 4, 5});
    p.use(3, 1ms);
    CHECK(p.now().opened == 5);
}

TEST_CASE("while the server is away there is one prober, whose pauses grow", "[upkeep]") {
    pool_of<> p{{.min_size = 3, .max_size = 5, .check_interval = 1s}, 1ms};
    p.log.dead_up_to = 3;
    p.log.refuse_connects = 1'000'000;
    p.world.run_for(1min);
    const int tries = 1'000'000 - p.log.refuse_connects;
    CHECK(tries >= 8);
    CHECK(tries <= 34);  // 10, 20, 40 ms ... 5 s, with jitter
    CHECK(p.now().open == 0);
    p.log.refuse_connects = 0;
    p.world.run_for(11s);
    CHECK(p.now().open == 3);
}

TEST_CASE("with two lanes the writer is opened first", "[upkeep]") {
    pool_of<true> p{{.min_size = 2, .max_size = 4, .check_interval = 1s}};
    p.log.dead_up_to = 2;
    p.world.run_for(3s);
    CHECK(p.now().open == 2);
    CHECK(p.now().lost == 2);
    p.world.spawn("client", [&]() -> task {
        const went writes = co_await lease(p.r);
        CHECK_FALSE(writes.error);
        const went reads = co_await lease(p.r, {.reads = true});
        CHECK_FALSE(reads.error);
    });
    p.world.run();
    CHECK(p.now().opened == 4);
}

TEST_CASE("looking at a connection does not make it warm, and hands it to who waits", "[upkeep]") {
    pool_of<> p{{.min_size = 3, .max_size = 3, .check_interval = 10ms}};
    std::set<unsigned> used;
    for (int i = 0; i < 50; ++i) {
        p.world.spawn("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 7ms});
            used.insert(w.connection);
        });
        p.world.run_for(25ms);
    }
    CHECK(used.size() == 1);
}

TEST_CASE("a pool that is closed opens nothing any more", "[upkeep]") {
    pool_of<> p{{.min_size = 3, .max_size = 3, .check_interval = 10ms}, 200ms};
    p.log.dead_up_to = 3;
    p.world.run_for(30ms);  // one is being opened
    CHECK(p.source.stop(p.world, p.world.now() + 1s));
    CHECK(p.now().open == 0);
    const auto opened = p.log.opened.size();
    p.world.run_for(10s);
    CHECK(p.log.opened.size() == opened);
    CHECK(p.log.open == 0);
}

TEST_CASE("a pool can be made smaller and larger while it is used", "[pool][resize]") {
    pool_of<> p{{.min_size = 0, .max_size = 4}};
    p.use(4, 1ms);
    REQUIRE(p.now().idle == 4);
    SECTION("idle ones are closed at once") {
        p.source.resize(2);
        CHECK(p.now().open == 2);
        CHECK(p.now().retired == 2);
        p.use(4, 1ms);
        CHECK(p.now().open == 2);
        CHECK(p.now().opened == 4);
        p.source.resize(100);  // as large as it was made
        p.use(6, 1ms);
        CHECK(p.now().open == 4);
        p.source.resize(0);
        CHECK(p.now().open == 1);
    }
    SECTION("those lent out when they come back") {
        for (int i = 0; i < 3; ++i)
            p.world.spawn("client", [&]() -> task {
                const went w = co_await lease(p.r, {.takes = 10ms});
                CHECK_FALSE(w.error);
            });
        p.world.spawn("operator", [&]() -> task {
            co_await p.world.sleep(5ms);
            p.source.resize(1);
            CHECK(p.now().open == 3);
            CHECK(p.now().idle == 0);
        });
        p.world.run();
        CHECK(p.now().open == 1);
        CHECK(p.now().retired == 3);
        CHECK(p.now().lost == 0);
    }
    SECTION("and their places are not given to those who wait") {
        const auto begin = p.world.elapsed();
        for (int i = 0; i < 8; ++i)
            p.world.spawn("client", [&]() -> task {
                const went w = co_await lease(p.r, {.takes = 10ms});
                CHECK_FALSE(w.error);
            });
        p.world.spawn("operator", [&]() -> task {
            co_await p.world.sleep(5ms);
            p.source.resize(1);
        });
        p.world.run();
        CHECK(p.world.elapsed() - begin == strata::duration{50ms});  // four at once, then one by one
        CHECK(p.now().open == 1);
    }
    SECTION("who waits is served when it grows") {
        p.source.resize(1);
        int served = 0;
        for (int i = 0; i < 4; ++i)
            p.world.spawn("client", [&]() -> task {
                const went w = co_await lease(p.r, {.takes = 1s});
                CHECK_FALSE(w.error);
                ++served;
            });
        p.world.spawn("operator", [&]() -> task {
            co_await p.world.sleep(500ms);
            p.source.resize(3);
            co_await p.world.sleep(1'000ms - 1ns);
            CHECK(served == 1);
            co_await p.world.sleep(1ms);
            CHECK(served == 3);
        });
        p.world.run();
        CHECK(served == 4);
        CHECK(p.log.most_open == 4);
    }
    SECTION("smaller, and larger again before they came back: they stay") {
        for (int i = 0; i < 4; ++i)
            p.world.spawn("client", [&]() -> task {
                const went w = co_await lease(p.r, {.takes = 10ms});
                CHECK_FALSE(w.error);
            });
        p.world.spawn("operator", [&]() -> task {
            co_await p.world.sleep(1ms);
            p.source.resize(1);
            p.source.resize(4);
        });
        p.world.run();
        CHECK(p.now().open == 4);
        CHECK(p.now().opened == 4);
    }
}

TEST_CASE("what is being opened counts when the pool becomes smaller, or lets go of all", "[pool][resize][retire]") {
    pool_of<> p{{.min_size = 0, .max_size = 4}, 20ms};
    for (int i = 0; i < 4; ++i)
        p.world.spawn("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
        });
    const bool smaller = GENERATE(true, false);
    p.world.spawn("operator", [&]() -> task {
        co_await p.world.sleep(10ms);
        if (smaller)
            p.source.resize(1);
        else
            p.source.retire_all();
    });
    p.world.run();
    p.world.run_for(1s);                            // one more may be on its way
    CHECK(p.now().retired == (smaller ? 1u : 2u));  // two were being opened
    CHECK(p.now().opened == p.now().open + p.now().retired);
    CHECK(p.now().open >= 1);
    CHECK(p.now().open <= (smaller ? 1u : 4u));
    SECTION("a mark is not taken back by a new size") {
        pool_of<> q{{.min_size = 1, .max_size = 4}};
        q.world.spawn("client", [&]() -> task {
            const went w = co_await lease(q.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
        });
        q.world.spawn("operator", [&]() -> task {
            q.source.retire_all();
            q.source.resize(4);
            co_await q.world.sleep(0ns);
        });
        q.world.run();
        CHECK(q.now().open == 0);
    }
}

TEST_CASE("limits without an end are no limits", "[upkeep]") {
    pool_of<> p{{.min_size = 2,
                 .max_size = 4,
                 .max_lifetime = strata::duration::max(),
                 .lifetime_jitter = 0,
                 .max_idle = strata::duration::max(),
                 .check_interval = strata::duration::max()}};
    p.world.run_for(std::chrono::hours{1});
    CHECK(p.now().open == 2);
    CHECK(p.now().opened == 2);
}

TEST_CASE("with two lanes the writer stays", "[pool][resize]") {
    pool_of<true> p{{.min_size = 4, .max_size = 4}};
    p.source.resize(1);
    CHECK(p.now().open == 2);
    p.world.spawn("client", [&]() -> task {
        const went writes = co_await lease(p.r);
        CHECK(writes.connection == 1);
        const went reads = co_await lease(p.r, {.reads = true});
        CHECK_FALSE(reads.error);
    });
    p.world.run();
}

TEST_CASE("all connections can be let go of: idle ones at once, others when they come back", "[pool][retire]") {
    pool_of<> p{{.min_size = 3, .max_size = 4}};
    p.world.spawn("client", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 10ms});
        CHECK(w.connection == 3);
        const went after = co_await lease(p.r);
        CHECK(after.connection > 3);
    });
    p.world.spawn("operator", [&]() -> task {
        co_await p.world.sleep(1ms);
        p.source.retire_all();
        CHECK(p.now().open - p.now().opening == 1);
    });
    p.world.run();
    p.world.run_for(1ms);
    CHECK(p.now().retired == 3);
    CHECK(p.now().open == 3);  // min_size again
    CHECK(p.now().idle == 3);
    p.use(4, 1ms);
    CHECK(p.now().open == 4);  // what is opened after it stays
    CHECK(p.now().opened == 7);
}

TEST_CASE("who waits while all are let go of gets one that was begun after that", "[pool][retire]") {
    pool_of<> p{{.min_size = 0, .max_size = 2}, 20ms};
    p.client("client", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1ms});
        CHECK(w.connection == 2);
        CHECK(p.world.elapsed() == strata::duration{41ms});
    });
    p.world.run_for(10ms);  // one is being opened
    p.source.retire_all();
    p.world.run();
    CHECK(p.now().idle == 1);
    CHECK(p.now().retired == 1);
}

TEST_CASE("a pool can be turned to another target: what is begun from then on is opened there", "[pool][retire]") {
    probe_log other{};
    pool_of<> p{{.min_size = 2, .max_size = 4}, 20ms};
    CHECK(p.source.rotate({}).code() == errc::invalid_argument);
    CHECK(p.now().idle == 2);  // nothing has changed
    p.client("long", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 50ms});
        CHECK_FALSE(w.error);  // it is not disturbed
    });
    p.world.run_for(1ms);
    CHECK_FALSE(p.source.rotate({&other}));
    CHECK(p.source.target()->log == &other);
    p.world.run();
    p.world.run_for(1s);
    CHECK(p.log.opened.size() == 2);
    CHECK(p.log.open == 0);
    CHECK(other.open == 2);
    CHECK(p.now().idle == 2);
    CHECK(other.violations.empty());
}

TEST_CASE("a place that goes to a waiter without its old connection is unmarked", "[pool][retire]") {
    strata::simulated_world world;  // nobody opens but callers
    probe_log log;
    using source_type = strata::detail::pool_source<probe_driver<false>, strata::no_lock>;
    source_type source{{.max_size = 1}, {&log}};
    REQUIRE_FALSE(source.open_first(world));
    strata::layers<> none;
    rig<source_type> r{world, source, none, log};
    std::vector<unsigned> used;
    for (int i = 0; i < 3; ++i) world.spawn("client", [&]() -> task { used.push_back((co_await lease(r, {.takes = 2ms})).connection); });
    world.run_for(1ms);
    source.retire_all();
    world.run();
    CHECK(used == std::vector<unsigned>{1, 2, 2});
    CHECK(source.snapshot().idle == 1);
    CHECK(source.snapshot().retired == 1);
    CHECK(log.violations.empty());
}

TEST_CASE("random use, sizes, deaths and failures: nobody is served twice, and the pool recovers", "[upkeep][random]") {
    for (unsigned seed = 1; seed <= static_cast<unsigned>(count(20, 500)); ++seed) {
        CAPTURE(seed);
        pool_of<> p{{.min_size = seed % 4,
                     .max_size = 3 + seed % 5,
                     .max_wait = 1s,
                     .max_lifetime = 300ms,
                     .max_idle = 50ms,
                     .check_interval = 7ms},
                    1ms,
                    seed};
        for (int c = 0; c < 8; ++c)
            p.world.spawn("client", [&]() -> task {
                for (int i = 0; i < 40; ++i) {
                    co_await p.world.sleep(p.world.between(0ns, 30ms));
                    const ask how{.takes = p.world.between(0ns, 20ms),
                                  .deadline = p.world.below(4) == 0 ? strata::duration{5ms} : strata::duration{}};
                    const went w = co_await lease(p.r, how);
                    const bool known = !w.error || w.error.code() == errc::timeout || w.error.code() == errc::cannot_connect ||
                                       w.error.code() == errc::pool_exhausted || w.error.code() == errc::pool_unreachable;
                    CHECK(known);
                }
            });
        p.world.spawn("operator", [&]() -> task {
            for (int i = 0; i < 40; ++i) {
                co_await p.world.sleep(p.world.between(0ns, 40ms));
                switch (p.world.below(4)) {
                    case 0:
                        p.source.resize(p.world.below(8));
                        break;
                    case 1:
                        p.log.dead_up_to = static_cast<unsigned>(p.log.numbers - p.world.below(p.log.numbers + 1));
                        break;
                    case 2:
                        p.log.refuse_connects = static_cast<int>(p.world.below(3));
                        break;
                    default:
                        p.source.retire_all();
                }
                CHECK(p.now().open <= 3 + seed % 5);
            }
            p.log.refuse_connects = 0;
            p.source.resize(100);
        });
        p.world.run();
        p.world.run_for(20s);
        for (int i = 0; i < 20 && p.now().idle != seed % 4; ++i) p.world.run_for(1ms);  // one may just be replaced
        CHECK(p.now().open == seed % 4);
        CHECK(p.now().idle == seed % 4);
    }
}

TEST_CASE("a lease that is out for too long is reported once, with where it was asked for", "[upkeep][leak]") {
    std::vector<std::string> reports;
    pool_of<> p{{.min_size = 2, .max_size = 4, .leak_threshold = 1s, .on_leak = [&reports](const strata::pool_leak& leak) {
                     reports.push_back(std::string{leak.name} + " line " + std::to_string(leak.where.line()) + " for " +
                                       std::to_string(leak.held / 1ms));
                     throw std::runtime_error{"the user's"};
                 }}};
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::pinned_session}> op;
    strata::waiter node;
    pool_of<>::source_type::lease l;
    REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);
    p.source.lent_to(l, std::source_location::current());
    const auto line = std::to_string(std::source_location::current().line() - 1);
    p.client("long", [&]() -> task { co_await lease(p.r, {.takes = 5s, .name = "report"}); });
    for (int i = 0; i < 300; ++i) {  // those that come back in time are no leaks, however many there are
        p.client("short", [&]() -> task { co_await lease(p.r, {.takes = 9ms}); });
        p.world.run_for(10ms);
    }
    CHECK(p.now().leaks == 2);
    REQUIRE(reports.size() == 2);
    CHECK((reports[0] == " line " + line + " for 1000" || reports[1] == " line " + line + " for 1000"));
    CHECK((reports[0] == "report line 0 for 1000" || reports[1] == "report line 0 for 1000"));
    p.world.run_for(5s);
    p.source.release(l, op, strata::health::good);
    CHECK(p.now().leaks == 2);
    REQUIRE(p.source.acquire(op, node, l) == strata::acquired::ready);  // the same connection, for somebody else
    p.world.run_for(2s);
    CHECK(p.now().leaks == 3);
    CHECK_THAT(reports.back(), contains_text(" line 0 for 1"));
    p.source.release(l, op, strata::health::good);
}
