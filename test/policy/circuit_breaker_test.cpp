// The circuit breaker: when it opens, what it lets through meanwhile, when it closes, and what it does not count.
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/retry.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

#include <deque>
#include <memory>
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

TEST_CASE("a probe that never comes back lets another one go after a further open time", "[breaker]") {
    fixture f{{.consecutive_failures = 1, .open_time = 1s, .jitter = 0}};
    f.call(errc::io_error);
    f.w.pass(1s);
    open_call hangs{f.l, f.w};
    REQUIRE(hangs.admitted());
    f.w.pass(1s - 1ns);
    CHECK(f.call(errc::ok).code() == errc::circuit_open);
    f.w.pass(1ns);
    CHECK_FALSE(f.call(errc::ok));
    CHECK(f.state() == circuit_state::closed);
    hangs.end(errc::io_error);  // too late to matter
    CHECK(f.state() == circuit_state::closed);
    CHECK(f.breaker().snapshot().stale == 1);
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
