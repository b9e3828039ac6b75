// Statements on a real server: errors, the prepared cache, cancels behind a fence, streams, and a connection that dies.
#include "fixture.hpp"

#include <strata/sql/statement.hpp>

#include <thread>

using namespace strata_test;

namespace {

/// Ends the server's side of every connection that has named itself so; the number of them.
int terminate(server& in, const std::string& application) {
    return in.admin().one<int>(
        "select count(pg_terminate_backend(pid))::int from pg_stat_activity where application_name = :name and pid <> pg_backend_pid()"_sql(
            application));
}

strata::postgres_options named(strata::postgres_options o) {
    o.application_name = "strata-victim";
    return o;
}

strata::postgres_options without_prepare(strata::postgres_options o) {
    o.prepare = false;
    return o;
}

strata::postgres_options small_cache(strata::postgres_options o) {
    o.statement_cache = 3;
    return o;
}

}  // namespace

TEST_CASE("the calls of a session on PostgreSQL", "[postgres][query]") {
    auto* const change = GENERATE(static_cast<strata::postgres_options (*)(strata::postgres_options)>(nullptr), &without_prepare);
    bank<> b{3, 4, change};
    CHECK(b.db.execute(insert_account("id"_arg = 10, "owner"_arg = "ten", "balance"_arg = 10)).affected == 1);
    CHECK(b.db.execute("update account set balance = balance + 1"_sql()).affected == 4);
    CHECK(b.db.execute("update account set balance = 0 where id = -1"_sql()).affected == 0);
    const account ten = b.db.one<account>("select id, owner, balance from account where id = :id"_sql(10));
    CHECK(ten.owner == "ten");
    CHECK(ten.balance == 11);
    CHECK(b.db.maybe_one<account>("select * from account where id = :id"_sql(99)) == std::nullopt);
    CHECK(b.db.all<std::int64_t>("select id from account order by id"_sql()) == std::vector<std::int64_t>{1, 2, 3, 10});
    CHECK(b.db.try_one<int>("select 1 where false"_sql()).error().code() == errc::no_rows);
    CHECK(b.db.try_one<std::int64_t>("select id from account"_sql()).error().code() == errc::too_many_rows);
    CHECK(b.db.one<std::int64_t>("insert into account values (11, 'e', 5) returning id"_sql()) == 11);

    strata::statement q{"select count(*) from account where id in (:ids...)"};
    q.set("ids"_arg = std::vector{1, 2, 11, 77});
    CHECK(b.db.one<std::int64_t>(q) == 3);

    CHECK(b.db.execute_many(insert_account, std::vector{std::tuple{20, "a", 1}, std::tuple{21, "b", 2}}).affected == 2);
    const auto many = b.db.try_execute_many(insert_account, std::vector{std::tuple{22, "a", 1}, std::tuple{20, "b", 2}});
    CHECK(many.error().code() == errc::unique_violation);
    CHECK(many.error().effect() == strata::effect::rolled_back);
    CHECK(b.db.maybe_one<std::int64_t>("select id from account where id = 22"_sql()) == std::nullopt);
}

TEST_CASE("errors name what the server names", "[postgres][error]") {
    bank<> b{2};
    const strata::error twice = b.db.try_execute(insert_account(1, "x", 1)).error();
    CHECK(twice.code() == errc::unique_violation);
    CHECK(twice.texts().constraint == "account_pkey");
    CHECK(twice.texts().table == "account");
    CHECK(twice.texts().native_code == "23505");
    CHECK(twice.effect() == strata::effect::none);
    const strata::error null = b.db.try_execute("insert into account values (5, null, 1)"_sql()).error();
    CHECK(null.code() == errc::not_null_violation);
    CHECK(null.texts().column == "owner");
    CHECK(b.db.try_execute(insert_account(5, "x", -5000)).error().code() == errc::check_violation);
    const strata::error missing = b.db.try_execute("select 'é', nothing from account"_sql()).error();
    CHECK(missing.code() == errc::undefined_object);
    CHECK(missing.texts().position == 13);  // bytes, not characters
    CHECK(b.db.try_execute("select 1 / 0"_sql()).error().code() == errc::invalid_argument);
    CHECK(b.db.try_execute("selec 1"_sql()).error().code() == errc::syntax_error);
    CHECK(b.db.try_execute(strata::statement{"select 1; select 2"}).error().code() == errc::invalid_statement);
    CHECK(b.db.connections().lost == 0);
}

TEST_CASE("each statement is prepared once a connection, and the number of them is bounded", "[postgres][cache]") {
    bank<> b{1, 1, &small_cache};
    const auto prepared = [&] { return b.db.one<std::int64_t>("select count(*) from pg_prepared_statements"_sql()); };
    for (int i = 0; i < 5; ++i) static_cast<void>(b.balance_of(1));
    const std::int64_t before = prepared();
    CHECK(before <= 3);
    for (int i = 0; i < 20; ++i) {
        const strata::statement q{"select " + std::to_string(i) + "::int"};
        CHECK(b.db.one<int>(q) == i);
    }
    CHECK(prepared() == 3);
    CHECK(b.balance_of(1) == 100);
    CHECK(b.db.one<std::int64_t>("select count(*) from pg_prepared_statements where statement like 'select balance%'"_sql()) == 1);
}

TEST_CASE("a statement that the server has forgotten, or whose result has changed, is prepared anew", "[postgres][cache]") {
    bank<> b{1, 1};
    constexpr auto everything = "select * from account where id = :id"_sql;
    CHECK(b.db.one<account>(everything(1)).balance == 100);
    b.db.execute("alter table account add column note text"_sql());
    CHECK(b.db.one<account>(everything(1)).balance == 100);
    auto session = b.db.session();
    session.execute("deallocate all"_sql());
    CHECK(session.one<account>(everything(1)).balance == 100);
}

TEST_CASE("a deadline cancels on the server, and the connection is used again behind the fence", "[postgres][cancel]") {
    bank<> b{1, 1};
    for (int i = 0; i < 20; ++i) {
        const auto late = b.db.try_one<std::string>("select pg_sleep(30)::text"_sql(), {.deadline = 5ms});
        REQUIRE(late.error().code() == errc::timeout);
        REQUIRE(b.db.one<int>("select 1"_sql()) == 1);  // never hit by the cancel of the statement before
    }
    CHECK(b.db.connections().opened == 1);
    CHECK(b.db.one<std::int64_t>(
              "select count(*) from pg_stat_activity where query like 'select pg_sleep(30)%' and state = 'active'"_sql()) == 0);
}

TEST_CASE("a cancel that comes as the statement ends hits nothing else", "[postgres][cancel]") {
    bank<> b{1, 1};
    int late = 0;
    for (int i = 0; i < 200; ++i) {
        const auto r = b.db.try_one<std::string>("select pg_sleep(0.001)::text"_sql(), {.deadline = std::chrono::microseconds{900 + i}});
        late += r.has_error() ? 1 : 0;
        if (r.has_error()) REQUIRE(r.error().code() == errc::timeout);
        REQUIRE(b.db.one<int>("select 1"_sql()) == 1);
    }
    INFO(late << " of 200 were late");
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a stream takes rows as they come, and may end early", "[postgres][stream]") {
    bank<> b{0, 1};
    std::int64_t sum = 0;
    for (const std::int64_t i : b.db.rows<std::int64_t>("select i from generate_series(1, 100000) i"_sql())) sum += i;
    CHECK(sum == 5'000'050'000);
    {
        auto endless = b.db.rows<std::int64_t>("select generate_series(1::int8, 1000000000)"_sql());
        CHECK(*endless.next() == 1);
        CHECK(*endless.next() == 2);
    }  // the server is told that nobody wants the rest
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    auto failing = b.db.rows<int>("select 10 / (5 - i) from generate_series(1, 10) i"_sql());
    for (int i = 1; i < 5; ++i) CHECK(failing.next() != nullptr);
    const auto end = failing.try_next();
    CHECK(end.error().code() == errc::invalid_argument);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    CHECK(b.db.connections().opened == 1);

    auto session = b.db.session();
    auto rows = session.rows<int>("select i from generate_series(1, 3) i"_sql());
    CHECK(*rows.next() == 1);
    CHECK(session.try_one<int>("select 1"_sql()).error().code() == errc::misuse);  // the connection is taken
    CHECK(*rows.next() == 2);
    CHECK(*rows.next() == 3);
    CHECK(rows.next() == nullptr);
    CHECK(session.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("a connection that the server ends is an error with a true effect, and is replaced", "[postgres][fault]") {
    bank<> b{2, 2, &named};
    SECTION("while it was idle") {
        CHECK(terminate(b.in, "strata-victim") == 1);
        const auto r = b.db.try_one<int>("select 1"_sql());
        CHECK((r || r.error().code() == errc::connection_lost));
        CHECK(b.db.one<int>("select 1"_sql()) == 1);
    }
    SECTION("in the middle of a statement") {
        std::thread killer([&] {
            while (terminate(b.in, "strata-victim") == 0 ||
                   b.in.admin().one<int>("select count(*)::int from pg_stat_activity where application_name = 'strata-victim'"_sql()) != 0)
                std::this_thread::yield();
        });
        const strata::error e = b.db.try_execute("select pg_sleep(60)"_sql()).error();
        killer.join();
        CHECK(e.code() == errc::connection_lost);
        CHECK(e.health() == strata::health::all_lost);  // 57P01
        CHECK(b.db.one<int>("select 1"_sql()) == 1);
    }
    SECTION("in the middle of a transaction, which the server then rolls back") {
        const auto r = b.db.try_transaction([&](auto& tx) {
            tx.execute(add_balance(50, 1));
            terminate(b.in, "strata-victim");
            tx.execute(add_balance(50, 2));
        });
        CHECK(r.error().code() == errc::connection_lost);
        CHECK(r.error().effect() == strata::effect::rolled_back);
        CHECK(b.balance_of(1) == 100);
        CHECK(b.balance_of(2) == 100);
    }
    SECTION("before COMMIT is answered: nobody knows") {
        const auto r = b.db.try_transaction([&](auto& tx) {
            tx.execute(add_balance(50, 1));
            terminate(b.in, "strata-victim");
        });
        CHECK(r.error().code() == errc::outcome_unknown);
        CHECK(r.error().effect() == strata::effect::unknown);
    }
    CHECK(b.db.connections().lost >= 1);
}

TEST_CASE("transactions: commit, rollback, savepoints, conflicts and a COMMIT that is none", "[postgres][transaction]") {
    bank<strata::stack<strata::metrics<>, strata::retry<>, strata::pool<>, strata::postgres>> b{3};
    const int value = b.db.transaction([](auto& tx) {
        tx.execute(add_balance(-10, 1));
        tx.execute(add_balance(+10, 2));
        const auto inner = tx.try_transaction([](auto& in) { in.execute(add_balance(-100000, 3)); });
        CHECK(inner.error().code() == errc::check_violation);
        CHECK(inner.error().effect() == strata::effect::rolled_back);
        return 7;
    });
    CHECK(value == 7);
    CHECK(b.balance_of(1) == 90);
    CHECK(b.balance_of(3) == 100);
    CHECK_THROWS_AS(b.db.transaction([](auto& tx) {
        tx.execute(add_balance(-10, 1));
        throw std::runtime_error("no");
    }),
                    std::runtime_error);
    CHECK(b.balance_of(1) == 90);

    const auto swallowed = b.db.try_transaction([](auto& tx) {
        tx.execute(add_balance(-10, 1));
        CHECK(tx.try_execute("select 1 / 0"_sql()).has_error());
        CHECK(tx.try_execute(add_balance(1, 2)).error().code() == errc::transaction_aborted);
    });
    CHECK(swallowed.error().code() == errc::commit_rolled_back);
    CHECK(swallowed.error().effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 90);

    CHECK(b.db.try_transaction([](auto& tx) { tx.execute(add_balance(1, 1)); }, {.read_only = true}).error().code() == errc::read_only);

    // Two serializable transactions that read what the other writes: one of them is run again, as a whole.
    int runs = 0;
    b.db.transaction(
        [&](auto& tx) {
            ++runs;
            const auto sum = tx.template one<std::int64_t>("select sum(balance)::int8 from account"_sql());
            if (runs == 1) {
                b.db.transaction(
                    [&](auto& other) {
                        const auto all = other.template one<std::int64_t>("select sum(balance)::int8 from account"_sql());
                        other.execute("update account set balance = :all where id = 2"_sql(all));
                    },
                    {.isolation = strata::isolation::serializable});
            }
            tx.execute("update account set balance = :sum where id = 3"_sql(sum));
        },
        {.isolation = strata::isolation::serializable});
    CHECK(runs == 2);
    auto held = b.db.begin();
    held.execute(add_balance(5, 1));
    held.commit();
    CHECK(b.balance_of(1) == 95);
}

TEST_CASE("a retrying stack survives the loss of its connections", "[postgres][fault]") {
    bank<strata::stack<strata::retry<>, strata::circuit_breaker<>, strata::pool<>, strata::postgres>> b{4, 4, &named};
    std::atomic<bool> stop{false};
    std::atomic<int> done{0}, unknown{0};
    std::thread killer([&] {
        for (int i = 0; i < 10; ++i) {
            terminate(b.in, "strata-victim");
            std::this_thread::sleep_for(5ms);
        }
        while (done == 0) std::this_thread::sleep_for(1ms);  // they recover
        stop = true;
    });
    std::vector<std::thread> crowd;
    for (int t = 0; t < 3; ++t) {
        crowd.emplace_back([&, t] {
            while (!stop) {
                const auto r = b.db.try_transaction([&](auto& tx) {
                    tx.execute(add_balance(-1, 1 + t));
                    tx.execute(add_balance(+1, 4));
                });
                if (r)
                    ++done;
                else if (r.error().effect() == strata::effect::unknown)
                    ++unknown;
            }
        });
    }
    killer.join();
    for (std::thread& t : crowd) t.join();
    CHECK(done > 0);
    CHECK(b.in.admin().one<int>(strata::statement{"select 1"}) == 1);
    strata::database<plain_stack> look{b.in.options(), server::one()};  // the breaker may be open still
    CHECK(look.one<std::int64_t>("select sum(balance)::int8 from account"_sql()) == 400);
    const auto moved = look.one<std::int64_t>("select balance from account where id = 4"_sql()) - 100;
    CHECK(moved >= done);
    CHECK(moved <= done + unknown);
}
