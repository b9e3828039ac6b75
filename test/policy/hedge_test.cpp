// The hedge's decisions alone, in made-up time: when a second try begins, whether, and whose outcome goes out.
#include <strata/policy/hedge.hpp>

#include <support/catch.hpp>

#include <cmath>
#include <functional>
#include <random>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using strata::duration;
using strata::errc;
using strata::error;
using strata::never;
using strata::time_point;
using strata_test::approx;
using options = strata::hedge_options;
using one_read = strata::detail::hedged_read;
using ending = one_read::ending;

namespace {

constexpr auto granted = []() noexcept { return true; };
constexpr auto denied = []() noexcept { return false; };

struct fixture {
    explicit fixture(const options& o = {}) : h(o) {}

    /// A read that nobody hedges, over at once in made-up time.
    void answers(duration took, errc code = errc::ok, bool is_usual = true) {
        one_read r{h};
        static_cast<void>(r.begin(now));
        now += took;
        CHECK(r.first_ended(code == errc::ok ? error{} : error{code}, is_usual, now) == ending::first);
    }
    void answer(int n, duration took) {
        for (int i = 0; i < n; ++i) answers(took);
    }
    /// After which delay a read that begins now would get a second try; the longest: none.
    [[nodiscard]] duration delay() {
        one_read r{h};
        const time_point at = r.begin(now);
        return at == never ? duration::max() : at - now;
    }
    /// Whether a read that is slow gets one.
    [[nodiscard]] bool hedges(bool is_idle = true, bool retry_has_one = true) {
        one_read r{h};
        if (r.begin(now) == never) return false;
        return retry_has_one ? r.second_begins(is_idle, granted) : r.second_begins(is_idle, denied);
    }

    strata::hedge h;
    time_point now{1h};
};

/// The end of a bucket of the histogram: up to 6.3 % beyond the time.
bool is_just_beyond(duration delay, duration time) {
    return delay >= time && delay <= time + time / 15;
}

}  // namespace

TEST_CASE("hedge options that make no sense are refused", "[hedge]") {
    const auto refused = [](const options& o, std::string_view field) {
        const error e = o.validate();
        CHECK(e.code() == errc::invalid_argument);
        CHECK(e.message().find(field) != std::string::npos);
        CHECK_THROWS_AS(strata::hedge{o}, strata::failure);
    };
    refused({.percentile = 0}, "percentile");
    refused({.percentile = 1}, "percentile");
    refused({.percentile = std::nan("")}, "percentile");
    refused({.min_delay = -1ns}, "min_delay");
    refused({.min_delay = 2s, .max_delay = 1s}, "max_delay");
    refused({.minimum_samples = 0}, "minimum_samples");
    refused({.window = 999us}, "window");
    refused({.budget = -0.1}, "budget");
    refused({.budget = 1.1}, "budget");
    refused({.budget = std::nan("")}, "budget");
    refused({.burst = 0}, "burst");
    refused({.burst = 1'000'001}, "burst");
    CHECK_FALSE(options{}.validate());
}

TEST_CASE("no second try before enough reads were measured", "[hedge]") {
    fixture f{{.minimum_samples = 50}};
    f.answer(49, 5ms);
    CHECK(f.delay() == duration::max());
    CHECK(f.h.snapshot().delay == duration::zero());
    f.answers(5ms);
    CHECK(is_just_beyond(f.delay(), 5ms));
    CHECK(is_just_beyond(f.h.snapshot().delay, 5ms));
    CHECK(f.h.snapshot().samples == 50);
}

TEST_CASE("a hedge that is not enabled measures, and hedges nothing", "[hedge]") {
    fixture f{{.enabled = false}};
    f.answer(1000, 5ms);
    CHECK(f.delay() == duration::max());
    CHECK(f.h.snapshot().samples == 1000);
    CHECK(is_just_beyond(f.h.snapshot().delay, 5ms));
}

TEST_CASE("the delay is the percentile of what reads took, between its bounds", "[hedge]") {
    std::mt19937 random{7};
    for (const double percentile : {0.5, 0.9, 0.95, 0.99}) {
        fixture f{{.percentile = percentile, .window = 1h}};
        std::vector<duration> took;
        for (int i = 0; i < 6'400; ++i) took.push_back(5ms + duration{random() % 100'000'000});
        for (const duration d : took) f.answers(d);  // reckoned after 100, 200, 400 ... 6400
        std::sort(took.begin(), took.end());
        CHECK(is_just_beyond(f.delay(), took[static_cast<std::size_t>(percentile * 6'400)]));
    }
    fixture least{{.min_delay = 20ms}}, most{{.max_delay = 3ms}};
    least.answer(100, 1ms);
    most.answer(100, 5ms);
    CHECK(least.delay() == 20ms);
    CHECK(most.delay() == 3ms);
}

TEST_CASE("the delay follows what reads take of late", "[hedge]") {
    fixture f{{.window = 10s}};
    f.answer(2000, 10ms);  // 20 s
    CHECK(is_just_beyond(f.delay(), 10ms));
    f.answer(300, 100ms);  // 30 s: the old times are out of the window
    CHECK(is_just_beyond(f.delay(), 100ms));
    f.answer(100, 10ms);  // a second of quick ones: the slow ones are still in it
    CHECK(is_just_beyond(f.delay(), 100ms));
    f.answer(2000, 10ms);
    CHECK(is_just_beyond(f.delay(), 10ms));
}

TEST_CASE("a rise is seen before the window has turned", "[hedge]") {
    fixture f{{.window = 1h}};
    f.answer(100, 2ms);
    f.answer(10, 40ms);
    CHECK(is_just_beyond(f.delay(), 2ms));  // reckoned when there are twice as many
    f.answer(90, 40ms);
    CHECK(is_just_beyond(f.delay(), 40ms));
}

TEST_CASE("what was before a turn is remembered for half a window at least", "[hedge]") {
    fixture f{{.percentile = 0.5, .minimum_samples = 20, .window = 10s}};
    f.answer(100, 100ms);  // turns after 20 of them (2 s) and after 70 (7 s)
    f.answer(75, 10ms);    // reckoned after the 50th of these: 80 slow ones since the turn before the last
    CHECK(is_just_beyond(f.delay(), 100ms));
}

TEST_CASE("where reads are few the window lasts until there are enough", "[hedge]") {
    fixture f{{.minimum_samples = 100, .window = 10s}};
    for (int i = 0; i < 100; ++i) f.answers(20ms), f.now += 1s;
    CHECK(is_just_beyond(f.delay(), 20ms));
    f.now += 24h;
    for (int i = 0; i < 50; ++i) f.answers(3ms), f.now += 1min;
    CHECK(is_just_beyond(f.delay(), 20ms));  // 50 are not enough to go by, and there are the older ones
    for (int i = 0; i < 250; ++i) f.answers(3ms), f.now += 1min;
    CHECK(is_just_beyond(f.delay(), 3ms));
}

TEST_CASE("what says nothing of a read's time is no sample", "[hedge]") {
    fixture f;
    for (const errc code : {errc::connection_lost, errc::timeout, errc::cancelled, errc::busy, errc::circuit_open, errc::user_exception})
        f.answers(1ms, code);
    f.answers(1ms, errc::ok, false);
    CHECK(f.h.snapshot().samples == 0);
    f.answers(1ms, errc::no_rows);  // the database has answered
    f.answers(1ms);
    CHECK(f.h.snapshot().samples == 2);
    CHECK(f.h.snapshot().reads == 9);

    one_read r{f.h};
    static_cast<void>(r.begin(f.now));
    CHECK(r.first_ended(error{errc::no_rows}.set_local(), true, f.now) == ending::first);  // a layer's word, not the database's
    CHECK(f.h.snapshot().samples == 2);
}

TEST_CASE("at no time more second tries than the budget's share of the reads", "[hedge]") {
    std::mt19937 random{11};
    for (const double budget : {0.0, 0.01, 0.1, 0.25, 1.0}) {
        fixture f{{.min_delay = 1ms, .budget = budget, .burst = 5}};
        f.answer(100, 1ms);
        for (int i = 0; i < 5'000; ++i) {
            // Now and then a bad time, in which every read is slow.
            if (random() % 20 == 0 || (i / 300) % 3 == 0)
                static_cast<void>(f.hedges());
            else
                f.answers(1ms);
            const auto s = f.h.snapshot();
            REQUIRE(static_cast<double>(s.hedged) <= budget * static_cast<double>(s.reads) + 1e-6);
            REQUIRE(s.tokens >= 0);
            REQUIRE(s.tokens <= 5);
        }
        CHECK((f.h.snapshot().hedged > 0) == (budget > 0));
        if (budget == 1.0) CHECK(f.h.snapshot().no_budget == 0);
        if (budget > 0 && budget < 1) CHECK(f.h.snapshot().no_budget > 0);
    }
}

TEST_CASE("no more than the burst is saved up", "[hedge]") {
    fixture f{{.budget = 0.1, .burst = 3}};
    f.answer(1000, 2ms);
    CHECK(f.h.snapshot().tokens == approx(3.0));
    int begun = 0;
    for (int i = 0; i < 5; ++i) begun += f.hedges() ? 1 : 0;
    CHECK(begun == 3);
    CHECK(f.h.snapshot().hedged == 3);
    CHECK(f.h.snapshot().no_budget == 2);
}

TEST_CASE("without an idle connection, or a repetition of the retry's, there is no second try and nothing is spent", "[hedge]") {
    fixture f;
    f.answer(200, 2ms);
    const double full = f.h.snapshot().tokens;
    CHECK_FALSE(f.hedges(false));
    CHECK(f.h.snapshot().no_connection == 1);
    CHECK(f.h.snapshot().no_budget == 0);
    CHECK_FALSE(f.hedges(true, false));
    CHECK(f.h.snapshot().no_budget == 1);
    CHECK(f.h.snapshot().tokens >= full);
    CHECK(f.h.snapshot().hedged == 0);
    CHECK(f.hedges());
    CHECK(f.h.snapshot().tokens < full);

    // The retry is not asked where our own budget says no, nor where no connection is idle.
    fixture poor{{.budget = 0}};
    poor.answer(200, 2ms);
    int asked = 0;
    const auto ask = [&]() noexcept { return ++asked > 0; };
    for (const bool is_idle : {true, false}) {
        one_read r{poor.h};
        REQUIRE(r.begin(poor.now) != never);
        CHECK_FALSE(r.second_begins(is_idle, ask));
    }
    CHECK(asked == 0);
}

TEST_CASE("no second try for a read that is over, was cancelled, or had one", "[hedge]") {
    fixture f;
    f.answer(500, 2ms);
    one_read over{f.h}, cancelled{f.h}, had{f.h};
    for (one_read* r : {&over, &cancelled, &had}) CHECK(r->begin(f.now) != never);
    CHECK(over.first_ended({}, true, f.now) == ending::first);
    CHECK_FALSE(over.second_begins(true, granted));
    cancelled.cancel();
    CHECK_FALSE(cancelled.second_begins(true, granted));
    CHECK(had.second_begins(true, granted));
    CHECK_FALSE(had.second_begins(true, granted));
    CHECK(f.h.snapshot().hedged == 1);
}

namespace {

/// How a try ends.
struct end {
    errc code;
    bool local;
    [[nodiscard]] error as_error() const {
        if (code == errc::ok) return {};
        error e{code};
        if (local) e.set_local();
        return e;
    }
};

/// The rule, written down once more: what ends a read though the other try is on its way.
bool is_an_answer(bool first, end e) {
    static constexpr errc the_databases[] = {
        errc::ok,         errc::unique_violation,     errc::foreign_key_violation, errc::not_null_violation, errc::check_violation,
        errc::no_rows,    errc::constraint_violation, errc::syntax_error,          errc::undefined_object,   errc::read_only,
        errc::too_big,    errc::permission_denied,    errc::too_many_rows,         errc::missing_column,     errc::type_mismatch,
        errc::null_value, errc::transaction_aborted,  errc::commit_rolled_back,    errc::out_of_range};
    static constexpr errc the_callers[] = {errc::user_exception,    errc::user_error,       errc::misuse,           errc::unsupported,
                                           errc::unknown,           errc::invalid_argument, errc::not_run,          errc::access_denied,
                                           errc::invalid_statement, errc::refused,          errc::circuit_open,     errc::bulkhead_full,
                                           errc::rate_limited,      errc::pool_exhausted,   errc::pool_unreachable, errc::shutting_down,
                                           errc::commit_pending,    errc::heuristic_outcome};
    const auto in = [&](const auto& codes) { return std::find(std::begin(codes), std::end(codes), e.code) != std::end(codes); };
    if (first && (e.code == errc::timeout || e.code == errc::cancelled)) return true;
    return e.code == errc::ok || (!e.local && (in(the_databases) || in(the_callers)));
}

}  // namespace

TEST_CASE("whose outcome goes out: every pair of ends, in each order", "[hedge]") {
    std::vector<end> ends;
    for (int c = 0; c <= static_cast<int>(errc::unknown); ++c) {
        const auto code = static_cast<errc>(c);
        ends.push_back({code, false});
        if (code != errc::ok) ends.push_back({code, true});
    }
    REQUIRE(ends.size() > 80);
    fixture f{{.min_delay = 0ms, .budget = 1}};
    f.answer(100, 1ms);
    for (const end first : ends) {
        for (const end second : ends) {
            for (const bool first_ends_first : {true, false}) {
                one_read r{f.h};
                REQUIRE(r.begin(f.now) != never);
                REQUIRE(r.second_begins(true, granted));
                const auto won = f.h.snapshot().won;
                const ending one =
                    first_ends_first ? r.first_ended(first.as_error(), true, f.now) : r.second_ended(second.as_error(), f.now);
                const ending two =
                    first_ends_first ? r.second_ended(second.as_error(), f.now) : r.first_ended(first.as_error(), true, f.now);
                const bool early = first_ends_first ? is_an_answer(true, first) : is_an_answer(false, second);
                const bool late = first_ends_first ? is_an_answer(false, second) : is_an_answer(true, first);
                const ending mine = first_ends_first ? ending::first : ending::second;
                const ending others = first_ends_first ? ending::second : ending::first;
                const ending expected_one = early ? mine : ending::none;
                const ending expected_two = early ? ending::none : late ? others : ending::first;
                if (one != expected_one || two != expected_two) {
                    CAPTURE(strata::to_string(first.code), first.local, strata::to_string(second.code), second.local, first_ends_first);
                    FAIL_CHECK("wrong");
                }
                const bool second_won = one == ending::second || two == ending::second;
                REQUIRE(f.h.snapshot().won == won + (second_won ? 1 : 0));
            }
        }
        one_read alone{f.h};  // no second try: whatever it is goes out
        static_cast<void>(alone.begin(f.now));
        REQUIRE(alone.first_ended(first.as_error(), true, f.now) == ending::first);
    }
}

TEST_CASE("a first try that has lost leaves the percentile as it was", "[hedge]") {
    // Uniform in 1 to 11 ms; whoever takes longer than the delay loses a little later to its second try.
    for (const double percentile : {0.5, 0.8, 0.95}) {
        fixture f{{.percentile = percentile, .window = 10s, .budget = 1}};
        std::mt19937 random{3};
        for (int i = 0; i < 20'000; ++i) {
            const duration took = 1ms + duration{random() % 10'000'000};
            one_read r{f.h};
            const time_point at = r.begin(f.now);
            if (at < f.now + took) {
                REQUIRE(r.second_begins(true, granted));
                f.now = at + 10us;
                REQUIRE(r.second_ended({}, f.now) == ending::second);
            } else {
                f.now += took;
                REQUIRE(r.first_ended({}, true, f.now) == ending::first);
            }
        }
        const duration exact = 1ms + duration{static_cast<duration::rep>(percentile * 1e7)};
        CAPTURE(percentile, f.h.snapshot().delay.count());
        CHECK(f.h.snapshot().delay > exact * 95 / 100);
        CHECK(f.h.snapshot().delay < exact * 112 / 100);
        CHECK(static_cast<double>(f.h.snapshot().hedged) < 20'000 * (1 - percentile) * 1.1);
        CHECK(static_cast<double>(f.h.snapshot().hedged) > 20'000 * (1 - percentile) * 0.4);
    }
}

TEST_CASE("a first try that failed before the second answered is no sample", "[hedge]") {
    fixture f{{.budget = 1}};
    f.answer(100, 2ms);
    one_read r{f.h};
    REQUIRE(r.begin(f.now) != never);
    REQUIRE(r.second_begins(true, granted));
    CHECK(r.first_ended(error{errc::connection_lost}, true, f.now + 3ms) == ending::none);
    CHECK(r.second_ended({}, f.now + 4ms) == ending::second);
    CHECK(f.h.snapshot().samples == 100);
    CHECK(f.h.snapshot().won == 1);
}

TEST_CASE("a hedge may go when its reads have ended, though their losing tries have not", "[hedge]") {
    auto h = std::make_unique<strata::hedge>(options{.minimum_samples = 1});
    time_point now{1h};
    one_read seed{*h}, one{*h}, two{*h};
    static_cast<void>(seed.begin(now));
    for (int i = 0; i < 100; ++i) static_cast<void>(one_read{*h}.begin(now));  // for the budget
    REQUIRE(seed.first_ended({}, true, now + 1ms) == ending::first);
    REQUIRE(one.begin(now) != never);
    REQUIRE(two.begin(now) != never);
    REQUIRE(one.second_begins(true, granted));
    REQUIRE(two.second_begins(true, granted));
    REQUIRE(one.first_ended({}, true, now) == ending::first);
    REQUIRE(two.second_ended({}, now) == ending::second);
    h.reset();
    CHECK(one.second_ended(error{errc::cancelled}, now) == ending::none);
    CHECK(two.first_ended({}, true, now) == ending::none);
    one.cancel();
    CHECK_FALSE(two.second_begins(true, granted));
}

TEST_CASE("many threads: the budget holds, and nothing is lost", "[hedge][threads]") {
    strata::hedge h{{.minimum_samples = 10, .window = 1ms, .budget = 0.1}};
    constexpr int threads = 4, each = 5'000;
    std::atomic<std::uint64_t> begun{0};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t)
        all.emplace_back([&, t] {
            time_point now{1h};
            for (int i = 0; i < each; ++i) {
                one_read r{h};
                static_cast<void>(r.begin(now));
                now += duration{(i * 7919 + t) % 3'000'000};
                if (i % 3 == 0 && r.second_begins(true, granted)) begun.fetch_add(1);
                static_cast<void>(r.first_ended({}, true, now));
                if (i % 100 == 0) static_cast<void>(h.snapshot());
            }
        });
    for (std::thread& t : all) t.join();
    const auto s = h.snapshot();
    CHECK(s.reads == threads * each);
    CHECK(s.samples == threads * each);
    CHECK(s.hedged == begun.load());
    CHECK(s.hedged * 10 <= s.reads);
    CHECK(s.hedged * 10 + 20 * 10 > s.reads);
    CHECK(s.delay > 2ms);
    CHECK(s.delay < 4ms);
}
