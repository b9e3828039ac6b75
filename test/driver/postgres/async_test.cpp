// The same stack through the asynchronous face.
#include "fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

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
