// The passage: in which order layers are asked, what their verdicts do, and that each has exactly one exit.
#include <support/catch.hpp>
#include <support/drive.hpp>

#include <memory>
#include <random>
#include <string>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using strata::step;
using strata::verdict;

namespace {

using journal = std::vector<std::string>;

/// Writes down each call; answers what the test has set.
template <int I>
struct writes_down {
    static constexpr auto place = strata::place::attempt;
    struct frame {
        int asked = 0;
        int settled = 0;
    };

    explicit writes_down(journal& j) : out(j) {}

    verdict admit(auto&, frame& f, strata::moment) noexcept {
        out.push_back("admit " + std::to_string(I));
        ++f.asked;
        asked = f.asked;
        return on_admit ? on_admit(f.asked) : strata::proceed();
    }
    verdict settle(auto&, frame& f, strata::outcome& o, strata::moment) noexcept {
        out.push_back("settle " + std::to_string(I));
        ++f.settled;
        settled = f.settled;
        last = o.code();
        return on_settle ? on_settle(f.settled, o) : strata::accept();
    }
    void abandon(frame&) noexcept { out.push_back("abandon " + std::to_string(I)); }

    journal& out;
    verdict (*on_admit)(int asked) = nullptr;
    verdict (*on_settle)(int settled, strata::outcome&) = nullptr;
    int asked = 0;
    int settled = 0;
    errc last = errc::ok;
};

using three = strata::layers<writes_down<0>, writes_down<1>, writes_down<2>>;
three make_three(journal& j) {
    return three([&]<class T>(std::type_identity<T>) { return T(j); });
}

}  // namespace

TEST_CASE("admit is asked outermost first, settle innermost first", "[passage]") {
    journal j;
    three l = make_three(j);
    manual_world w;
    const strata::error e = run(l, w, [&](auto&, auto&) { j.push_back("attempt"); });
    CHECK_FALSE(e);
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "attempt", "settle 2", "settle 1", "settle 0"});
}

TEST_CASE("a refusal settles only the layers outside it", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_admit = [](int) { return strata::refuse(errc::rate_limited, 5ms); };
    manual_world w;
    const strata::error e = run(l, w, [&](auto&, auto&) { j.push_back("attempt"); });
    CHECK(j == journal{"admit 0", "admit 1", "settle 0"});
    CHECK(e.code() == errc::rate_limited);
    CHECK(e.local());
    CHECK(e.retry_after() == strata::duration{5ms});
    CHECK(e.effect() == strata::effect::none);
    CHECK(e.phase() == strata::phase::admission);
    CHECK_FALSE(e.has_texts());
    CHECK(l.at<0>().last == errc::rate_limited);
}

TEST_CASE("an injected failure looks like the attempt's own", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<2>().on_admit = [](int) { return strata::fail(errc::connection_lost); };
    manual_world w;
    const strata::error e = run(l, w, [&](auto&, auto&) { j.push_back("attempt"); });
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "settle 1", "settle 0"});
    CHECK(e.code() == errc::connection_lost);
    CHECK_FALSE(e.local());
    CHECK(e.phase() == strata::phase::execute);
}

TEST_CASE("an answer ends the way in well", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_admit = [](int) { return strata::answer(); };
    manual_world w;
    CHECK_FALSE(run(l, w, [&](auto&, auto&) { j.push_back("attempt"); }));
    CHECK(j == journal{"admit 0", "admit 1", "settle 0"});
}

TEST_CASE("settle may replace the outcome for those outside", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_settle = [](int, strata::outcome& o) {
        o.replace(strata::error{errc::too_big});
        return strata::accept();
    };
    manual_world w;
    CHECK(run(l, w, succeeds()).code() == errc::too_big);
    CHECK(l.at<2>().last == errc::ok);
    CHECK(l.at<0>().last == errc::too_big);
}

TEST_CASE("again enters once more below the layer", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_settle = [](int n, strata::outcome&) { return n < 3 ? strata::again(10ms) : strata::accept(); };
    manual_world w;
    const auto before = w.now;
    std::vector<strata::duration> pauses;
    unsigned attempts = 0;
    const strata::error e = run(
        l, w,
        [&](auto& op, strata::outcome& o) {
            CHECK(o.ok());  // the last attempt's error is gone
            CHECK(op.attempt == ++attempts);
            o.replace(strata::error{errc::busy, "locked"});
        },
        &pauses);
    CHECK(attempts == 3);
    CHECK(e.code() == errc::busy);
    CHECK(pauses == std::vector<strata::duration>{10ms, 10ms});
    CHECK(w.now - before == strata::duration{20ms});
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "settle 2", "settle 1", "admit 2", "settle 2", "settle 1", "admit 2", "settle 2",
                       "settle 1", "settle 0"});
    CHECK(l.at<2>().asked == 1);    // a new frame for each attempt
    CHECK(l.at<1>().settled == 3);  // its own frame is kept
}

TEST_CASE("again without a pause does not park", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<0>().on_settle = [](int n, strata::outcome&) { return n < 2 ? strata::again({}) : strata::accept(); };
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == step::attempt);
    REQUIRE(p.landed(w.moment()) == step::attempt);
    CHECK(op.attempt == 2);
    CHECK(p.landed(w.moment()) == step::done);
}

TEST_CASE("the engine refuses an attempt that could not begin in time, and the outcome stays", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_settle = [](int, strata::outcome&) { return strata::again(10ms); };
    manual_world w;
    plain_operation op;
    SECTION("beyond the deadline") {
        op.deadline = w.now + 10ms;
    }
    SECTION("after a row has reached the user") {
        op.handed_over = true;
    }
    SECTION("after a cancel") {
        op.cancelled = true;
    }
    strata::passage p{l, op};
    const strata::error& e = drive(p, op, w, ends_with(errc::busy));
    CHECK(e.code() == errc::busy);
    CHECK(op.attempt == 1);
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "settle 2", "settle 1", "settle 0"});
}

TEST_CASE("an attempt just before the deadline is not refused", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_settle = [](int n, strata::outcome&) { return n < 2 ? strata::again(10ms) : strata::accept(); };
    manual_world w;
    plain_operation op;
    op.deadline = w.now + 10ms + 1ns;
    strata::passage p{l, op};
    drive(p, op, w, ends_with(errc::busy));
    CHECK(op.attempt == 2);
}

TEST_CASE("a cancel during a pause abandons the layer that repeats and settles those outside", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_settle = [](int, strata::outcome&) { return strata::again(10ms); };
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == step::attempt);
    p.result().replace(strata::error{errc::busy, "somebody else writes", strata::phase::execute, strata::effect::rolled_back});
    REQUIRE(p.landed(w.moment()) == step::park);
    CHECK(p.parked_on() == nullptr);
    CHECK(p.parked_until() == w.now + 10ms);
    w.pass(1ms);
    CHECK(p.resume(w.moment()) == step::park);  // woken for nothing
    op.cancelled = true;
    REQUIRE(p.resume(w.moment()) == step::done);
    const strata::error& e = p.result().error();
    CHECK(e.code() == errc::cancelled);
    CHECK(e.local());
    CHECK_FALSE(e.has_texts());  // nothing of the earlier error is left
    CHECK(e.effect() == strata::effect::none);
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "settle 2", "settle 1", "abandon 1", "settle 0"});
}

TEST_CASE("a parked layer is asked again with the same frame", "[passage]") {
    journal j;
    three l = make_three(j);
    manual_world w;
    l.at<1>().on_admit = [](int n) { return n < 3 ? strata::park(nullptr, strata::time_point{1h + 7ms}) : strata::proceed(); };
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == step::park);
    CHECK(p.parked_until() == w.now + 7ms);
    CHECK(p.resume(w.moment()) == step::park);  // too early: nobody is asked
    CHECK(l.at<1>().asked == 1);
    w.pass(7ms);
    REQUIRE(p.resume(w.moment()) == step::park);
    CHECK(l.at<1>().asked == 2);
    REQUIRE(p.resume(w.moment()) == step::attempt);
    CHECK(l.at<1>().asked == 3);
    CHECK(p.landed(w.moment()) == step::done);
    CHECK(j == journal{"admit 0", "admit 1", "admit 1", "admit 1", "admit 2", "settle 2", "settle 1", "settle 0"});
}

TEST_CASE("a park for time that the deadline ends is a refusal there", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<1>().on_admit = [](int) { return strata::park(nullptr, strata::never); };
    manual_world w;
    plain_operation op;
    op.deadline = w.now + 3ms;
    strata::passage p{l, op};
    const strata::error& e = drive(p, op, w, succeeds());
    CHECK(w.now == op.deadline);
    CHECK(e.code() == errc::timeout);
    CHECK(e.local());
    CHECK(j == journal{"admit 0", "admit 1", "abandon 1", "settle 0"});
}

TEST_CASE("work that the deadline ends is the attempt's own timeout", "[passage]") {
    journal j;
    three l = make_three(j);
    l.at<2>().on_admit = [](int n) { return n == 1 ? strata::work_until(strata::never) : strata::proceed(); };
    manual_world w;
    plain_operation op;
    op.deadline = w.now + 3ms;
    strata::passage p{l, op};
    SECTION("by time") {
        const strata::error& e = drive(p, op, w, succeeds());
        CHECK(e.code() == errc::timeout);
        CHECK_FALSE(e.local());
        CHECK(e.phase() == strata::phase::execute);
    }
    SECTION("a cancel stays the caller's") {
        REQUIRE(p.first(w.moment()) == step::park);
        op.cancelled = true;
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::cancelled);
        CHECK(p.result().error().local());
    }
    CHECK(j == journal{"admit 0", "admit 1", "admit 2", "abandon 2", "settle 1", "settle 0"});
}

namespace {

/// Parks on a node of its own once, and takes what is given.
struct waits_for_gift {
    static constexpr auto place = strata::place::bulkhead;
    static constexpr bool holds = true;
    struct frame {
        strata::waiter node;
        bool asked = false;
    };
    verdict admit(auto&, frame& f, strata::moment m) noexcept {
        if (f.asked) {
            gift = f.node.is_granted() ? f.node.gift : nullptr;
            return strata::proceed();
        }
        f.asked = true;
        f.node.prepare(nullptr);
        node = &f.node;
        return strata::park(node, m.now + 5ms, at_end);
    }
    void abandon(frame&) noexcept { ++abandoned; }

    errc at_end = errc::timeout;
    strata::waiter* node = nullptr;
    void* gift = nullptr;
    int abandoned = 0;
};
static_assert(strata::interceptor<waits_for_gift>);

}  // namespace

TEST_CASE("a node that was granted lets the layer go on, one that was not ends there", "[passage]") {
    strata::layers<waits_for_gift> l;
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == step::park);
    CHECK(p.parked_on() == l.at<0>().node);
    int gift = 0;
    strata::wake_call call;
    SECTION("granted") {
        REQUIRE(l.at<0>().node->grant(&gift, call));
        REQUIRE(p.resume(w.moment()) == step::attempt);
        CHECK(l.at<0>().gift == &gift);
        CHECK(p.landed(w.moment()) == step::done);
        CHECK(p.result().ok());
    }
    SECTION("granted and cancelled at once: the gift is taken, so that it is not lost") {
        REQUIRE(l.at<0>().node->grant(&gift, call));
        op.cancelled = true;
        REQUIRE(p.resume(w.moment()) == step::attempt);
        CHECK(l.at<0>().gift == &gift);
    }
    SECTION("the layer's own time is up") {
        w.pass(5ms);
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::timeout);
        CHECK(p.result().error().local());
        CHECK(l.at<0>().abandoned == 1);
        CHECK_FALSE(l.at<0>().node->grant(&gift, call));
    }
    SECTION("cancelled") {
        op.cancelled = true;
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::cancelled);
        CHECK(l.at<0>().abandoned == 1);
    }
    SECTION("woken for nothing") {
        REQUIRE(p.resume(w.moment()) == step::park);
        CHECK(l.at<0>().node->grant(&gift, call));
    }
}

TEST_CASE("a layer that wants to be asked when its own time is up goes on without a gift", "[passage]") {
    strata::layers<waits_for_gift> l;
    l.at<0>().at_end = errc::ok;
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    SECTION("its time") {
        REQUIRE(p.first(w.moment()) == step::park);
        w.pass(5ms - 1ns);
        REQUIRE(p.resume(w.moment()) == step::park);
        w.pass(1ns);
        REQUIRE(p.resume(w.moment()) == step::attempt);
        CHECK(l.at<0>().gift == nullptr);
        CHECK(l.at<0>().abandoned == 0);
        int gift = 0;
        strata::wake_call call;
        CHECK_FALSE(l.at<0>().node->grant(&gift, call));
    }
    SECTION("but not at the operation's deadline") {
        op.deadline = w.now + 5ms;
        REQUIRE(p.first(w.moment()) == step::park);
        w.pass(5ms);
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::timeout);
        CHECK(l.at<0>().abandoned == 1);
    }
    SECTION("and not after a cancel") {
        REQUIRE(p.first(w.moment()) == step::park);
        op.cancelled = true;
        REQUIRE(p.resume(w.moment()) == step::done);
        CHECK(p.result().code() == errc::cancelled);
        CHECK(l.at<0>().abandoned == 1);
    }
}

TEST_CASE("an operation destroyed midway abandons what it entered, innermost first", "[passage]") {
    journal j;
    three l = make_three(j);
    manual_world w;
    plain_operation op;
    SECTION("never begun") {
        strata::passage p{l, op};
    }
    SECTION("in the attempt") {
        {
            strata::passage p{l, op};
            REQUIRE(p.first(w.moment()) == step::attempt);
            j.clear();
        }
        CHECK(j == journal{"abandon 2", "abandon 1", "abandon 0"});
        j.clear();
    }
    SECTION("parked") {
        l.at<1>().on_admit = [](int) { return strata::park(nullptr, strata::never); };
        {
            strata::passage p{l, op};
            REQUIRE(p.first(w.moment()) == step::park);
            j.clear();
        }
        CHECK(j == journal{"abandon 1", "abandon 0"});
        j.clear();
    }
    SECTION("between attempts") {
        l.at<1>().on_settle = [](int, strata::outcome&) { return strata::again(1ms); };
        {
            strata::passage p{l, op};
            REQUIRE(p.first(w.moment()) == step::attempt);
            REQUIRE(p.landed(w.moment()) == step::park);
            j.clear();
        }
        CHECK(j == journal{"abandon 1", "abandon 0"});
        j.clear();
    }
    SECTION("done") {
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        j.clear();
    }
    SECTION("refused") {
        l.at<1>().on_admit = [](int) { return strata::refuse(errc::refused); };
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        j.clear();
    }
    CHECK(j.empty());
}

namespace {

struct untimed {
    static constexpr auto place = strata::place::shape;
    void admit(auto&, strata::no_frame&) noexcept { ++admitted; }
    void settle(auto&, strata::no_frame&, strata::outcome&) noexcept { ++settled; }
    int admitted = 0;
    int settled = 0;
};
struct only_out {
    static constexpr auto place = strata::place::observe;
    static constexpr bool inside_transaction = true;
    struct frame {
        int zero = 0;
    };
    void settle(auto&, frame& f, strata::outcome&) noexcept { zero = ++f.zero; }
    int zero = 0;
};
struct members_only {
    static constexpr auto place = strata::place::extend;
};

}  // namespace

TEST_CASE("hooks may be left out, and so may the moment", "[passage]") {
    using all = strata::layers<members_only, only_out, untimed>;
    STATIC_REQUIRE_FALSE(strata::passage<all, plain_operation>::timed);
    STATIC_REQUIRE(strata::passage<strata::layers<waits_for_gift>, plain_operation>::timed);
    all l;
    manual_world w;
    CHECK_FALSE(run(l, w, succeeds()));
    CHECK_FALSE(run(l, w, succeeds()));
    CHECK(l.at<1>().zero == 1);  // a frame begins anew also where nothing is asked on the way in
    CHECK(l.at<2>().admitted == 2);
    CHECK(l.at<2>().settled == 2);
}

TEST_CASE("inside a transaction only the layers that want it are asked", "[passage]") {
    strata::layers<only_out, untimed> l;
    manual_world w;
    CHECK_FALSE(run<inner_operation>(l, w, succeeds()));
    CHECK(l.at<0>().zero == 1);
    CHECK(l.at<1>().admitted == 0);
    CHECK(l.at<1>().settled == 0);
}

namespace {

struct remembers {
    static constexpr auto place = strata::place::observe;
    struct frame {
        std::shared_ptr<int> owned;
        std::string text = "new";
    };
    explicit remembers(std::shared_ptr<int> s) : shared(std::move(s)) {}
    void admit(auto&, frame& f) noexcept {
        was_new = f.owned == nullptr && f.text == "new";
        f.owned = shared;
        f.text = std::string(100, 'x');
    }
    verdict settle(auto& op, frame&, strata::outcome&, strata::moment) noexcept {
        return op.attempt < 3 ? strata::again({}) : strata::accept();
    }
    std::shared_ptr<int> shared;
    bool was_new = false;
};

}  // namespace

TEST_CASE("a frame that owns memory begins anew and ends with the operation", "[passage]") {
    const auto shared = std::make_shared<int>();
    strata::layers<remembers, remembers> l([&]<class T>(std::type_identity<T>) { return T(shared); });
    manual_world w;
    {
        plain_operation op;
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        CHECK(l.at<1>().was_new);
    }
    CHECK(shared.use_count() == 3);
}

TEST_CASE("sizes", "[passage]") {
    STATIC_REQUIRE(sizeof(strata::verdict) <= 32);
    STATIC_REQUIRE(std::is_trivially_copyable_v<strata::verdict>);
    STATIC_REQUIRE(sizeof(strata::error) <= 48);
    STATIC_REQUIRE(sizeof(strata::no_frame) == 1);
    using empty = strata::passage<strata::layers<untimed>, plain_operation>;
    using small = strata::passage<strata::layers<only_out>, plain_operation>;
    CHECK(sizeof(empty) <= sizeof(small));
}

// -------------------------------------------------------------------------------------------- random verdicts

namespace {

struct dice {
    std::mt19937 source;
    bool one_in(unsigned n) { return source() % n == 0; }
    strata::duration pause() { return strata::duration{source() % 5}; }
};

/// Answers anything, and keeps books: each entry must have one exit.
struct erratic {
    static constexpr auto place = strata::place::attempt;
    static constexpr bool holds = true;
    struct frame {
        bool open = false;
        strata::waiter node;
    };

    explicit erratic(dice& source) : d(source) {}

    verdict admit(auto&, frame& f, strata::moment m) noexcept {
        if (!f.open) {
            close_tentative();
            ++entered;
            f.open = true;
        }
        switch (d.source() % 16) {
            case 0:
                return turn_away(f, strata::refuse(errc::refused));
            case 1:
                return turn_away(f, strata::fail(errc::busy));
            case 2:
                return turn_away(f, strata::answer());
            case 3:
                return strata::park(nullptr, m.now + d.pause());
            case 4:
                return strata::work_until(m.now + d.pause());
            case 5:
                f.node.prepare(nullptr);
                return strata::park(&f.node, m.now + d.pause(), d.one_in(2) ? errc::ok : errc::timeout);
            default:
                return strata::proceed();
        }
    }
    verdict settle(auto&, frame& f, strata::outcome& o, strata::moment) noexcept {
        broken += !f.open;
        repeated += tentative;
        tentative = false;
        if (d.one_in(8)) o.replace(strata::error{errc::too_big});
        if (d.one_in(4)) {
            tentative = true;
            return strata::again(d.pause());
        }
        leave(f);
        return strata::accept();
    }
    void abandon(frame& f) noexcept {
        broken += !f.open;
        if (tentative) {  // in its pause, or in the attempt after it
            tentative = false;
            ++abandoned_in_pause;
        }
        leave(f);
    }
    /// The engine did not grant the `again`: that settle was the exit.
    void close_tentative() {
        if (tentative) ++left;
        tentative = false;
    }

    verdict turn_away(frame& f, verdict v) {
        f.open = false;
        ++turned_away;
        return v;
    }
    void leave(frame& f) {
        f.open = false;
        ++left;
    }

    dice& d;
    bool tentative = false;
    int broken = 0;
    unsigned entered = 0, left = 0, turned_away = 0, repeated = 0, abandoned_in_pause = 0;
};
static_assert(strata::interceptor<erratic>);

}  // namespace

TEST_CASE("under random verdicts, deadlines, cancels and deaths each entry has exactly one exit", "[passage][random]") {
    dice d{std::mt19937{20240607}};
    unsigned long died = 0, finished = 0;
    const int rounds = count(20'000, 400'000);
    for (int round = 0; round < rounds; ++round) {
        using four = strata::layers<erratic, erratic, erratic, erratic>;
        four l([&]<class T>(std::type_identity<T>) { return T(d); });
        manual_world w;
        plain_operation op;
        if (d.one_in(3)) op.deadline = w.now + std::chrono::nanoseconds{d.source() % 20};
        std::uint32_t lives = d.one_in(3) ? d.source() % 8 : 1000;
        {
            strata::passage p{l, op};
            step s = p.first(w.moment());
            for (; s != step::done && lives > 0; --lives) {
                if (d.one_in(40)) op.cancelled = true;
                if (d.one_in(40)) op.handed_over = true;
                w.pass(d.pause());
                if (s == step::attempt) {
                    if (d.one_in(2)) p.result().replace(strata::error{errc::busy, "text"});
                    s = p.landed(w.moment());
                } else {
                    strata::wake_call call;
                    if (p.parked_on() != nullptr && d.one_in(2))
                        static_cast<void>(p.parked_on()->grant(nullptr, call));
                    else if (d.one_in(2) && p.parked_until() != strata::never)
                        w.now = std::max(w.now, p.parked_until());
                    s = p.resume(w.moment());
                }
            }
            ++(s == step::done ? finished : died);
        }
        unsigned repeats = 0, cut_short = 0;
        const auto audit = [&](erratic& layer) {
            layer.close_tentative();
            repeats += layer.repeated;
            cut_short += layer.abandoned_in_pause;
            REQUIRE(layer.broken == 0);
            REQUIRE(layer.entered == layer.left + layer.turned_away);
        };
        audit(l.at<0>()), audit(l.at<1>()), audit(l.at<2>()), audit(l.at<3>());
        REQUIRE(repeats <= op.attempt - 1u);
        REQUIRE(op.attempt - 1u <= repeats + cut_short);
    }
    CHECK(died > 100);
    CHECK(finished > 100);
}
