// Row locks by mapping: who waits, who is refused, who is passed by, and what the error says.
#include "fixture.hpp"

#include <strata/async.hpp>
#include <strata/row_lock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>

#include <future>
#include <set>
#include <thread>

using namespace strata_test;
namespace asio = boost::asio;

namespace row_lock_test {

/// Awkward names, and a key of two columns.
struct entry {
    std::int64_t branch = 0;
    std::int64_t number = 0;
    std::string text;
};
struct ticket {
    std::int64_t id = 0;
    std::string queue;
};

/// In a schema that is not searched.
struct elsewhere {
    std::int64_t id = 0;
};

}  // namespace row_lock_test

using row_lock_test::entry;
using row_lock_test::ticket;
BOOST_HANA_ADAPT_STRUCT(row_lock_test::entry, branch, number, text);
BOOST_HANA_ADAPT_STRUCT(row_lock_test::ticket, id, queue);
BOOST_HANA_ADAPT_STRUCT(row_lock_test::elsewhere, id);

template <>
struct strata::mapping<account> {
    static constexpr std::string_view table = "account";
    static constexpr std::string_view key = "id";
};
template <>
struct strata::mapping<entry> {
    static constexpr std::string_view table = "The \"Ledger\"";
    static constexpr std::array<std::string_view, 2> key{"branch", "Order"};
    static constexpr strata::renamed columns[] = {{.member = "number", .column = "Order"}};
};
template <>
struct strata::mapping<ticket> {
    static constexpr std::string_view table = "ticket";
    static constexpr std::string_view key = "id";
};

template <>
struct strata::mapping<row_lock_test::elsewhere> {
    static constexpr std::string_view schema = "public";
    static constexpr std::string_view table = "strata_row_lock_elsewhere";
    static constexpr std::string_view key = "id";
};

namespace {

using strata::for_key_share;
using strata::for_no_key_update;
using strata::for_share;
using strata::for_update;
using strata::nowait;
using strata::skip_locked;

/// Calls `f` on a second connection while a transaction holds the row of account 1 by `how`.
template <class Lock, class F>
void while_locked(bank<>& b, Lock how, F f) {
    b.db.transaction([&](auto& holder) {
        CHECK(holder.template lock_one<account>(1, how).balance == 100);
        f();
    });
}

template <class Lock>
errc tried(bank<>& b, Lock how) {
    errc code{};
    static_cast<void>(b.db.try_transaction([&](auto& tx) -> strata::result<void> {
        auto r = tx.template try_lock_one<account>(1, how);
        if (r) return {};
        code = r.error().code();
        return std::move(r).error();
    }));
    return code;
}

}  // namespace

TEST_CASE("a row lock reads the row by its key and says what is not there", "[postgres][row_lock]") {
    bank<> b{2};
    b.db.transaction([&](auto& tx) {
        const account a = tx.template lock_one<account>(2);
        CHECK(a.id == 2);
        CHECK(a.owner == "owner-2");
        CHECK_FALSE(tx.template lock_maybe_one<account>(3).has_value());
        CHECK(tx.template lock_maybe_one<account>(1, for_share)->owner == "owner-1");
        CHECK(tx.template try_lock_one<account>(3).error().code() == errc::no_rows);
        CHECK(tx.template try_lock_maybe_one<account>(1).value().has_value());
    });
    auto tx = b.db.begin();  // by hand, too
    CHECK(tx.lock_one<account>(1).id == 1);
    tx.commit();
}

TEST_CASE("a table's schema is that of the mapping", "[postgres][row_lock]") {
    server in;
    strata::database<plain_stack> db{in.options(), server::one()};
    db.transaction([&](auto& tx) {
        tx.execute("create table public.strata_row_lock_elsewhere (id bigint primary key)"_sql());
        tx.execute("insert into public.strata_row_lock_elsewhere values (7)"_sql());
        CHECK(tx.template lock_one<row_lock_test::elsewhere>(7).id == 7);
        CHECK(tx.template claim<row_lock_test::elsewhere>(2).size() == 1);
        tx.execute("drop table public.strata_row_lock_elsewhere"_sql());
    });
}

TEST_CASE("names are quoted and a key may have several columns", "[postgres][row_lock]") {
    server in;
    strata::database<plain_stack> db{in.options(), server::one()};
    db.execute("create table \"The \"\"Ledger\"\"\" (branch bigint, \"Order\" bigint, text text, primary key (branch, \"Order\"))"_sql());
    db.execute("insert into \"The \"\"Ledger\"\"\" values (1, 1, 'a'), (1, 2, 'b'), (2, 1, 'c')"_sql());
    db.transaction([&](auto& tx) {
        CHECK(tx.template lock_one<entry>(std::tuple{1, 2}).text == "b");
        CHECK(tx.template lock_one<entry>(std::pair{std::int64_t{2}, 1}, for_update).number == 1);
        CHECK(tx.template claim<entry>(10).size() == 3);  // its own locks do not bar it
    });
}

TEST_CASE("locks bar each other as the manual's table says", "[postgres][row_lock]") {
    bank<> b{2};
    const errc barred = errc::lock_not_available, free = errc{};
    const auto against = [&](auto held, errc update, errc no_key, errc share, errc key_share) {
        while_locked(b, held, [&] {
            CHECK(tried(b, for_update | nowait) == update);
            CHECK(tried(b, for_no_key_update | nowait) == no_key);
            CHECK(tried(b, for_share | nowait) == share);
            CHECK(tried(b, for_key_share | nowait) == key_share);
        });
    };
    against(for_update, barred, barred, barred, barred);
    against(for_no_key_update, barred, barred, barred, free);
    against(for_share, barred, barred, free, free);
    against(for_key_share, barred, free, free, free);
}

TEST_CASE("a lock waits for its holder, nowait is refused by name, skip_locked passes by", "[postgres][row_lock]") {
    bank<> b{2};
    while_locked(b, for_update, [&] {
        const auto refused = b.db.try_transaction([](auto& tx) { return tx.template lock_one<account>(1, for_update | nowait); });
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code() == errc::lock_not_available);
        CHECK(refused.error().effect() == strata::effect::rolled_back);
        CHECK(refused.error().message().find("\"account\"") != std::string::npos);
        b.db.transaction([](auto& tx) {
            CHECK_FALSE(tx.template lock_maybe_one<account>(1, for_update | skip_locked).has_value());
            CHECK(tx.template lock_maybe_one<account>(2, for_update | skip_locked).has_value());
            CHECK(tx.template try_lock_one<account>(1, for_update | skip_locked).error().code() == errc::no_rows);
        });
        // in a savepoint the transaction outlives it
        b.db.transaction([](auto& tx) {
            CHECK(tx.try_transaction([](auto& inner) { return inner.template lock_one<account>(1, for_update | nowait); }).error().code() ==
                  errc::lock_not_available);
            CHECK(tx.template lock_one<account>(2).balance == 100);
        });
    });

    std::promise<void> locked;
    std::atomic<bool> changed{false};
    std::thread holder{[&] {
        b.db.transaction([&](auto& tx) {
            const account a = tx.template lock_one<account>(1);
            locked.set_value();
            std::this_thread::sleep_for(100ms);
            tx.execute(add_balance("id"_arg = a.id, "amount"_arg = 11));
            changed = true;
        });
    }};
    locked.get_future().wait();
    b.db.transaction([&](auto& tx) {
        CHECK(tx.template lock_one<account>(1).balance == 111);  // what the holder has left
        CHECK(changed);
    });
    holder.join();
}

TEST_CASE("a lock timeout and a deadline end the wait, and say what was waited for", "[postgres][row_lock]") {
    bank<> b{2};
    while_locked(b, for_update, [&] {
        const auto began = strata::clock::now();
        const auto late = b.db.try_transaction([](auto& tx) {
            tx.set_lock_timeout(60ms);
            return tx.template lock_one<account>(1);
        });
        REQUIRE_FALSE(late);
        CHECK(late.error().code() == errc::lock_not_available);
        CHECK(late.error().texts().native_code == "55P03");
        CHECK(late.error().texts().detail.find("\"account\"") != std::string::npos);
        CHECK(strata::clock::now() - began >= 60ms);
        // by hand
        const auto by_hand = b.db.try_transaction([](auto& tx) {
            tx.set_lock_timeout(1us);  // 1 ms, not for ever
            tx.execute(add_balance("id"_arg = 1, "amount"_arg = 1));
        });
        CHECK(by_hand.error().code() == errc::lock_not_available);
        CHECK(by_hand.error().texts().detail.find("\"account\"") != std::string::npos);
        const auto past = b.db.try_transaction(
            [](auto& tx) { return tx.template lock_one<account>(1, for_update, strata::call_options{.deadline = 50ms}); });
        CHECK(past.error().code() == errc::timeout);
    });
    const auto setting = "select current_setting('lock_timeout')"_sql;
    b.db.transaction([&](auto& tx) {
        CHECK(tx.template one<std::string>(setting) == "0");  // it has ended with its transaction
        tx.set_lock_timeout(1500us);
        CHECK(tx.template one<std::string>(setting) == "2ms");
        static_cast<void>(tx.try_transaction([](auto& inner) -> strata::result<void> {
            inner.set_lock_timeout(5s);
            return strata::error{errc::user_error};
        }));
        CHECK(tx.template one<std::string>(setting) == "2ms");
        tx.set_lock_timeout(strata::duration::max());
        CHECK(tx.template one<std::string>(setting) == "2147483647ms");
        tx.set_lock_timeout(-1s);
        CHECK(tx.template one<std::string>(setting) == "1ms");
        tx.set_lock_timeout(0s);
        CHECK(tx.template one<std::string>(setting) == "0");
    });
}

TEST_CASE("workers that claim never get the same row, and each row is claimed", "[postgres][row_lock]") {
    server in;
    strata::database<plain_stack> db{in.options(), strata::pool_options{.min_size = 1, .max_size = 6}};
    db.execute("create table ticket (id bigint primary key, queue text not null)"_sql());
    db.execute("insert into ticket select i, case when i % 3 = 0 then 'slow' else 'fast' end from generate_series(1, 300) i"_sql());

    db.transaction([&](auto& tx) {
        const auto first = tx.template claim<ticket, "queue = :queue -- slow ones">(3, "queue"_arg = "slow");
        REQUIRE(first.size() == 3);
        CHECK(first[0].id == 3);
        CHECK(first[2].id == 9);
        db.transaction([&](auto& other) {
            const auto next = other.template try_claim<ticket, "queue = :queue">(2, "queue"_arg = std::string("slow"),
                                                                                 strata::call_options{.deadline = 5s});
            REQUIRE(next.value().size() == 2);
            CHECK((*next)[0].id == 12);
            const auto any = other.template claim<ticket>(3);
            CHECK(any.at(2).id == 4);
        });
    });

    std::vector<std::vector<std::int64_t>> got(5);
    {
        std::vector<std::jthread> workers;
        for (auto& mine : got)
            workers.emplace_back([&mine, &db] {
                for (bool more = true; more;) {
                    std::vector<std::int64_t> ids;
                    db.transaction([&](auto& tx) {
                        ids.clear();
                        for (const ticket& t : tx.template claim<ticket>(7)) {
                            tx.execute("delete from ticket where id = :id"_sql(t.id));
                            ids.push_back(t.id);
                        }
                    });
                    mine.insert(mine.end(), ids.begin(), ids.end());
                    more = !ids.empty();
                }
            });
    }
    std::multiset<std::int64_t> all;
    for (const auto& mine : got) all.insert(mine.begin(), mine.end());
    CHECK(all.size() == 300);
    CHECK(std::set<std::int64_t>(all.begin(), all.end()).size() == 300);
}

TEST_CASE("asynchronous row locks", "[postgres][row_lock]") {
    bank<> b{2};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await adb.async_transaction([&](auto& tx) -> asio::awaitable<void> {
                const account a = co_await tx.template async_lock_one<account>(1);
                CHECK(a.owner == "owner-1");
                const auto none = co_await tx.template async_lock_maybe_one<account>(7, for_share);
                CHECK_FALSE(none.has_value());
                const auto refused = co_await adb.async_try_transaction([&](auto& other) -> asio::awaitable<void> {
                    co_await other.async_set_lock_timeout(20ms);
                    const auto rows = co_await other.template async_claim<account, "balance >= :least">(5, "least"_arg = 100);
                    CHECK(rows.size() == 1);
                    static_cast<void>(co_await other.template async_lock_one<account>(1, strata::call_options{.deadline = 5s}));
                });
                REQUIRE_FALSE(refused);
                CHECK(refused.error().code() == errc::lock_not_available);
                const auto tried = co_await tx.template async_try_lock_one<account>(3);
                CHECK(tried.error().code() == errc::no_rows);
                const auto maybe = co_await tx.template async_try_lock_maybe_one<account>(2, for_update | skip_locked);
                CHECK(maybe.value().has_value());
            });
        },
        [](std::exception_ptr e) {
            if (e) std::rethrow_exception(e);
        });
    io.run();
}
