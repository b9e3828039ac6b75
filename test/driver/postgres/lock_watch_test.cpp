// Who waits for a lock, asked of a real server, and a pool whose size does not follow such waits.
#include "fault_fixture.hpp"

#include <strata/source/pool_planner.hpp>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

using namespace strata_test;
using watch_of_locks = strata::detail::postgres_lock_watch;

namespace {

constexpr auto lock_row = "select id from row_1 where id = 1 for update"_sql;
constexpr auto share_row = "select id from row_1 where id = 1 for share"_sql;
constexpr auto my_number = "select pg_backend_pid()"_sql;

void make_row(server& s) {
    strata::database<plain_stack> db{s.options(), server::one()};
    db.execute("create table row_1 (id int primary key)"_sql());
    db.execute("insert into row_1 values (1)"_sql());
}

/// Callers without an end, each in a thread of its own.
class crowd {
public:
    template <class F>
    crowd(int n, F call) {
        for (int i = 0; i < n; ++i)
            threads_.emplace_back([this, call] {
                while (!stop_) call();
            });
    }
    ~crowd() {
        stop_ = true;
        for (std::thread& t : threads_) t.join();
    }

private:
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

}  // namespace

TEST_CASE("the server counts the sessions that wait for a lock, of those it is asked for", "[postgres][pool][locks]") {
    server s;
    make_row(s);
    strata::database<plain_stack> db{s.options(), strata::pool_options{.min_size = 5, .max_size = 6}};
    strata::interruption in_time{strata::clock::now() + 10s};
    watch_of_locks watch;
    CHECK(watch.ask(s.options(), nullptr, 0, in_time) == std::size_t{0});

    std::vector<std::int32_t> numbers;
    std::vector<std::thread> waiting;
    {
        auto holder = db.begin();
        holder.one<int>(lock_row());
        numbers.push_back(holder.one<int>(my_number()));
        std::atomic<int> begun{0};
        std::mutex m;
        for (int i = 0; i < 4; ++i)
            waiting.emplace_back([&] {
                db.transaction([&](auto& tx) {
                    const int number = tx.template one<int>(my_number());
                    {
                        const std::lock_guard guard(m);
                        numbers.push_back(number);
                    }
                    ++begun;
                    tx.template one<int>(lock_row());
                });
            });
        CHECK(comes_true([&] { return begun == 4 && watch.ask(s.options(), numbers.data(), 5, in_time) == std::size_t{4}; }));
        CHECK(watch.ask(s.options(), numbers.data(), 3, in_time) == std::size_t{2});  // the holder waits for nothing
        CHECK(watch.ask(s.options(), numbers.data(), 0, in_time) == std::size_t{0});
    }
    for (std::thread& t : waiting) t.join();
    CHECK(watch.ask(s.options(), numbers.data(), 5, in_time) == std::size_t{0});
    db.transaction([&](auto& tx) {
        const int number = tx.template one<int>(my_number());
        CHECK(std::find(numbers.begin(), numbers.end(), number) != numbers.end());
    });
}

TEST_CASE("a server that cannot be asked for locks is not waited for", "[postgres][pool][locks]") {
    server s;
    strata::postgres_options wrong = s.options();
    wrong.user = s.schema() + "_nobody";
    strata::interruption in_time{strata::clock::now() + 10s}, late{strata::clock::now() - 1s}, cancelled{strata::clock::now() + 10s};
    cancelled.cancelled = true;
    const std::int32_t number = 1;
    CHECK(watch_of_locks{}.ask(wrong, &number, 1, in_time) == std::nullopt);
    CHECK(watch_of_locks{}.ask(s.options(), &number, 1, late) == std::nullopt);
    CHECK(watch_of_locks{}.ask(s.options(), &number, 1, cancelled) == std::nullopt);
    watch_of_locks watch;
    CHECK(watch.ask(s.options(), &number, 1, in_time) == std::size_t{0});
    s.admin().execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%wait_event_type%' and pid <> pg_backend_pid()"_sql());
    CHECK(watch.ask(s.options(), &number, 1, in_time) == std::nullopt);
    PGconn* const handle = ::PQconnectdb(server_url().c_str());
    CHECK(watch_of_locks{}.ask({.handle = handle}, &number, 1, in_time) == std::nullopt);
    ::PQfinish(handle);
}

TEST_CASE("a pool whose callers wait for a lock does not grow; where nobody asks who waits, it does", "[postgres][pool][locks]") {
    server s;
    make_row(s);
    const bool asks = GENERATE(true, false);
    const bool whole_table = GENERATE(true, false);  // then all who wait are let go together: a larger pool would serve more of them
    if (STRATA_TEST_SANITIZED && !asks) return;      // what is slow for other reasons does not show it
    const auto held = asks ? std::chrono::milliseconds{50} : std::chrono::milliseconds{10};
    const auto planner = std::make_shared<strata::adaptive_planner>(strata::planner_options{
        .sizing = strata::sizing_options{.min = 2, .max = 16, .period = 100ms, .samples = 10}, .ask_for_locks = asks});
    strata::postgres_options o = s.options();
    o.application_name = "strata-locks-" + s.schema();
    strata::database<plain_stack> db{o, strata::pool_options{.min_size = 4, .max_size = 16, .planner = planner}};
    db.source().resize(4);
    const auto sessions = [&] {
        return s.admin().one<std::int64_t>("select count(*) from pg_stat_activity where application_name = :name"_sql(o.application_name));
    };
    {
        strata::database<plain_stack> other{s.options(), server::one()};
        const crowd holders{whole_table ? 2 : 1, [&] {
                                other.transaction([&](auto& tx) {
                                    if (whole_table)
                                        tx.execute("lock table row_1 in access exclusive mode"_sql());
                                    else
                                        tx.template one<int>(lock_row());
                                    std::this_thread::sleep_for(held);
                                });
                            }};
        const crowd callers{20, [&] {
                                if (whole_table)
                                    static_cast<void>(db.try_one<int>("select id from row_1"_sql()));
                                else
                                    static_cast<void>(db.try_one<int>(share_row()));
                            }};
        if (asks) {
            CHECK(comes_true([&] { return planner->decision().reason == strata::sizing_reason::locks; }));
            std::size_t most = 0;
            double waits = 0;
            for (int i = 0; i < 40; ++i) {
                std::this_thread::sleep_for(std::chrono::milliseconds{50});
                most = std::max(most, db.connections().open);
                waits = std::max(waits, planner->decision().lock_waits);
            }
            CHECK(most <= (STRATA_TEST_SANITIZED ? 6u : 4u));
            CHECK(waits > 2.5);
            CHECK(waits <= 4);
            CHECK(sessions() == 5);  // one to ask
        } else {
            CHECK(comes_true([&] { return db.connections().open > 4; }));
            CHECK(planner->decision().lock_waits == 0);
            CHECK(sessions() <= 16);
        }
    }
    CHECK(comes_true([&] { return sessions() == static_cast<std::int64_t>(db.connections().open); }));  // nobody asks any more
}
