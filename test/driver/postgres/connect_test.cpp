// How connections come about: names that are looked up, several hosts, and what ends the attempt; on a thread and over the loop.
#include "fault_fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

using namespace strata_test;
using strata::phase;
namespace asio = boost::asio;

namespace {

/// What a first call on a connection of these options answers, in both faces.
strata::error first_call(const strata::postgres_options& o, bool over_the_loop) {
    strata::database<plain_stack> db{o, strata::pool_options{.min_size = 0, .max_size = 1}};
    if (!over_the_loop) {
        const auto r = db.try_one<int>("select 1"_sql());
        return r ? strata::error{} : r.error();
    }
    asio::io_context io;
    strata::error e{errc::misuse, phase::connect};
    auto adb = db.async(io.get_executor());
    adb.async_try_one<int>("select 1"_sql(), [&](strata::result<int> r) { e = r ? strata::error{} : r.error(); });
    io.run();
    return e;
}

std::string port_of_server() {
    const std::string port = setting_of(server_url(), "port");
    return port.empty() ? "5432" : port;
}

}  // namespace

TEST_CASE("addresses, names and lists of them lead to the server", "[postgres][connect]") {
    if (!proxied_bank::is_there()) return;
    const bool over_the_loop = GENERATE(false, true);
    const std::string port = port_of_server();
    CHECK(!first_call(at(server_url(), "127.0.0.1", port), over_the_loop));
    CHECK(!first_call(at(server_url(), "localhost", port), over_the_loop));
    CHECK(!first_call(at(server_url(), "127.0.0.1,127.0.0.1", "1," + port), over_the_loop));
    CHECK(!first_call(at(server_url(), "no-such-host.invalid,localhost", "1," + port), over_the_loop));
    CHECK(!first_call(at(server_url(), "no-such-host.invalid", port, "hostaddr=127.0.0.1 sslmode=disable"), over_the_loop));
    const strata::error unknown = first_call(at(server_url(), "no-such-host.invalid", port), over_the_loop);
    CHECK(unknown.code() == errc::cannot_connect);
    CHECK_THAT(unknown.to_string(), contains_text("no-such-host.invalid"));
    const in_time guard;  // and not by a bound
    const strata::error none = first_call(at(server_url(), "no-such-host.invalid,nor-this.invalid", "1,1"), over_the_loop);
    CHECK(none.code() == errc::cannot_connect);
    const strata::error nobody = first_call(at(server_url(), "localhost,127.0.0.1", "1,1"), over_the_loop);
    CHECK(nobody.code() == errc::cannot_connect);
    CHECK(nobody.phase() == phase::connect);
}

TEST_CASE("TLS over the loop, and a server that refuses", "[postgres][connect]") {
    strata::postgres_options o{.connection = server_url()};
    o.password = "wrong";
    const bool over_the_loop = GENERATE(false, true);
    if (setting_of(server_url(), "password").empty()) return;
    const strata::error e = first_call(o, over_the_loop);
    CHECK(e.code() == errc::cannot_connect);
    CHECK_THAT(e.message(), contains_text("password authentication failed"));
    const auto encrypted = at(server_url(), "127.0.0.1", port_of_server(), "sslmode=require");
    CHECK(!first_call(encrypted, over_the_loop));
}

TEST_CASE("a connection that never comes is ended by its bound and by a cancel", "[postgres][connect][fault]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b;
    b.proxy.black_hole(true);
    const std::string port = std::to_string(b.proxy.port());
    const std::string hosts = GENERATE(as<std::string>{}, "127.0.0.1", "localhost", "localhost,localhost");
    auto o = at(server_url(), hosts, hosts.find(',') != hosts.npos ? port + "," + port : port, "sslmode=disable gssencmode=disable");
    SECTION("its bound") {
        o.connect_timeout = 50ms;
        for (const bool over_the_loop : {false, true}) {
            const strata::error e = first_call(o, over_the_loop);
            CHECK(e.code() == errc::timeout);
            CHECK(e.phase() == phase::connect);
            CHECK(e.effect() == strata::effect::none);
        }
    }
    o.connect_timeout = 1h;  // unless something else ends it
    SECTION("a cancel") {
        strata::database<plain_stack> db{o, strata::pool_options{.min_size = 0, .max_size = 1}};
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        asio::cancellation_signal stop;
        strata::error e;
        adb.async_try_one<int>("select 1"_sql(), asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) { e = r.error(); }));
        asio::steady_timer timer(io, 50ms);
        timer.async_wait([&](auto) { stop.emit(asio::cancellation_type::terminal); });
        io.run();
        CHECK(e.code() == errc::cancelled);
        CHECK(db.connections().open == db.connections().opening);  // it is gone, the attempt goes on
    }
    SECTION("the end of its context") {
        const std::ptrdiff_t held = descriptors();
        {
            strata::database<plain_stack> db{o, strata::pool_options{.min_size = 0, .max_size = 1}};
            bool called = false;
            {
                asio::io_context io;
                auto adb = db.async(io.get_executor());
                adb.async_try_one<int>("select 1"_sql(), [&](const strata::result<int>&) { called = true; });
                io.run_for(30ms);
            }
            CHECK(!called);
            CHECK(db.connections().open == db.connections().opening);  // it is gone, the attempt goes on
        }
        b.proxy.black_hole(false);
        b.proxy.cut();  // its own
        CHECK(comes_true([&] { return descriptors() <= held; }, std::chrono::seconds{10}));
    }
}
