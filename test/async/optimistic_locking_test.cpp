// Versioned rows over the loop: the same outcomes as the blocking calls, pauses that do not block, cancellation in the middle of them.
#include "fixture.hpp"

#include <transaction/optimistic_fixture.hpp>

#include <strata/async/optimistic_locking.hpp>

#include <boost/asio/steady_timer.hpp>

using namespace strata_test;
using strata::write_status;

namespace {

using store_stack = strata::stack<strata::optimistic_locking<>, strata::metrics<>, strata::pool<>, strata::sqlite>;

struct async_store : file_of_its_own {
    strata::database<store_stack> db;
    asio::io_context io;
    strata::async_database<store_stack> adb;

    template <class... Options>
    explicit async_store(const Options&... options) : db(target, options...), adb(db.async(io.get_executor())) {
        db.execute(create_items);
    }
};

}  // namespace

TEST_CASE("asynchronous versioned calls write and tell what the blocking ones do", "[async][optimistic]") {
    async_store s;
    run(s.io, [](auto& adb) -> asio::awaitable<void> {
        const item nail{7, "nail", 100, 0};
        auto row = co_await adb.async_insert_versioned(nail);
        CHECK(row.version() == 1);
        row->amount = 90;
        auto done = co_await adb.async_update_versioned(row);
        CHECK(done.status == write_status::updated);
        CHECK(done.version == 2);
        const auto late = co_await adb.async_update_versioned(row);
        CHECK(late.status == write_status::conflict);
        CHECK(**late.row == item{7, "nail", 90, 2});
        const strata::recompute twice{[](item& i) { i.amount *= 2; }};
        done = co_await adb.template async_update_versioned<item>(7, twice);
        CHECK(done.status == write_status::updated);
        const auto found = co_await adb.template async_find_versioned<item>(7);
        CHECK((found && (*found)->amount == 180));
        row->amount = 95;
        row->name = "screw";
        const strata::merge rules{strata::field<"amount">(strata::add_numbers)};
        done = co_await adb.async_update_versioned(row, rules, strata::call_options{.deadline = 10s});
        CHECK(done.status == write_status::updated);
        CHECK(**done.row == item{7, "screw", 175, 4});
        const item form{7, "bolt", 1, 0};
        const strata::expect_version fourth{4}, fifth{5};
        done = co_await adb.async_update_versioned(form, fourth);
        CHECK(done.version == 5);
        done = co_await adb.template async_remove_versioned<item>(7, fourth);
        CHECK(done.status == write_status::conflict);
        done = co_await adb.template async_remove_versioned<item>(7, fifth);
        CHECK(done.status == write_status::removed);
        const auto tried = co_await adb.async_try_update_versioned(row, strata::last_writer_wins{});
        REQUIRE(tried);
        CHECK(tried->status == write_status::not_found);
        done = co_await adb.async_remove_versioned(row);
        CHECK(done.status == write_status::not_found);
        const auto nothing = co_await adb.template async_try_find_versioned<item>(7, strata::call_options{});
        CHECK((nothing && !*nothing));
    }(s.adb));
    check_at_rest(s.db);
}

TEST_CASE("asynchronous batches of versioned rows", "[async][optimistic]") {
    async_store s;
    run(s.io, [](async_store& store) -> asio::awaitable<void> {
        auto& adb = store.adb;
        const std::vector<item> rows{{1, "a", 1, 0}, {2, "b", 1, 0}, {3, "c", 1, 0}};
        auto in = co_await adb.async_insert_all_versioned(rows);
        REQUIRE(in.size() == 3);
        const auto again = co_await adb.async_insert_each_versioned(rows);
        CHECK(again[2].error().code() == errc::unique_violation);
        const auto whole = co_await adb.async_try_insert_all_versioned(rows);
        CHECK(whole.error().effect() == strata::effect::rolled_back);
        const strata::recompute two{[](item& i) { i.amount = 2; }};
        const auto second = co_await adb.template async_update_versioned<item>(2, two);
        CHECK(second);
        for (auto& r : in) r->amount = 5;
        const auto all = co_await adb.async_update_all_versioned(in);
        CHECK(all.failed == 1u);
        const auto each = co_await adb.async_update_each_versioned(in, two);
        CHECK(each[1]->attempts == 2);
        CHECK(each[2]->version == 2);
        auto session = co_await adb.async_session();
        const auto stale = co_await session.async_remove_all_versioned(in);
        CHECK(stale.failed == 0u);
        const auto gone = co_await session.async_remove_each_versioned(in);
        CHECK(gone[0]->status == write_status::conflict);
    }(s));
    CHECK(s.db.one<std::int64_t>(R"(select sum(amount) from "the ""Items""")"_sql) == 6);
}

TEST_CASE("asynchronous versioned calls are part of the transaction they are in", "[async][optimistic]") {
    async_store s;
    s.db.insert_versioned(item{1, "a", 1, 0});
    run(s.io, [](async_store& store) -> asio::awaitable<void> {
        const strata::recompute two{[](item& i) { i.amount = 2; }};
        auto undone = [&](auto& tx) -> asio::awaitable<strata::result<int>> {
            const auto done = co_await tx.template async_update_versioned<item>(1, two);
            CHECK(done.version == 2);
            co_return strata::error{errc::user_error, "no", strata::phase::execute};
        };
        const auto refused = co_await store.adb.async_transaction(undone);
        CHECK(refused.has_error());
        auto tx = co_await store.adb.async_begin();
        const auto done = co_await tx.template async_update_versioned<item>(1, two);
        CHECK(done.version == 2);
        co_await tx.async_commit();
    }(s));
    CHECK(s.db.find_versioned<item>(1)->version() == 2);
}

TEST_CASE("what the function of an asynchronous recompute throws comes out", "[async][optimistic]") {
    async_store s;
    s.db.insert_versioned(item{1, "a", 1, 0});
    std::exception_ptr thrown;
    strata::result<strata::write_outcome<item>> tried;
    const strata::recompute bad{[](item&) { throw std::domain_error("no"); }};
    s.adb.async_update_versioned<item>(1, bad, [&](std::exception_ptr e, auto) { thrown = e; });
    s.adb.async_try_update_versioned<item>(1, bad, [&](auto r) { tried = std::move(r); });
    s.io.run();
    CHECK_THROWS_AS(std::rethrow_exception(thrown), std::domain_error);
    REQUIRE(tried.has_error());
    CHECK(tried.error().code() == errc::user_exception);
    CHECK(tried.error().effect() == strata::effect::none);
    check_at_rest(s.db);
}

TEST_CASE("a cancel or a deadline ends an asynchronous call in its pause, and others go on meanwhile", "[async][optimistic]") {
    const bool cancels = GENERATE(true, false);
    async_store s{strata::optimistic_locking_options{.max_attempts = 1000, .base = 1h, .cap = 1h}};
    strata::database<store_stack> other{s.target};
    s.db.insert_versioned(item{1, "a", 1, 0});
    const strata::recompute slow{[&](item&) {  // somebody is always faster
        other.execute(R"(update "the ""Items""" set "Version" = "Version" + 1)"_sql);
    }};
    asio::cancellation_signal stop;
    strata::result<strata::write_outcome<item>> done;
    int ticks = 0;
    asio::steady_timer timer{s.io};
    const auto begin = std::chrono::steady_clock::now();
    s.adb.async_try_update_versioned<item>(1, slow, strata::call_options{.deadline = cancels ? 1h : 80ms},
                                           asio::bind_cancellation_slot(stop.slot(), [&](auto r) { done = std::move(r); }));
    timer.expires_after(50ms);
    timer.async_wait([&](auto) {
        ++ticks;
        if (cancels) stop.emit(asio::cancellation_type::total);
    });
    s.io.run();
    CHECK(ticks == 1);
    REQUIRE(done.has_error());
    CHECK(done.error().code() == (cancels ? errc::cancelled : errc::timeout));
    CHECK(done.error().effect() == strata::effect::none);
    CHECK(std::chrono::steady_clock::now() - begin < 30s);
    check_at_rest(s.db);
}
