// Rows in bulk, in and out: exact in every form, all or nothing, in bounded memory, and ended by time or by will.
#include "fixture.hpp"

#include <strata/copy.hpp>
#include <strata/value/array.hpp>
#include <strata/value/chrono.hpp>
#include <strata/value/decimal.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <thread>

using namespace strata_test;

namespace {

struct thing {
    std::int64_t id = 0;
    std::optional<std::int32_t> count;
    std::int16_t small = 0;
    std::string name;
    std::optional<std::string> note;
    double weight = 0;
    float ratio = 0;
    bool good = false;
    strata::blob bytes;
    std::chrono::sys_time<std::chrono::microseconds> at;
};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(thing, id, count, small, name, note, weight, ratio, good, bytes, at);
template <>
struct strata::mapping<thing> {
    static constexpr std::string_view table = "Things";
    static constexpr strata::renamed columns[] = {{.member = "name", .column = "full \"name\""}};
};

namespace {

constexpr auto create_things =
    "create table \"Things\" (at timestamptz, id bigint primary key, count int, small smallint, \"full \"\"name\"\"\" text, note varchar, "
    "weight float8, ratio float4, good boolean, bytes bytea, extra int default 7)"_sql;

std::string random_text(std::mt19937& random) {
    static const std::string pieces[] = {"a", "\\", "\\N", "\t", "\n", "\r", ",", "\"", "\\.", "ä", "日", "'", " ", "{}", "\b"};
    std::string s;
    for (auto n = random() % 8; n > 0; --n) s += pieces[random() % std::size(pieces)];
    return s;
}

std::vector<thing> random_things(std::size_t n, std::mt19937& random) {
    std::vector<thing> all(n);
    std::int64_t id = 0;
    for (thing& t : all) {
        t.id = ++id;
        if (random() % 4 != 0) t.count = static_cast<std::int32_t>(random());
        t.small = static_cast<std::int16_t>(random());
        t.name = random_text(random);
        if (random() % 3 != 0) t.note = random_text(random);
        t.weight = random() % 9 == 0 ? std::numeric_limits<double>::infinity()
                                     : std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 100);
        t.ratio = static_cast<float>(random()) / 7;
        t.good = random() % 2 == 0;
        t.bytes.resize(random() % 20);
        for (std::byte& b : t.bytes) b = static_cast<std::byte>(random());
        t.at = std::chrono::sys_time<std::chrono::microseconds>{std::chrono::microseconds{
            static_cast<std::int64_t>(random()) * 1'000'000 - 3'000'000'000'000'000 + static_cast<std::int64_t>(random() % 1000)}};
    }
    return all;
}

/// The first difference; empty when there is none.
std::string difference(const std::vector<thing>& a, const std::vector<thing>& b) {
    if (a.size() != b.size()) return "size";
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::string names;
        strata::for_each_member(a[i], [&, at = 0u](std::string_view name, const auto& mine) mutable {
            unsigned n = 0;
            strata::for_each_member(b[i], [&](std::string_view, const auto& yours) {
                if constexpr (std::is_same_v<decltype(mine), decltype(yours)>)
                    if (n == at && mine != yours) names += std::to_string(i) + "." + std::string{name} + " ";
                ++n;
            });
            ++at;
        });
        if (!names.empty()) return names;
    }
    return {};
}

long resident_kilobytes() {
    std::ifstream status{"/proc/self/status"};
    for (std::string word; status >> word;)
        if (word == "VmRSS:") {
            long n = 0;
            status >> n;
            return n;
        }
    return 0;
}

/// So many rows, made as they are read.
struct some {
    struct iterator {
        using value_type = std::tuple<std::int64_t, std::string>;
        using difference_type = std::ptrdiff_t;
        std::int64_t at = 0;
        value_type operator*() const { return {at, std::string(90, 'x')}; }
        iterator& operator++() { return ++at, *this; }
        iterator operator++(int) { return {at++}; }
        bool operator==(const iterator&) const = default;
    };
    std::int64_t n = 0;
    iterator begin() const { return {}; }
    iterator end() const { return {n}; }
};

/// Accounts without an end.
struct endless {
    struct iterator {
        using value_type = account;
        using difference_type = std::ptrdiff_t;
        std::int64_t at = 0;
        account operator*() const { return {at, "o", 1}; }
        iterator& operator++() { return ++at, *this; }
        iterator operator++(int) { return {at++}; }
        bool operator==(const iterator& o) const { return at == o.at; }
    };
    iterator begin() const { return {}; }
    iterator end() const { return {-1}; }
};

std::int64_t accounts(bank<>& b) {
    return b.db.one<std::int64_t>("select count(*) from account"_sql());
}

}  // namespace

TEST_CASE("random rows come back as they went in", "[postgres][copy]") {
    bank<> b{0, 1};
    b.db.execute(create_things());
    std::mt19937 random{11};
    const auto format =
        GENERATE(strata::copy_format::automatic, strata::copy_format::binary, strata::copy_format::text, strata::copy_format::csv);
    for (int round = 0; round < strata_test::count(3, 30); ++round) {
        b.db.execute("truncate \"Things\""_sql());
        const std::vector<thing> in = random_things(random() % 700, random);
        const strata::copied done = b.db.copy_in(strata::table_of<thing>(), in, {.format = format, .buffer = random() % 3000 + 1});
        CHECK(done.rows == static_cast<std::int64_t>(in.size()));
        std::vector<thing> out;
        const strata::copied read = b.db.copy_out<thing>(strata::table_of<thing>(), [&](const thing& t) { out.push_back(t); });
        CHECK(read.rows == done.rows);
        std::sort(out.begin(), out.end(), [](const thing& x, const thing& y) { return x.id < y.id; });  // a table has no order
        CHECK(difference(out, in) == "");
        CHECK(difference(b.db.all<thing>("select * from \"Things\" order by id"_sql()), in) == "");
    }
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("tuples, chosen columns and queries", "[postgres][copy]") {
    bank<> b{0, 1};
    using row = std::tuple<std::int64_t, std::string, std::int64_t>;
    CHECK(b.db.copy_in("account", std::vector<row>{{1, "a", 10}, {2, "b", 20}}).rows == 2);
    CHECK(b.db.copy_in(strata::copy_table{"account", {"owner", "balance", "id"}}, std::vector{std::tuple{"c", 30, 3}}).rows == 1);
    const std::vector<account> in{{4, "d", 40}, {5, "e", 50}};
    b.db.copy_in("account", in);
    std::int64_t sum = 0;
    b.db.copy_out<std::pair<std::int64_t, std::string_view>>(
        "select balance, owner from account where id > 1 -- a comment"_sql,
        [&](const auto& p) { sum += p.first + static_cast<std::int64_t>(p.second.size()); });
    CHECK(sum == 144);
    b.db.execute("create table part (id int generated always as identity, n int, s text default 'x', gone int)"_sql());
    b.db.execute("alter table part drop column gone"_sql());
    b.db.copy_in(strata::copy_table{"part", {"n"}}, std::vector{1, 2, 3});
    CHECK(b.db.all<std::string>("select id || ':' || n || s from part order by id"_sql()) ==
          std::vector<std::string>{"1:1x", "2:2x", "3:3x"});
    CHECK(b.db.try_copy_in("part", std::vector{1}).error().code() == errc::invalid_argument);
    CHECK(b.db.try_copy_in("nowhere", std::vector{1}).error().code() == errc::undefined_object);
    CHECK(b.db.try_copy_in("", std::vector{1}).error().code() == errc::invalid_argument);
    CHECK(b.db.try_copy_in(strata::copy_table{"account", {"id", "nobody"}}, in).error().code() == errc::missing_column);
    CHECK(b.db.try_copy_out<int>("delete from part returning n"_sql, [](int) {}).error().code() == errc::invalid_statement);
    // a name is only ever a name
    const strata::error odd = b.db.try_copy_in("account\"; drop table account; --", in).error();
    CHECK(odd.code() == errc::undefined_object);
    CHECK(accounts(b) == 5);
    // one database into another, row by row
    bank<> other{0, 1};
    CHECK(other.db.copy_in("account", b.db.rows<account>("select * from account"_sql)).rows == 5);
}

TEST_CASE("types without a binary form go as text by themselves, and are refused where binary is asked for", "[postgres][copy]") {
    bank<> b{0, 1};
    b.db.execute("create table price (id int, amount numeric, day date)"_sql());
    using row = std::tuple<int, std::optional<strata::decimal>, std::chrono::year_month_day>;
    using namespace std::chrono;
    const std::vector<row> in{{1, std::nullopt, 2024y / 2 / 29}, {2, strata::decimal{"-12345678901234567890.000000001"}, 1900y / 1 / 1}};
    CHECK(b.db.copy_in("price", in).rows == 2);
    std::vector<row> out;
    b.db.copy_out<row>("price", [&](const row& r) { out.push_back(r); });
    CHECK(out == in);
    b.db.execute("truncate price"_sql());
    const auto asked = b.db.try_copy_in("price", in, {.format = strata::copy_format::binary});
    if (asked) {  // all of them have one by now
        CHECK(asked->rows == 2);
    } else {
        CHECK(asked.error().code() == errc::unsupported);
        CHECK(asked.error().texts().detail.find("row ") != std::string::npos);
        CHECK(b.db.one<int>("select count(*)::int from price"_sql()) == 0);
    }
}

TEST_CASE("arrays, enums and domains in bulk", "[postgres][copy]") {
    bank<> b{0, 1};
    b.db.execute("create type mood as enum ('sad', 'ok')"_sql());
    b.db.execute("create domain small as int check (value < 100)"_sql());
    b.db.execute("create table kinds (id small, numbers bigint[], words text[], feeling mood, prices numeric[])"_sql());
    using row =
        std::tuple<int, std::vector<std::int64_t>, std::vector<std::optional<std::string>>, std::string, std::vector<strata::decimal>>;
    const std::vector<row> in{{1, {1, 2, 3}, {"a,b", std::nullopt, "{\"\\}"}, "sad", {strata::decimal{"1.50"}}}, {2, {}, {}, "ok", {}}};
    const auto format = GENERATE(strata::copy_format::automatic, strata::copy_format::text, strata::copy_format::csv);
    CHECK(b.db.copy_in("kinds", in, {.format = format}).rows == 2);
    std::vector<row> out;
    b.db.copy_out<row>("kinds", [&](const row& r) { out.push_back(r); });
    CHECK((out == in));
    const strata::copy_table some{"kinds", {"id", "numbers"}};
    using plain = std::tuple<int, std::vector<std::int64_t>>;
    CHECK(b.db.copy_in(some, std::vector<plain>{{3, {4, 5}}}, {.format = strata::copy_format::binary}).rows == 1);
    CHECK(b.db.one<std::string>("select numbers::text from kinds where id = 3"_sql()) == "{4,5}");
    CHECK(b.db.try_copy_in(some, std::vector<plain>{{100, {}}}).error().code() == errc::check_violation);
}

TEST_CASE("a row that fails is named and leaves nothing", "[postgres][copy][error]") {
    bank<> b{0, 1};
    const auto format = GENERATE(strata::copy_format::binary, strata::copy_format::text, strata::copy_format::csv);
    constexpr std::size_t rows = 20'000;
    std::vector<account> all(rows);
    for (std::size_t i = 0; i < rows; ++i) all[i] = {static_cast<std::int64_t>(i), "o", 1};
    for (const std::size_t wrong : {std::size_t{1}, std::size_t{4999}, rows - 1}) {
        auto bad = all;
        bad[wrong].id = 0;  // once more
        const strata::error twice = b.db.try_copy_in("account", bad, {.format = format}).error();
        CHECK(twice.code() == errc::unique_violation);
        CHECK(twice.texts().constraint == "account_pkey");
        CHECK(twice.effect() == strata::effect::rolled_back);
        CHECK(twice.texts().detail.find("row " + std::to_string(wrong) + " of the copy") != std::string::npos);
        CHECK(accounts(b) == 0);

        bad = all;
        bad[wrong].owner = std::string("a\0b", 3);
        const strata::error nul = b.db.try_copy_in("account", bad, {.format = format}).error();
        CHECK(nul.code() == errc::invalid_argument);
        CHECK(nul.texts().column == "owner");
        CHECK(nul.texts().detail.find("row " + std::to_string(wrong) + " of the copy") != std::string::npos);
        CHECK(nul.effect() == strata::effect::rolled_back);
        CHECK(accounts(b) == 0);
    }
    const auto range = b.db.try_copy_in("account", std::vector{std::tuple{1, "a", 5.5}}, {.format = strata::copy_format::binary});
    CHECK(range.error().code() == errc::type_mismatch);
    CHECK(b.db.copy_in("account", all, {.format = format}).rows == rows);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("a copy within a transaction is part of it, and only it is undone when it fails", "[postgres][copy]") {
    bank<> b{0, 1};
    const std::vector<account> two{{1, "a", 1}, {2, "b", 1}};
    b.db.transaction([&](auto& tx) {
        tx.execute(insert_account(9, "i", 1));
        tx.copy_in("account", two);
        const auto again = tx.try_copy_in("account", two);
        CHECK(again.error().code() == errc::unique_violation);
        int seen = 0;
        CHECK_THROWS_AS(tx.template copy_out<account>("account",
                                                      [&](const account&) {
                                                          if (++seen == 2) throw std::runtime_error("enough");
                                                      }),
                        std::runtime_error);
        CHECK(tx.template one<int>("select count(*)::int from account"_sql()) == 3);
    });
    CHECK(accounts(b) == 3);
    auto tx = b.db.begin();
    tx.copy_in("account", std::vector<account>{{3, "c", 1}});
    tx.rollback();
    CHECK(accounts(b) == 3);
    auto session = b.db.session();
    CHECK(session.copy_in("account", std::vector<account>{{3, "c", 1}}).rows == 1);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("an exception of the caller's ends a copy", "[postgres][copy]") {
    bank<> b{0, 1};
    struct endless {
        std::int64_t at = 0;
        account operator*() const { return {at, "o", 1}; }
        endless& operator++() {
            if (++at == 100'000) throw std::runtime_error("enough");
            return *this;
        }
        void operator++(int) { ++*this; }
        bool operator==(std::default_sentinel_t) const { return false; }
    };
    struct source {
        endless begin() const { return {}; }
        std::default_sentinel_t end() const { return {}; }
    };
    CHECK_THROWS_AS(b.db.copy_in("account", source{}), std::runtime_error);
    CHECK(accounts(b) == 0);
    int told = 0;
    CHECK_THROWS_AS(b.db.copy_in("account", source{},
                                 {.progress =
                                      [&](const strata::copied& c) {
                                          CHECK(c.rows > 0);
                                          if (++told == 3) throw std::runtime_error("no more");
                                      }}),
                    std::runtime_error);
    CHECK(told == 3);
    CHECK(accounts(b) == 0);
    int seen = 0;
    CHECK_THROWS_AS(b.db.copy_out<std::int64_t>("select generate_series(1::int8, 1000000000)"_sql,
                                                [&](std::int64_t) {
                                                    if (++seen == 1000) throw std::runtime_error("enough");
                                                }),
                    std::runtime_error);
    CHECK(seen == 1000);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
    CHECK(b.db.connections().opened == 1);
}

TEST_CASE("what the server writes, to a stream, a file and a function", "[postgres][copy]") {
    bank<> b{2, 1};
    std::ostringstream text;
    CHECK(b.db.copy_to("select id, owner, null::int from account order by id"_sql, text).rows == 2);
    CHECK(text.str() == "1\towner-1\t\\N\n2\towner-2\t\\N\n");
    std::ostringstream csv;
    b.db.copy_to("account", csv, {.format = strata::copy_format::csv, .header = true});
    CHECK(csv.str() == "id,owner,balance\n1,owner-1,100\n2,owner-2,100\n");
    std::string bytes;
    b.db.copy_to("account", [&](std::string_view s) { bytes += s; }, {.format = strata::copy_format::binary});
    CHECK(bytes.substr(0, 6) == "PGCOPY");
    int pipes[2];
    REQUIRE(::pipe(pipes) == 0);
    const strata::copied done = b.db.copy_to("account", strata::file_descriptor{pipes[1]});
    char back[100];
    CHECK(::read(pipes[0], back, sizeof back) == done.bytes);
    ::close(pipes[0]);
    CHECK(b.db.try_copy_to("select generate_series(1, 100000)"_sql, strata::file_descriptor{-1}).error().code() == errc::io_error);
    ::close(pipes[1]);
    CHECK(b.db.one<int>("select 1"_sql()) == 1);
}

TEST_CASE("columns, each into a vector", "[postgres][copy]") {
    bank<> b{3, 2};
    std::vector<std::int64_t> ids{99};
    std::vector<std::optional<std::string>> owners{std::nullopt};
    const auto query = "select id, nullif(owner, 'owner-2') from account order by id"_sql;
    const strata::copied done = b.db.copy_out(query, std::tie(ids, owners));
    CHECK(done.rows == 3);
    CHECK(ids == std::vector<std::int64_t>{99, 1, 2, 3});
    CHECK(owners == std::vector<std::optional<std::string>>{std::nullopt, "owner-1", std::nullopt, "owner-3"});
    // After an error they are as before, also when it comes after rows.
    const auto late = "select i, (10 / (20000 - i))::text from generate_series(1::int8, 20001) i"_sql;
    CHECK(b.db.try_copy_out(late, std::tie(ids, owners)).error().code() == errc::invalid_argument);
    CHECK(ids.size() == 4);
    CHECK(owners.size() == 4);
    CHECK(b.db.try_copy_out(query, std::tie(ids)).error().code() == errc::type_mismatch);
    CHECK_THROWS_AS(b.db.copy_out(late, std::tie(ids, owners)), strata::failure);
    std::vector<int> wrong;
    CHECK(b.db.try_copy_out(query, std::tie(ids, wrong)).error().code() == errc::type_mismatch);
    CHECK(ids.size() == 4);
}

TEST_CASE("memory does not grow with the rows", "[postgres][copy][memory]") {
    bank<> b{0, 1};
    b.db.execute("create unlogged table much (id bigint, t text)"_sql());
    const int most = strata_test::count(20'000, 100'000);
    long before = 0;
    for (const int times : {1, 10, 100}) {
        const std::int64_t rows = std::int64_t{most} / 100 * times;
        b.db.execute("truncate much"_sql());
        CHECK(b.db.copy_in("much", some{rows}).rows == rows);
        std::int64_t seen = 0;
        b.db.copy_out<std::tuple<std::int64_t, std::string>>("much", [&](const auto&) { ++seen; });
        CHECK(seen == rows);
        if (times == 1) before = resident_kilobytes();
    }
#if !STRATA_TEST_SANITIZED  // which keep what was freed
    CHECK(resident_kilobytes() - before < 1024);
#else
    CHECK(resident_kilobytes() - before < 64 * 1024);
#endif
}

TEST_CASE("a server that takes nothing makes the copy wait, not grow; then its time is up", "[postgres][copy][time]") {
    bank<> b{0, 2};
    b.db.execute("insert into account values (1, 'a', 1)"_sql());
    auto other = b.in.admin().begin();
    const std::string schema = b.db.one<std::string>("select current_schema()::text"_sql());
    other.execute(strata::statement{"insert into " + schema + ".account values (7, 'locked', 1)"});
    std::vector<account> rows(200'000);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::int64_t>(i) + 2, std::string(50, 'o'), 1};
    std::int64_t sent = 0;
    const auto late = b.db.try_copy_in("account", rows, {.deadline = 300ms, .progress = [&](const strata::copied& c) { sent = c.bytes; }});
    CHECK(late.error().code() == errc::timeout);  // row 5 waits for the other transaction's end
    CHECK(late.error().effect() == strata::effect::rolled_back);
    CHECK(sent < 12'000'000);  // what sockets and server hold
    other.rollback();
    CHECK(accounts(b) == 1);
    CHECK(b.db.connections().opened <= 2);
    CHECK(b.db.copy_in("account", rows).rows == 200'000);
}

TEST_CASE("a deadline and a cancel end a copy, in and out", "[postgres][copy][time]") {
    bank<> b{0, 1};
    const auto in = b.db.try_copy_in("account", endless{}, {.deadline = 50ms});
    CHECK(in.error().code() == errc::timeout);
    CHECK(in.error().effect() == strata::effect::rolled_back);
    const auto out =
        b.db.try_copy_out<std::int64_t>("select generate_series(1::int8, 1000000000)"_sql, [](std::int64_t) {}, {.deadline = 50ms});
    CHECK(out.error().code() == errc::timeout);
    const auto silent = b.db.try_copy_out<std::string>("select pg_sleep(3600)::text"_sql, [](const std::string&) {}, {.deadline = 50ms});
    CHECK(silent.error().code() == errc::timeout);
    CHECK(accounts(b) == 0);
    CHECK(b.db.connections().opened == 1);
    std::thread closing;
    const auto stopped = b.db.try_copy_in("account", endless{}, {.progress = [&](const strata::copied&) {
                                              if (!closing.joinable()) closing = std::thread([&] { b.db.close(1ms); });
                                          }});
    closing.join();
    CHECK(stopped.error().code() == errc::cancelled);
}

TEST_CASE("a connection that dies under a copy", "[postgres][copy][fault]") {
    bank<strata::stack<strata::retry<>, strata::pool<>, strata::postgres>> b{0, 2, [](strata::postgres_options o) {
                                                                                 o.application_name = "strata-copy-victim";
                                                                                 return o;
                                                                             }};
    std::vector<account> rows(300'000);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = {static_cast<std::int64_t>(i), "o", 1};
    int attempts = 0;
    const auto died = b.db.try_copy_in("account", rows, {.progress = [&](const strata::copied& c) {
                                           if (c.rows > 100'000 && attempts++ == 0)
                                               b.in.admin().execute(
                                                   "select pg_terminate_backend(pid) from pg_stat_activity where application_name = "
                                                   "'strata-copy-victim' and query like 'copy%'"_sql());
                                       }});
    CHECK(died.value_or(strata::copied{}).rows == 300'000);  // rolled back by its death, so it was begun again
    CHECK(b.db.one<std::int64_t>("select count(*) from account"_sql()) == 300'000);
}
