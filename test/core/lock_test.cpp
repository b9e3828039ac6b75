// The lock of four bytes: it excludes, it wakes, it can be let go early.
#include <strata/core/lock.hpp>
#include <strata/core/world.hpp>

#include <support/catch.hpp>

#include <set>
#include <thread>
#include <vector>

TEST_CASE("the lock excludes", "[lock][threads]") {
    STATIC_REQUIRE(sizeof(strata::inline_lock) == 4);
    constexpr int threads = 4;
    const int rounds = strata_test::count(20'000, 1'000'000);
    strata::inline_lock lock;
    long plain = 0;  // no atomic: the lock must do
    bool held = false;
    std::atomic<int> broken{0};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
        all.emplace_back([&] {
            for (int i = 0; i < rounds; ++i) {
                strata::hold guard{lock};
                if (held) ++broken;
                held = true;
                ++plain;
                if (i % 64 == 0) std::this_thread::yield();  // let the others run into it
                held = false;
            }
        });
    }
    for (std::thread& t : all) t.join();
    CHECK(plain == long{threads} * rounds);
    CHECK(broken == 0);
}

TEST_CASE("all who sleep on the lock get it, one after the other", "[lock][threads]") {
    strata::inline_lock lock;
    const int rounds = strata_test::count(50, 500);
    for (int r = 0; r < rounds; ++r) {
        int through = 0;
        std::vector<std::thread> all;
        {
            strata::hold guard{lock};
            for (int t = 0; t < 3; ++t) {
                all.emplace_back([&] {
                    strata::hold inner{lock};
                    ++through;
                });
            }
            std::this_thread::yield();
            CHECK(through == 0);
        }
        for (std::thread& t : all) t.join();
        CHECK(through == 3);
    }
}

namespace {

struct counted_lock {
    void lock() { ++locks; }
    void unlock() { ++unlocks; }
    int locks = 0;
    int unlocks = 0;
};

}  // namespace

TEST_CASE("a hold lets go once, at its end or before", "[hold]") {
    counted_lock lock;
    {
        strata::hold guard{lock};
        CHECK(lock.locks == 1);
        CHECK(lock.unlocks == 0);
    }
    CHECK(lock.unlocks == 1);
    {
        strata::hold guard{lock};
        guard.unlock();
        CHECK(lock.unlocks == 2);
    }
    CHECK(lock.locks == 2);
    CHECK(lock.unlocks == 2);
    strata::no_lock none;
    strata::hold guard{none};
}

TEST_CASE("a seed gives one sequence, shared by all threads", "[world]") {
    strata::splitmix a{7}, b{7}, c{8};
    const std::uint64_t first = a.next();
    CHECK(first == b.next());
    CHECK(a.next() == b.next());
    CHECK(first != c.next());
    CHECK(first == 0x63cbe1e459320dd7ull);  // the published generator's

    std::set<std::uint64_t> drawn;
    strata::inline_lock lock;
    std::vector<std::thread> all;
    for (int t = 0; t < 3; ++t) {
        all.emplace_back([&] {
            for (int i = 0; i < 1'000; ++i) {
                const std::uint64_t n = a.next();
                strata::hold guard{lock};
                drawn.insert(n);
            }
        });
    }
    for (std::thread& t : all) t.join();
    CHECK(drawn.size() == 3'000);

    strata::system_world world{7};
    const strata::moment m = world.moment();
    CHECK(m.random() == first);
    const double u = m.random_unit();
    CHECK(u >= 0.0);
    CHECK(u < 1.0);
    CHECK(strata::moment{}.random() == 0);
}
