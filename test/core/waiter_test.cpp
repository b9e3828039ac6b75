// The waiter: exactly one of granted and withdrawn, first in first out, and no wake that reaches into what is gone.
#include <strata/core/waiter.hpp>
#include <strata/core/world.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using strata::wait_queue;
using strata::waiter;
using strata::wake_call;

namespace {

int gifts[64];

/// Counts its wakes and says when it was disposed of.
struct counting_waker final : strata::waker {
    explicit counting_waker(int& w, bool& g) : woken(w), gone(g) {}
    void wake() noexcept override { ++woken; }
    void dispose() noexcept override {
        gone = true;
        delete this;
    }
    int& woken;
    bool& gone;
};

}  // namespace

TEST_CASE("a node is granted or withdrawn, never both", "[waiter]") {
    waiter w;
    wake_call call;
    CHECK_FALSE(w.grant(&gifts[0], call));  // nobody waits yet
    w.prepare(nullptr);
    CHECK_FALSE(w.is_granted());
    SECTION("granted first") {
        CHECK(w.grant(&gifts[1], call));
        CHECK(w.is_granted());
        CHECK(w.gift == &gifts[1]);
        CHECK_FALSE(w.withdraw());
        CHECK_FALSE(w.grant(&gifts[2], call));
    }
    SECTION("withdrawn first") {
        CHECK(w.withdraw());
        CHECK_FALSE(w.grant(&gifts[1], call));
        CHECK_FALSE(w.is_granted());
        CHECK_FALSE(w.withdraw());
    }
    SECTION("prepared anew it waits again") {
        CHECK(w.grant(&gifts[1], call));
        w.prepare(nullptr);
        CHECK(w.gift == nullptr);
        CHECK_FALSE(w.is_granted());
        CHECK(w.withdraw());
    }
}

TEST_CASE("a queue gives in the order of arrival and passes over those who left", "[waiter]") {
    std::array<waiter, 5> w;
    wait_queue q;
    wake_call call;
    CHECK(q.empty());
    CHECK_FALSE(q.grant_first(&gifts[0], call));
    for (waiter& x : w) {
        x.prepare(nullptr);
        q.push(x);
    }
    CHECK(q.size() == 5);
    CHECK(q.front() == &w[0]);
    q.remove(w[2]);  // in the middle
    q.remove(w[2]);  // once is enough
    CHECK(q.size() == 4);
    CHECK(w[0].withdraw());  // still in the queue
    REQUIRE(q.grant_first(&gifts[1], call));
    CHECK(w[1].gift == &gifts[1]);
    CHECK_FALSE(w[0].is_granted());
    q.remove(w[4]);  // the last
    REQUIRE(q.grant_first(&gifts[3], call));
    CHECK(w[3].is_granted());
    CHECK(q.empty());
    CHECK(q.size() == 0);
    CHECK(q.front() == nullptr);
    CHECK_FALSE(q.grant_first(&gifts[4], call));
    CHECK_FALSE(w[2].is_granted());
    q.push(w[4]);
    CHECK(q.grant_first(&gifts[4], call));
    CHECK(w[4].is_granted());
}

TEST_CASE("a waker outlives its operation while a giver holds it", "[waiter]") {
    int woken = 0;
    bool gone = false;
    auto* other = new counting_waker(woken, gone);
    {
        wake_call call;
        {
            waiter w;
            w.prepare(other);
            REQUIRE(w.grant(&gifts[0], call));
            other->release();  // the operation has gone
        }
        CHECK_FALSE(gone);
        wake_call moved = std::move(call);
        call();  // says nothing any more
        CHECK(woken == 0);
        moved();
        CHECK(woken == 1);
        CHECK_FALSE(gone);
    }
    CHECK(gone);
}

TEST_CASE("blocking ends at the deadline or with the gift", "[waiter]") {
    waiter w;
    w.prepare(nullptr);
    w.block(strata::clock::now() - 1s);
    w.block(strata::clock::now() + 1ms);
    CHECK_FALSE(w.is_granted());
    std::thread giver([&] {
        wake_call call;
        if (w.grant(&gifts[7], call)) call();
    });
    w.block(strata::never);
    CHECK(w.is_granted());
    CHECK(w.gift == &gifts[7]);
    giver.join();
    strata::system_world world{1};
    world.park(nullptr, world.moment().now + 1ms);  // just time
}

TEST_CASE("giver and waiter race: one wins, and each gift arrives once", "[waiter][threads]") {
    const int rounds = strata_test::count(2'000, 100'000);
    int given = 0, taken = 0, withdrawn = 0;
    std::vector<int> arrived(static_cast<std::size_t>(rounds) + 1);  // gift r is given in round r, to whoever waits then
    strata::inline_lock lock;
    wait_queue q;
    std::atomic<int> round{0};
    std::thread giver([&] {
        for (int r = 1; r <= rounds; ++r) {
            while (round.load(std::memory_order_acquire) < r) std::this_thread::yield();
            wake_call call;
            bool gave = false;
            {
                strata::hold guard{lock};
                gave = q.grant_first(&arrived[static_cast<std::size_t>(r)], call);
            }
            if (gave) {
                call();  // the node may be gone by now
                ++given;
            }
        }
    });
    for (int r = 1; r <= rounds; ++r) {
        auto w = std::make_unique<waiter>();
        w->prepare(nullptr);
        {
            strata::hold guard{lock};
            q.push(*w);
        }
        round.store(r, std::memory_order_release);
        if (r % 3 == 0) w->block(strata::clock::now() + std::chrono::nanoseconds{r % 5'000});
        if (w->withdraw()) {
            ++withdrawn;
            strata::hold guard{lock};
            q.remove(*w);
        } else {
            ++taken;
            ++*static_cast<int*>(w->gift);
        }
    }
    giver.join();
    CHECK(given == taken);
    CHECK(std::count(arrived.begin(), arrived.end(), 1) == taken);
    CHECK(taken + withdrawn == rounds);
    CHECK(q.empty());
}

TEST_CASE("several threads wait for few slots: every slot comes back", "[waiter][threads]") {
    constexpr int threads = 4;
    const int rounds = strata_test::count(500, 20'000);
    strata::inline_lock lock;
    wait_queue q;
    int free = 2;
    std::atomic<int> inside{0}, most{0}, passed{0}, gave_up{0};
    const auto give_back = [&] {
        wake_call call;
        bool handed = false;
        {
            strata::hold guard{lock};
            handed = q.grant_first(&free, call);
            if (!handed) ++free;
        }
        if (handed) call();
    };
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            for (int r = 0; r < rounds; ++r) {
                waiter w;
                bool have = false;
                {
                    strata::hold guard{lock};
                    if (free > 0 && q.empty()) {
                        --free;
                        have = true;
                    } else {
                        w.prepare(nullptr);
                        q.push(w);
                    }
                }
                if (!have) {
                    w.block((r + t) % 4 == 0 ? strata::clock::now() + 1us : strata::never);
                    have = !w.withdraw();
                    if (!have) {
                        strata::hold guard{lock};
                        q.remove(w);
                    }
                }
                if (!have) {
                    ++gave_up;
                    continue;
                }
                const int now = ++inside;
                for (int m = most.load(); now > m && !most.compare_exchange_weak(m, now);) {
                }
                --inside;
                ++passed;
                give_back();
            }
        });
    }
    for (std::thread& t : all) t.join();
    CHECK(free == 2);
    CHECK(q.empty());
    CHECK(most <= 2);
    CHECK(passed + gave_up == threads * rounds);
}
