// The pool under real threads: connections without any synchronisation of their own, so that a lease delivered twice is a
// data race (ThreadSanitizer) and a wrong count (everywhere).
#include <support/catch.hpp>

#include <strata/core/world.hpp>
#include <strata/source/pool.hpp>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using strata::errc;
using strata_test::count;

namespace {

/// The pool's tasks in threads of the world, until the end of the scope.
template <class Source>
struct running {
    running(strata::system_world& w, Source& s) : world(w) {
        s.spawn_tasks([this](strata::background& b) {
            world.spawn(b);
            tasks.push_back(&b);
        });
    }
    ~running() {
        for (strata::background* b : tasks) world.unspawn(*b);
    }
    strata::system_world& world;
    std::vector<strata::background*> tasks{};
};

struct bare_options {
    std::atomic<int>* open = nullptr;
    std::atomic<int>* most_open = nullptr;
};

class bare_connection {
public:
    strata::error open(const bare_options& o, int, const strata::interruption*) {
        open_ = o.open;
        const int now = open_->fetch_add(1) + 1;
        int most = o.most_open->load();
        while (now > most && !o.most_open->compare_exchange_weak(most, now)) {
        }
        uses = 0;
        return {};
    }
    void close() noexcept {
        if (open_ != nullptr) open_->fetch_sub(1);
        open_ = nullptr;
    }
    void guard(const strata::interruption* i) noexcept { guard_ = i; }
    [[nodiscard]] const strata::interruption* guard() const noexcept { return guard_; }
    [[nodiscard]] bool in_transaction() const noexcept { return false; }
    strata::health tidy() noexcept { return strata::health::good; }

    bool in_use = false;  // plain: only whoever has the lease may touch it
    int uses = 0;

private:
    std::atomic<int>* open_ = nullptr;
    const strata::interruption* guard_ = nullptr;
};

template <bool Blocking, bool SingleWriter>
struct bare_driver {
    using options = bare_options;
    using connection = bare_connection;
    static constexpr bool blocking = Blocking;
    static constexpr bool single_writer = SingleWriter;
    static constexpr int role_of(bool, bool) noexcept { return 0; }
    static strata::error check_shared(const bare_options&) noexcept { return {}; }
    static strata::error check_reopened(const bare_options&) noexcept { return {}; }
};

struct bare_work {
    bool lose = false;
    bool pause = false;
    bool doubly = false;

    strata::signal resume(bare_connection& c, strata::operation_base&, strata::outcome& result) {
        doubly = std::exchange(c.in_use, true);
        ++c.uses;
        if (pause) std::this_thread::yield();
        c.in_use = false;
        if (!lose) return strata::signal::done;
        result.replace(strata::error{errc::connection_lost, strata::phase::execute}.set(strata::health::lost));
        return strata::signal::failed;
    }
    void end() noexcept {}
};

template <bool SingleWriter>
void stress(int threads, int calls, std::size_t connections) {
    using op_type = strata::operation<strata::operation_facts{}>;
    using source_type = strata::detail::pool_source<bare_driver<true, SingleWriter>, strata::inline_lock>;
    strata::system_world world{7};
    strata::layers<> none;
    std::atomic<int> open{0}, most_open{0}, served{0}, refused{0}, lost{0}, doubly{0}, strange{0};
    source_type source{{.min_size = 0, .max_size = connections, .check_interval = 1ms}, {&open, &most_open}};
    const running tasks{world, source};
    std::vector<std::thread> all;
    for (int t = 0; t < threads; ++t) {
        all.emplace_back([&, t] {
            strata::splitmix random{static_cast<std::uint64_t>(t)};
            for (int i = 0; i < calls; ++i) {
                op_type op;
                bare_work work;
                op.reads_only = random.next() % 2 == 0;
                work.lose = random.next() % 50 == 0;
                work.pause = random.next() % 3 == 0;
                // deadlines short enough that hand-off and withdrawal meet
                if (random.next() % 2 == 0) op.deadline = strata::steady_now() + strata::duration{random.next() % 20'000};
                strata::flight<strata::system_world, strata::layers<>, source_type, op_type, bare_work> f{world, none, source, op, work};
                strata::need n = f.start_here();
                if (random.next() % 16 == 0 && n != strata::need::done) continue;  // destroyed midway
                static_cast<void>(strata::drive(f, world, n));
                if (work.doubly) ++doubly;
                switch (f.result().code()) {
                    case errc::ok:
                        ++served;
                        break;
                    case errc::connection_lost:
                        ++lost;
                        break;
                    case errc::timeout:
                        ++refused;
                        break;
                    default:
                        ++strange;
                }
            }
        });
    }
    for (std::thread& t : all) t.join();
    while (source.snapshot().open != source.snapshot().idle) std::this_thread::yield();  // one may be on its way, or be looked at
    CHECK(doubly == 0);
    CHECK(strange == 0);
    CHECK(served > 0);
    CHECK(most_open <= static_cast<int>(connections));
    const strata::pool_snapshot s = source.snapshot();
    CHECK(s.waiting == 0);
    CHECK(s.open == s.idle);
    CHECK(static_cast<int>(s.open) == open);
    CHECK(s.lost >= static_cast<std::uint64_t>(lost));
    CHECK(source.stop(world, strata::never));
    CHECK(open == 0);
}

}  // namespace

TEST_CASE("threads share a pool: nobody meets another on a connection, and all places come back", "[pool][stress]") {
    stress<false>(8, count(2'000, 40'000), 3);
}

TEST_CASE("threads share a pool with one writer", "[pool][stress]") {
    stress<true>(8, count(2'000, 40'000), 3);
}

TEST_CASE("threads share a single connection", "[pool][stress]") {
    stress<false>(8, count(1'000, 20'000), 1);
}

TEST_CASE("a pool is closed while threads use it", "[pool][stress]") {
    using op_type = strata::operation<strata::operation_facts{}>;
    using source_type = strata::detail::pool_source<bare_driver<true, false>, strata::inline_lock>;
    for (int round = 0; round < count(20, 500); ++round) {
        strata::system_world world{7};
        strata::layers<> none;
        std::atomic<int> open{0}, most_open{0}, shut{0};
        source_type source{{.min_size = 0, .max_size = 2}, {&open, &most_open}};
        const running tasks{world, source};
        std::vector<std::thread> all;
        for (int t = 0; t < 4; ++t) {
            all.emplace_back([&] {
                for (;;) {
                    op_type op;
                    bare_work work{.pause = true};
                    strata::flight<strata::system_world, strata::layers<>, source_type, op_type, bare_work> f{world, none, source, op,
                                                                                                              work};
                    static_cast<void>(strata::drive(f, world, f.start_here()));
                    if (f.result().code() == errc::shutting_down) break;
                }
                ++shut;
            });
        }
        std::this_thread::yield();
        std::thread other([&] { CHECK(source.stop(world, strata::never)); });
        const bool stopped = source.stop(world, strata::never);
        other.join();
        for (std::thread& t : all) t.join();
        CHECK(stopped);
        CHECK(shut == 4);
        CHECK(open == 0);
    }
}

// Not in a usual run: `test/run.sh --soak`. STRATA_SOAK_SECONDS says for how long.
TEST_CASE("for ten minutes nobody who waits is forgotten, whatever is done to the pool", "[.soak]") {
    using op_type = strata::operation<strata::operation_facts{}>;
    using source_type = strata::detail::pool_source<bare_driver<true, false>, strata::inline_lock>;
    const char* const said = std::getenv("STRATA_SOAK_SECONDS");
    const auto length = std::chrono::seconds{said != nullptr ? std::atoi(said) : 600};
    strata::system_world world{7};
    strata::layers<> none;
    std::atomic<int> open{0}, most_open{0};
    std::atomic<std::uint64_t> served{0}, ended_early{0}, lost{0}, doubly{0}, forgotten{0}, strange{0};
    // A lease is held for microseconds, so whoever waits for twenty seconds was forgotten.
    source_type source{{.min_size = 2, .max_size = 6, .max_wait = 20s, .max_lifetime = 50ms, .max_idle = 5ms, .check_interval = 1ms},
                       {&open, &most_open}};
    const running tasks{world, source};
    const strata::time_point begin = strata::steady_now(), end = begin + length;
    std::vector<std::thread> all;
    for (unsigned t = 0; t < 8; ++t) {
        all.emplace_back([&, t] {
            strata::splitmix random{t};
            while (strata::steady_now() < end) {
                op_type op;
                bare_work work;
                work.lose = random.next() % 200 == 0;
                work.pause = random.next() % 3 == 0;
                if (random.next() % 4 == 0) op.deadline = strata::steady_now() + strata::duration{random.next() % 50'000};
                strata::flight<strata::system_world, strata::layers<>, source_type, op_type, bare_work> f{world, none, source, op, work};
                strata::need n = f.start_here();
                if (random.next() % 64 == 0 && n != strata::need::done) continue;  // destroyed midway
                static_cast<void>(strata::drive(f, world, n));
                if (work.doubly) ++doubly;
                switch (f.result().code()) {
                    case errc::ok:
                        ++served;
                        break;
                    case errc::timeout:
                        ++ended_early;
                        break;
                    case errc::connection_lost:
                        ++lost;
                        break;
                    case errc::pool_exhausted:
                        ++forgotten;
                        break;
                    default:
                        ++strange;
                }
            }
        });
    }
    all.emplace_back([&] {
        strata::splitmix random{99};
        while (strata::steady_now() < end) {
            std::this_thread::sleep_for(std::chrono::microseconds{random.next() % 20'000});
            switch (random.next() % 4) {
                case 0:
                    source.resize(1 + random.next() % 6);
                    break;
                case 1:
                    source.retire_all();
                    break;
                case 2:
                    source.shrink();
                    break;
                default:
                    source.suspend();
                    std::this_thread::sleep_for(std::chrono::microseconds{random.next() % 2'000});
                    source.resume();
            }
        }
    });
    for (int minute = 1; strata::steady_now() < end; ++minute) {
        const strata::time_point next = begin + std::chrono::seconds{10} * minute;
        std::this_thread::sleep_until(next < end ? next : end);
        std::printf("%lld s: %llu served, %llu ended early, %llu opened\n",
                    static_cast<long long>((strata::steady_now() - begin) / std::chrono::seconds{1}),
                    static_cast<unsigned long long>(served.load()), static_cast<unsigned long long>(ended_early.load()),
                    static_cast<unsigned long long>(source.snapshot().opened));
        std::fflush(stdout);
    }
    for (std::thread& t : all) t.join();
    CHECK(forgotten == 0);
    CHECK(strange == 0);
    CHECK(doubly == 0);
    CHECK(served > 1'000u);
    CHECK(most_open <= 6);
    CHECK(source.stop(world, strata::steady_now() + 20s));
    CHECK(open == 0);
}
