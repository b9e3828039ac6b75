// Optimistic locking in the loop: coroutines count one row up, and none of it is lost.
#include "fixture.hpp"

#include <strata/async.hpp>
#include <strata/async/optimistic_locking.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

namespace strata_test {

struct tally {
    std::int64_t id = 0;
    std::int64_t amount = 0;
    std::int64_t version = 0;
};

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::tally, id, amount, version);

template <>
struct strata::mapping<strata_test::tally> {
    static constexpr std::string_view table = "tally";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
};

using namespace strata_test;
namespace asio = boost::asio;

TEST_CASE("no increment of several coroutines is lost", "[postgres][async][optimistic]") {
    using stack = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::postgres>;
    server in;
    strata::database<stack> db{in.options(), strata::pool_options{.min_size = 1, .max_size = 8},
                               strata::optimistic_locking_options{.max_attempts = 1'000'000}};
    db.execute("create table tally (id bigint primary key, amount bigint not null, version bigint not null)"_sql);
    db.insert_versioned(tally{1, 0, 0});
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    constexpr int clients = 8;
    const int each = count(50, 1'000);
    int updated = 0;
    for (int i = 0; i < clients; ++i) {
        asio::co_spawn(
            io,
            [&]() -> asio::awaitable<void> {
                const strata::recompute more{[](tally& t) { ++t.amount; }};
                for (int n = 0; n < each; ++n) {
                    const auto done = co_await adb.async_update_versioned<tally>(1, more);
                    if (done) ++updated;
                }
            },
            [](std::exception_ptr e) { CHECK(e == nullptr); });
    }
    io.run();
    CHECK(updated == clients * each);
    CHECK(db.find_versioned<tally>(1)->base().amount == clients * each);
    CHECK(db.policy<strata::optimistic_locking<>>().snapshot().conflicts > 0u);
}
