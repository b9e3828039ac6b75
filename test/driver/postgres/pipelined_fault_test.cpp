// Shared connections that die, and all kinds of callers at once: nobody gets another's answer, and no write is lost in silence.
#include "pipelined_fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <random>
#include <thread>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

template <std::size_t Shared>
using db_of = strata::database<shared_stack<Shared>>;

constexpr auto find = "select id, owner, balance from account where id = :id"_sql;

/// The bank behind connections of a name of their own, and somebody who ends them now and then.
template <std::size_t Shared>
struct endangered {
    bank<> b{1000};
    std::string name = "strata-" + b.in.schema();
    db_of<Shared> db;
    std::atomic<bool> stop{false};
    std::atomic<int> kills{0};
    std::thread killer;

    explicit endangered(const strata::pipelined_options& o = {})
        : db(named(b.in.options(), name), strata::pool_options{.min_size = 1, .max_size = 4}, o) {
        b.db.execute("create table log (n bigint)"_sql());
        static_cast<void>(db.template one<std::int64_t>("select 1::int8"_sql()));
    }
    ~endangered() { calm(); }
    static strata::postgres_options named(strata::postgres_options o, const std::string& name) {
        o.application_name = name;
        o.connection += "&sslmode=disable";
        return o;
    }
    int kill() {
        return b.db.template one<int>(
            "select count(pg_terminate_backend(pid))::int from pg_stat_activity where application_name = :name"_sql(name));
    }
    void endanger(std::chrono::milliseconds every) {
        stop = false;
        killer = std::thread([this, every] {
            while (!stop) {
                std::this_thread::sleep_for(every);
                kills += kill();
            }
        });
    }
    void calm() {
        stop = true;
        if (killer.joinable()) killer.join();
    }
    /// Connections are made anew.
    bool recovers() {
        for (int i = 0; i < 200; ++i) {
            if (db.template try_one<account>(find(7)).has_value() && db.template try_one<int>(exclusive_backend()).has_value()) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }
};

/// What may befall a read while connections are ended: it has happened nothing.
bool is_of_the_connection(const strata::error& e) {
    return e.effect() == strata::effect::none &&
           (e.code() == errc::connection_lost || e.code() == errc::cannot_connect || e.code() == errc::pool_unreachable);
}

/// Counts of one kind of callers.
struct tally {
    std::atomic<std::int64_t> right{0}, wrong{0}, failed{0}, cancelled{0}, lost{0}, strange{0};
    [[nodiscard]] std::int64_t all() const { return right + wrong + failed + cancelled + lost + strange; }
    void heard(std::int64_t id, bool fails, bool cancels, const strata::error& e, const account& a) {
        if (!e) {
            ++(!fails && a.id == id && a.owner == "owner-" + std::to_string(id) && a.balance == 100 ? right : wrong);
        } else if (fails && e.has_texts() && e.texts().native_code == "22012") {
            ++failed;
        } else if (cancels && e.code() == errc::cancelled && e.effect() == strata::effect::none) {
            ++cancelled;
        } else if (is_of_the_connection(e)) {
            ++lost;
        } else {
            if (++strange < 5) UNSCOPED_INFO(e.to_string());
        }
    }
};

constexpr auto fails_for = "select id, owner, balance / (id - :id) as balance from account where id = :id"_sql;

/// Reads one row after the other through the loop.
template <class Adb>
struct caller {
    Adb& adb;
    asio::any_io_executor executor;
    std::atomic<std::int64_t>& left;
    tally& t;
    bool may_cancel;
    std::minstd_rand random;
    asio::cancellation_signal signal{};
    std::uint64_t calls = 0;

    caller(Adb& over, asio::any_io_executor ex, std::atomic<std::int64_t>& n, tally& into, bool cancels, std::minstd_rand r)
        : adb(over), executor(std::move(ex)), left(n), t(into), may_cancel(cancels), random(r) {}

    void go_on() {
        if (left.fetch_sub(1) <= 0) return;
        ++calls;
        const auto id = static_cast<std::int64_t>(1 + random() % 1000);
        const auto fate = random() % 200;
        const bool fails = fate < 4, cancels = may_cancel && (fate == 4 || fate == 5);
        auto heard = asio::bind_cancellation_slot(signal.slot(), [this, id, fails, cancels](strata::result<account> r) {
            t.heard(id, fails, cancels, r ? strata::error{} : r.error(), r ? *r : account{});
            go_on();
        });
        if (fails) return adb.template async_try_one<account>(fails_for(id), std::move(heard));
        adb.template async_try_one<account>(find(id), std::move(heard));
        if (!cancels) return;
        if (fate == 4) return signal.emit(asio::cancellation_type::total);  // before it is sent
        asio::post(executor, [this, now = calls] {
            if (calls == now) signal.emit(asio::cancellation_type::total);
        });
    }
};

void load(std::int64_t reads, int loop_threads, std::chrono::milliseconds every, bool full) {
    endangered<2> e{{.slow = {}}};
    asio::io_context io;
    auto adb = e.db.async(io.get_executor());
    tally loop, threads;
    const std::int64_t by_threads = reads / 10;
    std::atomic<std::int64_t> left{reads - by_threads}, left_to_threads{by_threads};
    std::deque<caller<decltype(adb)>> callers;
    for (unsigned i = 0; i < 64; ++i) callers.emplace_back(adb, io.get_executor(), left, loop, loop_threads == 1, std::minstd_rand(i + 1));
    for (auto& c : callers) asio::post(io, [&c] { c.go_on(); });
    const auto began = std::chrono::steady_clock::now();
    e.endanger(every);
    std::vector<std::thread> crowd;
    for (unsigned t = 0; t < 3; ++t)
        crowd.emplace_back([&, t] {
            std::minstd_rand random(1000 + t);
            while (left_to_threads.fetch_sub(1) > 0) {
                const auto id = static_cast<std::int64_t>(1 + random() % 1000);
                const bool fails = random() % 50 == 0;
                const auto r = fails ? e.db.template try_one<account>(fails_for(id)) : e.db.template try_one<account>(find(id));
                threads.heard(id, fails, false, r ? strata::error{} : r.error(), r ? *r : account{});
            }
        });
    for (int t = 1; t < loop_threads; ++t) crowd.emplace_back([&] { io.run(); });
    io.run();
    for (std::thread& t : crowd) t.join();
    e.calm();
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    for (const tally* t : {&loop, &threads}) {
        INFO(t->right << " right, " << t->failed << " failed as they must, " << t->cancelled << " cancelled, " << t->lost << " lost; "
                      << e.kills << " connections ended, " << took.count() << " ms");
        CHECK(t->wrong == 0);
        CHECK(t->strange == 0);
        CHECK(t->right > t->all() * 8 / 10);
        CHECK(t->failed > 0);
        if (full)
            WARN((t == &loop ? "loop: " : "threads: ")
                 << t->right << " right, " << t->failed << " failed as they must, " << t->cancelled << " cancelled, " << t->lost
                 << " lost; " << e.kills << " connections ended, " << took.count() << " ms");
    }
    CHECK(loop.all() == reads - by_threads);
    CHECK(threads.all() == by_threads);
    CHECK((loop.cancelled > 0) == (loop_threads == 1));
    CHECK(e.recovers());
}

}  // namespace

TEST_CASE("every caller gets his own row, whatever happens to the others", "[postgres][pipelined][load]") {
    load(count<std::int64_t>(100'000, 10'000'000), 1, 400ms, full_run());
}

TEST_CASE("a loop that several threads run", "[postgres][pipelined][load][threads]") {
    load(count<std::int64_t>(20'000, 200'000), 3, 400ms, false);
}

TEST_CASE("a shared connection that is ended takes no write with it in silence", "[postgres][pipelined][fault]") {
    endangered<1> e{{.max_in_flight = 64, .slow = {}}};
    std::map<std::string, int> why_lost;
    std::int64_t next = 0, lost_reads = 0, right_reads = 0, done = 0, unknown = 0, none = 0;
    for (int round = 0; round < count(40, 400); ++round) {
        std::map<std::int64_t, strata::error> told;
        asio::io_context io;
        auto adb = e.db.async(io.get_executor());
        const std::int64_t first = next;
        std::atomic<bool> may_kill{false};
        std::thread killer([&] {
            while (!may_kill) std::this_thread::yield();
            std::this_thread::sleep_for(std::chrono::microseconds{(round * 137) % 3000});
            e.kill();
        });
        int heard = 0;
        constexpr int calls = 120;
        for (int i = 0; i < calls; ++i) {
            if (i % 3 == 0)
                adb.async_try_execute("insert into log values (:n)"_sql(next), [&, n = next](strata::result<strata::execution> r) {
                    ++heard;
                    CHECK(told.emplace(n, r ? strata::error{} : r.error()).second);
                });
            else
                adb.async_try_one<account>(find(1 + next % 1000), [&, n = next](strata::result<account> r) {
                    ++heard;
                    if (r)
                        CHECK(r->id == 1 + n % 1000);
                    else {
                        CHECK(is_of_the_connection(r.error()));
                        ++why_lost[r.error().to_string()];
                    }
                    ++(r ? right_reads : lost_reads);
                });
            ++next;
        }
        may_kill = true;
        io.run();
        killer.join();
        CHECK(heard == calls);
        std::map<std::int64_t, int> found;
        for (const std::int64_t n : e.b.db.all<std::int64_t>("delete from log returning n"_sql())) ++found[n];
        for (const auto& [n, why] : told) {
            INFO(n - first << ": " << why.to_string());
            if (!why)
                CHECK(found[n] == 1);
            else if (why.effect() == strata::effect::unknown)
                CHECK(found[n] <= 1);
            else
                CHECK(found[n] == 0);
            ++(!why ? done : why.effect() == strata::effect::unknown ? unknown : none);
        }
        CHECK(e.recovers());
    }
    INFO(done << " done, " << unknown << " unknown, " << none << " not done; reads: " << right_reads << " right, " << lost_reads
              << " lost");
    CHECK(done > 0);
    CHECK(unknown > 0);
    CHECK(e.db.source().shared_snapshot().lost > 0);
    for (const auto& [text, times] : why_lost) WARN(times << " reads were not sent again elsewhere: " << text);
}

TEST_CASE("threads and loops on the same connection", "[postgres][pipelined][threads]") {
    endangered<1> e{{.slow = {}}};
    tally t;
    const int rounds = count(300, 5000);
    std::vector<std::thread> crowd;
    for (unsigned n = 0; n < 4; ++n)
        crowd.emplace_back([&, n] {
            std::minstd_rand random(n + 1);
            for (int i = 0; i < rounds; ++i) {
                const auto id = static_cast<std::int64_t>(1 + random() % 1000);
                const auto r = e.db.try_one<account>(find(id));
                t.heard(id, false, false, r ? strata::error{} : r.error(), r ? *r : account{});
            }
        });
    for (unsigned n = 0; n < 2; ++n)
        crowd.emplace_back([&, n] {
            asio::io_context io;
            auto adb = e.db.async(io.get_executor());
            std::atomic<std::int64_t> left{10 * rounds};
            tally own;
            std::deque<caller<decltype(adb)>> callers;
            for (unsigned i = 0; i < 16; ++i)
                callers.emplace_back(adb, io.get_executor(), left, own, true, std::minstd_rand(100 * n + i + 1));
            for (auto& c : callers) c.go_on();
            io.run();
            if (own.all() == 10 * rounds && own.wrong == 0 && own.strange == 0 && own.lost == 0) ++t.right;
        });
    for (std::thread& c : crowd) c.join();
    CHECK(t.right == 4 * rounds + 2);
    CHECK(t.all() == 4 * rounds + 2);
    CHECK(e.db.source().shared_snapshot().lost == 0);
    CHECK(e.db.source().shared_snapshot().opened == 1);
}

TEST_CASE("connections are made anew under those who come and go", "[postgres][pipelined][threads]") {
    endangered<2> e{{.slow = {}}};
    std::atomic<bool> stop{false};
    std::atomic<int> wrong{0}, right{0};
    std::vector<std::thread> crowd;
    for (unsigned n = 0; n < 4; ++n)
        crowd.emplace_back([&, n] {
            std::minstd_rand random(n + 1);
            while (!stop) {
                const auto id = static_cast<std::int64_t>(1 + random() % 1000);
                const auto r = e.db.try_one<account>(find(id), {.deadline = 20s});
                ++(r && r->id == id ? right : wrong);
                if (random() % 4 == 0) std::this_thread::yield();
            }
        });
    for (int i = 0; i < count(150, 3000); ++i) {
        e.db.source().retire_all();
        std::this_thread::sleep_for(std::chrono::microseconds{i % 7 * 300});
    }
    stop = true;
    for (std::thread& t : crowd) t.join();
    CHECK(wrong == 0);
    CHECK(right > 0);
    CHECK(e.db.source().shared_snapshot().lost == 0);
    CHECK(e.db.source().shared_snapshot().open <= 2);
}

TEST_CASE("a call that blocks within a handler, while others of its loop are under way", "[postgres][pipelined]") {
    endangered<1> e{{.slow = {}}};
    e.b.db.execute("create view sleeping as select pg_sleep(0.1)::text as s"_sql());
    asio::io_context io;
    auto adb = e.db.async(io.get_executor());
    bool slept = false;
    adb.async_try_one<std::string>("select s from sleeping"_sql(), {.deadline = 20s},
                                   [&](strata::result<std::string> r) { slept = r.has_value(); });
    asio::steady_timer timer(io, 30ms);
    timer.async_wait([&](auto) { CHECK(e.db.try_one<account>(find(5), {.deadline = 3s}).has_value()); });
    io.run();
    CHECK(slept);
}

TEST_CASE("a context that nobody runs any more holds no thread up", "[postgres][pipelined]") {
    for (const int stage : {0, 1, 2}) {
        endangered<1> e{{.slow = {}}};
        asio::io_context rests;
        auto idle = e.db.async(rests.get_executor());
        int left = 0;
        for (int i = 0; i < 3; ++i) idle.async_try_one<account>(find(1), [&](strata::result<account> r) { left += r.has_value(); });
        if (stage == 1) rests.poll_one();
        if (stage == 2) rests.poll();
        INFO("stage " << stage);
        for (int i = 0; i < 3; ++i) CHECK(e.db.try_one<account>(find(9), {.deadline = 3s}).has_value());
        rests.run();
        CHECK(left == 3);
    }
}

TEST_CASE("loops that share connections hear all their answers", "[postgres][pipelined][threads]") {
    bank<> b{9};
    for (int round = 0; round < count(20, 200); ++round) {
        db_of<2> db{b.in.options(), strata::pipelined_options{.slow = {}}, strata::pool_options{.min_size = 1, .max_size = 2}};
        std::atomic<int> right{0};
        std::vector<std::thread> crowd;
        for (int t = 0; t < 4; ++t)
            crowd.emplace_back([&] {
                asio::io_context io;
                auto adb = db.async(io.get_executor());
                for (int i = 0; i < 40; ++i)
                    adb.async_try_one<account>(find(1 + i % 9), [&, i](strata::result<account> r) { right += r && r->id == 1 + i % 9; });
                io.run();
            });
        for (std::thread& t : crowd) t.join();
        CHECK(right == 160);
    }
}
