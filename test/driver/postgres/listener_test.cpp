// LISTEN on a real server: order, lost connections, silence, cancels and ends.
#include "fault_fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/listener.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <optional>
#include <thread>

#include <sys/wait.h>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

constexpr auto notify = "select pg_notify(:channel, :payload)"_sql;

/// Ends the server's side of every listening connection; the number of them.
int terminate_listeners(strata::database<plain_stack>& admin, const std::string& application) {
    return admin.one<int>(
        "select count(pg_terminate_backend(pid))::int from pg_stat_activity where application_name = :name"_sql(application));
}
int listeners(strata::database<plain_stack>& admin, const std::string& application) {
    return admin.one<int>("select count(*)::int from pg_stat_activity where application_name = :name"_sql(application));
}

/// A face whose listeners call themselves so, and a database to send from.
struct hall {
    server in;
    std::string name = in.schema() + "_l";
    strata::database<plain_stack> db{options(), strata::pool_options{.min_size = 0, .max_size = 1}};
    strata::database<plain_stack>& admin = in.admin();
    asio::io_context io;
    strata::async_database<plain_stack> adb = db.async(io.get_executor());

    strata::postgres_options options() const {
        auto o = in.options();
        o.application_name = name;
        return o;
    }
    void send(std::string_view channel, std::string_view payload) {
        admin.execute(notify("channel"_arg = channel, "payload"_arg = payload));
    }
    /// The coroutine, with a guard against hanging.
    template <class F>
    void run(F f) {
        bool done = false;
        asio::co_spawn(io, std::move(f), [&](std::exception_ptr e) {
            done = true;
            if (e) std::rethrow_exception(e);
        });
        io.restart();
        io.run_for(30s);
        REQUIRE(done);
    }
};

}  // namespace

TEST_CASE("notifications arrive in order, with channel, payload and sender", "[postgres][listener]") {
    hall h;
    strata::listener l{h.adb, std::vector<std::string>{"orders", "odd \"Channel\"; drop table x"}};
    h.run([&]() -> asio::awaitable<void> {
        co_await l.async_listen();
        for (int i = 0; i < 100; ++i) h.send(i % 2 == 0 ? "orders" : "odd \"Channel\"; drop table x", std::to_string(i));
        h.send("ORDERS", "of another name");
        const int sender = h.admin.one<int>("select pg_backend_pid()"_sql);
        for (int i = 0; i < 100; ++i) {
            const strata::notification n = co_await l.async_next();
            CHECK(!n.missed);
            CHECK(n.channel == (i % 2 == 0 ? "orders" : "odd \"Channel\"; drop table x"));
            CHECK(n.payload == std::to_string(i));
            CHECK(n.sender == sender);
        }
        // one that comes while it is waited for
        asio::steady_timer soon(h.io, 20ms);
        soon.async_wait([&](auto) { h.send("orders", "late"); });
        const strata::notification n = co_await l.async_next();
        CHECK(n.payload == "late");
    });
}

TEST_CASE("a listener whose server process is ended says so, and hears again", "[postgres][listener]") {
    hall h;
    strata::listener l{h.adb, "news"};
    h.run([&]() -> asio::awaitable<void> {
        co_await l.async_listen();
        for (int round = 0; round < 3; ++round) {
            h.send("news", "before");
            const strata::notification first = co_await l.async_next();
            CHECK(first.payload == "before");
            const bool waiting = round == 1;  // for it, or not
            asio::steady_timer soon(h.io, 10ms);
            if (waiting)
                soon.async_wait([&](auto) { CHECK(terminate_listeners(h.admin, h.name) == 1); });
            else
                CHECK(terminate_listeners(h.admin, h.name) == 1);
            const strata::notification gap = co_await l.async_next();
            CHECK(gap.missed);
            CHECK(gap.channel.empty());
            h.send("news", "after");
            const strata::notification second = co_await l.async_next();
            CHECK(!second.missed);
            CHECK(second.payload == "after");
        }
    });
    CHECK(listeners(h.admin, h.name) == 1);
}

TEST_CASE("a listener is cancelled and goes on, is closed while it waits, and leaves no connection behind", "[postgres][listener]") {
    hall h;
    {
        strata::listener l{h.adb, "news"};
        for (const bool connected : {false, true}) {  // before and while it waits
            asio::cancellation_signal stop;
            std::optional<errc> seen;
            l.async_try_next(
                asio::bind_cancellation_slot(stop.slot(), [&](strata::result<strata::notification> r) { seen = r.error().code(); }));
            asio::steady_timer soon(h.io, connected ? 50ms : 0ms);
            soon.async_wait([&](auto) { stop.emit(asio::cancellation_type::total); });
            h.io.restart();
            h.io.run_for(30s);
            CHECK(seen == errc::cancelled);
        }
        h.run([&]() -> asio::awaitable<void> {
            co_await l.async_listen();
            h.send("news", "still there");
            const strata::notification n = co_await l.async_next();
            CHECK(n.payload == "still there");
        });
        const int delay = GENERATE(0, 1, 50);
        std::optional<errc> seen, overlapping;
        l.async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
        l.async_try_next([&](strata::result<strata::notification> r) { overlapping = r.error().code(); });
        std::jthread closer([&] {
            std::this_thread::sleep_for(std::chrono::milliseconds{delay});
            l.close();
        });
        h.io.restart();
        h.io.run_for(20s);
        CHECK(overlapping == errc::misuse);
        CHECK(seen == errc::shutting_down);
        l.async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
        h.io.restart();
        h.io.run();
        CHECK(seen == errc::shutting_down);
    }
    for (int i = 0; i < 1000 && listeners(h.admin, h.name) != 0; ++i) std::this_thread::sleep_for(5ms);
    CHECK(listeners(h.admin, h.name) == 0);
}

TEST_CASE("a close from another thread ends the call, whenever it comes", "[postgres][listener]") {
    hall h;
    for (int i = 0; i < 40; ++i) {
        strata::listener l{h.adb, "news"};
        std::optional<errc> seen;
        l.async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
        std::jthread closer([&] {
            std::this_thread::sleep_for(std::chrono::microseconds{i * 500});  // before, while and after it connects
            l.close();
        });
        h.io.restart();
        h.io.run_for(20s);  // less than a check of the connection would take to notice
        REQUIRE(seen == errc::shutting_down);
    }
}

TEST_CASE("a listener, or its context, ends while a call waits", "[postgres][listener]") {
    hall h;
    std::optional<errc> seen;
    {
        asio::io_context io;
        auto adb = h.db.async(io.get_executor());
        auto l = std::make_optional<strata::listener>(adb, "news");
        l->async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
        io.run_for(50ms);
        SECTION("the listener") {
            l.reset();
            io.run();
            CHECK(seen == errc::shutting_down);
        }
        SECTION("the context") {}
        SECTION("the context first, then the listener") {
            l->close();
        }
    }
    for (int i = 0; i < 1000 && listeners(h.admin, h.name) != 0; ++i) std::this_thread::sleep_for(5ms);
    CHECK(listeners(h.admin, h.name) == 0);
}

TEST_CASE("a forked child neither uses nor ends its parent's listener", "[postgres][listener]") {
    hall h;
    auto l = std::make_optional<strata::listener>(h.adb, "news");
    h.run([&]() -> asio::awaitable<void> { co_await l->async_listen(); });
    const pid_t child = ::fork();
    if (child == 0) {
        errc seen = errc::ok;
        l->async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
        h.io.restart();
        h.io.poll();
        l.reset();
        ::_exit(seen == errc::misuse ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
    h.send("news", "for the parent");
    h.run([&]() -> asio::awaitable<void> {
        const strata::notification n = co_await l->async_next();
        CHECK(n.payload == "for the parent");
    });
}

TEST_CASE("what a listener cannot do is an error", "[postgres][listener]") {
    hall h;
    const auto refused = [&](std::vector<std::string> channels, const strata::listener_options& o = {}) {
        try {
            strata::listener l{h.adb, std::move(channels), o};
        } catch (const strata::failure& f) {
            return f.error().code();
        }
        return errc::ok;
    };
    CHECK(refused({std::string(63, 'x')}) == errc::ok);
    CHECK(refused({std::string(64, 'x')}) == errc::invalid_argument);
    CHECK(refused({"a", ""}) == errc::invalid_argument);
    CHECK(refused({}) == errc::invalid_argument);
    CHECK(refused({std::string("a\0b", 3)}) == errc::invalid_argument);
    CHECK(refused({"a"}, {.check_every = {}}) == errc::invalid_argument);
    CHECK(refused({"a"}, {.base = 2s, .cap = 1s}) == errc::invalid_argument);

    strata::postgres_options nowhere = at(server_url(), "127.0.0.1", "1");
    strata::database<plain_stack> db{nowhere, strata::pool_options{.min_size = 0, .max_size = 1}};
    auto adb = db.async(h.io.get_executor());
    strata::listener l{adb, "news"};
    std::optional<errc> seen;
    l.async_try_next([&](strata::result<strata::notification> r) { seen = r.error().code(); });
    h.io.restart();
    h.io.run_for(20s);
    CHECK(seen == errc::cannot_connect);
}

TEST_CASE("a network that goes silent is found out, and the listener comes back", "[postgres][listener]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b;
    auto options = b.options();
    options.connect_timeout = 300ms;
    strata::database<plain_stack> db{options, strata::pool_options{.min_size = 0, .max_size = 1}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    strata::listener l{adb, "news", {.cap = 50ms, .check_every = 20ms, .check_limit = 300ms}};
    std::vector<strata::notification> heard;
    int connections = 0;
    auto listen = [&]() -> asio::awaitable<void> {
        co_await l.async_listen();
        asio::steady_timer wait(io, 200ms);  // several checks are answered meanwhile
        wait.async_wait([&](auto) { b.behind.db.execute("select pg_notify('news', 'one')"_sql); });
        heard.push_back(co_await l.async_next());
        connections = b.proxy.accepted();
        b.proxy.black_hole(true);
        asio::steady_timer later(io, 1s);
        later.async_wait([&](auto) { b.proxy.black_hole(false); });
        heard.push_back(co_await l.async_next());
        b.behind.db.execute("select pg_notify('news', 'two')"_sql);
        heard.push_back(co_await l.async_next());
    };
    asio::co_spawn(io, listen, asio::detached);
    io.run_for(30s);
    REQUIRE(heard.size() == 3);
    CHECK(connections == 1);
    CHECK(b.proxy.accepted() > 1);
    CHECK(heard[0].payload == "one");
    CHECK(heard[1].missed);
    CHECK(heard[2].payload == "two");
}
