// The connect governor: against a plain model over random steps, and what users of a pool rely on.
#include <strata/core/world.hpp>
#include <strata/source/connect_governor.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using governor = strata::connect_governor;
using options = strata::connect_governor_options;

namespace {

/// What a governor is to do, told at length: it remembers each connect by itself.
class model {
public:
    explicit model(const options& o) : o_(o), allowed_(o.max_connecting) {}

    [[nodiscard]] bool may_begin(strata::time_point now) const {
        return on_their_way_.size() < allowed_ && (in_a_row_ == 0 || now >= next_try_);
    }
    void begin() { on_their_way_.push_back(false); }
    /// The one at `which` ends. True when it was no failure that counts.
    bool end(std::size_t which, char how) {
        // Up to two at once it is known which of them began before the failure; of more the oldest counts as the one that ends.
        if (o_.max_connecting > 2) which = 0;
        const bool before_failure = on_their_way_[which];
        on_their_way_.erase(on_their_way_.begin() + static_cast<std::ptrdiff_t>(which));
        if (how == 's') {
            in_a_row_ = 0;
            allowed_ = std::min<std::size_t>(allowed_ + 1, o_.max_connecting);
        }
        if (how != 'f' || before_failure) return true;
        ++in_a_row_;
        allowed_ = 1;
        on_their_way_.assign(on_their_way_.size(), true);
        return false;
    }
    void set_next_try(strata::time_point at) { next_try_ = at; }
    /// Of the pause, before jitter.
    [[nodiscard]] strata::duration bound() const {
        const double exact = static_cast<double>(o_.first_pause.count()) * std::pow(2.0, in_a_row_ - 1);
        return exact < static_cast<double>(o_.longest_pause.count()) ? strata::duration{static_cast<std::int64_t>(exact)}
                                                                     : o_.longest_pause;
    }
    [[nodiscard]] std::size_t on_their_way() const { return on_their_way_.size(); }
    [[nodiscard]] int in_a_row() const { return in_a_row_; }
    [[nodiscard]] std::size_t allowed() const { return allowed_; }

private:
    options o_;
    std::vector<bool> on_their_way_;  ///< true: was so already at the latest failure that counts
    std::size_t allowed_;
    int in_a_row_ = 0;
    strata::time_point next_try_{};
};

/// A governor and the time; connects end as the test says.
struct server {
    explicit server(const options& o, std::uint64_t seed = 1) : g(o), random(seed) {}

    [[nodiscard]] strata::moment moment() { return {now, &random}; }
    int begin_all() {
        int n = 0;
        for (; g.may_begin(now); ++n) g.begun();
        return n;
    }
    void fail() { g.failed(moment()); }

    governor g;
    strata::splitmix random;
    strata::time_point now{1h};
};

}  // namespace

TEST_CASE("a governor does as its model does", "[connect_governor]") {
    std::mt19937_64 draw{20'261'120};
    const auto below = [&](std::uint64_t n) { return draw() % n; };
    std::uint64_t steps = count<std::uint64_t>(1'000'000, 10'000'000), refused = 0, passed_over = 0, longest = 0;
    while (steps > 0) {
        options o;
        o.max_connecting = static_cast<std::uint32_t>(1 + below(below(2) == 0 ? 2 : 9));
        o.first_pause = strata::duration{1 + below(20'000'000)};
        o.longest_pause = o.first_pause * static_cast<std::int64_t>(1 + below(300));
        REQUIRE_FALSE(o.validate());
        server s{o, draw()};
        model m{o};
        const std::uint64_t good = below(100);  // of a hundred connects
        for (std::uint64_t life = 1 + below(2'000); life > 0 && steps > 0; --life, --steps) {
            const bool may = m.may_begin(s.now);
            const bool agree = s.g.may_begin(s.now) == may && s.g.connecting() == m.on_their_way() && s.g.allowed() == m.allowed() &&
                               s.g.failures() == static_cast<std::uint32_t>(m.in_a_row()) && s.g.is_down() == (m.in_a_row() != 0);
            if (!agree) FAIL("step " << steps << " to the end: they differ");
            const std::uint64_t what = below(10);
            if (what < 2) {
                const strata::duration step{below(static_cast<std::uint64_t>(o.longest_pause.count()) + 1)};
                s.now += below(3) == 0 && s.g.is_down() && s.g.next_try() > s.now ? s.g.next_try() - s.now - 1ns : step;
            } else if (what < 6) {
                if (may) {
                    s.g.begun();
                    m.begin();
                } else {
                    ++refused;
                }
            } else if (m.on_their_way() != 0) {
                const char how = below(8) == 0 ? 'a' : below(100) < good ? 's' : 'f';
                const auto next = s.g.next_try();
                const bool keeps = m.end(below(m.on_their_way()), how);
                if (how == 's') s.g.succeeded();
                if (how == 'a') s.g.abandoned();
                if (how == 'f') s.fail();
                if (how == 'f' && keeps) ++passed_over;
                if (keeps) {
                    if (how != 's' && s.g.next_try() != next) FAIL("a pause was drawn for what does not count");
                    if (how == 's' && s.g.next_try() != strata::time_point::min()) FAIL("a pause after a success");
                } else {
                    const strata::duration pause = s.g.next_try() - s.now, bound = m.bound();
                    if (pause < bound / 2 || pause > bound) FAIL("a pause of " << pause.count() << " where the bound is " << bound.count());
                    if (bound == o.longest_pause) ++longest;
                    m.set_next_try(s.g.next_try());
                }
            }
        }
    }
    CHECK(refused > 1'000);
    CHECK(passed_over > 1'000);
    CHECK(longest > 1'000);
}

TEST_CASE("no more connect at once than the bound", "[connect_governor]") {
    CHECK(server{{}}.begin_all() == 2);
    server s{{.max_connecting = 5}};
    CHECK(s.begin_all() == 5);
    CHECK(s.begin_all() == 0);
    s.g.abandoned();
    s.g.succeeded();
    CHECK(s.g.connecting() == 3);
    CHECK(s.begin_all() == 2);
    s.g.begun();  // for a caller who would not wait
    CHECK(s.g.connecting() == 6);
    s.g.succeeded();
    CHECK(s.begin_all() == 0);
}

TEST_CASE("while the server is away one asks after it, and not before its time", "[connect_governor]") {
    server s{{.max_connecting = 4, .first_pause = 10ms, .longest_pause = 5s}};
    CHECK(s.g.next_try() < s.now);
    REQUIRE(s.begin_all() == 4);
    s.fail();
    REQUIRE(s.g.is_down());
    const auto next = s.g.next_try();
    s.now += 10ms;
    s.fail();  // begun before as well
    s.fail();
    CHECK(s.g.next_try() == next);
    CHECK(s.g.failures() == 1);
    CHECK(s.begin_all() == 0);  // one of the four is still on its way
    s.fail();
    CHECK(s.g.next_try() == next);
    strata::duration bound = 10ms;
    for (std::uint32_t n = 1; n < 40; ++n) {
        REQUIRE(s.begin_all() == 1);
        CHECK(s.g.failures() == n);
        s.now += 3s;  // it takes its time: the pause begins after
        s.fail();
        bound = std::min<strata::duration>(bound * 2, 5s);
        CHECK(s.g.next_try() - s.now >= bound / 2);
        CHECK(s.g.next_try() - s.now <= bound);
        s.now = s.g.next_try() - 1ns;
        CHECK(s.begin_all() == 0);
        s.now += 1ns;
    }
}

TEST_CASE("once the server is back connects begin slowly: 1, 2, 4 ...", "[connect_governor]") {
    server s{{.max_connecting = 13, .first_pause = 10ms}};
    REQUIRE(s.begin_all() == 13);
    for (int i = 0; i < 13; ++i) s.fail();
    for (int round = 0; round < 3; ++round) {  // three more failures
        s.now = s.g.next_try();
        REQUIRE(s.begin_all() == 1);
        s.fail();
    }
    s.now = s.g.next_try();
    for (const int expected : {1, 2, 4, 8, 13, 13}) {
        REQUIRE(s.begin_all() == expected);
        for (int i = 0; i < expected; ++i) s.g.succeeded();
        CHECK_FALSE(s.g.is_down());
    }
    REQUIRE(s.begin_all() == 13);
    s.fail();  // and the pause is a short one again
    CHECK(s.g.next_try() - s.now <= 10ms);
}

TEST_CASE("who was on its way when the server went away and got through ends the outage", "[connect_governor]") {
    server s{{.max_connecting = 2}};
    REQUIRE(s.begin_all() == 2);
    s.fail();
    s.g.succeeded();
    CHECK_FALSE(s.g.is_down());
    CHECK(s.begin_all() == 2);
    s.fail();  // begun after
    CHECK(s.g.failures() == 1);
}

TEST_CASE("a probe that was given up tells nothing", "[connect_governor]") {
    server s{{.max_connecting = 2, .first_pause = 10ms}};
    REQUIRE(s.begin_all() == 2);
    s.fail();
    s.g.abandoned();
    s.now = s.g.next_try();
    REQUIRE(s.begin_all() == 1);
    s.g.abandoned();
    CHECK(s.g.is_down());
    CHECK(s.g.failures() == 1);
    REQUIRE(s.begin_all() == 1);
    s.fail();
    CHECK(s.g.failures() == 2);
    CHECK(s.g.next_try() - s.now >= 10ms);
}

TEST_CASE("pauses are spread over the upper half of their bound", "[connect_governor]") {
    strata::duration least = 1h, most{};
    for (std::uint64_t seed = 0; seed < 1'000; ++seed) {
        server s{{.first_pause = 100ms}, seed};
        REQUIRE(s.begin_all() == 2);
        s.fail();
        least = std::min(least, s.g.next_try() - s.now);
        most = std::max(most, s.g.next_try() - s.now);
    }
    CHECK(least >= 50ms);
    CHECK(least < 51ms);
    CHECK(most > 99ms);
    CHECK(most < 100ms);
}

TEST_CASE("the end of time is no moment for a pause", "[connect_governor]") {
    server s{{}};
    s.now = strata::never - 1ms;
    s.g.begun();
    s.fail();
    CHECK(s.g.next_try() == strata::never);
    CHECK(s.begin_all() == 0);
}

TEST_CASE("connect governor options that make no sense name their field", "[connect_governor]") {
    CHECK_FALSE(options{}.validate());
    CHECK_FALSE(options{.max_connecting = 65'535, .first_pause = 24h, .longest_pause = 24h}.validate());
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.max_connecting = 0}), contains_text("connect_governor_options.max_connecting"));
    CHECK_THAT(says({.max_connecting = 65'536}), contains_text("connect_governor_options.max_connecting"));
    CHECK_THAT(says({.first_pause = 0ns}), contains_text("connect_governor_options.first_pause"));
    CHECK_THAT(says({.first_pause = 6s}), contains_text("connect_governor_options.longest_pause"));
    CHECK_THAT(says({.longest_pause = 24h + 1ns}), contains_text("connect_governor_options.longest_pause"));
}
