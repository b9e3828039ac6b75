// Sessions without their type: a library that was compiled apart from stack and driver runs on everything that is a session.
#include <async/fixture.hpp>

#include <support/any_session_library.hpp>

using namespace strata_test;

namespace {

template <class Stack>
void make_tables(strata::database<Stack>& db) {
    db.execute("create table person (id integer primary key, name text not null unique, nick text, age integer not null)"_sql);
}
constexpr auto count_people = "select count(*) from person"_sql;

}  // namespace

TEST_CASE("a library compiled apart runs on a database, a session, a transaction and a handle", "[face][any]") {
    file_of_its_own f;
    strata::database<full_stack> db{f.target};
    make_tables(db);
    const auto use = [](strata::any_session s) {
        CHECK(apart::add(s, {1, "Ada", std::nullopt, 36}) == 1);
        CHECK(apart::add(s, {2, "Bob", "bobby", 20}) == 2);
        CHECK(apart::find(s, 2) == apart::person{2, "Bob", "bobby", 20});
        CHECK_FALSE(apart::find(s, 99).has_value());
        CHECK(apart::load(s, 1).name == "Ada");
        CHECK(failure_of([&] { return apart::load(s, 99); }).code() == errc::no_rows);
        CHECK(apart::names_of(s, {1, 2, 3}) == std::vector<std::string>{"Ada", "Bob"});
        CHECK(apart::names_of(s, {}).empty());
        CHECK(apart::total_age(s) == 56);
        CHECK(apart::first_name(s) == "Ada");
        CHECK(apart::try_add(s, {2, "Bob", std::nullopt, 1}).error().code() == errc::unique_violation);
        CHECK(apart::add_all(s, {{3, "Eve", std::nullopt, 1}, {4, "Dan", std::nullopt, 2}}) == 2);
        CHECK(apart::wide(s) == 45);
        CHECK(apart::remove_all(s) == 4);
    };
    use(db);
    {
        auto s = db.session();
        use(s);
    }
    db.transaction([&](auto& tx) {
        use(tx);
        tx.transaction([&](auto& inner) { use(inner); });
    });
    auto tx = db.begin();
    use(tx);
    tx.commit();
    {
        strata::any_session first{db};
        strata::any_session copy = first;
        use(copy);
        CHECK(first.where_now() == strata::scope::database);
        CHECK(first.dialect_now() == strata::dialect::sqlite);
    }
    check_at_rest(db);
}

TEST_CASE("erased transactions commit, roll back and nest", "[face][any]") {
    file_of_its_own f;
    strata::database<full_stack> db{f.target};
    make_tables(db);
    strata::any_session s{db};
    CHECK(apart::move_years(s, 5) == errc::no_rows);  // nobody there: everything is rolled back
    apart::add(s, {1, "Ada", std::nullopt, 36});
    apart::add(s, {2, "Bob", std::nullopt, 20});
    CHECK(apart::move_years(s, 5) == errc::ok);
    CHECK(apart::load(s, 1).age == 31);
    CHECK(apart::load(s, 2).age == 25);
    CHECK(apart::move_years(s, 1000) == errc::user_error);  // refused by the closure, as a value
    CHECK_THROWS_AS(apart::throw_inside(s), std::domain_error);
    CHECK(apart::load(s, 1).age == 31);
    CHECK(apart::with_savepoint(s) == 3);
    CHECK(db.one<int>(count_people) == 3);
    // A savepoint when the session is a transaction.
    db.transaction([&](auto& tx) {
        strata::any_session inner{tx};
        CHECK_THROWS_AS(apart::throw_inside(inner), std::domain_error);
        CHECK(inner.one<int>(count_people) == 3);
    });
    const auto value = s.transaction([](strata::any_session& tx) { return std::make_unique<int>(tx.one<int>(count_people)); });
    CHECK(*value == 3);
    const auto refused = s.transaction([](strata::any_session& tx) -> strata::result<int> {
        tx.execute("delete from person"_sql);
        return strata::error{errc::user_error, strata::phase::execute};
    });
    CHECK(refused.error().effect() == strata::effect::rolled_back);
    CHECK(db.one<int>(count_people) == 3);
    check_at_rest(db);
}

TEST_CASE("what cannot run on an erased session is an error at run time", "[face][any]") {
    file_of_its_own f;
    strata::database<plain_stack> db{f.target};
    make_tables(db);
    strata::any_session s{db};
    CHECK(s.try_execute("begin"_sql).error().code() == errc::misuse);
    CHECK(s.try_execute("pragma cache_size = 10"_sql).error().code() == errc::misuse);
    CHECK(s.try_one<std::string>("select $$text$$"_sql).error().code() == errc::invalid_statement);
    CHECK(s.try_one<int>(strata::statement{"select 'no end"}).error().code() == errc::invalid_statement);
    CHECK(failure_of([&] { return s.rows<int>("begin"_sql); }).code() == errc::misuse);
    auto pinned = db.session();
    strata::any_session p{pinned};
    CHECK(p.try_execute("pragma cache_size = 10"_sql));
    CHECK(p.try_execute("begin"_sql));
    CHECK(p.try_execute("rollback"_sql));
}

TEST_CASE("call options and deadlines pass through an erased session", "[face][any]") {
    file_of_its_own f;
    strata::database<full_stack> db{f.target, strata::pool_options{.max_size = 1}};
    make_tables(db);
    strata::any_session s{db};
    CHECK(s.try_one<std::int64_t>(endless_query, {.deadline = 5ms}).error().code() == errc::timeout);
    CHECK(s.try_execute_many("insert into person values (:id, 'x' || :id, null, 1)"_sql, std::vector<int>{1, 2, 2}).error().code() ==
          errc::unique_violation);
    CHECK(db.one<int>(count_people) == 0);
    {
        auto stream = s.rows<std::int64_t>("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"_sql);
        CHECK(*stream.next() == 1);
        CHECK(*stream.next() == 2);
    }
    check_at_rest(db);
}

TEST_CASE("an asynchronous session without its type", "[async][any]") {
    file_of_its_own f;
    strata::database<full_stack> db{f.target, strata::pool_options{.max_size = 2}};
    make_tables(db);
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    using tx_type = strata::async_database<full_stack>::transaction_type;
    const auto use = [](strata::any_async_session s) -> asio::awaitable<void> {
        const apart::person ada{1, "Ada", std::nullopt, 36};  // g++ 12 destroys such an argument of a coroutine twice: bind it
        const apart::person bobby{2, "Bob", "bobby", 20};
        co_await apart::async_add(s, ada);
        co_await apart::async_add(s, bobby);
        auto bob = co_await apart::async_find(s, 2);
        CHECK(bob == apart::person{2, "Bob", "bobby", 20});
        auto nobody = co_await apart::async_find(s, 99);
        CHECK_FALSE(nobody.has_value());
        auto moved = co_await apart::async_move_years(s, 5);
        CHECK(moved == errc::ok);
        auto refused = co_await apart::async_move_years(s, 1000);
        CHECK(refused == errc::user_error);
        bool thrown = false;
        try {
            co_await apart::async_throw_inside(s);
        } catch (const std::domain_error&) {
            thrown = true;
        }
        CHECK(thrown);
        auto removed = co_await apart::async_remove_all(s);
        CHECK(removed == 2);
    };
    run(io, use(adb));
    run(io, [&]() -> asio::awaitable<void> {
        {
            auto s = co_await adb.async_session();
            co_await use(s);
            auto tx = co_await s.async_try_transaction([&](tx_type& t) -> asio::awaitable<void> { co_await use(t); });
            CHECK(tx);
        }
        co_await adb.async_transaction([&](tx_type& tx) -> asio::awaitable<void> {
            co_await use(tx);
            co_await tx.async_transaction([&](tx_type& inner) -> asio::awaitable<void> { co_await use(inner); });
        });
        auto held = co_await adb.async_begin();
        co_await use(held);
        co_await held.async_commit();
    }());
    // Other tokens, executors and cancellation reach the other side.
    strata::any_async_session s{adb};
    auto future = s.async_one<int>(count_people, asio::use_future);
    asio::thread_pool elsewhere{1};
    std::atomic<bool> there{false};
    s.async_try_one<int>(count_people, asio::bind_executor(elsewhere, [&](strata::result<int> r) {
                             there = r && elsewhere.get_executor().running_in_this_thread();
                         }));
    asio::cancellation_signal stop;
    std::optional<strata::error> cancelled;
    s.async_try_one<std::int64_t>(endless_query, asio::bind_cancellation_slot(stop.slot(), [&](strata::result<std::int64_t> r) {
                                      cancelled = r.error();
                                  }));
    stop.emit(asio::cancellation_type::total);
    io.restart();
    io.run();
    elsewhere.join();
    CHECK(future.get() == 0);
    CHECK(there);
    REQUIRE(cancelled);
    CHECK(cancelled->code() == errc::cancelled);
    check_at_rest(db);
}

TEST_CASE("an erased call in a context that dies is destroyed with it", "[async][any][lifetime]") {
    file_of_its_own f;
    strata::database<plain_stack> db{f.target};
    auto alive = std::make_shared<int>(0);
    {
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        strata::any_async_session s{adb};
        s.async_try_one<std::int64_t>(endless_query, [alive](const strata::result<std::int64_t>&) { FAIL("the context is dead"); });
        wait_until([&] { return db.connections().idle < db.connections().open; });
        // Refused at once, but told later; here never.
        s.async_try_execute("begin"_sql, [alive](const strata::result<strata::execution>&) { FAIL("the context is dead"); });
    }
    CHECK(alive.use_count() == 1);
    check_at_rest(db);
}

TEST_CASE("the deadline of an erased batch also bounds its wait and its beginning", "[face][any]") {
    bank<> b;
    strata::sqlite_options patient = b.target;
    patient.busy_timeout = 60s;
    strata::database<plain_stack> other{patient};
    auto writer = b.db.begin();
    writer.execute(insert_account(1, "first", 1));
    strata::any_session erased{other};
    const auto r = erased.try_execute_many(insert_account, std::vector{std::tuple{2, "second", 2}}, {.deadline = 20ms});
    CHECK(r.error().code() == errc::timeout);
    writer.rollback();
    CHECK(erased.execute_many(insert_account, std::vector{std::tuple{2, "second", 2}}, {.deadline = 30s}).affected == 1);
}
