// Transactions of the asynchronous face: who may use a handle when, hooks, and what is made of conflicts.
#include <async/fixture.hpp>

#include <strata/testing/scripted.hpp>
#include <strata/transaction/modes.hpp>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>

using namespace strata_test;
using strata::effect;

namespace {

using lines = std::vector<std::string>;
using scripted_stack = strata::stack<strata::retry<>, strata::single, strata::scripted_postgres>;
using scripted_face = strata::async_database<scripted_stack>;
using scripted_tx = scripted_face::transaction_type;
using plain_face = strata::async_database<plain_stack>;
using plain_tx = plain_face::transaction_type;

constexpr auto put = "insert into t values (1)"_sql.named("put");
const strata::retry_options at_once{.max_attempts = 3, .base = {}, .cap = {}};

/// A scripted database under a loop.
struct scripted_bank {
    strata::script script;
    strata::database<scripted_stack> db;
    asio::io_context io;
    scripted_face adb;
    lines seen;

    scripted_bank() : script(answering()), db(strata::scripted_options{script}, at_once), adb(db.async(io.get_executor())) {}
    static strata::script answering() {
        strata::script s;
        s.on_any().rows({{1}});
        return s;
    }
    void both(auto& tx, const std::string& text) {
        tx.on_commit([this, text] { told("+" + text); });
        tx.on_rollback([this, text] { told("-" + text); });
    }
    void told(std::string what) {
        CHECK(io.get_executor().running_in_this_thread());
        seen.push_back(std::move(what));
    }
};

}  // namespace

TEST_CASE("hooks of coroutine transactions run on the executor, after the fact, before the next attempt", "[async][hooks]") {
    scripted_bank b;
    const auto body = [&](scripted_tx& tx) -> asio::awaitable<void> {
        b.seen.push_back("attempt");
        b.both(tx, std::to_string(tx.attempt()));
        const auto inner = co_await tx.async_try_transaction([&](scripted_tx& in) -> asio::awaitable<void> {
            b.both(in, "inner");
            co_await in.async_execute("select 2"_sql);
            strata::throw_failure(strata::error{errc::user_error, strata::phase::execute});
        });
        CHECK(inner.error().effect() == effect::rolled_back);
        co_await tx.async_execute(put);
    };
    b.script.on(put).fails(errc::serialization_failure).times(1);
    run(b.io, b.adb.async_transaction(body));
    CHECK(b.seen == lines{"attempt", "-inner", "-1", "attempt", "-inner", "+2"});

    b.seen.clear();
    b.script.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
    const auto unknown = run(b.io, b.adb.async_try_transaction(body));
    CHECK(unknown.error().effect() == effect::unknown);
    CHECK(unknown.error().texts().detail.find("neither on_commit nor on_rollback") != std::string::npos);
    CHECK(b.seen == lines{"attempt", "-inner"});

    for (const bool commits : {true, false}) {
        b.seen.clear();
        run(b.io, [&]() -> asio::awaitable<void> {
            auto tx = co_await b.adb.async_begin();
            b.both(tx, "held");
            if (commits)
                co_await tx.async_commit();
            else
                co_await tx.async_rollback();
        }());
        CHECK(b.seen == lines{commits ? "+held" : "-held"});
    }
}

TEST_CASE("hooks of an SQLite transaction run on the executor, not on a work thread", "[async][hooks]") {
    async_bank<strata::stack<strata::retry<>, strata::pool<>, strata::sqlite>> b{at_once};
    b.fill(1);
    const auto here = std::this_thread::get_id();
    lines seen;
    int attempts = 0;
    const auto body = [&](auto& tx) -> asio::awaitable<void> {
        ++attempts;
        tx.on_rollback([&] { seen.push_back(std::this_thread::get_id() == here ? "-" : "elsewhere"); });
        tx.on_commit([&] { seen.push_back(std::this_thread::get_id() == here ? "+" : "elsewhere"); });
        co_await tx.async_execute(add_balance(1, 1));
        if (attempts == 1) strata::throw_failure(strata::error{errc::busy_snapshot, strata::phase::execute});
    };
    run(b.io, b.adb.async_transaction(body));
    CHECK(seen == lines{"-", "+"});
    CHECK(b.balance_of(1) == 101);
}

TEST_CASE("a conflict in a savepoint of a coroutine repeats the whole, though it is swallowed", "[async][transaction]") {
    for (int how = 0; how < 3; ++how) {
        CAPTURE(how);
        scripted_bank b;
        b.script.on(put).fails(errc::serialization_failure).times(1);
        unsigned attempts = 0;
        const auto body = [&](scripted_tx& tx) -> asio::awaitable<void> {
            attempts = tx.attempt();
            const auto swallows = [](scripted_tx& in) -> asio::awaitable<void> { static_cast<void>(co_await in.async_try_execute(put)); };
            const auto fails = [](scripted_tx& in) -> asio::awaitable<void> { static_cast<void>(co_await in.async_execute(put)); };
            if (how == 0) co_await swallows(tx);
            if (how == 1) static_cast<void>(co_await tx.async_try_transaction(swallows));
            if (how == 2) static_cast<void>(co_await tx.async_try_transaction(fails));
        };
        run(b.io, b.adb.async_transaction(body));
        CHECK(attempts == 2);
    }
}

TEST_CASE("two tasks in one transaction: the second is refused", "[async][misuse]") {
    async_bank<> b;
    b.fill(1);
    const auto body = [&](plain_tx& tx) -> asio::awaitable<void> {
        strata::error first, second, nested;
        tx.async_try_one<std::int64_t>(endless_query, {.deadline = 30ms}, [&](const auto& r) { first = r.error(); });
        tx.async_try_execute(add_balance(1, 1), [&](const auto& r) { second = r ? strata::error{} : r.error(); });
        nested = (co_await tx.async_try_transaction([](plain_tx&) -> asio::awaitable<void> { co_return; })).error();
        asio::steady_timer pause(co_await asio::this_coro::executor, 100ms);
        co_await pause.async_wait(asio::use_awaitable);
        CHECK(first.code() == errc::timeout);
        CHECK(second.code() == errc::misuse);
        CHECK(second.effect() == effect::none);
        CHECK(nested.code() == errc::misuse);
        // In a savepoint the outer handle is refused; outside it is free again.
        co_await tx.async_transaction([&](plain_tx& inner) -> asio::awaitable<void> {
            const auto outer = co_await tx.async_try_execute(add_balance(1, 1));
            CHECK(outer.error().code() == errc::misuse);
            co_await inner.async_execute(add_balance(1, 1));
        });
        co_await tx.async_execute(add_balance(1, 1));
    };
    run(b.io, b.adb.async_transaction(body));
    CHECK(b.balance_of(1) == 102);
    check_at_rest(b.db);
}

TEST_CASE("a coroutine that ends before its calls do is not committed, and nothing is torn apart", "[async][misuse]") {
    async_bank<> b;
    b.fill(1);
    int late = 0;
    const auto body = [&](plain_tx& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(add_balance(1, 1));
        tx.async_try_one<std::int64_t>(endless_query, [&](const auto& r) { late += r.error().code() == errc::cancelled ? 1 : 100; });
    };
    for (int i = 1; i <= 20; ++i) {
        const auto r = run(b.io, b.adb.async_try_transaction(body));
        REQUIRE(!r);
        CHECK(r.error().code() == errc::misuse);
        CHECK(r.error().effect() == effect::rolled_back);
        CHECK(late == i);
    }
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
    // One in the user's hands refuses to end, and is rolled back when its call has ended.
    run(b.io, [&]() -> asio::awaitable<void> {
        auto tx = co_await b.adb.async_begin();
        tx.async_try_one<std::int64_t>(endless_query, {.deadline = 20ms}, [&](const auto&) {});
        const auto end = co_await tx.async_try_commit();
        CHECK(end.error().code() == errc::misuse);
    }());
    CHECK(b.balance_of(1) == 100);
}

TEST_CASE("a savepoint whose coroutine is cancelled is undone, and the transaction goes on without it", "[async][transaction][cancel]") {
    async_bank<> b;
    b.fill(1);
    const auto within = [](auto work, strata::duration limit) -> asio::awaitable<bool> {
        using namespace asio::experimental::awaitable_operators;
        asio::steady_timer timer(co_await asio::this_coro::executor, limit);
        const auto first = co_await (std::move(work) || timer.async_wait(asio::use_awaitable));
        co_return first.index() == 0;
    };
    const auto half = [](plain_tx& inner) -> asio::awaitable<void> {
        co_await inner.async_execute(add_balance(10, 1));
        asio::steady_timer pause(co_await asio::this_coro::executor, 5s);
        co_await pause.async_wait(asio::use_awaitable);
        co_await inner.async_execute(add_balance(10, 1));
    };
    int rolled_back = 0;
    const auto body = [&](plain_tx& tx) -> asio::awaitable<void> {
        const auto counted = [&](plain_tx& inner) -> asio::awaitable<void> {
            inner.on_rollback([&] { ++rolled_back; });
            return half(inner);
        };
        const bool done = co_await within(tx.async_transaction(counted), 50ms);
        CHECK(!done);
        const auto after = co_await tx.async_try_execute(add_balance(1, 1));
        CHECK(after);
    };
    const auto r = run(b.io, b.adb.async_try_transaction(body));
    CHECK(r);
    CHECK(rolled_back == 1);
    CHECK(b.balance_of(1) == 101);
    run(b.io, [&]() -> asio::awaitable<void> {
        auto tx = co_await b.adb.async_begin();
        const bool done = co_await within(tx.async_transaction(half), 50ms);
        CHECK(!done);
        const auto end = co_await tx.async_try_commit();
        CHECK(end);
    }());
    CHECK(b.balance_of(1) == 101);
    check_at_rest(b.db);
}

TEST_CASE("options and modes mean the same to the asynchronous face", "[async][transaction]") {
    strata::script script = scripted_bank::answering();
    using stack = strata::stack<strata::transactions<strata::automatic>, strata::single, strata::scripted_postgres>;
    strata::database<stack> db{strata::scripted_options{script},
                               strata::transactions_options{.isolation = strata::isolation::serializable}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    run(io, [&]() -> asio::awaitable<void> {
        co_await adb.async_execute(put);
        const auto body = [](auto& tx) -> asio::awaitable<void> { co_await tx.async_execute(put); };
        const strata::transaction_options<strata::scripted_postgres> o{.isolation = strata::isolation::repeatable_read,
                                                                       .resolve_commit = true};
        co_await adb.async_transaction(body, o);
        auto tx = co_await adb.async_begin();
        co_await tx.async_commit();
    }());
    CHECK(script.journal() == lines{"begin immediate serializable", "put", "commit",                           //
                                    "begin immediate repeatable_read", "put", "pg_current_xact_id", "commit",  //
                                    "begin immediate serializable", "commit"});
}
