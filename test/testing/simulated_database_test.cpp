// Simulated clients of a whole stack: coroutines over the same flights that blocked threads and Asio drive.
#include <support/catch.hpp>

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
using task = strata::simulated_task<>;
using journal = std::vector<std::string>;

namespace {

using client_stack = strata::stack<strata::total_timeout, strata::retry<>, strata::pool<>, strata::scripted>;
using client = strata::simulated_database<client_stack>;

constexpr auto get = "select x from t where id = :id"_sql.named("get");
constexpr auto put = "insert into t(x) values(:x)"_sql.named("put");

struct fixture {
    explicit fixture(std::size_t connections = 4, std::uint64_t seed = 1)
        : world(seed), db(world, strata::scripted_options{script}, strata::pool_options{.max_size = connections}) {
        script.on(get).takes(5ms).returns(7);
        script.on(put).takes(2ms).affected(1);
    }
    strata::script script;
    strata::simulated_world world;
    client db;
};

}  // namespace

TEST_CASE("clients call, in turn where there are too few connections", "[simulated]") {
    fixture f{2};
    int sum = 0;
    for (int i = 0; i < 6; ++i) f.world.spawn("client", [&]() -> task { sum += co_await f.db.one<int>(get(1)); });
    f.world.run();
    CHECK(sum == 42);
    CHECK(f.world.elapsed() == strata::duration{15ms});
    CHECK(f.db.connections().opened == 2);
}

TEST_CASE("failures are thrown, or come as results", "[simulated]") {
    fixture f;
    f.script.on(get).fails(errc::io_error);
    int seen = 0;
    f.world.spawn("client", [&]() -> task {
        try {
            co_await f.db.one<int>(get(1));
        } catch (const strata::failure& e) {
            seen += e.code() == errc::io_error ? 1 : 0;
        }
        const auto r = co_await f.db.try_maybe_one<int>(get(1));
        seen += r.has_error() && r.error().code() == errc::io_error ? 1 : 0;
        const auto late = co_await f.db.try_execute(put(1), {.deadline = 1ms});
        seen += late.has_error() && late.error().code() == errc::timeout ? 1 : 0;
        const auto all = co_await f.db.all<int>(get(1));  // leaves the client, and so the world
        seen += static_cast<int>(all.size());
    });
    CHECK_THROWS_AS(f.world.run(), strata::failure);
    CHECK(seen == 3);
}

TEST_CASE("a retry sleeps in the world", "[simulated]") {
    fixture f;
    f.script.on(get).fails(errc::busy).times(2);
    int value = 0;
    f.world.spawn("client", [&]() -> task { value = co_await f.db.one<int>(get(1)); });
    f.world.run();
    CHECK(value == 7);
    CHECK(f.script.calls().size() == 3);
    CHECK(f.world.elapsed() > strata::duration{5ms});
}

TEST_CASE("transactions run coroutine closures, nest, and roll back", "[simulated]") {
    fixture f;
    std::string said;
    f.world.spawn("client", [&]() -> task {
        const int v = co_await f.db.transaction([&](auto& tx) -> strata::simulated_task<int> {
            const int x = co_await tx.template one<int>(get(1));
            co_await tx.transaction([&](auto& inner) -> task { co_await inner.execute(put(x)); });
            co_return x + 1;
        });
        CHECK(v == 8);
        const auto r = co_await f.db.try_transaction([&](auto& tx) -> task {
            co_await tx.execute(put(1));
            strata::throw_failure(strata::error{errc::user_error, "no", strata::phase::execute});
        });
        CHECK(r.error().code() == errc::user_error);
        CHECK(r.error().effect() == strata::effect::rolled_back);
        try {
            co_await f.db.transaction([&](auto& tx) -> task {
                co_await tx.execute(put(2));
                throw std::runtime_error("mine");
            });
        } catch (const std::runtime_error& e) {
            said = e.what();
        }
    });
    f.world.run();
    CHECK(said == "mine");
    CHECK(f.script.journal() == journal{"begin immediate", "get [1]", "savepoint 1", "put [7]", "release 1", "commit",  //
                                        "begin immediate", "put [1]", "rollback", "begin immediate", "put [2]", "rollback"});
    CHECK(f.db.connections().idle == f.db.connections().open);
}

TEST_CASE("a transaction is repeated as a whole", "[simulated]") {
    fixture f;
    f.script.on(put).fails(errc::busy_snapshot).times(1);
    unsigned attempts = 0;
    f.world.spawn("client", [&]() -> task {
        co_await f.db.transaction([&](client::transaction_type& tx) -> task {
            attempts = tx.attempt();
            co_await tx.execute(put(1));
        });
    });
    f.world.run();
    CHECK(attempts == 2);
    CHECK(f.script.journal() == journal{"begin immediate", "put [1]", "rollback", "begin immediate", "put [1]", "commit"});
}

TEST_CASE("a client is destroyed in the middle of a transaction: it is rolled back before the connection serves another", "[simulated]") {
    fixture f{1};
    const auto victim = f.world.spawn("victim", [&]() -> task {
        co_await f.db.transaction([&](auto& tx) -> task {
            co_await tx.execute(put(1));
            co_await tx.execute(put(2));
        });
    });
    int value = 0;
    f.world.spawn("next", [&]() -> task { value = co_await f.db.one<int>(get(1)); });
    f.world.run_for(3ms);
    victim.destroy();
    f.world.run();
    CHECK(value == 7);
    CHECK(f.script.journal() == journal{"begin immediate", "put [1]", "put [2]", "rollback", "get [1]"});
}

TEST_CASE("a cancelled transaction rolls back and says so", "[simulated]") {
    fixture f{1};
    errc code = errc::ok;
    const auto c = f.world.spawn("client", [&]() -> task {
        const auto r = co_await f.db.try_transaction([&](auto& tx) -> task {
            co_await tx.execute(put(1));
            co_await f.world.sleep(10ms);
            co_await tx.execute(put(2));
        });
        code = r.error().code();
    });
    f.world.run_for(5ms);
    CHECK(c.cancel());
    f.world.run();
    CHECK(code == errc::cancelled);
    CHECK(f.script.journal() == journal{"begin immediate", "put [1]", "rollback"});
    CHECK_FALSE(c.cancel());  // it is in no call any more
}

TEST_CASE("a deadlock names the calls", "[simulated]") {
    strata::script script;
    script.on(get).hangs();
    strata::simulated_world world;
    strata::simulated_database<strata::stack<strata::pool<>, strata::scripted>> db{
        world, strata::scripted_options{script}, strata::pool_options{.max_size = 1, .max_wait = strata::duration::max()}};
    world.spawn("reader", [&]() -> task { co_await db.one<int>(get(1)); });
    world.spawn("writer", [&]() -> task { co_await db.execute(put(1)); });
    world.spawn("nobody", [&]() -> task { co_return; });
    try {
        world.run();
        FAIL("nobody noticed");
    } catch (const strata::simulated_deadlock& d) {
        CHECK(d.what() == std::string("everybody waits for ever, 0.000000 s after the beginning:\n"
                                      "  reader waits for an answer: get\n"
                                      "  writer waits for a connection: put"));
    }
    db.close(1s);
    CHECK_THROWS_AS(world.run(), strata::failure);  // what the first was told; the second's is lost
    world.run();
    CHECK(world.unfinished() == 0);
}

TEST_CASE("the database may go before the clients that use it", "[simulated]") {
    strata::script script;
    script.on(get).takes(5ms).returns(7);
    strata::simulated_world world;
    int value = 0;
    strata::simulated_client stuck;
    {
        client db{world, strata::scripted_options{script}};
        world.spawn("client", [db, &value]() mutable -> task { value = co_await db.one<int>(get(1)); });
        script.on("select 1").hangs();
        stuck = world.spawn("stuck", [db]() mutable -> task { co_await db.one<int>("select 1"_sql); });
    }
    world.run_for(10ms);
    CHECK(value == 7);
    CHECK_FALSE(stuck.done());
}  // the world destroys the other, whose call still keeps the runtime

TEST_CASE("a stack lives the same life for the same seed, on every compiler", "[simulated]") {
    const auto digest = [](std::uint64_t seed) {
        fixture f{3, seed};
        f.script.on(put).affected(1).takes(1ms).fails(errc::busy).times(20).affected(1).takes(3ms);
        for (int i = 0; i < 10; ++i) {
            f.world.spawn("client", [&]() -> task {
                for (int k = 0; k < 20; ++k) {
                    co_await f.world.sleep(f.world.between(0ms, 10ms));
                    const auto r = co_await f.db.try_execute(put(k), {.deadline = f.world.between(1ms, 40ms)});
                    f.world.note(r.has_error() ? static_cast<std::uint64_t>(r.error().code()) : 0);
                }
            });
        }
        f.world.run();
        return f.world.digest();
    };
    CHECK(digest(3) == digest(3));
    CHECK(digest(3) != digest(4));
}
