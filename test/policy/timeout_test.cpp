// The two timeouts: they narrow the deadline, never widen it, and leave it as it was.
#include <strata/policy/attempt_timeout.hpp>
#include <strata/policy/total_timeout.hpp>

#include <support/catch.hpp>
#include <support/drive.hpp>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::errc;
using strata::step;

namespace {

/// Repeats twice, to have several attempts.
struct three_times {
    static constexpr auto place = strata::place::repeat;
    strata::verdict settle(auto& op, strata::no_frame&, strata::outcome&) noexcept {
        return op.attempt < 3 ? strata::again(2ms) : strata::accept();
    }
};

/// What a layer inside sees on the way in.
struct sees_deadline {
    static constexpr auto place = strata::place::attempt;
    void admit(auto& op, strata::no_frame&) noexcept {
        deadlines.push_back(op.deadline);
        hurried.push_back(op.hurried);
    }
    std::vector<strata::time_point> deadlines;
    std::vector<bool> hurried;
};

struct refuses {
    static constexpr auto place = strata::place::attempt;
    strata::verdict admit(auto&, strata::no_frame&) noexcept { return strata::refuse(errc::refused); }
};

}  // namespace

TEST_CASE("total_timeout bounds the operation, once", "[total_timeout]") {
    STATIC_REQUIRE(strata::total_timeout::place == strata::place::bound);
    using all = strata::layers<strata::total_timeout, three_times, sees_deadline>;
    all l = build<all>(strata::total_timeout_options{.limit = 10ms});
    manual_world w;
    const auto begin = w.now;
    plain_operation op;
    SECTION("without a deadline of its own") {
        strata::passage p{l, op};
        drive(p, op, w, [&](auto&, auto&) { w.pass(1ms); });
        CHECK(l.at<2>().deadlines == std::vector(3, begin + 10ms));
        CHECK(op.deadline == strata::never);
    }
    SECTION("a nearer deadline stays") {
        op.deadline = begin + 9ms;
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        CHECK(l.at<2>().deadlines == std::vector(3, begin + 9ms));
        CHECK(op.deadline == begin + 9ms);
    }
    SECTION("a later one comes back afterwards") {
        op.deadline = begin + 11ms;
        strata::passage p{l, op};
        drive(p, op, w, succeeds());
        CHECK(l.at<2>().deadlines == std::vector(3, begin + 10ms));
        CHECK(op.deadline == begin + 11ms);
    }
    SECTION("it ends the repetition") {
        strata::passage p{l, op};
        drive(p, op, w, [&](auto&, strata::outcome& o) {
            w.pass(8ms);
            o.replace(strata::error{errc::busy});
        });
        CHECK(op.attempt == 1);
        CHECK(p.result().code() == errc::busy);
        CHECK(op.deadline == strata::never);
    }
}

TEST_CASE("attempt_timeout bounds each attempt anew", "[attempt_timeout]") {
    STATIC_REQUIRE(strata::attempt_timeout::place == strata::place::attempt);
    using all = strata::layers<three_times, strata::attempt_timeout, sees_deadline>;
    all l = build<all>(strata::attempt_timeout_options{.limit = 10ms});
    manual_world w;
    const auto begin = w.now;
    plain_operation op;
    strata::passage p{l, op};
    std::vector<strata::time_point> within;
    drive(p, op, w, [&](auto& o, auto&) {
        within.push_back(o.deadline);
        w.pass(5ms);
    });
    const std::vector<strata::time_point> expected{begin + 10ms, begin + 17ms, begin + 24ms};
    CHECK(within == expected);
    CHECK(l.at<2>().deadlines == expected);
    CHECK(l.at<2>().hurried == std::vector(3, false));
    CHECK(op.deadline == strata::never);
}

TEST_CASE("an attempt that an outer deadline cuts short is hurried", "[attempt_timeout]") {
    using all = strata::layers<three_times, strata::attempt_timeout, sees_deadline>;
    all l = build<all>(strata::attempt_timeout_options{.limit = 10ms});
    manual_world w;
    const auto begin = w.now;
    plain_operation op;
    op.deadline = begin + 17ms;
    strata::passage p{l, op};
    drive(p, op, w, [&](auto&, auto&) { w.pass(6ms); });
    CHECK(op.attempt == 3);
    // Begun at 0, 8 and 16 ms: exactly full, cut, cut.
    CHECK(l.at<2>().deadlines == std::vector<strata::time_point>{begin + 10ms, begin + 17ms, begin + 17ms});
    CHECK(l.at<2>().hurried == std::vector<bool>{false, true, true});
    CHECK(op.deadline == begin + 17ms);
}

TEST_CASE("an attempt that ends exactly with the outer deadline has its full time", "[attempt_timeout]") {
    using all = strata::layers<strata::attempt_timeout, sees_deadline>;
    all l = build<all>(strata::attempt_timeout_options{.limit = 10ms});
    manual_world w;
    plain_operation op;
    op.deadline = w.now + 10ms;
    op.hurried = true;  // of an earlier attempt
    strata::passage p{l, op};
    drive(p, op, w, succeeds());
    CHECK(l.at<1>().hurried == std::vector{false});
}

TEST_CASE("the deadline is restored also when a layer inside refuses", "[total_timeout][attempt_timeout]") {
    strata::layers<strata::total_timeout, strata::attempt_timeout, refuses> l;
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    CHECK(drive(p, op, w, succeeds()).code() == errc::refused);
    CHECK(op.deadline == strata::never);
}

TEST_CASE("limits that make no sense name their field, very long ones do not overflow", "[total_timeout][attempt_timeout]") {
    CHECK_FALSE(strata::total_timeout_options{}.validate());
    CHECK_FALSE(strata::attempt_timeout_options{}.validate());
    const strata::error total = strata::total_timeout_options{.limit = 0ms}.validate();
    CHECK(total.code() == errc::invalid_argument);
    CHECK_THAT(total.message(), contains_text("total_timeout_options.limit"));
    CHECK_THAT((strata::attempt_timeout_options{.limit = -1ms}.validate().message()), contains_text("attempt_timeout_options.limit"));

    using both = strata::layers<strata::total_timeout, strata::attempt_timeout>;
    both l = build<both>(strata::total_timeout_options{.limit = strata::duration::max()},
                         strata::attempt_timeout_options{.limit = strata::duration::max()});
    manual_world w;
    plain_operation op;
    strata::passage p{l, op};
    REQUIRE(p.first(w.moment()) == step::attempt);
    CHECK(op.deadline > w.now + 24h);
    CHECK(p.landed(w.moment()) == step::done);
}
