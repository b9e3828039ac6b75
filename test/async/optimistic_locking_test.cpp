// Versioned rows over the loop: the same outcomes as the blocking calls, pauses that do not block, cancellation in the middle of them.
#include "fixture.hpp"

#include <transaction/optimistic_fixture.hpp>

#include <strata/async/optimistic_locking.hpp>

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
        const auto late = co_await adb.async_update_versioned(row);
        CHECK(late.status == write_status::conflict);
        strata::recompute twice{[](item& i) { i.amount *= 2; }};
        done = co_await adb.template async_update_versioned<item>(std::int64_t{7}, twice);
        CHECK(done.status == write_status::updated);
        const auto found = co_await adb.template async_find_versioned<item>(std::int64_t{7});
        CHECK((found && (*found)->amount == 180));
        strata::expect_version third{std::int64_t{3}};
        const auto gone = co_await adb.template async_remove_versioned<item>(std::int64_t{7}, third);
        CHECK(gone.status == write_status::removed);
        const auto tried = co_await adb.async_try_update_versioned(row, strata::last_writer_wins{});
        REQUIRE(tried);
        CHECK(tried->status == write_status::not_found);
    }(s.adb));
}
