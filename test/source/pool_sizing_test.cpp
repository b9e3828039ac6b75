// The sizer: that it finds the size which a simulated server serves best, stays there, and is not led astray.
//
// The server's speed depends on how many leases are worked on: as fast as alone up to its cores, or by the universal scalability law
// (Gunther): with n of them each takes 1 + sigma (n - 1) + kappa n (n - 1) times as long as alone, so throughput has a peak.
#include <strata/source/pool_sizing.hpp>

#include <support/catch.hpp>

#include <functional>
#include <queue>
#include <random>
#include <vector>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::sizing_reason;
using options = strata::sizing_options;

namespace {

using law = std::function<double(double)>;  ///< of n leases: how many times as long as alone each takes; not below 1

law cores(double n) {
    return [n](double busy) { return busy > n ? busy / n : 1.0; };
}
law scalability(double sigma, double kappa) {
    return [=](double n) { return 1 + sigma * (n - 1) + kappa * n * (n - 1); };
}
double throughput(const law& l, std::size_t n) {
    return static_cast<double>(n) / l(static_cast<double>(n));
}
std::size_t knee(const law& l) {
    std::size_t best = 1;
    for (std::size_t n = 2; n < 400; ++n)
        if (throughput(l, n) > 1.000001 * throughput(l, best)) best = n;
    return best;
}

/// Callers, a pool of `limit` connections and a server, in virtual seconds. All leases on the server share it.
class simulation {
public:
    simulation(law slows, double mean_work, std::size_t size, std::uint64_t seed = 1)
        : limit(size), slowdown(std::move(slows)), mean(mean_work), draw(seed) {}

    /// So many call again as soon as they were served.
    void set_callers(std::size_t n) {
        if (n > callers_) waiting_ += n - callers_;
        const std::size_t go = n < callers_ ? callers_ - n : 0, at_once = std::min(go, waiting_);
        waiting_ -= at_once;
        leaving_ += go - at_once;
        callers_ = n;
    }
    /// So many come in a second, whatever happens to the others; 500 wait at most.
    void set_arrivals(double a_second) {
        arrivals_ = a_second;
        arrives_ = now_ + exponential(1 / a_second);
    }

    strata::sizing_round pass(double seconds) {
        seen_ = {};
        const double end = now_ + seconds;
        for (;;) {
            begin();
            const double slow = active_.empty() ? 1 : slowdown(static_cast<double>(active_.size()));
            const double ends = active_.empty() ? 1e300 : now_ + (active_.top().work_done - worked_) * slow;
            const double next = std::min({ends, arrivals_ > 0 ? arrives_ : 1e300, end});
            if (!active_.empty()) worked_ += (next - now_) / slow;
            now_ = next;
            if (next == end) break;
            if (next != ends) {
                if (waiting_ < 500) ++waiting_;
                arrives_ = now_ + exponential(1 / arrivals_);
                continue;
            }
            ++seen_.ended;
            seen_.served += strata::duration{static_cast<std::int64_t>((now_ - active_.top().began) * 1e9)};
            active_.pop();
            if (callers_ == 0) continue;
            if (leaving_ > 0)
                --leaving_;
            else
                ++waiting_;
        }
        seen_.now = strata::time_point{strata::duration{static_cast<std::int64_t>(now_ * 1e9)}};
        seen_.size = limit;
        return seen_;
    }

    std::size_t limit;
    law slowdown;
    double mean;        ///< seconds that a lease takes alone
    bool even = false;  ///< all alike, not exponential
    std::mt19937_64 draw;

private:
    struct lease {
        double work_done, began;
        bool operator>(const lease& o) const { return work_done > o.work_done; }
    };
    double exponential(double of_mean) { return std::exponential_distribution<>{1 / of_mean}(draw); }
    void begin() {
        for (; waiting_ > 0 && active_.size() < limit; --waiting_) active_.push({worked_ + (even ? mean : exponential(mean)), now_});
        seen_.peak = std::max(seen_.peak, active_.size());
        seen_.waiting = std::max(seen_.waiting, waiting_);
    }

    double now_ = 0, worked_ = 0, arrivals_ = 0, arrives_ = 0;  // worked: for each lease on the server, from the beginning on
    std::priority_queue<lease, std::vector<lease>, std::greater<>> active_;
    std::size_t waiting_ = 0, callers_ = 0, leaving_ = 0;
    strata::sizing_round seen_;
};

/// The same without single leases: what a round of a full pool looks like on the average, with its noise. Fast.
class averages {
public:
    averages(law slows, double mean_work, std::size_t size, std::uint64_t seed)
        : limit(size), slowdown(std::move(slows)), mean(mean_work), draw(seed) {}

    strata::sizing_round pass(double seconds) {
        now_ += seconds;
        const double usual = mean * slowdown(static_cast<double>(limit)), all = static_cast<double>(limit) * seconds;
        const double r = usual * std::max(0.1, 1 + spread * std::normal_distribution<>{}(draw) / std::sqrt(all / usual));
        strata::sizing_round seen;
        seen.ended = static_cast<std::uint64_t>(all / r + 0.5);
        seen.served = strata::duration{static_cast<std::int64_t>(1e9 * r * static_cast<double>(seen.ended))};
        seen.now = strata::time_point{strata::duration{static_cast<std::int64_t>(now_ * 1e9)}};
        seen.size = seen.peak = limit;
        seen.waiting = 3;
        return seen;
    }

    std::size_t limit;
    law slowdown;
    double mean;
    double spread = 1;  ///< of a lease's time, as a share of its mean
    std::mt19937_64 draw;

private:
    double now_ = 0;
};

/// Leases that work a while, and then some of them need the one lock that there is, held for a while as well (or, `gate`: which somebody
/// else holds, and lets all go at once now and then).
class locking {
public:
    locking(double mean_work, double share_that_locks, double mean_hold, std::size_t size, std::uint64_t seed = 1)
        : limit(size), work(mean_work), locks(share_that_locks), hold(mean_hold), draw(seed) {}

    strata::sizing_round pass(double seconds) {
        const double end = now_ + seconds;
        double worked = 0, locked = 0;
        strata::sizing_round seen;
        for (;;) {
            for (; out_ < limit; ++out_) works_.push({now_ + exponential(work * slowdown(static_cast<double>(out_))), false});
            const double next = std::min({end, works_.empty() ? 1e300 : works_.top().at, gate > 0 ? opens_ : 1e300});
            worked += (next - now_) * static_cast<double>(works_.size());
            locked += (next - now_) * static_cast<double>(waiting_);
            now_ = next;
            if (next == end) break;
            if (gate > 0 && next == opens_) {
                opens_ += gate;
                for (; waiting_ > 0; --waiting_) leave(seen);
                continue;
            }
            const auto [at, holds] = works_.top();
            works_.pop();
            if (holds) held_ = false;
            if (!holds && std::bernoulli_distribution{locks}(draw))
                ++waiting_;
            else
                leave(seen);
            if (gate == 0 && !held_ && waiting_ > 0) {
                --waiting_;
                held_ = true;
                works_.push({now_ + exponential(hold), true});
            }
        }
        seen.now = strata::time_point{strata::duration{static_cast<std::int64_t>(now_ * 1e9)}};
        seen.served = strata::duration{static_cast<std::int64_t>(worked * 1e9)};
        seen.locked = strata::duration{static_cast<std::int64_t>(locked * 1e9)};
        seen.size = seen.peak = limit;
        seen.waiting = 3;
        return seen;
    }

    std::size_t limit;
    double work, locks, hold;
    double gate = 0;  ///< how often all are let go; 0: there is one lock
    law slowdown = [](double) { return 1.0; };
    std::mt19937_64 draw;

private:
    struct busy {
        double at;
        bool holds;
        bool operator>(const busy& o) const { return at > o.at; }
    };
    double exponential(double of_mean) { return std::exponential_distribution<>{1 / of_mean}(draw); }
    void leave(strata::sizing_round& seen) {
        ++seen.ended;
        --out_;
    }
    double now_ = 0, opens_ = 0;
    std::priority_queue<busy, std::vector<busy>, std::greater<>> works_;
    std::size_t out_ = 0, waiting_ = 0;
    bool held_ = false;
};
/// As a planner saw it that knew nothing of locks.
void lock_waits_untold(int, strata::sizing_round& r) {
    r.served += std::exchange(r.locked, strata::duration{});
}

/// What happened to a size over some rounds.
struct course {
    std::size_t least = ~std::size_t{0}, most = 0;
    int turns = 0;  ///< changes of direction
    int moves = 0;
    double throughput = 0;  ///< on the average
    std::size_t reasons[16] = {};
    [[nodiscard]] std::size_t count(sizing_reason r) const { return reasons[static_cast<std::size_t>(r)]; }
};

template <class World>
course run(World& world, strata::pool_sizer& sizer, int rounds, auto&& change) {
    course c;
    int direction = 0;
    for (int i = 0; i < rounds; ++i) {
        strata::sizing_round r = world.pass(2);
        change(i, r);
        c.throughput += throughput(world.slowdown, world.limit) / rounds;
        const strata::sizing_decision d = sizer.decide(r);
        ++c.reasons[static_cast<std::size_t>(d.reason)];
        if (d.apply != (d.target != r.size)) FAIL("to be applied, and no change, or the other way round");
        const int to = d.target > r.size ? 1 : d.target < r.size ? -1 : 0;
        if (to != 0) ++c.moves;
        if (to * direction < 0) ++c.turns;
        if (to != 0) direction = to;
        world.limit = d.target;
        c.least = std::min(c.least, d.target);
        c.most = std::max(c.most, d.target);
    }
    return c;
}
template <class World>
course run(World& world, strata::pool_sizer& sizer, int rounds) {
    return run(world, sizer, rounds, [](int, strata::sizing_round&) {});
}

options up_to(std::size_t max) {
    options o;
    o.max = max;
    return o;
}

}  // namespace

TEST_CASE("from anywhere it settles where the server does nearly the most, and is not restless", "[pool_sizing]") {
    std::mt19937_64 draw{1};
    const auto between = [&](double from, double to) { return std::uniform_real_distribution<>{from, to}(draw); };
    for (int n = count(200, 3'000); n > 0; --n) {
        const bool by_law = n % 2 == 0;
        const double at = std::exp(between(std::log(3), std::log(80)));  // the knee
        const double sigma = by_law ? between(0, 0.02) : 0;
        const law l = by_law ? scalability(sigma, (1 - sigma) / (at * at)) : cores(std::floor(at));
        averages world{l, between(0.002, 0.04), 1 + static_cast<std::size_t>(between(0, 2.5) * at), draw()};
        world.spread = between(0.3, 2);
        strata::pool_sizer sizer{up_to(300)};
        const std::size_t from = world.limit, best = knee(l);
        CAPTURE(by_law, at, sigma, from, world.mean, world.spread, best);
        run(world, sizer, 400);
        const course c = run(world, sizer, 400);
        CAPTURE(c.least, c.most, c.turns, world.limit);
        CHECK(c.throughput > 0.85 * throughput(l, best));
        CHECK(static_cast<double>(world.limit) < 1.5 * static_cast<double>(best) + 2);
        CHECK(c.turns <= 16);
    }
}

TEST_CASE("it settles on a server of single leases", "[pool_sizing]") {
    std::mt19937_64 draw{2};
    const auto between = [&](double from, double to) { return std::uniform_real_distribution<>{from, to}(draw); };
    for (int n = count(4, 40); n > 0; --n) {
        const double at = between(5, 40);
        const law l = n % 2 == 0 ? scalability(0.01, 0.99 / (at * at)) : cores(std::floor(at));
        simulation world{l, 0.1, n % 3 == 0 ? static_cast<std::size_t>(2 * at) : 4u, draw()};
        world.even = n % 4 == 0;
        world.set_callers(150);
        strata::pool_sizer sizer{up_to(120)};
        const std::size_t best = knee(l);
        CAPTURE(n, at, best);
        run(world, sizer, 120);
        const course c = run(world, sizer, 100);
        CAPTURE(c.least, c.most, c.turns, world.limit);
        CHECK(c.throughput > 0.85 * throughput(l, best));
        CHECK(static_cast<double>(world.limit) < 1.5 * static_cast<double>(best) + 2);
        CHECK(c.turns <= 10);
    }
}

TEST_CASE("a pool at its target stays there, and is tried ever more seldom", "[pool_sizing]") {
    averages world{cores(20), 0.01, 20, 3};
    options o = up_to(100);
    o.longest_rest = 256;
    strata::pool_sizer sizer{o};
    run(world, sizer, 500);
    std::size_t away = 0;
    const course c = run(world, sizer, 2'000, [&](int, const strata::sizing_round& r) { away += r.size < 16 || r.size > 26 ? 1u : 0u; });
    CHECK(away == 0);
    CHECK(c.moves <= 2 * 2'000 / 256 + 2);
    CHECK(c.moves >= 8);  // it is not asleep
    CHECK(c.count(sizing_reason::at_target) > 1'800);
}

TEST_CASE("it does not grow while the application is the limit", "[pool_sizing]") {
    simulation world{cores(100), 0.05, 10, 4};
    strata::pool_sizer sizer{up_to(100)};
    world.set_arrivals(100);  // five at a time on the average
    const course few = run(world, sizer, 100);
    CHECK(few.moves == 0);
    CHECK(few.count(sizing_reason::at_target) == 0);
    world.set_arrivals(400);
    const course many = run(world, sizer, 100);
    CHECK(many.most >= 20);
    CHECK(many.most < 43);
    const std::size_t then = world.limit;
    world.set_arrivals(50);
    const course again = run(world, sizer, 300);
    CHECK(again.moves <= 1);  // what was being tried
    CHECK(world.limit <= then);
}

TEST_CASE("leases that the database does not work on make no larger pool", "[pool_sizing]") {
    averages world{cores(100), 0.01, 10, 5};
    strata::pool_sizer sizer{up_to(100)};
    const auto waits_for_locks = [](int, strata::sizing_round& r) {  // most were left out for that
        r.ended /= 3;
        r.served /= 3;
    };
    const course c = run(world, sizer, 200, waits_for_locks);
    CHECK(c.moves == 0);
    CHECK(c.count(sizing_reason::not_busy) > 50);
    const course free = run(world, sizer, 200);
    CHECK(free.most > 50);
    CHECK(run(world, sizer, 200, [](int, strata::sizing_round& r) { r.ended = 0, r.served = {}; }).moves <= 1);
}

TEST_CASE("callers who wait for one lock make no larger pool, and no smaller one", "[pool_sizing]") {
    for (const std::size_t size : {2u, 10u, 40u}) {
        CAPTURE(size);
        locking world{0.0001, 1, 0.01, size, size};
        strata::pool_sizer sizer{up_to(100)};
        const course c = run(world, sizer, 300);
        CHECK(c.moves == 0);
        CHECK(c.count(sizing_reason::locks) > 70);
        const strata::sizing_decision d = sizer.decide(world.pass(2));
        CHECK(d.lock_waits > static_cast<double>(size) - 1.1);
        CHECK(d.lock_waits < static_cast<double>(size) - 0.9);
        const course untold = run(world, sizer, 300, lock_waits_untold);
        CHECK(untold.moves > 4);
        CHECK((untold.most > size || untold.least < size));
    }
    locking alone{0.0001, 1, 0.01, 1};
    strata::pool_sizer sizer{up_to(100)};
    const course c = run(alone, sizer, 300);
    CHECK(c.most == 2);  // tried
    CHECK(c.count(sizing_reason::back) > 2);
    CHECK(alone.limit == 1);
}

TEST_CASE("those who are let go together by somebody else's lock make no larger pool", "[pool_sizing]") {
    for (const bool told : {true, false}) {
        locking world{0.002, 1, 0, 8, 2};
        world.gate = 0.1;  // so a larger pool would serve more of them, and the database has nothing to do
        strata::pool_sizer sizer{up_to(100)};
        const course c = told ? run(world, sizer, 200) : run(world, sizer, 200, lock_waits_untold);
        if (told)
            CHECK(c.moves == 0);
        else
            CHECK(c.most == 100);
    }
}

TEST_CASE("the same load as the database's own work makes a larger pool", "[pool_sizing]") {
    locking world{0.01, 0, 0, 8, 3};
    world.slowdown = cores(60);
    strata::pool_sizer sizer{up_to(100)};
    run(world, sizer, 200);
    CHECK(world.limit >= 50);
    CHECK(world.limit <= 85);
}

TEST_CASE("some waits for locks among the work are left out", "[pool_sizing]") {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        locking world{0.02, 0.25, 0, 5, 30 + seed};
        world.gate = 0.03;  // a sixth of the time
        world.slowdown = cores(40);
        strata::pool_sizer sizer{up_to(100)};
        run(world, sizer, 300);
        const course c = run(world, sizer, 300);
        CAPTURE(seed, c.least, c.most);
        CHECK(c.least >= 30);
        CHECK(c.most <= 75);
        CHECK(c.count(sizing_reason::locks) < 30);
    }
}

TEST_CASE("where a lock is the limit, a size at which more wait for it is not kept", "[pool_sizing]") {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        locking world{0.1, 1, 0.01, 4, 40 + seed};  // eleven keep it busy
        strata::pool_sizer sizer{up_to(100)};
        run(world, sizer, 300);
        const course c = run(world, sizer, 500);
        CAPTURE(seed, c.least, c.most, world.limit);
        CHECK(c.least >= 8);
        CHECK(c.most <= 18);
        CHECK(c.turns <= 40);
    }
    averages even{cores(1'000), 0.01, 20, 50};
    strata::pool_sizer sizer{up_to(100)};
    int larger = 0;
    const course c = run(even, sizer, 500, [&](int, strata::sizing_round& r) {
        if (r.size <= 20) return;
        ++larger;
        r.locked = r.served * static_cast<int>(r.size - 20) / static_cast<int>(r.size);  // whoever is beyond twenty waits
        r.served -= r.locked;
        r.ended = r.ended * 20 / r.size;
    });
    CHECK(c.moves > 4);  // it was tried
    CHECK(larger < 100);
    CHECK(even.limit == 20);
}

TEST_CASE("timeouts of those who wait for locks do not make the pool smaller", "[pool_sizing]") {
    locking world{0.0001, 1, 0.01, 20, 6};
    strata::pool_sizer sizer{up_to(100)};
    const auto half_time_out = [](int, strata::sizing_round& r) { r.faults = r.ended; };
    CHECK(run(world, sizer, 100, half_time_out).moves == 0);
    const course untold = run(world, sizer, 100, [](int, strata::sizing_round& r) {
        r.faults = r.ended;
        lock_waits_untold(0, r);
    });
    CHECK(untold.least == 1);
    locking few{0.02, 0.25, 0, 20, 7};
    few.gate = 0.03;  // locks are not what keeps the leases
    strata::pool_sizer other{up_to(100)};
    CHECK(run(few, other, 100, half_time_out).least == 1);
}

TEST_CASE("a trial in which locks come about is given up, upwards and downwards", "[pool_sizing]") {
    for (const bool up : {true, false}) {
        averages world{cores(up ? 100 : 10), 0.01, 20, 8};
        strata::pool_sizer sizer{up_to(100)};
        std::size_t from = 0;
        for (int i = 0; i < 500 && (up ? world.limit <= 20 : world.limit >= 20); ++i) {
            from = world.limit;
            run(world, sizer, 1);
        }
        REQUIRE((up ? world.limit > from : world.limit < from));
        const auto locks = [](int, strata::sizing_round& r) {
            r.locked = r.served * 2 / 3;
            r.served -= r.locked;
        };
        CHECK(run(world, sizer, 12, locks).count(sizing_reason::back) == 1);
        CHECK(world.limit == from);
        CHECK(run(world, sizer, 100, locks).moves == 0);
    }
}

TEST_CASE("slower queries make no smaller pool", "[pool_sizing]") {
    for (const double times : {1.3, 2.0, 5.0, 20.0}) {
        CAPTURE(times);
        averages world{cores(20), 0.005, 8, 6};
        strata::pool_sizer sizer{up_to(100)};
        run(world, sizer, 300);
        REQUIRE(world.limit >= 17);
        world.mean *= times;
        const course c = run(world, sizer, 300);
        CHECK(c.least >= 13);
        CHECK(c.most <= 40);
        CHECK(c.throughput > 0.9 * 20);
        for (int i = 0; i < 20; ++i) {  // to and fro
            world.mean = i % 2 == 0 ? 0.005 : 0.005 * times;
            const course fro = run(world, sizer, 25);
            CHECK(fro.least >= 11);
            CHECK(fro.turns <= 5);
        }
        CHECK(world.limit >= 16);
        CHECK(world.limit <= 40);
    }
    simulation world{scalability(0.01, 0.001), 0.05, 20, 7};
    world.set_callers(100);
    strata::pool_sizer sizer{up_to(100)};
    run(world, sizer, 60);
    const std::size_t before = world.limit;
    world.mean = 0.2;
    run(world, sizer, 100);
    CHECK(world.limit >= before / 2);
}

TEST_CASE("when the server can do less, or more, the pool follows soon", "[pool_sizing]") {
    averages world{cores(40), 0.005, 30, 8};
    strata::pool_sizer sizer{up_to(100)};
    run(world, sizer, 2'000);  // long at rest
    REQUIRE(world.limit >= 34);
    world.slowdown = cores(10);
    run(world, sizer, 60);
    CHECK(world.limit <= 14);
    CHECK(world.limit >= 9);
    run(world, sizer, 2'000);
    world.slowdown = [](double n) { return 0.25 * cores(40)(n); };  // a faster and larger machine
    run(world, sizer, 60);
    CHECK(world.limit >= 34);
}

TEST_CASE("faults make the pool smaller, and it recovers after them", "[pool_sizing]") {
    simulation world{cores(40), 0.05, 40, 9};
    world.set_callers(200);
    strata::pool_sizer sizer{up_to(60)};
    run(world, sizer, 60);
    const auto settle = [&] {
        for (int i = 0; i < 200 && run(world, sizer, 1).count(sizing_reason::at_target) == 0; ++i) {
        }
        return world.limit;
    };
    const std::size_t before = settle();
    REQUIRE(before >= 34);
    std::size_t last = before;
    const course outage = run(world, sizer, 30, [&](int, strata::sizing_round& r) {
        r.faults = r.ended;
        r.ended = 0;
        r.served = {};
        if (r.size > 1) CHECK(r.size <= last);
        last = r.size;
    });
    CHECK(outage.least <= 4);
    CHECK(outage.count(sizing_reason::faults) >= 29);  // the first may end a trial
    const course first = run(world, sizer, 10);
    CHECK(first.count(sizing_reason::recovering) >= 2);
    CHECK(world.limit >= before / 2 - 3);
    CHECK(world.limit <= before / 2);
    run(world, sizer, 60);
    CHECK(settle() >= 32);
    CHECK(run(world, sizer, 100).count(sizing_reason::recovering) == 0);

    averages few{cores(20), 0.01, 20, 9};  // a few faults are no reason, nor are they while connections are free
    strata::pool_sizer other{up_to(60)};
    CHECK(run(few, other, 50, [](int, strata::sizing_round& r) { r.faults = r.ended / 25; }).count(sizing_reason::faults) == 0);
    CHECK(run(few, other, 50, [](int, strata::sizing_round& r) { r.faults = r.ended, --r.peak; }).count(sizing_reason::faults) == 0);
    CHECK(run(few, other, 1, [](int, strata::sizing_round& r) { r.faults = r.ended / 15; }).count(sizing_reason::faults) == 1);
}

TEST_CASE("a size at which leases end by timeouts is not tried again and again", "[pool_sizing]") {
    averages world{cores(1'000), 0.01, 20, 10};
    strata::pool_sizer sizer{up_to(100)};
    const auto breaks_above_30 = [](int, strata::sizing_round& r) { r.faults = r.size > 30 ? r.ended : 0; };
    run(world, sizer, 200, breaks_above_30);
    const course c = run(world, sizer, 200, breaks_above_30);
    CHECK(c.least >= 20);
    CHECK(c.most <= 38);
    CHECK(c.turns <= 14);
    CHECK(c.count(sizing_reason::faults) == 0);  // only trials
}

TEST_CASE("a dry run tells the same, and changes nothing", "[pool_sizing]") {
    averages world{scalability(0.01, 0.001), 0.01, 5, 11};
    options o = up_to(100);
    strata::pool_sizer sizer{o};
    o.dry_run = true;
    strata::pool_sizer dry{o};
    std::size_t moves = 0;
    for (int i = 0; i < 500; ++i) {
        strata::sizing_round r = world.pass(2);
        if (i % 100 > 95) r.faults = r.ended;
        const strata::sizing_decision d = sizer.decide(r), told = dry.decide(r);
        REQUIRE(told.target == d.target);
        REQUIRE(told.reason == d.reason);
        REQUIRE_FALSE(told.apply);
        if (d.apply) ++moves;
        world.limit = d.target;
    }
    CHECK(moves > 10);

    averages alone{cores(40), 0.01, 10, 12};  // nobody does what it tells
    strata::pool_sizer teller{o};
    std::size_t grow = 0, other = 0;
    for (int i = 0; i < 100; ++i) {
        const strata::sizing_decision d = teller.decide(alone.pass(2));
        REQUIRE_FALSE(d.apply);
        ++(d.reason == sizing_reason::grow && d.target == 15 ? grow : other);
        if (d.reason != sizing_reason::grow) REQUIRE(d.target == 10);
    }
    CHECK(grow >= 5);
    CHECK(other >= 50);
}

TEST_CASE("it respects its bounds, and what the server allows", "[pool_sizing]") {
    averages world{cores(1'000), 0.01, 5, 13};
    options o = up_to(40);
    o.min = 3;
    strata::pool_sizer sizer{o};
    CHECK(run(world, sizer, 200).most == 40);
    CHECK(sizer.decide(world.pass(2)).reason != sizing_reason::server_budget);
    sizer.set_budget(25);
    const strata::sizing_decision d = sizer.decide(world.pass(2));
    CHECK(d.target == 25);
    CHECK(d.reason == sizing_reason::server_budget);
    world.limit = 25;
    const course at_budget = run(world, sizer, 200);
    CHECK(at_budget.most == 25);
    CHECK(at_budget.count(sizing_reason::server_budget) > 100);
    sizer.set_budget(60);
    CHECK(run(world, sizer, 600).most == 40);
    CHECK(run(world, sizer, 300).count(sizing_reason::limits) > 200);
    sizer.set_budget(2);  // below `min`: the server's word counts
    CHECK(run(world, sizer, 50).least == 2);
    CHECK(world.limit == 2);
    sizer.set_budget(0);
    CHECK(run(world, sizer, 50).least == 1);
    sizer.set_budget(40);
    world.limit = 1;
    const strata::sizing_decision up = sizer.decide(world.pass(2));
    CHECK(up.target == 3);
    CHECK(up.reason == sizing_reason::limits);
    world.limit = 30;
    world.slowdown = cores(1);
    CHECK(run(world, sizer, 1'500).least == 3);
    world.limit = 0;
    CHECK(sizer.decide(strata::sizing_round{}).target == 3);
}

TEST_CASE("the server's budget is what its settings leave for each instance", "[pool_sizing]") {
    using strata::server_budget;
    STATIC_REQUIRE(server_budget{}.connections() == 97);
    STATIC_REQUIRE(server_budget{.max_connections = 100, .superuser_reserved = 5, .instances = 4}.connections() == 23);
    STATIC_REQUIRE(server_budget{.role_limit = 30, .instances = 4}.connections() == 7);
    STATIC_REQUIRE(server_budget{.role_limit = 300, .instances = 4}.connections() == 24);
    STATIC_REQUIRE(server_budget{.role_limit = 0}.connections() == 1);
    STATIC_REQUIRE(server_budget{.max_connections = 3, .superuser_reserved = 3}.connections() == 1);
    STATIC_REQUIRE(server_budget{.max_connections = 2, .superuser_reserved = 3}.connections() == 1);
    STATIC_REQUIRE(server_budget{.max_connections = 103, .instances = 2, .share = 0.5}.connections() == 25);
    STATIC_REQUIRE(server_budget{.instances = 0}.connections() == 97);
    STATIC_REQUIRE(server_budget{.instances = 1'000}.connections() == 1);
}

TEST_CASE("what could not be tried out is given up", "[pool_sizing]") {
    averages world{cores(100), 0.01, 10, 14};
    strata::pool_sizer sizer{up_to(100)};
    const course c = run(world, sizer, 50, [](int, strata::sizing_round& r) { r.peak = 10; });  // the server lets no eleventh in
    CHECK(c.most == 15);
    CHECK(c.count(sizing_reason::opening) >= 28);
    CHECK(c.count(sizing_reason::back) == 1);
    CHECK(run(world, sizer, 1'000, [](int, strata::sizing_round& r) { r.peak = 10; }).moves <= 40);
}

TEST_CASE("leases of before a move are not counted for it", "[pool_sizing]") {
    averages world{cores(20), 0.01, 40, 15};
    strata::pool_sizer sizer{up_to(40)};
    std::size_t since_move = 0, size = 40;
    run(world, sizer, 300, [&](int, strata::sizing_round& r) {
        since_move = r.size == size ? since_move + 1 : 0;
        size = r.size;
        if (since_move < 5) {  // the old leases are long, and still out
            r.peak = std::max<std::size_t>(40, r.size);
            r.served = 1000h;
        }
        if (r.peak == r.size && since_move == 5) r.served = 1000h;  // some that began before end in the round after
    });
    CHECK(world.limit >= 17);
    CHECK(world.limit <= 26);
}

TEST_CASE("what ends in the round of a move is not counted either", "[pool_sizing]") {
    averages world{cores(20), 0.01, 4, 18};
    strata::pool_sizer sizer{up_to(40)};
    std::size_t size = 0;
    run(world, sizer, 100, [&](int, strata::sizing_round& r) {
        if (r.size != size) r.served *= 10;
        size = r.size;
    });
    CHECK(world.limit >= 17);
}

TEST_CASE("other queries in a trial make it void", "[pool_sizing]") {
    averages world{cores(20), 0.01, 20, 19};
    strata::pool_sizer sizer{up_to(100)};
    int trials = 0;
    const course c = run(world, sizer, 400, [&](int, strata::sizing_round& r) {
        if (r.size == 20) return;
        ++trials;
        r.ended *= 3;  // in the same time
    });
    CHECK(trials > 20);
    CHECK(c.least >= 13);
    CHECK(c.most <= 30);
}

TEST_CASE("chance moves nothing", "[pool_sizing]") {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
        averages world{cores(20), 0.2, 20, 20 + seed};
        world.spread = 2;
        strata::pool_sizer sizer{up_to(100)};
        const course c = run(world, sizer, 2'000);
        CAPTURE(c.least, c.most, c.turns);
        CHECK(c.least >= 13);
        CHECK(c.most <= 30);
    }
}

TEST_CASE("a trial that the callers end is kept only if they use it", "[pool_sizing]") {
    for (const bool used : {true, false}) {
        averages world{cores(100), 0.01, 10, 16};
        strata::pool_sizer sizer{up_to(100)};
        for (int i = 0; i < 50 && world.limit == 10; ++i) run(world, sizer, 1);
        REQUIRE(world.limit == 15);
        const course c = run(world, sizer, 10, [&](int, strata::sizing_round& r) {
            r.waiting = 0;
            r.peak = used ? 12 : 10;
        });
        CHECK(world.limit == (used ? 15 : 10));
        CHECK(c.count(sizing_reason::back) == (used ? 0 : 1));
        run(world, sizer, 30, [&](int, strata::sizing_round& r) { r.waiting = 0, r.peak = std::min<std::size_t>(r.size, 12); });
        world.mean *= 1.4;  // which would look like a trial in vain, had it not ended long ago
        CHECK(run(world, sizer, 100).least == (used ? 15 : 10));
    }
}

TEST_CASE("who resizes the pool is heeded", "[pool_sizing]") {
    averages world{cores(20), 0.01, 20, 17};
    strata::pool_sizer sizer{up_to(100)};
    run(world, sizer, 100);
    world.limit = 50;
    CHECK(sizer.decide(world.pass(2)).target == 50);
    run(world, sizer, 150);
    CHECK(world.limit <= 28);
}

TEST_CASE("sizing reasons have names", "[pool_sizing]") {
    CHECK(to_string(sizing_reason::measuring) == "measuring");
    CHECK(to_string(sizing_reason::not_busy) == "not_busy");
    CHECK(to_string(sizing_reason::server_budget) == "server_budget");
    CHECK(to_string(sizing_reason::locks) == "locks");
}

TEST_CASE("sizing options that make no sense name their field", "[pool_sizing]") {
    CHECK_FALSE(options{}.validate());
    const auto says = [](const options& o) { return o.validate().message(); };
    CHECK_THAT(says({.min = 0}), contains_text("sizing_options.min"));
    CHECK_THAT(says({.min = 65}), contains_text("sizing_options.max"));
    CHECK_THAT(says({.max = 65'536}), contains_text("sizing_options.max"));
    CHECK_THAT(says({.period = 9ms}), contains_text("sizing_options.period"));
    CHECK_THAT(says({.worth = 0}), contains_text("sizing_options.worth"));
    CHECK_THAT(says({.tolerance = 1}), contains_text("sizing_options.tolerance"));
    CHECK_THAT(says({.samples = 0}), contains_text("sizing_options.samples"));
    CHECK_THAT(says({.longest_rest = 7}), contains_text("sizing_options.longest_rest"));
    CHECK_THAT(says({.fault_share = 0}), contains_text("sizing_options.fault_share"));
    CHECK_THAT(says({.backoff = 1}), contains_text("sizing_options.backoff"));
}
