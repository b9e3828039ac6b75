// The scripted driver under Asio: the asynchronous drive waits for answers by its timers, as the other drives do.
#include <support/catch.hpp>

#include <strata/async.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
namespace asio = boost::asio;

namespace {

using plain = strata::stack<strata::pool<>, strata::scripted>;
using repeating = strata::stack<strata::retry<>, strata::pool<>, strata::scripted>;

template <class Stack = plain>
struct fixture {
    using client = strata::async_database<Stack>;
    explicit fixture(const strata::pool_options& pool = {}) : db(io.get_executor(), strata::scripted_options{script}, pool) {}

    /// Runs a coroutine to its end.
    template <class Body>
    void run(Body body) {
        std::exception_ptr thrown;
        asio::co_spawn(io, std::move(body), [&](std::exception_ptr e) { thrown = e; });
        io.restart();
        io.run();
        if (thrown) std::rethrow_exception(thrown);
    }

    strata::script script;
    asio::io_context io;
    client db;
};

}  // namespace

TEST_CASE("Asio waits for a scripted answer", "[scripted][async]") {
    fixture<> f;
    f.script.on("select 1").takes(2ms).returns(7);
    f.run([&]() -> asio::awaitable<void> {
        const int v = co_await f.db.async_one<int>("select 1"_sql);
        CHECK(v == 7);
    });
}

TEST_CASE("Asio waits for a scripted connection, and learns when there is none", "[scripted][async]") {
    fixture<> f{strata::pool_options{.min_size = 0}};
    f.script.on_connect().takes(1ms);
    f.script.on_connect().takes(1ms).fails(errc::cannot_connect).times(1);
    f.script.on("select 1").returns(7);
    f.run([&]() -> asio::awaitable<void> {
        const auto r = co_await f.db.async_try_one<int>("select 1"_sql);
        CHECK(r.error().code() == errc::cannot_connect);
        const int v = co_await f.db.async_one<int>("select 1"_sql);
        CHECK(v == 7);
    });
}

TEST_CASE("a deadline ends a scripted call that hangs, under Asio too", "[scripted][async]") {
    fixture<> f;
    f.script.on("select 1").hangs();
    f.run([&]() -> asio::awaitable<void> {
        const auto r = co_await f.db.async_try_one<int>("select 1"_sql, {.deadline = 1ms});
        CHECK(r.error().code() == errc::timeout);
    });
    CHECK(f.db.connections().idle == 1);
}

TEST_CASE("a cancel ends it, and closing the database does", "[scripted][async]") {
    fixture<> f;
    f.script.on("select 1").hangs();
    asio::cancellation_signal stop;
    errc code = errc::ok;
    f.db.async_try_one<int>("select 1"_sql,
                            asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) { code = r.error().code(); }));
    f.io.poll();
    CHECK(code == errc::ok);
    stop.emit(asio::cancellation_type::total);
    f.io.restart();
    f.io.run();
    CHECK(code == errc::cancelled);

    errc other = errc::ok;
    f.db.async_try_one<int>("select 1"_sql, [&](strata::result<int> r) { other = r.error().code(); });
    f.io.restart();
    f.io.poll();
    std::thread closer([&] { f.db.shared_runtime()->close(0s); });
    f.io.restart();
    f.io.run();
    closer.join();
    CHECK(other == errc::cancelled);
}

TEST_CASE("transactions of coroutines over a script", "[scripted][async]") {
    fixture<repeating> f;
    f.script.on("insert into t(x) values(:x)").takes(1ms).affected(1);
    f.script.on("insert into t(x) values(:x)").fails(errc::busy_snapshot).times(1);
    f.run([&]() -> asio::awaitable<void> {
        co_await f.db.async_transaction([&](fixture<repeating>::client::transaction_type& tx) -> asio::awaitable<void> {
            co_await tx.async_execute("insert into t(x) values(:x)"_sql("x"_arg = 1));
        });
    });
    CHECK(f.script.journal() == std::vector<std::string>{"begin immediate", "insert into t(x) values(:x) [1]", "rollback",
                                                         "begin immediate", "insert into t(x) values(:x) [1]", "commit"});
}

TEST_CASE("asynchronous independent work goes through while its caller holds the last connection", "[scripted][async][independent]") {
    using stack = strata::stack<strata::pool<>, strata::scripted_postgres>;
    fixture<stack> f{strata::pool_options{.max_size = 1, .reserved = 1, .max_wait = 10ms}};
    f.script.on_any().returns(1);
    bool done = false;
    f.run([&]() -> asio::awaitable<void> {
        co_await f.db.async_transaction([&](auto& tx) -> asio::awaitable<void> {
            const int one = co_await tx.template async_one<int>("select 1"_sql);
            CHECK(one == 1);
            auto alone = f.db.independent();
            const int two = co_await alone.template async_one<int>("select 1"_sql);
            CHECK(two == 1);
            const int three = co_await alone.async_transaction([&](auto& other) -> asio::awaitable<int> {
                const auto refused = co_await f.db.independent().template async_try_one<int>("select 1"_sql);
                CHECK(refused.error().code() == errc::pool_exhausted);
                const int value = co_await other.template async_one<int>("select 1"_sql);
                co_return value + 2;
            });
            CHECK(three == 3);
        });
        done = true;
    });
    CHECK(done);
    CHECK(f.db.source().reserve()->snapshot().opened == 1);
}
