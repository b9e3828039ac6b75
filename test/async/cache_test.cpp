// Cache and fallback under the asynchronous face: the same layers, shared with threads that block.
#include <support/catch.hpp>

#include <strata/async.hpp>
#include <strata/policy/cache.hpp>
#include <strata/policy/fallback.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
namespace asio = boost::asio;

namespace {

using bank = strata::stack<strata::fallback<>, strata::cache<>, strata::pool<>, strata::scripted>;
constexpr auto get = "select x from t where name = :name"_sql.named("get");

struct fixture {
    fixture() : blocking(strata::scripted_options{script}), db(blocking.async(io.get_executor())) { script.on(get).returns(7); }

    template <class Body>
    void run(Body body) {
        std::exception_ptr thrown;
        asio::co_spawn(io, std::move(body), [&](std::exception_ptr e) { thrown = e; });
        run();
        if (thrown) std::rethrow_exception(thrown);
    }
    void run() {
        io.restart();
        io.run();
    }
    [[nodiscard]] auto counts() { return blocking.policy<strata::cache<>>().snapshot(); }

    strata::script script;
    asio::io_context io;
    strata::database<bank> blocking;
    strata::async_database<bank> db;
};

}  // namespace

TEST_CASE("asynchronous calls that miss together ask once; later ones, of both faces, are answered", "[cache][async]") {
    fixture f;
    f.script.on(get).takes(2ms).returns(7);
    int sum = 0;
    const auto add = [&](const strata::result<int>& r) { sum += r ? *r : 1000; };
    for (int i = 0; i < 5; ++i) f.db.async_try_one<int>(cached(get("a")), add);
    f.run();
    CHECK(sum == 35);
    CHECK(f.counts().joined == 4);
    CHECK(f.blocking.one<int>(cached(get("a"))) == 7);
    f.run([&]() -> asio::awaitable<void> {
        const int v = co_await f.db.async_one<int>(cached(get("a")));
        const auto none = co_await f.db.async_maybe_one<int>(cached(get("a")));
        const auto all = co_await f.db.async_all<int>(cached(get("a")));
        CHECK(v == 7);
        CHECK(none == 7);
        CHECK(all == std::vector<int>{7});
    });
    CHECK(f.script.calls().size() == 3);
    CHECK(f.counts().hits == 2);
}

TEST_CASE("a lazy call keeps its key's arguments", "[cache][async]") {
    fixture f;
    const auto lazily = [&](std::string name) { return f.db.async_try_one<int>(cached(get("name"_arg = name)), asio::deferred); };
    auto call = lazily("a name that is too long to lie within a string");
    int value = 0;
    std::move(call)([&](strata::result<int> r) { value = r.value(); });
    f.run();
    CHECK(value == 7);
    CHECK(f.blocking.one<int>(cached(get("a name that is too long to lie within a string"))) == 7);
    CHECK(f.counts().hits == 1);
}

TEST_CASE("a cancel of the one that fetches passes its turn, a cancel of one that waits ends its wait", "[cache][async]") {
    fixture f;
    f.script.on(get).hangs().times(1);
    asio::cancellation_signal stop_first, stop_third;
    errc first = errc::ok, third = errc::ok;
    int second = 0;
    // The newest rule goes first: the one that hangs, once, then the other.
    f.db.async_try_one<int>(cached(get("a")),
                            asio::bind_cancellation_slot(stop_first.slot(), [&](strata::result<int> r) { first = r.error().code(); }));
    f.db.async_try_one<int>(cached(get("a")), [&](strata::result<int> r) { second = r.value_or(0); });
    f.db.async_try_one<int>(cached(get("a")),
                            asio::bind_cancellation_slot(stop_third.slot(), [&](strata::result<int> r) { third = r.error().code(); }));
    f.io.poll();
    stop_third.emit(asio::cancellation_type::total);
    f.io.restart();
    f.io.poll();
    CHECK(third == errc::cancelled);
    CHECK(first == errc::ok);
    stop_first.emit(asio::cancellation_type::total);
    f.run();
    CHECK(first == errc::cancelled);
    CHECK(second == 7);
}

TEST_CASE("a call that dies with its context passes its turn on", "[cache][async]") {
    fixture f;
    f.script.on(get).hangs().times(1);
    int value = 0;
    std::thread waiting;
    {
        asio::io_context doomed;
        auto there = f.blocking.async(doomed.get_executor());
        there.async_try_one<int>(cached(get("a")), [](strata::result<int>) {});
        doomed.poll();
        waiting = std::thread([&] { value = f.blocking.one<int>(cached(get("a"))); });
        std::this_thread::sleep_for(20ms);  // so that it waits, as a rule; it must come to its end in any case
    }
    waiting.join();
    CHECK(value == 7);
}

TEST_CASE("asynchronous calls are answered by what they say instead", "[fallback][async]") {
    fixture f;
    f.script.on(get).fails(errc::connection_lost);
    f.run([&]() -> asio::awaitable<void> {
        const int value = co_await f.db.async_one<int>(or_else(get("a"), 3));
        CHECK(value == 3);
        errc why = errc::ok;
        const auto ask = [&](const strata::error& e) {
            why = e.code();
            return 4;
        };
        const auto called = co_await f.db.async_try_one<int>(or_else(cached(get("a")), ask));
        CHECK(called.value() == 4);
        CHECK(why == errc::connection_lost);
        const auto fail = []() -> strata::result<int> { return strata::error{errc::busy}; };
        const auto failed = co_await f.db.async_try_one<int>(or_else(get("a"), fail));
        CHECK(failed.error().code() == errc::busy);
        const auto throws = []() -> int { throw std::runtime_error("mine"); };
        const auto thrown = co_await f.db.async_try_one<int>(or_else(get("a"), throws));
        CHECK(thrown.error().code() == errc::user_exception);
        bool caught = false;
        try {
            co_await f.db.async_one<int>(or_else(get("a"), throws));
        } catch (const std::runtime_error&) {
            caught = true;
        }
        CHECK(caught);
        // inside a transaction a mark for the cache says nothing
        f.script.on(get).returns(7);
        for (int i = 0; i < 2; ++i)
            co_await f.db.async_transaction([&](strata::async_database<bank>::transaction_type& tx) -> asio::awaitable<void> {
                const int v = co_await tx.async_one<int>(cached(get("a")));
                CHECK(v == 7);
            });
    });
    CHECK(f.counts().hits == 0);
    CHECK(f.blocking.policy<strata::fallback<>>().snapshot().used == 5);
}
