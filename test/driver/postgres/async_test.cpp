// The same stack through the asynchronous face.
#include "fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <thread>

using namespace strata_test;
namespace asio = boost::asio;

TEST_CASE("asynchronous calls on PostgreSQL", "[postgres][async]") {
    bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{3};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    int finished = 0;
    for (int i = 0; i < 8; ++i) {
        asio::co_spawn(
            io,
            [&, i]() -> asio::awaitable<void> {
                const auto id = 1 + i % 3;
                const auto find = "select id, owner, balance from account where id = :id"_sql;
                const account a = co_await adb.async_one<account>(find(id));
                CHECK(a.id == id);
                auto body = [&](auto& tx) -> asio::awaitable<void> {
                    co_await tx.async_execute(add_balance(-1, 1));
                    co_await tx.async_execute(add_balance(+1, 2));
                };
                co_await adb.async_transaction(body);
                ++finished;
            },
            [](std::exception_ptr e) { CHECK(e == nullptr); });
    }
    io.run();
    CHECK(finished == 8);
    CHECK(b.balance_of(1) == 92);
    CHECK(b.balance_of(2) == 108);
}

TEST_CASE("an asynchronous cancel ends the statement on the server", "[postgres][async]") {
    bank<> b{1, 1};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    asio::cancellation_signal signal;
    strata::error seen;
    adb.async_try_execute("select pg_sleep(60)"_sql(),
                          asio::bind_cancellation_slot(signal.slot(), [&](strata::result<strata::execution> r) { seen = r.error(); }));
    asio::steady_timer timer(io, 20ms);
    timer.async_wait([&](auto) { signal.emit(asio::cancellation_type::total); });
    io.run();
    CHECK(seen.code() == errc::cancelled);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("statements wait for their descriptor, not on a thread", "[postgres][async]") {
    bank<> b{2, 4};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor(), strata::async_options{.work_threads = 1});
    asio::cancellation_signal stop[3];
    int stopped = 0;
    for (asio::cancellation_signal& s : stop) {
        adb.async_try_execute("select pg_sleep(3600)"_sql(),
                              asio::bind_cancellation_slot(s.slot(), [&](strata::result<strata::execution> r) {
                                  CHECK(r.error().code() == errc::cancelled);
                                  ++stopped;
                              }));
    }
    bool finished = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            // Three connections wait for an hour, one work thread is there: all of this still gets through.
            const int one = co_await adb.async_one<int>("select 1"_sql());
            CHECK(one == 1);
            auto body = [](auto& tx) -> asio::awaitable<void> { co_await tx.async_execute(add_balance(-1, 1)); };
            co_await adb.async_transaction(body);
            finished = true;
            for (asio::cancellation_signal& s : stop) s.emit(asio::cancellation_type::terminal);
        },
        [](std::exception_ptr e) { CHECK(e == nullptr); });
    io.run();
    CHECK(finished);
    CHECK(stopped == 3);
    CHECK(b.balance_of(1) == 99);
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("a deadline ends an asynchronous statement, and does not hold the loop when it ends before", "[postgres][async]") {
    bank<> b{1, 1};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    for (int i = 0; i < 10; ++i) {
        strata::error late;
        int quick = 0;
        adb.async_try_execute("select pg_sleep(3600)"_sql(), {.deadline = 5ms}, [&](strata::result<strata::execution> r) {
            late = r.error();
            adb.async_try_one<int>("select 1"_sql(), {.deadline = 1h}, [&](strata::result<int> one) { quick = one.value_or(0); });
        });
        io.run();  // would last an hour if the second deadline's timer stayed
        io.restart();
        CHECK(late.code() == errc::timeout);
        CHECK(quick == 1);
    }
    CHECK(b.db.connections().opened == 1);  // hit by its cancel each time, it could be used again
}

TEST_CASE("rows come in batches over the loop, and a stream may be dropped", "[postgres][async][stream]") {
    bank<> b{0, 2};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    std::int64_t sum = 0;
    bool dropped = false;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            auto rows = adb.rows<std::int64_t>("select generate_series(1::int8, 20000)"_sql(), {}, 700);
            std::vector<std::int64_t> batch = co_await rows.async_next();
            while (!batch.empty()) {
                for (const std::int64_t i : batch) sum += i;
                batch = co_await rows.async_next();
            }
            {
                auto endless = adb.rows<std::int64_t>("select generate_series(1::int8, 1000000000)"_sql(), {}, 10);
                const auto first = co_await endless.async_next();
                CHECK(first.size() == 10);
            }
            const int one = co_await adb.async_one<int>("select 1"_sql());
            dropped = one == 1;
        },
        [](std::exception_ptr e) { CHECK(e == nullptr); });
    io.run();
    CHECK(sum == 200'010'000);
    CHECK(dropped);
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("a connection moves between contexts, and outlives them", "[postgres][async][lifetime]") {
    bank<> b{1, 1};
    for (int i = 0; i < 5; ++i) {
        asio::io_context io;
        auto adb = b.db.async(io.get_executor());
        int one = 0;
        adb.async_try_one<int>("select 1"_sql(), [&](strata::result<int> r) { one = r.value_or(0); });
        io.run();
        CHECK(one == 1);
        CHECK(b.db.one<int>("select 2"_sql()) == 2);
    }
    CHECK(b.db.connections().opened == 1);
    {
        asio::io_context dies;
        auto adb = b.db.async(dies.get_executor());
        adb.async_try_execute("select pg_sleep(3600)"_sql(), {.deadline = 1h},
                              [](strata::result<strata::execution>) { FAIL("it cannot end"); });
        adb.async_try_one<int>("select 1"_sql(), [](strata::result<int>) { FAIL("nor can what waits for its connection"); });
        dies.run_for(30ms);
    }
    CHECK(b.db.one<int>("select 3"_sql()) == 3);
    CHECK(b.db.connections().idle == 1);
    asio::io_context io;
    auto own = std::make_unique<strata::database<plain_stack>>(b.in.options(), server::one());
    auto adb = own->async(io.get_executor());
    int one = 0;
    adb.async_try_one<int>("select 1"_sql(), [&](strata::result<int> r) { one = r.value_or(0); });
    own.reset();  // the database dies before the call has ended, and all before the context
    io.run();
    CHECK(one == 1);
}

TEST_CASE("a connection that dies under an asynchronous statement is an error, and the next call has another", "[postgres][async][fault]") {
    bank<> b{1, 2, [](strata::postgres_options o) {
                 o.application_name = "strata-async-victim";
                 return o;
             }};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    strata::error seen;
    adb.async_try_execute("select pg_sleep(3600)"_sql(), [&](strata::result<strata::execution> r) { seen = r.error(); });
    std::thread killer([&] {
        while (b.in.admin().one<int>("select count(pg_terminate_backend(pid))::int from pg_stat_activity where application_name = "
                                     "'strata-async-victim' and query like 'select pg_sleep%' and state = 'active'"_sql()) == 0)
            std::this_thread::yield();
    });
    io.run();
    killer.join();
    CHECK(seen.code() == errc::connection_lost);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
}

#if !STRATA_TEST_SANITIZED  // UBSan asks pipes of its own whether memory is there
TEST_CASE("a process without descriptors to spare still gets its answers over the loop", "[postgres][async]") {
    bank<> b{1, 1};
    asio::io_context io;
    asio::steady_timer(io, 0ms).wait();
    asio::post(io, [&] { asio::steady_timer(io, 1ms).async_wait([](auto) {}); });  // the reactor has its own descriptors
    io.run();
    io.restart();
    auto adb = b.db.async(io.get_executor());
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    strata::error e{errc::misuse, strata::phase::execute};
    int answer = 0;
    {
        struct no_more_descriptors {
            ::rlimit before{};
            no_more_descriptors() {
                const int next = ::dup(0);
                ::close(next);
                ::getrlimit(RLIMIT_NOFILE, &before);
                ::rlimit none = before;
                none.rlim_cur = static_cast<::rlim_t>(next);
                ::setrlimit(RLIMIT_NOFILE, &none);
            }
            ~no_more_descriptors() { ::setrlimit(RLIMIT_NOFILE, &before); }
        } const limit;
        REQUIRE(::dup(0) == -1);
        adb.async_try_one<int>("select 42"_sql(), [&](strata::result<int> r) {
            e = r ? strata::error{} : r.error();
            answer = r.value_or(0);
        });
        io.run();
    }
    CHECK_FALSE(e);
    CHECK(answer == 42);
}

#endif

TEST_CASE("close reaches statements that wait for their descriptor, in a transaction, too", "[postgres][async][close]") {
    bank<> b{1, 2};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    strata::error alone;
    strata::error within;
    adb.async_try_execute("select pg_sleep(3600)"_sql(), [&](strata::result<strata::execution> r) { alone = r.error(); });
    auto body = [&](auto& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(add_balance(1, 1));
        co_await tx.async_execute("select pg_sleep(3600)"_sql());
    };
    adb.async_try_transaction(body, [&](strata::result<void> r) { within = r.error(); });
    bool closed = false;
    asio::steady_timer timer(io, 50ms);
    timer.async_wait([&](auto) { adb.async_close(20ms, [&](std::exception_ptr) { closed = true; }); });
    io.run();
    CHECK(closed);
    CHECK(alone.code() == errc::cancelled);
    CHECK(within.code() == errc::cancelled);
}
