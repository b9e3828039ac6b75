#include "fixture.hpp"

#include <strata/sql/statement.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <thread>
#include <tuple>
#include <vector>

namespace sqlite_query_test {
struct account {
    std::int64_t id;
    std::string owner;
    std::int64_t balance;
    std::int64_t version;
};
struct named {
    std::string b;
};
struct token {};       // its codec writes nothing
}  // namespace sqlite_query_test
BOOST_HANA_ADAPT_STRUCT(sqlite_query_test::account, id, owner, balance, version);
BOOST_HANA_ADAPT_STRUCT(sqlite_query_test::named, b);

template <>
struct strata::codec<sqlite_query_test::token> {
    static constexpr std::string_view name = "token";
    template <parameter_writer W>
    static errc write(W&, const sqlite_query_test::token&) {
        return errc::ok;
    }
};

using namespace strata;
using namespace strata::literals;
using namespace std::chrono_literals;
using sqlite_query_test::account;
using sqlite_query_test::named;
using strata_test::contains_text;
using strata_test::run;
using strata_test::scalar;
using strata_test::temp_folder;

namespace {

struct end_of_query {
    error failure;
    std::int64_t affected = 0;
    std::int64_t last_id = 0;
};

template <class Statement, class Sink>
end_of_query drive(sqlite_connection& c, const Statement& statement, Sink& sink) {
    decltype(auto) bound = detail::as_bound(statement);
    using query = sqlite_connection::query<std::remove_cvref_t<decltype(bound)>, Sink>;
    query q{c, bound, sink};
    const signal s = q.resume();
    REQUIRE((s == signal::done || s == signal::failed));
    REQUIRE((s == signal::failed) == static_cast<bool>(q.failure()));
    return {std::move(q.failure()), q.affected(), q.last_id()};
}

template <class Statement>
end_of_query execute(sqlite_connection& c, const Statement& statement) {
    discard_sink sink;
    end_of_query end = drive(c, statement, sink);
    INFO(end.failure.to_string());
    REQUIRE_FALSE(end.failure);
    return end;
}

template <class Statement>
error refused(sqlite_connection& c, const Statement& statement) {
    discard_sink sink;
    end_of_query end = drive(c, statement, sink);
    REQUIRE(end.failure);
    return std::move(end.failure);
}

template <class T, class Statement>
T one(sqlite_connection& c, const Statement& statement) {
    one_sink<T> sink;
    const end_of_query end = drive(c, statement, sink);
    INFO(end.failure.to_string());
    REQUIRE_FALSE(end.failure);
    return std::move(sink).take();
}

template <class T, class Statement>
error one_fails(sqlite_connection& c, const Statement& statement) {
    one_sink<T> sink;
    end_of_query end = drive(c, statement, sink);
    REQUIRE(end.failure);
    return std::move(end.failure);
}

template <class T, class Statement>
std::vector<T> all(sqlite_connection& c, const Statement& statement) {
    all_sink<T> sink;
    const end_of_query end = drive(c, statement, sink);
    INFO(end.failure.to_string());
    REQUIRE_FALSE(end.failure);
    return std::move(sink).take();
}

constexpr auto find = "select id, owner, balance, version from account where id = :id"_sql;
constexpr auto endless_insert =
    "insert into account(owner) with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"_sql;
constexpr auto endless_count = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"_sql;

struct query_fixture {
    query_fixture() {
        strata_test::open(c, {.path = folder.file("a.db")});
        run(c, "create table account(id integer primary key, owner text, balance int, version int)");
        run(c, "insert into account values (7, 'Ada', 100, 1), (8, 'Grace', -5, 2)");
    }
    const temp_folder folder;
    sqlite_connection c;
};

}  // namespace

TEST_CASE_METHOD(query_fixture, "rows are read into structs by name", "[sqlite][query]") {
    static_assert(row_reader<sqlite_row> && column_reader<sqlite_column> && parameter_writer<sqlite_writer>);
    for (int i = 0; i < 3; ++i) {
        const account a = one<account>(c, find(7));
        CHECK(a.id == 7);
        CHECK(a.owner == "Ada");
        CHECK(a.balance == 100);
        CHECK(a.version == 1);
        CHECK(one<account>(c, find("id"_arg = 8)).owner == "Grace");
    }
    CHECK(all<account>(c, "select * from account order by id"_sql).size() == 2);
}

TEST_CASE_METHOD(query_fixture, "how many rows there are matters to a sink", "[sqlite][query]") {
    const error none = one_fails<account>(c, find(9));
    CHECK(none.code() == errc::no_rows);
    CHECK(none.effect() == effect::none);
    CHECK(none.phase() == phase::result);
    CHECK_THAT(none.texts().statement, contains_text("select id"));
    CHECK(one_fails<std::int64_t>(c, "select id from account"_sql).code() == errc::too_many_rows);

    // A write that went well but whose rows do not fit has happened.
    const error many = one_fails<std::int64_t>(c, "update account set version = version + 1 returning version"_sql);
    CHECK(many.code() == errc::too_many_rows);
    CHECK(many.effect() == effect::applied);
    CHECK(one<std::int64_t>(c, "select sum(version) from account"_sql) == 5);
    const error unread = one_fails<std::int64_t>(c, "update account set version = 9 where id = 7 returning owner"_sql);
    CHECK(unread.code() == errc::type_mismatch);
    CHECK(unread.effect() == effect::applied);
    CHECK(one_fails<std::int64_t>(c, "update account set version = 9 where id = 99 returning id"_sql).effect() == effect::none);
    CHECK(one_fails<std::int64_t>(c, "update account set version = 9"_sql).effect() == effect::applied);
    CHECK(one<std::int64_t>(c, "select min(version) from account"_sql) == 9);
}

TEST_CASE_METHOD(query_fixture, "a row type that does not fit fails on an empty table too", "[sqlite][query]") {
    run(c, "delete from account");
    const error e = one_fails<named>(c, "select id from account"_sql);
    CHECK(e.code() == errc::missing_column);
    all_sink<named> sink;
    CHECK(drive(c, "select id from account"_sql, sink).failure.code() == errc::missing_column);
    all_sink<std::tuple<int, int>> pairs;
    CHECK(drive(c, "select id from account"_sql, pairs).failure);
}

TEST_CASE("what is written is read again", "[sqlite][query][value]") {
    sqlite_connection c;
    strata_test::open(c, {.path = ":memory:"});
    constexpr auto integer = "select :v"_sql;

    SECTION("integers") {
        for (const std::int64_t v : {std::numeric_limits<std::int64_t>::min(), std::int64_t{-1}, std::int64_t{0},
                                     std::numeric_limits<std::int64_t>::max()}) {
            CHECK(one<std::int64_t>(c, integer(v)) == v);
        }
        CHECK(one_fails<std::int8_t>(c, integer(300)).code() == errc::out_of_range);
        CHECK(one<bool>(c, integer(true)));
    }
    SECTION("reals, but no NaN") {
        CHECK(one<double>(c, integer(0.1)) == 0.1);
        CHECK(one<double>(c, integer(std::numeric_limits<double>::infinity())) == std::numeric_limits<double>::infinity());
        const error e = one_fails<double>(c, integer(std::nan("")));
        CHECK(e.code() == errc::out_of_range);
        CHECK_THAT(e.message(), contains_text("argument 1 (:v) of type double"));
        CHECK(e.effect() == effect::none);
    }
    SECTION("texts, also empty and with NUL characters") {
        using namespace std::string_literals;
        for (const std::string& v : {""s, "a"s, "a\0b"s, "\0"s, std::string(100'000, 'x'), "\xc3\xa4\xe2\x82\xac"s}) {
            CHECK(one<std::string>(c, integer(v)) == v);
            CHECK(one<std::string>(c, "select typeof(:v)"_sql(v)) == "text");
        }
        CHECK(one<std::string>(c, integer(std::string_view{})) == "");
        CHECK(one<std::string>(c, integer("literal")) == "literal");
    }
    SECTION("blobs, also empty") {
        CHECK(one<blob>(c, integer(blob{std::byte{1}, std::byte{0}})) == blob{std::byte{1}, std::byte{0}});
        CHECK(one<blob>(c, integer(blob{})).empty());
        CHECK(one<std::string>(c, "select typeof(:v)"_sql(blob{})) == "blob");
    }
    SECTION("null") {
        CHECK_FALSE(one<std::optional<int>>(c, integer(std::optional<int>{})));
        CHECK(one<std::optional<int>>(c, integer(std::optional<int>{4})) == 4);
        CHECK(one_fails<int>(c, integer(std::nullopt)).code() == errc::null_value);
    }
    SECTION("each parameter meets its own argument, also when it occurs twice") {
        const auto row = one<std::tuple<int, std::string, int>>(c, "select :a, :b, :a"_sql("b"_arg = "x", "a"_arg = 3));
        CHECK(row == std::tuple{3, std::string{"x"}, 3});
    }
    SECTION("a codec must write exactly once") {
        const error e = one_fails<int>(c, "select :a, :b"_sql(1, sqlite_query_test::token{}));
        CHECK(e.code() == errc::misuse);
        CHECK_THAT(e.message(), contains_text("argument 2 (:b) of type token"));
    }
}

TEST_CASE_METHOD(query_fixture, "texts are bound without a copy and let go after the call", "[sqlite][query]") {
    constexpr auto text = "select :v"_sql;
    {
        const std::string gone(1000, 'q');
        CHECK(one<std::string>(c, text(gone)) == gone);
    }
    // The statement in the cache does not point to what is gone: SQLite would read it here.
    ::sqlite3_stmt* kept = nullptr;
    while ((kept = ::sqlite3_next_stmt(c.native_handle(), kept)) != nullptr) {
        if (std::string_view{::sqlite3_sql(kept)} != "select ?1") continue;
        char* const shown = ::sqlite3_expanded_sql(kept);
        CHECK(std::string_view{shown} == "select NULL");
        ::sqlite3_free(shown);
        break;
    }
    CHECK(kept != nullptr);
}

TEST_CASE_METHOD(query_fixture, "affected rows and last id", "[sqlite][query]") {
    constexpr auto insert = "insert into account(owner) values (:owner)"_sql;
    const end_of_query first = execute(c, insert("Alan"));
    CHECK(first.affected == 1);
    CHECK(first.last_id == 9);
    const end_of_query both = execute(c, "update account set balance = 0 where id < 9"_sql);
    CHECK(both.affected == 2);
    CHECK(both.last_id == 0);
    CHECK(execute(c, "delete from account where id = 99"_sql).affected == 0);
    const end_of_query ignored = execute(c, "insert or ignore into account(id) values (7)"_sql);
    CHECK(ignored.affected == 0);
    CHECK(ignored.last_id == 0);
    const end_of_query with = execute(c, "with n as (select 50 as id) insert into account(id) select id from n"_sql);
    CHECK(with.affected == 1);
    CHECK(with.last_id == 50);
    const end_of_query returning = execute(c, "insert into account(owner) values ('a'), ('b') returning id"_sql);
    CHECK(returning.affected == 2);
    CHECK(returning.last_id == 52);

    // What changes no rows does not repeat the number of an earlier statement.
    CHECK(execute(c, "create table other(a)"_sql).affected == 0);
    CHECK(execute(c, find(7)).affected == 0);
    CHECK(execute(c, "pragma user_version = 3"_sql).affected == 0);
    CHECK(execute(c, "drop table other"_sql).affected == 0);
}

TEST_CASE_METHOD(query_fixture, "failures carry statement, position and effect", "[sqlite][query][error]") {
    const error unique = refused(c, "insert into account(id) values (:id)"_sql(7));
    CHECK(unique.code() == errc::unique_violation);
    CHECK(unique.texts().column == "id");
    CHECK(unique.texts().statement == "insert into account(id) values (:id)");
    CHECK(unique.effect() == effect::none);

    const error missing = refused(c, "select :first, :second, no_column from account"_sql(1, 2));
    CHECK(missing.code() == errc::undefined_object);
    CHECK(missing.phase() == phase::prepare);
    CHECK(missing.texts().position == 24);

    SECTION("a failure in a transaction leaves it open") {
        run(c, "begin");
        CHECK(refused(c, "insert into account(id) values (7)"_sql).effect() == effect::none);
        CHECK(c.in_transaction());
        run(c, "commit");
    }
    SECTION("or fail keeps what was inserted before") {
        const error e = refused(c, "insert or fail into account(id) values (20), (7), (21)"_sql);
        CHECK(e.code() == errc::unique_violation);
        CHECK(e.effect() == effect::applied);
        CHECK(one<int>(c, "select count(*) from account"_sql) == 3);
        CHECK(refused(c, "insert or fail into account(id) values (7)"_sql).effect() == effect::none);
    }
    SECTION("or rollback") {
        run(c, "begin");
        CHECK(refused(c, "insert or rollback into account(id) values (7)"_sql).effect() == effect::rolled_back);
        CHECK_FALSE(c.in_transaction());
    }
}

TEST_CASE_METHOD(query_fixture, "the deadline and the caller end a running statement", "[sqlite][query][interrupt]") {
    interruption i;
    c.guard(&i);
    SECTION("a read at its deadline") {
        i.deadline = clock::now() + 20ms;
        const error e = refused(c, endless_count);
        CHECK(e.code() == errc::timeout);
        CHECK(e.effect() == effect::none);
        CHECK(e.health() == health::good);
    }
    SECTION("a write outside a transaction is undone") {
        i.deadline = clock::now() + 20ms;
        const error e = refused(c, endless_insert);
        CHECK(e.code() == errc::timeout);
        CHECK(e.effect() == effect::none);
        c.guard(nullptr);
        CHECK(one<int>(c, "select count(*) from account"_sql) == 2);
    }
    SECTION("a write in a transaction rolls it back, which SQLite does by itself") {
        run(c, "begin");
        run(c, "insert into account(id) values (30)");
        i.deadline = clock::now() + 20ms;
        const error e = refused(c, endless_insert);
        CHECK(e.code() == errc::timeout);
        CHECK(e.effect() == effect::rolled_back);
        CHECK_FALSE(c.in_transaction());
    }
    SECTION("cancelled from another thread") {
        std::thread other{[&] {
            std::this_thread::sleep_for(20ms);
            i.cancelled.store(true);
        }};
        const error e = refused(c, endless_count);
        other.join();
        CHECK(e.code() == errc::cancelled);
    }
    c.guard(nullptr);
    CHECK(one<account>(c, find(7)).owner == "Ada");
}

TEST_CASE_METHOD(query_fixture, "a schema change is seen by prepared statements and their plans", "[sqlite][query]") {
    constexpr auto everything = "select * from moving"_sql;
    run(c, "create table moving(a, b)");
    run(c, "insert into moving values ('a', 'b')");
    constexpr auto by_name = "select a, b from moving"_sql;
    CHECK(one<named>(c, everything).b == "b");
    CHECK(one<named>(c, everything).b == "b");
    CHECK(one<named>(c, by_name).b == "b");

    sqlite_connection other;
    strata_test::open(other, {.path = folder.file("a.db")});
    run(other, "drop table moving");
    run(other, "create table moving(b, a)");  // the columns change places
    run(other, "insert into moving values ('B', 'A')");
    CHECK(one<named>(c, everything).b == "B");
    CHECK(one<named>(c, by_name).b == "B");
    run(c, "alter table moving rename column b to gone");
    CHECK(one_fails<named>(c, everything).code() == errc::missing_column);
    CHECK(one_fails<named>(c, everything).code() == errc::missing_column);
    run(c, "alter table moving rename column gone to b");
    CHECK(one<named>(c, everything).b == "B");
    run(c, "drop table moving");
    CHECK(one_fails<named>(c, everything).code() == errc::undefined_object);
}

TEST_CASE_METHOD(query_fixture, "one statement serves several row types", "[sqlite][query]") {
    constexpr auto ids = "select id from account where id = 7"_sql;
    for (int i = 0; i < 3; ++i) {
        CHECK(one<std::int64_t>(c, ids) == 7);
        CHECK(std::get<0>(one<std::tuple<int>>(c, ids)) == 7);
        execute(c, ids);
        CHECK(one_fails<named>(c, ids).code() == errc::missing_column);
    }
}

TEST_CASE_METHOD(query_fixture, "a query pauses between batches and can be given up", "[sqlite][query]") {
    run(c, "create table n(i)");
    run(c, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 10) insert into n select i from n");
    const auto statement = "select i from n order by i"_sql();
    using query = sqlite_connection::query<std::remove_cvref_t<decltype(statement)>, batch_sink<int>>;

    SECTION("batch after batch") {
        batch_sink<int> sink{4};
        query q{c, statement, sink};
        std::vector<std::size_t> sizes;
        int sum = 0;
        for (;;) {
            const signal s = q.resume();
            sizes.push_back(sink.batch().size());
            for (const int i : sink.batch()) sum += i;
            sink.clear();
            if (s == signal::done) break;
            REQUIRE(s == signal::item);
        }
        CHECK(sizes == std::vector<std::size_t>{4, 4, 2});
        CHECK(sum == 55);
    }
    SECTION("the same statement twice at once") {
        batch_sink<int> first{4};
        query q{c, statement, first};
        REQUIRE(q.resume() == signal::item);
        const std::size_t kept = c.cached_statements();
        CHECK(all<int>(c, statement).size() == 10);
        CHECK(c.cached_statements() == kept);
        first.clear();
        REQUIRE(q.resume() == signal::item);
        CHECK(first.batch().front() == 5);
    }
    SECTION("a query that is destroyed midway lets its statement go") {
        {
            batch_sink<int> sink{1};
            query q{c, statement, sink};
            REQUIRE(q.resume() == signal::item);
            CHECK(::sqlite3_stmt_busy(::sqlite3_next_stmt(c.native_handle(), nullptr)) != 0);
        }
        ::sqlite3_stmt* s = nullptr;
        while ((s = ::sqlite3_next_stmt(c.native_handle(), s)) != nullptr) CHECK(::sqlite3_stmt_busy(s) == 0);
        CHECK(all<int>(c, statement).size() == 10);
    }
    SECTION("a rollback under a running read") {
        run(c, "begin");
        run(c, "create table more(a)");
        batch_sink<int> sink{4};
        const auto unsorted = "select i from n"_sql();
        query q{c, unsorted, sink};
        REQUIRE(q.resume() == signal::item);
        run(c, "rollback");
        REQUIRE(q.resume() == signal::failed);
        CHECK(q.failure().code() == errc::transaction_aborted);
    }
    SECTION("a write that is given up after its first rows has happened") {
        {
            const auto write = "update n set i = i + 100 returning i"_sql();
            batch_sink<int> sink{2};
            sqlite_connection::query<std::remove_cvref_t<decltype(write)>, batch_sink<int>> q{c, write, sink};
            REQUIRE(q.resume() == signal::item);
        }
        CHECK(one<int>(c, "select min(i) from n"_sql) == 101);
    }
    SECTION("a stream outlives the closing of its connection") {
        batch_sink<int> sink{4};
        query q{c, statement, sink};
        REQUIRE(q.resume() == signal::item);
        c.close();
    }
}

TEST_CASE_METHOD(query_fixture, "an exception of a sink leaves the statement reset", "[sqlite][query]") {
    struct throwing_sink : discard_sink {
        static flow row(const sqlite_row&, const row_plan&, error&) { throw std::runtime_error{"mine"}; }
    };
    throwing_sink sink;
    const auto statement = find(7);
    bool thrown = false;
    try {
        sqlite_connection::query<std::remove_cvref_t<decltype(statement)>, throwing_sink> q{c, statement, sink};
        static_cast<void>(q.resume());
    } catch (const std::runtime_error&) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK(one<account>(c, find(7)).owner == "Ada");
}

TEST_CASE_METHOD(query_fixture, "a sink that has enough stops a statement", "[sqlite][query]") {
    struct first_sink : discard_sink {
        int rows = 0;
        flow row(const sqlite_row&, const row_plan&, error&) { return ++rows, flow::stop; }
    };
    first_sink sink;
    CHECK_FALSE(drive(c, "select id from account"_sql, sink).failure);
    CHECK(sink.rows == 1);
    const end_of_query write = drive(c, "update account set version = 7 returning id"_sql, sink);
    CHECK_FALSE(write.failure);
    CHECK(write.affected == 2);
    CHECK(one<int>(c, "select min(version) from account"_sql) == 7);
}

TEST_CASE_METHOD(query_fixture, "texts of several statements", "[sqlite][query][script]") {
    SECTION("run one after another; the rows of the last one count") {
        const auto script =
            "create table s(a); insert into s values (1), (2); ; insert into s values (3); select count(*) from s; -- end"_sql();
        one_sink<int> sink;
        const end_of_query end = drive(c, script, sink);
        INFO(end.failure.to_string());
        REQUIRE_FALSE(end.failure);
        CHECK(std::move(sink).take() == 3);
        CHECK(end.affected == 3);
        CHECK(end.last_id == 3);
    }
    SECTION("say that something has happened when a later one fails") {
        const error e = refused(c, "create table s(a unique); insert into s values (1); insert into s values (1); drop table s"_sql);
        CHECK(e.code() == errc::unique_violation);
        CHECK(e.effect() == effect::applied);
        CHECK(one<int>(c, "select count(*) from s"_sql) == 1);
        const error syntax = refused(c, "insert into s values (2); insert into nowhere values (1)"_sql);
        CHECK(syntax.effect() == effect::applied);
    }
    SECTION("nothing has happened when the first one fails, or all before it were reads") {
        CHECK(refused(c, "select 1; insert into account(id) values (7); select 2"_sql).effect() == effect::none);
        CHECK(refused(c, "insert into nowhere values (1); select 2"_sql).effect() == effect::none);
    }
    SECTION("nobody knows when they opened a transaction of their own") {
        const error e = refused(c, "begin; insert into account(id) values (30); insert into account(id) values (7); commit"_sql);
        CHECK(e.code() == errc::unique_violation);
        CHECK(e.effect() == effect::unknown);
        CHECK(c.in_transaction());
        CHECK(c.tidy() == health::good);
        CHECK(one<int>(c, "select count(*) from account"_sql) == 2);
    }
    SECTION("a position counts from the beginning of the whole text") {
        const error e = refused(c, "select 1; select no_column from account"_sql);
        CHECK(e.texts().position == 17);
    }
    SECTION("a trigger is one statement") {
        execute(c, "create trigger t after insert on account begin update account set version = 5; select 1; end"_sql);
        execute(c, "insert into account(owner) values ('x')"_sql);
        CHECK(one<int>(c, "select min(version) from account"_sql) == 5);
    }
}

TEST_CASE_METHOD(query_fixture, "only reads and writes stay prepared", "[sqlite][query][cache]") {
    const std::size_t before = c.cached_statements();
    execute(c, "create table s(a)"_sql);
    execute(c, "pragma user_version = 1"_sql);
    CHECK(c.cached_statements() == before);
    execute(c, "insert into s values (1)"_sql);
    execute(c, "select * from s"_sql);
    execute(c, "select * from s"_sql);
    CHECK(c.cached_statements() == before + 2);
}

TEST_CASE_METHOD(query_fixture, "statements made at run time", "[sqlite][query]") {
    statement q{"select id, owner, balance, version from account where balance > :least"};
    q.set("least"_arg = -10);
    CHECK(all<account>(c, q).size() == 2);
    q += " and owner = :owner"_sql("owner"_arg = std::string("Ada"));
    const std::size_t kept = c.cached_statements();
    for (int i = 0; i < 3; ++i) CHECK(one<account>(c, q).id == 7);
    CHECK(c.cached_statements() == kept + 1);

    statement in{"select count(*) from account where id in (:ids...)"};
    in.set("ids"_arg = std::vector<int>{7, 8, 9});
    CHECK(one<int>(c, in) == 2);
    in.set("ids"_arg = std::vector<int>{});
    CHECK(one<int>(c, in) == 0);

    statement wrong{"select no_column from account where id in (:ids...) and 1"};
    wrong.set("ids"_arg = std::vector<int>{7, 8, 9});
    CHECK(one_fails<int>(c, wrong).texts().position == 7);
    statement later{"select id from account where id in (:ids...) and no_column"};
    later.set("ids"_arg = std::vector<int>{7, 8, 9});
    CHECK(one_fails<int>(c, later).texts().position == 49);
    statement not_a_number{"select :v"};
    not_a_number.set("v"_arg = std::nan(""));
    CHECK_THAT(one_fails<int>(c, not_a_number).message(), contains_text("argument 1 (:v)"));
}
