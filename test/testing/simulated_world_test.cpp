// The simulated world: who goes on when, what a deadlock says, and that equal seeds give equal runs.
#include <support/catch.hpp>

#include <strata/testing/simulated_world.hpp>

#include <stdexcept>

using namespace std::chrono_literals;
using task = strata::simulated_task<>;
using journal = std::vector<std::string>;

namespace {

/// Awaits a node without anything around it.
struct gift {
    strata::simulated_world& world;
    strata::waiter& node;
    strata::detail::simulated_process* process = nullptr;
    strata::detail::continuation back{};
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> h) {
        process = &strata::detail::process_of(h);
        back = strata::detail::continuation::of_coroutine(h);
        node.prepare(process);
        process->park(strata::detail::continuation::of(*this), strata::never, "a gift");
    }
    void go_on() noexcept { process->next = back; }
    void await_resume() const noexcept {}
};

}  // namespace

TEST_CASE("time jumps to the next event, and nothing happens between", "[world]") {
    strata::simulated_world world;
    journal j;
    const auto sleeper = [&](std::string name, strata::duration d) {
        world.spawn(name, [&, name, d]() -> task {
            co_await world.sleep(d);
            j.push_back(name + " at " + std::to_string(world.elapsed().count()));
        });
    };
    sleeper("third", 3s);
    sleeper("first", 1ns);
    sleeper("second", 2ms);
    world.run();
    CHECK(j == journal{"first at 1", "second at 2000000", "third at 3000000000"});
    CHECK(world.unfinished() == 0);
}

TEST_CASE("what is due at the same time goes on in the order in which it began to wait", "[world]") {
    strata::simulated_world world;
    std::vector<int> order;
    for (int i = 0; i < 20; ++i) {
        world.spawn("client", [&, i]() -> task {
            co_await world.sleep(i % 2 == 0 ? 5ms : 2ms);
            if (i % 2 != 0) co_await world.sleep(3ms);
            order.push_back(i);
        });
    }
    world.run();
    CHECK(order == std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19});
}

TEST_CASE("everybody who is due goes before anybody whom they wake", "[world]") {
    strata::simulated_world world;
    journal j;
    world.spawn("a", [&]() -> task {
        co_await world.sleep(1ms);
        j.push_back("a");
        world.spawn("c", [&]() -> task {
            j.push_back("c");
            co_return;
        });
    });
    world.spawn("b", [&]() -> task {
        co_await world.sleep(1ms);
        j.push_back("b");
    });
    world.run();
    CHECK(j == journal{"a", "b", "c"});
}

TEST_CASE("yield lets the others go first", "[world]") {
    strata::simulated_world world;
    journal j;
    for (const char* name : {"a", "b"}) {
        world.spawn(name, [&, name]() -> task {
            for (int i = 0; i < 3; ++i) {
                j.push_back(name + std::to_string(i));
                co_await world.yield();
            }
        });
    }
    world.run();
    CHECK(j == journal{"a0", "b0", "a1", "b1", "a2", "b2"});
    CHECK(world.elapsed() == strata::duration{});
}

TEST_CASE("tasks await tasks; values and exceptions come out", "[world]") {
    strata::simulated_world world;
    const auto twice = [&](int n) -> strata::simulated_task<int> {
        co_await world.sleep(1ms);
        if (n == 0) throw std::invalid_argument("nothing");
        co_return 2 * n;
    };
    int sum = 0;
    std::string said;
    world.spawn("client", [&]() -> task {
        for (int i = 1; i <= 3; ++i) sum += co_await twice(i);
        try {
            co_await twice(0);
        } catch (const std::invalid_argument& e) {
            said = e.what();
        }
    });
    world.run();
    CHECK(sum == 12);
    CHECK(said == "nothing");
    CHECK(world.elapsed() == strata::duration{4ms});
}

TEST_CASE("a chain of tasks that end at once needs no stack", "[world]") {
    strata::simulated_world world;
    const auto nothing = []() -> strata::simulated_task<int> { co_return 1; };
    long sum = 0;
    world.spawn("client", [&]() -> task {
        for (int i = 0; i < 200'000; ++i) sum += co_await nothing();
    });
    world.run();
    CHECK(sum == 200'000);
}

TEST_CASE("an exception that leaves a client comes out of run, and the others can go on", "[world]") {
    strata::simulated_world world;
    bool other = false;
    world.spawn("bad", [&]() -> task {
        co_await world.sleep(1ms);
        throw std::out_of_range("mine");
    });
    world.spawn("good", [&]() -> task {
        co_await world.sleep(2ms);
        other = true;
    });
    CHECK_THROWS_AS(world.run(), std::out_of_range);
    CHECK_FALSE(other);
    world.run();
    CHECK(other);
}

TEST_CASE("when everybody waits for ever, run says who and for what", "[world]") {
    strata::simulated_world world;
    world.spawn("early", [&]() -> task { co_await world.sleep(1s); });
    world.spawn("client 7", [&]() -> task { co_await world.sleep_until(strata::never); });
    world.spawn("client 8", [&]() -> task {
        co_await world.sleep(500ms);
        co_await world.sleep_until(strata::never);
    });
    try {
        world.run();
        FAIL("nobody noticed");
    } catch (const strata::simulated_deadlock& d) {
        CHECK(d.what() == std::string("everybody waits for ever, 1.000000 s after the beginning:\n"
                                      "  client 7 waits for a point in time that never comes\n"
                                      "  client 8 waits for a point in time that never comes"));
    }
    CHECK(world.unfinished() == 2);
}

TEST_CASE("run_until stops at a point in time, and nobody is in a deadlock for it", "[world]") {
    strata::simulated_world world;
    int steps = 0;
    const auto c = world.spawn("clock", [&]() -> task {
        for (;;) {
            co_await world.sleep(10ms);
            ++steps;
        }
    });
    world.run_for(95ms);
    CHECK(steps == 9);
    CHECK(world.elapsed() == strata::duration{95ms});
    world.run_for(5ms);
    CHECK(steps == 10);
    c.destroy();
    CHECK(c.done());
    world.run();
}

TEST_CASE("a client that is destroyed destroys what it has begun", "[world]") {
    struct mark {
        std::string& out;
        std::string name;
        ~mark() { out += name; }
    };
    strata::simulated_world world;
    std::string ended;
    const auto inner = [&]() -> task {
        mark m{ended, "inner "};
        co_await world.sleep(1h);
    };
    const auto c = world.spawn("outer", [&]() -> task {
        mark m{ended, "outer "};
        co_await inner();
    });
    const auto waiting = world.spawn("never began", [&]() -> task {
        mark m{ended, "wrong "};
        co_await world.sleep(1h);
    });
    waiting.destroy();
    world.run_for(1s);
    CHECK(ended.empty());
    c.destroy();
    c.destroy();  // once is enough
    CHECK(ended == "inner outer ");
    CHECK_FALSE(c.cancel());
    CHECK(world.unfinished() == 0);
}

TEST_CASE("a client cannot destroy itself, nor run the world", "[world]") {
    strata::simulated_world world;
    strata::simulated_client self;
    int refused = 0;
    self = world.spawn("self", [&]() -> task {
        try {
            self.destroy();
        } catch (const strata::failure&) {
            ++refused;
        }
        try {
            world.run();
        } catch (const strata::failure&) {
            ++refused;
        }
        co_return;
    });
    world.run();
    CHECK(refused == 2);
}

TEST_CASE("a world destroys the clients that have not ended, the youngest first", "[world]") {
    std::string ended;
    struct mark {
        std::string& out;
        char name;
        ~mark() { out += name; }
    };
    {
        strata::simulated_world world;
        for (const char name : {'a', 'b', 'c'}) {
            world.spawn("client", [&, name]() -> task {
                mark m{ended, name};
                co_await world.sleep(1h);
            });
        }
        world.run_for(1ms);
    }
    CHECK(ended == "cba");
}

TEST_CASE("a waker that comes early, twice or late does no harm", "[world]") {
    strata::simulated_world world;
    strata::waiter node;
    strata::wake_call wake;
    bool slept = false;
    world.spawn("taker", [&]() -> task {
        co_await gift{world, node};
        co_await world.sleep(5ms);  // woken meanwhile, for nothing
        slept = world.elapsed() == strata::duration{6ms};
    });
    world.spawn("giver", [&]() -> task {
        co_await world.sleep(1ms);
        CHECK(node.grant(nullptr, wake));
        wake();
        wake();
        co_await world.sleep(1ms);
        wake();
    });
    world.run();
    CHECK(slept);
    wake();  // the taker has ended
}

TEST_CASE("a blocking wait lets the others go on", "[world]") {
    strata::simulated_world world;
    strata::waiter node;
    node.prepare(nullptr);
    world.spawn("giver", [&]() -> task {
        co_await world.sleep(3ms);
        strata::wake_call wake;
        CHECK(node.grant(nullptr, wake));
        wake();
    });
    world.park(&node, strata::never);
    CHECK(world.elapsed() == strata::duration{3ms});
    world.park(nullptr, world.now() + 2ms);
    CHECK(world.elapsed() == strata::duration{5ms});
}

TEST_CASE("equal seeds give equal runs, others do not", "[world]") {
    const auto digest = [](std::uint64_t seed) {
        strata::simulated_world world{seed};
        for (int c = 0; c < 10; ++c) {
            world.spawn("client", [&]() -> task {
                for (int i = 0; i < 100; ++i) {
                    co_await world.sleep(world.between(0us, 100us));
                    world.note(world.moment().random());
                    if (world.below(3) == 0) co_await world.yield();
                }
            });
        }
        world.run();
        return world.digest();
    };
    CHECK(digest(1) == digest(1));
    CHECK(digest(1) != digest(2));
    CHECK(digest(42) == 10224323489042930308u);  // the same number with every compiler
}

TEST_CASE("the calendar goes with the clock", "[world]") {
    strata::simulated_world world;
    const auto begin = world.wall_now();
    CHECK(std::chrono::sys_days{std::chrono::year{2026} / 1 / 1} == begin);
    world.run_for(36h);
    CHECK(world.wall_now() - begin == 36h);
}

TEST_CASE("background work is run in virtual time, and nobody waits for its end", "[simulated_world]") {
    struct ticking final : strata::background {
        strata::time_point run(strata::moment m) noexcept override {
            at.push_back(m.now);
            return m.now + strata::duration{10ms};
        }
        std::vector<strata::time_point> at;
    };
    strata::simulated_world world;
    const auto begin = world.now();
    ticking ticks;
    world.spawn(ticks);
    world.spawn("client", [&]() -> strata::simulated_task<> { co_await world.sleep(35ms); });
    world.run();
    CHECK(world.elapsed() == strata::duration{35ms});
    CHECK(ticks.at == std::vector<strata::time_point>{begin, begin + 10ms, begin + 20ms, begin + 30ms});
    world.run_for(10ms);
    CHECK(ticks.at.size() == 5);
    strata::waiter nobody;
    nobody.prepare(nullptr);
    SECTION("those who wait for ever are found out all the same") {
        world.spawn("client", [&]() -> strata::simulated_task<> { co_await world.sleep_until(strata::never); });
        CHECK_THROWS_AS(world.run(), strata::simulated_deadlock);
    }
    world.unspawn(ticks);
    const auto runs = ticks.at.size();
    world.run_for(1s);
    CHECK(ticks.at.size() == runs);
}
