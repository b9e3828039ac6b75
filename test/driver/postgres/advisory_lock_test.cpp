// Advisory locks: until the transaction ends, and until they are released; what happens to them when things go wrong.
#include "fault_fixture.hpp"

#include <strata/advisory_lock.hpp>
#include <strata/async.hpp>
#include <strata/row_lock.hpp>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include <future>
#include <thread>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using strata::advisory_key;

/// Keys of this process, lest two runs on one server wait for each other.
std::string own(const std::string& name) {
    return name + std::to_string(::getpid());
}

constexpr auto held_locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = :pid"_sql;
constexpr auto own_pid = "select pg_backend_pid()"_sql;

template <class Db>
bool is_free(Db& db, const advisory_key& key, bool shared = false) {
    bool got = false;
    db.transaction([&](auto& tx) { got = strata::advisory_lock_if_free(tx, key, {.shared = shared}); });
    return got;
}

}  // namespace

TEST_CASE("advisory keys: numbers, pairs and names", "[postgres][advisory]") {
    static_assert(advisory_key{7}.number() == 7);
    static_assert(advisory_key{-7}.number() == -7);
    static_assert(!(advisory_key{7} == advisory_key{0, 7}));
    static_assert(advisory_key{3, -4}.group() == 3 && advisory_key{3, -4}.member() == -4);
    static_assert(advisory_key{-3, 4}.group() == -3 && advisory_key{-3, 4}.member() == 4);
    static_assert(advisory_key{"import"} == advisory_key{std::string_view{"import"}});
    static_assert(advisory_key{"import"}.number() == static_cast<std::int64_t>(strata::hash_text("import").high));
    CHECK(advisory_key{"import"}.number() == 1575999189054674181);  // programs of different versions must agree
    CHECK(advisory_key{std::string{"import"}} == advisory_key{"import"});
    CHECK(advisory_key{-3, 4}.to_string() == "-3:4");
    CHECK(advisory_key{1234567890123}.to_string() == "1234567890123");

    // the server sees what we say
    bank<> b{1};
    for (const advisory_key key : {advisory_key{own("k")}, advisory_key{-3, static_cast<std::int32_t>(::getpid())}}) {
        b.db.transaction([&](auto& tx) {
            strata::advisory_lock(tx, key);
            const auto half = [&](std::string_view column) {
                strata::statement q{"select "};
                q += strata::identifier(std::string(column));
                q += "::int8 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()";
                return tx.template one<std::int64_t>(q);
            };
            CHECK(half("classid") == static_cast<std::int64_t>(static_cast<std::uint64_t>(key.number()) >> 32));
            CHECK(half("objid") == (key.number() & 0xffffffff));
            CHECK(half("objsubid") == (key.is_pair() ? 2 : 1));
        });
    }
}

TEST_CASE("a transaction's advisory lock ends with it, however it ends", "[postgres][advisory]") {
    bank<> b{1};
    const advisory_key key{own("until the end")};
    b.db.transaction([&](auto& tx) {
        strata::advisory_lock(tx, key);
        strata::advisory_lock(tx, key);  // harmless
        CHECK(strata::advisory_lock_if_free(tx, key));
        CHECK_FALSE(is_free(b.db, key));
        CHECK_FALSE(is_free(b.db, key, true));
        CHECK(is_free(b.db, own("another")));
        CHECK(is_free(b.db, advisory_key{key.group(), key.member()}));  // pairs have their own space
    });
    CHECK(is_free(b.db, key));
    CHECK_THROWS_AS(b.db.transaction([&](auto& tx) {
        strata::advisory_lock(tx, key);
        throw std::runtime_error("no");
    }),
                    std::runtime_error);
    CHECK(is_free(b.db, key));
    b.db.transaction([&](auto& tx) {
        static_cast<void>(tx.try_transaction([&](auto& inner) -> strata::result<void> {
            strata::advisory_lock(inner, key);
            return strata::error{errc::user_error};
        }));
        CHECK(is_free(b.db, key));
    });
    b.db.transaction([&](auto& tx) {
        strata::advisory_lock(tx, key, {.shared = true});
        CHECK_FALSE(is_free(b.db, key));
        CHECK(is_free(b.db, key, true));
    });
}

TEST_CASE("who waits for an advisory lock is bounded, and the error names it", "[postgres][advisory]") {
    bank<> b{1};
    const advisory_key key{77, static_cast<std::int32_t>(::getpid())};
    b.db.transaction([&](auto& tx) {
        strata::advisory_lock(tx, key);
        const auto late = b.db.try_transaction([&](auto& other) { return strata::try_advisory_lock(other, key, {.deadline = 40ms}); });
        REQUIRE_FALSE(late);
        CHECK(late.error().code() == errc::timeout);
        CHECK(late.error().texts().detail.find("advisory lock " + key.to_string()) != std::string::npos);
        const auto limited = b.db.try_transaction([&](auto& other) {
            other.set_lock_timeout(30ms);
            strata::advisory_lock(other, key);
        });
        CHECK(limited.error().code() == errc::lock_not_available);
        const auto held = strata::try_hold_advisory_lock(b.db, key, {.deadline = 40ms});
        REQUIRE_FALSE(held);
        CHECK(held.error().code() == errc::timeout);
        CHECK(held.error().texts().detail.find(key.to_string()) != std::string::npos);
        CHECK_FALSE(strata::hold_advisory_lock_if_free(b.db, key));
    });
    CHECK(is_free(b.db, key));
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("a held advisory lock pins its connection until it is released", "[postgres][advisory]") {
    bank<> b{1, 3};
    const advisory_key key{own("held")};
    std::int64_t pid = 0;
    {
        auto lock = strata::hold_advisory_lock(b.db, key);
        CHECK(lock.holds());
        CHECK(lock.check());
        CHECK(lock.key() == key);
        pid = lock.session().one<std::int32_t>(own_pid);
        CHECK(b.db.one<std::int64_t>(held_locks(pid)) == 1);
        CHECK_FALSE(is_free(b.db, key));
        CHECK_FALSE(strata::hold_advisory_lock_if_free(b.db, key, {.shared = true}));
        lock.session().transaction([](auto& tx) { tx.execute(add_balance("id"_arg = 1, "amount"_arg = 1)); });

        auto moved = std::move(lock);
        CHECK(moved.holds());
        CHECK_FALSE(lock.holds());
        CHECK_FALSE(lock.check());
        CHECK_THROWS_AS(lock.session(), strata::failure);
        lock.release();  // nothing
        CHECK_FALSE(is_free(b.db, key));
        moved.release();
        CHECK_FALSE(moved.holds());
        CHECK(is_free(b.db, key));
        moved.release();  // nothing
        CHECK_FALSE(moved.check());
        CHECK_THROWS_AS(moved.session(), strata::failure);
    }
    CHECK(b.db.one<std::int64_t>(held_locks(pid)) == 0);
    CHECK(all_returned(b.db.connections()));
    CHECK(b.db.connections().lost == 0);  // the connection was fit for others
    {
        const auto shared = strata::hold_advisory_lock_if_free(b.db, key, {.shared = true});
        const auto also = strata::hold_advisory_lock_if_free(b.db, key, {.shared = true});
        CHECK((shared && also));
        CHECK_FALSE(is_free(b.db, key));
    }
    CHECK(is_free(b.db, key));
}

TEST_CASE("a held advisory lock is released whatever state its session is left in", "[postgres][advisory]") {
    bank<> b{1, 3};
    const advisory_key key{own("any state")};
    SECTION("in a transaction") {
        auto lock = strata::hold_advisory_lock(b.db, key);
        lock.session().execute("begin"_sql());
        lock.session().execute(add_balance("id"_arg = 1, "amount"_arg = 1));
        lock.release();
        CHECK(b.balance_of(1) == 100);
    }
    SECTION("in a failed transaction") {
        auto lock = strata::hold_advisory_lock(b.db, key);
        lock.session().execute("begin"_sql());
        static_cast<void>(lock.session().try_execute("select 1 / :zero::int"_sql(0)));
        lock.release();
    }
    SECTION("locked again by hand") {
        auto lock = strata::hold_advisory_lock(b.db, key);
        static_cast<void>(lock.session().one<bool>("select pg_try_advisory_lock(:n::int8)"_sql(key.number())));
        lock.release();
    }
    SECTION("closed by hand") {
        auto lock = strata::hold_advisory_lock(b.db, key);
        lock.session().connection().close();
        lock.release();
        REQUIRE(comes_true([&] { return is_free(b.db, key); }));
    }
    SECTION("reset by hand: the lock is gone, and nobody is harmed") {
        auto lock = strata::hold_advisory_lock(b.db, key);
        lock.session().execute("discard all"_sql());
        CHECK(is_free(b.db, key));
        lock.release();
    }
    CHECK(is_free(b.db, key));
    CHECK(all_returned(b.db.connections()));
}

TEST_CASE("a held advisory lock goes with its connection, and check says so", "[postgres][advisory]") {
    if (!proxied_bank::is_there()) return;
    proxied_bank b{1};
    const advisory_key key{own("lost")};
    strata::database<plain_stack> db{b.options(), strata::pool_options{.min_size = 1, .max_size = 2}};
    SECTION("the server ends it") {
        auto lock = strata::hold_advisory_lock(db, key);
        const std::int64_t pid = lock.session().one<std::int32_t>(own_pid);
        CHECK(b.behind.db.one<bool>("select pg_terminate_backend(:pid::int)"_sql(pid)));
        REQUIRE(comes_true([&] { return is_free(b.behind.db, key); }));
        CHECK_FALSE(lock.check());
        CHECK_FALSE(lock.holds());
    }
    SECTION("it is cut") {
        auto lock = strata::hold_advisory_lock(db, key);
        b.proxy.cut();
        CHECK_FALSE(lock.check());
        REQUIRE(comes_true([&] { return is_free(b.behind.db, key); }));
    }
    SECTION("in the middle of a transaction on it") {
        auto lock = strata::hold_advisory_lock(db, key);
        const auto done = lock.session().try_transaction([&](auto& tx) {
            CHECK(tx.try_execute("select 1 / :zero::int"_sql(0)).has_error());
            CHECK(lock.check());  // the transaction has failed, but the lock is there
            b.proxy.cut();
            CHECK_FALSE(lock.check());
            CHECK_FALSE(lock.holds());
            CHECK(tx.try_execute("select 1"_sql()).has_error());
        });
        REQUIRE(done.has_error());
        CHECK(done.error().effect() == strata::effect::rolled_back);
        CHECK_THROWS_AS(lock.session(), strata::failure);
        lock.release();
        REQUIRE(comes_true([&] { return is_free(b.behind.db, key); }));
        CHECK(all_returned(db.connections()));
    }
    SECTION("nobody answers") {
        auto lock = strata::hold_advisory_lock(db, key);
        CHECK(lock.check(1s));
        b.proxy.black_hole(true);
        const auto began = strata::clock::now();
        CHECK_FALSE(lock.check(50ms));
        CHECK(strata::clock::now() - began < 20s);
    }
}

TEST_CASE("one of many has an advisory lock at a time", "[postgres][advisory]") {
    bank<> b{1, 6};
    const advisory_key key{own("one at a time")};
    std::atomic<int> inside{0}, most{0}, turns{0};
    const auto turn = [&] {
        most = std::max(most.load(), ++inside);
        std::this_thread::sleep_for(1ms);
        --inside;
        ++turns;
    };
    {
        std::vector<std::jthread> threads;
        for (int t = 0; t < 4; ++t)
            threads.emplace_back([&, t] {
                for (int i = 0; i < 10; ++i) {
                    if (t % 2 == 0) {
                        const auto lock = strata::hold_advisory_lock(b.db, key);
                        turn();
                    } else {
                        b.db.transaction([&](auto& tx) {
                            strata::advisory_lock(tx, key);
                            turn();
                        });
                    }
                }
            });
    }
    CHECK(most == 1);
    CHECK(turns == 40);
}

TEST_CASE("asynchronous advisory locks", "[postgres][advisory]") {
    bank<> b{1};
    asio::io_context io;
    auto adb = b.db.async(io.get_executor());
    const advisory_key key{own("async")};
    asio::co_spawn(
        io,
        [&]() -> asio::awaitable<void> {
            co_await adb.async_transaction([&](auto& tx) -> asio::awaitable<void> {
                const bool locked = co_await strata::async_advisory_lock(tx, key);
                CHECK(locked);
                co_await adb.async_transaction([&](auto& other) -> asio::awaitable<void> {
                    const bool got = co_await strata::async_advisory_lock_if_free(other, key);
                    CHECK_FALSE(got);
                });
            });
        },
        [](std::exception_ptr e) {
            if (e) std::rethrow_exception(e);
        });
    io.run();
    CHECK(is_free(b.db, key));
}
