// Threads that block on one multiplexer at once, with a server in a thread of its own behind a pair of sockets.
#include <support/catch.hpp>

#include "fake_pipeline.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <thread>

using namespace std::chrono_literals;
using namespace strata_test;
using strata::effect;
using strata::errc;
using strata::signal;

namespace {

class real final : public circumstances {
public:
    real() { REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()) == 0); }
    real(const real&) = delete;
    real& operator=(const real&) = delete;
    ~real() override {
        for (const int end : ends) ::close(end);
    }
    void wait(const strata::io_wait& w) override {
        ::pollfd p{w.descriptor, static_cast<short>(POLLIN | (w.writable ? POLLOUT : 0)), 0};
        const strata::duration left = strata::time_left(w.until, 1s);
        static_cast<void>(::poll(&p, 1, left > 0ns ? static_cast<int>(left / 1ms) + 1 : 0));
    }
    void wrong(const std::string& what) override {
        const std::lock_guard guard(lock_);
        wrong_.push_back(what);
    }
    std::vector<std::string> violations() {
        const std::lock_guard guard(lock_);
        return wrong_;
    }
    std::array<int, 2> ends{};
    std::condition_variable work;

private:
    std::mutex lock_;
    std::vector<std::string> wrong_{};
};

/// Executes what comes.
class server_thread {
public:
    server_thread(fake_server& s, real& r) : server_(s), real_(r), thread_([this] { run(); }) {}
    server_thread(const server_thread&) = delete;
    server_thread& operator=(const server_thread&) = delete;
    ~server_thread() {
        {
            const std::lock_guard guard(server_.lock);
            ends_ = true;
        }
        real_.work.notify_all();
        thread_.join();
    }
    /// The connection breaks.
    void kill() {
        const std::lock_guard guard(server_.lock);
        server_.dead = true;
        tell();
    }

private:
    void tell() { static_cast<void>(::send(real_.ends[1], "x", 1, MSG_NOSIGNAL)); }
    void run() {
        std::unique_lock guard(server_.lock);
        while (!ends_) {
            while (server_.execute()) {
            }
            bool any = false;
            while (server_.deliver()) any = true;
            if (any) tell();
            real_.work.wait(guard, [this] { return ends_ || !server_.inbox.empty() || server_.preparation == fake_server::asked::yes; });
        }
    }
    fake_server& server_;
    real& real_;
    bool ends_ = false;
    std::thread thread_;
};

class socket_link final : public fake_link {
public:
    socket_link(fake_server& s, real& r) : fake_link(s), real_(r) {}

private:
    void drain() override {
        char some[256];
        while (::recv(real_.ends[0], some, sizeof some, 0) > 0) {
        }
        if (server_.dead) static_cast<void>(::send(real_.ends[1], "x", 1, MSG_NOSIGNAL));  // stays readable
    }
    void wrote() override { real_.work.notify_all(); }
    real& real_;
};

using link_seat = strata::detail::seat<socket_link>;
using multiplexer = strata::detail::multiplexer<socket_link>;

struct counts {
    std::atomic<int> done{0}, own_failures{0}, timeouts{0}, lost{0}, cancelled{0};
};

/// One statement by a thread that blocks.
void call(multiplexer& m, real& world, fake_server& server, deed& d, strata::duration within, counts& n) {
    strata::operation<strata::operation_facts{.kind = strata::operation_kind::read}> op;
    if (within != 0ns) op.deadline = strata::steady_now() + within;
    link_seat seat;
    fake_link::call c{&d};
    seat.on_resume(op, {strata::steady_now()});
    seat.may_yield(false);
    seat.sit(m, nullptr);
    signal s = seat.begin(c, !d.writes);
    while (s == signal::park) {
        seat.parked_on()->block(seat.parked_until());
        s = seat.go_on();
    }
    const strata::error e = seat.error_;
    seat.end();
    const std::lock_guard guard(server.lock);
    if (s == signal::done) {
        ++n.done;
        if (d.writes ? d.committed != 1 : c.got != d.truth()) world.wrong("not its own answer");
        if (d.fails || d.fails_late) world.wrong("it should have failed");
        return;
    }
    if (d.writes && e.effect() == effect::none && d.executed != 0) world.wrong("it was told that nothing came of it");
    switch (e.code()) {
        case errc::unique_violation:
        case errc::foreign_key_violation:
            ++n.own_failures;
            if (e.message() != std::to_string(d.id) || d.committed != 0) world.wrong("not its own failure");
            break;
        case errc::timeout:
            ++n.timeouts;
            if (strata::steady_now() < op.deadline) world.wrong("too early");
            break;
        case errc::cancelled:
            ++n.cancelled;
            break;
        case errc::connection_lost:
            ++n.lost;
            break;
        default:
            world.wrong("what error is this?");
    }
}

/// Threads that call one after the other.
void run_threads(multiplexer& m, real& world, fake_server& server, std::vector<deed>& deeds, unsigned each, counts& n, bool hurry) {
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 8; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < each; ++i) {
                deed& d = deeds[t * each + i];
                call(m, world, server, d, hurry && i % 3 == 0 ? std::chrono::microseconds{10 + i % 300} : 0ns, n);
            }
        });
    }
    for (std::thread& t : threads) t.join();
}
std::vector<deed> some_deeds(unsigned many) {
    std::vector<deed> deeds(many);
    for (unsigned i = 0; i < many; ++i) {
        deed& d = deeds[i];
        d.id = i + 1;
        d.text = 1 + i % 5;
        d.writes = i % 4 == 0;
        d.fails = i % 11 == 3;
        d.fails_late = d.writes && i % 13 == 5;
    }
    return deeds;
}

}  // namespace

TEST_CASE("eight threads share one connection: each is told its own", "[multiplexer][threads]") {
    const bool hurry = GENERATE(false, true);
    const unsigned each = count(1'000u, 20'000u);
    real world;
    fake_server server{world};
    server.descriptor = world.ends[0];
    auto deeds = some_deeds(8 * each);
    counts n;
    {
        server_thread runs{server, world};
        multiplexer m{{}, server, world};
        run_threads(m, world, server, deeds, each, n, hurry);
        CHECK(m.load() == 0);
        CHECK_FALSE(m.is_lost());
    }
    CHECK(world.violations() == std::vector<std::string>{});
    CHECK(n.done + n.own_failures + n.timeouts == static_cast<int>(8 * each));
    CHECK((n.timeouts == 0 || hurry));
    CHECK(n.own_failures > 0);
    for (const deed& d : deeds) {
        if (!d.writes) continue;
        CHECK(d.executed <= 1);
        CHECK(d.committed <= 1);
    }
}

TEST_CASE("a shared connection breaks under eight threads: all end, and no more are taken", "[multiplexer][threads]") {
    for (unsigned round = 0; round < count(20u, 500u); ++round) {
        const unsigned each = 200;
        real world;
        fake_server server{world};
        server.descriptor = world.ends[0];
        auto deeds = some_deeds(8 * each);
        counts n;
        {
            server_thread runs{server, world};
            multiplexer m{{}, server, world};
            std::thread killer([&] {
                std::this_thread::sleep_for(std::chrono::microseconds{100 * round});
                if (round % 4 == 3)
                    m.cancel_all();
                else
                    runs.kill();
            });
            run_threads(m, world, server, deeds, each, n, round % 2 == 1);
            killer.join();
            CHECK(m.load() == 0);
        }
        CHECK(world.violations() == std::vector<std::string>{});
        CHECK(n.done + n.own_failures + n.timeouts + n.lost + n.cancelled == static_cast<int>(8 * each));
    }
}

TEST_CASE("of a time that is long over nothing is left, and no more than was asked for of one that is far", "[time]") {
    CHECK(strata::time_left(strata::time_point::min(), 1s) == 0s);
    CHECK(strata::time_left(strata::steady_now() - 1ns, 1s) == 0s);
    CHECK(strata::time_left(strata::never, 1s) == 1s);
    CHECK(strata::time_left(strata::steady_now() + 1h, 1s) == 1s);
    const strata::duration left = strata::time_left(strata::steady_now() + 500ms, 1s);
    CHECK((left > 0s && left <= 500ms));
}
