// A query by a cursor of the server: all rows, in batches, and none made before it is fetched.
#include "fixture.hpp"

#include <strata/async.hpp>
#include <strata/sql/cursor.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

constexpr auto accounts_from = "select id, owner, balance from account where id >= :least order by id"_sql;

/// The sizes of the batches, after a check of what is in them.
template <class Transaction>
std::vector<std::size_t> drain(Transaction& tx, const strata::cursor& c, std::int64_t first) {
    std::vector<std::size_t> sizes;
    tx.execute(c.declare());
    for (auto batch = tx.template all<account>(c.fetch()); !batch.empty(); batch = tx.template all<account>(c.fetch())) {
        sizes.push_back(batch.size());
        for (const account& a : batch) CHECK(a.id == first++);
    }
    return sizes;
}

}  // namespace

TEST_CASE("a cursor gives all rows of a query in batches", "[postgres][cursor]") {
    bank<> b{25};
    const strata::cursor c{accounts_from("least"_arg = 3), 10, "accounts"};
    for (int round = 0; round < 2; ++round)  // the same object, in one transaction after the other
        b.db.transaction([&](auto& tx) { CHECK(drain(tx, c, 3) == std::vector<std::size_t>{10, 10, 3}); });
    b.db.transaction([&](auto& tx) {
        strata::any_session erased{tx};
        const strata::cursor other{accounts_from("least"_arg = 26)};
        CHECK(drain(erased, other, 26).empty());
        // two that are open at once, over statements of one text
        const strata::cursor one{accounts_from("least"_arg = 1), 0}, two{accounts_from("least"_arg = 2), 1};
        tx.execute(one.declare());
        tx.execute(two.declare());
        CHECK(tx.template one<account>(one.fetch()).id == 1);
        CHECK(tx.template one<account>(two.fetch()).id == 2);
        constexpr auto open = "select count(*) from pg_cursors where name like 'strata_cursor%'"_sql;
        CHECK(tx.template one<int>(open) == 3);
        tx.execute(one.close());
        CHECK(tx.template one<int>(open) == 2);
        CHECK(tx.template one<account>(two.fetch()).id == 3);
    });
}

TEST_CASE("the server makes no row before it is fetched, and fails where the row is that fails", "[postgres][cursor]") {
    bank<> b{1};
    b.db.execute("create sequence made"_sql);
    const strata::cursor c{"select nextval('made') + 0 * (10 / (15 - i)) from generate_series(1, :n) i"_sql("n"_arg = 1000), 7};
    const auto made = [&] { return b.db.one<std::int64_t>("select last_value from made"_sql); };
    auto tx = b.db.begin();
    tx.execute(c.declare());
    CHECK(tx.all<std::int64_t>(c.fetch()).size() == 7);
    CHECK(made() == 7);
    CHECK(tx.all<std::int64_t>(c.fetch()).size() == 7);
    CHECK(made() == 14);
    CHECK(tx.try_all<std::int64_t>(c.fetch()).error().texts().native_code == "22012");  // division by zero
    CHECK(made() <= 15);
    tx.rollback();
    CHECK(b.balance_of(1) == 100);
}

TEST_CASE("an asynchronous transaction runs a cursor as well", "[postgres][cursor][async]") {
    bank<> b{25};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    const strata::cursor c{accounts_from("least"_arg = 1), 10};
    std::vector<std::size_t> sizes;
    auto body = [&](auto& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(c.declare());
        for (;;) {
            const auto batch = co_await tx.template async_all<account>(c.fetch());
            if (batch.empty()) break;
            sizes.push_back(batch.size());
        }
    };
    auto run = [&]() -> asio::awaitable<void> { co_await adb.async_transaction(body); };
    asio::co_spawn(io, run, [](std::exception_ptr e) { CHECK(e == nullptr); });
    io.run();
    CHECK(sizes == std::vector<std::size_t>{10, 10, 5});
}
