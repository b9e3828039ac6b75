// Servers beside the primary: a standby, several addresses, and pgbouncer in transaction mode.
#include "fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

/// A URL of the environment; null, with a word about it, where there is none.
const char* url_in(const char* name) {
    const char* const url = std::getenv(name);
    if (url == nullptr) WARN(name << " is not set: this is left out");
    return url;
}

constexpr auto on_standby = "select pg_is_in_recovery()"_sql;

}  // namespace

TEST_CASE("a standby answers reads, follows the primary, and refuses writes as read_only", "[postgres][standby]") {
    const char* const url = url_in("STRATA_TEST_POSTGRES_STANDBY");
    if (url == nullptr) return;
    bank<> primary{2};
    strata::database<plain_stack> standby{strata::postgres_options{.connection = url}, server::one()};
    CHECK(standby.one<bool>(on_standby()));

    const std::string account = primary.in.schema() + ".account";
    const strata::statement sum{"select coalesce(sum(balance), 0)::int8 from " + account};
    const auto give_up = strata::clock::now() + 60s;
    for (bool there = false; !there && strata::clock::now() < give_up; std::this_thread::sleep_for(5ms)) {
        const auto seen = standby.try_one<std::int64_t>(sum);
        there = seen && *seen == 200;
        if (!seen) REQUIRE(seen.error().code() == errc::undefined_object);  // not yet here
    }
    CHECK(standby.one<std::int64_t>(sum) == 200);

    const auto before = standby.connections().lost;
    const strata::error refused = standby.try_execute(strata::statement{"update " + account + " set balance = 0"}).error();
    CHECK(refused.code() == errc::read_only);
    CHECK(refused.texts().native_code == "25006");
    CHECK(refused.effect() == strata::effect::none);
    CHECK(refused.health() == strata::health::all_lost);  // a connection that was to write is worth nothing here
    CHECK(standby.connections().lost == before + 1);
    CHECK(standby.one<std::int64_t>(sum) == 200);
    CHECK(primary.db.one<std::int64_t>("select sum(balance)::int8 from account"_sql()) == 200);
}

TEST_CASE("several addresses: the first that answers, and is what was asked for, is taken", "[postgres][standby]") {
    const std::string host = setting_of(server_url(), "host"), port = setting_of(server_url(), "port");
    if (host.empty() || host.find(',') != host.npos) return;
    const auto opens = [](const strata::postgres_options& o) {
        strata::postgres_connection c;
        return c.open(o);
    };
    CHECK(!opens(at(server_url(), "127.0.0.1," + host, "1," + port)));
    CHECK(!opens(at(server_url(), host + ",127.0.0.1", port + ",1")));
    CHECK(!opens(at(server_url(), "nobody.invalid," + host, "1," + port)));
    const strata::error none = opens(at(server_url(), "127.0.0.1,127.0.0.1", "1,2"));
    CHECK(none.code() == errc::cannot_connect);
    CHECK(none.message().find("port 1 ") != std::string::npos);  // each is told
    CHECK(none.message().find("port 2 ") != std::string::npos);

    const char* const standby = url_in("STRATA_TEST_POSTGRES_STANDBY");
    if (standby == nullptr) return;
    const std::string hosts = setting_of(standby, "host") + "," + host, ports = setting_of(standby, "port") + "," + port;
    const auto lands_on_standby = [&](const char* attributes) {
        strata::database<plain_stack> db{at(server_url(), hosts, ports, attributes), server::one()};
        return db.one<bool>(on_standby());
    };
    CHECK(lands_on_standby("target_session_attrs=any"));
    CHECK_FALSE(lands_on_standby("target_session_attrs=read-write"));
    CHECK_FALSE(lands_on_standby("target_session_attrs=primary"));
    CHECK(lands_on_standby("target_session_attrs=standby"));
    CHECK(lands_on_standby("target_session_attrs=read-only"));
    CHECK(lands_on_standby("target_session_attrs=prefer-standby"));
    const strata::error wrong = opens({.connection = std::string{standby} + "?target_session_attrs=read-write"});
    CHECK(wrong.code() == errc::cannot_connect);
    CHECK(wrong.phase() == strata::phase::connect);
}

namespace {

/// Thirty connections to pgbouncer, which has five to the server. It knows no search path, so the table is named in full.
struct pooled {
    bank<> behind{8};
    std::string account = behind.in.schema() + ".account";
    strata::statement add{"update " + account + " set balance = balance + :amount where id = :id"};
    strata::database<plain_stack> db;

    explicit pooled(const char* url)
        : db(strata::postgres_options{.connection = url, .prepare = false}, strata::pool_options{.min_size = 1, .max_size = 30}) {}

    /// `add` with its arguments, as a statement of its own.
    [[nodiscard]] strata::statement adding(std::int64_t amount, std::int64_t id) const {
        strata::statement s = add;
        s.set("amount"_arg = amount, "id"_arg = id);
        return s;
    }
    [[nodiscard]] std::int64_t sum() { return behind.db.one<std::int64_t>("select sum(balance)::int8 from account"_sql()); }
};

}  // namespace

TEST_CASE("statements and transactions behind pgbouncer in transaction mode", "[postgres][pgbouncer]") {
    const char* const url = url_in("STRATA_TEST_PGBOUNCER");
    if (url == nullptr) return;
    pooled p{url};
    CHECK(p.db.one<int>("select :a::int + :b"_sql(3, 4)) == 7);
    CHECK(p.db.one<std::string>("select :text || ''"_sql("it's \\ é")) == "it's \\ é");
    CHECK(p.db.one<double>("select :x::float8"_sql(0.1)) == 0.1);
    CHECK(p.db.one<bool>("select :no::bool or :yes::bool"_sql(false, true)));
    CHECK(p.db.one<std::optional<std::int64_t>>("select :none::int8"_sql(std::optional<std::int64_t>{})) == std::nullopt);
    std::int64_t streamed = 0;
    for (const std::int64_t i : p.db.rows<std::int64_t>("select i from generate_series(1::int8, 3000) i"_sql())) streamed += i;
    CHECK(streamed == 4'501'500);

    CHECK(p.db.execute(p.adding(1, 1)).affected == 1);
    p.db.transaction([&](auto& tx) {
        tx.execute(p.adding(-10, 1));
        tx.execute(p.adding(+10, 2));
        const auto inner = tx.try_transaction([&](auto& in) { in.execute(p.adding(-100'000, 3)); });
        CHECK(inner.error().code() == errc::check_violation);
    });
    CHECK(p.sum() == 801);
    const auto rolled_back = p.db.try_transaction([&](auto& tx) {
        tx.execute(p.adding(-10, 1));
        tx.execute("select 1 / 0"_sql());
    });
    CHECK(rolled_back.error().effect() == strata::effect::rolled_back);
    CHECK(p.sum() == 801);

    // A cancel goes through the pooler as well, and nobody else's statement is hit.
    for (int i = 0; i < 5; ++i) {
        CHECK(p.db.try_one<std::string>("select pg_sleep(30)::text"_sql(), {.deadline = 30ms}).error().code() == errc::timeout);
        CHECK(p.db.one<int>("select 1"_sql()) == 1);
    }
    CHECK(p.db.connections().lost == 0);
}

TEST_CASE("many clients share the few connections of pgbouncer", "[postgres][pgbouncer]") {
    const char* const url = url_in("STRATA_TEST_PGBOUNCER");
    if (url == nullptr) return;
    pooled p{url};
    const int rounds = count(15, 300);
    std::atomic<int> wrong{0}, failed{0};
    const auto client = [&](std::int64_t number) {
        for (int i = 0; i < rounds; ++i) {
            const std::int64_t mine = number * 1'000'000 + i;
            const auto echo = p.db.try_one<std::int64_t>("select :n::int8"_sql(mine));
            if (!echo)
                ++failed;
            else if (*echo != mine)
                ++wrong;
            const auto moved = p.db.try_transaction([&](auto& tx) {
                tx.execute(p.adding(+1, 1));  // always in this order: no deadlocks
                tx.execute(p.adding(-1, 2 + number % 7));
            });
            if (!moved) ++failed;
        }
    };
    std::vector<std::thread> crowd;
    for (std::int64_t n = 0; n < 12; ++n) crowd.emplace_back(client, n);
    asio::io_context io;
    auto adb = p.db.async(io.get_executor());
    int finished = 0;
    for (std::int64_t n = 100; n < 112; ++n) {
        asio::co_spawn(
            io,
            [&, n]() -> asio::awaitable<void> {
                for (int i = 0; i < rounds; ++i) {
                    const std::int64_t mine = n * 1'000'000 + i;
                    const std::int64_t echo = co_await adb.async_one<std::int64_t>("select :n::int8"_sql(mine));
                    if (echo != mine) ++wrong;
                }
                ++finished;
            },
            [](std::exception_ptr e) { CHECK(e == nullptr); });
    }
    io.run();
    for (std::thread& t : crowd) t.join();
    CHECK(finished == 12);
    CHECK(failed == 0);
    CHECK(wrong == 0);
    CHECK(p.sum() == 800);
    CHECK(p.behind.balance_of(1) == 100 + 12 * rounds);
    CHECK(all_returned(p.db.connections()));
}
