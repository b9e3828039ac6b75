// What a pool does with connections to a real server: other credentials, sessions that are reset, a server that says farewell.
#include "fault_fixture.hpp"

#include <strata/server_budget.hpp>

#include <algorithm>
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

using namespace strata_test;
using strata::errc;

namespace {

/// A role of the server's for as long as the object lives.
struct role {
    role(server& s, std::string end) : in(s), name(s.schema() + "_" + std::move(end)) {
        made = !s.admin().try_execute(strata::statement{"create role " + name + " login password '" + name + "-secret'"}).has_error();
    }
    ~role() {
        static_cast<void>(comes_true([this] { return !in.admin().try_execute(strata::statement{"drop role " + name}).has_error(); }));
    }
    server& in;
    std::string name;
    bool made = false;
};

constexpr auto whoami = "select current_user::text"_sql;

}  // namespace

TEST_CASE("a pool is turned to other credentials: new connections use them, what is on its way is not disturbed", "[postgres][pool]") {
    server s;
    const role old{s, "old"}, next{s, "next"};
    if (!old.made || !next.made) {
        WARN("the server's user may not make roles: this is left out");
        return;
    }
    strata::postgres_options o = s.options();
    o.user = old.name;
    o.password = old.name + "-secret";
    {
        strata::database<plain_stack> db{o, strata::pool_options{.min_size = 2, .max_size = 3}};
        CHECK(db.one<std::string>(whoami()) == old.name);
        db.transaction([&](auto& tx) {
            CHECK(tx.template one<std::string>(whoami()) == old.name);
            strata::postgres_options turned = o;
            turned.user = next.name;
            turned.password = next.name + "-secret";
            CHECK_FALSE(db.source().rotate(turned));
            CHECK(tx.template one<std::string>(whoami()) == old.name);
            CHECK(db.one<std::string>(whoami()) == next.name);
        });
        for (int i = 0; i < 10; ++i) CHECK(db.one<std::string>(whoami()) == next.name);
        CHECK(comes_true([&] { return db.connections().idle >= 2 && db.connections().opening == 0; }));
        CHECK(s.admin().one<std::int64_t>("select count(*) from pg_stat_activity where usename = :name"_sql(old.name)) == 0);
        strata::postgres_options wrong = o;
        wrong.connect_timeout = -1s;
        CHECK(db.source().rotate(wrong).code() == errc::invalid_argument);
        CHECK(db.one<std::string>(whoami()) == next.name);
    }
}

TEST_CASE("credentials are asked for before each connect", "[postgres][pool]") {
    server s;
    const role one{s, "one"}, two{s, "two"};
    if (!one.made || !two.made) {
        WARN("the server's user may not make roles: this is left out");
        return;
    }
    std::atomic<int> asked{0};
    std::atomic<bool> broken{false};
    strata::postgres_options o = s.options();
    o.credentials = [&]() -> strata::postgres_credentials {
        if (broken) throw std::runtime_error("the vault is sealed");
        const std::string& name = asked++ % 2 == 0 ? one.name : two.name;
        return {.user = name, .password = name + "-secret"};
    };
    {
        strata::database<plain_stack> db{o, strata::pool_options{.min_size = 2, .max_size = 3}};
        CHECK(asked == 2);
        auto first = db.session(), second = db.session();
        std::vector<std::string> users{first.one<std::string>(whoami()), second.one<std::string>(whoami())};
        std::sort(users.begin(), users.end());
        CHECK(users == std::vector<std::string>{one.name, two.name});
        broken = true;
        const strata::error e = db.try_one<std::string>(whoami(), {.deadline = 200ms}).error();
        CHECK_THAT(e.to_string(), contains_text("the vault is sealed"));
        CHECK(e.to_string().find("-secret") == std::string::npos);
        broken = false;
        CHECK(comes_true([&] { return db.try_one<std::string>(whoami()).has_value(); }));
    }
}

TEST_CASE("a session leaves nothing behind where the pool discards it", "[postgres][pool]") {
    server s;
    const bool discards = GENERATE(true, false);
    strata::database<plain_stack> db{s.options(), strata::pool_options{.min_size = 1,
                                                                       .max_size = 1,
                                                                       .on_return = discards ? strata::session_reset::discard_all
                                                                                             : strata::session_reset::rollback_only}};
    const auto style = [&] { return db.one<std::string>("select current_setting('IntervalStyle')"_sql()); };
    const std::string usual = style();
    const auto pid = [&] { return db.one<int>("select pg_backend_pid()"_sql()); };
    const int before = pid();
    {
        auto session = db.session();
        session.execute("set IntervalStyle to 'iso_8601'"_sql());
        session.execute("create temp table left_over (id int)"_sql());
        CHECK(session.one<std::string>("select current_setting('IntervalStyle')"_sql()) == "iso_8601");
    }
    CHECK(style() == (discards ? usual : "iso_8601"));
    CHECK(db.one<bool>("select to_regclass('pg_temp.left_over') is null"_sql()) == discards);
    {
        auto session = db.session();
        session.execute("reset IntervalStyle"_sql());
    }
    db.transaction([&](auto& tx) { tx.execute("set IntervalStyle to 'iso_8601'"_sql()); });
    CHECK(style() == (discards ? usual : "iso_8601"));
    for (int i = 0; i < 5; ++i) CHECK(db.one<int>("select :i::int"_sql(i)) == i);  // prepared anew
    CHECK(pid() == before);
    CHECK(db.connections().opened == 1);
}

TEST_CASE("a session that ends in the middle of a transaction is told so, and rolled back", "[postgres][pool]") {
    server s;
    strata::database<plain_stack> db{s.options(), strata::pool_options{.min_size = 1, .max_size = 1}};
    db.execute("create table kept (id int)"_sql());
    auto session = db.session();
    session.execute("begin"_sql());
    session.execute("insert into kept values (1)"_sql());
    const auto r = session.try_close();
    CHECK(r.error().code() == errc::misuse);
    CHECK(r.error().effect() == strata::effect::rolled_back);
    CHECK(session.try_close().error().code() == errc::misuse);  // it is empty now
    CHECK(db.one<std::int64_t>("select count(*) from kept"_sql()) == 0);
    auto another = db.session();
    another.execute("insert into kept values (2)"_sql());
    another.close();
    CHECK(db.one<std::int64_t>("select count(*) from kept"_sql()) == 1);
    CHECK(db.connections().opened == 1);
}

TEST_CASE("when the server ends one session for good, the pool lets go of all that were opened before", "[postgres][pool]") {
    server s;
    const std::string name = "strata-farewell-" + s.schema();
    strata::postgres_options o = s.options();
    o.application_name = name;
    strata::database<plain_stack> db{o, strata::pool_options{.min_size = 3, .max_size = 3}};
    const auto pids = [&] {
        return s.admin().all<int>("select pid from pg_stat_activity where application_name = :name order by pid"_sql(name));
    };
    const std::vector<int> before = pids();
    REQUIRE(before.size() == 3);
    {
        auto session = db.session();
        s.admin().execute("select pg_terminate_backend(:pid)"_sql(session.one<int>("select pg_backend_pid()"_sql())));
        CHECK(comes_true([&] { return pids().size() == 2; }));
        const strata::error e = session.try_one<int>("select 1"_sql()).error();
        CHECK(e.code() == errc::connection_lost);
        CHECK(e.health() == strata::health::all_lost);
        CHECK(e.texts().native_code == "57P01");
    }
    CHECK(comes_true([&] { return db.connections().idle == 3; }));
    CHECK(db.connections().lost == 1);
    CHECK(db.connections().retired == 2);
    for (const int pid : pids()) CHECK(std::find(before.begin(), before.end(), pid) == before.end());
    CHECK(db.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("a write that a read-only transaction refuses says nothing about the connection", "[postgres][pool]") {
    server s;
    strata::database<plain_stack> db{s.options(), strata::pool_options{.min_size = 1, .max_size = 1}};
    db.execute("create table kept (id int)"_sql());
    for (int i = 0; i < 3; ++i) {
        const auto r = db.try_transaction([](auto& tx) { tx.execute("insert into kept values (1)"_sql()); },
                                          strata::transaction_options<strata::postgres>{.read_only = true});
        CHECK(r.error().code() == errc::read_only);
    }
    if (db.one<int>("select current_setting('server_version_num')::int"_sql()) >= 140'000) CHECK(db.connections().opened == 1);
}

TEST_CASE("a database is drained before its server is switched, and goes on after it", "[postgres][pool]") {
    server s;
    strata::database<plain_stack> db{s.options(), strata::pool_options{.min_size = 2, .max_size = 4}};
    std::atomic<bool> stop{false};
    std::atomic<int> calls{0}, failures{0};
    std::vector<std::thread> crowd;
    for (int t = 0; t < 4; ++t)
        crowd.emplace_back([&] {
            while (!stop) {
                if (!db.try_one<int>("select :i::int"_sql(1))) ++failures;
                ++calls;
            }
        });
    for (int round = 0; round < 5; ++round) {
        CHECK(db.drain(10s));
        CHECK(all_returned(db.connections()));
        const int before = calls;
        db.source().retire_all();
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
        CHECK(calls - before <= 4);  // those that had ended already
        CHECK(all_returned(db.connections()));
        db.source().resume();
        CHECK(comes_true([&] { return calls > before + 20; }));
    }
    stop = true;
    for (std::thread& t : crowd) t.join();
    CHECK(failures == 0);
    CHECK(db.connections().lost == 0);
}

TEST_CASE("a server is asked what it allows", "[postgres][pool]") {
    server s;
    const strata::server_budget b = strata::ask_server_budget(s.admin(), 3).value();
    CHECK(static_cast<std::int64_t>(b.max_connections) ==
          s.admin().one<std::int64_t>("select current_setting('max_connections')::int8"_sql()));
    CHECK(b.superuser_reserved >= 1);
    CHECK(b.role_limit == -1);
    CHECK(b.connections() == (b.max_connections - b.superuser_reserved) / 3);
}
