// Hedged reads under Asio, over a script: tokens, executors, cancellation, lifetime, and many threads.
#include <support/catch.hpp>

#include <strata/async.hpp>
#include <strata/async/hedged.hpp>
#include <strata/sql/statement.hpp>
#include <strata/testing/scripted.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_future.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
namespace asio = boost::asio;

namespace {

using hedged_stack = strata::stack<strata::metrics<>, strata::retry<>, strata::circuit_breaker<>, strata::pool<>, strata::scripted>;
using client = strata::async_database<hedged_stack>;

constexpr auto get = "select x from t where id = :id"_sql;

struct fixture {
    explicit fixture(strata::hedge_options hedging = {.percentile = 0.5, .minimum_samples = 20, .budget = 1})
        : db(io.get_executor(), strata::scripted_options{script}, strata::pool_options{.min_size = 4, .max_size = 4}), h(hedging) {
        script.on(get).returns(7);
        run([this]() -> asio::awaitable<void> {
            for (int i = 0; i < 20; ++i) {
                const int v = co_await db.hedged(h).async_one<int>(get(i));
                CHECK(v == 7);
            }
        });
        CHECK(h.snapshot().delay >= 1ms);
        CHECK(h.snapshot().hedged == 0);
        script.forget_calls();
    }
    template <class Body>
    void run(Body body) {
        std::exception_ptr thrown;
        asio::co_spawn(io, std::move(body), [&](std::exception_ptr e) { thrown = e; });
        io.restart();
        io.run();
        if (thrown) std::rethrow_exception(thrown);
    }
    [[nodiscard]] bool is_at_rest() {
        const auto s = db.connections();
        return s.idle == s.open && s.waiting == 0;
    }

    strata::script script;
    asio::io_context io;
    client db;
    strata::hedge h;
};

}  // namespace

TEST_CASE("a second try answers where the first hangs, and the first is cancelled", "[hedge][async]") {
    fixture f;
    f.script.on(get).hangs().times(1);
    f.run([&]() -> asio::awaitable<void> {
        const int v = co_await f.db.hedged(f.h).async_one<int>(get(1));
        CHECK(v == 7);
    });
    CHECK(f.h.snapshot().hedged == 1);
    CHECK(f.h.snapshot().won == 1);
    const auto calls = f.script.calls();
    REQUIRE(calls.size() == 2);
    CHECK(calls[0].connection != calls[1].connection);
    CHECK(f.is_at_rest());
    CHECK(f.db.connections().lost == 0);
    CHECK(f.db.policy<strata::circuit_breaker<>>().snapshot().failures == 0);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 0);
    const auto m = f.db.policy<strata::metrics<>>().snapshot();
    CHECK(m.operations[0][static_cast<std::size_t>(strata::outcome_class::ok)] == 21);
    CHECK(m.operations[0][static_cast<std::size_t>(strata::outcome_class::cancelled)] == 1);
}

TEST_CASE("every form and token of a hedged read", "[hedge][async]") {
    fixture f;
    f.run([&]() -> asio::awaitable<void> {
        auto db = f.db.hedged(f.h);
        const auto maybe = co_await db.async_maybe_one<int>(get(1));
        CHECK(maybe == 7);
        const auto all = co_await db.async_all<int>(get(1), {.deadline = 1h});
        CHECK(all == std::vector<int>{7});
        const auto one = co_await db.async_try_one<int>(get(1));
        CHECK(one.value() == 7);
        const auto tried = co_await db.async_try_maybe_one<int>(get(1));
        CHECK(tried.value() == 7);
        const auto rows = co_await db.async_try_all<int>(get(1));
        CHECK(rows.value().size() == 1);
        f.script.on(get).fails(errc::undefined_object).times(2);
        const auto failed = co_await db.async_try_one<int>(get(1));
        CHECK(failed.error().code() == errc::undefined_object);
        errc thrown = errc::ok;
        try {
            co_await db.async_one<int>(get(1));
        } catch (const strata::failure& e) {
            thrown = e.code();
        }
        CHECK(thrown == errc::undefined_object);
    });

    auto future = f.db.hedged(f.h).async_one<int>(get(1), asio::use_future);
    int called = 0;
    f.db.hedged(f.h).async_try_one<int>(get("id"_arg = 1), [&, only_moves = std::make_unique<int>(1)](strata::result<int> r) {
        CHECK(r.value() == 7);
        called += *only_moves;
    });
    std::string text = "text";  // an lvalue is copied in the call
    f.script.on("select x from t where s = :s").returns(9);
    auto later = f.db.hedged(f.h).async_one<int>("select x from t where s = :s"_sql(text), asio::deferred);
    text = "other";
    for (int i = 0; i < 2; ++i)
        later([&](std::exception_ptr e, int v) {
            CHECK_FALSE(e);
            called += v;
        });
    CHECK(called == 0);
    f.io.restart();
    f.io.run();
    CHECK(future.get() == 7);
    CHECK(called == 19);
    CHECK(f.script.journal().back() == "select x from t where s = :s ['text']");
    CHECK(f.is_at_rest());
}

TEST_CASE("both tries hang: a cancel ends them, and the call at once", "[hedge][async]") {
    for (const bool hedged : {false, true}) {
        fixture f;
        f.script.on(get).hangs().times(2);
        asio::cancellation_signal stop;
        errc code = errc::ok;
        f.db.hedged(f.h).async_try_one<int>(
            get(1), asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) { code = r.error().code(); }));
        f.io.restart();
        f.io.run_for(hedged ? 30ms : 0ms);
        CHECK(f.h.snapshot().hedged == (hedged ? 1 : 0));
        stop.emit(asio::cancellation_type::total);
        f.io.restart();
        f.io.run();
        CHECK(code == errc::cancelled);
        CHECK_FALSE(stop.slot().has_handler());
        CHECK(f.is_at_rest());
    }
}

TEST_CASE("a cancel over the loop reaches the second when the first has failed", "[hedge][async]") {
    fixture f;
    f.script.on(get).fails(errc::io_error).takes(20ms).times(1).hangs().times(1);
    asio::cancellation_signal stop;
    errc code = errc::ok;
    f.db.hedged(f.h).async_try_one<int>(get(1),
                                        asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) { code = r.error().code(); }));
    f.io.restart();
    f.io.run_for(60ms);
    CHECK(code == errc::ok);
    stop.emit(asio::cancellation_type::total);
    f.io.restart();
    f.io.run_for(10s);
    CHECK(code == errc::io_error);
    CHECK(f.is_at_rest());
}

TEST_CASE("a deadline ends a hedged read", "[hedge][async]") {
    fixture f;
    f.script.on(get).hangs().times(2);
    const auto began = strata::clock::now();
    f.run([&]() -> asio::awaitable<void> {
        const auto r = co_await f.db.hedged(f.h).async_try_one<int>(get(1), {.deadline = 20ms});
        CHECK(r.error().code() == errc::timeout);
    });
    CHECK(strata::clock::now() - began >= 20ms);
    CHECK(strata::clock::now() - began < 2s);
    CHECK(f.h.snapshot().hedged == 1);
    CHECK(f.is_at_rest());
}

TEST_CASE("the result does not wait for a loser, and the loser needs nothing of the caller's", "[hedge][async]") {
    fixture f;
    auto h = std::make_unique<strata::hedge>(strata::hedge_options{.percentile = 0.5, .minimum_samples = 20, .budget = 1});
    f.run([&]() -> asio::awaitable<void> {
        for (int i = 0; i < 20; ++i) static_cast<void>(co_await f.db.hedged(*h).async_one<int>(get(i)));
    });
    f.script.on(get).hangs().times(1);
    bool done = false;
    auto tagged = std::make_unique<std::string>("a text that lies on the heap, and not in the string");
    const strata::tag tags[] = {{*tagged, *tagged}};
    f.db.hedged(*h).async_one<int>(get(1), strata::call_options{.tags = tags}, [&](std::exception_ptr, int v) {
        CHECK(v == 7);
        CHECK_FALSE(f.is_at_rest());  // the loser is still there
        h.reset();
        tagged.reset();
        done = true;
    });
    f.io.restart();
    f.io.run();
    CHECK(done);
    CHECK(f.is_at_rest());
}

TEST_CASE("a statement made at run time that is no read is refused", "[hedge][async]") {
    fixture f;
    f.run([&]() -> asio::awaitable<void> {
        const strata::statement write{"delete from t"};
        const auto r = co_await f.db.hedged(f.h).async_try_one<int>(write);
        CHECK(r.error().code() == errc::misuse);
        const strata::statement read{"select x from t where id = :id"};
        auto with = read;
        with.set("id"_arg = 5);
        const int v = co_await f.db.hedged(f.h).async_one<int>(with);
        CHECK(v == 7);
    });
}

TEST_CASE("a context ends, at any point of a hedged read", "[hedge][async][lifetime]") {
    for (int steps = 0; steps < 12; ++steps) {
        strata::script script;
        auto io = std::make_unique<asio::io_context>();
        strata::database<hedged_stack> db{strata::scripted_options{script}, strata::pool_options{.min_size = 4, .max_size = 4}};
        strata::hedge h{{.percentile = 0.5, .minimum_samples = 1, .budget = 1}};
        auto adb = db.async(io->get_executor());
        script.on(get).returns(7);
        int called = 0;
        adb.hedged(h).async_one<int>(get(1), [&](std::exception_ptr, int) { ++called; });
        io->run();
        CHECK(called == 1);
        script.on(get).hangs().times(2);
        const auto held = std::make_shared<int>(0);
        adb.hedged(h).async_one<int>(get(1), [&, held](std::exception_ptr, int) { ++called; });
        io->restart();
        for (int i = 0; i < steps && io->run_one_for(3ms) != 0; ++i) {
        }
        CHECK(called == 1);
        io.reset();
        CHECK(held.use_count() == 1);
        CHECK(db.connections().idle == db.connections().open);
    }
}

TEST_CASE("the database ends before its hedged reads do", "[hedge][async][lifetime]") {
    fixture f;
    f.script.on(get).hangs().times(1);
    int v = 0;
    {
        auto db = std::make_unique<client>(f.db);
        db->hedged(f.h).async_one<int>(get(1), [&](std::exception_ptr, int x) { v = x; });
    }
    f.io.restart();
    f.io.run();
    CHECK(v == 7);
}

TEST_CASE("a handler of another context is called there, and that context may end once it was", "[hedge][async][lifetime]") {
    fixture f;
    f.script.on(get).hangs().times(1);
    std::thread::id called_on;
    auto other = std::make_unique<asio::io_context>();
    f.db.hedged(f.h).async_one<int>(get(1), asio::bind_executor(other->get_executor(), [&](std::exception_ptr, int v) {
                                        CHECK(v == 7);
                                        called_on = std::this_thread::get_id();
                                    }));
    std::thread runs([&] { other->run(); });  // has work until the handler was called
    const auto there = runs.get_id();
    f.io.restart();
    while (!f.is_at_rest() || called_on == std::thread::id{}) {
        if (f.io.run_one_for(1ms) == 0) f.io.restart();
        if (f.h.snapshot().won == 1) break;
    }
    runs.join();
    other.reset();  // while the loser may be on its way
    f.io.restart();
    f.io.run();
    CHECK(called_on == there);
    CHECK(f.is_at_rest());
}

TEST_CASE("hedged reads on many threads, some cancelled: each ends once, and all connections come back", "[hedge][async][threads]") {
    strata::script script;
    asio::thread_pool threads{3};
    client db{threads.get_executor(), strata::scripted_options{script}, strata::pool_options{.min_size = 8, .max_size = 8}};
    strata::hedge h{{.percentile = 0.5, .min_delay = 0ms, .minimum_samples = 10, .budget = 1, .burst = 1000}};
    auto on = script.on(get);
    for (int i = 0; i < 2'000; ++i) on.returns(i).takes(i % 4 == 0 ? 2ms : 100us).times(1);
    on.returns(1).takes(100us);
    constexpr int reads = 600;
    std::atomic<int> ended{0}, cancelled{0};
    std::vector<std::unique_ptr<asio::cancellation_signal>> stops;
    for (int i = 0; i < reads; ++i) stops.push_back(std::make_unique<asio::cancellation_signal>());
    for (int i = 0; i < reads; ++i) {
        const auto ex = asio::make_strand(threads);
        asio::cancellation_signal& stop = *stops[static_cast<std::size_t>(i)];
        asio::post(ex, [&, ex, i] {
            db.hedged(h).async_try_one<int>(get(i),
                                            asio::bind_executor(ex, asio::bind_cancellation_slot(stop.slot(), [&](strata::result<int> r) {
                                                                    ended.fetch_add(1);
                                                                    if (r.has_error() && r.error().code() == errc::cancelled)
                                                                        cancelled.fetch_add(1);
                                                                })));
        });
        if (i % 3 == 0) {
            const auto timer = std::make_shared<asio::steady_timer>(ex, std::chrono::microseconds(i % 50 * 40));
            timer->async_wait([&stop, timer](auto) { stop.emit(asio::cancellation_type::terminal); });
        }
        if (i % 6 == 0) std::this_thread::sleep_for(200us);
    }
    threads.join();
    CHECK(ended == reads);
    CHECK(h.snapshot().reads == reads);
    const auto s = db.connections();
    CHECK(s.idle == s.open);
    CHECK(s.waiting == 0);
}
