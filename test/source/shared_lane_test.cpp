// A shared connection that is leased, lost, renewed and closed under those who are on it: each finds it whole as long as he is there, and
// whoever waits is told.
#include <strata/source/shared_lane.hpp>

#include <core/fake_pipeline.hpp>
#include <support/catch.hpp>

#include <atomic>
#include <deque>
#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::acquired;
using strata::errc;
using strata::health;

namespace {

/// A link that knows whether it is there.
class known_link final : public fake_link {
public:
    known_link(fake_server& s, bool through_pooler) : fake_link(s, through_pooler) { ++alive; }
    known_link(const known_link&) = delete;
    known_link& operator=(const known_link&) = delete;
    ~known_link() override { --alive; }
    static inline std::atomic<int> alive{0};
};
using shared = strata::detail::multiplexer<known_link>;

struct calm final : circumstances {
    void wrong(const std::string&) override { ++wrongs; }
    std::atomic<int> wrongs{0};
};

/// Lends one connection: at once, later, or not at all.
struct fake_pool {
    using lease = fake_server*;
    acquired acquire(strata::operation_base& op, strata::waiter& node, lease& out) noexcept {
        const std::lock_guard guard(lock);
        ++asked;
        if (refuses) return acquired::refused;
        if (later) {
            node.prepare(op.waking());
            waiting = &node;
            return acquired::wait;
        }
        return lend(out);
    }
    acquired end_wait(strata::operation_base&, strata::waiter& node, lease& out, strata::duration) noexcept {
        const std::lock_guard guard(lock);
        return node.gift == nullptr ? acquired::refused : lend(out);
    }
    strata::error refusal(const strata::operation_base&, strata::time_point, bool) noexcept {
        return strata::error{errc::pool_unreachable, strata::phase::acquire};
    }
    void release(lease& l, strata::operation_base&, health h) noexcept {
        const std::lock_guard guard(lock);
        if (h == health::lost) ++lost;
        if (l == nullptr) world.wrong("");
        l = nullptr;
        --leased;
    }
    void release_unconnected(lease&) noexcept {}
    fake_server& connection_of(lease& l) noexcept { return *l; }

    acquired lend(lease& out) {
        if (++leased != 1) world.wrong("");
        servers.emplace_back(world);
        out = &servers.back();
        return acquired::ready;
    }
    /// Whom it has let wait.
    bool give(bool something) {
        strata::wake_call wake;
        {
            const std::lock_guard guard(lock);
            strata::waiter* const node = std::exchange(waiting, nullptr);
            if (node == nullptr || !node->grant(something ? this : nullptr, wake)) return false;
        }
        wake();
        return true;
    }

    calm world;
    std::mutex lock;
    std::deque<fake_server> servers{};
    strata::waiter* waiting = nullptr;
    std::atomic<bool> later{false}, refuses{false};
    std::atomic<int> leased{0}, asked{0}, lost{0};
};
using lane = strata::detail::shared_lane<fake_pool, known_link>;

/// The server breaks the connection, and one statement notices.
void lose(shared& m, fake_server& server) {
    {
        const std::lock_guard guard(server.lock);
        server.dead = true;
    }
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::read}> op;
    strata::detail::seat<known_link> seat;
    deed d;
    fake_link::call c{&d};
    seat.on_resume(op, {strata::steady_now()});
    seat.may_yield(false);
    seat.sit(m, nullptr);
    strata::signal s = seat.begin(c, true);
    while (s == strata::signal::park) {
        seat.parked_on()->block(seat.parked_until());
        s = seat.go_on();
    }
    seat.end();
}

}  // namespace

TEST_CASE("a lane opens its connection when it is wanted, and keeps it", "[shared_lane]") {
    fake_pool pool;
    lane l;
    l.belong_to(pool, {}, false);
    CHECK(l.is_cold());
    CHECK(l.enter() == nullptr);
    strata::waiter node;
    shared* m = nullptr;
    CHECK(l.wait(node, nullptr, m) == acquired::wait);
    CHECK(node.is_granted());
    m = l.end_wait(node);
    REQUIRE(m != nullptr);
    CHECK(l.load() == 1);
    CHECK(l.enter() == m);
    CHECK(l.load() == 2);
    l.leave();
    l.leave();
    CHECK(l.load() == 0);
    CHECK(pool.leased == 1);
    CHECK(pool.asked == 1);
    l.warm();
    CHECK(pool.asked == 1);
    l.renew(true);
    CHECK(pool.leased == 0);
    CHECK(known_link::alive == 0);
    CHECK(l.wait(node, nullptr, m) == acquired::refused);
    CHECK(l.refusal().code() == errc::shutting_down);
}

TEST_CASE("a lane that is renewed lets go of its connection when the last has left", "[shared_lane]") {
    fake_pool pool;
    lane l;
    l.belong_to(pool, {}, false);
    l.warm();
    REQUIRE(l.is_open());
    shared* const m = l.enter();
    REQUIRE(m != nullptr);
    l.renew(false);
    CHECK_FALSE(l.is_open());
    CHECK(pool.leased == 1);
    CHECK(l.enter() == nullptr);  // it takes nobody more
    CHECK(pool.leased == 1);
    strata::waiter node;
    shared* next = nullptr;
    CHECK(l.wait(node, nullptr, next) == acquired::wait);
    CHECK(l.load() == 2);
    CHECK_FALSE(node.is_granted());
    l.leave();
    CHECK(pool.asked == 2);
    CHECK(node.is_granted());
    CHECK(l.end_wait(node) != nullptr);
    l.leave();
    CHECK(pool.lost == 0);
    l.renew(true);
    CHECK(pool.leased == 0);
}

TEST_CASE("a lane whose connection is lost says so to the pool, and gets another", "[shared_lane]") {
    fake_pool pool;
    lane l;
    l.belong_to(pool, {}, false);
    l.warm();
    shared* const m = l.enter();
    REQUIRE(m != nullptr);
    lose(*m, pool.servers.back());
    CHECK(m->is_lost());
    CHECK(l.enter() == nullptr);
    CHECK(pool.leased == 1);
    l.leave();
    CHECK(pool.leased == 0);
    CHECK(pool.lost == 1);
    CHECK(l.is_cold());
    l.warm();
    CHECK(l.is_open());
    l.renew(true);
}

TEST_CASE("whoever waits for a lane is told when the pool refuses, or gives up by himself", "[shared_lane]") {
    fake_pool pool;
    lane l;
    l.belong_to(pool, {}, false);
    pool.later = true;
    strata::waiter one, other;
    shared* m = nullptr;
    CHECK(l.wait(one, nullptr, m) == acquired::wait);
    CHECK(l.wait(other, nullptr, m) == acquired::wait);
    CHECK(pool.asked == 1);
    CHECK(l.load() == 2);
    CHECK(l.end_wait(other) == nullptr);
    CHECK(l.load() == 1);
    CHECK(l.refusal().code() == errc::pool_exhausted);
    REQUIRE(pool.give(false));
    CHECK(one.is_granted());
    CHECK(l.end_wait(one) == nullptr);
    CHECK(l.load() == 0);
    CHECK(l.refusal().code() == errc::pool_unreachable);
    CHECK(l.is_cold());
    SECTION("closed while it is being opened") {
        CHECK(l.wait(one, nullptr, m) == acquired::wait);
        l.renew(true);
        CHECK(l.end_wait(one) == nullptr);
        REQUIRE(pool.give(true));
        CHECK(pool.leased == 0);
        CHECK(known_link::alive == 0);
    }
}

TEST_CASE("a lane leaves a connection that has grown too old", "[shared_lane]") {
    fake_pool pool;
    lane l;
    l.belong_to(pool, {}, false);
    l.warm();
    const strata::time_point now = strata::steady_now();
    l.look_at_age({now}, 10s, 0.5);  // no randomness here: 10 s from the first look
    l.look_at_age({now + 9s}, 10s, 0.5);
    CHECK(l.is_open());
    l.look_at_age({now + 10s}, 10s, 0.5);
    CHECK(l.is_cold());
    CHECK(pool.leased == 0);
    l.warm();
    l.look_at_age({now + 11s}, 10s, 0.5);  // a new one is young
    CHECK(l.is_open());
    l.renew(true);
}

TEST_CASE("threads come, go, lose and renew a lane: it is whole for whoever is on it", "[shared_lane][threads]") {
    for (unsigned round = 0; round < count(6u, 60u); ++round) {
        fake_pool pool;
        lane l;
        l.belong_to(pool, {}, false);
        std::atomic<bool> ends{false};
        std::atomic<int> missing{0}, served{0}, refused{0};
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < 6; ++t) {
            threads.emplace_back([&, t] {
                for (unsigned i = 0; i < 1500; ++i) {
                    shared* m = l.enter();
                    if (m == nullptr) {
                        strata::waiter node;
                        const acquired a = l.wait(node, nullptr, m);
                        if (a == acquired::wait) {
                            node.block(strata::steady_now() + ((i + t) % 3 == 0 ? 20us : 50ms));
                            m = l.end_wait(node);
                        }
                        if (m == nullptr) ++refused;
                    }
                    if (m == nullptr) continue;
                    if (known_link::alive != 1) ++missing;
                    if (i % 97 == t) {
                        fake_server* server = nullptr;
                        {
                            const std::lock_guard guard(pool.lock);
                            server = &pool.servers.back();
                        }
                        lose(*m, *server);
                    }
                    if (known_link::alive != 1) ++missing;
                    ++served;
                    l.leave();
                }
            });
        }
        std::thread helper([&] {  // the pool's givers, and upkeep
            for (unsigned i = 0; !ends; ++i) {
                pool.later = i % 4 != 0;
                pool.refuses = i % 64 == 63;
                static_cast<void>(pool.give(i % 16 != 0));
                if (i % 5 == 0) l.renew(false);
                if (i % 7 == 0) l.cancel_all();
                std::this_thread::yield();
            }
        });
        for (std::thread& t : threads) t.join();
        // Closed while the last are still there: somebody always gives the connection back.
        pool.later = pool.refuses = false;
        ends = true;
        helper.join();
        static_cast<void>(pool.give(true));
        std::vector<std::thread> last;
        std::atomic<int> entered{0};
        for (unsigned t = 0; t < 3; ++t) {
            last.emplace_back([&] {
                strata::waiter node;
                shared* m = l.enter();
                if (m == nullptr && l.wait(node, nullptr, m) == acquired::wait) {
                    node.block(strata::steady_now() + 5s);
                    m = l.end_wait(node);
                }
                ++entered;
                if (m != nullptr) l.leave();
            });
        }
        l.renew(true);
        for (std::thread& t : last) t.join();
        CHECK(missing == 0);
        CHECK(served > 0);
        CHECK(pool.leased == 0);
        CHECK(pool.world.wrongs == 0);
        CHECK(known_link::alive == 0);
        CHECK(l.load() == 0);
    }
}
