// Background work in a real thread: when tasks are run, and that none runs after it was removed.
#include <strata/core/world.hpp>

#include <support/catch.hpp>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

namespace {

struct counting final : strata::background {
    explicit counting(strata::duration every) : every_(every) {}
    strata::time_point run(strata::moment m) noexcept override {
        if (inside.fetch_add(1) != 0) ++overlaps;
        if (m.now < earliest) ++too_early;
        earliest = strata::add_saturated(m.now, every_);
        ++runs;
        --inside;
        return earliest;
    }

    std::atomic<int> runs{0}, inside{0}, overlaps{0}, too_early{0};
    strata::time_point earliest{};

private:
    strata::duration every_;
};

/// Waits for what will come, with a bound against hanging.
template <class Condition>
bool comes(Condition&& c) {
    for (const auto end = strata::steady_now() + 60s; strata::steady_now() < end; std::this_thread::sleep_for(1ms))
        if (c()) return true;
    return false;
}

}  // namespace

TEST_CASE("a task is run soon, then whenever it is due, and not after it was removed", "[background]") {
    strata::system_world world{1};
    counting often{2ms}, once{strata::duration::max()};
    world.spawn(once);
    REQUIRE(comes([&] { return once.runs == 1; }));
    world.spawn(often);  // while the thread sleeps for ever
    CHECK(comes([&] { return often.runs >= 10; }));
    world.unspawn(often);
    const int runs = often.runs;
    CHECK(often.inside == 0);
    counting another{1ms};
    world.spawn(another);
    CHECK(comes([&] { return another.runs >= 10; }));
    world.unspawn(another);
    CHECK(often.runs == runs);
    CHECK(once.runs == 1);
    CHECK(often.too_early == 0);
    CHECK(often.overlaps == 0);
    world.unspawn(once);
    world.unspawn(once);  // it is not there any more
}

TEST_CASE("removing a task waits until it has ended", "[background]") {
    struct slow final : strata::background {
        strata::time_point run(strata::moment) noexcept override {
            began = true;
            while (!may_end) std::this_thread::sleep_for(1ms);
            *memory = 7;  // must still be there
            return strata::never;
        }
        std::atomic<bool> began{false}, may_end{false};
        std::unique_ptr<int> memory = std::make_unique<int>(0);
    };
    strata::system_world world{1};
    std::atomic<bool> removed{false};
    auto task = std::make_unique<slow>();
    world.spawn(*task);
    REQUIRE(comes([&] { return task->began.load(); }));
    std::thread remover([&] {
        world.unspawn(*task);
        removed = true;
    });
    std::this_thread::sleep_for(30ms);
    CHECK_FALSE(removed);
    task->may_end = true;
    remover.join();
    CHECK(removed);
    CHECK(*task->memory == 7);
    task.reset();
}

TEST_CASE("tasks come and go under threads", "[background][threads]") {
    strata::system_world world{1};
    std::vector<std::thread> all;
    for (int t = 0; t < 4; ++t)
        all.emplace_back([&] {
            for (int i = 0; i < strata_test::count(100, 3'000); ++i) {
                counting task{strata::duration{1000}};
                world.spawn(task);
                if (i % 2 == 0) std::this_thread::yield();
                world.unspawn(task);
                if (task.inside != 0 || task.overlaps != 0) std::abort();
            }
        });
    for (auto& t : all) t.join();
}

TEST_CASE("a world without tasks has no thread, and one that ends waits for its own", "[background]") {
    for (int i = 0; i < 20; ++i) {
        strata::system_world world{1};
        counting task{100us};
        if (i % 2 == 0) {
            world.spawn(task);
            world.unspawn(task);
        }
    }
}
