// A pool that looks after connections to a real server: sessions that the server ends while they are idle, ages, and a closing pool.
#include "fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

#include <memory>
#include <thread>

using namespace strata_test;

namespace {

strata::postgres_options named(const server& s, const std::string& name) {
    strata::postgres_options o = s.options();
    o.application_name = name;
    return o;
}

/// Waits for what will come, with a bound against hanging.
template <class Condition>
bool comes(Condition&& c) {
    for (const auto end = strata::steady_now() + 60s; strata::steady_now() < end; std::this_thread::sleep_for(2ms))
        if (c()) return true;
    return false;
}

std::int64_t end_sessions(server& s, const std::string& name) {
    return s.admin().one<std::int64_t>(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = :name"_sql(name));
}
std::int64_t sessions(server& s, const std::string& name) {
    return s.admin().one<std::int64_t>("select count(*) from pg_stat_activity where application_name = :name"_sql(name));
}

}  // namespace

TEST_CASE("idle sessions that the server ends are made anew before anybody calls", "[postgres][upkeep]") {
    server s;
    const std::string name = "strata-upkeep-" + s.schema();
    strata::database<plain_stack> db{named(s, name), strata::pool_options{.min_size = 3, .max_size = 4, .check_interval = 5ms}};
    CHECK(sessions(s, name) == 3);
    for (int round = 1; round <= 3; ++round) {
        CHECK(end_sessions(s, name) == 3);
        REQUIRE(comes([&] { return db.connections().lost == 3u * static_cast<unsigned>(round) && db.connections().idle == 3; }));
        for (int i = 0; i < 10; ++i) CHECK(db.one<int>("select :i::int"_sql(i)) == i);  // without a retry
    }
    CHECK(sessions(s, name) == 3);
}

TEST_CASE("sessions are replaced when their life is over, under callers of both faces", "[postgres][upkeep]") {
    server s;
    const std::string name = "strata-upkeep-" + s.schema();
    auto db = std::make_unique<strata::database<plain_stack>>(
        named(s, name), strata::pool_options{.min_size = 2, .max_size = 4, .max_lifetime = 30ms, .check_interval = 3ms});
    boost::asio::io_context io;
    auto work = boost::asio::make_work_guard(io);
    std::thread loop([&] { io.run(); });
    {
        auto adb = db->async(io.get_executor());
        int i = 0;
        CHECK(comes([&] {
            ++i;
            CHECK(db->one<int>("select :i::int"_sql(i)) == i);
            CHECK(adb.async_one<int>("select :i::int"_sql(i), {}, boost::asio::use_future).get() == i);
            db->transaction([&](auto& tx) { CHECK(tx.template one<int>("select :i::int"_sql(i)) == i); });
            return db->connections().retired >= 20;
        }));
    }
    CHECK(db->connections().lost == 0);
    CHECK(comes([&] { return db->connections().idle == db->connections().open && db->connections().open >= 2; }));
    db.reset();  // with its thread
    CHECK(comes([&] { return sessions(s, name) == 0; }));
    work.reset();
    loop.join();
}

TEST_CASE("a closed pool keeps no session, though one was being opened", "[postgres][upkeep]") {
    server s;
    for (int i = 0; i < count(8, 100); ++i) {
        const std::string name = "strata-upkeep-" + s.schema() + "-" + std::to_string(i);
        strata::database<plain_stack> db{named(s, name), strata::pool_options{.min_size = 4, .max_size = 4, .check_interval = 1ms}};
        end_sessions(s, name);
        std::this_thread::sleep_for(std::chrono::microseconds{500} * (i % 10));
        db.close();
        CHECK(db.connections().open == 0);
        CHECK(comes([&] { return sessions(s, name) == 0; }));
    }
}

TEST_CASE("all sessions can be let go of, as after a failover", "[postgres][upkeep]") {
    server s;
    const std::string name = "strata-upkeep-" + s.schema();
    strata::database<plain_stack> db{named(s, name), strata::pool_options{.min_size = 3, .max_size = 4}};
    const auto pid = [&](auto& session) { return session.template one<int>("select pg_backend_pid()"_sql()); };
    {
        auto held = db.session();
        const int before = pid(held);
        db.source().retire_all();
        CHECK(comes([&] { return sessions(s, name) == 1; }));
        CHECK(pid(held) == before);
    }
    CHECK(comes([&] { return sessions(s, name) == 0; }));
    CHECK(db.one<int>("select 1"_sql()) == 1);
    CHECK(db.connections().retired == 3);
}
