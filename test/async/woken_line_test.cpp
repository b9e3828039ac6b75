// Parked operations that were woken: each goes on once, by any thread of the context, or ends with the context.
#include <strata/async/block_cache.hpp>
#include <strata/async/woken_line.hpp>
#include <strata/async/world.hpp>

#include <support/catch.hpp>

#include <boost/asio/io_context.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

using namespace strata::detail;

namespace {

struct parked {
    parked_operation kept{};
    std::atomic<int> ran{0}, dropped{0};

    hop go_on() {
        return hop{this, [](void* p) { ++static_cast<parked*>(p)->ran; }, [](void* p) noexcept { ++static_cast<parked*>(p)->dropped; }};
    }
};

struct crowd {
    explicit crowd(boost::asio::io_context& io, std::size_t number)
        : end(context_end::of(io.get_executor())), line(std::make_shared<woken_line>(io.get_executor())), all(number) {
        REQUIRE(&line->context() == end.get());
        const strata::hold guard(end->lock);
        for (parked& p : all) end->keep(p.kept, p.go_on(), line->executor());
    }
    void wake(std::size_t from, std::size_t to) {
        for (std::size_t i = from; i < to; ++i) {
            const strata::hold guard(end->lock);
            line->add(all[i].kept);
        }
    }
    std::shared_ptr<context_end> end;
    std::shared_ptr<woken_line> line;
    std::vector<parked> all;
};

}  // namespace

TEST_CASE("whoever is woken goes on once, whatever threads wake and run", "[woken_line]") {
    constexpr std::size_t number = 20'000;
    boost::asio::io_context io;
    crowd c{io, number};
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) threads.emplace_back([&] { io.run(); });
    threads.emplace_back([&] { c.wake(0, number / 2); });
    threads.emplace_back([&] { c.wake(number / 2, number); });
    for (std::thread& t : threads) t.join();
    int wrong = 0;
    for (const parked& p : c.all) wrong += p.ran != 1 || p.dropped != 0;
    CHECK(wrong == 0);
}

TEST_CASE("whoever is in line when the context ends, ends with it", "[woken_line]") {
    auto io = std::make_unique<boost::asio::io_context>();
    crowd c{*io, 100};
    c.wake(0, 10);
    CHECK(io->poll_one() == 1);  // those ten at once
    c.wake(10, 20);
    io.reset();
    int ran = 0, dropped = 0, twice = 0;
    for (const parked& p : c.all) ran += p.ran, dropped += p.dropped, twice += p.ran + p.dropped != 1;
    CHECK(ran == 10);
    CHECK(dropped == 90);
    CHECK(twice == 0);
}

TEST_CASE("memory for an operation is aligned as its handler wants it", "[block_cache]") {
    struct alignas(64) wide {
        char some[100];
    };
    block_allocator<wide> a;
    for (int again = 0; again < 4; ++again) {
        wide* const one = a.allocate(1);
        wide* const other = a.allocate(1);
        CHECK(reinterpret_cast<std::uintptr_t>(one) % 64 == 0);
        CHECK(reinterpret_cast<std::uintptr_t>(other) % 64 == 0);
        a.deallocate(one, 1);
        a.deallocate(other, 1);
    }
}

TEST_CASE("who holds a waker longer than its operation keeps no executor", "[woken_line]") {
    boost::asio::io_context io;
    auto line = std::make_shared<woken_line>(io.get_executor());
    asio_waker* const w = new asio_waker(line);
    strata::wake_call late(nullptr, w);
    w->detach();
    CHECK(line.use_count() == 1);
    late();
}
