// Transactions whose closures are coroutines, connections held by asynchronous code, batches and streams.
#include <async/fixture.hpp>

#include <boost/asio/steady_timer.hpp>

using namespace strata_test;

namespace {

using plain_face = strata::async_database<plain_stack>;
using plain_tx = plain_face::transaction_type;

asio::awaitable<std::int64_t> pay(plain_tx& tx, std::int64_t from, std::int64_t to, std::int64_t amount) {
    co_await tx.async_execute(add_balance(-amount, from));
    co_await tx.async_execute(add_balance(amount, to));
    auto balance = co_await tx.async_one<std::int64_t>("select balance from account where id = :id"_sql(to));
    co_return balance;
}

/// The code of the failure that the awaited call throws; `ok` when it throws none.
template <class T>
asio::awaitable<errc> code_of(asio::awaitable<T> call) {
    errc code = errc::ok;
    try {
        co_await std::move(call);
    } catch (const strata::failure& f) {
        code = f.code();
    }
    co_return code;
}

inline constexpr auto insert_or_rollback = "insert or rollback into account (id, owner, balance) values (:id, :owner, :balance)"_sql;

}  // namespace

TEST_CASE("a coroutine closure's value comes out after the commit", "[async][transaction]") {
    async_bank<> b;
    b.fill(2);
    CHECK(run(b.io, b.adb.async_transaction([](plain_tx& tx) { return pay(tx, 1, 2, 30); })) == 230);
    run(b.io, b.adb.async_transaction([](auto& tx) -> asio::awaitable<void> { co_await tx.async_execute(add_balance(1, 1)); }));
    CHECK(b.balance_of(1) == 71);
    const std::unique_ptr<int> moved = run(b.io, b.adb.async_transaction([](plain_tx&) -> asio::awaitable<std::unique_ptr<int>> {
        co_return std::make_unique<int>(7);
    }));
    CHECK(*moved == 7);
    const strata::result<std::int64_t> tried = run(b.io, b.adb.async_try_transaction([](plain_tx& tx) { return pay(tx, 1, 2, 1); }));
    CHECK(tried.value() == 231);
    const strata::result<void> nothing = run(b.io, b.adb.async_try_transaction([](plain_tx&) -> asio::awaitable<void> { co_return; }));
    CHECK(nothing);

    // Other tokens.
    const auto body = [](plain_tx& tx) { return pay(tx, 1, 2, 1); };
    auto future = b.adb.async_transaction(body, asio::use_future);
    auto deferred = b.adb.async_transaction(body, asio::deferred);
    std::int64_t called_back = 0;
    b.adb.async_transaction(body, strata::transaction_options<strata::sqlite>{.deadline = 1h},
                            [&](std::exception_ptr e, std::int64_t balance) {
                                CHECK_FALSE(e);
                                called_back = balance;
                            });
    b.io.restart();
    b.io.run();
    CHECK(future.get() + called_back == 232 + 233);
    CHECK(run(b.io, deferred(asio::use_awaitable)) == 234);
    CHECK(run(b.io, std::move(deferred)(asio::use_awaitable)) == 235);
    check_at_rest(b.db);
}

TEST_CASE("a coroutine closure that throws or returns an error rolls back", "[async][transaction]") {
    async_bank<> b;
    b.fill(1);
    const auto throws = [](auto& tx) -> asio::awaitable<int> {
        co_await tx.async_execute(add_balance(1000, 1));
        throw std::domain_error("no");
    };
    CHECK_THROWS_AS(run(b.io, b.adb.async_transaction(throws)), std::domain_error);
    const auto told = run(b.io, b.adb.async_try_transaction(throws));
    CHECK(told.error().code() == errc::user_exception);
    CHECK(told.error().message() == "no");
    CHECK_THROWS_AS(run(b.io, b.adb.async_transaction([](plain_tx&) -> asio::awaitable<void> {
        throw 7;
        co_return;
    })),
                    int);

    const auto fails = [](auto& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(add_balance(1000, 1));
        co_await tx.async_execute(insert_account(1, "twice", 0));
    };
    const strata::error e = failure_of([&] {
        run(b.io, b.adb.async_transaction(fails));
        return 0;
    });
    CHECK(e.code() == errc::unique_violation);
    CHECK(e.effect() == strata::effect::rolled_back);
    CHECK(run(b.io, b.adb.async_try_transaction(fails)).error().effect() == strata::effect::rolled_back);

    const auto refuses = [](auto& tx) -> asio::awaitable<strata::result<int>> {
        co_await tx.async_execute(add_balance(1000, 1));
        co_return strata::error{errc::user_error, "too much", strata::phase::execute};
    };
    const strata::result<int> value = run(b.io, b.adb.async_transaction(refuses));
    CHECK(value.error().message() == "too much");
    CHECK(value.error().effect() == strata::effect::rolled_back);
    const strata::result<int> tried = run(b.io, b.adb.async_try_transaction(refuses));  // not a result in a result
    CHECK(tried.error().message() == "too much");
    CHECK(tried.error().effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("a savepoint of a coroutine transaction fails alone", "[async][transaction]") {
    async_bank<> b;
    b.fill(1);
    run(b.io, b.adb.async_transaction([](plain_tx& tx) -> asio::awaitable<void> {
        constexpr auto balance = "select balance from account"_sql;
        co_await tx.async_execute(add_balance(1, 1));
        auto inside = co_await tx.async_transaction([&](plain_tx& inner) -> asio::awaitable<std::int64_t> {
            co_await inner.async_execute(add_balance(10, 1));
            auto seen = co_await inner.async_one<std::int64_t>(balance);
            co_return seen;
        });
        CHECK(inside == 111);
        bool thrown = false;
        try {
            co_await tx.async_transaction([](plain_tx& inner) -> asio::awaitable<void> {
                co_await inner.async_execute(add_balance(1000, 1));
                throw std::domain_error("inner");
            });
        } catch (const std::domain_error&) {
            thrown = true;
        }
        CHECK(thrown);
        auto refused = co_await tx.async_transaction([](plain_tx& inner) -> asio::awaitable<strata::result<int>> {
            co_await inner.async_execute(add_balance(2000, 1));
            co_return strata::error{errc::user_error, strata::phase::execute};
        });
        CHECK(refused.error().code() == errc::user_error);
        auto tried = co_await tx.async_try_transaction([](plain_tx& middle) -> asio::awaitable<int> {
            co_await middle.async_execute(add_balance(100, 1));
            co_await middle.async_transaction([](plain_tx& innermost) -> asio::awaitable<void> {
                co_await innermost.async_execute(add_balance(200, 1));
            });
            co_await middle.async_execute(insert_account(1, "twice", 1));
            co_return 1;
        });
        CHECK(tried.error().code() == errc::unique_violation);
        auto fine = co_await tx.async_try_transaction([](plain_tx& inner) -> asio::awaitable<void> {
            co_await inner.async_execute(add_balance(2, 1));
        });
        CHECK(fine);
        auto last = co_await tx.async_one<std::int64_t>(balance);
        CHECK(last == 113);
    }));
    CHECK(b.balance_of(1) == 113);
    check_at_rest(b.db);
}

TEST_CASE("when the database rolls back by itself, no later asynchronous statement slips out", "[async][transaction]") {
    async_bank<> b;
    b.fill(1);
    const auto body = [](auto& tx) -> asio::awaitable<void> {
        co_await tx.async_execute(add_balance(1000, 1));
        auto first = co_await tx.async_try_execute(insert_or_rollback(1, "twice", 0));
        CHECK(first.error().code() == errc::unique_violation);
        auto second = co_await tx.async_try_execute(insert_account(5, "Eve", 1));
        CHECK(second.error().code() == errc::transaction_aborted);
        auto third = co_await tx.template async_try_one<std::int64_t>(count_accounts);
        CHECK(third.error().code() == errc::transaction_aborted);
        auto stream = tx.template rows<account>(all_accounts);
        auto fourth = co_await stream.async_try_next();
        CHECK(fourth.error().code() == errc::transaction_aborted);
        const std::vector<account> late{{7, "x", 1}};  // g++ 12 has no braced list in a co_await
        auto fifth = co_await tx.async_try_execute_many(insert_account, late);
        CHECK(fifth.error().code() == errc::transaction_aborted);
        auto sixth = co_await code_of(tx.async_transaction([](plain_tx&) -> asio::awaitable<void> { co_return; }));
        CHECK(sixth == errc::transaction_aborted);
    };
    CHECK(run(b.io, b.adb.async_try_transaction(body)).error().code() == errc::commit_rolled_back);
    CHECK(b.count() == 1);
    run(b.io, [&]() -> asio::awaitable<void> {
        auto tx = co_await b.adb.async_begin();
        co_await body(tx);
        auto end = co_await tx.async_try_commit();
        CHECK(end.error().code() == errc::commit_rolled_back);
    }());
    CHECK(b.count() == 1);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("a conflict repeats the coroutine as a whole, once-closures never", "[async][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 5, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    using tx_type = strata::async_database<retrying_stack>::transaction_type;
    const strata::transaction_options<strata::sqlite> deferred{.locking = strata::sqlite_locking::deferred};

    int calls = 0;
    const auto meddle = [&](tx_type& tx) -> asio::awaitable<std::int64_t> {
        ++calls;
        CHECK(tx.attempt() == static_cast<unsigned>(calls));
        auto n = co_await tx.async_one<std::int64_t>(count_accounts);
        if (calls < 3) {
            const std::string sql = "insert into account values (" + std::to_string(100 + calls) + ", 'x" + std::to_string(calls) + "', 0)";
            other.run(sql.c_str());
        }
        co_await tx.async_execute(insert_account(1, "Ada", n));
        co_return n;
    };
    CHECK(run(io, adb.async_transaction(meddle, deferred)) == 2);
    CHECK(calls == 3);
    CHECK(db.policy<strata::metrics<>>().snapshot().retries == 2);

    const auto always = [&](tx_type& tx) -> asio::awaitable<void> {
        ++calls;
        co_await tx.async_one<std::int64_t>(count_accounts);
        other.run("insert into account select max(id) + 1, 'y' || max(id), 0 from account");
        co_await tx.async_execute(insert_account(1000, "Eve", 1));
    };
    calls = 0;
    CHECK(run(io, adb.async_try_transaction(strata::once(always), deferred)).error().code() == errc::busy_snapshot);
    CHECK(calls == 1);
    calls = 0;
    CHECK(run(io, adb.async_try_transaction(always, deferred)).error().attempts() == 5);
    CHECK(calls == 5);
    // A session repeats on its own connection.
    calls = 0;
    run(io, [&]() -> asio::awaitable<void> {
        auto s = co_await adb.async_session();
        auto r = co_await s.async_try_transaction(always, deferred);
        CHECK(r.error().attempts() == 5);
        auto once = co_await s.async_try_transaction(strata::once(always), deferred);
        CHECK(once.error().code() == errc::busy_snapshot);
    }());
    CHECK(calls == 6);
    // Its type may be erased.
    calls = 0;
    CHECK(failure_of([&] {
              strata::any_async_session erased{adb};
              run(io, erased.async_transaction(strata::once([&](strata::any_async_session&) -> asio::awaitable<void> {
                  ++calls;
                  strata::throw_failure(strata::error{errc::busy_snapshot, strata::phase::execute});
                  co_return;
              })));
              return 0;
          }).code() == errc::busy_snapshot);
    CHECK(calls == 1);
    wait_until([&] { return all_home(db); });
    check_at_rest(db);
}

TEST_CASE("a cancel of a transaction rolls back, wherever the closure is", "[async][transaction][cancel]") {
    const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total);
    async_bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    asio::cancellation_signal stop;
    std::optional<strata::result<int>> ended;
    bool inside = false, went_on = false;
    auto handler = asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) { ended = std::move(r); });

    SECTION("in a statement") {
        b.adb.async_try_transaction(
            [&](plain_tx& tx) -> asio::awaitable<int> {
                co_await tx.async_execute(add_balance(1000, 1));
                inside = true;
                co_await tx.async_execute(endless_query);
                went_on = true;
                co_return 1;
            },
            handler);
        while (!inside) b.io.run_one();
        stop.emit(type);
    }
    SECTION("in the closure's own waiting") {
        b.adb.async_try_transaction(
            [&](plain_tx& tx) -> asio::awaitable<int> {
                co_await tx.async_execute(add_balance(1000, 1));
                asio::steady_timer forever(b.io, asio::steady_timer::time_point::max());
                inside = true;
                co_await forever.async_wait(asio::use_awaitable);
                went_on = true;
                co_return 1;
            },
            handler);
        while (!inside) b.io.run_one();
        stop.emit(type);
    }
    SECTION("in a savepoint, whose closure ignores it") {
        b.adb.async_try_transaction(
            [&](plain_tx& tx) -> asio::awaitable<int> {
                auto r = co_await tx.async_try_transaction([&](plain_tx& inner) -> asio::awaitable<void> {
                    co_await inner.async_execute(add_balance(1000, 1));
                    inside = true;
                    co_await inner.async_execute(endless_query);
                });
                CHECK(r.error().code() == errc::cancelled);
                auto next = co_await tx.async_try_execute(add_balance(1000, 1));
                CHECK(next.error().code() == errc::cancelled);
                co_return 1;
            },
            handler);
        while (!inside) b.io.run_one();
        stop.emit(type);
    }
    SECTION("before it has begun") {
        b.adb.async_try_transaction(
            [&](plain_tx&) -> asio::awaitable<int> {
                went_on = true;
                co_return 1;
            },
            handler);
        stop.emit(type);
    }
    SECTION("while it waits for its connection") {
        auto pinned = b.db.session();
        b.adb.async_try_transaction(
            [&](plain_tx&) -> asio::awaitable<int> {
                went_on = true;
                co_return 1;
            },
            handler);
        stop.emit(type);
        b.io.run();
    }
    b.io.restart();
    b.io.run();
    REQUIRE(ended);
    REQUIRE_FALSE(*ended);
    CHECK(ended->error().code() == errc::cancelled);
    CHECK_FALSE(went_on);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("the deadline of a coroutine transaction bounds its statements and its commit", "[async][transaction]") {
    async_bank<> b;
    b.fill(1);
    const strata::transaction_options<strata::sqlite> soon{.deadline = 20ms};
    const auto slow = run(b.io, b.adb.async_try_transaction(
                                    [](plain_tx& tx) -> asio::awaitable<void> {
                                        co_await tx.async_execute(add_balance(1000, 1));
                                        co_await tx.async_execute(endless_query);
                                    },
                                    soon));
    CHECK(slow.error().code() == errc::timeout);
    CHECK(slow.error().effect() == strata::effect::rolled_back);
    const auto late = run(b.io, b.adb.async_try_transaction(
                                    [&](plain_tx& tx) -> asio::awaitable<void> {
                                        co_await tx.async_execute(add_balance(1000, 1));
                                        asio::steady_timer pause(b.io, 30ms);
                                        co_await pause.async_wait(asio::use_awaitable);
                                    },
                                    soon));
    CHECK(late.error().code() == errc::timeout);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("a transaction in asynchronous hands: commit, rollback, drop, move", "[async][transaction]") {
    async_bank<> b;
    b.fill(1);
    run(b.io, [&]() -> asio::awaitable<void> {
        auto tx = co_await b.adb.async_begin();
        co_await tx.async_execute(add_balance(1, 1));
        auto nested = co_await tx.async_try_transaction([](plain_tx& inner) -> asio::awaitable<int> {
            co_await inner.async_execute(add_balance(1000, 1));
            co_await inner.async_execute(insert_account(1, "twice", 0));
            co_return 1;
        });
        CHECK(nested.error().code() == errc::unique_violation);
        co_await tx.async_transaction([](plain_tx& inner) -> asio::awaitable<void> { co_await inner.async_execute(add_balance(1, 1)); });
        auto other = std::move(tx);
        const std::vector<std::pair<int, int>> additions{{1, 1}, {2, 1}};  // g++ 12 has no braced list in a co_await
        co_await other.async_execute_many(add_balance, additions);
        co_await other.async_commit();
        errc code = errc::ok;
        try {
            co_await other.async_execute(add_balance(1, 1));
        } catch (const strata::failure& f) {
            code = f.code();
        }
        CHECK(code == errc::misuse);
        code = errc::ok;
        try {
            co_await other.async_commit();
        } catch (const strata::failure& f) {
            code = f.code();
        }
        CHECK(code == errc::misuse);

        auto second = co_await b.adb.async_try_begin();
        co_await second->async_execute(add_balance(1000, 1));
        co_await second->async_rollback();
        { auto dropped = co_await b.adb.async_begin(); co_await dropped.async_execute(add_balance(1000, 1)); }
        auto reader = co_await b.adb.async_begin({.read_only = true});
        auto refused = co_await reader.async_try_execute(add_balance(1, 1));
        CHECK(refused.error().code() == errc::read_only);
        plain_face::owned_transaction_type empty;
        auto third = co_await b.adb.async_begin();  // the connection of the dropped one has come back
        empty = std::move(third);
        co_await empty.async_execute(add_balance(1, 1));
        auto done = co_await empty.async_try_commit();
        CHECK(done);
    }());
    wait_until([&] { return all_home(b.db); });
    CHECK(b.balance_of(1) == 106);
    check_at_rest(b.db);
}

TEST_CASE("a session in asynchronous hands keeps its connection", "[async][transaction]") {
    async_bank<> b;
    run(b.io, [&]() -> asio::awaitable<void> {
        auto s = co_await b.adb.async_session();
        co_await s.async_execute("create temp table scratch (n integer)"_sql);
        const std::vector<int> numbers{1, 2, 3};
        co_await s.async_execute_many("insert into scratch values (:n)"_sql, numbers);
        auto n = co_await s.async_transaction([](plain_tx& tx) -> asio::awaitable<int> {
            co_await tx.async_execute("delete from scratch where n = 1"_sql);
            auto left = co_await tx.async_one<int>("select count(*) from scratch"_sql);
            co_return left;
        });
        CHECK(n == 2);
        co_await s.async_execute("begin"_sql);
        co_await s.async_execute(insert_account(1, "Ada", 1));
        auto pragma = co_await s.async_try_execute(strata::statement{"pragma user_version = 3"});
        CHECK(pragma);
        errc told = errc::ok;
        try {
            co_await s.async_release();
        } catch (const strata::failure& f) {  // it rolls back what is open, and says so
            told = f.code();
        }
        CHECK(told == errc::misuse);
        auto count = co_await b.adb.async_one<std::int64_t>(count_accounts);
        CHECK(count == 0);
    }());
    check_at_rest(b.db);
}

TEST_CASE("a handle that is dropped under a running call gives its connection back after it", "[async][transaction]") {
    async_bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    std::optional<strata::error> ended;
    {
        auto tx = run(b.io, b.adb.async_begin());
        tx.async_try_one<std::int64_t>(endless_query, {.deadline = 50ms}, [&](strata::result<std::int64_t> r) { ended = r.error(); });
    }
    b.io.restart();
    b.io.run();
    REQUIRE(ended);
    CHECK(ended->code() == errc::timeout);
    wait_until([&] { return all_home(b.db); });
    check_at_rest(b.db);
}

TEST_CASE("a run-time statement in the wrong place is an error of the call", "[async]") {
    async_bank<> b;
    run(b.io, [&]() -> asio::awaitable<void> {
        auto first = co_await b.adb.async_try_execute(strata::statement{"begin"});
        CHECK(first.error().code() == errc::misuse);
        auto second = co_await b.adb.async_try_one<int>(strata::statement{"select 'no end"});
        CHECK(second.error().code() == errc::invalid_statement);
        auto third = co_await b.adb.async_try_execute(strata::statement{"pragma cache_size = 1"});
        CHECK(third.error().code() == errc::misuse);
        auto thrown = co_await code_of(b.adb.async_one<int>(strata::statement{"select :unset"}));
        CHECK(thrown == errc::invalid_statement);
        strata::any_async_session erased{b.adb};
        auto fourth = co_await erased.async_try_execute(strata::statement{"begin"});
        CHECK(fourth.error().code() == errc::misuse);
        auto fifth = co_await erased.async_try_one<int>(strata::statement{"select 'no end"});
        CHECK(fifth.error().code() == errc::invalid_statement);
        auto sixth = co_await erased.async_try_one<std::string>("select $$text$$"_sql);
        CHECK(sixth.error().code() == errc::invalid_statement);
        co_await b.adb.async_transaction([](plain_tx& tx) -> asio::awaitable<void> {
            auto r = co_await tx.async_try_execute(strata::statement{"commit"});
            CHECK(r.error().code() == errc::misuse);
        });
    }());
    check_at_rest(b.db);
}

TEST_CASE("a batch is one operation, all or nothing", "[async]") {
    async_bank<> b;
    run(b.io, [&]() -> asio::awaitable<void> {
        std::vector<account> people{{1, "Ada", 10}, {2, "Bob", 20}};
        auto call = b.adb.async_execute_many(insert_account, people);
        people.clear();  // they were copied in the call
        auto done = co_await std::move(call);
        CHECK(done.affected == 2);
        std::vector<account> again{{3, "Eve", 10}, {1, "twice", 20}};
        auto failed = co_await b.adb.async_try_execute_many(insert_account, std::move(again), {.deadline = 1h});
        CHECK(failed.error().code() == errc::unique_violation);
        CHECK_THAT(failed.error().to_string(), contains_text("element 1"));
        CHECK(failed.error().effect() == strata::effect::rolled_back);
        co_await b.adb.async_transaction([](plain_tx& tx) -> asio::awaitable<void> {
            co_await tx.async_execute(insert_account(7, "Zoe", 1));
            const std::vector<account> twice{{8, "Dan", 1}, {7, "twice", 1}};
            auto inner = co_await tx.async_try_execute_many(insert_account, twice);
            CHECK(inner.error().code() == errc::unique_violation);
        });
    }());
    CHECK(b.count() == 3);
    check_at_rest(b.db);
}

TEST_CASE("an asynchronous stream comes in batches", "[async][stream]") {
    async_bank<> b{strata::pool_options{.max_size = 2}};
    b.fill(10);
    run(b.io, [&]() -> asio::awaitable<void> {
        for (const std::size_t batch : {1u, 3u, 5u, 10u, 100u}) {
            auto stream = b.adb.rows<account>(all_accounts, {}, batch);
            std::vector<account> all;
            for (;;) {
                auto rows = co_await stream.async_next();
                if (rows.empty()) break;
                CHECK(rows.size() <= batch);
                all.insert(all.end(), rows.begin(), rows.end());
            }
            CHECK(all.size() == 10);
            CHECK(all_home(b.db));
            auto after = co_await stream.async_next();
            CHECK(after.empty());
        }
        auto none = b.adb.rows<int>("select 1 where 0"_sql);
        auto nothing = co_await none.async_try_next();
        CHECK(nothing.value().empty());
        // An error midway.
        auto mixed = b.adb.rows<int>("select 1 union all select 2 union all select 'three'"_sql, {}, 1);
        auto one = co_await mixed.async_next();
        CHECK(one == std::vector<int>{1});
        auto two = co_await mixed.async_try_next();
        CHECK(two.value() == std::vector<int>{2});
        auto three = co_await mixed.async_try_next();
        CHECK(three.error().code() == errc::type_mismatch);
        auto four = co_await mixed.async_try_next();
        CHECK(four.value().empty());
        CHECK(all_home(b.db));
        // A deadline midway.
        auto slow = b.adb.rows<std::int64_t>("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"_sql,
                                             {.deadline = 10ms}, 100);
        errc code = errc::ok;
        while (code == errc::ok) {
            auto rows = co_await slow.async_try_next();
            if (!rows) code = rows.error().code();
        }
        CHECK(code == errc::timeout);
        CHECK(all_home(b.db));
        // Inside a transaction.
        co_await b.adb.async_transaction([](plain_tx& tx) -> asio::awaitable<void> {
            co_await tx.async_execute(insert_account(11, "Zoe", 1));
            auto inside = tx.rows<account>(all_accounts, {}, 4);
            std::size_t n = 0;
            for (;;) {
                auto rows = co_await inside.async_next();
                if (rows.empty()) break;
                n += rows.size();
            }
            CHECK(n == 11);
        });
    }());
    check_at_rest(b.db);
}

TEST_CASE("an asynchronous stream that is dropped midway gives its connection back", "[async][stream]") {
    async_bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(10);
    run(b.io, [&]() -> asio::awaitable<void> {
        {
            auto stream = b.adb.rows<account>(all_accounts, {}, 3);
            auto rows = co_await stream.async_next();
            CHECK(rows.size() == 3);
            CHECK(b.db.connections().idle == 0);
        }
        CHECK(all_home(b.db));
        auto count = co_await b.adb.async_one<std::int64_t>(count_accounts);
        CHECK(count == 10);
    }());
    {
        // Dropped while a batch is on its way: the batch still comes.
        std::size_t got = 0;
        {
            auto stream = b.adb.rows<account>(all_accounts, {}, 3);
            stream.async_next([&](std::exception_ptr, std::vector<account> rows) { got = rows.size(); });
        }
        b.io.restart();
        b.io.run();
        CHECK(got == 3);
        CHECK(all_home(b.db));
    }
    {
        // The context dies with a batch on its way.
        asio::io_context own;
        auto stream = b.db.async(own.get_executor()).rows<std::int64_t>(endless_query);
        stream.async_next([](std::exception_ptr, const std::vector<std::int64_t>&) { FAIL("the context is dead"); });
    }
    check_at_rest(b.db);
}

TEST_CASE("overlapping calls for the next batch are refused and do not disturb the first", "[async][stream]") {
    async_bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(10);
    auto stream = b.adb.rows<account>(all_accounts, {}, 3);
    std::size_t first = 0;
    errc second = errc::ok, third = errc::ok;
    asio::cancellation_signal stop;
    {
        auto pinned = b.db.session();  // the first one has to wait for it
        stream.async_next([&](std::exception_ptr e, std::vector<account> rows) {
            CHECK_FALSE(e);
            first = rows.size();
        });
        stream.async_try_next(
            asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::vector<account>> r) { second = r.error().code(); }));
        stop.emit(asio::cancellation_type::terminal);
        stream.async_next([&](std::exception_ptr e, std::vector<account>) { third = error_of(e).code(); });
        b.io.poll();
    }
    b.io.restart();
    b.io.run();
    CHECK(first == 3);
    CHECK(second == errc::misuse);
    CHECK(third == errc::misuse);
    std::size_t next = 0;
    stream.async_next([&](std::exception_ptr, std::vector<account> rows) { next = rows.size(); });
    b.io.restart();
    b.io.run();
    CHECK(next == 3);
}

TEST_CASE("a stream that is cancelled is over", "[async][stream][cancel]") {
    async_bank<> b{strata::pool_options{.max_size = 1}};
    asio::cancellation_signal stop;
    auto stream = b.adb.rows<std::int64_t>(endless_query);
    std::optional<strata::error> ended;
    stream.async_try_next(
        asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::vector<std::int64_t>> r) { ended = r.error(); }));
    stop.emit(asio::cancellation_type::partial);
    b.io.run();
    REQUIRE(ended);
    CHECK(ended->code() == errc::cancelled);
    std::optional<bool> over;
    stream.async_try_next([&](strata::result<std::vector<std::int64_t>> r) { over = r && r->empty(); });
    b.io.restart();
    b.io.run();
    CHECK(over == true);
    check_at_rest(b.db);
}

TEST_CASE("an io_context that dies takes transactions with it", "[async][transaction][lifetime]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    auto alive = std::make_shared<int>(0);
    {
        asio::io_context io;
        auto adb = b.db.async(io.get_executor());
        bool inside = false;
        const auto begin = [&](auto body) {
            adb.async_transaction(std::move(body), [alive](std::exception_ptr) { FAIL("the context is dead"); });
            while (!inside) io.run_one();
        };
        SECTION("in a statement") {
            begin([&inside, alive](plain_tx& tx) -> asio::awaitable<void> {
                const auto held = alive;
                co_await tx.async_execute(add_balance(1000, 1));
                inside = true;
                co_await tx.async_execute(endless_query);
            });
        }
        SECTION("in a savepoint") {
            begin([&inside, alive](plain_tx& tx) -> asio::awaitable<void> {
                auto body = [&inside, alive](plain_tx& inner) -> asio::awaitable<void> {  // g++ 12 has no captures in a co_await
                    const auto held = alive;
                    co_await inner.async_execute(add_balance(1000, 1));
                    inside = true;
                    co_await inner.async_execute(endless_query);
                };
                co_await tx.async_transaction(std::move(body));
            });
        }
        SECTION("in the closure's own waiting") {
            begin([&inside, &io, alive](plain_tx& tx) -> asio::awaitable<void> {
                const auto held = alive;
                co_await tx.async_execute(add_balance(1000, 1));
                asio::steady_timer forever(io, asio::steady_timer::time_point::max());
                inside = true;
                co_await forever.async_wait(asio::use_awaitable);
            });
        }
        SECTION("held by hand, in a coroutine") {
            asio::co_spawn(
                io,
                [&inside, adb, alive, &io]() mutable -> asio::awaitable<void> {
                    auto tx = co_await adb.async_begin();
                    co_await tx.async_execute(add_balance(1000, 1));
                    asio::steady_timer forever(io, asio::steady_timer::time_point::max());
                    inside = true;
                    co_await forever.async_wait(asio::use_awaitable);
                },
                asio::detached);
            while (!inside) io.run_one();
        }
        SECTION("with others behind it in the queue") {
            const auto body = [&inside, alive](plain_tx& tx) -> asio::awaitable<void> {
                const auto held = alive;
                co_await tx.async_execute(add_balance(1000, 1));
                inside = true;
                co_await tx.async_execute(endless_query);
            };
            begin(body);
            for (int i = 0; i < 3; ++i) {
                adb.async_transaction(body, [alive](std::exception_ptr) { FAIL("the context is dead"); });
                asio::co_spawn(
                    io,
                    [adb, alive]() mutable -> asio::awaitable<void> {
                        auto tx = co_await adb.async_begin();
                        co_await tx.async_execute(add_balance(1000, 1));
                        FAIL("the context is dead");
                    },
                    asio::detached);
            }
            while (b.db.connections().waiting < 6) io.run_one();
        }
        SECTION("at the commit") {
            asio::co_spawn(
                io,
                [&inside, adb, alive]() mutable -> asio::awaitable<void> {
                    auto tx = co_await adb.async_begin();
                    co_await tx.async_execute(add_balance(1000, 1));
                    inside = true;
                    co_await tx.async_commit();
                    FAIL("the context is dead");
                },
                asio::detached);
            while (!inside) io.run_one();
        }
    }
    CHECK(alive.use_count() == 1);
    wait_until([&] { return all_home(b.db); });
    CHECK(b.balance_of(1) % 1000 == 100);  // committed or not, but whole
    check_at_rest(b.db);
}
