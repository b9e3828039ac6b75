// Chaos: the share of attempts that it strikes, by each kind, what the layers outside make of it, and that it can be steered while in use.
#include <strata/core/world.hpp>
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/retry.hpp>
#include <strata/source/pool.hpp>
#include <strata/testing/chaos.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>
#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using namespace strata_test;
using strata::errc;
using strata::step;

namespace {

using alone = strata::layers<strata::chaos>;
using loses = strata::layers<strata::chaos_outcome>;

}  // namespace

TEST_CASE("at rate 0 nothing is struck and nothing is drawn", "[chaos]") {
    STATIC_REQUIRE(strata::chaos::place == strata::place::attempt);
    alone l;
    manual_world w;
    for (int i = 0; i < 100; ++i) CHECK_FALSE(run(l, w, succeeds()));
    CHECK(l.at<0>().injected() == 0);
    CHECK(w.draws == 0);
}

TEST_CASE("a struck attempt fails as if the database had said so", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 1});
    manual_world w;
    bool attempted = false;
    const auto attempt = [&](auto&, auto&) { attempted = true; };
    w.random = ~std::uint64_t{0};  // the largest draw
    const strata::error e = run(l, w, attempt);
    CHECK(e.code() == errc::busy);
    CHECK_FALSE(e.local());
    CHECK(e.effect() == strata::effect::none);
    CHECK(e.phase() == strata::phase::execute);
    CHECK_FALSE(attempted);
    CHECK(l.at<0>().injected() == 1);

    l.at<0>().set_code(errc::connection_lost);
    CHECK(run(l, w, attempt).code() == errc::connection_lost);
    l.at<0>().set_rate(0);
    CHECK_FALSE(run(l, w, attempt));
    CHECK(attempted);
    CHECK(l.at<0>().injected() == 2);
}

TEST_CASE("the draw decides", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 0.25});
    manual_world w;
    w.set_unit(0.2499);
    CHECK(run(l, w, succeeds()).code() == errc::busy);
    w.set_unit(0.25);
    CHECK_FALSE(run(l, w, succeeds()));
    CHECK(w.draws == 2);
}

TEST_CASE("kinds strike by their rates, each independently of the others, by one number where none does", "[chaos]") {
    // Each of the eight combinations has its share.
    const double b = 0.3, l = 0.2, f = 0.1;
    strata::splitmix random{7};
    bool behaves = false;
    alone all = build<alone>(strata::chaos_options{
        .rate = f, .latency_rate = l, .latency = 1s, .behaviour_rate = b, .behaviour = [&](const auto&) { behaves = true; }});
    constexpr int attempts = 100'000;
    std::array<int, 8> seen{};
    for (int i = 0; i < attempts; ++i) {
        behaves = false;
        plain_operation op;
        strata::passage p{all, op};
        const strata::moment m{strata::time_point{}, &random};
        step s = p.first(m);
        const bool late = s == step::park;
        if (late) s = p.resume({strata::time_point{1s}, &random});
        if (s == step::attempt) static_cast<void>(p.landed(m));
        ++seen[(behaves ? 4u : 0u) + (late ? 2u : 0u) + (s == step::done ? 1u : 0u)];
    }
    for (unsigned k = 0; k < 8; ++k) {
        CAPTURE(k);
        const double share = ((k & 4) != 0 ? b : 1 - b) * ((k & 2) != 0 ? l : 1 - l) * ((k & 1) != 0 ? f : 1 - f);
        const double expected = attempts * share, deviation = std::sqrt(expected * (1 - share));
        CHECK(std::abs(seen[k] - expected) < 5 * deviation);
    }
    // What is spared costs one number, however many kinds have rates.
    manual_world w;
    w.random = ~std::uint64_t{0};
    CHECK_FALSE(run(all, w, succeeds()));
    CHECK(w.draws == 1);
    // Where only one kind has a rate, the die has said all.
    all.at<0>().set({.latency_rate = 0.5, .latency = 1s});
    w.set_unit(0.4);
    CHECK_FALSE(run(all, w, succeeds()));
    CHECK(w.draws == 2);
}

TEST_CASE("a rate below what numbers can tell strikes all but never, not always", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 1e-300});
    manual_world w;
    w.random = 2;
    CHECK_FALSE(run(l, w, succeeds()));
    w.random = 0;
    CHECK(run(l, w, succeeds()).code() == errc::busy);
}

TEST_CASE("a seed gives the same faults again, in the ordered share", "[chaos]") {
    const auto faults = [](std::uint64_t seed) {
        alone l = build<alone>(strata::chaos_options{.rate = 0.05});
        strata::splitmix random{seed};
        std::vector<int> struck;
        for (int i = 0; i < 10'000; ++i) {
            plain_operation op;
            strata::passage p{l, op};
            if (p.first({strata::time_point{}, &random}) == step::done)
                struck.push_back(i);
            else
                static_cast<void>(p.landed({strata::time_point{}, &random}));
        }
        CHECK(l.at<0>().injected() == struck.size());
        return struck;
    };
    const auto a = faults(42);
    CHECK(a == faults(42));
    CHECK(a != faults(43));
    CHECK(a.size() > 400);
    CHECK(a.size() < 600);
}

TEST_CASE("latency comes before the failure, or alone", "[chaos]") {
    alone l = build<alone>(strata::chaos_options{.rate = 1, .latency_rate = 1, .latency = 20ms});
    manual_world w;
    const auto begin = w.now;
    std::vector<strata::duration> pauses;
    std::uint64_t faults = 1;
    SECTION("and then the failure") {
        CHECK(run(l, w, succeeds(), &pauses).code() == errc::busy);
    }
    SECTION("only slow") {
        l.at<0>().set_rate(0);
        CHECK_FALSE(run(l, w, succeeds(), &pauses));
        faults = 0;
    }
    SECTION("rates set to 0 meanwhile: what is struck stays struck") {
        plain_operation op;
        strata::passage p{l, op};
        REQUIRE(p.first(w.moment()) == step::park);
        l.at<0>().set({});
        pauses.push_back(p.parked_until() - w.now);
        w.now = p.parked_until();
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::busy);
    }
    SECTION("and nothing new is drawn after it") {
        l.at<0>().set_rate(0.5);
        w.set_unit(0.7);
        plain_operation op;
        strata::passage p{l, op};
        REQUIRE(p.first(w.moment()) == step::park);
        pauses.push_back(p.parked_until() - w.now);
        w.now = p.parked_until();
        w.set_unit(0);
        l.at<0>().set({.rate = 1, .latency_rate = 1, .latency = 1h});
        REQUIRE(p.resume(w.moment()) == step::attempt);
        static_cast<void>(p.landed(w.moment()));
        faults = 0;
    }
    CHECK(pauses == std::vector<strata::duration>{20ms});
    CHECK(w.now - begin == strata::duration{20ms});
    CHECK(l.at<0>().injected() == faults);
    CHECK(l.at<0>().snapshot().delays == 1);
}

TEST_CASE("latency beyond the attempt's time is a timeout that a breaker counts", "[chaos]") {
    using three = strata::layers<strata::circuit_breaker<>, strata::attempt_timeout, strata::chaos>;
    three l = build<three>(strata::circuit_breaker_options{.consecutive_failures = 1}, strata::attempt_timeout_options{.limit = 10ms},
                           strata::chaos_options{.latency_rate = 1, .latency = 20ms});
    manual_world w;
    const auto begin = w.now;
    const strata::error e = run(l, w, succeeds());
    CHECK(e.code() == errc::timeout);
    CHECK_FALSE(e.local());
    CHECK(w.now - begin == strata::duration{10ms});
    CHECK(e.effect() == strata::effect::none);
    CHECK(l.at<0>().state() == strata::circuit_state::open);
    CHECK(l.at<2>().injected() == 0);
}

TEST_CASE("each attempt is drawn anew", "[chaos]") {
    using both = strata::layers<strata::retry<>, strata::chaos>;
    both l = build<both>(strata::retry_options{.max_attempts = 4}, strata::chaos_options{.rate = 1});
    manual_world w;
    CHECK(run(l, w, succeeds()).attempts() == 4);
    CHECK(l.at<1>().injected() == 4);
    l.at<1>().set_latency(1, 1ms);
    CHECK(run(l, w, succeeds()).attempts() == 4);
    CHECK(l.at<1>().injected() == 8);
}

TEST_CASE("an attempt is made, and its answer lost", "[chaos]") {
    STATIC_REQUIRE(strata::chaos_outcome::place == strata::place::attempt);
    const auto did = GENERATE(strata::effect::unknown, strata::effect::applied);
    loses l = build<loses>(strata::chaos_outcome_options{.rate = 0.5, .effect = did});
    auto& lost = l.at<0>();
    manual_world w;
    int made = 0;
    const auto attempt = [&](auto&, auto&) { ++made; };
    w.set_unit(0.49);
    const strata::error e = run(l, w, attempt);
    CHECK(made == 1);
    CHECK(e.code() == errc::connection_lost);
    CHECK(e.effect() == did);
    CHECK_FALSE(e.local());
    CHECK(e.phase() == strata::phase::result);
    w.set_unit(0.5);
    CHECK_FALSE(run(l, w, attempt));
    CHECK(lost.lost() == 1);
    CHECK(w.draws == 2);
    // What failed says itself what it did, and of that nothing is known better.
    w.set_unit(0);
    CHECK(run(l, w, ends_with(errc::busy)).code() == errc::busy);
    CHECK(run(l, w, ends_with(errc::timeout, strata::effect::unknown)).code() == errc::timeout);
    CHECK(lost.lost() == 1);
    lost.set({.rate = 1, .code = errc::timeout});
    CHECK(run(l, w, attempt).code() == errc::timeout);
    lost.set_rate(0);
    CHECK_FALSE(run(l, w, attempt));
    CHECK(w.draws == 3);
    CHECK(lost.lost() == 2);
}

TEST_CASE("what became of a struck attempt decides whether it is repeated", "[chaos]") {
    using three = strata::layers<strata::retry<>, strata::chaos, strata::chaos_outcome>;
    const auto attempts = [](const strata::chaos_options& fault, const strata::chaos_outcome_options& lost, auto op) {
        three l = build<three>(strata::retry_options{.max_attempts = 4}, fault, lost);
        manual_world w;
        int made = 0;
        const strata::error e = run<decltype(op)>(l, w, [&](auto&, auto&) { ++made; });
        CHECK(l.template at<2>().lost() == static_cast<std::uint64_t>(made));
        CHECK(l.template at<1>().injected() + static_cast<std::uint64_t>(made) == e.attempts());
        return std::pair{e.attempts(), made};
    };
    using counts = std::pair<unsigned, int>;
    CHECK(attempts({.rate = 1}, {}, plain_operation{}) == counts{4, 0});
    CHECK(attempts({.rate = 1, .code = errc::connection_lost}, {.rate = 1}, plain_operation{}) == counts{4, 0});
    CHECK(attempts({}, {.rate = 1}, plain_operation{}) == counts{1, 1});
    CHECK(attempts({}, {.rate = 1}, idempotent_operation{}) == counts{4, 4});
    CHECK(attempts({}, {.rate = 1, .effect = strata::effect::applied}, idempotent_operation{}) == counts{1, 1});
}

TEST_CASE("a lost answer is a sign of illness", "[chaos]") {
    using both = strata::layers<strata::circuit_breaker<>, strata::chaos_outcome>;
    both l = build<both>(strata::circuit_breaker_options{.consecutive_failures = 2}, strata::chaos_outcome_options{.rate = 1});
    manual_world w;
    for (int i = 0; i < 2; ++i) CHECK(run(l, w, succeeds()).code() == errc::connection_lost);
    CHECK(run(l, w, succeeds()).code() == errc::circuit_open);
    CHECK(l.at<1>().lost() == 2);
}

TEST_CASE("only what the user chooses is struck", "[chaos]") {
    using both = strata::layers<strata::chaos, strata::chaos_outcome>;
    const strata::chaos_choice writes = [](const strata::operation_base&, strata::operation_kind k) {
        return k == strata::operation_kind::write;
    };
    const strata::chaos_choice throws = [](const strata::operation_base&, strata::operation_kind) -> bool { throw 7; };
    both l;
    manual_world w;
    l.at<0>().set({.rate = 1, .only = writes});
    CHECK_FALSE(run<idempotent_operation>(l, w, succeeds()));  // a read
    CHECK(w.draws == 1);
    CHECK(run(l, w, succeeds()).code() == errc::busy);
    l.at<0>().set({});
    l.at<1>().set({.rate = 1, .only = writes});
    CHECK_FALSE(run<idempotent_operation>(l, w, succeeds()));
    CHECK(run(l, w, succeeds()).code() == errc::connection_lost);
    // By whatever else an operation says of itself.
    l.at<1>().set({.rate = 1, .only = [](const strata::operation_base& o, strata::operation_kind) { return o.name == "pay"; }});
    for (const char* name : {"look", "pay"}) {
        plain_operation op;
        op.name = name;
        strata::passage p{l, op};
        CHECK((drive(p, op, w, succeeds()).code() == errc::connection_lost) == (op.name == "pay"));
    }
    // What a choice throws chooses nothing.
    l.at<0>().set({.rate = 1, .only = throws});
    l.at<1>().set({.rate = 1, .only = throws});
    CHECK_FALSE(run(l, w, succeeds()));
    CHECK(l.at<0>().snapshot().thrown == 1);
    CHECK(l.at<1>().thrown() == 1);
}

TEST_CASE("a user's function is called before the attempt", "[chaos]") {
    using both = strata::layers<strata::retry<>, strata::chaos>;
    both l = build<both>(strata::retry_options{.max_attempts = 3});
    manual_world w;
    std::vector<std::string> seen;
    const auto note = [&](const strata::operation_base& op) {
        seen.push_back("chaos " + std::to_string(op.attempt));
        if (op.attempt == 2) throw std::runtime_error("as users do");
    };
    const auto attempt = [&](auto& op, strata::outcome& o) {
        seen.push_back("attempt " + std::to_string(op.attempt));
        if (op.attempt < 3) o.replace(strata::error{errc::busy});
    };
    l.at<1>().set({.behaviour_rate = 1, .behaviour = note});
    CHECK_FALSE(run(l, w, attempt));
    CHECK(seen == std::vector<std::string>{"chaos 1", "attempt 1", "chaos 2", "attempt 2", "chaos 3", "attempt 3"});
    CHECK(l.at<1>().snapshot().behaviours == 3);
    CHECK(l.at<1>().snapshot().thrown == 1);
    // Once an attempt, also where it then is late; and before one that fails.
    seen.clear();
    l.at<1>().set({.rate = 1, .latency_rate = 1, .latency = 1s, .behaviour_rate = 1, .behaviour = note});
    CHECK(run(l, w, attempt).attempts() == 3);
    CHECK(seen == std::vector<std::string>{"chaos 1", "chaos 2", "chaos 3"});
}

TEST_CASE("chaos is set as a whole, or not at all", "[chaos]") {
    strata::chaos c;
    c.set({.rate = 0.25, .code = errc::deadlock});
    CHECK_THROWS_WITH(c.set({.rate = 0.5, .latency = -1s}), contains_text("chaos_options.latency"));
    CHECK_THROWS_WITH(c.set_rate(1.5), contains_text("chaos_options.rate"));
    CHECK(c.current().rate == 0.25);
    c.set_latency(0.5, 1s);
    c.set_rate(0.75);
    CHECK(c.current().code == errc::deadlock);
    CHECK(c.current().latency == strata::duration{1s});
    CHECK(c.current().latency_rate == 0.5);
    CHECK(c.current().rate == 0.75);
    strata::chaos_outcome o;
    CHECK_THROWS_WITH(o.set({.effect = strata::effect::none}), contains_text("chaos_outcome_options.effect"));
    o.set_rate(1);
    CHECK(o.current().rate == 1);
}

namespace {

constexpr auto get = "select x from t where id = :id"_sql.named("get");
constexpr auto put = "insert into t(x) values(:x)"_sql.named("put");

using struck_stack =
    strata::stack<strata::retry<>, strata::chaos, strata::chaos_outcome, strata::attempt_timeout, strata::pool<>, strata::scripted>;

/// What a caller was told of its call.
struct told {
    bool repeatable;
    errc code;
    strata::effect did;
};

/// Clients that read and write under every kind of chaos: what each was told, and how often the database really did what it asked for.
struct struck_world {
    explicit struck_world(std::uint64_t seed) : world(seed), db(world, strata::scripted_options{script}, options(), outcome()) {
        script.on(get).takes(1ms).returns(7);
        script.on(put).takes(2ms).affected(1);
        for (int c = 0; c < 4; ++c)
            world.spawn("client", [this, c]() -> strata::simulated_task<> {
                for (int i = 0; i < 25; ++i) {
                    const int id = c * 100 + i;
                    const int kind = static_cast<int>(world.below(4));
                    if (kind == 0) {
                        auto r = co_await db.try_one<int>(get(id));
                        calls[id] = {true, r.error().code(), r.error().effect()};
                    } else if (kind == 3) {
                        const auto twice = [&](auto& tx) -> strata::simulated_task<> {
                            co_await tx.execute(put(id));
                            co_await tx.execute(put(1'000 + id));
                        };
                        auto r = co_await db.try_transaction(twice);
                        calls[id] = {false, r.error().code(), r.error().effect()};
                    } else {
                        const strata::call_options o{.idempotent = kind == 2};
                        auto r = co_await db.try_execute(put(id), o);
                        calls[id] = {kind == 2, r.error().code(), r.error().effect()};
                    }
                }
            });
        world.run();
        for (const strata::scripted_call& c : script.calls())
            if (!c.arguments.empty()) ++done[std::stoi(c.arguments[0].to_string())];
    }
    [[nodiscard]] static strata::chaos_options options() {
        return {.rate = 0.2, .code = errc::connection_lost, .latency_rate = 0.3, .latency = 5ms};
    }
    [[nodiscard]] static strata::chaos_outcome_options outcome() { return {.rate = 0.3}; }

    strata::script script;
    strata::simulated_world world;
    strata::simulated_database<struck_stack> db;
    std::map<int, told> calls;
    std::map<int, int> done;  ///< by the first argument
};

}  // namespace

TEST_CASE("under chaos no write is repeated that may have taken place, and nobody is told a lie", "[chaos]") {
    unsigned repeated = 0, doubted = 0, untouched = 0;
    for (std::uint64_t seed = 1; seed <= strata_test::count<std::uint64_t>(30, 300); ++seed) {
        struck_world s{seed};
        REQUIRE(s.calls.size() == 100);
        std::uint64_t answers = 0;
        for (const auto& [id, t] : s.calls) {
            const int times = s.done[id];
            CAPTURE(seed, id, t.code, t.did, times);
            if (!t.repeatable && times > 1) FAIL("repeated, and nobody knew whether it had taken place");
            if (t.code == errc::ok && times == 0) FAIL("a success that never was");
            if (t.code != errc::ok && t.did == strata::effect::none && times != 0 && !t.repeatable) FAIL("it did take place");
            if (t.code != errc::ok && t.did == strata::effect::unknown && times == 0) FAIL("no answer was there to be lost");
            if (s.done[1'000 + id] > 1) FAIL("a transaction was repeated");
            answers += static_cast<std::uint64_t>(times);
            repeated += times > 1;
            doubted += t.did == strata::effect::unknown;
            untouched += t.code != errc::ok && times == 0;
        }
        // Every answer reached its caller or was lost.
        const auto good = std::count_if(s.calls.begin(), s.calls.end(), [](const auto& c) { return c.second.code == errc::ok; });
        if (answers != static_cast<std::uint64_t>(good) + s.db.policy<strata::chaos_outcome>().lost()) FAIL("answers do not add up");
    }
    CHECK(repeated > 100);  // each of these was met
    CHECK(doubted > 100);
    CHECK(untouched > 10);
}

TEST_CASE("equal seeds are struck alike", "[chaos]") {
    const auto journal = [](std::uint64_t seed) { return struck_world{seed}.script.journal(); };
    CHECK(journal(7) == journal(7));
    CHECK(journal(7) != journal(8));
}

TEST_CASE("the answer of a commit is lost, whoever holds the transaction", "[chaos]") {
    strata::script script;
    script.on(put).affected(1);
    strata::simulated_world world;
    strata::database<struck_stack, strata::simulated_world> db{world, strata::scripted_options{script}};
    auto& lost = db.policy<strata::chaos_outcome>();
    lost.set({.rate = 1,
              .only = [](const strata::operation_base&, strata::operation_kind k) { return k == strata::operation_kind::transaction; }});
    db.execute(put(1));
    script.forget_calls();
    int runs = 0;
    const auto closure = [&](auto& tx) { return ++runs, tx.execute(put(2)).affected; };
    const auto r = db.try_transaction(closure);
    REQUIRE_FALSE(r);
    CHECK(r.error().code() == errc::connection_lost);
    CHECK(r.error().effect() == strata::effect::unknown);
    CHECK(runs == 1);
    {
        auto tx = db.begin();
        tx.execute(put(3));
        const auto end = tx.try_commit();
        REQUIRE_FALSE(end);
        CHECK(end.error().effect() == strata::effect::unknown);
    }
    CHECK(lost.lost() == 2);
    using journal = std::vector<std::string>;
    CHECK(script.journal() == journal{"begin immediate", "put [2]", "commit", "begin immediate", "put [3]", "commit"});
    CHECK(db.connections().idle == db.connections().open);
}

TEST_CASE("chaos may be steered from another thread", "[chaos][threads]") {
    using both = strata::layers<strata::chaos, strata::chaos_outcome>;
    both l;
    std::atomic<bool> stop{false};
    std::atomic<std::uint64_t> called{0};
    std::thread steering([&] {
        while (!stop) {
            l.at<0>().set({.rate = 1, .code = errc::deadlock, .behaviour_rate = 1, .behaviour = [&](const auto&) { ++called; }});
            l.at<1>().set({.rate = 1, .code = errc::io_error, .only = [&](const auto&, auto) { return !stop; }});
            l.at<0>().set_rate(0);
            l.at<0>().set({});
            l.at<1>().set_rate(0);
        }
    });
    manual_world w;
    std::uint64_t struck = 0, lost = 0;
    for (int i = 0; i < 20'000; ++i) {
        const strata::error e = run(l, w, succeeds());
        struck += e.code() == errc::deadlock;
        lost += e.code() == errc::io_error;
        if (e && e.code() != errc::deadlock && e.code() != errc::io_error) FAIL("a code that nobody set");
    }
    stop = true;
    steering.join();
    CHECK(l.at<0>().injected() == struck);
    CHECK(l.at<0>().snapshot().behaviours == called);
    CHECK(l.at<1>().lost() == lost);
}

TEST_CASE("chaos options that make no sense name their field", "[chaos]") {
    const auto complains = [](const auto& o, const char* field) { CHECK_THAT(o.validate().message(), contains_text(field)); };
    CHECK_FALSE(strata::chaos_options{}.validate());
    CHECK_FALSE(strata::chaos_outcome_options{}.validate());
    complains(strata::chaos_options{.rate = 1.5}, "chaos_options.rate");
    complains(strata::chaos_options{.rate = -0.5}, "chaos_options.rate");
    complains(strata::chaos_options{.rate = std::nan("")}, "chaos_options.rate");
    complains(strata::chaos_options{.code = errc::ok}, "chaos_options.code");
    complains(strata::chaos_options{.latency_rate = 2}, "chaos_options.latency_rate");
    complains(strata::chaos_options{.latency = -1ms}, "chaos_options.latency");
    complains(strata::chaos_options{.behaviour_rate = -1}, "chaos_options.behaviour_rate");
    complains(strata::chaos_options{.behaviour_rate = 0.5}, "chaos_options.behaviour");
    complains(strata::chaos_outcome_options{.rate = 1.1}, "chaos_outcome_options.rate");
    complains(strata::chaos_outcome_options{.code = errc::ok}, "chaos_outcome_options.code");
    complains(strata::chaos_outcome_options{.effect = strata::effect::none}, "chaos_outcome_options.effect");
    complains(strata::chaos_outcome_options{.effect = strata::effect::rolled_back}, "chaos_outcome_options.effect");
}
