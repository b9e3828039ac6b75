// Hedged reads on PostgreSQL: one slow or stuck connection, and the tail stays short.
#include "fault_fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <csignal>
#include <vector>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using hedged_stack = strata::stack<strata::metrics<>, strata::retry<>, strata::circuit_breaker<>, strata::pool<>, strata::postgres>;
constexpr int connections = 4;

// On a connection that `make_slow` has marked it takes three seconds.
constexpr auto slow_seconds = 3.0;
constexpr auto make_answer =
    "create function answer(n int) returns int stable language plpgsql as $$ begin "
    "if current_setting('strata_test.slow', true) = 'on' then perform pg_sleep(3); end if; return n; end $$"_sql;
constexpr auto make_slow = "select set_config('strata_test.slow', 'on', false)"_sql;
constexpr auto answer = "select answer(:n)"_sql.idempotent();

struct fixture {
    explicit fixture(const strata::postgres_options& o)
        : db(o, strata::pool_options{.min_size = connections, .max_size = connections}), adb(db.async(io.get_executor())),
          h({.minimum_samples = 50}) {}

    /// So many reads, one after the other; how long each took.
    std::vector<double> reads(int n) {
        std::vector<double> took;
        asio::co_spawn(
            io,
            [&, n]() -> asio::awaitable<void> {
                for (int i = 0; i < n; ++i) {
                    const auto began = strata::clock::now();
                    const int got = co_await adb.hedged(h).async_one<int>(answer(i));
                    CHECK(got == i);
                    took.push_back(std::chrono::duration<double>(strata::clock::now() - began).count());
                }
            },
            [](std::exception_ptr e) { CHECK(e == nullptr); });
        io.restart();
        io.run();  // ends when the losers have
        REQUIRE(took.size() == static_cast<std::size_t>(n));
        std::sort(took.begin(), took.end());
        return took;
    }
    /// Each connection answers.
    void check_all() {
        std::vector<strata::database<hedged_stack>::session_type> all;
        for (int i = 0; i < connections; ++i) {
            all.push_back(db.session());
            CHECK(all.back().one<int>("select :n::int"_sql(i)) == i);
            CHECK(all.back().one<int>("select :n::int + 1"_sql(i)) == i + 1);
        }
    }

    strata::database<hedged_stack> db;
    asio::io_context io;
    strata::async_database<hedged_stack> adb;
    strata::hedge h;
};

}  // namespace

TEST_CASE("one connection is slow: hedged reads keep the tail short, and it is usable afterwards", "[postgres][async][hedge]") {
    server in;
    fixture f{in.options()};
    f.db.execute(make_answer());
    f.reads(100);
    CHECK(f.h.snapshot().delay >= 1ms);
    {
        auto s = f.db.session();  // the one that the next read takes
        static_cast<void>(s.one<std::string>(make_slow()));
    }
    const auto before = f.h.snapshot();
    const auto took = f.reads(200);
    const auto s = f.h.snapshot();
    CHECK(s.won > before.won);
    CHECK(s.hedged * 10 <= s.reads);
    CHECK(took[198] < slow_seconds / 2);  // p99
    CHECK(took.back() < slow_seconds);    // nobody waited for the slow one

    f.check_all();
    const auto p = f.db.connections();
    CHECK(p.opened == connections);  // the loser was cancelled, not thrown away
    CHECK(p.lost == 0);
    CHECK(all_returned(p));
    CHECK(f.db.policy<strata::circuit_breaker<>>().snapshot().failures == 0);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 0);
    const auto m = f.db.policy<strata::metrics<>>().snapshot();
    CHECK(m.operations[0][static_cast<std::size_t>(strata::outcome_class::cancelled)] >= 1);
}

TEST_CASE("a connection whose server process is stuck: the result does not wait for its cancel", "[postgres][async][hedge]") {
    const own_server own;
    if (own.url().empty()) {
        WARN("no server of its own here: this is left out");
        return;
    }
    strata::postgres_options o{.connection = own.url()};
    o.cancel_grace = 2s;
    fixture f{o};
    f.db.execute(make_answer());
    f.reads(100);
    int pid = 0;
    {
        auto s = f.db.session();
        pid = s.one<int>("select pg_backend_pid()"_sql());
    }
    REQUIRE(pid > 1);
    if (::kill(pid, SIGSTOP) != 0) {
        WARN("may not stop a process of the server: this is left out");
        return;
    }
    double first = 1e9, all = 1e9;
    const auto began = strata::clock::now();
    const auto seconds = [&] { return std::chrono::duration<double>(strata::clock::now() - began).count(); };
    f.adb.hedged(f.h).async_one<int>(answer(7), [&](std::exception_ptr e, int n) {
        CHECK(e == nullptr);
        CHECK(n == 7);
        first = seconds();
    });
    f.io.restart();
    f.io.run();
    all = seconds();
    ::kill(pid, SIGCONT);
    CHECK(first < 1.0);
    CHECK(all >= 1.9);  // the loser's connection was given up at its bound
    const auto p = f.db.connections();
    CHECK(p.lost == 1);
    CHECK(all_returned(p));
    CHECK(f.db.policy<strata::circuit_breaker<>>().snapshot().failures == 0);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 0);
    f.check_all();
}
