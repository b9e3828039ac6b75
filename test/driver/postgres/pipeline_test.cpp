// Statements in one flight: each with its own result, whoever fails.
#include "fixture.hpp"

#include <strata/pipeline.hpp>

#include <numeric>
#include <random>
#include <thread>

using namespace strata_test;

namespace {

constexpr auto find = "select id, owner, balance from account where id = :id"_sql;
constexpr auto ids = "select id from account order by id"_sql;

std::vector<std::int64_t> up_to(std::int64_t n) {
    std::vector<std::int64_t> v(static_cast<std::size_t>(n));
    std::iota(v.begin(), v.end(), 1);
    return v;
}

strata::postgres_options without_prepare(strata::postgres_options o) {
    o.prepare = false;
    return o;
}
strata::postgres_options small_cache(strata::postgres_options o) {
    o.statement_cache = 2;
    return o;
}
using change_of_options = strata::postgres_options (*)(strata::postgres_options);

}  // namespace

TEST_CASE("a pipeline's results are a tuple", "[postgres][pipeline]") {
    auto* const change = GENERATE(static_cast<change_of_options>(nullptr), &without_prepare, &small_cache);
    bank<> b{3, 1, change};
    for (int again = 0; again < 2; ++again) {
        const auto [two, added, all, none] = b.db.pipeline(strata::one<account>(find(2)), add_balance(5, 1),
                                                           strata::all<std::int64_t>(ids()), strata::maybe_one<account>(find(99)));
        CHECK(two.owner == "owner-2");
        CHECK(added.affected == 1);
        CHECK(all == std::vector<std::int64_t>{1, 2, 3});
        CHECK(none == std::nullopt);
    }
    CHECK(b.balance_of(1) == 110);
    const auto [empty] = b.db.pipeline(strata::one_each<account>(find, std::vector<int>{}));
    CHECK(empty.empty());
    auto [found, sums] = b.db.pipeline({.deadline = 1h}, strata::one_each<account>(find, up_to(3)),
                                       strata::execute_each(add_balance, std::vector{std::tuple{1, 2}, std::tuple{1, 3}}));
    REQUIRE(found.size() == 3);
    for (std::int64_t i = 0; i < 3; ++i) CHECK(found[static_cast<std::size_t>(i)].id == i + 1);
    CHECK(sums.size() == 2);
    CHECK(b.balance_of(3) == 101);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a pipeline runs right behind a stream", "[postgres][pipeline]") {
    bank<> b{3, 1, nullptr};
    for (int again = 0; again < 3; ++again) {
        const auto [all, two] = b.db.pipeline(strata::all<std::int64_t>(ids()), strata::one<account>(find(2)));
        CHECK(all == std::vector<std::int64_t>{1, 2, 3});
        CHECK(two.owner == "owner-2");
        std::int64_t sum = 0;
        for (const std::int64_t id : b.db.rows<std::int64_t>(ids())) sum += id;
        CHECK(sum == 6);
    }
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a statement that fails, at each position, leaves the others' results right", "[postgres][pipeline]") {
    auto* const change = GENERATE(static_cast<change_of_options>(nullptr), &without_prepare, &small_cache);
    bank<> b{5, 1, change};
    constexpr auto divide = "select 100 / :by::int"_sql;
    for (std::size_t wrong = 0; wrong < 5; ++wrong) {
        CAPTURE(wrong);
        std::vector<int> by(5, 4);
        by[wrong] = 0;
        const auto before = b.balance_of(1);
        // reads, which share a Sync, and writes, which do not
        auto [reads, writes] =
            b.db.try_pipeline(strata::one_each<int>(divide, by),
                              strata::execute_each("update account set balance = balance + 100 / :by::int where id = 1"_sql, by));
        for (std::size_t i = 0; i < 5; ++i) {
            CAPTURE(i);
            CHECK(reads[i].has_error() == (i == wrong));
            CHECK(writes[i].has_error() == (i == wrong));
            if (i != wrong) {
                CHECK(*reads[i] == 25);
                CHECK(writes[i]->affected == 1);
            }
        }
        CHECK(reads[wrong].error().texts().native_code == "22012");
        CHECK(reads[wrong].error().texts().detail.find("statement " + std::to_string(wrong) + " of the pipeline") != std::string::npos);
        CHECK(writes[wrong].error().texts().detail.find("statement " + std::to_string(wrong + 5)) != std::string::npos);
        CHECK(writes[wrong].error().effect() == strata::effect::none);
        CHECK(b.balance_of(1) == before + 100);

        // more statements than a small cache holds, and one of them is sent again
        auto [a, c, d, e] = b.db.try_pipeline(strata::one<int>(divide(wrong == 0 ? 0 : 1)), strata::one<int>("select 1"_sql),
                                              strata::one<int>(divide(wrong == 1 ? 0 : 2)), strata::one<int>("select 2"_sql));
        CHECK(a.has_error() == (wrong == 0));
        CHECK(*c == 1);
        CHECK(d.has_error() == (wrong == 1));
        CHECK(*e == 2);

        auto tx = b.db.begin();
        const auto in_tx = tx.try_pipeline(strata::execute_each(add_balance, std::vector{std::tuple{1, 2}, std::tuple{1, 3}}),
                                           strata::one_each<int>(divide, by), strata::all<std::int64_t>(ids()));
        for (std::size_t i = 0; i < 5; ++i) {
            const auto& r = std::get<1>(in_tx)[i];
            if (i < wrong) CHECK(*r == 25);
            if (i == wrong) CHECK(r.error().texts().native_code == "22012");
            if (i > wrong) {
                CHECK(r.error().code() == errc::not_run);
                CHECK(r.error().effect() == strata::effect::none);
            }
        }
        CHECK(std::get<0>(in_tx)[1]->affected == 1);
        CHECK(std::get<2>(in_tx).error().code() == errc::not_run);
        tx.rollback();
        CHECK(b.balance_of(2) == 100);
    }
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("the form that throws names the first statement that failed", "[postgres][pipeline]") {
    bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{2, 1};
    try {
        b.db.pipeline(add_balance(1, 1), insert_account(1, "x", 1), add_balance(1, 2), insert_account(2, "x", 1));
        FAIL("it must throw");
    } catch (const strata::failure& f) {
        CHECK(f.code() == errc::unique_violation);
        CHECK(f.error().texts().statement == "insert into account values (:id, :owner, :balance)");
        CHECK(f.error().texts().detail.find("statement 1 of the pipeline") != std::string::npos);
        CHECK(f.error().effect() == strata::effect::unknown);  // of the whole: others were carried out
    }
    CHECK(b.balance_of(1) == 101);
    CHECK(b.balance_of(2) == 101);
    b.db.transaction([](auto& tx) {
        const auto [added, a] = tx.pipeline(add_balance(1, 1), strata::one<account>(find(1)));
        CHECK(added.affected == 1);
        CHECK(a.balance == 102);
    });
    CHECK(b.balance_of(1) == 102);
    auto session = b.db.session();
    CHECK(std::get<0>(session.pipeline(strata::one<int>("select 1"_sql))) == 1);
}

TEST_CASE("statements that cannot be sent end alone", "[postgres][pipeline]") {
    bank<> b{2, 1};
    strata::statement wrong{"select nothing from nowhere"};
    auto [a, syntax, column, range, c] =
        b.db.try_pipeline(strata::one<account>(find(1)), wrong, strata::one<account>("select id from account"_sql),
                          strata::one<int>("select :small::smallint"_sql(100000)), strata::one<account>(find(2)));
    CHECK(a->id == 1);
    CHECK(syntax.error().code() == errc::undefined_object);
    CHECK(column.error().code() == errc::missing_column);
    CHECK(range.error().code() == errc::out_of_range);
    CHECK(c->id == 2);
    const auto none = b.db.try_pipeline(strata::one<account>(find(9)), strata::one<account>("select * from account"_sql));
    CHECK(std::get<0>(none).error().code() == errc::no_rows);
    CHECK(std::get<1>(none).error().code() == errc::too_many_rows);
    auto tx = b.db.begin();
    const auto in_tx = tx.try_pipeline(add_balance(1, 1), strata::one<account>("select id from account"_sql), add_balance(1, 1));
    CHECK(std::get<0>(in_tx)->affected == 1);
    CHECK(std::get<1>(in_tx).error().code() == errc::missing_column);
    CHECK(std::get<2>(in_tx).error().code() == errc::not_run);
}

TEST_CASE("arguments that say their type, in a flight", "[postgres][pipeline]") {
    auto* const change = GENERATE(static_cast<change_of_options>(nullptr), &without_prepare);
    bank<> b{0, 1, change};
    constexpr auto kind = "select pg_typeof(:x)::text"_sql;
    for (int again = 0; again < 2; ++again) {
        const auto [json, number, text] = b.db.pipeline(strata::one<std::string>(kind("x"_arg.as("jsonb") = "[]")),
                                                        strata::one<std::string>(kind("x"_arg.as("int2") = 7)),
                                                        strata::one<std::string>("select :x::text"_sql("x"_arg = "t")));
        CHECK(json == "jsonb");
        CHECK(number == "smallint");
        CHECK(text == "t");
    }
}

TEST_CASE("a flight is longer than a round, and its results larger than what a socket takes", "[postgres][pipeline]") {
    bank<> b{0, 1};
    constexpr auto echo = "select :i::int, repeat('x', :n::int)"_sql;
    std::vector<std::tuple<int, int>> wanted;
    for (int i = 0; i < 3000; ++i) wanted.emplace_back(i, i % 7 == 0 ? 5000 : 10);
    const auto [rows] = b.db.pipeline(strata::one_each<std::tuple<int, std::string>>(echo, wanted));
    REQUIRE(rows.size() == wanted.size());
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if (std::get<0>(rows[i]) != static_cast<int>(i) || std::get<1>(rows[i]).size() != static_cast<std::size_t>(std::get<1>(wanted[i])))
            FAIL("row " << i);
    }
    const std::vector<std::string> large(40, std::string(200'000, 'y'));
    const auto [sizes] = b.db.pipeline(strata::one_each<std::string>("select :t::text"_sql, large));
    CHECK(sizes == large);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a statement whose plan is stale is prepared anew within the flight", "[postgres][pipeline]") {
    bank<> b{2, 1};
    constexpr auto any = "select * from account where id = :id"_sql;
    CHECK(std::get<0>(b.db.pipeline(strata::one_each<account>(any, up_to(2)))).size() == 2);
    b.in.admin().execute(strata::statement{"alter table " + b.db.one<std::string>("select current_schema()::text"_sql()) +
                                           ".account add more text default 'm'"});
    const auto [found, deallocated] = b.db.pipeline(strata::one_each<account>(any, up_to(2)), strata::one<int>("select 1"_sql));
    CHECK(found[1].owner == "owner-2");
    b.db.session().execute("deallocate all"_sql);
    const auto [once_more] = b.db.pipeline(strata::one_each<account>(any, up_to(2)));
    CHECK(once_more.size() == 2);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a deadline ends a flight, and the connection serves on", "[postgres][pipeline]") {
    bank<> b{1, 1};
    auto [quick, slow, never_run] =
        b.db.try_pipeline({.deadline = 50ms}, strata::one<int>("select 1"_sql), "select pg_sleep(3600)"_sql, "select pg_sleep(3600)"_sql);
    CHECK(*quick == 1);
    CHECK(slow.error().code() == errc::timeout);
    CHECK(never_run.has_error());
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    CHECK(b.db.connections().opened == 1);
    auto [late] = b.db.try_pipeline({.deadline = 1ns}, strata::one<int>("select 1"_sql));
    CHECK(late.error().code() == errc::timeout);
}

TEST_CASE("a connection that dies under a flight", "[postgres][pipeline][fault]") {
    bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{1, 1};
    constexpr auto die = "select pg_terminate_backend(pg_backend_pid())"_sql;
    auto [before, died, after] = b.db.try_pipeline(add_balance(1, 1), die, add_balance(1, 1));
    CHECK(before->affected == 1);
    CHECK(died.error().code() == errc::connection_lost);
    CHECK(after.error().code() == errc::connection_lost);
    CHECK(after.error().effect() == strata::effect::unknown);
    CHECK(b.balance_of(1) == 101);  // and it was not repeated
}

TEST_CASE("random flights do what the same statements do one by one", "[postgres][pipeline]") {
    bank<> b{20, 1};
    std::mt19937 random{7};
    for (int round = 0; round < strata_test::count(20, 200); ++round) {
        std::vector<std::tuple<int, int>> amounts;
        std::vector<std::int64_t> balances(21);
        for (std::int64_t i = 1; i <= 20; ++i) balances[static_cast<std::size_t>(i)] = b.balance_of(i);
        for (int i = 0; i < 30; ++i) amounts.emplace_back(static_cast<int>(random() % 900) - 600, 1 + static_cast<int>(random() % 20));
        const auto [done] = b.db.try_pipeline(strata::execute_each(add_balance, amounts));
        for (std::size_t i = 0; i < amounts.size(); ++i) {
            const auto [amount, id] = amounts[i];
            std::int64_t& balance = balances[static_cast<std::size_t>(id)];
            const bool fits = balance + amount >= -1000;
            CHECK(done[i].has_value() == fits);
            if (!fits) CHECK(done[i].error().code() == errc::check_violation);
            if (fits) balance += amount;
        }
        for (std::int64_t i = 1; i <= 20; ++i) CHECK(b.balance_of(i) == balances[static_cast<std::size_t>(i)]);
    }
}
