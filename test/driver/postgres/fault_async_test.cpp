// Faults under the asynchronous face, and many of them at random under load, in both faces at once.
#include "fault_fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include <random>

using namespace strata_test;
using strata::effect;
using strata::phase;
namespace asio = boost::asio;

namespace {

strata::pool_options one_at_most() {
    return {.min_size = 0, .max_size = 1};
}

}  // namespace

TEST_CASE("asynchronous calls keep their bounds in a network that swallows everything", "[postgres][async][fault][black-hole]") {
    if (!proxied_bank::is_there()) return;
    const std::ptrdiff_t held = descriptors();
    {
        const in_time guard;
        proxied_bank b{2};
        strata::postgres_options o = b.options();
        o.cancel_grace = 50ms;
        o.finish_limit = 50ms;
        strata::database<plain_stack> db{o, one_at_most()};
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        CHECK(db.one<std::int64_t>(echo(1)) == 1);
        strata::error e;
        const auto keep = [&](const auto& r) { e = r.error(); };
        SECTION("a deadline, then the grace of its cancel") {
            b.proxy.black_hole(true);
            adb.async_try_one<std::int64_t>(echo(2), {.deadline = 30ms}, keep);
            io.run();
            CHECK(e.code() == errc::timeout);
            CHECK(e.health() >= strata::health::lost);
        }
        SECTION("the caller's cancel") {
            b.proxy.black_hole(true);
            asio::cancellation_signal signal;
            adb.async_try_one<std::int64_t>(echo(2), asio::bind_cancellation_slot(signal.slot(), keep));
            asio::steady_timer timer(io, 20ms);
            timer.async_wait([&](auto) { signal.emit(asio::cancellation_type::terminal); });
            io.run();
            CHECK(e.code() == errc::cancelled);
            CHECK(e.health() >= strata::health::lost);
        }
        SECTION("connecting") {
            b.proxy.black_hole(true);
            o.connect_timeout = 40ms;
            strata::database<plain_stack> other{o, one_at_most()};
            auto face = other.async(io.get_executor());
            face.async_try_one<std::int64_t>(echo(2), keep);
            io.run();
            CHECK(e.code() == errc::timeout);
            CHECK(e.phase() == phase::connect);
            CHECK(e.effect() == effect::none);
        }
        SECTION("connecting, under a call's deadline") {
            b.proxy.black_hole(true);
            strata::database<plain_stack> other{o, one_at_most()};
            auto face = other.async(io.get_executor());
            face.async_try_one<std::int64_t>(echo(2), {.deadline = 30ms}, keep);
            io.run();
            CHECK(e.code() == errc::timeout);
        }
        SECTION("COMMIT") {
            const auto body = [&](auto& tx) -> asio::awaitable<void> {
                co_await tx.async_execute(add_balance(-1, 1));
                b.proxy.black_hole(true);
            };
            adb.async_try_transaction(body, keep);
            io.run();
            CHECK(e.code() == errc::outcome_unknown);
            CHECK(e.effect() == effect::unknown);
            b.proxy.cut();
        }
        b.proxy.black_hole(false);
        CHECK(db.one<std::int64_t>(echo(3)) == 3);
        CHECK(all_returned(db.connections()));
        CHECK(b.behind.balance_of(1) == 100);
    }
    CHECK(comes_true([&] { return descriptors() == held; }));
}

TEST_CASE("an asynchronous cancel that the server gets before the statement is sent again", "[postgres][async][fault][cancel]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    strata::postgres_options o = b.options();
    o.cancel_grace = 30s;
    strata::database<plain_stack> db{o, one_at_most()};
    constexpr auto sleep = "select pg_sleep(:seconds)::text"_sql;
    CHECK(db.one<std::string>(sleep(0.0)).empty());
    const std::uint64_t sent = b.proxy.taken(way::to_server);
    b.proxy.delay(1s);
    std::thread hurry([&] {
        CHECK(comes_true([&] { return b.proxy.taken(way::to_server) > sent; }));
        b.proxy.delay(0s);
    });
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    strata::error e;
    adb.async_try_one<std::string>(sleep(3600.0), {.deadline = 100ms}, [&](strata::result<std::string> r) { e = r.error(); });
    io.run();
    hurry.join();
    CHECK(e.code() == errc::timeout);
    CHECK(e.health() == strata::health::good);
    CHECK(b.proxy.accepted() >= 3);
    CHECK(db.one<std::int64_t>(echo(1)) == 1);
    CHECK(db.connections().opened == 1);
}

TEST_CASE("an asynchronous call whose connection is reset anywhere", "[postgres][async][fault][reset]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    std::mt19937 random{std::random_device{}()};
    for (int i = 0; i < count(30, 1000); ++i) {
        const way w = i % 2 == 0 ? way::to_server : way::to_client;
        const std::uint64_t cut = random() % (i % 4 < 2 ? 300 : 1200);
        CAPTURE(static_cast<int>(w), cut);
        strata::database<plain_stack> db{b.options(), one_at_most()};
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        if (i % 4 < 2) CHECK(db.one<std::int64_t>(echo(i)) == i);
        b.proxy.cut_after(w, cut);
        bool answered = false, wrong = false;
        strata::error e;
        adb.async_try_one<std::int64_t>(insert_echo(i), [&](strata::result<std::int64_t> r) {
            answered = true;
            if (r)
                wrong = *r != i;
            else
                e = r.error();
        });
        io.run();
        b.proxy.do_not_cut();
        CHECK(answered);
        CHECK_FALSE(wrong);
        if (!e) {
            CHECK(b.holds(i));
        } else {
            CAPTURE(e.to_string());
            CHECK((e.code() == errc::connection_lost || e.code() == errc::cannot_connect));
            if (e.effect() == effect::none)
                CHECK_FALSE(b.holds(i));
            else
                CHECK(e.effect() == effect::unknown);
        }
        CHECK(db.one<std::int64_t>(echo(i)) == i);
        CHECK(all_returned(db.connections()));
    }
}

TEST_CASE("random kills under load: no lease, no descriptor lost, no wrong row", "[postgres][async][fault][kills]") {
    const std::ptrdiff_t held = descriptors();
    {
        bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{8, 6, [](strata::postgres_options o) {
                                                                                     o.application_name = victim("strata-killed");
                                                                                     return o;
                                                                                 }};
        std::atomic<bool> stop{false};
        std::atomic<std::int64_t> number{0}, good{0}, wrong{0}, strange{0}, committed{0}, unknown{0};
        const auto judge = [&](std::int64_t n, const strata::result<std::int64_t>& r) {
            if (r)
                ++(*r == n ? good : wrong);
            else if (r.error().code() != errc::connection_lost && r.error().code() != errc::timeout &&
                     r.error().phase() != phase::connect)  // a session may be killed before it has begun
                ++strange;
        };
        const auto judge_commit = [&](const strata::result<void>& r) {
            if (r)
                ++committed;
            else if (r.error().effect() == effect::unknown)
                ++unknown;
        };
        std::vector<std::thread> crowd;
        for (int t = 0; t < 4; ++t) {
            crowd.emplace_back([&] {
                while (!stop) {
                    const std::int64_t n = ++number;
                    if (n % 10 == 0) {  // some are late, and are cancelled
                        static_cast<void>(b.db.try_one<std::string>("select pg_sleep(0.05)::text"_sql(), {.deadline = 3ms}));
                    } else if (n % 3 == 0) {
                        judge_commit(b.db.try_transaction([&](auto& tx) { tx.execute(add_balance(1, 1)); }));
                    } else {
                        judge(n, b.db.try_one<std::int64_t>(echo(n)));
                    }
                }
            });
        }
        asio::thread_pool threads(2);
        const auto client = [&](auto adb) -> asio::awaitable<void> {
            while (!stop) {
                const std::int64_t n = ++number;
                if (n % 10 == 0) {
                    auto late = co_await adb.template async_try_one<std::string>("select pg_sleep(0.05)::text"_sql(), {.deadline = 3ms});
                    static_cast<void>(late);
                } else if (n % 3 == 0) {
                    auto body = [](auto& tx) -> asio::awaitable<void> { co_await tx.async_execute(add_balance(1, 1)); };
                    auto r = co_await adb.async_try_transaction(body);
                    judge_commit(r);
                } else {
                    auto r = co_await adb.template async_try_one<std::int64_t>(echo(n));
                    judge(n, r);
                }
            }
        };
        for (int i = 0; i < 6; ++i)
            asio::co_spawn(threads, client(b.db.async(threads.get_executor())), [&](std::exception_ptr e) { strange += e ? 1 : 0; });

        int killed = 0;
        constexpr auto kill_one =
            "select coalesce(bool_or(pg_terminate_backend(pid)), false) from (select pid from pg_stat_activity"
            " where application_name = :name order by random() limit 1) one"_sql;
        CHECK(comes_true(
            [&] {
                killed += b.in.admin().one<bool>(kill_one(victim("strata-killed"))) ? 1 : 0;
                return killed >= count(50, 1000);
            },
            std::chrono::seconds{300}));
        stop = true;
        for (std::thread& t : crowd) t.join();
        threads.join();
        INFO(killed << " kills, " << good << " right answers, " << committed << " commits, " << unknown << " unknown");
        CHECK(wrong == 0);
        CHECK(strange == 0);
        CHECK(good > 0);
        CHECK(committed > 0);
        CHECK(comes_true([&] { return all_returned(b.db.connections()); }));
        strata::database<plain_stack> look{b.in.options(), server::one()};
        const auto added = look.one<std::int64_t>("select balance from account where id = 1"_sql()) - 100;
        CHECK(added >= committed);
        CHECK(added <= committed + unknown);
    }
    CHECK(comes_true([&] { return descriptors() == held; }));
}
