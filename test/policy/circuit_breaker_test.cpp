// The circuit breaker: when it opens, what it lets through meanwhile, when it closes, and what it does not count.
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/retry.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::circuit_state;
using strata::errc;
using strata::step;

namespace {

using alone = strata::layers<strata::circuit_breaker<>>;
using options = strata::circuit_breaker_options;

/// One attempt that its test ends when it likes.
struct open_call {
    explicit open_call(alone& l, manual_world& w) : p(l, op), world(w), state(p.first(w.moment())) {}
    [[nodiscard]] bool admitted() const { return state != step::done; }
    void end(errc code) {
        ends_with(code)(op, p.result());
        state = p.landed(world.moment());
    }

    plain_operation op;
    strata::passage<alone, plain_operation> p;
    manual_world& world;
    step state;
};

struct fixture {
    explicit fixture(options o = {}) : l(build<alone>(o)) {}
    strata::error call(errc code) { return run(l, w, ends_with(code)); }
    void calls(int n, errc code) {
        for (int i = 0; i < n; ++i) call(code);
    }
    [[nodiscard]] auto& breaker() { return l.at<0>(); }
    [[nodiscard]] circuit_state state() { return breaker().state(); }

    alone l;
    manual_world w;
};

}  // namespace

TEST_CASE("the breaker opens at so many failures in a row, not before", "[breaker]") {
    STATIC_REQUIRE(strata::circuit_breaker<>::place == strata::place::breaker);
    STATIC_REQUIRE(strata::circuit_breaker<>::holds);
    fixture f{{.consecutive_failures = 3, .open_time = 1s, .jitter = 0}};
    f.calls(2, errc::io_error);
    f.call(errc::ok);  // ends the row
    f.calls(2, errc::io_error);
    CHECK(f.state() == circuit_state::closed);
    CHECK(f.call(errc::io_error).code() == errc::io_error);
    CHECK(f.state() == circuit_state::open);
    CHECK(f.breaker().snapshot().opened == 1);
    CHECK(f.breaker().snapshot().failures == 5);
}

TEST_CASE("an open breaker refuses and says when to come back", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0}};
    f.call(errc::io_error);
    f.w.pass(300ms);
    bool attempted = false;
    const strata::error e = run(f.l, f.w, [&](auto&, auto&) { attempted = true; });
    CHECK_FALSE(attempted);
    CHECK(e.code() == errc::circuit_open);
    CHECK(e.local());
    CHECK(e.retry_after() == strata::duration{700ms});
    CHECK_FALSE(e.has_texts());
    f.w.pass(700ms - 1ns);
    CHECK(f.call(errc::ok).retry_after() == strata::duration{1ns});
    CHECK(f.breaker().snapshot().refused == 2);
}

TEST_CASE("after the open time one probe decides", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0}};
    f.call(errc::io_error);
    f.w.pass(1s);
    open_call probe{f.l, f.w};
    REQUIRE(probe.admitted());
    CHECK(f.state() == circuit_state::half_open);
    const strata::error e = f.call(errc::ok);
    CHECK(e.code() == errc::circuit_open);  // one at a time
    CHECK(e.retry_after() == strata::duration{1s});
    SECTION("well: it closes") {
        probe.end(errc::ok);
        CHECK(f.state() == circuit_state::closed);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(f.breaker().snapshot().closed == 1);
        CHECK(f.breaker().snapshot().half_opened == 1);
    }
    SECTION("an answer that is an error is an answer") {
        probe.end(errc::unique_violation);
        CHECK(f.state() == circuit_state::closed);
    }
    SECTION("ill: it opens again, for twice as long") {
        probe.end(errc::connection_lost);
        CHECK(f.state() == circuit_state::open);
        CHECK(f.call(errc::ok).retry_after() == strata::duration{2s});
        CHECK(f.breaker().snapshot().opened == 2);
    }
    SECTION("no sample: the permit goes back and the next one decides") {
        probe.end(errc::cancelled);
        CHECK(f.state() == circuit_state::half_open);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(f.state() == circuit_state::closed);
    }
}

TEST_CASE("a destroyed probe gives its permit back", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0}};
    f.call(errc::io_error);
    f.w.pass(1s);
    {
        open_call probe{f.l, f.w};
        REQUIRE(probe.admitted());
    }
    CHECK(f.state() == circuit_state::half_open);
    open_call next{f.l, f.w};
    REQUIRE(next.admitted());
    next.end(errc::ok);
    CHECK(f.state() == circuit_state::closed);
}

TEST_CASE("open times double up to their bound and begin small again after a recovery", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .max_open_time = 5s, .jitter = 0}};
    f.call(errc::io_error);
    for (const auto open : {1s, 2s, 4s, 5s, 5s}) {
        CHECK(f.call(errc::ok).retry_after() == strata::duration{open});
        f.w.pass(open);
        CHECK(f.call(errc::io_error).code() == errc::io_error);
    }
    f.w.pass(5s);
    CHECK_FALSE(f.call(errc::ok));
    f.call(errc::io_error);
    CHECK(f.call(errc::ok).retry_after() == strata::duration{1s});
}

TEST_CASE("jitter leaves out a share of the open time", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0.2}};
    f.w.set_unit(0.5);
    f.call(errc::io_error);
    const strata::duration left = f.call(errc::ok).retry_after();
    CHECK(left <= strata::duration{900ms});
    CHECK(left > strata::duration{899ms});
}

TEST_CASE("several permits: so many probes at once, and so many must succeed", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0, .half_open_permits = 2}};
    f.call(errc::io_error);
    f.w.pass(1s);
    open_call one{f.l, f.w}, two{f.l, f.w}, three{f.l, f.w};
    CHECK(one.admitted());
    CHECK(two.admitted());
    CHECK_FALSE(three.admitted());
    one.end(errc::ok);
    CHECK(f.state() == circuit_state::half_open);
    CHECK(f.call(errc::ok).code() == errc::circuit_open);  // its permit stays taken: it has done its part
    two.end(errc::ok);
    CHECK(f.state() == circuit_state::closed);
}

TEST_CASE("probes that never come back hold it half-open for no longer than half_open_time", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0, .half_open_permits = 2, .half_open_time = 3s}};
    f.call(errc::io_error);
    f.w.pass(1s);
    open_call hangs{f.l, f.w};
    REQUIRE(hangs.admitted());
    f.w.pass(2s);
    open_call late{f.l, f.w};
    REQUIRE(late.admitted());
    f.w.pass(1s - 1ns);
    CHECK(f.call(errc::ok).retry_after() == strata::duration{1ns});
    CHECK(f.state() == circuit_state::half_open);
    f.w.pass(1ns);
    CHECK(f.call(errc::ok).retry_after() == strata::duration{2s});  // open once more, as after a failed probe
    CHECK(f.state() == circuit_state::open);
    CHECK(f.breaker().snapshot().last.cause == strata::circuit_cause::probes_unanswered);
    late.end(errc::ok);  // of an earlier state
    f.w.pass(2s);
    CHECK_FALSE(f.call(errc::ok));
    CHECK_FALSE(f.call(errc::ok));
    CHECK(f.state() == circuit_state::closed);
    hangs.end(errc::io_error);  // too late to matter
    CHECK(f.state() == circuit_state::closed);
    CHECK(f.breaker().snapshot().stale == 2);
}

TEST_CASE("a database that is rarely used is not left alone for that", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .half_open_permits = 2, .half_open_time = 30s}};
    f.call(errc::io_error);
    f.w.pass(61s);
    CHECK_FALSE(f.call(errc::ok));
    f.w.pass(61s);
    CHECK_FALSE(f.call(errc::ok));
    CHECK(f.state() == circuit_state::closed);
}

TEST_CASE("who is refused while probes are on their way is told to come back after an open time", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0, .half_open_time = 30s}};
    f.call(errc::io_error);
    f.w.pass(1s);
    open_call probe{f.l, f.w};
    CHECK(f.call(errc::ok).retry_after() == strata::duration{1s});
    f.w.pass(29s + 500ms);
    CHECK(f.call(errc::ok).retry_after() == strata::duration{500ms});
}

TEST_CASE("late results of an earlier state are dropped", "[breaker]") {
    fixture f{{.consecutive_failures = 2, .open_time = 1s, .jitter = 0}};
    SECTION("a success that began before the break closes nothing") {
        open_call slow{f.l, f.w};
        f.calls(2, errc::io_error);
        f.w.pass(1s);
        open_call probe{f.l, f.w};
        REQUIRE(probe.admitted());
        slow.end(errc::ok);
        CHECK(f.state() == circuit_state::half_open);
        probe.end(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("a failure that began before the break opens nothing after the recovery") {
        open_call a{f.l, f.w}, b{f.l, f.w}, c{f.l, f.w};
        f.calls(2, errc::io_error);
        f.w.pass(1s);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(f.state() == circuit_state::closed);
        a.end(errc::io_error);
        b.end(errc::io_error);
        c.end(errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        CHECK(f.breaker().snapshot().stale == 3);
        CHECK(f.breaker().snapshot().failures == 2);
    }
    SECTION("nor does it take a permit back that was never its own") {
        open_call slow{f.l, f.w};
        f.calls(2, errc::io_error);
        f.w.pass(1s);
        open_call probe{f.l, f.w};
        REQUIRE(probe.admitted());
        slow.end(errc::cancelled);
        CHECK(f.call(errc::ok).code() == errc::circuit_open);
    }
}

TEST_CASE("refusals, cancels and what proves nothing are no samples", "[breaker]") {
    fixture f{{.consecutive_failures = 2, .open_time = 1s}};
    SECTION("local") {
        for (int i = 0; i < 10; ++i)
            run(f.l, f.w, [](auto&, strata::outcome& o) { o.replace(std::move(strata::error{errc::cannot_connect}.set_local())); });
    }
    SECTION("cancelled") {
        f.calls(10, errc::cancelled);
    }
    SECTION("pool wait") {
        for (int i = 0; i < 10; ++i)
            run(f.l, f.w, [](auto&, strata::outcome& o) { o.replace(strata::error{errc::timeout, strata::phase::acquire}); });
    }
    SECTION("the database's answers") {
        f.calls(5, errc::unique_violation);
        f.calls(5, errc::syntax_error);
        f.calls(5, errc::busy);
        f.calls(5, errc::deadlock);
    }
    CHECK(f.state() == circuit_state::closed);
    CHECK(f.breaker().snapshot().failures == 0);
}

TEST_CASE("what is no sample does not end a row of failures, an answer does", "[breaker]") {
    fixture f{{.consecutive_failures = 2, .open_time = 1s}};
    f.call(errc::io_error);
    SECTION("cancel between") {
        f.call(errc::cancelled);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("violated constraint between") {
        f.call(errc::check_violation);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::closed);
    }
}

TEST_CASE("a timeout counts if the attempt had its full time", "[breaker]") {
    using guarded = strata::layers<strata::circuit_breaker<>, strata::attempt_timeout>;
    guarded l = build<guarded>(options{.consecutive_failures = 1}, strata::attempt_timeout_options{.limit = 10ms});
    manual_world w;
    const auto times_out = [&](auto& op, strata::outcome& o) {
        w.now = op.deadline;
        o.replace(strata::error{errc::timeout, strata::phase::execute});
    };
    SECTION("cut short by an outer deadline: no") {
        plain_operation op;
        op.deadline = w.now + 9ms;
        strata::passage p{l, op};
        drive(p, op, w, times_out);
        CHECK(l.at<0>().state() == circuit_state::closed);
    }
    SECTION("in full: yes") {
        plain_operation op;
        op.deadline = w.now + 11ms;
        strata::passage p{l, op};
        drive(p, op, w, times_out);
        CHECK(l.at<0>().state() == circuit_state::open);
    }
    SECTION("without attempt_timeout: yes") {
        fixture f{{.consecutive_failures = 1}};
        f.call(errc::timeout);
        CHECK(f.state() == circuit_state::open);
    }
}

TEST_CASE("the rate rule needs enough calls and looks at the latest ones", "[breaker]") {
    fixture f{{.consecutive_failures = 0, .failure_rate = 0.5, .window = 10, .minimum_calls = 4, .open_time = 1s, .jitter = 0}};
    SECTION("silent below minimum_calls") {
        f.calls(3, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::ok);  // four calls, three failed
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("opens when the share is reached, not before") {
        f.calls(5, errc::ok);
        f.calls(4, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("what has left the window no longer counts") {
        f.calls(2, errc::ok);
        f.calls(4, errc::ok);
        for (int i = 0; i < 30; ++i) {  // two of five fail, for ever
            f.calls(1, errc::io_error);
            f.calls(2, errc::ok);
            f.calls(1, errc::io_error);
            f.calls(1, errc::ok);
            CAPTURE(i);
            REQUIRE(f.state() == circuit_state::closed);
        }
    }
    SECTION("nor do successes that have left it") {
        f.calls(100, errc::ok);
        f.calls(4, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("a success of an earlier state is not in it") {
        std::deque<std::unique_ptr<open_call>> early;
        for (int i = 0; i < 4; ++i) early.push_back(std::make_unique<open_call>(f.l, f.w));
        f.calls(4, errc::io_error);
        f.w.pass(1s);
        f.calls(5, errc::ok);
        REQUIRE(f.state() == circuit_state::closed);  // with four successes
        for (auto& c : early) c->end(errc::ok);
        CHECK(f.breaker().snapshot().stale == 4);
        f.calls(3, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("a recovery begins with an empty window") {
        f.calls(4, errc::io_error);
        REQUIRE(f.state() == circuit_state::open);
        f.w.pass(1s);
        CHECK_FALSE(f.call(errc::ok));
        REQUIRE(f.state() == circuit_state::closed);
        f.calls(3, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
}

TEST_CASE("the rate may look at a time instead of a number", "[breaker]") {
    fixture f{{.consecutive_failures = 0, .failure_rate = 0.5, .window_time = 10s, .minimum_calls = 4, .open_time = 1s, .jitter = 0}};
    SECTION("what is older no longer counts") {
        f.calls(3, errc::io_error);
        f.w.pass(11s);
        f.calls(3, errc::ok);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
        CHECK(f.breaker().snapshot().last.cause == strata::circuit_cause::failure_rate);
    }
    SECTION("what is younger does, however many there were") {
        f.calls(3'000, errc::ok);
        f.w.pass(9s);
        f.calls(2'999, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("it goes slice by slice") {
        for (int second = 0; second < 40; ++second) {  // two of five fail, for ever
            f.calls(3, errc::ok);
            f.calls(2, errc::io_error);
            f.w.pass(1s);
            CAPTURE(second);
            REQUIRE(f.state() == circuit_state::closed);
        }
        for (int second = 0; second < 10 && f.state() == circuit_state::closed; ++second) {
            f.calls(5, errc::io_error);
            f.w.pass(1s);
        }
        CHECK(f.state() == circuit_state::open);
    }
}

TEST_CASE("slow calls open it, though they succeed", "[breaker]") {
    fixture f{
        {.consecutive_failures = 0, .slow_rate = 0.5, .slow_call = 100ms, .window = 10, .minimum_calls = 4, .open_time = 1s, .jitter = 0}};
    const auto takes = [&](strata::duration d, errc code = errc::ok) {
        return run(f.l, f.w, [&](auto& op, strata::outcome& o) {
            f.w.pass(d);
            ends_with(code)(op, o);
        });
    };
    SECTION("when the share is reached") {
        takes(1s);
        takes(100ms);  // just in time
        takes(100ms);
        CHECK(f.state() == circuit_state::closed);
        takes(101ms);
        CHECK(f.state() == circuit_state::open);
        CHECK(f.breaker().snapshot().last.cause == strata::circuit_cause::slow_rate);
        CHECK(f.breaker().snapshot().last.failure == errc::ok);
        CHECK(f.breaker().snapshot().failures == 0);
    }
    SECTION("just in time is not slow") {
        for (int i = 0; i < 10; ++i) takes(100ms);
        CHECK(f.state() == circuit_state::closed);
    }
    SECTION("a failure that was quick is not slow") {
        for (int i = 0; i < 10; ++i) takes(1ms, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
    }
    SECTION("a wait for a connection is not slow") {
        for (int i = 0; i < 10; ++i)
            run(f.l, f.w, [&](auto& op, strata::outcome&) {
                op.waited_for_lease = true;
                f.w.pass(1s);
            });
        CHECK(f.state() == circuit_state::closed);
    }
    SECTION("a slow probe does not close it") {
        for (int i = 0; i < 4; ++i) takes(1s);
        REQUIRE(f.state() == circuit_state::open);
        f.w.pass(1s);
        takes(1s);
        CHECK(f.state() == circuit_state::open);
        f.w.pass(2s);
        takes(10ms);
        CHECK(f.state() == circuit_state::closed);
    }
}

TEST_CASE("a user's judgement decides what is a failure", "[breaker]") {
    fixture f{{.consecutive_failures = 2, .judge = [](const strata::error& e, strata::condition_traits t) noexcept {
                   if (e.code() == errc::undefined_object) t.sign = strata::health_sign::ill;  // the wrong schema was deployed
                   if (e.code() == errc::io_error) t.sign = strata::health_sign::none;
                   return t;
               }}};
    f.calls(10, errc::io_error);
    CHECK(f.state() == circuit_state::closed);
    f.calls(2, errc::undefined_object);
    CHECK(f.state() == circuit_state::open);
    CHECK(f.breaker().snapshot().last.failure == errc::undefined_object);
}

TEST_CASE("the user may take the decision away, and give it back", "[breaker]") {
    using strata::circuit_mode;
    fixture f{{.consecutive_failures = 2, .open_time = 1s, .jitter = 0}};
    auto& b = f.breaker();
    SECTION("forced open: sticks, and names no time") {
        b.set_mode(circuit_mode::forced_open, "the disk is being changed", f.w.now);
        CHECK(f.state() == circuit_state::open);
        CHECK(b.mode() == circuit_mode::forced_open);
        for (int i = 0; i < 3; ++i) {
            const strata::error e = f.call(errc::ok);
            CHECK(e.code() == errc::circuit_open);
            CHECK(e.retry_after() == strata::duration::zero());
            f.w.pass(1h);
        }
        CHECK(b.snapshot().reason == "the disk is being changed");
        CHECK(b.snapshot().last.cause == strata::circuit_cause::user);
        CHECK(b.snapshot().refused == 3);
        b.set_mode(circuit_mode::automatic);
        CHECK(f.state() == circuit_state::closed);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(b.snapshot().reason.empty());
    }
    SECTION("forced closed: counts, but does not open") {
        f.call(errc::io_error);
        b.set_mode(circuit_mode::forced_closed);
        f.calls(10, errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        CHECK(b.snapshot().failures == 11);
        b.set_mode(circuit_mode::automatic);
        f.call(errc::io_error);  // nothing is on record from before
        CHECK(f.state() == circuit_state::closed);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("disabled: counts nothing") {
        f.calls(2, errc::io_error);
        REQUIRE(f.state() == circuit_state::open);
        b.set_mode(circuit_mode::automatic, "said again");  // it is, so nothing changes
        CHECK(f.state() == circuit_state::open);
        CHECK(b.snapshot().reason == "said again");
        b.set_mode(circuit_mode::disabled);
        CHECK(f.call(errc::io_error).code() == errc::io_error);
        CHECK(b.snapshot().failures == 2);
        CHECK(b.mode() == circuit_mode::disabled);
    }
    SECTION("observing: changes as ever, but lets all pass") {
        b.set_mode(circuit_mode::observing);
        CHECK(b.mode() == circuit_mode::observing);
        f.calls(2, errc::io_error);
        CHECK(f.state() == circuit_state::open);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(f.call(errc::io_error).code() == errc::io_error);
        CHECK(b.snapshot().refused == 2);
        CHECK(b.snapshot().failures == 2);
        f.w.pass(1s);
        open_call probe{f.l, f.w};
        CHECK(f.state() == circuit_state::half_open);
        CHECK(f.call(errc::io_error).code() == errc::io_error);  // no probe, so it decides nothing
        CHECK(f.state() == circuit_state::half_open);
        probe.end(errc::ok);
        CHECK(f.state() == circuit_state::closed);
        CHECK(b.mode() == circuit_mode::observing);
        SECTION("back to automatic, open stays open") {
            f.calls(2, errc::io_error);
            b.set_mode(circuit_mode::automatic);
            CHECK(f.state() == circuit_state::open);
            CHECK(f.call(errc::ok).code() == errc::circuit_open);
        }
    }
    SECTION("a mode that is set again takes nothing off the record") {
        f.call(errc::io_error);
        b.set_mode(circuit_mode::automatic);
        f.call(errc::io_error);
        CHECK(f.state() == circuit_state::open);
    }
    SECTION("a result from before the change is not counted") {
        open_call before{f.l, f.w}, too{f.l, f.w};
        b.set_mode(circuit_mode::forced_closed);
        b.set_mode(circuit_mode::automatic);
        before.end(errc::io_error);
        too.end(errc::io_error);
        CHECK(f.state() == circuit_state::closed);
        CHECK(b.snapshot().stale == 2);
    }
    SECTION("half-open when the mode changes: probes begin anew") {
        f.calls(2, errc::io_error);
        f.w.pass(1s);
        open_call probe{f.l, f.w};
        REQUIRE(f.state() == circuit_state::half_open);
        b.set_mode(circuit_mode::observing, {}, f.w.now);
        CHECK(f.state() == circuit_state::open);
        CHECK_FALSE(f.call(errc::ok));
        CHECK(f.state() == circuit_state::closed);
        probe.end(errc::io_error);
        CHECK(f.state() == circuit_state::closed);
    }
    SECTION("the hook is told") {
        int heard = 0;
        fixture g{{.consecutive_failures = 1,
                   .on_change =
                       [](void* n, const strata::circuit_change& c) noexcept {
                           if (c.cause == strata::circuit_cause::user) ++*static_cast<int*>(n);
                       },
                   .context = &heard}};
        g.breaker().set_mode(circuit_mode::forced_open);
        g.breaker().set_mode(circuit_mode::forced_open, "still");  // no change
        g.breaker().set_mode(circuit_mode::disabled);
        CHECK(heard == 2);
    }
}

TEST_CASE("both rules may be on at once", "[breaker]") {
    fixture f{{.consecutive_failures = 3, .failure_rate = 1.0, .window = 10, .minimum_calls = 10}};
    f.calls(6, errc::ok);
    f.calls(3, errc::io_error);
    CHECK(f.state() == circuit_state::open);
}

TEST_CASE("the hook is told of each change", "[breaker]") {
    struct heard {
        std::vector<strata::circuit_change> all;
    } h;
    fixture f{{.consecutive_failures = 1,
               .open_time = 1s,
               .jitter = 0,
               .on_change = [](void* to, const strata::circuit_change& c) noexcept { static_cast<heard*>(to)->all.push_back(c); },
               .context = &h}};
    const auto begin = f.w.now;
    f.call(errc::io_error);
    f.w.pass(1s);
    f.call(errc::ok);
    REQUIRE(h.all.size() == 3);
    CHECK(h.all[0].from == circuit_state::closed);
    CHECK(h.all[0].to == circuit_state::open);
    CHECK(h.all[0].at == begin);
    CHECK(h.all[1].from == circuit_state::open);
    CHECK(h.all[1].to == circuit_state::half_open);
    CHECK(h.all[2].from == circuit_state::half_open);
    CHECK(h.all[2].to == circuit_state::closed);
    CHECK(h.all[2].at == begin + 1s);
    CHECK(h.all[0].cause == strata::circuit_cause::consecutive_failures);
    CHECK(h.all[0].failure == errc::io_error);
    CHECK(h.all[1].cause == strata::circuit_cause::open_time_over);
    CHECK(h.all[2].cause == strata::circuit_cause::probes_succeeded);
    // Observed from now on, but in the state that it was in.
    f.breaker().set_mode(strata::circuit_mode::observing, "an experiment", f.w.now);
    CHECK(h.all.size() == 3);
    f.breaker().set_mode(strata::circuit_mode::forced_open, "maintenance", f.w.now);
    REQUIRE(h.all.size() == 4);
    CHECK(h.all[3].from == circuit_state::closed);
    CHECK(h.all[3].cause == strata::circuit_cause::user);
}

TEST_CASE("a retry outside waits for a breaker that opens soon", "[breaker][retry]") {
    using both = strata::layers<strata::retry<>, strata::circuit_breaker<>>;
    both l = build<both>(strata::retry_options{.max_attempts = 5}, options{.consecutive_failures = 1, .open_time = 100ms, .jitter = 0});
    manual_world w;
    int n = 0;
    const auto begin = w.now;
    const strata::error e = run(l, w, [&](auto&, strata::outcome& o) {
        if (++n == 1) o.replace(strata::error{errc::cannot_connect, strata::phase::connect});
    });
    CHECK_FALSE(e);
    CHECK(n == 2);
    CHECK(w.now - begin == strata::duration{100ms});
    CHECK(l.at<1>().snapshot().refused == 1);
}

TEST_CASE("breaker options that make no sense name their field", "[breaker]") {
    CHECK_FALSE(options{}.validate());
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.consecutive_failures = 0}), contains_text("circuit_breaker_options.consecutive_failures"));
    CHECK_FALSE((options{.consecutive_failures = 0, .failure_rate = 0.5}.validate()));
    CHECK_THAT(says({.failure_rate = 1.1}), contains_text("circuit_breaker_options.failure_rate"));
    CHECK_THAT(says({.window = 0}), contains_text("circuit_breaker_options.window"));
    CHECK_THAT(says({.failure_rate = 0.5, .window = 10, .minimum_calls = 11}), contains_text("circuit_breaker_options.minimum_calls"));
    CHECK_THAT(says({.open_time = 0s}), contains_text("circuit_breaker_options.open_time"));
    CHECK_THAT(says({.open_time = 2s, .max_open_time = 1s}), contains_text("circuit_breaker_options.max_open_time"));
    CHECK_THAT(says({.jitter = 1.0}), contains_text("circuit_breaker_options.jitter"));
    CHECK_THAT(says({.half_open_permits = 0}), contains_text("circuit_breaker_options.half_open_permits"));
    CHECK_THAT(says({.half_open_time = 0s}), contains_text("circuit_breaker_options.half_open_time"));
    CHECK_THAT(says({.slow_rate = 1.5}), contains_text("circuit_breaker_options.slow_rate"));
    CHECK_THAT(says({.slow_rate = 0.5}), contains_text("circuit_breaker_options.slow_call"));
    CHECK_FALSE((options{.consecutive_failures = 0, .slow_rate = 0.5, .slow_call = 1s}.validate()));
    CHECK_THAT(says({.window_time = 1ns}), contains_text("circuit_breaker_options.window_time"));
    CHECK_FALSE((options{.failure_rate = 0.5, .window = 10, .window_time = 1s, .minimum_calls = 11}.validate()));
}

TEST_CASE("two breakers of one stack have their own state and options", "[breaker]") {
    struct reads;
    using two = strata::layers<strata::circuit_breaker<>, strata::circuit_breaker<reads>>;
    two l = build<two>(options{.consecutive_failures = 2}, strata::tagged<reads, options>{{.consecutive_failures = 1}});
    manual_world w;
    run(l, w, ends_with(errc::io_error));
    CHECK(l.at<0>().state() == circuit_state::closed);
    CHECK(l.at<1>().state() == circuit_state::open);
    const strata::tagged<reads, options> wrong{{.open_time = 0s}};
    CHECK(wrong.validate());
}

TEST_CASE("random calls: never more probes than permits, and no permit is lost", "[breaker][random]") {
    std::mt19937 dice{7};
    const int rounds = count(500, 10'000);
    unsigned long probes_seen = 0;
    for (int round = 0; round < rounds; ++round) {
        const auto permits = static_cast<unsigned>(1 + dice() % 3);
        fixture f{{.consecutive_failures = 2, .open_time = 1s, .max_open_time = 1s, .jitter = 0, .half_open_permits = permits}};
        std::deque<std::unique_ptr<open_call>> late;  // admitted while closed
        for (int i = 0; i < 4; ++i) late.push_back(std::make_unique<open_call>(f.l, f.w));
        f.calls(2, errc::io_error);
        f.w.pass(1s);
        {
            open_call first{f.l, f.w};
        }  // and gone
        // Half-open at a standing clock: a model of it, `taken` and `done`, must agree at each step.
        std::deque<std::unique_ptr<open_call>> probes;
        unsigned done = 0;
        for (int i = 0; i < 60; ++i) {
            switch (dice() % 4) {
                case 0:
                case 1: {
                    auto c = std::make_unique<open_call>(f.l, f.w);
                    REQUIRE(c->admitted() == (probes.size() + done < permits));
                    if (c->admitted()) probes.push_back(std::move(c));
                    break;
                }
                case 2:
                    if (!late.empty()) {
                        late.front()->end(dice() % 2 == 0 ? errc::ok : errc::io_error);
                        late.pop_front();
                    }
                    break;
                default:
                    if (probes.empty()) break;
                    ++probes_seen;
                    switch (dice() % 3) {
                        case 0:
                            probes.front()->end(errc::cancelled);
                            break;
                        case 1:
                            break;  // destroyed
                        default:
                            probes.front()->end(errc::busy);  // an answer
                            ++done;
                    }
                    probes.pop_front();
            }
            REQUIRE(f.state() == (done == permits ? circuit_state::closed : circuit_state::half_open));
            if (done == permits) break;
        }
    }
    CHECK(probes_seen > 100);
}

TEST_CASE("many threads: the breaker opens, probes and closes without losing a permit", "[breaker][threads]") {
    alone l = build<alone>(options{.consecutive_failures = 3, .open_time = 20us, .max_open_time = 20us, .jitter = 0});
    std::atomic<bool> ill{true};
    std::atomic<unsigned long> passed{0}, refused{0};
    const int rounds = count(3'000, 100'000);
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t) {
        all.emplace_back([&, t] {
            for (int i = 0; i < rounds; ++i) {
                plain_operation op;
                strata::passage p{l, op};
                const auto now = [] { return strata::moment{strata::clock::now()}; };
                if (p.first(now()) == step::attempt) {
                    ++passed;
                    if ((i + t) % 16 == 0) continue;  // destroyed midway
                    if (ill.load()) p.result().replace(strata::error{errc::io_error, strata::phase::execute});
                    static_cast<void>(p.landed(now()));
                } else {
                    ++refused;
                }
                if (i % 100 == 0) ill = (i / 100) % 2 == 0;
            }
        });
    }
    for (std::thread& t : all) t.join();
    CHECK(passed + refused == 4ul * static_cast<unsigned long>(rounds));
    const auto s = l.at<0>().snapshot();
    CHECK(s.refused == refused);
    CHECK(s.opened >= 1);
    // Each half-open state followed an open one and ended in one of the two others, but for the last.
    CHECK(s.half_opened <= s.opened);
    CHECK(s.closed <= s.half_opened);
    // And it still works: sooner or later a probe closes it.
    for (int i = 0; i < 1'000 && l.at<0>().state() != circuit_state::closed; ++i) {
        std::this_thread::sleep_for(50us);
        plain_operation op;
        strata::passage p{l, op};
        if (p.first({strata::clock::now()}) == step::attempt) static_cast<void>(p.landed({strata::clock::now()}));
    }
    CHECK(l.at<0>().state() == circuit_state::closed);
}

TEST_CASE("many threads: no success is lost, and a row of failures is counted exactly", "[breaker][threads]") {
    const int rounds = count(2'000, 50'000);
    const auto in_four_threads = [&](alone& l, errc code) {
        std::vector<std::thread> all;
        for (int t = 0; t < 4; ++t)
            all.emplace_back([&] {
                for (int i = 0; i < rounds; ++i) {
                    plain_operation op;
                    strata::passage p{l, op};
                    if (p.first({strata::time_point{1s}}) != step::attempt) return;
                    ends_with(code)(op, p.result());
                    static_cast<void>(p.landed({strata::time_point{1s}}));
                }
            });
        for (std::thread& t : all) t.join();
    };
    const unsigned calls = 4u * static_cast<unsigned>(rounds);
    SECTION("a window of time holds all successes") {
        alone l = build<alone>(options{.consecutive_failures = 0, .failure_rate = 0.5, .window_time = 10h, .minimum_calls = 20});
        in_four_threads(l, errc::ok);
        manual_world w;
        w.now = strata::time_point{1s};
        for (unsigned i = 1; i < calls; ++i) run(l, w, ends_with(errc::io_error));
        CHECK(l.at<0>().state() == circuit_state::closed);
        run(l, w, ends_with(errc::io_error));
        CHECK(l.at<0>().state() == circuit_state::open);
    }
    SECTION("one by number as many as it has room for") {
        alone l = build<alone>(options{.consecutive_failures = 0, .failure_rate = 0.5, .window = 1'000, .minimum_calls = 20});
        in_four_threads(l, errc::ok);
        manual_world w;
        for (unsigned i = 1; i < 500; ++i) run(l, w, ends_with(errc::io_error));
        CHECK(l.at<0>().state() == circuit_state::closed);
        run(l, w, ends_with(errc::io_error));
        CHECK(l.at<0>().state() == circuit_state::open);
    }
    SECTION("failures in a row") {
        alone one_short = build<alone>(options{.consecutive_failures = calls + 1}),
              enough = build<alone>(options{.consecutive_failures = calls});
        in_four_threads(one_short, errc::io_error);
        CHECK(one_short.at<0>().state() == circuit_state::closed);
        in_four_threads(enough, errc::io_error);
        CHECK(enough.at<0>().state() == circuit_state::open);
        CHECK(enough.at<0>().snapshot().failures == calls);
    }
}

namespace {

/// A breaker as one would tell it to a friend: slow, and without any thought of threads.
struct breaker_model {
    options o;
    circuit_state state = circuit_state::closed;
    int generation = 0;
    unsigned row = 0;
    struct sample {
        strata::time_point at;
        bool failed;
        bool slow;
    };
    std::deque<sample> window{};
    strata::time_point until{};
    strata::duration open_time{};
    unsigned taken = 0, succeeded = 0;

    void become(circuit_state s) {
        state = s;
        ++generation;
    }
    void open(strata::time_point now) {
        until = now + open_time;
        become(circuit_state::open);
    }
    void open_longer(strata::time_point now) {
        open_time = std::min(open_time * 2, o.max_open_time);
        open(now);
    }
    /// Nothing when it passes, else the time to wait.
    std::optional<strata::duration> admit(strata::time_point now) {
        if (state == circuit_state::open && now >= until) {
            taken = succeeded = 0;
            until = now + o.half_open_time;
            become(circuit_state::half_open);
        } else if (state == circuit_state::half_open && now >= until) {
            if (taken > succeeded)
                open_longer(now);
            else
                until = now + o.half_open_time;
        }
        if (state == circuit_state::closed) return {};
        if (state == circuit_state::half_open && taken < o.half_open_permits) {
            ++taken;
            return {};
        }
        return state == circuit_state::half_open ? std::min(until - now, o.open_time) : until - now;
    }
    /// A window of time consists of ten slices, the one of now included.
    [[nodiscard]] bool forgets(const sample& s, strata::time_point now) const {
        if (o.window_time == strata::duration{}) return window.size() > o.window;
        const auto slice = [&](strata::time_point at) { return at.time_since_epoch() / (o.window_time / 10); };
        return slice(now) - slice(s.at) >= 10;
    }
    void settle(int admitted_in, strata::time_point started, strata::health_sign sign, strata::time_point now) {
        if (admitted_in != generation) return;
        const bool failed = sign == strata::health_sign::ill;
        const bool slow = o.slow_rate > 0 && now - started > o.slow_call;
        if (state == circuit_state::half_open) {
            if (sign == strata::health_sign::none)
                --taken;
            else if (failed || slow)
                open_longer(now);
            else if (++succeeded == o.half_open_permits) {
                row = 0;
                window.clear();
                become(circuit_state::closed);
            }
            return;
        }
        if (sign == strata::health_sign::none) return;
        row = failed ? row + 1 : 0;
        window.push_back({now, failed, slow});
        while (forgets(window.front(), now)) window.pop_front();
        const auto reached = [this](bool sample::* what, double rate) {
            const auto n = static_cast<double>(std::count_if(window.begin(), window.end(), [&](auto& s) { return s.*what; }));
            return rate > 0 && window.size() >= o.minimum_calls && n >= rate * static_cast<double>(window.size());
        };
        const bool by_row = o.consecutive_failures != 0 && row >= o.consecutive_failures;
        const bool by_rate = reached(&sample::failed, o.failure_rate) || reached(&sample::slow, o.slow_rate);
        if (by_row || by_rate) {
            open_time = o.open_time;
            open(now);
        }
    }
};

}  // namespace

TEST_CASE("random steps agree with a plain model", "[breaker][random]") {
    std::mt19937 dice{23};
    const auto below = [&](unsigned n) { return static_cast<unsigned>(dice() % n); };
    int steps = 0;
    std::array<int, 3> seen{};
    while (steps < count(50'000, 1'000'000)) {
        options o{.consecutive_failures = below(5),
                  .window = 1 + below(8),
                  .open_time = 1s * (1 + below(3)),
                  .max_open_time = 8s,
                  .jitter = 0,
                  .half_open_permits = 1 + below(3),
                  .half_open_time = 1s * (1 + below(6))};
        if (o.consecutive_failures == 0 || below(2) == 0) o.failure_rate = 0.25 * (1 + below(4));
        if (below(3) == 0) o.slow_rate = 0.25 * (1 + below(4));
        o.slow_call = 1s;
        if (below(2) == 0) o.window_time = 1s * (1 + below(20));
        o.minimum_calls = 1 + below(o.window);
        fixture f{o};
        breaker_model model{.o = o};
        struct under_way {
            std::unique_ptr<open_call> call;
            int admitted_in;
            strata::time_point started;
        };
        std::deque<under_way> on_way;
        const unsigned ill = 1 + below(9);
        for (int i = 0; i < 500; ++i, ++steps) {
            const unsigned what = below(10);
            if (what >= 8) {
                f.w.pass(1ms * below(1500));
            } else if (what < 4 || on_way.empty()) {
                auto c = std::make_unique<open_call>(f.l, f.w);
                const auto refused = model.admit(f.w.now);
                REQUIRE(c->admitted() != refused.has_value());
                if (refused)
                    REQUIRE(c->p.result().error().retry_after() == *refused);
                else
                    on_way.push_back({std::move(c), model.generation, f.w.now});
            } else {
                const auto at = on_way.begin() + below(static_cast<unsigned>(on_way.size()));
                const unsigned end = below(10);
                if (end == 0) {  // destroyed: only a probe's permit goes back
                    if (model.state == circuit_state::half_open)
                        model.settle(at->admitted_in, at->started, strata::health_sign::none, f.w.now);
                } else {
                    const errc code = end == 1 ? errc::cancelled : end < 1 + ill ? errc::io_error : errc::ok;
                    at->call->end(code);
                    model.settle(at->admitted_in, at->started,
                                 code == errc::ok         ? strata::health_sign::good
                                 : code == errc::io_error ? strata::health_sign::ill
                                                          : strata::health_sign::none,
                                 f.w.now);
                }
                on_way.erase(at);
            }
            REQUIRE(f.state() == model.state);
            ++seen[static_cast<std::size_t>(model.state)];
        }
    }
    CAPTURE(seen[0], seen[1], seen[2]);
    for (const int n : seen) CHECK(n > steps / 50);  // it has been everywhere
}
