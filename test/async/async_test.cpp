// The asynchronous face on SQLite files: tokens, executors, arguments, cancellation, deadlines and lifetime.
#include <async/fixture.hpp>

using namespace strata_test;

namespace {

using plain_face = strata::async_database<plain_stack>;

asio::awaitable<void> every_form(plain_face adb) {
    const strata::execution inserted = co_await adb.async_execute(insert_account(1, "Ada", 100));
    CHECK(inserted.affected == 1);
    CHECK(inserted.last_id == 1);
    auto one = co_await adb.async_one<account>(find_account("id"_arg = 1));
    CHECK(one == account{1, "Ada", 100});
    auto maybe = co_await adb.async_maybe_one<account>(find_account(2));
    CHECK_FALSE(maybe.has_value());
    auto all = co_await adb.async_all<std::int64_t>("select id from account"_sql);
    CHECK(all == std::vector<std::int64_t>{1});

    auto tried = co_await adb.async_try_execute(insert_account(1, "Eve", 1));
    CHECK(tried.error().code() == errc::unique_violation);
    auto none = co_await adb.async_try_one<account>(find_account(2));
    CHECK(none.error().code() == errc::no_rows);
    auto many = co_await adb.async_try_maybe_one<int>("select 1 union all select 2"_sql);
    CHECK(many.error().code() == errc::too_many_rows);
    auto wrong = co_await adb.async_try_all<int>("select owner from account"_sql);
    CHECK(wrong.error().code() == errc::type_mismatch);

    auto slow = co_await adb.async_try_one<std::int64_t>(endless_query, {.deadline = 10ms});
    CHECK(slow.error().code() == errc::timeout);

    errc thrown = errc::ok;
    try {
        co_await adb.async_one<account>(find_account(2));
    } catch (const strata::failure& f) {
        thrown = f.code();
    }
    CHECK(thrown == errc::no_rows);

    strata::statement q{"select owner from account where id in (:ids...)"};
    q.set("ids"_arg = std::vector<int>{1, 2, 3});
    auto owner = co_await adb.async_one<std::string>(q);
    CHECK(owner == "Ada");
    auto again = co_await adb.async_try_all<std::string>(q, {.deadline = 1h});
    CHECK(again.value().size() == 1);
}

}  // namespace

TEST_CASE("every asynchronous form gives what the blocking one gives", "[async]") {
    async_bank<> b;
    run(b.io, every_form(b.adb));
    check_at_rest(b.db);
}

TEST_CASE("use_future, a callback and deferred complete a call", "[async]") {
    async_bank<> b;
    b.fill(2);
    auto count = b.adb.async_one<std::int64_t>(count_accounts, asio::use_future);
    auto missing = b.adb.async_one<account>(find_account(99), asio::use_future);
    auto tried = b.adb.async_try_one<account>(find_account(99), asio::use_future);
    std::optional<account> found;
    b.adb.async_one<account>(find_account(2), strata::call_options{.deadline = 1h},
                             [&, only_moves = std::make_unique<int>(1)](std::exception_ptr e, account a) {
                                 CHECK_FALSE(e);
                                 found = std::move(a);
                             });
    std::optional<strata::execution> executed;
    b.adb.async_try_execute(add_balance(1, 1), [&](strata::result<strata::execution> r) { executed = r.value(); });
    auto later = b.adb.async_execute(add_balance(1, 1), asio::deferred);
    CHECK_FALSE(found);
    b.io.run();
    CHECK(count.get() == 2);
    CHECK(failure_of([&] { return missing.get(); }).code() == errc::no_rows);
    CHECK(tried.get().error().code() == errc::no_rows);
    CHECK(found == account{2, "owner 2", 200});
    REQUIRE(executed);
    CHECK(executed->affected == 1);
    CHECK(b.balance_of(1) == 101);  // what is deferred has not begun

    // A deferred call may be started more than once.
    b.io.restart();
    auto first = later(asio::use_future);
    auto second = std::move(later)(asio::use_future);
    b.io.run();
    CHECK(first.get().affected == 1);
    CHECK(second.get().affected == 1);
    CHECK(b.balance_of(1) == 103);
    check_at_rest(b.db);
}

TEST_CASE("a deferred begin and session may be started more than once", "[async]") {
    async_bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    auto begin = b.adb.async_begin(asio::deferred);
    auto pin = b.adb.async_session(asio::deferred);
    int ran = 0;
    for (int i = 0; i < 2; ++i) {
        begin([&](std::exception_ptr e, plain_face::owned_transaction_type tx) {
            REQUIRE_FALSE(e);
            ++ran;
            CHECK(::sqlite3_get_autocommit(tx.native_handle()) == 0);
        });
        pin([&](std::exception_ptr e, plain_face::session_type s) {
            REQUIRE_FALSE(e);
            ++ran;
            CHECK(::sqlite3_get_autocommit(s.native_handle()) != 0);
        });
    }
    b.io.run();
    CHECK(ran == 4);
    wait_until([&] { return all_home(b.db); });
    check_at_rest(b.db);
}

TEST_CASE("a call never completes inside its own start", "[async]") {
    async_bank<full_stack> b{strata::circuit_breaker_options{.consecutive_failures = 1, .open_time = 1h, .max_open_time = 1h}};
    int done = 0;
    const auto handler = [&](strata::result<std::int64_t>) { ++done; };
    b.adb.async_try_one<std::int64_t>(count_accounts, handler);
    CHECK(done == 0);
    b.io.run();
    CHECK(done == 1);
    // A refusal is known at once, and told later all the same; also when it is started on the executor itself.
    b.db.policy<strata::chaos>().set_code(errc::io_error);
    b.db.policy<strata::chaos>().set_rate(1);
    b.io.restart();
    asio::post(b.io, [&] {
        b.adb.async_try_one<std::int64_t>(count_accounts, handler);
        CHECK(done == 1);
    });
    b.io.run();
    b.io.restart();
    asio::post(b.io, [&] {
        b.adb.async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) {
            CHECK(r.error().code() == errc::circuit_open);
            ++done;
        });
        CHECK(done == 2);
    });
    b.io.run();
    CHECK(done == 3);
}

TEST_CASE("a call completes on its handler's own executor", "[async]") {
    async_bank<> b;
    asio::thread_pool elsewhere{1};
    std::atomic<int> done{0};
    std::atomic<bool> there{false};
    b.adb.async_one<std::int64_t>(count_accounts, asio::bind_executor(elsewhere, [&](std::exception_ptr e, std::int64_t) {
                                      there = !e && elsewhere.get_executor().running_in_this_thread();
                                      ++done;
                                  }));
    auto strand = asio::make_strand(b.io);
    b.adb.async_try_execute(add_balance(1, 1), asio::bind_executor(strand, [&](strata::result<strata::execution> r) {
                                CHECK(r);
                                CHECK(strand.running_in_this_thread());
                                ++done;
                            }));
    asio::io_context other;
    std::atomic<int> inside_other{0};
    const auto count_inside = [&] { inside_other += other.get_executor().running_in_this_thread() ? 1 : 0; };
    b.adb.async_try_transaction(
        [&](plain_face::transaction_type& tx) -> asio::awaitable<int> {
            count_inside();
            co_await tx.async_execute(add_balance(1, 1));
            count_inside();
            co_return 7;
        },
        asio::bind_executor(other, [&](strata::result<int> r) {
            if (r && *r == 7) count_inside();
            ++done;
        }));
    std::thread runs_other([&] { other.run(); });
    b.io.run();
    runs_other.join();
    elsewhere.join();
    CHECK(there);
    CHECK(inside_other == 3);
    CHECK(done == 3);
    // A coroutine in a strand stays in it.
    bool inside = false;
    asio::co_spawn(
        strand,
        [&]() -> asio::awaitable<void> {
            for (int i = 0; i < 3; ++i) {
                co_await b.adb.async_execute(add_balance(1, 1));
                inside = strand.running_in_this_thread();
            }
        },
        asio::detached);
    b.io.restart();
    b.io.run();
    CHECK(inside);
    check_at_rest(b.db);
}

TEST_CASE("a call copies its arguments before it returns", "[async]") {
    async_bank<> b;
    const auto start = [&] {
        std::string owner = "a name that is too long for the small buffer of a string";
        char text[] = "another name";
        auto first = b.adb.async_execute(insert_account(std::int64_t{1}, owner, 5), asio::deferred);
        auto second = b.adb.async_execute(insert_account(2, text, 6), asio::deferred);
        strata::statement q{"update account set balance = :balance where owner = :owner"};
        q.set("balance"_arg = 8, "owner"_arg = owner);
        auto third = b.adb.async_execute(q, asio::deferred);
        q.set("balance"_arg = 9);
        owner.assign(owner.size(), 'x');
        std::fill(std::begin(text), std::end(text) - 1, 'x');
        return std::make_tuple(std::move(first), std::move(second), std::move(third));
    };
    auto [first, second, third] = start();
    run(b.io, [&]() -> asio::awaitable<void> {
        co_await std::move(first)(asio::use_awaitable);
        co_await std::move(second)(asio::use_awaitable);
        co_await std::move(third)(asio::use_awaitable);
    }());
    CHECK(b.db.one<account>(find_account(1)) == account{1, "a name that is too long for the small buffer of a string", 8});
    CHECK(b.db.one<account>(find_account(2)) == account{2, "another name", 6});
    // A handler that is kept by the caller is copied, not moved away.
    const auto counted = std::make_shared<int>(0);
    auto handler = [counted](const strata::result<std::int64_t>&) { ++*counted; };
    b.adb.async_try_one<std::int64_t>(count_accounts, handler);
    b.adb.async_try_one<std::int64_t>(count_accounts, handler);
    b.io.restart();
    b.io.run();
    CHECK(*counted == 2);
    // A lazy coroutine call outlives its expression too.
    auto lazy = [&] {
        const std::string owner = "yet another name that does not fit into a small string";
        return b.adb.async_execute(insert_account(3, owner, 7));
    }();
    run(b.io, [&]() -> asio::awaitable<void> { co_await std::move(lazy); }());
    CHECK(b.db.one<account>(find_account(3)).owner == "yet another name that does not fit into a small string");
}

TEST_CASE("both faces share pool and layers", "[async]") {
    async_bank<full_stack> b{strata::pool_options{.max_size = 1}};
    auto second = b.db.async(b.io.get_executor(), strata::async_options{.work_threads = 3});
    auto before = b.db.policy<strata::metrics<>>().snapshot();
    std::optional<strata::result<std::int64_t>> got;
    {
        auto pinned = b.db.session();
        b.adb.async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) { got = r; });
        CHECK(b.db.connections().waiting == 1);
        b.io.poll();
        CHECK_FALSE(got);
    }  // a thread gives the connection to the operation that waits
    b.io.restart();
    b.io.run();
    REQUIRE(got);
    CHECK(got->value() == 0);
    CHECK(run(b.io, second.async_one<std::int64_t>(count_accounts)) == 0);
    const auto seen = b.db.policy<strata::metrics<>>().snapshot().since(before);
    CHECK(seen.total() == 3);
    CHECK(&b.adb.policy<strata::chaos>() == &b.db.policy<strata::chaos>());
    // And the other way round: a thread waits for an asynchronous holder.
    std::optional<strata::async_database<full_stack>::session_type> held{run(b.io, b.adb.async_session())};
    std::atomic<bool> served{false};
    {
        const std::jthread waiting([&] { served = b.db.try_one<std::int64_t>(count_accounts).has_value(); });
        wait_until([&] { return b.db.connections().waiting == 1; });
        held.reset();
    }
    CHECK(served);
    check_at_rest(b.db);
}

TEST_CASE("a cancel ends a call wherever it is, and the connection serves the next", "[async][cancel]") {
    const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total);
    async_bank<full_stack> b{strata::pool_options{.max_size = 1}, strata::retry_options{.max_attempts = 3, .base = 1h, .cap = 1h},
                             strata::total_timeout_options{.limit = 1000h}};
    b.fill(1);
    asio::cancellation_signal stop;
    std::optional<strata::error> ended;
    auto handler =
        asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::int64_t> r) { ended = r ? strata::error{} : r.error(); });

    SECTION("while it waits for a connection") {
        auto pinned = b.db.session();
        b.adb.async_try_one<std::int64_t>(count_accounts, handler);
        REQUIRE(b.db.connections().waiting == 1);
        stop.emit(type);
        b.io.run();
        REQUIRE(ended);
        CHECK(ended->code() == errc::cancelled);
        CHECK(ended->phase() == strata::phase::acquire);
        CHECK(b.db.connections().waiting == 0);
    }
    SECTION("while it pauses before a retry") {
        auto& chaos = b.db.policy<strata::chaos>();
        chaos.set_rate(1);
        b.adb.async_try_one<std::int64_t>(count_accounts, handler);
        CHECK(chaos.injected() == 1);
        stop.emit(type);
        b.io.run();
        chaos.set_rate(0);
        REQUIRE(ended);
        CHECK(ended->code() == errc::cancelled);
        CHECK(chaos.injected() == 1);
    }
    SECTION("while injected slowness holds it") {
        auto& chaos = b.db.policy<strata::chaos>();
        chaos.set_latency(1, 1h);
        b.adb.async_try_one<std::int64_t>(count_accounts, handler);
        stop.emit(type);
        b.io.run();
        chaos.set_latency(0, {});
        REQUIRE(ended);
        CHECK(ended->code() == errc::cancelled);
    }
    SECTION("while SQLite works on it") {
        b.adb.async_try_one<std::int64_t>(endless_query, handler);
        wait_until([&] { return b.db.connections().idle == 0; });
        stop.emit(type);
        b.io.run();
        REQUIRE(ended);
        CHECK(ended->code() == errc::cancelled);
    }
    SECTION("while SQLite waits for a lock") {
        stranger other{b.target.path};
        other.run("begin immediate");
        std::optional<strata::error> locked;
        b.adb.async_try_execute(
            add_balance(1, 1), asio::bind_cancellation_slot(stop.slot(), [&](strata::result<strata::execution> r) { locked = r.error(); }));
        stop.emit(type);
        b.io.run();
        REQUIRE(locked);
        CHECK(locked->code() == errc::cancelled);
    }
    SECTION("and never executes a write that waits for a work thread") {
        // The only work thread is busy; the write has its lease and stands behind.
        bank<full_stack> one_thread;
        one_thread.fill(1);
        auto face = one_thread.db.async(b.io.get_executor(), strata::async_options{.work_threads = 1});
        asio::cancellation_signal first_stop;
        face.async_try_one<std::int64_t>(endless_query,
                                         asio::bind_cancellation_slot(first_stop.slot(), [](strata::result<std::int64_t>) {}));
        std::optional<strata::error> written;
        face.async_try_execute(add_balance(1000, 1), asio::bind_cancellation_slot(stop.slot(), [&](strata::result<strata::execution> r) {
                                   written = r ? strata::error{} : r.error();
                               }));
        stop.emit(type);
        first_stop.emit(type);
        b.io.run();
        REQUIRE(written);
        CHECK(written->code() == errc::cancelled);
        CHECK(written->effect() == strata::effect::none);
        CHECK(one_thread.balance_of(1) == 100);
    }
    SECTION("of a coroutine") {
        errc code = errc::ok;
        asio::co_spawn(
            b.io,
            [&]() -> asio::awaitable<void> {
                co_await asio::this_coro::reset_cancellation_state(asio::enable_total_cancellation());
                co_await asio::this_coro::throw_if_cancelled(false);
                auto r = co_await b.adb.async_try_one<std::int64_t>(endless_query);
                code = r.error().code();
            },
            asio::bind_cancellation_slot(stop.slot(), asio::detached));
        b.io.poll();
        wait_until([&] { return b.db.connections().idle == 0; });
        stop.emit(type);
        b.io.run();
        CHECK(code == errc::cancelled);
    }
    check_at_rest(b.db);
    CHECK(b.db.policy<strata::circuit_breaker<>>().state() == strata::circuit_state::closed);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a cancel after the end, and before anything, does no harm", "[async][cancel]") {
    async_bank<> b;
    asio::cancellation_signal stop;
    int done = 0;
    b.adb.async_try_one<std::int64_t>(count_accounts, asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::int64_t> r) {
                                          CHECK(r);
                                          ++done;
                                          CHECK_FALSE(stop.slot().has_handler());
                                          stop.emit(asio::cancellation_type::terminal);  // from within its own completion
                                      }));
    b.io.run();
    stop.emit(asio::cancellation_type::terminal);
    stop.emit(asio::cancellation_type::none);
    CHECK(done == 1);
    b.adb.async_try_one<std::int64_t>(count_accounts, asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::int64_t> r) {
                                          CHECK(r);
                                          ++done;
                                      }));
    stop.emit(asio::cancellation_type::none);
    b.io.restart();
    b.io.run();
    CHECK(done == 2);
}

TEST_CASE("a deadline ends an asynchronous call wherever it is", "[async]") {
    async_bank<full_stack> b{strata::pool_options{.max_size = 1}, strata::retry_options{.max_attempts = 2, .base = {}, .cap = {}}};
    {
        auto pinned = b.db.session();
        const auto r = run(b.io, b.adb.async_try_one<std::int64_t>(count_accounts, {.deadline = 5ms}));
        CHECK(r.error().code() == errc::timeout);
        CHECK(r.error().phase() == strata::phase::acquire);
    }
    CHECK(run(b.io, b.adb.async_try_one<std::int64_t>(endless_query, {.deadline = 5ms})).error().code() == errc::timeout);
    auto& chaos = b.db.policy<strata::chaos>();
    chaos.set_rate(1);
    CHECK(run(b.io, b.adb.async_try_one<std::int64_t>(count_accounts)).error().attempts() == 2);
    chaos.set({.latency_rate = 1, .latency = 1h});
    CHECK(run(b.io, b.adb.async_try_one<std::int64_t>(count_accounts, {.deadline = 5ms})).error().code() == errc::timeout);
    chaos.set({});
    check_at_rest(b.db);
}

TEST_CASE("a database may die before the calls on it have ended", "[async][lifetime]") {
    file_of_its_own f;
    asio::io_context io;
    std::optional<plain_face> adb;
    std::optional<strata::result<std::int64_t>> first, second;
    {
        strata::database<plain_stack> db{f.target};
        db.execute(create_account);
        adb = db.async(io.get_executor());
        adb->async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) { first = r; });
        plain_face{*adb}.async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) { second = r; });
    }
    adb.reset();
    io.run();
    REQUIRE(first);
    CHECK(first->value() == 0);
    REQUIRE(second);
    CHECK(second->value() == 0);
    // The last call may be the one that ends the runtime; on whichever thread that is.
    for (int i = 0; i < 50; ++i) {
        asio::io_context own;
        auto db = std::make_unique<strata::database<plain_stack>>(f.target);
        db->async(own.get_executor()).async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) { CHECK(r); });
        db.reset();
        own.run();
    }
}

TEST_CASE("an io_context that dies takes its calls with it, and the pool gets everything back", "[async][lifetime]") {
    bank<full_stack> b{strata::pool_options{.min_size = 2, .max_size = 2}, strata::retry_options{.max_attempts = 2, .base = 1h, .cap = 1h},
                       strata::total_timeout_options{.limit = 1000h}};
    b.fill(1);
    struct witness {
        std::shared_ptr<int> alive = std::make_shared<int>(0);
        void operator()(const strata::result<std::int64_t>&) const { FAIL("a handler of a dead context was called"); }
        void operator()(const strata::result<strata::execution>&) const { FAIL("a handler of a dead context was called"); }
    };
    witness w;
    {
        asio::io_context io;
        auto adb = b.db.async(io.get_executor());
        SECTION("not yet begun") {
            auto lazy = adb.async_try_one<std::int64_t>(count_accounts, asio::deferred);
            adb.async_try_one<std::int64_t>(count_accounts, w);
        }
        SECTION("done, but not delivered") {
            adb.async_try_one<std::int64_t>(count_accounts, w);
            wait_until([&] { return all_home(b.db); });
        }
        SECTION("queued") {
            auto writer = b.db.session();
            for (int i = 0; i < 5; ++i) adb.async_try_execute(add_balance(1000, 1), w);
            CHECK(b.db.connections().waiting == 5);
        }
        SECTION("queued, and granted while nobody runs the context") {
            {
                auto writer = b.db.session();
                for (int i = 0; i < 3; ++i) adb.async_try_execute(add_balance(1000, 1), w);
            }
            CHECK(b.db.connections().waiting == 2);
        }
        SECTION("in a pause before a retry") {
            b.db.policy<strata::chaos>().set_rate(1);
            for (int i = 0; i < 5; ++i) adb.async_try_execute(add_balance(1000, 1), w);
            b.db.policy<strata::chaos>().set_rate(0);
        }
        SECTION("at work") {
            adb.async_try_one<std::int64_t>(endless_query, w);
            wait_until([&] { return b.db.connections().idle < b.db.connections().open; });
        }
        SECTION("in coroutines") {
            for (int i = 0; i < 3; ++i) {
                asio::co_spawn(
                    io,
                    [&adb, held = w.alive]() -> asio::awaitable<void> {
                        auto s = co_await adb.async_session(strata::transaction_options<strata::sqlite>{.read_only = true});
                        co_await s.async_execute(endless_query);
                    },
                    asio::detached);
            }
            io.poll();
            wait_until([&] {
                io.poll();
                return b.db.connections().idle < b.db.connections().open;
            });
            io.poll();
        }
    }
    CHECK(w.alive.use_count() == 1);
    wait_until([&] { return all_home(b.db); });  // a session that was dropped goes back on a work thread
    CHECK(b.db.policy<strata::circuit_breaker<>>().state() == strata::circuit_state::closed);
    CHECK(b.balance_of(1) % 1000 == 100);
    check_at_rest(b.db);
}

TEST_CASE("a connection may come home while the context of those who wait for it ends", "[async][lifetime][threads]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    for (int i = 0; i < count(100, 2000); ++i) {
        auto pinned = std::optional{b.db.session()};
        std::atomic<bool> go{false};
        std::jthread giver;
        {
            asio::io_context io;
            auto adb = b.db.async(io.get_executor());
            for (int n = 0; n < 3; ++n) adb.async_try_one<std::int64_t>(count_accounts, [](const strata::result<std::int64_t>&) {});
            giver = std::jthread([&] {
                wait_until([&] { return go.load(); });
                pinned.reset();
            });
            if (i % 2 == 0) io.poll();
            go = true;
        }
        giver.join();
        wait_until([&] { return all_home(b.db); });
    }
    check_at_rest(b.db);
}

TEST_CASE("asynchronous calls on a closed database are refused, and those on their way are waited for", "[async][close]") {
    async_bank<> b{strata::pool_options{.min_size = 2, .max_size = 2}};
    b.fill(1);
    std::optional<strata::error> running, queued, late;
    b.adb.async_try_one<std::int64_t>(endless_query, [&](strata::result<std::int64_t> r) { running = r.error(); });
    b.adb.async_try_one<std::int64_t>(count_accounts, [&](strata::result<std::int64_t> r) { queued = r.error(); });
    CHECK(b.db.connections().waiting == 1);
    const std::jthread runner([&] {
        auto work = asio::make_work_guard(b.io);
        wait_until([&] {
            b.io.poll();
            return running && queued && late;
        });
    });
    b.db.close(0s);
    b.adb.async_try_one<std::int64_t>(count_accounts, asio::bind_executor(b.io, [&](strata::result<std::int64_t> r) { late = r.error(); }));
    wait_until([&] { return b.db.connections().open == 0; });
    // The runner ends when it has seen all three.
}

TEST_CASE("a thousand coroutines over several threads", "[async][threads]") {
    bank<full_stack> b{strata::pool_options{.max_size = 4}, strata::retry_options{.max_attempts = 10, .base = 1ms, .cap = 2ms, .budget = 0},
                       strata::circuit_breaker_options{.consecutive_failures = 1'000'000}};
    b.fill(10);
    b.db.policy<strata::chaos>().set_rate(0.1);
    const int clients = count(200, 1000);
    std::atomic<int> good{0}, bad{0};
    {
        asio::thread_pool threads{3};
        auto adb = b.db.async(threads.get_executor());
        for (int i = 0; i < clients; ++i) {
            asio::co_spawn(
                threads,
                [&, i, adb]() mutable -> asio::awaitable<void> {
                    const int from = 1 + i % 10, to = 1 + (i * 7 + 3) % 10;
                    auto moved = co_await adb.async_try_transaction([&](auto& tx) -> asio::awaitable<void> {
                        co_await tx.async_execute(add_balance(-1, from));
                        co_await tx.async_execute(add_balance(+1, to));
                    });
                    auto read = co_await adb.async_try_one<account>(find_account(from));
                    auto& counter = moved && read ? good : bad;
                    ++counter;
                },
                asio::detached);
        }
        threads.join();
    }
    CHECK(good + bad == clients);
    CHECK(good > clients / 2);
    CHECK(b.db.one<std::int64_t>("select sum(balance) from account"_sql) == 5500);
    const auto m = b.db.policy<strata::metrics<>>().snapshot();
    CHECK(m.total() == m.latency.count());
    CHECK(m.abandoned == 0);
    b.db.policy<strata::chaos>().set_rate(0);
    check_at_rest(b.db);
}
