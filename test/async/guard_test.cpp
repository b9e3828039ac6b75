// The asynchronous guard: coroutines through interceptors alone; deadlines that cancel them, the caller's cancel, the end of a context.
#include <strata/async/guard.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/bulkhead.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>

#include <async/fixture.hpp>

#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/require.hpp>
#include <boost/asio/steady_timer.hpp>

#include <stdexcept>

using namespace strata_test;

namespace {

using strata::attempt;
using strata::effect;
using strata::phase;

using guarded = strata::guard<strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>,
                                            strata::bulkhead<>, strata::attempt_timeout>>;
/// Nothing in it sets a deadline.
using unbounded = strata::guard<strata::stack<strata::retry<>, strata::circuit_breaker<>, strata::bulkhead<>>>;

constexpr strata::retry_options at_once{.max_attempts = 3, .base = {}, .cap = {}};

strata::error busy() {
    return strata::error{errc::busy, "in use", phase::execute};
}

/// Waits until it is cancelled; counts who has begun, and who is gone again however that came.
struct waiting {
    int begun = 0, gone = 0;
    asio::awaitable<int> operator()() {
        struct leaving {
            int& n;
            ~leaving() { ++n; }
        };
        ++begun;
        const leaving counts{gone};
        asio::steady_timer nobody{co_await asio::this_coro::executor, strata::time_point::max()};
        co_await nobody.async_wait(asio::use_awaitable);
        co_return 1;
    }
};

/// A run by hand: with a cancel, and an end to look at.
struct observed {
    asio::cancellation_signal cancel;
    bool ended = false;
    strata::error failed;
    int value = 0;

    auto token() {
        return asio::bind_cancellation_slot(cancel.slot(), [this](strata::result<int> r) {
            ended = true;
            if (r)
                value = *r;
            else
                failed = r.error();
        });
    }
};

template <class Guard>
int places_taken(Guard& g) {
    return static_cast<int>(g.template policy<strata::bulkhead<>>().snapshot().inside);
}

}  // namespace

TEST_CASE("an asynchronous guard completes with what its callable returns", "[async][guard]") {
    guarded g;
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    CHECK(run(io, ag.async_run([]() -> asio::awaitable<int> { co_return 7; })) == 7);
    CHECK(run(io, ag.async_run([](const attempt& a) -> asio::awaitable<unsigned> { co_return a.number(); })) == 1);
    run(io, ag.async_run([]() -> asio::awaitable<void> { co_return; }));
    CHECK(*run(io, ag.async_run([]() -> asio::awaitable<std::unique_ptr<int>> { co_return std::make_unique<int>(3); })) == 3);
    CHECK(run(io, ag.async_run([]() -> asio::awaitable<strata::result<std::string>> { co_return std::string{"ok"}; })) == "ok");
    run(io, ag.async_run([]() -> asio::awaitable<strata::result<void>> { co_return strata::result<void>{}; }));
    const strata::result<int> tried = run(io, ag.async_try_run([]() -> asio::awaitable<int> { co_return 8; }));
    CHECK(tried.value() == 8);
    CHECK(run(io, ag.async_try_run([]() -> asio::awaitable<void> { co_return; })));
    // Plain functions, on the executor.
    CHECK(run(io, ag.async_run([](const attempt& a) { return a.deadline() < strata::never ? 5 : 0; })) == 5);
    run(io, ag.async_run([] {}));
    CHECK(run(io, ag.async_run([]() -> strata::result<int> { return 6; }, {.name = "plain"})) == 6);

    // Other tokens.
    const auto nine = []() -> asio::awaitable<int> { co_return 9; };
    auto future = ag.async_run(nine, asio::use_future);
    auto deferred = ag.async_run(nine, {.deadline = 1h}, asio::deferred);
    int called_back = 0;
    ag.async_run(nine, [&](std::exception_ptr e, int n) { called_back = e ? 0 : n; });
    CHECK(called_back == 0);  // never in the call
    io.restart();
    io.run();
    CHECK(future.get() + called_back == 18);
    CHECK(run(io, deferred(asio::use_awaitable)) == 9);
    CHECK(run(io, std::move(deferred)(asio::use_awaitable)) == 9);
    CHECK(g.policy<strata::metrics<>>().snapshot().latency.count() == 15);
    CHECK(places_taken(g) == 0);
}

TEST_CASE("an asynchronous guard repeats what may be repeated, each time from the beginning", "[async][guard]") {
    unbounded g{at_once};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    unsigned made = 0;
    const auto third = [&](const attempt& a) -> asio::awaitable<unsigned> {
        ++made;
        co_await asio::post(io, asio::use_awaitable);
        if (a.number() < 3) throw strata::failure{busy()};
        co_return a.number();
    };
    CHECK(run(io, ag.async_run(third)) == 3);
    CHECK(made == 3);
    for (const bool idempotent : {false, true}) {
        made = 0;
        const strata::run_options o{.idempotent = idempotent};
        const auto r = run(io, ag.async_try_run(
                                   [&]() -> asio::awaitable<strata::result<int>> {
                                       ++made;
                                       co_return strata::error{errc::timeout, "who knows", phase::execute, effect::unknown};
                                   },
                                   o));
        CHECK(r.error().code() == errc::timeout);
        CHECK(r.error().message() == "who knows");
        CHECK(made == (idempotent ? 3 : 1));
    }
    // As many attempts as there are, without going deeper for each.
    unbounded patient{strata::retry_options{.max_attempts = 20'000, .base = {}, .cap = {}, .budget = 0}};
    made = 0;
    const strata::error last = run(io, patient.async(io.get_executor()).async_try_run([&]() -> strata::result<void> {
                                   ++made;
                                   return busy();
                               })).error();
    CHECK(made == 20'000);
    CHECK(last.attempts() == 20'000);
}

TEST_CASE("a coroutine's value may say failure too", "[async][guard]") {
    unbounded g{at_once};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    const auto passes = [](const attempt& a) -> asio::awaitable<strata::judged<unsigned>> {
        strata::judged<unsigned> j{a.number() < 3 ? busy() : strata::error{}, a.number()};
        co_return j;
    };
    CHECK(run(io, ag.async_run(passes)) == 3);
    const auto stays = [](const attempt& a) { return strata::judged<unsigned>{busy(), a.number()}; };
    CHECK(run(io, ag.async_run(stays)) == 3);
    CHECK(run(io, ag.async_try_run(stays)).value() == 3);
    CHECK(g.policy<strata::retry<>>().snapshot().attempts_used_up == 2);
}

TEST_CASE("what an asynchronous callable throws comes out as it was thrown", "[async][guard]") {
    guarded g{at_once};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    int calls = 0;
    const auto throws = [&]() -> asio::awaitable<int> {
        ++calls;
        throw std::out_of_range("there is no such thing");
        co_return 1;
    };
    CHECK_THROWS_AS(run(io, ag.async_run(throws)), std::out_of_range);
    const auto tried = run(io, ag.async_try_run(throws));
    CHECK(tried.error().code() == errc::user_exception);
    CHECK(tried.error().message() == "there is no such thing");
    CHECK(calls == 2);
    CHECK_THROWS_AS(run(io, ag.async_run([&]() -> int { throw std::out_of_range("plain"); })), std::out_of_range);
    // Nobody cancelled: then this is an exception like others.
    CHECK_THROWS_AS(run(io, ag.async_run([]() -> asio::awaitable<void> {
                        throw boost::system::system_error(asio::error::operation_aborted);
                        co_return;
                    })),
                    boost::system::system_error);
    CHECK(places_taken(g) == 0);
}

TEST_CASE("both faces of a guard share its state", "[async][guard]") {
    using small = strata::guard<strata::stack<strata::circuit_breaker<>, strata::bulkhead<>>>;
    small g{strata::circuit_breaker_options{.consecutive_failures = 2, .open_time = 1h, .max_open_time = 1h},
            strata::bulkhead_options{.max_concurrent = 1}};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    CHECK(&g.policy<strata::bulkhead<>>() == &ag.policy<strata::bulkhead<>>());
    SECTION("the breaker") {
        const strata::error gone{errc::connection_lost, "gone", phase::execute};
        CHECK(g.try_run([&]() -> strata::result<int> { return gone; }).error().code() == errc::connection_lost);
        CHECK(run(io, ag.async_try_run([&]() -> asio::awaitable<strata::result<int>> { co_return gone; })).error().code() ==
              errc::connection_lost);
        CHECK(g.try_run([] { return 1; }).error().code() == errc::circuit_open);
        CHECK(run(io, ag.async_try_run([]() -> asio::awaitable<int> { co_return 1; })).error().code() == errc::circuit_open);
    }
    SECTION("the queue of the bulkhead") {
        std::vector<int> order;
        g.run([&] {  // the place is taken by a thread while others queue
            for (int i = 1; i <= 3; ++i)
                ag.async_run(
                    [&order, i]() -> asio::awaitable<void> {
                        order.push_back(i);
                        co_return;
                    },
                    [](std::exception_ptr e) { CHECK_FALSE(e); });
            io.poll();
            CHECK(order.empty());
            CHECK(g.policy<strata::bulkhead<>>().snapshot().waiting == 3);
        });
        io.run();
        CHECK(order == std::vector<int>{1, 2, 3});
    }
}

TEST_CASE("an attempt is cancelled at its deadline", "[async][guard]") {
    guarded g{at_once, strata::attempt_timeout_options{.limit = 5ms}, strata::circuit_breaker_options{.consecutive_failures = 3}};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    waiting w;
    SECTION("it may have done something: repeated only if idempotent") {
        const strata::error once = run(io, ag.async_try_run(std::ref(w))).error();
        CHECK(once.code() == errc::timeout);
        CHECK(once.effect() == effect::unknown);
        CHECK(once.phase() == phase::execute);
        CHECK_FALSE(once.local());
        CHECK(w.begun == 1);
        CHECK(w.gone == 1);
        CHECK(run(io, ag.async_try_run(std::ref(w), {.idempotent = true})).error().code() != errc::ok);
        CHECK(w.begun == 3);  // the breaker has seen three of them
        CHECK(w.gone == 3);
        CHECK(g.policy<strata::circuit_breaker<>>().state() == strata::circuit_state::open);
    }
    SECTION("the next attempt is not hurt") {
        const auto second = [&](const attempt& a) -> asio::awaitable<int> {
            if (a.number() == 1) co_await w();
            asio::steady_timer soon{io, 0ms};
            co_await soon.async_wait(asio::use_awaitable);
            co_return 4;
        };
        CHECK(run(io, ag.async_run(second, {.idempotent = true})) == 4);
    }
    SECTION("a value is a success all the same") {
        const auto late = [&]() -> asio::awaitable<int> {
            try {
                co_await w();
            } catch (const boost::system::system_error&) {
            }
            co_return 11;
        };
        CHECK(run(io, ag.async_run(late)) == 11);
        CHECK(g.policy<strata::circuit_breaker<>>().snapshot().failures == 0);
    }
    SECTION("what it knows of the effect stays known") {
        const auto honest = [&]() -> asio::awaitable<int> {
            strata::error e;
            try {
                co_await w();
            } catch (const boost::system::system_error&) {
                e = strata::error{errc::cancelled, "undone", phase::execute, effect::rolled_back};
            }
            throw strata::failure{e};
        };
        const strata::error e = run(io, ag.async_try_run(honest)).error();
        CHECK(e.code() == errc::timeout);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(e.message() == "undone");
        CHECK(e.attempts() == 3);
    }
    SECTION("what it says itself stays said") {
        const auto busier = [&]() -> asio::awaitable<strata::result<int>> {
            try {
                co_await w();
            } catch (const boost::system::system_error&) {
            }
            co_return strata::error{errc::unique_violation, "twice", phase::execute};
        };
        CHECK(run(io, ag.async_try_run(busier)).error().code() == errc::unique_violation);
    }
    SECTION("a coroutine may keep it out, and one that was busy learns of it at its next co_await") {
        const auto deaf = [&]() -> asio::awaitable<int> {
            co_await asio::this_coro::reset_cancellation_state(asio::disable_cancellation());
            asio::steady_timer t{io, 50ms};
            co_await t.async_wait(asio::use_awaitable);
            co_return 12;
        };
        CHECK(run(io, ag.async_run(deaf)) == 12);
        const auto active = [&](const attempt& a) -> asio::awaitable<int> {
            while (strata::clock::now() < a.deadline()) co_await asio::post(io, asio::use_awaitable);
            for (;;) co_await asio::post(io, asio::use_awaitable);
        };
        CHECK(run(io, ag.async_try_run(active)).error().code() == errc::timeout);
    }
    CHECK(places_taken(g) == 0);
}

TEST_CASE("the deadline of the whole run bounds an attempt too, and then says nothing of health", "[async][guard]") {
    guarded g{at_once, strata::circuit_breaker_options{.consecutive_failures = 1}};
    asio::io_context io;
    waiting w;
    const strata::error e = run(io, g.async(io.get_executor()).async_try_run(std::ref(w), {.deadline = 5ms, .idempotent = true})).error();
    CHECK(e.code() == errc::timeout);
    CHECK(w.begun == 1);  // another could not begin in time
    CHECK(w.gone == 1);
    CHECK(g.policy<strata::circuit_breaker<>>().state() == strata::circuit_state::closed);
}

TEMPLATE_TEST_CASE("the caller's cancel ends an asynchronous run wherever it is", "[async][guard]", guarded, unbounded) {
    const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total);
    TestType g{strata::retry_options{.max_attempts = 3, .base = 1h, .cap = 1h, .jitter = strata::jitter::none},
               strata::bulkhead_options{.max_concurrent = 1, .max_wait = 1h}};
    asio::io_context io;
    auto ag = g.async(io.get_executor());
    waiting w;
    observed first, second;
    ag.async_try_run(std::ref(w), first.token());
    SECTION("before the callable has begun") {
        first.cancel.emit(type);
        io.run();
        CHECK(first.failed.code() == errc::cancelled);
        CHECK(first.failed.effect() == effect::none);
        CHECK(w.begun == 0);
    }
    SECTION("in the callable") {
        io.poll();
        REQUIRE(w.begun == 1);
        first.cancel.emit(type);
        io.run();
        CHECK(first.failed.code() == errc::cancelled);
        CHECK(first.failed.effect() == effect::unknown);
        CHECK(w.gone == 1);
    }
    SECTION("in the queue of a layer") {
        ag.async_try_run(std::ref(w), second.token());
        io.poll();
        second.cancel.emit(type);
        io.poll();
        REQUIRE(second.ended);
        CHECK(second.failed.code() == errc::cancelled);
        CHECK(second.failed.local());
        CHECK_FALSE(first.ended);
        CHECK(w.begun == 1);
        first.cancel.emit(type);
        io.run();
    }
    SECTION("between attempts") {
        first.cancel.emit(type);
        io.run();
        io.restart();
        int calls = 0;
        ag.async_try_run([&]() -> strata::result<int> { return ++calls, busy(); }, second.token());
        if constexpr (std::is_same_v<TestType, unbounded>) {
            io.poll();
            REQUIRE_FALSE(second.ended);
            second.cancel.emit(type);
        }
        io.run();
        CHECK(calls == 1);
        CHECK(second.failed.code() == (std::is_same_v<TestType, unbounded> ? errc::cancelled : errc::busy));
    }
    CHECK(first.ended);
    CHECK(places_taken(g) == 0);
}

TEMPLATE_TEST_CASE("a cancel is heard at every step of the way to the callable", "[async][guard]", guarded, unbounded) {
    const auto type = GENERATE(asio::cancellation_type::terminal, asio::cancellation_type::partial, asio::cancellation_type::total);
    TestType g;
    asio::io_context io;
    waiting w;
    observed o;
    // An executor that begins nothing at once, so that each hop is a step of the loop: the cancel comes after each of them.
    const auto later = asio::require(io.get_executor(), asio::execution::blocking.never);
    g.async(io.get_executor()).async_try_run(std::ref(w), asio::bind_executor(later, o.token()));
    for (int step = GENERATE(range(0, 8)); step > 0; --step) io.poll_one();
    const int begun = w.begun;
    o.cancel.emit(type);
    io.run();
    CHECK(o.failed.code() == errc::cancelled);
    CHECK(o.failed.effect() == (begun == 0 ? effect::none : effect::unknown));
    CHECK(w.begun == begun);
    CHECK(w.gone == begun);
    CHECK(places_taken(g) == 0);
}

TEST_CASE("a cancelled callable that ends well has ended well", "[async][guard]") {
    guarded g;
    asio::io_context io;
    waiting w;
    observed o;
    g.async(io.get_executor())
        .async_try_run(
            [&]() -> asio::awaitable<int> {
                try {
                    co_await w();
                } catch (const boost::system::system_error&) {
                }
                co_return 5;
            },
            o.token());
    io.poll();
    o.cancel.emit(asio::cancellation_type::terminal);
    io.run();
    CHECK(o.value == 5);
}

TEST_CASE("a context that ends takes its runs along, and nothing leaks", "[async][guard]") {
    unbounded g{strata::retry_options{.base = 1h, .cap = 1h, .jitter = strata::jitter::none},
                strata::bulkhead_options{.max_concurrent = 2}};
    guarded bounded;
    waiting w;
    const auto kept = std::make_shared<int>();
    std::weak_ptr<int> alive = kept;
    {
        asio::io_context io;
        const auto never = [keep = kept](const auto&...) { FAIL("it must not be called"); };
        auto ag = g.async(io.get_executor());
        ag.async_run([]() -> strata::result<int> { return busy(); }, never);  // between attempts
        io.poll();
        ag.async_run(std::ref(w), never);                    // in the callable
        ag.async_run(std::ref(w), {.deadline = 1h}, never);  // the same, with a bell
        bounded.async(io.get_executor()).async_run(std::ref(w), never);
        ag.async_run(std::ref(w), never);  // in the queue
        io.poll();
        ag.async_run(std::ref(w), never);  // admitted, or queued, and not yet looked at
        CHECK(w.begun == 3);
        CHECK(kept.use_count() > 2);
    }
    CHECK(w.gone == 3);
    CHECK(kept.use_count() == 1);
    CHECK(places_taken(g) == 0);
    CHECK(g.policy<strata::bulkhead<>>().snapshot().waiting == 0);
    CHECK(places_taken(bounded) == 0);
}

TEST_CASE("a run keeps its guard's state", "[async][guard]") {
    asio::io_context io;
    std::optional<unbounded> g{std::in_place};
    auto f = g->async(io.get_executor())
                 .async_run(
                     [&](const attempt& a) -> strata::result<unsigned> {
                         if (a.number() < 2) return busy();
                         return a.number();
                     },
                     asio::use_future);
    g.reset();
    io.run();
    CHECK(f.get() == 2);
    strata::async_guard<strata::stack<strata::retry<>>> own{io.get_executor(), at_once};
    CHECK(run(io, own.async_run([](const attempt& a) -> strata::result<unsigned> {
              if (a.number() < 3) return busy();
              return a.number();
          })) == 3);
}

TEST_CASE("deadlines and ends of attempts meet in any order on several threads", "[async][guard][threads]") {
    guarded g{strata::retry_options{.max_attempts = 3, .base = {}, .cap = {}, .budget = 0}, strata::attempt_timeout_options{.limit = 200us},
              strata::bulkhead_options{.max_concurrent = 8, .max_wait = 1min},
              strata::circuit_breaker_options{.consecutive_failures = 1'000'000}};
    asio::thread_pool threads{4};
    auto ag = g.async(threads.get_executor());
    std::atomic<int> ended{0}, odd{0};
    const auto body = [](const attempt& a) -> asio::awaitable<int> {
        const auto here = co_await asio::this_coro::executor;
        for (int i = 0; i < 3; ++i) {
            asio::steady_timer t{here, std::chrono::microseconds{40 + 40 * static_cast<int>(a.number())}};
            co_await t.async_wait(asio::use_awaitable);
        }
        co_return 1;
    };
    for (int i = 0; i < 400; ++i)
        ag.async_try_run(body, {.idempotent = true}, [&](strata::result<int> r) {
            if (!r && r.error().code() != errc::timeout) ++odd;
            ++ended;
        });
    threads.join();
    CHECK(ended == 400);
    CHECK(odd == 0);
    CHECK(places_taken(g) == 0);
}
