// Corners of the pool, where two of its duties meet: closing and newcomers, cold connections and waiters, suspension and size, no memory.
#include "probe.hpp"

#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using namespace strata::literals;
using strata::acquired;
using strata::errc;
using task = strata::simulated_task<>;

namespace {

using lease_type = pool_of<>::source_type::lease;
using session_operation = strata::operation<strata::operation_facts{.kind = strata::operation_kind::pinned_session}>;

}  // namespace

TEST_CASE("who comes while the pool is being closed is refused, though connections are left to be closed", "[pool][corner]") {
    pool_of<> p{{.min_size = 2, .max_size = 2}};
    leasing_operation a, b, late;
    strata::waiter first, second, third;
    lease_type la{}, lb{}, ll{};
    REQUIRE(p.source.acquire(a, first, la) == acquired::ready);
    REQUIRE(p.source.acquire(b, second, lb) == acquired::ready);
    la->connection.dirty = lb->connection.dirty = GENERATE(true, false);  // a transaction is left open on both, or both are idle
    p.source.release(la, a, strata::health::good);
    p.source.release(lb, b, strata::health::good);
    acquired got = acquired::ready;
    p.log.on_close = [&] { got = p.source.acquire(late, third, ll); };
    CHECK(p.source.stop(p.world, p.world.now()));
    p.log.on_close = nullptr;
    CHECK(got == acquired::refused);
    CHECK(p.log.open == 0);
}

TEST_CASE("a cold connection is asked and served to who waits when a suspended pool goes on", "[pool][corner]") {
    pool_of<> p{{.min_size = 1, .max_size = 1, .validate_after = 1000s}};
    p.world.run_for(1100s);
    p.source.suspend();
    bool served = false;
    p.client("caller", [&]() -> task { served = !(co_await lease(p.r)).error; });
    p.world.run_for(1ms);
    p.source.resume();
    p.world.run_for(1ms);
    CHECK(served);
    CHECK(p.log.controls.size() == 1);
}

TEST_CASE("a cold connection serves who waits while another one is slow to open, and is asked first", "[pool][corner]") {
    pool_of<> p{{.min_size = 1, .max_size = 2, .validate_after = 100s}, 5s};
    p.world.run_for(111s);
    p.source.follow({.ready = 2, .ask_again = 1s});
    p.world.run_for(10ms);
    CHECK(p.now().opening == 1);
    p.log.refuse_connects = 1'000'000;
    p.client("caller", [&]() -> task {
        const strata::time_point begin = p.world.now();
        const went w = co_await lease(p.r);
        CHECK(w.connection == 1);
        CHECK(p.world.now() == begin);
    });
    p.world.run();
    CHECK(p.log.controls.size() == 1);
}

TEST_CASE("a cold connection is asked by the opener that waits for the end of a pause, when there is no other", "[pool][corner]") {
    pool_of<> p{{.min_size = 1, .max_size = 2, .max_connecting = 1, .first_pause = 60s, .longest_pause = 60s, .validate_after = 10s}};
    p.log.refuse_connects = 1'000'000;
    for (int i = 0; i < 2; ++i) p.client("caller", [&]() -> task { co_await lease(p.r, {.takes = 1ms}); });
    p.world.run();
    p.world.run_for(12s);
    CHECK_FALSE(p.now().reachable);
    p.client("caller", [&]() -> task {
        const strata::time_point begin = p.world.now();
        const went w = co_await lease(p.r);
        CHECK_FALSE(w.error);
        CHECK(p.world.now() - begin < strata::duration{1s});
    });
    p.world.run();
    p.log.refuse_connects = 0;
    p.world.run_for(120s);  // the pause is kept, and ends
    p.use(2, 1ms);
    CHECK(p.now().reachable);
}

TEST_CASE("a pool becomes smaller by its cold connections, and by those that are kept back", "[pool][corner]") {
    SECTION("cold") {
        pool_of<> p{{.min_size = 1, .max_size = 6, .validate_after = 100s}};
        p.use(6, 1ms);
        p.world.run_for(111s);
        CHECK(p.now().idle == 6);
        p.source.resize(4);
        CHECK(p.now().idle == 4);
        p.source.shrink();
        CHECK(p.now().idle == 1);
    }
    SECTION("suspended") {
        pool_of<> p{{.min_size = 1, .max_size = 6}};
        p.use(6, 1ms);
        p.source.suspend();
        p.source.resize(2);
        p.source.resume();
        CHECK(p.now().idle == 2);
    }
}

TEST_CASE("health reaches also the connections that are reset when they come back", "[pool][corner]") {
    pool_of<> p{{.min_size = 1, .max_size = 1, .on_return = strata::session_reset::discard_all}};
    for (int i = 0; i < 3; ++i) {
        session_operation op;
        strata::waiter w;
        lease_type l{};
        REQUIRE(p.source.acquire(op, w, l) == acquired::ready);
        CHECK(l->connection.number == 1);
        p.source.release(l, op, strata::health::doubtful);
        p.world.run_for(1ms);
    }
    CHECK(p.now().retired == 1);
}

TEST_CASE("callers for whom there is room do not count as waiting", "[pool][corner]") {
    pool_of<> p{{.min_size = 0, .max_size = 4, .max_waiting = 0}, 1ms};
    int served = 0, refused = 0;
    for (int i = 0; i < 6; ++i)
        p.client("caller", [&]() -> task {
            const went w = co_await lease(p.r, {.takes = 1s});
            if (!w.error) ++served;
            if (w.error.code() == errc::pool_exhausted) ++refused;
        });
    p.world.run();
    CHECK(served == 4);
    CHECK(refused == 2);
}

namespace {

/// Calls a function where the operation would be told to go on.
struct calling_waker final : strata::waker {
    std::function<void()> f{};
    void wake() noexcept override { f(); }

private:
    void dispose() noexcept override {}
};

calling_waker told;

}  // namespace

TEST_CASE("who comes while a pool goes on after a suspension stands behind those who have waited", "[pool][corner]") {
    pool_of<> p{{.min_size = 2, .max_size = 2}};
    p.source.suspend();
    leasing_operation a, b, late;
    strata::waiter first, second, third;
    lease_type la{}, lb{}, ll{};
    a.make_waker = [](strata::operation_base&) -> strata::waker* { return &told; };
    CHECK(p.source.acquire(a, first, la) == acquired::wait);
    CHECK(p.source.acquire(b, second, lb) == acquired::wait);
    acquired got = acquired::refused;
    told.f = [&] { got = p.source.acquire(late, third, ll); };
    p.source.resume();
    CHECK(got == acquired::wait);
    CHECK(second.is_granted());
    CHECK(p.source.end_wait(a, first, la, {}) == acquired::ready);
    CHECK(p.source.end_wait(b, second, lb, {}) == acquired::ready);
    p.source.release(la, a, strata::health::good);
    CHECK(p.source.end_wait(late, third, ll, {}) == acquired::ready);
    p.source.release(lb, b, strata::health::good);
    p.source.release(ll, late, strata::health::good);
}

TEST_CASE("a suspended pool for one thread gives nobody the place of a lost connection", "[pool][corner]") {
    strata::simulated_world world;
    probe_log log;
    using source = strata::detail::pool_source<probe_driver<false>, strata::no_lock>;
    source s({.max_size = 1}, probe_options{&log});
    REQUIRE_FALSE(s.open_first(world));
    leasing_operation a, b;
    strata::waiter first, second;
    source::lease la{}, lb{};
    REQUIRE(s.acquire(a, first, la) == acquired::ready);
    s.suspend();
    CHECK(s.acquire(b, second, lb) == acquired::wait);
    s.release(la, a, strata::health::lost);
    CHECK_FALSE(second.is_granted());
    s.resume();
    CHECK(s.end_wait(b, second, lb, {}) == acquired::connect);
    s.release_unconnected(lb);
}

TEST_CASE("what another database says of its connections, let out by a closure, costs this one no connection but its own",
          "[pool][corner]") {
    strata::database<strata::stack<strata::pool<>, strata::sqlite>> db{strata::sqlite_options{.path = "file:/corner?vfs=memdb"},
                                                                       strata::pool_options{.min_size = 3, .max_size = 3}};
    db.execute("create table t (x int)"_sql);
    const auto r = db.try_transaction([](auto& tx) {
        tx.execute("insert into t values (1)"_sql);
        throw strata::failure(
            strata::error{errc::connection_lost, "the other server goes down", strata::phase::execute}.set(strata::health::all_lost));
    });
    CHECK(r.error().effect() == strata::effect::rolled_back);
    CHECK(db.connections().retired == 0);
    CHECK(db.one<int>("select count(*) from t"_sql) == 0);
}

namespace {

/// A connection that is looked at for as long as the test says.
struct watched_log {
    std::atomic<int> looks{0};
    std::atomic<bool> go_on{true};
};
struct watched_options {
    watched_log* log = nullptr;
};
struct watched_connection {
    strata::error open(const watched_options& o, int, const strata::interruption*) { return log = o.log, strata::error{}; }
    void close() noexcept {}
    void guard(const strata::interruption* i) noexcept { by = i; }
    [[nodiscard]] const strata::interruption* guard() const noexcept { return by; }
    [[nodiscard]] bool in_transaction() const noexcept { return false; }
    [[nodiscard]] bool is_alive() const noexcept {
        ++log->looks;
        while (!log->go_on) std::this_thread::yield();
        return true;
    }
    strata::health tidy() noexcept { return strata::health::good; }
    watched_log* log = nullptr;
    const strata::interruption* by = nullptr;
};
struct watched_driver {
    using options = watched_options;
    using connection = watched_connection;
    static constexpr bool blocking = true, single_writer = false;
    static constexpr int role_of(bool, bool) noexcept { return 0; }
    static strata::error check_reopened(const watched_options&) noexcept { return {}; }
    static strata::error check_shared(const watched_options&) noexcept { return {}; }
};

}  // namespace

TEST_CASE("a drain is told when upkeep has put back the last connection", "[pool][corner]") {
    watched_log log;
    strata::system_world world;
    strata::detail::pool_source<watched_driver, strata::inline_lock> s({.min_size = 1, .max_size = 1, .check_interval = 5ms}, {&log});
    REQUIRE_FALSE(s.open_first(world));
    log.go_on = false;
    std::vector<strata::background*> tasks;
    s.spawn_tasks([&](strata::background& b) {
        world.spawn(b);
        tasks.push_back(&b);
    });
    while (log.looks == 0) std::this_thread::yield();  // upkeep has it
    std::thread later([&] {
        std::this_thread::sleep_for(20ms);
        log.go_on = true;
    });
    CHECK(s.drain(world, strata::never));  // for ever, if it is not told
    later.join();
    for (strata::background* b : tasks) world.unspawn(*b);
}
