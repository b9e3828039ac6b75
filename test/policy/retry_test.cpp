// Retry: what is repeated and what never, how long it waits, when the budget ends it.
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <cmath>
#include <limits>
#include <memory>
#include <queue>
#include <random>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::effect;
using strata::errc;

namespace {

using alone = strata::layers<strata::retry<>>;

/// How many attempts an operation gets that always ends so.
template <class Op = plain_operation, class Attempt>
unsigned attempts_of(Attempt&& attempt, strata::retry_options o = {}) {
    alone l = build<alone>(o);
    manual_world w;
    Op op;
    strata::passage p{l, op};
    drive(p, op, w, attempt);
    return op.attempt;
}
template <class Op = plain_operation>
unsigned attempts_at(errc code, effect did = effect::none) {
    return attempts_of<Op>(ends_with(code, did));
}
auto refused_with(errc code, strata::duration retry_after) {
    return [=](auto&, strata::outcome& o) { o.replace(std::move(strata::error{code}.set_local().set_retry_after(retry_after))); };
}

}  // namespace

TEST_CASE("a success is not repeated", "[retry]") {
    STATIC_REQUIRE(strata::retry<>::place == strata::place::repeat);
    CHECK(attempts_of(succeeds()) == 1);
}

TEST_CASE("a passing failure without effect is repeated, up to max_attempts", "[retry]") {
    CHECK(attempts_at(errc::busy) == 3);
    CHECK(attempts_at(errc::serialization_failure, effect::rolled_back) == 3);
    CHECK(attempts_of(ends_with(errc::deadlock), {.max_attempts = 5}) == 5);
    CHECK(attempts_of(ends_with(errc::deadlock), {.max_attempts = 1}) == 1);
}

TEST_CASE("lasting failures, cancels and the user's own errors are never repeated", "[retry]") {
    for (const errc code : {errc::unique_violation, errc::syntax_error, errc::no_rows, errc::corrupt, errc::io_error, errc::cancelled,
                            errc::user_exception, errc::user_error, errc::transaction_aborted,
                            errc::commit_rolled_back, errc::disk_full}) {
        CAPTURE(code);
        CHECK(attempts_at(code, effect::rolled_back) == 1);
        CHECK(attempts_at<idempotent_operation>(code) == 1);
    }
}

TEST_CASE("an unknown effect is repeated only where repetition changes nothing", "[retry]") {
    for (const errc code : {errc::connection_lost, errc::timeout, errc::outcome_unknown}) {
        CAPTURE(code);
        CHECK(attempts_at(code, effect::unknown) == 1);
        CHECK(attempts_at<idempotent_operation>(code, effect::unknown) == 3);
        CHECK(attempts_at(code, effect::none) == 3);
    }
    CHECK(attempts_at<idempotent_operation>(errc::connection_lost, effect::applied) == 1);
}

TEST_CASE("idempotence known at run time counts", "[retry]") {
    using op_type =
        strata::operation<strata::operation_facts{.kind = strata::operation_kind::write, .idempotent = strata::known::at_run_time}>;
    for (const bool yes : {false, true}) {
        alone l;
        manual_world w;
        op_type op;
        op.run_time_idempotent = yes;
        strata::passage p{l, op};
        drive(p, op, w, ends_with(errc::connection_lost, effect::unknown));
        CHECK(op.attempt == (yes ? 3u : 1u));
    }
}

TEST_CASE("a refusal of this process is repeated only if it says when, and soon", "[retry]") {
    CHECK(attempts_of(refused_with(errc::pool_exhausted, {})) == 1);
    CHECK(attempts_of(refused_with(errc::pool_exhausted, 5ms)) == 3);
    CHECK(attempts_of(refused_with(errc::busy, {})) == 1);  // transient, but local
    CHECK(attempts_of(refused_with(errc::circuit_open, 1s)) == 3);
    CHECK(attempts_of(refused_with(errc::circuit_open, 1s + 1ns)) == 1);
    CHECK(attempts_of(refused_with(errc::circuit_open, 9s), {.patience = 10s}) == 3);
    CHECK(attempts_of(refused_with(errc::cancelled, 5ms)) == 1);
    CHECK(attempts_of(refused_with(errc::shutting_down, 5ms)) == 1);
}

TEST_CASE("pauses are uniform below a doubling bound", "[retry]") {
    const strata::retry_options o{.max_attempts = 7, .base = 10ms, .cap = 100ms};
    const auto pauses_at = [&](double unit) {
        alone l = build<alone>(o);
        manual_world w;
        w.set_unit(unit);
        std::vector<strata::duration> pauses;
        run(l, w, ends_with(errc::busy), &pauses);
        return pauses;
    };
    CHECK(pauses_at(0.5) == std::vector<strata::duration>{5ms, 10ms, 20ms, 40ms, 50ms, 50ms});
    const auto longest = pauses_at(1.0 - 0x1.0p-53);
    REQUIRE(longest.size() == 6);
    const std::vector<strata::duration> bounds{10ms, 20ms, 40ms, 80ms, 100ms, 100ms};
    for (std::size_t i = 0; i < 6; ++i) {
        CHECK(longest[i] < bounds[i]);
        CHECK(longest[i] >= bounds[i] - 1us);
    }
    CHECK(pauses_at(0).empty());  // no pause, no park
}

TEST_CASE("jitter and growth can be chosen", "[retry]") {
    using strata::backoff;
    using strata::jitter;
    using pauses = std::vector<strata::duration>;
    const auto pauses_at = [&](jitter j, backoff b, double unit) {
        alone l = build<alone>(strata::retry_options{.max_attempts = 5, .base = 10ms, .cap = 50ms, .jitter = j, .backoff = b});
        manual_world w;
        w.set_unit(unit);
        pauses all;
        run(l, w, ends_with(errc::busy), &all);
        return all;
    };
    CHECK(pauses_at(jitter::none, backoff::exponential, 0.3) == pauses{10ms, 20ms, 40ms, 50ms});
    CHECK(pauses_at(jitter::none, backoff::constant, 0.3) == pauses{10ms, 10ms, 10ms, 10ms});
    CHECK(pauses_at(jitter::equal, backoff::exponential, 0.5) == pauses{7500us, 15ms, 30ms, 37500us});
    CHECK(pauses_at(jitter::equal, backoff::exponential, 0) == pauses{5ms, 10ms, 20ms, 25ms});
    CHECK(pauses_at(jitter::full, backoff::constant, 0.5) == pauses{5ms, 5ms, 5ms, 5ms});
    // decorrelated: base + part of (3 * before - base), and only then the cap
    CHECK(pauses_at(jitter::decorrelated, backoff::exponential, 0) == pauses{10ms, 10ms, 10ms, 10ms});
    CHECK(pauses_at(jitter::decorrelated, backoff::exponential, 0.5) == pauses{20ms, 35ms, 50ms, 50ms});
    CHECK(pauses_at(jitter::decorrelated, backoff::constant, 0.5) == pauses{20ms, 35ms, 50ms, 50ms});
}

TEST_CASE("decorrelated pauses begin anew with each operation", "[retry]") {
    alone l = build<alone>(strata::retry_options{.base = 10ms, .cap = 1s, .jitter = strata::jitter::decorrelated});
    manual_world w;
    w.set_unit(0.5);
    for (int i = 0; i < 2; ++i) {
        std::vector<strata::duration> all;
        run(l, w, ends_with(errc::busy), &all);
        CHECK(all == std::vector<strata::duration>{20ms, 35ms});
    }
}

TEST_CASE("a user's judgement decides what is worth another attempt, not what is safe", "[retry]") {
    const strata::retry_options o{.judge = [](const strata::error& e, strata::condition_traits t) noexcept {
        if (e.texts().native_code == "23505") t.transient = true;  // a hidden serialization failure, says the user
        if (e.code() == errc::busy) t.transient = false;
        return t;
    }};
    const auto unique = [](strata::effect did) {
        return [=](auto&, strata::outcome& out) {
            strata::error e{errc::unique_violation, strata::phase::execute, did};
            e.edit_texts().native_code = "23505";
            out.replace(std::move(e));
        };
    };
    CHECK(attempts_of(unique(effect::rolled_back), o) == 3);
    CHECK(attempts_of(unique(effect::unknown), o) == 1);
    CHECK(attempts_of(ends_with(errc::busy), o) == 1);
    CHECK(attempts_of(ends_with(errc::unique_violation), o) == 1);
    CHECK(attempts_of(ends_with(errc::deadlock), o) == 3);
}

TEST_CASE("who is told when to come back waits at least so long", "[retry]") {
    alone l = build<alone>(strata::retry_options{.max_attempts = 2, .base = 10ms});
    manual_world w;
    std::vector<strata::duration> pauses;
    w.set_unit(0.5);
    run(l, w, refused_with(errc::circuit_open, 70ms), &pauses);
    CHECK(pauses == std::vector<strata::duration>{75ms});
}

TEST_CASE("the error that is given up on says how many attempts were made", "[retry]") {
    alone l;
    manual_world w;
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 3);
    CHECK(run(l, w, ends_with(errc::syntax_error)).attempts() == 1);
    CHECK(run(l, w, refused_with(errc::pool_exhausted, {})).attempts() == 0);
    int n = 0;
    const strata::error e = run(l, w, [&](auto& op, strata::outcome& o) {
        if (++n == 2)
            refused_with(errc::pool_exhausted, 1ms)(op, o);
        else
            ends_with(errc::busy)(op, o);
    });
    CHECK(e.code() == errc::busy);
    CHECK(e.attempts() == 2);  // the second was refused and none
}

TEST_CASE("the original error goes out, texts and all", "[retry]") {
    alone l;
    manual_world w;
    int n = 0;
    const strata::error e = run(l, w, [&](auto&, strata::outcome& o) {
        o.replace(strata::error{errc::busy, "attempt " + std::to_string(++n), strata::phase::commit, effect::rolled_back});
    });
    CHECK(e.message() == "attempt 3");
    CHECK(e.phase() == strata::phase::commit);
    CHECK(e.effect() == effect::rolled_back);
}

TEST_CASE("an empty budget ends repetition with the original error, and successes fill it again", "[retry]") {
    alone l = build<alone>(strata::retry_options{.max_attempts = 3, .budget = 3, .refund = 0.5});
    manual_world w;
    auto& r = l.at<0>();
    CHECK(r.snapshot().tokens == approx(3));
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 3);
    CHECK(r.snapshot().tokens == approx(1));
    const strata::error e = run(l, w, ends_with(errc::busy));
    CHECK(e.code() == errc::busy);
    CHECK(e.attempts() == 2);
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 1);
    CHECK(r.snapshot().repeats == 3);
    CHECK(r.snapshot().budget_used_up == 2);
    CHECK(r.snapshot().attempts_used_up == 1);
    run(l, w, succeeds());
    CHECK(r.snapshot().tokens == approx(0.5));
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 1);  // half a token is none
    run(l, w, succeeds());
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 2);
    for (int i = 0; i < 20; ++i) run(l, w, succeeds());
    CHECK(r.snapshot().tokens == approx(3));  // never more than it began with
}

TEST_CASE("a refund never fills the budget beyond its size", "[retry]") {
    alone l = build<alone>(strata::retry_options{.max_attempts = 2, .budget = 3, .refund = 0.7});
    manual_world w;
    run(l, w, ends_with(errc::busy));
    CHECK(l.at<0>().snapshot().tokens == approx(2));
    run(l, w, succeeds());
    CHECK(l.at<0>().snapshot().tokens == approx(2.7));
    run(l, w, succeeds());
    CHECK(l.at<0>().snapshot().tokens == approx(3));
}

TEST_CASE("without a budget only the attempts are bounded", "[retry]") {
    alone l = build<alone>(strata::retry_options{.budget = 0});
    manual_world w;
    for (int i = 0; i < 500; ++i) CHECK(run(l, w, ends_with(errc::busy)).attempts() == 3);
    CHECK(l.at<0>().snapshot().budget_used_up == 0);
}

TEST_CASE("what could not begin in time costs no token", "[retry]") {
    alone l = build<alone>(strata::retry_options{.base = 10ms});
    manual_world w;
    w.set_unit(0.5);
    plain_operation op;
    SECTION("deadline") {
        op.deadline = w.now + 5ms;
    }
    SECTION("handed over") {
        op.handed_over = true;
    }
    SECTION("cancelled") {
        op.cancelled = true;
    }
    strata::passage p{l, op};
    const strata::error& e = drive(p, op, w, ends_with(errc::busy));
    CHECK(e.attempts() == 1);
    CHECK(l.at<0>().snapshot().tokens == approx(100));
    CHECK(l.at<0>().snapshot().repeats == 0);
}

TEST_CASE("the total deadline's own timeout is not repeated", "[retry]") {
    using bounded = strata::layers<strata::total_timeout, strata::retry<>>;
    bounded l = build<bounded>(strata::total_timeout_options{.limit = 50ms}, strata::retry_options{});
    manual_world w;
    const strata::error e = run(l, w, [&](auto& op, strata::outcome& o) {
        w.now = op.deadline;
        o.replace(strata::error{errc::timeout, strata::phase::execute});
    });
    CHECK(e.code() == errc::timeout);
    CHECK(e.attempts() == 1);
}

TEST_CASE("options that make no sense name their field", "[retry]") {
    CHECK_FALSE(strata::retry_options{}.validate());
    const auto says = [](const strata::retry_options& o) { return o.validate().message(); };
    CHECK_THAT(says({.max_attempts = 0}), contains_text("retry_options.max_attempts"));
    CHECK_THAT(says({.base = -1ms}), contains_text("retry_options.base"));
    CHECK_THAT(says({.base = 2s, .cap = 1s}), contains_text("retry_options.cap"));
    CHECK_THAT(says({.cap = std::chrono::hours{87'601}}), contains_text("retry_options.cap"));
    CHECK_THAT(says({.patience = -1s}), contains_text("retry_options.patience"));
    CHECK_THAT(says({.budget = 2'000'000}), contains_text("retry_options.budget"));
    CHECK_THAT(says({.refund = 1.5}), contains_text("retry_options.refund"));
    CHECK_THAT(says({.refund = std::numeric_limits<double>::quiet_NaN()}), contains_text("retry_options.refund"));
}

TEST_CASE("a tagged retry takes tagged options", "[retry]") {
    struct writes;
    using two = strata::layers<strata::retry<>, strata::retry<writes>>;
    two l = build<two>(strata::retry_options{.max_attempts = 1}, strata::tagged<writes, strata::retry_options>{{.max_attempts = 4}});
    manual_world w;
    CHECK(run(l, w, ends_with(errc::busy)).attempts() == 1);
    CHECK(l.at<1>().snapshot().repeats == 3);
}

namespace {

/// How often `clients` attempt, and how long it takes until all have succeeded, when each reads a version and writes it back if nobody
/// has meanwhile: the optimistic workload of Brooker's simulation (2015), over a network of 10 +- 2 ms a way.
struct contest {
    double calls = 0;
    double milliseconds = 0;
};
contest contend(std::size_t clients, const strata::retry_options& o, unsigned seed) {
    alone l = build<alone>(o);
    manual_world w;
    std::mt19937_64 dice{seed};
    std::normal_distribution<double> way{10.0, 2.0};
    enum class stage { reads, has_read, writes, has_written, pauses };
    struct event {
        strata::time_point at;
        std::size_t client;
        stage what;
        bool operator>(const event& other) const { return at > other.at; }
    };
    std::priority_queue<event, std::vector<event>, std::greater<>> events;
    std::vector<std::unique_ptr<held_call<alone>>> on_way(clients);
    std::vector<int> read(clients), conflict(clients);
    int version = 0;
    contest result;
    const auto later = [&] { return strata::duration{static_cast<std::int64_t>(std::abs(way(dice)) * 1e6)}; };
    const auto begin = w.now;
    for (std::size_t i = 0; i < clients; ++i) events.push({w.now + later(), i, stage::reads});
    while (!events.empty()) {
        const event e = events.top();
        events.pop();
        w.now = e.at;
        w.random = dice();
        auto& c = on_way[e.client];
        switch (e.what) {
            case stage::reads:
                if (!c) c = std::make_unique<held_call<alone>>(l, w);
                read[e.client] = version;
                events.push({w.now + later(), e.client, stage::has_read});
                break;
            case stage::has_read:
                events.push({w.now + later(), e.client, stage::writes});
                break;
            case stage::writes:
                ++result.calls;
                conflict[e.client] = version != read[e.client];
                if (!conflict[e.client]) ++version;
                events.push({w.now + later(), e.client, stage::has_written});
                break;
            case stage::has_written:
                c->end(conflict[e.client] ? errc::serialization_failure : errc::ok);
                if (c->waits()) events.push({c->until(), e.client, stage::pauses});
                if (c->is_inside()) events.push({w.now + later(), e.client, stage::reads});
                if (c->is_over()) REQUIRE_FALSE(c->error());
                break;
            case stage::pauses:
                c->resume();
                REQUIRE(c->is_inside());
                events.push({w.now + later(), e.client, stage::reads});
                break;
        }
    }
    REQUIRE(version == static_cast<int>(clients));
    result.milliseconds = static_cast<double>((w.now - begin).count()) / 1e6;
    return result;
}

}  // namespace

TEST_CASE("a storm of 190 clients: jitter decides how much work it takes", "[retry][random]") {
    using strata::jitter;
    const auto mean = [](strata::retry_options o) {
        o.max_attempts = 65'535;
        o.budget = 0;
        contest sum;
        const int trials = count(3, 100);
        for (int i = 0; i < trials; ++i) {
            const contest one = contend(190, o, 100u + static_cast<unsigned>(i));
            sum.calls += one.calls / trials;
            sum.milliseconds += one.milliseconds / trials;
        }
        return sum;
    };
    const strata::duration base = 5ms, cap = 2s;
    const contest at_once = mean({.base = 0ns, .cap = 0ns, .jitter = jitter::none});
    const contest exponential = mean({.base = base, .cap = cap, .jitter = jitter::none});
    const contest decorrelated = mean({.base = base, .cap = cap, .jitter = jitter::decorrelated});
    const contest equal = mean({.base = base, .cap = cap, .jitter = jitter::equal});
    const contest full = mean({.base = base, .cap = cap});
    CAPTURE(at_once.calls, exponential.calls, decorrelated.calls, equal.calls, full.calls);
    CAPTURE(at_once.milliseconds, exponential.milliseconds, decorrelated.milliseconds, equal.milliseconds, full.milliseconds);
    CHECK(full.calls < decorrelated.calls);
    CHECK(equal.calls < decorrelated.calls);
    CHECK(decorrelated.calls < exponential.calls);
    CHECK(exponential.calls < at_once.calls);
    CHECK(full.calls * 3 < at_once.calls);
    CHECK(full.calls < equal.calls * 1.15);         // about the same work
    CHECK(full.milliseconds < equal.milliseconds);  // in less time
    CHECK(full.milliseconds * 3 < exponential.milliseconds);
    CHECK(at_once.milliseconds < full.milliseconds);
}
