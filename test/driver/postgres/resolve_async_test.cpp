// A lost COMMIT under the asynchronous face: looked up by a work thread, while the loop goes on.
#include "fault_fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

using namespace strata_test;
using strata::effect;
namespace asio = boost::asio;

TEST_CASE("a COMMIT whose answer the loop has lost is resolved without blocking it", "[postgres][async][fault][resolve]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    using stack = strata::stack<strata::retry<>, strata::pool<>, strata::postgres>;
    strata::database<stack> db{b.options(), strata::pool_options{.min_size = 0, .max_size = 1},
                               strata::retry_options{.max_attempts = 5, .base = 1ms, .cap = 5ms}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    std::int64_t n = 0;
    int runs = 0, ok = 0, repeated = 0, failed = 0, heard_late = 0;
    std::vector<std::string> seen;
    for (const way w : {way::to_server, way::to_client})
        for (std::uint64_t cut = 0; cut < (w == way::to_client ? 200u : 130u); cut += count<std::uint64_t>(7, 1)) {
            CAPTURE(static_cast<int>(w), cut);
            ++n;
            runs = 0;
            seen.clear();
            const int before = b.proxy.struck();
            const bool once = n % 2 == 0;
            const auto body = [&](auto& tx) -> asio::awaitable<std::int64_t> {
                ++runs;
                tx.on_commit([&] { seen.push_back(io.get_executor().running_in_this_thread() ? "+" : "elsewhere"); });
                tx.on_rollback([&] { seen.push_back(io.get_executor().running_in_this_thread() ? "-" : "elsewhere"); });
                const auto v = co_await tx.template async_one<std::int64_t>(insert_echo(n));
                if (runs == 1) b.proxy.cut_after(w, cut);
                co_return v;
            };
            strata::result<std::int64_t> r = strata::error{errc::unknown};
            const auto keep = [&](strata::result<std::int64_t> got) { r = std::move(got); };
            const strata::transaction_options<strata::postgres> o{.resolve_commit = true};
            if (once)
                adb.async_try_transaction(strata::once(body), o, keep);
            else
                adb.async_try_transaction(body, o, keep);
            io.restart();
            io.run();
            b.proxy.do_not_cut();
            if (r) {
                ++ok;
                repeated += runs > 1;
                heard_late += runs == 1 && b.proxy.struck() != before;
                CHECK(*r == n);
                CHECK(b.holds(n));
                CHECK(seen.back() == "+");
            } else {
                ++failed;
                CAPTURE(r.error().to_string());
                CHECK(once);
                CHECK(r.error().effect() == effect::rolled_back);
                CHECK(!b.holds(n));
                CHECK(seen == std::vector<std::string>{"-"});
            }
            CHECK(std::count(seen.begin(), seen.end(), "elsewhere") == 0);
        }
    CHECK(ok > 0);
    CHECK(repeated > 0);
    CHECK(failed > 0);
    CHECK(heard_late > 0);
}

TEST_CASE("the loop goes on while a COMMIT is looked up; escalation waits for its lock in it", "[postgres][async][resolve]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b{1};
    b.behind.db.execute("create function slow() returns trigger language plpgsql as 'begin perform pg_sleep(0.7); return null; end'"_sql());
    b.behind.db.execute(
        "create constraint trigger slow after insert on echo deferrable initially deferred for each row execute function "
        "slow()"_sql());
    using stack = strata::stack<strata::retry<>, strata::pool<>, strata::postgres>;
    strata::database<stack> db{b.options(), strata::pool_options{.min_size = 0, .max_size = 1},
                               strata::retry_options{.base = 1ms, .cap = 1ms}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    bool over = false;
    int ticks = 0;
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            asio::steady_timer timer(io);
            while (!over) {
                timer.expires_after(10ms);
                co_await timer.async_wait(asio::use_awaitable);
                if (++ticks == 20) b.proxy.cut();
            }
        },
        asio::detached);
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            const auto body = [&](auto& tx) -> asio::awaitable<int> {
                co_await tx.async_execute(insert_echo(1));
                co_return 5;
            };
            const strata::transaction_options<strata::postgres> o{.resolve_commit = true};
            const int v = co_await adb.async_transaction(body, o);
            CHECK(v == 5);
            unsigned attempts = 0;
            const auto conflict = [&](auto& tx) -> asio::awaitable<void> {
                attempts = tx.attempt();
                if (attempts == 2) {
                    const auto held = co_await tx.template async_one<bool>(
                        "select exists (select from pg_locks where locktype = 'advisory' and objid = 99)"_sql());
                    CHECK(held);
                }
                if (attempts < 2) strata::throw_failure(strata::error{errc::deadlock, strata::phase::execute});
            };
            const strata::transaction_options<strata::postgres> escalating{.escalation = {.from = 2, .lock = 99}};
            co_await adb.async_transaction(conflict, escalating);
            CHECK(attempts == 2);
            const auto held = co_await adb.template async_one<bool>(
                "select exists (select from pg_locks where locktype = 'advisory' and objid = 99)"_sql());
            CHECK(!held);
            over = true;
        },
        [&](std::exception_ptr e) {
            over = true;
            if (e) std::rethrow_exception(e);
        });
    io.run();
    CHECK(ticks >= 40);
    CHECK(b.holds(1));
}
