// BEGIN goes with whatever comes first in a transaction: all of it is in the transaction, and what fails there ends as ever.
#include "fixture.hpp"

#include <strata/async.hpp>
#include <strata/copy.hpp>
#include <strata/pipeline.hpp>
#include <strata/sql/cursor.hpp>

#include <boost/asio/io_context.hpp>

#include <functional>
#include <vector>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using stack = strata::stack<strata::pool<>, strata::postgres>;
using transaction = strata::database<stack>::transaction_type;

constexpr auto divide = "select 1 / :n::int"_sql;

/// A value that no sink takes, while it says so.
struct refused {
    int n = 0;
};

struct fixture : bank<stack> {
    fixture() : bank<stack>(3, 1) {}
    [[nodiscard]] bool may_read() { return balance_of(2) == 100; }
};

}  // namespace

template <>
struct strata::codec<refused> {
    static constexpr std::string_view name = "refused";
    template <column_reader R>
    static errc read(const R&, refused&) {
        throw std::runtime_error("not this one");
    }
    template <parameter_writer W>
    static errc write(W& out, const refused& value) {
        return codec<int>::write(out, value.n);
    }
};

TEST_CASE("whatever comes first in a transaction is part of it", "[postgres][begin]") {
    fixture b;
    const auto first = GENERATE(range(0, 8));
    const bool known = GENERATE(false, true);  // the statement was prepared before
    CAPTURE(first, known);
    const std::vector<std::function<void(transaction&)>> all{
        [](transaction& tx) { tx.execute(add_balance(1, 1)); },
        [](transaction& tx) {
            CHECK(tx.one<std::int64_t>("update account set balance = balance + 1 where id = 1 returning balance"_sql()) == 101);
        },
        [](transaction& tx) {
            for (const std::int64_t n : tx.rows<std::int64_t>("update account set balance = balance + 1 returning balance"_sql()))
                CHECK(n == 101);
        },
        [](transaction& tx) { tx.execute_many(add_balance, std::vector<std::tuple<int, int>>{{1, 1}, {1, 2}}); },
        [](transaction& tx) { tx.copy_in("account", std::vector<account>{{7, "seven", 7}}); },
        [](transaction& tx) { tx.pipeline(add_balance(1, 1), add_balance(1, 1)); },
        [](transaction& tx) { tx.transaction([](transaction& inner) { inner.execute(add_balance(1, 1)); }); },
        [](transaction& tx) {
            PGresult* const r = ::PQexec(tx.native_handle(), "update account set balance = balance + 1");
            CHECK(::PQresultStatus(r) == PGRES_COMMAND_OK);
            ::PQclear(r);
        },
    };
    const auto digest = "select sum(balance * id)::bigint from account"_sql;
    const auto before = b.db.one<std::int64_t>(digest());
    if (known) {
        CHECK_THROWS_AS(b.db.transaction([&](transaction& tx) {
            tx.execute("select 1"_sql());
            all[static_cast<std::size_t>(first)](tx);
            throw 7;
        }),
                        int);
    }
    CHECK_THROWS_AS(b.db.transaction([&](transaction& tx) {
        all[static_cast<std::size_t>(first)](tx);
        CHECK(::PQtransactionStatus(tx.native_handle()) == PQTRANS_INTRANS);
        throw 7;
    }),
                    int);
    CHECK(b.db.one<std::int64_t>(digest()) == before);
    b.db.transaction(all[static_cast<std::size_t>(first)]);
    CHECK(b.db.one<std::int64_t>(digest()) > before);
    CHECK(b.db.connections().lost == 0);
    CHECK(b.db.connections().left_open == 0);
}

TEST_CASE("a transaction in which nothing was done asks the server nothing", "[postgres][begin]") {
    fixture b;
    CHECK(b.may_read());
    const auto began = "select count(*) from pg_stat_database"_sql;
    static_cast<void>(b.db.one<std::int64_t>(began()));
    b.db.transaction([](transaction&) {});
    CHECK_THROWS_AS(b.db.transaction([](transaction&) { throw 7; }), int);
    {
        auto tx = b.db.begin();
        CHECK(tx.try_commit().has_value());
    }
    {
        auto tx = b.db.begin();
    }
    auto kept = b.db.session();
    const int pid = ::PQbackendPID(kept.native_handle());
    const auto idle = b.in.admin().one<std::string>("select query from pg_stat_activity where pid = :pid"_sql(pid));
    CHECK(idle == "select count(*) from pg_stat_database");  // the last thing that was asked
}

TEST_CASE("what fails first ends the transaction, whether BEGIN went with it or before", "[postgres][begin]") {
    fixture b;
    const bool known = GENERATE(false, true);
    CAPTURE(known);
    if (known) CHECK(b.db.one<int>(divide(1)) == 1);
    const auto r = b.db.try_transaction([](transaction& tx) {
        CHECK(tx.try_one<int>(divide(0)).error().code() == errc::invalid_argument);
        const auto next = tx.try_execute(add_balance(1, 1));
        CHECK(next.error().code() == errc::transaction_aborted);
    });
    REQUIRE(r.has_error());
    CHECK(r.error().code() == errc::commit_rolled_back);
    CHECK(r.error().effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 100);
    CHECK(b.db.connections().lost == 0);
}

TEST_CASE("a user's exception from the first rows leaves the connection as it was", "[postgres][begin]") {
    fixture b;
    CHECK(b.may_read());
    const auto balances = "select balance from account"_sql;
    static_cast<void>(b.db.all<std::int64_t>(balances()));
    CHECK_THROWS_WITH(b.db.transaction([&](transaction& tx) { static_cast<void>(tx.all<refused>(balances())); }), "not this one");
    CHECK(b.may_read());
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("the first statement of a transaction is cancelled at its deadline", "[postgres][begin]") {
    fixture b;
    constexpr auto sleep = "select pg_sleep(:seconds::float8)::text"_sql;
    static_cast<void>(b.db.one<std::string>(sleep(0.0)));
    const auto r =
        b.db.try_transaction([&](transaction& tx) { static_cast<void>(tx.one<std::string>(sleep(3600.0), {.deadline = 30ms})); });
    CHECK(r.error().code() == errc::timeout);
    CHECK(r.error().effect() == strata::effect::rolled_back);
    CHECK(b.may_read());
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("asynchronously BEGIN goes with the first statement as well", "[postgres][begin][async]") {
    fixture b;
    b.db.execute(add_balance(0, 1));
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    int ended = 0;
    auto add = [](auto& tx) -> asio::awaitable<void> { co_await tx.async_execute(add_balance(1, 1)); };
    adb.async_transaction(add, [&](std::exception_ptr e) { ended += e == nullptr; });
    io.run();
    CHECK(ended == 1);
    CHECK(b.balance_of(1) == 101);
    auto fail = [](auto& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(add_balance(1, 1));
        throw 7;
    };
    io.restart();
    adb.async_transaction(fail, [&](std::exception_ptr e) { ended += e != nullptr; });
    io.run();
    CHECK(ended == 2);
    CHECK(b.balance_of(1) == 101);
    auto nothing = [](auto&) -> asio::awaitable<void> { co_return; };
    io.restart();
    adb.async_transaction(nothing, [&](std::exception_ptr e) { ended += e == nullptr; });
    io.run();
    CHECK(ended == 3);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("BEGIN says how the transaction is isolated also where it goes with a statement", "[postgres][begin]") {
    fixture b;
    constexpr auto level = "select current_setting('transaction_isolation')"_sql;
    static_cast<void>(b.db.one<std::string>(level()));
    b.db.transaction([&](transaction& tx) { CHECK(tx.one<std::string>(level()) == "serializable"); },
                     {.isolation = strata::isolation::serializable});
    b.db.transaction([&](transaction& tx) { CHECK(tx.one<std::string>(level()) == "read committed"); });
    const auto r = b.db.try_transaction([](transaction& tx) { tx.execute(add_balance(1, 1)); }, {.read_only = true});
    CHECK(r.error().code() == errc::read_only);
}

TEST_CASE("a copy runs in a transaction of its own", "[postgres][begin]") {
    fixture b;
    bool begun_before = false;
    const auto look = [&](bool is) { begun_before = is; };
    b.db.copy_out<bool>("select now() < statement_timestamp()"_sql, look);  // now() is when the transaction began
    CHECK(begun_before);
}

TEST_CASE("a copy to the client that comes first is part of the transaction", "[postgres][begin]") {
    fixture b;
    b.db.transaction(
        [&](transaction& tx) {
            std::int64_t sum = 0;
            const auto add = [&](std::int64_t n) { sum += n; };
            tx.copy_out<std::int64_t>("select balance from account"_sql, add);
            b.in.admin().execute(strata::statement{"update " + b.in.schema() + ".account set balance = 0"});
            tx.copy_out<std::int64_t>("select balance from account"_sql, add);  // of the same snapshot
            CHECK(sum == 600);
        },
        {.read_only = true, .isolation = strata::isolation::repeatable_read});
}
