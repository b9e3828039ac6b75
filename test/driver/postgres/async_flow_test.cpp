// COPY and the pipeline through the asynchronous face.
#include "fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/copy.hpp>
#include <strata/async/pipeline.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <atomic>
#include <numeric>
#include <optional>
#include <sstream>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

constexpr auto find = "select id, owner, balance from account where id = :id"_sql;

void run(asio::io_context& io, asio::awaitable<void> body) {
    std::exception_ptr thrown;
    asio::co_spawn(io, std::move(body), [&](std::exception_ptr e) { thrown = e; });
    io.run();
    io.restart();
    if (thrown) std::rethrow_exception(thrown);
}

}  // namespace

TEST_CASE("a pipeline over the loop", "[postgres][async][pipeline]") {
    bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{50, 2};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    bool finished = false;
    auto body = [&]() -> asio::awaitable<void> {
        for (int again = 0; again < 2; ++again) {
            const auto [one, added] = co_await adb.async_pipeline(strata::one<account>(find(2)), add_balance(1, 3));
            CHECK(one.owner == "owner-2");
            CHECK(added.affected == 1);
        }
        std::vector<std::int64_t> ids(2000);
        for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(i) % 50 + 1;
        const auto [all] = co_await adb.async_pipeline(strata::call_options{.deadline = 1h}, strata::one_each<account>(find, ids));
        REQUIRE(all.size() == ids.size());
        for (std::size_t i = 0; i < ids.size(); ++i) CHECK(all[i].id == ids[i]);
        const auto [good, bad, after] = co_await adb.async_try_pipeline(add_balance(1, 1), insert_account(1, "x", 1), add_balance(1, 1));
        CHECK(good->affected == 1);
        CHECK(bad.error().code() == errc::unique_violation);
        CHECK(after->affected == 1);
        auto in_tx = [](auto& tx) -> asio::awaitable<void> {
            const auto [x, wrong, never_run] =
                co_await tx.async_try_pipeline(add_balance(5, 1), insert_account(1, "x", 1), add_balance(1, 1));
            CHECK(x->affected == 1);
            CHECK(wrong.error().code() == errc::unique_violation);
            CHECK(never_run.error().code() == errc::not_run);
            strata::throw_failure(wrong.error());
        };
        const auto rolled_back = co_await adb.async_try_transaction(in_tx);
        CHECK(rolled_back.error().code() == errc::unique_violation);
        finished = true;
    };
    run(io, body());
    CHECK(finished);
    CHECK(b.balance_of(1) == 102);
    int with_callback = 0;
    adb.async_pipeline(strata::one<int>("select 7"_sql), [&](std::exception_ptr, std::tuple<int> r) { with_callback = std::get<0>(r); });
    io.run();
    CHECK(with_callback == 7);
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("a cancel and a deadline end a pipeline over the loop", "[postgres][async][pipeline]") {
    bank<> b{1, 1};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    asio::cancellation_signal stop;
    bool ended = false;
    const auto sleep = "select pg_sleep(3600)"_sql;
    adb.async_try_pipeline(strata::one<int>("select 1"_sql), sleep, sleep, asio::bind_cancellation_slot(stop.slot(), [&](auto results) {
                               CHECK(*std::get<0>(results) == 1);
                               CHECK(std::get<1>(results).error().code() == errc::cancelled);
                               CHECK(std::get<2>(results).has_error());
                               ended = true;
                           }));
    asio::steady_timer timer(io, 50ms);
    timer.async_wait([&](auto) { stop.emit(asio::cancellation_type::total); });
    io.run();
    io.restart();
    CHECK(ended);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    strata::error late;
    adb.async_try_pipeline(strata::call_options{.deadline = 30ms}, sleep, [&](auto results) { late = std::get<0>(results).error(); });
    io.run();
    CHECK(late.code() == errc::timeout);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("a statement that is being prepared behind a lock ends with its deadline, and what follows is true", "[postgres][async][fault]") {
    const strata::clock::time_point began = strata::clock::now();
    bank<> b{2, 2};
    b.db.execute("create table locked (id bigint)"_sql());
    std::optional<decltype(b.in.admin().begin())> holder;
    const auto lock = [&] {
        holder.emplace(b.in.admin().begin());
        holder->execute(strata::statement{"lock table " + b.in.schema() + ".locked in access exclusive mode"});
    };
    constexpr auto read_locked = "select count(*) from locked"_sql;
    constexpr auto read_again = "select count(*), 1 from locked"_sql;
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    SECTION("in a transaction, whose COMMIT is sent") {
        auto in_tx = [&](auto& tx) -> asio::awaitable<void> {
            co_await tx.async_execute(add_balance(-1, 1));
            lock();
            auto [late] = co_await tx.async_try_pipeline(strata::call_options{.deadline = 50ms}, strata::one<std::int64_t>(read_locked()));
            CHECK(late.error().code() == errc::timeout);
            holder.reset();
        };
        strata::error e;
        adb.async_try_transaction(in_tx, [&](strata::result<void> r) { e = r ? strata::error{} : r.error(); });
        io.run();
        CHECK(e.effect() != strata::effect::unknown);
        CHECK(b.balance_of(1) == (e ? 100 : 99));
    }
    SECTION("the end of its context") {
        lock();
        {
            asio::io_context other;
            b.db.async(other.get_executor()).async_try_one<std::int64_t>(read_locked(), [](const strata::result<std::int64_t>&) {});
            other.run_for(50ms);
        }
        holder.reset();
        for (int i = 0; i < 4; ++i) {
            CHECK(b.db.try_one<int>("select 1"_sql()).value_or(0) == 1);
            const std::vector<std::tuple<std::int64_t, std::int64_t>> wrong{{-5, 1}, {5, 99}};
            b.db.execute_many(add_balance, wrong);
        }
        CHECK(b.balance_of(1) == 80);
    }
    SECTION("a pipeline that blocks, of two such statements") {
        lock();
        const auto [one, two] = b.db.try_pipeline(strata::call_options{.deadline = 50ms}, strata::one<std::int64_t>(read_locked()),
                                                  strata::one<std::tuple<std::int64_t, int>>(read_again()));
        CHECK(one.error().code() == errc::timeout);
        CHECK(!two);
        holder.reset();
        CHECK(b.db.connections().opened == 1);  // and its connection is as good as before
        CHECK(b.db.one<std::int64_t>(read_locked()) == 0);
    }
    CHECK(strata::clock::now() - began < 60s);
}

TEST_CASE("a server that reads nothing while it cannot write does not stop a pipeline", "[postgres][async][pipeline]") {
    bank<> b{1, 1};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    const std::string much(50'000, 'x');
    const std::vector<std::tuple<std::string>> arguments(200, std::tuple{much});
    bool called = false;
    auto body = [&]() -> asio::awaitable<void> {
        auto [big, sizes] = co_await adb.async_pipeline(strata::one<std::string>("select repeat('x', 30000000)"_sql()),
                                                        strata::one_each<std::int64_t>("select length(:t)::int8"_sql, arguments));
        CHECK(big.size() == 30'000'000);
        CHECK(sizes.size() == 200);
        called = true;
    };
    run(io, body());
    CHECK(called);
}

TEST_CASE("preparing, transactions, savepoints, batches and sessions go over the loop alone", "[postgres][async]") {
    bank<> b{2, 3};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor(), strata::async_options{.work_threads = 1});
    std::atomic<bool> held{false}, free{false};
    const auto hold = [&](std::int64_t) {
        held = true;
        held.notify_all();
        free.wait(false);
    };
    bool copied = false;
    auto body = [&]() -> asio::awaitable<void> {
        const std::vector<std::tuple<std::int64_t, std::int64_t>> both{{-5, 1}, {5, 2}};
        const std::vector<std::tuple<std::int64_t, std::int64_t>> wrong{{-5, 1}, {5, 99}};
        auto inner = [&](auto& sp) -> asio::awaitable<void> {
            co_await sp.async_execute(add_balance(-7, 1));
            throw std::runtime_error("undone");
        };
        auto outer = [&](auto& tx) -> asio::awaitable<int> {
            co_await tx.async_execute(add_balance(-1, 1));
            try {
                co_await tx.async_transaction(inner);
            } catch (const std::runtime_error&) {
            }
            co_await tx.async_execute_many(add_balance, both);
            co_return co_await tx.template async_one<int>("select 6 * 7"_sql());
        };
        const int answer = co_await adb.async_transaction(outer);
        CHECK(answer == 42);
        const auto done = co_await adb.async_execute_many(add_balance, both);
        CHECK(done.affected == 2);
        auto tx = co_await adb.async_begin();
        co_await tx.async_execute(add_balance(1, 1));
        co_await tx.async_commit();
        auto dropped = co_await adb.async_begin();
        co_await dropped.async_execute(add_balance(1000, 1));
        co_await dropped.async_rollback();
        auto session = co_await adb.async_session();
        co_await session.async_execute("set strata.mark = 'here'"_sql());
        const auto mark = co_await session.template async_one<std::string>("select current_setting('strata.mark')"_sql());
        CHECK(mark == "here");
        co_await session.async_release();
        free = true;
        free.notify_all();
    };
    // Connections that are open already: only how they begin takes a thread.
    auto warm = [&]() -> asio::awaitable<void> {
        auto one = co_await adb.async_session();
        auto two = co_await adb.async_session();
        auto three = co_await adb.async_session();
    };
    run(io, warm());
    adb.async_try_copy_out<std::int64_t>("select 1::int8"_sql, hold, [&](strata::result<strata::copied> r) { copied = r.has_value(); });
    std::thread loop([&] { run(io, body()); });
    held.wait(false);
    loop.join();
    CHECK(copied);
    CHECK(b.balance_of(1) == 100 - 1 - 5 - 5 + 1);
    CHECK(b.balance_of(2) == 110);
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("COPY on a work thread", "[postgres][async][copy]") {
    bank<> b{0, 2};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    std::int64_t sum = 0;
    auto body = [&]() -> asio::awaitable<void> {
        std::vector<account> rows(5000);
        for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::int64_t>(i), "o", 2};
        const strata::copied in = co_await adb.async_copy_in("account", rows);
        CHECK(in.rows == 5000);
        auto add = [&](const account& a) { sum += a.balance; };
        const strata::copied out = co_await adb.async_copy_out<account>("account", add, {.deadline = 1h});
        CHECK(out.rows == 5000);
        auto twice = co_await adb.async_try_copy_in("account", rows, {.format = strata::copy_format::text});
        CHECK(twice.error().code() == errc::unique_violation);
        const std::vector<account> last{{-1, "m", 1}};
        auto in_tx = [&](auto& tx) -> asio::awaitable<void> {
            const auto bad = co_await tx.async_try_copy_in("account", rows);
            CHECK(bad.error().effect() == strata::effect::rolled_back);
            const auto more = co_await tx.async_copy_in("account", last);
            CHECK(more.rows == 1);
        };
        co_await adb.async_transaction(in_tx);
        std::ostringstream stream;
        const auto written = co_await adb.async_copy_to("select 1, 'a'"_sql, stream, {.format = strata::copy_format::csv});
        CHECK(written.rows == 1);
        CHECK(stream.str() == "1,a\n");
        std::string collected;
        const auto collect = [&](std::string_view piece) { collected += piece; };
        const auto same = co_await adb.async_try_copy_to("select 1, 'a'"_sql, collect);
        CHECK(same.value().bytes == 4);
        CHECK(collected == "1\ta\n");
    };
    run(io, body());
    CHECK(sum == 10'000);
    CHECK(b.db.one<std::int64_t>("select count(*) from account"_sql()) == 5001);
    asio::cancellation_signal stop;
    strata::error seen;
    adb.async_try_copy_out<std::int64_t>(
        "select generate_series(1::int8, 1000000000)"_sql, [](std::int64_t) {},
        asio::bind_cancellation_slot(stop.slot(), [&](strata::result<strata::copied> r) { seen = r.error(); }));
    asio::steady_timer timer(io, 50ms);
    timer.async_wait([&](auto) { stop.emit(asio::cancellation_type::total); });
    io.run();
    CHECK(seen.code() == errc::cancelled);
    CHECK(all_returned(b.db.connections()));
}
