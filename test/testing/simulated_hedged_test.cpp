// Hedged reads in virtual time: the same tries and decisions as under Asio, raced deterministically.
#include <support/catch.hpp>

#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_hedged.hpp>

#include <map>
#include <set>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::duration;
using strata::errc;
using task = strata::simulated_task<>;
using journal = std::vector<std::string>;

namespace {

/// Looks at what a caller's tags say, when an operation ends.
struct tag_reader {
    static constexpr auto place = strata::place::observe;
    struct frame {};
    void settle(auto& op, frame&, strata::outcome&) {
        for (const strata::tag& t : op.tags) seen.insert(std::string(t.key) + "=" + std::string(t.value));
    }
    std::multiset<std::string> seen;
};

using hedged_stack =
    strata::stack<tag_reader, strata::metrics<>, strata::retry<>, strata::circuit_breaker<>, strata::pool<>, strata::scripted>;
using client = strata::simulated_database<hedged_stack>;

constexpr auto get = "select x from t where id = :id"_sql.named("get");

struct fixture {
    explicit fixture(std::size_t connections = 2, strata::hedge_options hedging = {}, std::uint64_t seed = 1,
                     strata::retry_options repeating = {.max_attempts = 3, .base = 1ms, .cap = 1ms})
        : world(seed),
          db(world, strata::scripted_options{script}, repeating, strata::circuit_breaker_options{.consecutive_failures = 1'000'000},
             strata::pool_options{.min_size = connections, .max_size = connections}),
          h(hedging) {
        script.on(get).takes(5ms).returns(7);
    }
    /// So many reads of 5 ms: from then on a second try begins after a little more than that.
    void warm_up(int reads = 200) {
        world.spawn("warm up", [this, reads]() -> task {
            for (int i = 0; i < reads; ++i) {
                const int v = co_await db.hedged(h).one<int>(get(0));
                CHECK(v == 7);
            }
        });
        world.run();
        script.forget_calls();
        usual = h.snapshot().delay;
        CHECK(usual >= 5ms);
        CHECK(usual < 5400us);
        start = world.elapsed();
    }
    /// One read, to its end. Sets `took`.
    strata::result<int> read(const strata::call_options& o = {}) {
        strata::result<int> out{0};
        const auto c = world.spawn("client", [&]() -> task {
            out = co_await db.hedged(h).try_one<int>(get(1), o);
            took = world.elapsed() - start;
        });
        start = world.elapsed();
        world.run();
        CHECK(c.done());
        return out;
    }
    [[nodiscard]] bool is_at_rest() {
        const auto s = db.connections();
        return s.idle == s.open && s.waiting == 0;
    }
    [[nodiscard]] std::uint64_t reads_that(strata::outcome_class c) {
        return db.policy<strata::metrics<>>().snapshot().operations[static_cast<std::size_t>(strata::operation_kind::read)]
                                                                   [static_cast<std::size_t>(c)];
    }

    strata::script script;
    strata::simulated_world world;
    client db;
    strata::hedge h;
    duration usual{}, start{}, took{};
};

}  // namespace

TEST_CASE("a read that answers in its usual time has one try", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    CHECK(f.h.snapshot().reads == 200);
    CHECK(f.h.snapshot().hedged == 0);
    CHECK(f.read().value() == 7);
    CHECK(f.took == 5ms);
    CHECK(f.script.calls().size() == 1);
    CHECK(f.world.elapsed() - f.start == 5ms);  // and leaves nothing behind
}

TEST_CASE("one that takes longer has a second, on another connection; the first answer counts and the loser is cancelled",
          "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    const auto cancelled = f.reads_that(strata::outcome_class::cancelled);
    f.script.on(get).hangs().times(1);
    CHECK(f.read().value() == 7);
    CHECK(f.took == f.usual + 5ms);
    const auto calls = f.script.calls();
    REQUIRE(calls.size() == 2);
    CHECK(calls[0].connection != calls[1].connection);
    CHECK(f.h.snapshot().hedged == 1);
    CHECK(f.h.snapshot().won == 1);
    CHECK(f.is_at_rest());
    CHECK(f.db.connections().lost == 0);

    // What the layers see: two operations, of which one was cancelled; no sample for the breaker, and not repeated.
    CHECK(f.reads_that(strata::outcome_class::ok) == 201);
    CHECK(f.reads_that(strata::outcome_class::cancelled) == cancelled + 1);
    CHECK(f.db.policy<strata::circuit_breaker<>>().snapshot().failures == 0);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 0);
}

TEST_CASE("the first may win though it has a second", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    f.script.on(get).returns(1).takes(7ms).times(1).hangs().times(1);
    CHECK(f.read().value() == 1);
    CHECK(f.took == 7ms);
    CHECK(f.script.calls().size() == 2);
    CHECK(f.h.snapshot().hedged == 1);
    CHECK(f.h.snapshot().won == 0);
    CHECK(f.is_at_rest());
}

TEST_CASE("the connection of a try that has lost is taken last", "[hedge][simulated]") {
    fixture f{3};
    f.warm_up();
    f.script.on(get).hangs().times(1);
    CHECK(f.read().value() == 7);
    const unsigned slow = f.script.calls()[0].connection;
    for (int i = 0; i < 5; ++i) CHECK(f.read().value() == 7);
    for (std::size_t i = 1; i < 7; ++i) CHECK(f.script.calls()[i].connection != slow);
    // It is there all the same, for those who need it.
    f.script.forget_calls();
    for (int i = 0; i < 3; ++i) f.world.spawn("client", [&]() -> task { static_cast<void>(co_await f.db.hedged(f.h).one<int>(get(1))); });
    f.world.run();
    REQUIRE(f.script.calls().size() == 3);
    CHECK(f.script.calls()[2].connection == slow);
    CHECK(f.is_at_rest());
    CHECK(f.db.connections().opened == 3);
}

TEST_CASE("no idle connection, or somebody who waits for one: no second try", "[hedge][simulated]") {
    fixture f{2};
    f.warm_up();
    for (const int others : {1, 2, 3}) {  // of them beyond two wait
        f.script.forget_calls();
        const auto before = f.h.snapshot();
        f.script.on("select 1").takes(1s).returns(1);
        for (int i = 0; i < others; ++i)
            f.world.spawn("other", [&]() -> task { static_cast<void>(co_await f.db.one<int>("select 1"_sql)); });
        f.world.run_for(0s);
        f.script.on(get).takes(20ms).returns(8).times(1);
        CHECK(f.read().value() == 8);
        CHECK(f.h.snapshot().hedged == before.hedged);
        CHECK(f.h.snapshot().no_connection == before.no_connection + 1);
        CHECK(f.is_at_rest());
    }
}

TEST_CASE("the connection that was idle is gone when the second try wants it: it does not wait, and nothing has failed",
          "[hedge][simulated]") {
    strata::script script;
    strata::simulated_world world;
    strata::simulated_database<strata::stack<strata::chaos, strata::pool<>, strata::scripted>> db{
        world, strata::scripted_options{script}, strata::pool_options{.min_size = 2, .max_size = 2},
        strata::chaos_options{.latency_rate = 1, .latency = 5ms}};  // before each lease
    strata::hedge h{{.minimum_samples = 10, .budget = 1}};
    script.on(get).returns(1).takes(5ms).times(10).returns(2).takes(50ms);
    script.on("select 1").returns(1).takes(1s);
    int value = 0;
    duration took{};
    world.spawn("client", [&]() -> task {
        for (int i = 0; i < 10; ++i) static_cast<void>(co_await db.hedged(h).one<int>(get(1)));
        const auto began = world.elapsed();
        value = co_await db.hedged(h).one<int>(get(1));  // a second try sets out after 10 ms, and wants its connection after 15
        took = world.elapsed() - began;
    });
    world.spawn("other", [&]() -> task {
        co_await world.sleep(107ms);
        static_cast<void>(co_await db.one<int>("select 1"_sql));
    });
    world.run();
    CHECK(value == 2);
    CHECK(took == 55ms);
    CHECK(h.snapshot().hedged == 1);
    CHECK(h.snapshot().won == 0);
    CHECK(db.connections().waits == 0);
}

TEST_CASE("a pool that could grow does not for a second try", "[hedge][simulated]") {
    fixture f{1};
    f.warm_up();
    f.script.on(get).takes(20ms).returns(8).times(1);
    CHECK(f.read().value() == 8);
    CHECK(f.h.snapshot().no_connection == 1);
    CHECK(f.db.connections().opened == 1);

    strata::simulated_world world;
    client growing{world, strata::scripted_options{f.script}, strata::pool_options{.min_size = 1, .max_size = 5}};
    world.spawn("client", [&]() -> task {
        for (int i = 0; i < 20; ++i) {
            f.script.on(get).takes(20ms).returns(8).times(1);
            static_cast<void>(co_await growing.hedged(f.h).one<int>(get(1)));
        }
    });
    world.run();
    CHECK(growing.connections().opened == 1);
}

TEST_CASE("a second try costs one of the retry's repetitions, and there is none when these are used up", "[hedge][simulated]") {
    fixture f{2, {}, 1, {.budget = 2, .refund = 0.0}};
    f.warm_up();
    for (int i = 1; i <= 4; ++i) {
        f.script.on(get).takes(50ms).returns(9).times(1);
        CHECK(f.read().value() == (i <= 2 ? 7 : 9));
        CHECK(f.db.policy<strata::retry<>>().snapshot().tokens == (i == 1 ? 1 : 0));
    }
    CHECK(f.h.snapshot().hedged == 2);
    CHECK(f.h.snapshot().no_budget == 2);
}

TEST_CASE("a second try is never repeated, the first is as ever", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    // The second fails at once; the first goes on.
    f.script.on(get).returns(3).takes(20ms).times(1).fails(errc::busy).times(1);
    CHECK(f.read().value() == 3);
    CHECK(f.took == 20ms);
    CHECK(f.script.calls().size() == 2);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 0);

    // The first fails while the second is on its way, and is repeated; the second wins before that answers.
    f.script.forget_calls();
    f.script.on(get).fails(errc::busy).takes(6ms).times(1).returns(4).takes(5ms).times(1).returns(5).takes(1s).times(1);
    CHECK(f.read().value() == 4);
    CHECK(f.took == f.usual + 5ms);
    CHECK(f.script.calls().size() == 3);
    CHECK(f.db.policy<strata::retry<>>().snapshot().repeats == 1);
    CHECK(f.is_at_rest());
    CHECK(f.world.elapsed() - f.start < 20ms);  // nobody waited for the loser, and it was not repeated
}

TEST_CASE("a loser in the pause before a repetition is not repeated", "[hedge][simulated]") {
    fixture f{2, {}, 1, {.max_attempts = 3, .base = 1s, .cap = 1s, .jitter = strata::jitter::none}};
    f.warm_up();
    f.script.on(get).takes(6ms).fails(errc::busy).times(1);
    CHECK(f.read().value() == 7);
    CHECK(f.took == f.usual + 5ms);
    CHECK(f.script.calls().size() == 2);
    CHECK(f.world.elapsed() - f.start == f.took);
}

TEST_CASE("both fail: the first's error, whoever failed first", "[hedge][simulated]") {
    fixture f{4, {}, 1, {.max_attempts = 1}};
    f.warm_up();
    f.script.on(get).fails(errc::busy).takes(7ms).times(1).fails(errc::deadlock).takes(9ms).times(1);
    CHECK(f.read().error().code() == errc::busy);
    CHECK(f.took == f.usual + 9ms);
    f.script.on(get).fails(errc::busy).takes(9ms).times(1).fails(errc::deadlock).takes(1ms).times(1);
    CHECK(f.read().error().code() == errc::busy);
    CHECK(f.took == 9ms);
    // One connection's failure is no answer while the other try is on its way.
    f.script.on(get).fails(errc::connection_lost, strata::effect::unknown).takes(7ms).times(1).returns(6).takes(9ms).times(1);
    CHECK(f.read().value() == 6);
    CHECK(f.took == f.usual + 9ms);
    // What the database says of the read itself is.
    f.script.on(get).hangs().times(1).columns({"x"}).rows(strata::scripted_rows{}).times(1);
    CHECK(f.read().error().code() == errc::no_rows);
    CHECK(f.took == f.usual);
    f.script.on(get).fails(errc::undefined_object).takes(7ms).times(1).hangs().times(1);
    CHECK(f.read().error().code() == errc::undefined_object);
    CHECK(f.took == 7ms);
    CHECK(f.is_at_rest());
}

TEST_CASE("the deadline is that of the whole read", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    f.script.on(get).hangs().times(2);
    CHECK(f.read({.deadline = 8ms}).error().code() == errc::timeout);
    CHECK(f.took == 8ms);
    CHECK(f.h.snapshot().hedged == 1);
    f.script.on(get).hangs().times(1);
    CHECK(f.read({.deadline = 4ms}).error().code() == errc::timeout);
    CHECK(f.took == 4ms);
    CHECK(f.h.snapshot().hedged == 1);
    CHECK(f.is_at_rest());
    CHECK(f.world.elapsed() - f.start == 4ms);
}

TEST_CASE("a second try has the time that is left, also when the first has failed", "[hedge][simulated]") {
    fixture f{2, {}, 1, {.max_attempts = 1}};
    f.warm_up();
    f.script.on(get).fails(errc::busy).takes(7ms).times(1).hangs().times(1);
    CHECK(f.read({.deadline = 10ms}).error().code() == errc::busy);
    CHECK(f.took == 10ms);
    CHECK(f.is_at_rest());
}

TEST_CASE("a cancel reaches the second when the first has failed", "[hedge][simulated]") {
    fixture f{2, {}, 1, {.max_attempts = 1}};
    f.warm_up();
    f.script.on(get).fails(errc::busy).takes(7ms).times(1).hangs().times(1);
    errc code = errc::ok;
    const auto c = f.world.spawn("client", [&]() -> task {
        const auto r = co_await f.db.hedged(f.h).try_one<int>(get(1));
        code = r.has_error() ? r.error().code() : errc::ok;
    });
    f.world.run_for(20ms);
    CHECK(c.cancel());
    f.world.run();
    CHECK(code == errc::busy);
    CHECK(f.world.elapsed() - f.start == 20ms);
}

TEST_CASE("tags reach both tries, also after the caller's are gone", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    f.script.on(get).hangs().times(1);
    f.world.spawn("client", [&]() -> task {
        const auto key = std::make_unique<std::string>("a key that is too long for the short string's place");
        const strata::tag tags[] = {{*key, "v"}};
        static_cast<void>(co_await f.db.hedged(f.h).one<int>(get(1), {.tags = tags}));
    });
    f.world.run();
    CHECK(f.db.policy<tag_reader>().seen.count("a key that is too long for the short string's place=v") == 2);
}

TEST_CASE("a statement made at run time must be a read that may be repeated", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    f.script.on_any().returns(1);
    std::vector<errc> codes;
    f.world.spawn("client", [&]() -> task {
        for (const char* text : {"select 1", "delete from t", "select f(1)", "commit", "select 'unterminated"}) {
            const strata::statement s{text};
            const auto r = co_await f.db.hedged(f.h).try_one<int>(s);
            codes.push_back(r.has_error() ? r.error().code() : errc::ok);
        }
    });
    f.world.run();
    CHECK(codes == std::vector<errc>{errc::ok, errc::misuse, errc::misuse, errc::misuse, errc::invalid_statement});
    CHECK(f.script.calls().size() == 1);
}

TEST_CASE("every form of a read", "[hedge][simulated]") {
    fixture f;
    f.warm_up();
    int seen = 0;
    f.world.spawn("client", [&]() -> task {
        auto db = f.db.hedged(f.h);
        const int one = co_await db.one<int>(get(1));
        const auto maybe = co_await db.maybe_one<int>(get(1));
        const auto all = co_await db.all<int>(get(1));
        const auto tried = co_await db.try_maybe_one<int>(get(1));
        const auto tried_all = co_await db.try_all<int>(get(1));
        seen = one + maybe.value() + all.at(0) + tried.value().value() + tried_all.value().at(0);
        f.script.on(get).fails(errc::io_error).times(1);
        try {
            static_cast<void>(co_await db.one<int>(get(1)));
        } catch (const strata::failure& e) {
            seen += e.code() == errc::io_error ? 1 : 0;
        }
    });
    f.world.run();
    CHECK(seen == 36);
}

TEST_CASE("cancelled at every point: it ends at once, and so do both tries", "[hedge][simulated]") {
    for (duration at{}; at <= 12ms; at += 500us) {
        for (const int hanging : {1, 2}) {
            fixture f;
            f.warm_up();
            f.script.on(get).hangs().times(static_cast<unsigned>(hanging));
            errc code = errc::unknown;
            duration took{};
            const auto c = f.world.spawn("client", [&]() -> task {
                const auto r = co_await f.db.hedged(f.h).try_one<int>(get(1));
                code = r.has_error() ? r.error().code() : errc::ok;
                took = f.world.elapsed() - f.start;
            });
            f.world.run_for(at);
            if (at == duration{}) f.world.run_for(0s);
            const bool was_done = c.done();
            CHECK(c.cancel() == !was_done);
            f.world.run();
            const bool answers = hanging == 1 && f.usual + 5ms <= at;
            CHECK(was_done == answers);
            CHECK(code == (answers ? errc::ok : errc::cancelled));
            CHECK(took == (answers ? f.usual + 5ms : at));
            CHECK(f.world.elapsed() - f.start == at);  // nothing goes on after it
            CHECK(f.is_at_rest());
            CHECK(f.db.connections().lost == 0);
        }
    }
}

TEST_CASE("destroyed at every point: both tries go with it, and their connections come back", "[hedge][simulated]") {
    for (duration at{}; at <= 12ms; at += 500us) {
        fixture f;
        f.warm_up();
        f.script.on(get).hangs().times(1);
        bool over = false;
        const auto c = f.world.spawn("client", [&]() -> task {
            static_cast<void>(co_await f.db.hedged(f.h).try_one<int>(get(1)));
            over = true;
        });
        f.world.run_for(at);
        c.destroy();
        CHECK(over == (f.usual + 5ms <= at));
        f.world.run();
        CHECK(f.world.elapsed() - f.start == at);
        CHECK(f.is_at_rest());
        CHECK(f.read().value() == 7);
    }
}

TEST_CASE("the world ends while tries are on their way", "[hedge][simulated]") {
    for (duration at{}; at <= 10ms; at += 1ms) {
        fixture f;
        f.warm_up();
        f.script.on(get).hangs().times(2);
        f.world.spawn("client", [&]() -> task { static_cast<void>(co_await f.db.hedged(f.h).try_one<int>(get(1))); });
        f.world.run_for(at);
        f.world.abandon();
        CHECK(f.is_at_rest());
    }
}

namespace {

/// Random lives of many clients: what must hold at every moment, and a digest of all that happened.
std::uint64_t random_lives(std::uint64_t seed) {
    fixture f{4, {.minimum_samples = 20, .window = 1s}, seed};
    constexpr int clients = 6, each = 60;
    int ended = 0, values = 0;
    std::vector<strata::simulated_client> all;
    for (int i = 0; i < clients; ++i)
        all.push_back(f.world.spawn("client " + std::to_string(i), [&f, &ended, &values, i]() -> task {
            for (int n = 0; n < each; ++n) {
                const auto dice = f.world.below(100);
                auto on = f.script.on("select y from t where id = " + std::to_string(i * 1000 + n));
                const auto answer = [&] {
                    const auto what = f.world.below(12);
                    if (what == 0)
                        on.fails(errc::connection_lost, strata::effect::unknown);
                    else if (what == 1)
                        on.fails(errc::busy);
                    else if (what == 2)
                        on.fails(errc::undefined_object);
                    else
                        on.returns(i);
                    on.takes(f.world.below(10) == 0 ? f.world.between(10ms, 200ms) : f.world.between(1ms, 4ms)).times(1);
                };
                for (int k = 0; k < 8; ++k) answer();
                const strata::statement s{"select y from t where id = " + std::to_string(i * 1000 + n)};
                const duration limit = dice < 10 ? f.world.between(1ms, 20ms) : duration{};
                const auto began = f.world.elapsed();
                const auto r = co_await f.db.hedged(f.h).try_one<int>(s, {.deadline = limit});
                ++ended;
                if (r.has_value()) {
                    ++values;
                    CHECK(r.value() == i);
                }
                if (limit != duration{}) CHECK(f.world.elapsed() - began <= limit);
                f.world.note(r.has_error() ? static_cast<std::uint64_t>(r.error().code()) : 0);
                co_await f.world.sleep(f.world.between(0ms, 3ms));
            }
        }));
    f.world.spawn("trouble", [&]() -> task {
        for (int i = 0; i < 150; ++i) {
            co_await f.world.sleep(f.world.between(0ms, 10ms));
            const auto& c = all[f.world.below(clients)];
            if (c.done()) continue;
            const auto what = f.world.below(40);
            if (what == 0 && &c != &all.front())
                c.destroy();
            else if (what < 20)
                static_cast<void>(c.cancel());
            else
                c.wake();
            const auto s = f.h.snapshot();
            CHECK(s.hedged * 10 <= s.reads);
            const auto p = f.db.connections();
            CHECK(p.open <= 4);
        }
    });
    f.world.run();
    CHECK(f.is_at_rest());
    CHECK(ended >= each);
    CHECK(values > each / 2);
    CHECK(f.h.snapshot().hedged > 0);
    return f.world.digest();
}

}  // namespace

TEST_CASE("random lives: no connection is lost, the budget holds, and a seed repeats exactly", "[hedge][simulated]") {
    const std::uint64_t lives = strata_test::count(std::uint64_t{40}, std::uint64_t{1'000});
    std::set<std::uint64_t> digests;
    for (std::uint64_t seed = 1; seed <= lives; ++seed) {
        CAPTURE(seed);
        digests.insert(random_lives(seed));
    }
    CHECK(digests.size() == lives);
    CHECK(random_lives(1) == random_lives(1));
}

TEST_CASE("one read in twenty is slow: hedging takes the slow ones out of the tail", "[hedge][simulated]") {
    std::map<bool, duration> p98;
    for (const bool enabled : {false, true}) {
        fixture f{8, {.enabled = enabled, .percentile = 0.9}, 5};
        std::vector<duration> took;
        for (int c = 0; c < 4; ++c)
            f.world.spawn("client", [&]() -> task {
                for (int i = 0; i < 1'000; ++i) {
                    for (int k = 0; k < 2; ++k)
                        f.script.on(get).takes(f.world.below(20) == 0 ? 200ms : f.world.between(1ms, 3ms)).returns(1).times(1);
                    const auto began = f.world.elapsed();
                    static_cast<void>(co_await f.db.hedged(f.h).one<int>(get(1)));
                    took.push_back(f.world.elapsed() - began);
                }
            });
        f.world.run();
        std::sort(took.begin(), took.end());
        p98[enabled] = took[took.size() * 98 / 100];
        if (enabled) {
            CHECK(f.h.snapshot().won > 100);
            CHECK(f.h.snapshot().hedged <= 400);
        }
    }
    CHECK(p98[false] == 200ms);
    CHECK(p98[true] < 20ms);
}
