// The pool: limits, order, waiting, failing connections, closing. Driven in the simulated world, so nothing waits really.
#include "probe.hpp"

#include <support/catch.hpp>

#include <strata/source/single.hpp>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using task = strata::simulated_task<>;

TEST_CASE("a pool opens min_size connections when it is made, and more when they are needed, up to max_size", "[pool]") {
    pool_of<> p{{.min_size = 2, .max_size = 3}};
    CHECK_FALSE(p.opening);
    CHECK(p.now().open == 2);
    CHECK(p.now().idle == 2);
    int served = 0;
    for (int i = 0; i < 6; ++i) {
        p.client("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
            ++served;
        });
    }
    p.world.run_for(500us);
    CHECK(p.now().open == 3);
    CHECK(p.now().idle == 0);
    CHECK(p.now().waiting == 3);
    p.world.run();
    CHECK(served == 6);
    CHECK(p.log.most_in_use == 3);
    CHECK(p.log.most_open == 3);
    CHECK(p.now().opened == 3);
    CHECK(p.now().idle == 3);
    CHECK(p.now().waits == 4);  // also who had one opened for him
    CHECK(p.now().waited == strata::duration{3ms});
}

TEST_CASE("a pool of nobody opens none, and the first caller has one opened", "[pool]") {
    pool_of<> p{{.min_size = 0, .max_size = 2}, 7ms};
    CHECK(p.now().open == 0);
    p.client("client", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK_FALSE(w.error);
        CHECK(w.queued);
    });
    p.world.run();
    CHECK(p.world.elapsed() == strata::duration{7ms});
    CHECK(p.now().open == 1);
}

TEST_CASE("connections that open slowly are waited for when the pool is made", "[pool]") {
    pool_of<> p{{.min_size = 2, .max_size = 2}, 5ms};
    CHECK_FALSE(p.opening);
    CHECK(p.world.elapsed() == strata::duration{10ms});
    CHECK(p.now().idle == 2);
}

TEST_CASE("the warmest connection is taken first", "[pool]") {
    pool_of<> p{{.min_size = 3, .max_size = 3}};
    std::vector<unsigned> used;
    p.client("two at once", [&]() -> task {
        p.client("first", [&]() -> task { used.push_back((co_await lease(p.r, {.takes = 2ms})).connection); });
        p.client("second", [&]() -> task { used.push_back((co_await lease(p.r, {.takes = 1ms})).connection); });
        co_await p.world.sleep(3ms);
        for (int i = 0; i < 3; ++i) used.push_back((co_await lease(p.r)).connection);
    });
    p.world.run();
    REQUIRE(used.size() == 5);
    CHECK(used[0] != used[1]);
    CHECK(used[2] == used[1]);  // the last one given back
    CHECK(used[3] == used[1]);
    CHECK(used[4] == used[1]);
}

TEST_CASE("callers are served in the order in which they came, by direct hand-off", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    std::vector<int> order;
    for (int i = 0; i < 5; ++i) {
        p.client("client", [&, i]() -> task {
            co_await lease(p.r, {.takes = 1ms});
            order.push_back(i);
        });
    }
    // arrives when the connection is just being given back: it must not overtake
    p.client("late", [&]() -> task {
        co_await p.world.sleep(1ms);
        co_await lease(p.r, {.takes = 1ms});
        order.push_back(5);
    });
    p.world.run();
    CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
    CHECK(p.world.elapsed() == strata::duration{6ms});
}

TEST_CASE("a caller waits max_wait at most, and is told how things stand", "[pool]") {
    pool_of<> p{{.max_size = 2, .max_wait = 10ms}};
    for (int i = 0; i < 2; ++i) p.client("holder", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.client("patient", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.code() == errc::pool_exhausted);
        CHECK(w.error.local());
        CHECK(w.error.phase() == strata::phase::acquire);
        CHECK(w.error.effect() == strata::effect::none);
        CHECK(w.error.message() == "no connection became free in time: 2 of 2 connections are in use, 0 callers wait");
        CHECK(w.error.texts().hint.find("raise max_size or max_wait") == 0);
        CHECK(p.world.elapsed() == strata::duration{10ms});
        CHECK(p.now().timeouts == 1);
    });
    p.world.run();
}

TEST_CASE("a call's own deadline ends its wait too", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("holder", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.client("hurried", [&]() -> task {
        const went w = co_await lease(p.r, {.deadline = 3ms});
        CHECK(w.error.code() == errc::timeout);
        CHECK(w.error.local());
        CHECK(p.world.elapsed() == strata::duration{3ms});
    });
    p.world.run();
    CHECK(p.now().idle == 1);
}

TEST_CASE("callers beyond max_waiting are refused at once", "[pool]") {
    pool_of<> p{{.max_size = 1, .max_waiting = 2}};
    for (int i = 0; i < 3; ++i)
        p.client("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            CHECK_FALSE(w.error);
        });
    p.client("one too many", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.code() == errc::pool_exhausted);
        CHECK(w.error.message() == "the queue for a connection is full: 1 of 1 connections are in use, 2 callers wait");
        CHECK(p.world.elapsed() == strata::duration{});
    });
    p.world.run();
}

TEST_CASE("a caller who waits can be cancelled, and destroyed; those behind move up", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    std::vector<std::string> ended;
    const auto client = [&](std::string name) {
        return p.client(name, [&, name]() -> task {
            const went w = co_await lease(p.r, {.takes = 10ms});
            ended.push_back(name + ": " + std::string(to_string(w.error.code())));
        });
    };
    client("holder");
    const auto cancelled = client("cancelled");
    const auto destroyed = client("destroyed");
    client("last");
    p.world.run_for(1ms);
    CHECK(cancelled.cancel());
    destroyed.destroy();
    CHECK(p.now().waiting == 2);  // the cancelled one leaves when it goes on
    p.world.run();
    CHECK(ended == std::vector<std::string>{"cancelled: cancelled", "holder: ok", "last: ok"});
    CHECK(p.world.elapsed() == strata::duration{20ms});
    CHECK(p.now().idle == 1);
}

TEST_CASE("a lease that was granted to somebody who is destroyed goes to the next", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    strata::simulated_client victim;
    bool served = false;
    p.client("holder", [&]() -> task {
        co_await lease(p.r, {.takes = 1ms});
        victim.destroy();  // it has the lease by now, and has not gone on yet
    });
    victim = p.client("victim", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.client("next", [&]() -> task {
        co_await lease(p.r);
        served = true;
    });
    p.world.run();
    CHECK(victim.done());
    CHECK(served);
    CHECK(p.now().idle == 1);
    CHECK(p.world.elapsed() == strata::duration{1ms});
}

TEST_CASE("destroying whoever uses a connection, or waits for one that is being opened, gives the place back", "[pool]") {
    pool_of<> p{{.min_size = 0, .max_size = 1}, 5ms};
    const auto first = p.client("first", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    bool served = false;
    p.client("next", [&]() -> task { served = !(co_await lease(p.r, {.takes = 1ms})).error; });
    p.world.run_for(2ms);
    first.destroy();
    CHECK(p.log.open == 1);  // it is opened all the same, for the next one
    p.world.run();
    CHECK(served);
    CHECK(p.world.elapsed() == strata::duration{6ms});
    CHECK(p.now().opened == 1);
    const auto user = p.client("user", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.world.run_for(1ms);
    CHECK(p.now().idle == 0);
    user.destroy();  // while it works
    CHECK(p.now().idle == 1);
}

TEST_CASE("a broken connection is closed, and its place serves the next caller with a new one", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("unlucky", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1ms, .ends_with = errc::connection_lost});
        CHECK(w.error.code() == errc::connection_lost);
        CHECK(w.connection == 1);
    });
    p.client("next", [&]() -> task {
        const went w = co_await lease(p.r, {.takes = 1ms});
        CHECK_FALSE(w.error);
        CHECK(w.connection == 2);
    });
    p.world.run();
    CHECK(p.now().lost == 1);
    CHECK(p.now().opened == 2);
    CHECK(p.now().open == 1);
}

TEST_CASE("an error that leaves the connection whole keeps it", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("client", [&]() -> task {
        const went w = co_await lease(p.r, {.ends_with = errc::unique_violation});
        CHECK(w.error.code() == errc::unique_violation);
    });
    p.world.run();
    CHECK(p.now().lost == 0);
    CHECK(p.now().idle == 1);
}

TEST_CASE("a connection is tidied before it goes back, and closed when that fails", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("client", [&]() -> task {
        co_await lease(p.r, {.leaves_transaction = true});
        const went w = co_await lease(p.r, {.stuck_in_transaction = true});
        CHECK(w.connection == 1);
        CHECK(p.now().lost == 1);
        const went after = co_await lease(p.r);
        CHECK(after.connection == 2);
    });
    p.world.run();
    CHECK(p.now().opened == 2);
}

TEST_CASE("an exception of the user's code gives the connection back and comes out", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("client", [&]() -> task {
        const went w = co_await lease(p.r, {.throws = true});
        CHECK(w.error.code() == errc::user_exception);
        CHECK_THROWS_AS(std::rethrow_exception(w.thrown), std::runtime_error);
    });
    p.world.run();
    CHECK(p.now().idle == 1);
}

TEST_CASE("whoever is woken for nothing waits on", "[pool]") {
    pool_of<> p{{.min_size = 0, .max_size = 1, .max_wait = 50ms}, 5ms};
    std::vector<strata::simulated_client> clients;
    std::vector<std::string> ended;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(p.client("client", [&, i]() -> task {
            const went w = co_await lease(p.r, {.takes = 40ms});
            ended.push_back(std::to_string(i) + " at " + std::to_string(p.world.elapsed() / 1ms) +
                            " ms: " + std::string(to_string(w.error.code())));
        }));
    }
    p.client("nuisance", [&]() -> task {
        for (int k = 0; k < 100; ++k) {
            co_await p.world.sleep(1ms);
            for (const auto& c : clients) c.wake();
        }
    });
    p.world.run();
    CHECK(ended == std::vector<std::string>{"0 at 45 ms: ok", "2 at 50 ms: pool_exhausted", "1 at 85 ms: ok"});
}

namespace {

/// Repeats, at once, whatever fails.
struct stubborn {
    static constexpr auto place = strata::place::repeat;
    strata::verdict settle(auto&, strata::no_frame&, strata::outcome& o) { return o.ok() ? strata::accept() : strata::again({}); }
};

}  // namespace

TEST_CASE("what an attempt threw is forgotten when the next one begins, also at once", "[pool][flight]") {
    pool_of<> p{{.max_size = 1}};
    strata::layers<stubborn> layers;
    rig<pool_of<>::source_type, strata::layers<stubborn>> r{p.world, p.source, layers, p.log};
    p.client("client", [&]() -> task {
        const went w = co_await lease(r, {.throws = true});
        CHECK_FALSE(w.error);
        CHECK(w.thrown == nullptr);
    });
    p.world.run();
    CHECK(p.now().idle == 1);
}

TEST_CASE("a failure to connect reaches those who have waited for it, and whoever comes then has it tried again", "[pool][opening]") {
    pool_of<> p{{.min_size = 0, .max_size = 1}, 2ms};
    p.log.refuse_connects = 1;
    std::vector<errc> ends;
    const auto client = [&] {
        p.client("client", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1ms});
            ends.push_back(w.error.code());
            if (!w.error) co_return;
            CHECK(w.error.message() == "nobody is at home");
            CHECK(w.error.phase() == strata::phase::connect);
            CHECK_FALSE(w.error.local());
        });
    };
    client();
    client();
    p.world.run_for(3ms);
    CHECK(ends == std::vector<errc>{errc::cannot_connect, errc::cannot_connect});
    CHECK_FALSE(p.now().reachable);
    CHECK(p.now().open == 0);
    client();  // within the pause, which it waits out
    p.world.run();
    CHECK(ends.back() == errc::ok);
    CHECK(p.now().reachable);
    CHECK(p.world.elapsed() >= strata::duration{2ms + 5ms + 2ms + 1ms});
    CHECK(p.world.elapsed() <= strata::duration{2ms + 10ms + 2ms + 1ms});
}

TEST_CASE("a pool that cannot open its first connections says why", "[pool]") {
    strata::simulated_world world;
    probe_log log{.refuse_connects = 1};
    strata::detail::pool_source<probe_driver<false>, strata::inline_lock> source{{}, {&log}};
    const strata::error e = source.open_first(world);
    CHECK(e.code() == errc::cannot_connect);
    CHECK(source.snapshot().open == 0);
    CHECK(log.open == 0);
}

TEST_CASE("a database with one writer has two lanes, each with its own queue", "[pool]") {
    pool_of<true> p{{.min_size = 3, .max_size = 3}};
    std::vector<std::string> order;
    const auto client = [&](std::string name, bool reads) {
        p.client(name, [&, name, reads]() -> task {
            const went w = co_await lease(p.r, {.takes = 10ms, .reads = reads});
            order.push_back(name + (w.queued ? " waited" : ""));
        });
    };
    client("writer 1", false);
    client("writer 2", false);
    client("reader 1", true);
    client("reader 2", true);
    client("reader 3", true);
    p.world.run_for(1ms);
    CHECK(p.now().idle == 0);
    CHECK(p.log.in_use == 3);
    CHECK(p.now().waiting == 2);
    p.world.run();
    CHECK(order == std::vector<std::string>{"writer 1", "reader 1", "reader 2", "writer 2 waited", "reader 3 waited"});
}

TEST_CASE("the writing lane says which connections are missing", "[pool]") {
    pool_of<true> p{{.max_size = 4, .max_wait = 1ms}};
    p.client("writer", [&]() -> task { co_await lease(p.r, {.takes = 1s}); });
    p.client("another", [&]() -> task {
        const went w = co_await lease(p.r);
        CHECK(w.error.message() == "no connection became free in time: 1 of 1 writing connections are in use, 0 callers wait");
    });
    p.world.run();
}

TEST_CASE("a pool of one serves readers and writers alike, also where only one may write", "[pool]") {
    pool_of<true> p{{.max_size = 1}};
    p.client("writer", [&]() -> task { co_await lease(p.r, {.takes = 1ms}); });
    p.client("reader", [&]() -> task {
        const went w = co_await lease(p.r, {.reads = true});
        CHECK(w.queued);
        CHECK_FALSE(w.error);
    });
    p.world.run();
    CHECK(p.now().opened == 1);
}

TEST_CASE("closing refuses newcomers and those who wait, lets the others end, and closes every connection", "[pool]") {
    pool_of<> p{{.min_size = 2, .max_size = 2}};
    std::vector<std::string> ended;
    const auto client = [&](std::string name, strata::duration takes) {
        p.client(name, [&, name, takes]() -> task {
            const went w = co_await lease(p.r, {.takes = takes});
            ended.push_back(name + ": " + std::string(to_string(w.error.code())));
            if (w.error) CHECK(w.error.local());
        });
    };
    client("user", 10ms);
    client("user", 20ms);
    client("waiter", 1ms);
    p.world.run_for(1ms);
    client("newcomer", 1ms);
    CHECK(p.source.stop(p.world, p.world.now() + 1s));
    CHECK(p.world.elapsed() == strata::duration{20ms});
    p.world.run();
    CHECK(ended == std::vector<std::string>{"newcomer: shutting_down", "waiter: shutting_down", "user: ok", "user: ok"});
    CHECK(p.log.open == 0);
    CHECK(p.now().open == 0);
}

TEST_CASE("closing refuses whoever waits in either lane", "[pool]") {
    pool_of<true> p{{.min_size = 2, .max_size = 2}};
    std::vector<strata::duration> refused;
    for (const bool reads : {false, true}) {
        p.client("user", [&p, reads]() -> task { co_await lease(p.r, {.takes = 10ms, .reads = reads}); });
        p.client("waiter", [&p, &refused, reads]() -> task {
            const went w = co_await lease(p.r, {.reads = reads});
            CHECK(w.error.code() == errc::shutting_down);
            refused.push_back(p.world.elapsed());
        });
    }
    p.world.run_for(1ms);
    CHECK(p.source.stop(p.world, p.world.now() + 1s));
    p.world.run();
    CHECK(refused == std::vector<strata::duration>{1ms, 1ms});
}

TEST_CASE("closing gives up at the end of its grace, and cancels what is left when told to", "[pool]") {
    pool_of<> p{{.max_size = 2}};
    errc end = errc::ok;
    p.client("user", [&]() -> task { end = (co_await lease(p.r, {.takes = 1h})).error.code(); });
    p.world.run_for(1ms);
    CHECK_FALSE(p.source.stop(p.world, p.world.now() + 10ms));
    CHECK(p.world.elapsed() == strata::duration{11ms});
    p.source.cancel_all();
    p.client("waker", [&]() -> task { co_await p.world.sleep(5ms); });
    CHECK(p.source.stop(p.world, strata::never));
    CHECK(end == errc::cancelled);
    CHECK(p.log.open == 0);
}

TEST_CASE("whoever was granted a connection while the pool was being cancelled is cancelled too", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    errc end = errc::ok;
    p.client("holder", [&]() -> task {
        co_await lease(p.r, {.takes = 1ms});
        // the waiter has the lease, but has not gone on: nobody knows its operation yet
        CHECK_FALSE(p.source.stop(p.world, p.world.now()));
        p.source.cancel_all();
    });
    p.client("waiter", [&]() -> task { end = (co_await lease(p.r, {.takes = 1h})).error.code(); });
    p.world.run();
    CHECK(end == errc::cancelled);
    CHECK(p.world.elapsed() == strata::duration{1ms});
    CHECK(p.source.stop(p.world, strata::never));
}

TEST_CASE("several may close a pool, and all are told when it is done", "[pool]") {
    pool_of<> p{{.max_size = 1}};
    p.client("user", [&]() -> task { co_await lease(p.r, {.takes = 10ms}); });
    p.world.run_for(1ms);
    int closed = 0;
    for (int i = 0; i < 3; ++i) {
        p.client("closer", [&]() -> task {
            if (p.source.stop(p.world, strata::never)) ++closed;  // blocks in the simulated world: the others go on meanwhile
            co_return;
        });
    }
    p.world.run();
    CHECK(closed == 3);
}

TEST_CASE("a single connection is a queue of its own", "[single]") {
    strata::simulated_world world;
    probe_log log;
    using source_type = strata::detail::single_source<probe_driver<true>>;
    source_type source{{.max_wait = 5ms}, {&log}};
    CHECK_FALSE(source.open_first(world));
    strata::layers<> none;
    rig<source_type> r{world, source, none, log};
    std::vector<errc> ends;
    for (int i = 0; i < 3; ++i) world.spawn("client", [&]() -> task { ends.push_back((co_await lease(r, {.takes = 4ms})).error.code()); });
    world.run();
    CHECK(ends == std::vector<errc>{errc::ok, errc::pool_exhausted, errc::ok});
    CHECK(log.most_open == 1);
    CHECK(log.violations.empty());
}

TEST_CASE("options that make no sense are named", "[pool]") {
    const auto said = [](const strata::pool_options& o) { return o.validate().message(); };
    CHECK(said({.max_size = 0}) == "pool_options.max_size is 0: a pool needs at least one connection");
    CHECK(said({.max_size = 70'000}) == "pool_options.max_size is above 65535");
    CHECK(said({.min_size = 3, .max_size = 2}) == "pool_options.min_size is above max_size");
    CHECK(said({.max_wait = -1s}) == "pool_options.max_wait is negative");
    CHECK_FALSE(strata::pool_options{}.validate());
    CHECK(strata::single_options{.max_wait = -1s}.validate().message() == "single_options.max_wait is negative");
}
