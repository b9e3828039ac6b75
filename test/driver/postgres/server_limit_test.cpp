// The server's own limit on a statement: from the deadline, sent when it changes, and never one for COMMIT.
#include "fault_fixture.hpp"

#include <strata/async.hpp>
#include <strata/copy.hpp>
#include <strata/pipeline.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

constexpr auto limit = "select current_setting('statement_timeout')"_sql;

strata::postgres_options limited(strata::postgres_options o) {
    o.limit_on_server = true;
    return o;
}

}  // namespace

TEST_CASE("the server is told the deadline, rounded up", "[postgres][limit]") {
    bank<> b{1, 1, &limited};
    const auto told = [&](strata::duration d) { return b.db.one<std::string>(limit(), {.deadline = d}); };
    CHECK(b.db.one<std::string>(limit()) == "0");
    CHECK(told(1500ms) == "2048ms");
    CHECK(told(1400ms) == "2048ms");
    CHECK(told(5000h) == "1073741824ms");
    CHECK(b.db.one<std::string>(limit()) == "0");
    auto [in_flight] = b.db.pipeline(strata::call_options{.deadline = 1500ms}, strata::one<std::string>(limit()));
    CHECK(in_flight == "2048ms");
    std::string copied;
    b.db.copy_out<std::string>(limit, [&](const std::string& s) { copied = s; });
    CHECK(copied == "0");
}

TEST_CASE("a transaction takes back the limit that was set in it", "[postgres][limit]") {
    bank<> b{1, 1, &limited};
    CHECK(b.db.one<std::string>(limit(), {.deadline = 3s}) == "4096ms");
    b.db.transaction([&](auto& tx) {
        CHECK(tx.template one<std::string>(limit()) == "0");
        static_cast<void>(tx.try_transaction([&](auto& sp) {
            CHECK(sp.template one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
            throw_failure(strata::error{errc::user_error, strata::phase::execute});
        }));
        CHECK(tx.template one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
        CHECK(tx.template one<std::string>(limit()) == "0");
    });
    b.db.transaction([&](auto& tx) { CHECK(tx.template one<std::string>(limit()) == "0"); });
    b.db.transaction([&](auto& tx) { CHECK(tx.template one<std::string>(limit(), {.deadline = 3s}) == "4096ms"); });
    b.db.transaction([&](auto& tx) { CHECK(tx.template one<std::string>(limit()) == "0"); });
    // The session has what it had.
    CHECK(b.db.one<std::string>(limit(), {.deadline = 3s}) == "4096ms");
    auto s = b.db.session();
    s.execute("begin"_sql());
    CHECK(s.one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
    s.execute("rollback"_sql());
    CHECK(s.one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
    CHECK(s.one<std::string>(limit()) == "0");
    // A savepoint of the user's own brings back what was in force when it was made.
    s.execute("begin"_sql());
    s.execute("savepoint a"_sql(), {.deadline = 1500ms});
    CHECK(s.one<std::string>(limit()) == "0");
    s.execute("rollback to a"_sql());
    CHECK(s.one<std::string>(limit()) == "0");
    s.execute("commit"_sql());
    // What the user sets himself is not taken for ours.
    CHECK(s.one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
    s.execute("set statement_timeout = 77777"_sql());
    CHECK(s.one<std::string>(limit(), {.deadline = 1500ms}) == "2048ms");
}

TEST_CASE("COMMIT is not ended by the limit of a statement before it, which is the server's own doing", "[postgres][limit]") {
    bank<> b{1, 1, &limited};
    b.db.execute("create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.3); return null; end $$"_sql());
    b.db.execute(
        "create constraint trigger at_commit "
        "after update on account deferrable initially deferred for each row execute function slow()"_sql());
    b.db.transaction([&](auto& tx) { tx.execute(add_balance(1, 1), {.deadline = 100ms}); });
    CHECK(b.balance_of(1) == 101);
}

TEST_CASE("a statement whose client was cut off ends on the server", "[postgres][limit][fault]") {
    if (!proxied_bank::is_there()) return;
    const in_time guard;
    proxied_bank b{1};
    strata::postgres_options o = limited(b.options());
    o.application_name = "strata-cut-off";
    o.cancel_grace = 20ms;
    constexpr auto running = "select count(*) from pg_stat_activity where application_name = 'strata-cut-off' and state = 'active'"_sql;
    strata::database<plain_stack> db{o, strata::pool_options{.min_size = 1, .max_size = 1}};
    b.proxy.black_hole_at_next(way::to_client);
    const auto r = db.try_one<std::string>("select pg_sleep(3600)::text"_sql(), {.deadline = 200ms});
    CHECK(r.error().code() == errc::timeout);
    CHECK(comes_true([&] { return b.behind.in.admin().one<std::int64_t>(running()) == 0; }));
}

TEST_CASE("it is sent when it changes, and only then; over the loop, too", "[postgres][limit][async]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{1};
    const bool on = GENERATE(false, true);
    strata::postgres_options o = b.options();
    o.limit_on_server = on;
    strata::database<plain_stack> db{o, strata::pool_options{.min_size = 1, .max_size = 1}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    std::vector<std::uint64_t> sent;
    const auto call = [&]() -> asio::awaitable<void> {
        for (int i = 0; i < 4; ++i) {
            const std::uint64_t before = b.proxy.taken(way::to_server);
            const auto told = co_await adb.async_one<std::string>(limit(), {.deadline = i < 3 ? 30s : 60s});
            CHECK(told == (!on ? "0" : i < 3 ? "32768ms" : "65536ms"));
            sent.push_back(b.proxy.taken(way::to_server) - before);
        }
    };
    asio::co_spawn(io, call(), [](std::exception_ptr e) { CHECK(e == nullptr); });
    io.run();
    REQUIRE(sent.size() == 4);
    CHECK(sent[1] == sent[2]);
    CHECK((sent[3] > sent[2]) == on);
}

TEST_CASE("a limit of its own needs a session of its own", "[postgres][limit][options]") {
    strata::postgres_options o{.connection = server_url(), .prepare = false};
    o.limit_on_server = true;
    CHECK(o.validate().code() == errc::invalid_argument);
}
