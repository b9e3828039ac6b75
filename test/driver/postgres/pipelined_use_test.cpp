// Shared connections from outside: what shares and what does not, who gives up, what is refused, and how it all ends.
#include "pipelined_fixture.hpp"

#include <strata/async.hpp>
#include <strata/copy.hpp>
#include <strata/pipeline.hpp>
#include <strata/policy/circuit_breaker.hpp>
#include <strata/policy/metrics.hpp>
#include <strata/policy/retry.hpp>
#include <strata/policy/total_timeout.hpp>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <algorithm>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <set>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

using db1 = strata::database<shared_stack<1>>;

constexpr auto balance_of = "select balance from account where id = :id"_sql;

/// The bank, with a lock on account 1 while somebody holds it: who updates that account waits on the server, and all behind him.
template <class Stack = shared_stack<1>>
struct shared_bank {
    bank<> b{9};
    strata::database<Stack> db;
    std::optional<decltype(b.db.begin())> holder;

    template <class... Options>
    explicit shared_bank(strata::pipelined_options p = {}, const Options&... o)
        : db(b.in.options(), patient(p), strata::pool_options{.min_size = 1, .max_size = 3}, o...) {}
    /// Nothing moves to the pool because it was slow: here it is by intention, or by a machine that is busy.
    static strata::pipelined_options patient(strata::pipelined_options p) {
        p.slow = {};
        return p;
    }
    void hold() {
        holder.emplace(b.db.begin());
        holder->execute(add_balance(0, 1));
    }
    void let_go() {
        holder->commit();
        holder.reset();
    }
    [[nodiscard]] int waiting_for_lock() {
        return b.db.template one<int>(
            "select count(*)::int from pg_stat_activity where wait_event_type = 'Lock' and query like 'update account%'"_sql());
    }
    void until_it_waits() {
        while (waiting_for_lock() == 0) std::this_thread::yield();
    }
};

template <class T = std::int64_t>
auto note(ending& e) {
    return [&e](std::exception_ptr p, T value) {
        ++e.times;
        if (p)
            e.fail(p);
        else if constexpr (std::is_same_v<T, strata::execution>)
            e.value = std::to_string(value.affected);
        else if constexpr (std::is_same_v<T, std::string>)
            e.value = value;
        else
            e.value = std::to_string(value);
    };
}

template <class Adb>
std::vector<std::string> transactions_of(asio::io_context& io, Adb& adb, std::size_t n) {
    std::vector<ending> got(n);
    for (ending& e : got) adb.template async_one<std::string>(transaction_name(), note<std::string>(e));
    io.run();
    io.restart();
    std::vector<std::string> names;
    for (const ending& e : got) names.push_back(e.value);
    return names;
}
std::size_t different(const std::vector<std::string>& all) {
    return std::set<std::string>(all.begin(), all.end()).size();
}

}  // namespace

TEST_CASE("reads that leave together share a transaction, as many as may", "[postgres][pipelined]") {
    server in;
    db1{in.options(), server::one()}.execute(view_of_transactions());
    struct line {
        std::size_t sharing, calls, transactions;
    };
    for (const line l : {line{64, 30, 1}, line{1, 30, 30}, line{7, 30, 5}, line{30, 30, 1}, line{29, 30, 2}}) {
        db1 db{in.options(), strata::pipelined_options{.max_sharing = l.sharing, .slow = {}}, server::one()};
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        static_cast<void>(transactions_of(io, adb, 1));  // prepared from now on
        INFO("max_sharing " << l.sharing);
        const std::vector<std::string> names = transactions_of(io, adb, l.calls);
        CHECK(different(names) == l.transactions);
        for (std::size_t i = 0; i < l.calls; ++i) CHECK(names[i] == names[i / l.sharing * l.sharing]);
    }
}

TEST_CASE("reads that would notice do not share a transaction", "[postgres][pipelined]") {
    server in;
    strata::postgres_options strict = in.options();
    strict.connection += "%20-cdefault_transaction_isolation%3Drepeatable%5C%20read";
    db1 usual{in.options(), server::one()}, stricter{strict, server::one()};
    usual.execute(view_of_transactions());
    const auto times = [](db1& db, const auto& statement) {
        asio::io_context io;
        auto adb = db.async(io.get_executor());
        std::vector<ending> got(11);
        for (int again = 0; again < 2; ++again) {
            for (ending& e : got) {
                e = {};
                adb.async_one<std::string>(statement(), note<std::string>(e));
            }
            io.run();
            io.restart();
        }
        std::vector<std::string> all;
        for (const ending& e : got) {
            CHECK(e.code == errc::ok);
            all.push_back(e.value);
        }
        return different(all);
    };
    CHECK(times(usual, transaction_name) == 1);
    CHECK(times(stricter, transaction_name) == 11);
    CHECK(times(usual, "select to_char(now(), 'HH24:MI:SS.US')"_sql) > 1);
    CHECK(times(usual,
                "select virtualtransaction from pg_locks where pid = pg_backend_pid() and locktype = 'virtualxid'"_sql.idempotent()) == 11);
}

TEST_CASE("each write has a transaction of its own, and parts the reads before it from those behind", "[postgres][pipelined]") {
    server in;
    db1 db{in.options(), server::one()};
    db.execute(view_of_transactions());
    db.execute("create table seen (id bigint, transaction xid8 default pg_current_xact_id())"_sql());
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    constexpr auto put = "insert into seen (id) values (:id)"_sql;
    static_cast<void>(transactions_of(io, adb, 1));
    adb.async_execute(put(0), [](std::exception_ptr e, strata::execution) { CHECK(e == nullptr); });
    io.run();
    io.restart();
    std::vector<ending> reads(9);
    for (int i = 0; i < 9; ++i) {
        adb.async_one<std::string>(transaction_name(), note<std::string>(reads[static_cast<std::size_t>(i)]));
        if (i % 3 == 2) {
            adb.async_execute(put(i), [](std::exception_ptr e, strata::execution) { CHECK(e == nullptr); });
            adb.async_execute(put(i), [](std::exception_ptr e, strata::execution) { CHECK(e == nullptr); });
        }
    }
    io.run();
    CHECK(db.one<int>("select count(*)::int from seen"_sql()) == 7);
    CHECK(db.one<int>("select count(distinct transaction)::int from seen"_sql()) == 7);
    for (std::size_t i = 0; i < 9; ++i) CHECK(reads[i].value == reads[i / 3 * 3].value);
    CHECK(different({reads[0].value, reads[3].value, reads[6].value}) == 3);
}

TEST_CASE("a read never sees half of a write, and sees what was committed before it", "[postgres][pipelined]") {
    shared_bank<> s;
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    // Two rows at once, their sum stays; each read asks for both.
    constexpr auto move = "update account set balance = balance + case id when 1 then -:n::int8 else :n end where id in (1, 2)"_sql;
    constexpr auto both = "select sum(balance)::int8 from account where id in (1, 2)"_sql;
    constexpr auto first = "select balance from account where id = 1"_sql;
    std::deque<ending> sums, after;
    std::int64_t moved = 0;
    const int rounds = count(300, 900);
    for (int i = 0; i < rounds; ++i) {
        if (i % 3 == 0) {
            moved += i % 2 == 0 ? 9 : -5;
            adb.async_execute(move("n"_arg = i % 2 == 0 ? 9 : -5), [](std::exception_ptr e, strata::execution) { CHECK(e == nullptr); });
        }
        adb.async_one<std::int64_t>(both(), note(sums.emplace_back()));
    }
    for (int i = 0; i < rounds; ++i)  // what is begun after a write has ended sees it
        adb.async_execute(add_balance(i, 3 + i % 7), [&, i](std::exception_ptr e, strata::execution) {
            CHECK(e == nullptr);
            adb.async_one<std::int64_t>("select (balance >= 100 + :added)::int::int8 from account where id = :id"_sql(i, 3 + i % 7),
                                        note(after.emplace_back()));
        });
    io.run();
    for (const ending& e : sums) CHECK(e.value == "200");
    for (const ending& e : after) CHECK(e.value == "1");
    CHECK(after.size() == static_cast<std::size_t>(rounds));
    CHECK(s.db.one<std::int64_t>(first()) == 100 - moved);
}

TEST_CASE("one who gives up in the middle disturbs nobody, wherever he is", "[postgres][pipelined][cancel]") {
    constexpr std::size_t calls = 9, blocked = 3;
    for (const bool by_signal : {true, false})
        for (std::size_t who = blocked; who < calls; ++who) {
            shared_bank<> s;
            asio::io_context io;
            auto adb = s.db.async(io.get_executor());
            CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
            s.hold();
            asio::cancellation_signal signal;
            std::vector<ending> got(calls);
            asio::steady_timer later(io, 30ms);
            bool released = false;
            const auto ended = [&](std::size_t i) {
                return [&, i](std::exception_ptr p, auto value) {
                    if constexpr (std::is_same_v<decltype(value), strata::execution>)
                        note<strata::execution>(got[i])(p, value);
                    else
                        note(got[i])(p, value);
                    if (i != who) return;
                    CHECK_FALSE(released);  // he did not wait for it
                    released = true;
                    s.let_go();
                };
            };
            for (std::size_t i = 0; i < calls; ++i) {
                strata::call_options o;
                if (i == who && !by_signal) o.deadline = 30ms;
                const auto slot = i == who ? signal.slot() : asio::cancellation_slot{};
                const std::int64_t id = static_cast<std::int64_t>(i);
                if (i == blocked)
                    adb.async_execute(add_balance(1, 1), o, asio::bind_cancellation_slot(slot, ended(i)));
                else if (i % 2 == 0)
                    adb.async_execute(add_balance(1, id), o, asio::bind_cancellation_slot(slot, ended(i)));
                else
                    adb.async_one<std::int64_t>(balance_of(id), o, asio::bind_cancellation_slot(slot, ended(i)));
            }
            if (by_signal) later.async_wait([&](auto) { signal.emit(asio::cancellation_type::total); });
            io.run();
            INFO(who << (by_signal ? " is cancelled" : " is out of time") << ": " << got[who]);
            for (std::size_t i = 0; i < calls; ++i) {
                CHECK(got[i].times == 1);
                if (i != who) CHECK(got[i].value == (i % 2 == 0 ? (i == 0 ? "0" : "1") : i == blocked ? "1" : "100"));
            }
            CHECK(got[who].code == (by_signal ? errc::cancelled : errc::timeout));
            const bool wrote = who == blocked || who % 2 == 0;
            CHECK(got[who].did == (wrote ? strata::effect::unknown : strata::effect::none));
            // What was sent is not taken back.
            while (s.b.balance_of(1) != 101) std::this_thread::yield();
            for (std::int64_t i = 4; i < 9; i += 2)
                while (s.b.balance_of(i) != 101) std::this_thread::yield();
            CHECK(s.db.one<std::int64_t>(balance_of(4)) == 101);
            CHECK(s.db.source().shared_snapshot().lost == 0);
            CHECK(s.db.source().shared_snapshot().opened == 1);
        }
}

TEST_CASE("who is cancelled before anything was sent has done nothing", "[postgres][pipelined][cancel]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    std::vector<asio::cancellation_signal> signals(8);
    std::vector<ending> got(8);
    for (std::size_t i = 0; i < 8; ++i)
        adb.async_execute(add_balance(1, 1 + static_cast<std::int64_t>(i)),
                          asio::bind_cancellation_slot(signals[i].slot(), note<strata::execution>(got[i])));
    for (const std::size_t i : {0u, 3u, 7u}) signals[i].emit(asio::cancellation_type::terminal);
    io.run();
    for (std::size_t i = 0; i < 8; ++i) {
        const bool cancelled = i == 0 || i == 3 || i == 7;
        INFO(i << ": " << got[i]);
        CHECK(got[i].times == 1);
        CHECK(got[i].code == (cancelled ? errc::cancelled : errc::ok));
        CHECK(got[i].did == strata::effect::none);
        CHECK(s.b.balance_of(1 + static_cast<std::int64_t>(i)) == (cancelled ? 100 : 101));
    }
    CHECK(s.db.source().shared_snapshot().lost == 0);
}

TEST_CASE("a thread whose time is over goes, and those beside it stay", "[postgres][pipelined][threads]") {
    shared_bank<shared_stack<1, strata::total_timeout>> s{{}, strata::total_timeout_options{.limit = 20s}};
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    std::atomic<int> wrong{0};
    for (int round = 0; round < count(5, 50); ++round) {
        s.hold();
        std::thread blocked([&] {
            const auto r = s.db.try_execute(add_balance(1, 1), {.deadline = 60ms});
            wrong += r.error().code() != errc::timeout || r.error().effect() != strata::effect::unknown;
        });
        s.until_it_waits();
        std::vector<std::thread> behind;
        for (int t = 0; t < 4; ++t)
            behind.emplace_back([&, t] {
                const auto r =
                    s.db.try_one<std::int64_t>(balance_of(2 + t), {.deadline = t == 0 ? strata::duration{20ms} : strata::duration{20s}});
                if (t == 0 && r.has_error() && r.error().code() == errc::timeout)
                    wrong += r.error().effect() != strata::effect::none;
                else
                    wrong += r.value_or(0) != 100;
            });
        blocked.join();
        s.let_go();
        for (std::thread& t : behind) t.join();
        while (s.b.balance_of(1) != 101 + round) std::this_thread::yield();
    }
    CHECK(wrong == 0);
    CHECK(s.db.source().shared_snapshot().lost == 0);
}

TEST_CASE("what does not share has a connection of the pool", "[postgres][pipelined]") {
    server in;
    db1 db{in.options(), strata::pool_options{.min_size = 1, .max_size = 3}};
    const int shared = db.one<int>(shared_backend());
    CHECK(db.one<int>(shared_backend()) == shared);
    CHECK(db.one<int>(exclusive_backend()) != shared);
    strata::statement by_hand{"select pg_backend_pid()"};  // what it is, is known at run time only
    CHECK(db.one<int>(by_hand) != shared);
    CHECK(db.one<int>(exclusive_backend(), {.idempotent = true}) == shared);
    CHECK(db.one<int>("select 1"_sql()) == 1);

    CHECK(db.transaction([](auto& tx) { return tx.template one<int>(shared_backend()); }) != shared);
    auto held = db.begin();
    CHECK(held.one<int>(shared_backend()) != shared);
    held.rollback();
    auto session = db.session();
    CHECK(session.one<int>(shared_backend()) != shared);
    session.execute("set application_name = 'somebody else'"_sql());
    CHECK(db.one<std::string>("select current_setting('application_name')"_sql.idempotent()()) != "somebody else");
    const auto [first, second] = db.pipeline(strata::one<int>(shared_backend()), strata::one<int>(shared_backend()));
    CHECK(first == second);
    CHECK(first != shared);
    int streamed = 0;
    for (const int pid : db.rows<int>(shared_backend())) streamed = pid;
    CHECK(streamed != 0);
    CHECK(streamed != shared);
    int copied = 0;
    db.copy_out<int>(shared_backend(), [&](int pid) { copied = pid; });
    CHECK(copied != 0);
    CHECK(copied != shared);
    db.execute("create table made_by as select pg_backend_pid() as pid"_sql());
    CHECK(db.one<int>("select pid from made_by"_sql()) != shared);
    // A write shares.
    CHECK(db.one<int>("update made_by set pid = pg_backend_pid() returning pid"_sql()) == shared);

    asio::io_context io;
    auto adb = db.async(io.get_executor());
    ending a, b, c;
    adb.async_one<int>(shared_backend(), note<int>(a));
    adb.async_one<int>(exclusive_backend(), note<int>(b));
    adb.async_one<int>(exclusive_backend(), {.idempotent = true}, note<int>(c));
    io.run();
    CHECK(a.value == std::to_string(shared));
    CHECK(b.value != a.value);
    CHECK(c.value == a.value);
    CHECK(db.source().shared_snapshot().open == 1);
}

TEST_CASE("callers beyond the most that may wait are refused as by a pool", "[postgres][pipelined]") {
    shared_bank<shared_stack<1, strata::metrics<>>> s{strata::pipelined_options{.max_waiting = 5}};
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    s.hold();
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    std::vector<ending> got(12);
    adb.async_execute(add_balance(1, 1), note<strata::execution>(got[0]));
    for (std::size_t i = 1; i < 12; ++i) adb.async_one<std::int64_t>(balance_of(3), note(got[i]));
    asio::steady_timer later(io, 50ms);
    later.async_wait([&](auto) { s.let_go(); });
    io.run();
    for (std::size_t i = 0; i < 12; ++i) {
        INFO(i << ": " << got[i]);
        CHECK(got[i].times == 1);
        CHECK(got[i].code == (i < 5 ? errc::ok : errc::pool_exhausted));
        CHECK(got[i].did == strata::effect::none);
    }
    CHECK(got[11].came_to == strata::phase::acquire);
    CHECK(s.db.template policy<strata::metrics<>>().snapshot().refusals() == 7);
    CHECK(s.db.template one<std::int64_t>(balance_of(3)) == 100);
    CHECK(s.db.source().shared_snapshot().lost == 0);
}

TEST_CASE("a shared database is closed with calls under way", "[postgres][pipelined][lifetime]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    s.hold();
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    std::vector<ending> got(6);
    adb.async_execute(add_balance(1, 1), note<strata::execution>(got[0]));
    for (std::size_t i = 1; i < 6; ++i) adb.async_one<std::int64_t>(balance_of(3), note(got[i]));
    std::thread closer([&] {
        s.until_it_waits();
        s.db.close(30ms);
        CHECK(s.db.connections().closed);
        CHECK(s.db.source().shared_snapshot().open == 0);
    });
    ending thread_beside;
    io.run();
    closer.join();
    CHECK(got[0].code == errc::cancelled);
    CHECK(got[0].did == strata::effect::unknown);
    for (std::size_t i = 1; i < 6; ++i) {
        INFO(got[i]);
        CHECK(got[i].times == 1);
        CHECK(got[i].code == errc::cancelled);
        CHECK(got[i].did == strata::effect::none);
    }
    s.let_go();
    CHECK(s.db.try_one<std::int64_t>(balance_of(2)).error().code() == errc::shutting_down);
    CHECK(s.db.try_execute(add_balance(1, 1)).error().code() == errc::shutting_down);
    io.restart();
    ending late;
    adb.async_one<std::int64_t>(balance_of(3), note(late));
    io.run();
    CHECK(late.code == errc::shutting_down);
}

TEST_CASE("closing lets what is under way end within the grace", "[postgres][pipelined][lifetime]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    s.hold();
    std::vector<std::thread> crowd;
    std::atomic<int> well{0};
    crowd.emplace_back([&] { well += s.db.try_execute(add_balance(1, 1)).has_value(); });
    s.until_it_waits();
    for (int t = 0; t < 3; ++t) crowd.emplace_back([&] { well += s.db.try_one<std::int64_t>(balance_of(3)).has_value(); });
    while (s.db.source().shared().load() != 4) std::this_thread::yield();
    std::thread closer([&] { s.db.close(20s); });
    std::this_thread::sleep_for(20ms);
    s.let_go();
    closer.join();
    for (std::thread& t : crowd) t.join();
    CHECK(well == 4);
    CHECK(s.db.source().shared_snapshot().open == 0);
}

TEST_CASE("the database may go before its calls have ended, and before the context", "[postgres][pipelined][lifetime]") {
    server in;
    asio::io_context io;
    auto own = std::make_unique<db1>(in.options(), server::one());
    auto adb = own->async(io.get_executor());
    std::vector<ending> got(20);
    for (ending& e : got) adb.async_one<std::int64_t>("select 7::int8"_sql(), note(e));
    own.reset();
    io.run();
    for (const ending& e : got) CHECK(e.value == "7");
}

TEST_CASE("the context may go with calls under way, at any stage, and the connection stays", "[postgres][pipelined][lifetime]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    for (const int stage : {0, 1, 2, 3}) {
        s.hold();
        {
            asio::io_context dies;
            auto adb = s.db.async(dies.get_executor());
            const auto never = [](std::exception_ptr, auto) { FAIL("it cannot end"); };
            adb.async_execute(add_balance(1, 1), never);
            for (int i = 0; i < 5; ++i)
                adb.async_one<std::int64_t>(balance_of(2), {.deadline = i % 2 == 0 ? strata::duration{1h} : strata::duration{}}, never);
            if (stage == 1) dies.poll_one();
            if (stage == 2) dies.poll();
            if (stage == 3) dies.run_for(20ms);
        }
        s.let_go();
        CHECK(s.db.source().shared().load() == 0);
        CHECK(s.db.one<std::int64_t>(balance_of(3)) == 100);
    }
    CHECK(s.db.source().shared_snapshot().lost == 0);
    CHECK(s.db.source().shared_snapshot().opened == 1);
}

TEST_CASE("a context that goes leaves the others their answers", "[postgres][pipelined][lifetime]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    for (const bool first : {true, false}) {  // who leads
        s.hold();
        auto dies = std::make_unique<asio::io_context>();
        asio::io_context lives;
        ending write, read;
        const auto begin_there = [&] {
            auto adb = s.db.async(dies->get_executor());
            for (int i = 0; i < 3; ++i)
                adb.async_one<std::int64_t>(balance_of(2), [](std::exception_ptr, std::int64_t) { FAIL("it cannot end"); });
            dies->poll();
        };
        auto adb = s.db.async(lives.get_executor());
        if (!first) {
            adb.async_execute(add_balance(1, 1), {.deadline = 20s}, note<strata::execution>(write));
            lives.poll();
        }
        if (first)
            s.db.async(dies->get_executor()).async_execute(add_balance(1, 1), [](std::exception_ptr, strata::execution) {
                FAIL("it cannot end");
            });
        begin_there();
        if (first) adb.async_execute(add_balance(1, 1), {.deadline = 20s}, note<strata::execution>(write));
        adb.async_one<std::int64_t>(balance_of(4), {.deadline = 20s}, note(read));
        lives.poll();
        dies.reset();
        s.let_go();
        lives.run();
        CHECK(write.value == "1");
        CHECK(read.value == "100");
    }
    CHECK(s.db.source().shared_snapshot().opened == 1);
}

TEST_CASE("who is cancelled where another loop has taken the lead meanwhile", "[postgres][pipelined][cancel][lifetime]") {
    shared_bank<> s;
    CHECK(s.db.one<std::int64_t>(balance_of(2)) == 100);
    CHECK(s.db.execute(add_balance(0, 2)).affected == 1);  // prepared from now on
    s.hold();
    asio::io_context one, other;
    auto in_one = s.db.async(one.get_executor()), in_other = s.db.async(other.get_executor());
    asio::cancellation_signal signal;
    ending write, read;
    in_one.async_execute(add_balance(1, 1), asio::bind_cancellation_slot(signal.slot(), note<strata::execution>(write)));
    one.poll();  // it leads
    in_other.async_one<std::int64_t>(balance_of(3), note(read));
    other.poll();
    CHECK(s.db.try_one<std::int64_t>(balance_of(4), {.deadline = 30ms}).error().code() == errc::timeout);  // who blocks led meanwhile
    other.poll();
    signal.emit(asio::cancellation_type::terminal);
    one.run();
    CHECK(write.code == errc::cancelled);
    CHECK(write.did == strata::effect::unknown);
    s.let_go();
    other.run();
    CHECK(read.value == "100");
    CHECK(s.db.source().shared_snapshot().lost == 0);
}

TEST_CASE("metrics see each statement by itself", "[postgres][pipelined]") {
    shared_bank<shared_stack<1, strata::metrics<>>> s;
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    int well = 0, failed = 0;
    for (int i = 0; i < 60; ++i) {
        const auto ended = [&](std::exception_ptr p, auto) { ++(p ? failed : well); };
        if (i % 6 == 5)
            adb.async_execute(insert_account(1, "twice", 1), ended);
        else if (i % 6 == 2)
            adb.async_one<std::int64_t>("select 1 / (:i::int8 - :i)"_sql("i"_arg = i), ended);
        else if (i % 6 == 3)
            adb.async_execute(add_balance(1, 2), ended);
        else
            adb.async_one<std::int64_t>(balance_of(1), ended);
    }
    io.run();
    CHECK(well == 40);
    CHECK(failed == 20);
    const strata::metrics_snapshot m = s.db.template policy<strata::metrics<>>().snapshot();
    CHECK(m.total() == 60);
    CHECK(m.count(strata::outcome_class::ok) == 40);
    CHECK(m.count(strata::operation_kind::read) == 40);
    CHECK(m.count(strata::operation_kind::write) == 20);
    CHECK(m.latency.count() == 60);
    CHECK(m.retries == 0);
    CHECK(m.abandoned == 0);
}

TEST_CASE("a retry repeats the failing statement only, out of its budget", "[postgres][pipelined]") {
    using stack = shared_stack<1, strata::metrics<>, strata::retry<>>;
    shared_bank<stack> s{{}, strata::retry_options{.max_attempts = 3, .base = 1us, .budget = 10, .refund = 0}};
    s.b.db.execute("create sequence tries"_sql());
    s.b.db.execute(strata::statement{
        "create function fail_twice() returns int8 language plpgsql as $$ begin if nextval('tries') < 3 then raise exception 'not "
        "yet' using errcode = '40001'; end if; return 5; end $$"});
    s.b.db.execute(
        strata::statement{"create function fail_always() returns int8 language plpgsql as $$ begin raise exception 'never' using errcode = "
                          "'40001'; end $$"});
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    std::vector<ending> got(11);
    for (std::size_t i = 0; i < 11; ++i) {
        if (i == 4)
            adb.async_one<std::int64_t>("select fail_twice()"_sql.idempotent()(), note(got[i]));
        else if (i == 8)
            adb.async_one<std::int64_t>("select fail_always()"_sql.idempotent()(), note(got[i]));
        else if (i % 2 == 0)
            adb.async_one<std::int64_t>(balance_of(2), note(got[i]));
        else
            adb.async_execute(add_balance(1, 1), note<strata::execution>(got[i]));
    }
    io.run();
    for (std::size_t i = 0; i < 11; ++i) {
        INFO(i << ": " << got[i]);
        if (i == 4)
            CHECK(got[i].value == "5");
        else if (i == 8)
            CHECK(got[i].code == errc::serialization_failure);
        else
            CHECK(got[i].value == (i % 2 == 0 ? "100" : "1"));
    }
    CHECK(s.b.balance_of(1) == 105);
    CHECK(s.db.template policy<strata::metrics<>>().snapshot().total() == 11);
    CHECK(s.db.template policy<strata::metrics<>>().snapshot().retries == 4);
    CHECK(s.db.template policy<strata::retry<>>().snapshot().repeats == 4);
    CHECK(s.db.template policy<strata::retry<>>().snapshot().tokens == 6);
    CHECK(s.db.template one<std::int64_t>("select last_value from tries"_sql()) == 3);
}

TEST_CASE("a breaker counts the failing statements, not those that the server skipped", "[postgres][pipelined]") {
    using stack = shared_stack<1, strata::circuit_breaker<>>;
    const strata::circuit_breaker_options by_zero{
        .consecutive_failures = 3,
        .open_time = 30s,
        .judge = [](const strata::error& e, strata::condition_traits usual) noexcept -> strata::condition_traits {
            return e.has_texts() && e.texts().native_code == "22012" ? strata::condition_traits{false, strata::health_sign::ill} : usual;
        }};
    shared_bank<stack> s{{}, by_zero};
    asio::io_context io;
    auto adb = s.db.async(io.get_executor());
    const auto batch = [&](std::vector<bool> failing) {
        std::vector<ending> got(failing.size());
        for (std::size_t i = 0; i < failing.size(); ++i) {
            if (failing[i])
                adb.async_one<std::int64_t>("select 1 / (:i::int8 - :i)"_sql("i"_arg = static_cast<std::int64_t>(i)), note(got[i]));
            else
                adb.async_one<std::int64_t>(balance_of(2), note(got[i]));
        }
        io.run();
        io.restart();
        for (std::size_t i = 0; i < failing.size(); ++i) CHECK((got[i].code == errc::ok) != failing[i]);
    };
    auto& breaker = s.db.template policy<strata::circuit_breaker<>>();
    batch({true, false, true, false, true, false, false, true, true, false});
    CHECK(breaker.snapshot().state == strata::circuit_state::closed);
    CHECK(breaker.snapshot().failures == 5);
    batch({false, false, true, true, true});
    CHECK(breaker.snapshot().state == strata::circuit_state::open);
    CHECK(breaker.snapshot().failures == 8);
    CHECK(s.db.template try_one<std::int64_t>(balance_of(2)).error().code() == errc::circuit_open);
    CHECK(s.db.source().shared_snapshot().lost == 0);
}

TEST_CASE("a value that makes no sense is named", "[postgres][pipelined][options]") {
    const auto why = [](const strata::pipelined_options& o, strata::postgres_options p = {.connection = server_url()}) -> std::string {
        try {
            const db1 db{p, o, strata::pool_options{.min_size = 0, .max_size = 2}};
        } catch (const strata::failure& f) {
            INFO(f.what());
            CHECK(f.code() == errc::invalid_argument);
            return f.error().message();
        }
        return "none";
    };
    CHECK(why({}) == "none");
    CHECK_THAT(why({.groups = 0}), contains_text("pipelined_options.groups"));
    CHECK_THAT(why({.groups = 257}), contains_text("pipelined_options.groups"));
    CHECK_THAT(why({.max_in_flight = 0}), contains_text("pipelined_options.max_in_flight"));
    CHECK_THAT(why({.max_in_flight = 65'537}), contains_text("pipelined_options.max_in_flight"));
    CHECK_THAT(why({.max_bytes = 0}), contains_text("pipelined_options.max_bytes"));
    CHECK_THAT(why({.max_sharing = 0}), contains_text("pipelined_options.max_sharing"));
    CHECK_THAT(why({.max_waiting = 0}), contains_text("pipelined_options.max_waiting"));
    CHECK_THAT(why({.slow = -1ms}), contains_text("pipelined_options.slow"));
    CHECK_THAT(why({.apart_for = 0ms}), contains_text("pipelined_options.apart_for"));
    CHECK(why({.groups = 256, .max_in_flight = 65'536, .max_bytes = 1, .max_sharing = 1}) == "none");
    CHECK_THAT(why({}, {.connection = server_url(), .prepare = false}), contains_text("pipelined needs postgres_options.prepare"));
    CHECK((strata::pipelined_options{} == strata::pipelined_options{}));
    CHECK_FALSE((strata::pipelined_options{} == strata::pipelined_options{.max_sharing = 2}));
}

TEST_CASE("groups and connections within them are as many as was said", "[postgres][pipelined]") {
    server in;
    strata::database<shared_stack<2>> db{in.options(), strata::pipelined_options{.groups = 2, .slow = {}},
                                         strata::pool_options{.min_size = 1, .max_size = 2}};
    std::mutex guard;
    std::set<int> pids;
    std::map<int, std::set<int>> of_thread;
    std::vector<std::thread> crowd;
    for (int t = 0; t < 4; ++t)
        crowd.emplace_back([&, t] {
            asio::io_context io;
            auto adb = db.async(io.get_executor());
            std::vector<ending> got(40);
            for (ending& e : got) adb.async_one<int>(shared_backend(), note<int>(e));
            io.run();
            const std::lock_guard hold(guard);
            for (const ending& e : got) {
                pids.insert(std::stoi(e.value));
                of_thread[t].insert(std::stoi(e.value));
            }
        });
    for (std::thread& t : crowd) t.join();
    CHECK(pids.size() == 4);
    for (const auto& [t, own] : of_thread) CHECK(own.size() == 2);  // the least loaded of its group
    CHECK(db.source().shared_snapshot().open == 4);
    CHECK(db.connections().open <= 2);
}

TEST_CASE("shared connections are retired, suspended and resumed like others", "[postgres][pipelined]") {
    server in;
    db1 db{in.options(), server::one()};
    const int before = db.one<int>(shared_backend());
    db.source().retire_all();
    const int after = db.one<int>(shared_backend());
    CHECK(after != before);
    db.source().suspend();
    CHECK(db.try_one<int>(shared_backend(), {.deadline = 30ms}).error().code() == errc::timeout);
    db.source().resume();
    CHECK(db.one<int>(shared_backend()) != 0);
    CHECK(db.drain(5s));
    db.source().resume();
    CHECK(db.one<int>(shared_backend()) != 0);
    CHECK_FALSE(db.source().rotate(in.options()));
    CHECK(db.one<int>(shared_backend()) != 0);
    CHECK(db.source().shared_snapshot().lost == 0);
    CHECK(db.source().shared_snapshot().open == 1);
}

TEST_CASE("pipelined refuses a pooler in transaction mode", "[postgres][pipelined][pgbouncer]") {
    const char* const url = std::getenv("STRATA_TEST_PGBOUNCER");
    if (url == nullptr) {
        WARN("STRATA_TEST_PGBOUNCER names no pgbouncer: this is left out");
        return;
    }
    std::string said;
    try {
        db1 db{strata::postgres_options{.connection = url}, server::one()};
        static_cast<void>(db.one<int>("select 1"_sql()));
    } catch (const strata::failure& f) {
        said = f.what();
        CHECK((f.code() == errc::invalid_argument || f.code() == errc::unsupported || f.code() == errc::cannot_connect));
    }
    CHECK_THAT(said, contains_text("pooler"));
    db1 known{strata::postgres_options{.connection = url}, server::one(), strata::pipelined_options{.through_pooler = true}};
    CHECK(known.try_one<int>(exclusive_backend()).has_value());
}
