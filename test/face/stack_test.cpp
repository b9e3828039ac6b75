// A whole stack over SQLite: faults are repeated, counted and refused as each layer says; lanes, queues and the end.
#include <face/fixture.hpp>

using namespace strata_test;

namespace {

using strata::circuit_state;
using strata::outcome_class;

constexpr strata::retry_options at_once{.max_attempts = 3, .base = {}, .cap = {}, .budget = 0};
constexpr strata::circuit_breaker_options tripped_by_four{.consecutive_failures = 4, .open_time = 1h, .max_open_time = 1h};

/// Keeps the priority of the latest operation.
struct priority_seen {
    static constexpr auto place = strata::place::attempt;
    static constexpr bool asks_priority = true;
    strata::priority last = strata::priority::normal;
    void admit(auto& op, strata::no_frame&) { last = op.priority; }
};

}  // namespace

TEST_CASE("a call's priority reaches the layers that ask for it", "[face][stack]") {
    using strata::priority;
    bank<strata::stack<priority_seen, strata::pool<>, strata::sqlite>> b;
    const auto seen = [&] { return b.db.policy<priority_seen>().last; };
    for (const priority p : {priority::high, priority::low, priority::normal}) {
        const strata::call_options o{.priority = p};
        b.db.execute(insert_account(10 + static_cast<int>(p), "Ada " + std::to_string(10 + static_cast<int>(p)), 1), o);
        CHECK(seen() == p);
        b.db.execute(insert_account(20 + static_cast<int>(p), "Ada " + std::to_string(20 + static_cast<int>(p)), 1));
        CHECK(seen() == priority::normal);
        CHECK(b.db.all<account>(all_accounts, o).size() >= 2);
        CHECK(seen() == p);
        b.db.transaction([](auto&) {}, {.priority = p});
        CHECK(seen() == p);
    }
}

TEST_CASE("a passing fault is repeated, counted, and unseen by the caller", "[face][stack]") {
    bank<full_stack> b{at_once};
    auto& chaos = b.db.policy<strata::chaos>();
    auto& metrics = b.db.policy<strata::metrics<>>();
    const auto before = metrics.snapshot();
    chaos.set_rate(1);

    const auto r = b.db.try_execute(insert_account(1, "Ada", 1));
    REQUIRE(!r);
    CHECK(r.error().code() == errc::busy);
    CHECK(r.error().attempts() == 3);
    CHECK(r.error().effect() == strata::effect::none);
    CHECK(chaos.injected() == 3);
    int calls = 0;
    CHECK(b.db.try_transaction([&](auto&) { ++calls; }).error().code() == errc::busy);
    CHECK(b.db.try_execute_many(add_balance, std::vector<std::pair<int, int>>{{1, 1}}).error().attempts() == 3);
    CHECK(failure_of([&] { return b.db.rows<account>(all_accounts).next(); }).attempts() == 3);
    CHECK(b.db.try_begin().error().code() == errc::busy);
    CHECK(calls == 0);

    chaos.set_rate(0.5);
    for (int i = 2; i <= 50; ++i)
        wait_until([&] { return b.db.try_execute(insert_account(i, "owner " + std::to_string(i), 1)).has_value(); });
    chaos.set_rate(0);
    CHECK(b.count() == 49);

    const auto seen = metrics.snapshot().since(before);
    CHECK(seen.total() == seen.count(outcome_class::ok) + seen.count(outcome_class::contention));
    CHECK(seen.total() == seen.latency.count());
    CHECK(seen.count(strata::operation_kind::batch) == 1);
    CHECK(seen.retries == b.db.policy<strata::retry<>>().snapshot().repeats);
    CHECK(seen.retries <= chaos.injected());
    CHECK(seen.retries + seen.count(outcome_class::contention) == chaos.injected());   // each fault was repeated or came out
    CHECK(b.db.policy<strata::circuit_breaker<>>().state() == circuit_state::closed);  // a busy database is alive
    check_at_rest(b.db);
}

TEST_CASE("a breaker opens, refuses without asking anybody, and heals", "[face][stack]") {
    bank<full_stack> b{at_once, strata::circuit_breaker_options{.consecutive_failures = 4, .open_time = 50ms, .max_open_time = 50ms}};
    auto& chaos = b.db.policy<strata::chaos>();
    auto& breaker = b.db.policy<strata::circuit_breaker<>>();
    chaos.set_code(errc::io_error);
    chaos.set_rate(1);
    for (int i = 0; i < 4; ++i) CHECK(b.db.try_one<std::int64_t>(count_accounts).error().code() == errc::io_error);
    const auto refused_before = breaker.snapshot().refused;
    const auto struck = chaos.injected();
    chaos.set_rate(0);

    // Whoever comes now is refused, or is the probe once the time is over; in the end it heals.
    std::uint64_t refused = 0;
    for (;;) {
        const auto r = b.db.try_transaction([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); });
        if (r) break;
        REQUIRE(r.error().code() == errc::circuit_open);
        CHECK(r.error().local());
        ++refused;
    }
    CHECK(breaker.snapshot().refused >= refused_before + refused);
    CHECK(breaker.snapshot().opened == 1);
    CHECK(breaker.state() == circuit_state::closed);
    CHECK(chaos.injected() == struck);
    CHECK(b.db.try_one<std::int64_t>(count_accounts));
    check_at_rest(b.db);
}

TEST_CASE("an open breaker refuses newcomers, but not the commit of a transaction that is open", "[face][stack]") {
    bank<full_stack> b{at_once, tripped_by_four};
    b.fill(1);
    auto& chaos = b.db.policy<strata::chaos>();
    auto& breaker = b.db.policy<strata::circuit_breaker<>>();
    auto& metrics = b.db.policy<strata::metrics<>>();
    auto tx = b.db.begin();
    auto reader = b.db.session({.read_only = true});
    tx.execute(add_balance(1, 1));
    chaos.set_code(errc::connection_lost);
    chaos.set_rate(1);
    // The faults meet whole operations, never the statements inside.
    tx.execute(add_balance(1, 1));
    CHECK(b.db.try_one<std::int64_t>(count_accounts).error().code() == errc::connection_lost);  // three attempts
    const auto second = b.db.try_one<std::int64_t>(count_accounts);                             // one attempt, then refused
    CHECK(second.error().code() == errc::circuit_open);
    CHECK(breaker.state() == circuit_state::open);
    CHECK(chaos.injected() == 4);
    const auto before = metrics.snapshot();
    CHECK(b.db.try_execute(add_balance(1, 1)).error().code() == errc::circuit_open);
    CHECK(b.db.try_begin().error().code() == errc::circuit_open);
    CHECK(b.db.try_session().error().code() == errc::circuit_open);
    CHECK(failure_of([&] { return b.db.rows<account>(all_accounts).next(); }).code() == errc::circuit_open);
    CHECK(b.db.try_execute_many(add_balance, std::vector<std::pair<int, int>>{{1, 1}}).error().code() == errc::circuit_open);
    CHECK(metrics.snapshot().since(before).refusals() == 5);
    CHECK(chaos.injected() == 4);

    tx.execute(add_balance(1, 1));
    tx.commit();
    CHECK(reader.one<std::int64_t>("select balance from account"_sql) == 103);
}

TEST_CASE("a chain of timeouts: the nearer bound ends the call", "[face][stack]") {
    bank<full_stack> b{strata::retry_options{.max_attempts = 2, .base = {}, .cap = {}}, strata::attempt_timeout_options{.limit = 10ms},
                       strata::total_timeout_options{.limit = 1h}};
    // A read that calls no function outside the known pure ones may be repeated after a timeout: each attempt has its own bound.
    const auto r = b.db.try_one<std::int64_t>(endless_query);
    CHECK(r.error().code() == errc::timeout);
    CHECK(r.error().attempts() == 2);
    CHECK(b.db.policy<strata::metrics<>>().snapshot().count(outcome_class::timeout) == 1);
    // The caller's own deadline is nearer than both.
    const auto own = b.db.try_one<std::int64_t>(endless_query, {.deadline = 1ms});
    CHECK(own.error().code() == errc::timeout);
    CHECK(own.error().attempts() == 1);
    // Injected slowness is a timeout too.
    auto& chaos = b.db.policy<strata::chaos>();
    chaos.set_latency(1, 1h);
    CHECK(b.db.try_one<std::int64_t>(count_accounts).error().code() == errc::timeout);
    chaos.set_latency(0, {});
    CHECK(b.count() == 0);
    check_at_rest(b.db);
}

TEST_CASE("waiting for a connection ends as a timeout at the call's deadline, as an exhausted pool at the pool's own limit",
          "[face][stack]") {
    bank<retrying_stack> b{strata::pool_options{.max_size = 1}};
    {
        auto pinned = b.db.session();
        const auto late = b.db.try_execute(add_balance(1, 1), {.deadline = 5ms});
        REQUIRE(!late);
        CHECK(late.error().code() == errc::timeout);
        CHECK(late.error().phase() == strata::phase::acquire);
        CHECK(late.error().local());
        CHECK_THAT(late.error().message(), contains_text("1 of 1"));
        CHECK(b.db.try_begin({.deadline = 5ms}).error().code() == errc::timeout);
        CHECK(failure_of([&] { return b.db.rows<account>(all_accounts, {.deadline = 5ms}).next(); }).code() == errc::timeout);
        CHECK(b.db.connections().timeouts == 3);
    }
    check_at_rest(b.db);

    bank<> impatient{strata::pool_options{.max_size = 1, .max_wait = 5ms, .max_waiting = 1}};
    {
        auto pinned = impatient.db.session();
        const auto r = impatient.db.try_execute(add_balance(1, 1));
        CHECK(r.error().code() == errc::pool_exhausted);
        CHECK(r.error().local());
        CHECK_FALSE(r.error().texts().hint.empty());
        CHECK(impatient.db.try_transaction([](auto&) {}, {.deadline = 1h}).error().code() == errc::pool_exhausted);
    }
    check_at_rest(impatient.db);

    bank<> crowded{strata::pool_options{.max_size = 1, .max_waiting = 0}};
    auto pinned = crowded.db.session();
    CHECK(crowded.db.try_execute(add_balance(1, 1)).error().code() == errc::pool_exhausted);
}

TEST_CASE("callers that wait are served as the connection comes back", "[face][stack]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    std::atomic<int> done{0};
    {
        auto pinned = std::optional{b.db.session()};
        std::vector<std::jthread> crowd;
        for (int i = 0; i < 4; ++i) {
            crowd.emplace_back([&] {
                if (b.db.try_execute(add_balance(1, 1))) ++done;
            });
        }
        wait_until([&] { return b.db.connections().waiting == 4; });
        CHECK(done == 0);
        pinned.reset();
    }
    CHECK(done == 4);
    CHECK(b.balance_of(1) == 104);
    CHECK(b.db.connections().waits == 4);
    check_at_rest(b.db);
}

TEST_CASE("reads go on while a write transaction is open", "[face][stack]") {
    bank<> b{strata::pool_options{.max_size = 3}};
    b.fill(2);
    auto writing = b.db.begin();
    writing.execute(add_balance(50, 1));
    CHECK(b.balance_of(1) == 100);
    {
        auto stream = b.db.rows<account>(all_accounts);
        CHECK(stream.next()->balance == 100);
        CHECK(b.balance_of(2) == 200);  // the second reader
        CHECK(b.db.try_one<std::int64_t>(count_accounts, {.deadline = 1h}));
        writing.commit();
        CHECK(stream.next()->balance == 200);
    }
    CHECK(b.balance_of(1) == 150);
    CHECK(b.db.connections().open == 3);
    check_at_rest(b.db);
}

TEST_CASE("close refuses newcomers", "[face][close]") {
    bank<> b;
    b.fill(1);
    b.db.close();
    CHECK(b.db.try_execute(add_balance(1, 1)).error().code() == errc::shutting_down);
    CHECK(b.db.try_one<std::int64_t>(count_accounts).error().code() == errc::shutting_down);
    CHECK(b.db.try_transaction([](auto&) {}).error().code() == errc::shutting_down);
    CHECK(b.db.try_begin().error().code() == errc::shutting_down);
    CHECK(b.db.try_session().error().code() == errc::shutting_down);
    CHECK(failure_of([&] { return b.db.rows<account>(all_accounts).next(); }).code() == errc::shutting_down);
    CHECK(b.db.connections().open == 0);
    b.db.close();  // once more: nothing
}

TEST_CASE("close waits for what is on its way, and refuses those who wait", "[face][close]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    std::atomic<bool> inside{false};
    std::atomic<int> refused{0};
    std::optional<strata::result<void>> outcome;
    {
        const std::jthread working([&] {
            outcome = b.db.try_transaction([&](auto& tx) {
                inside = true;
                tx.execute(add_balance(1, 1));
                // It goes on until the door is shut, and then some.
                wait_until([&] { return b.db.try_execute(add_balance(1, 1), {.deadline = 1ms}).error().code() == errc::shutting_down; });
                tx.execute(add_balance(1, 1));
            });
        });
        wait_until([&] { return inside.load(); });
        const std::jthread waiting([&] {
            if (b.db.try_execute(add_balance(1000, 1)).error().code() == errc::shutting_down) ++refused;
        });
        wait_until([&] { return b.db.connections().waiting >= 1; });
        b.db.close(1h);
    }
    REQUIRE(outcome.has_value());
    CHECK(*outcome);
    CHECK(refused == 1);
    strata::database<plain_stack> again{b.target};
    CHECK(again.one<std::int64_t>("select balance from account"_sql) == 102);
}

TEST_CASE("close cancels what does not end in time", "[face][close]") {
    bank<> b{strata::pool_options{.max_size = 4}};
    b.fill(1);
    std::atomic<int> busy{0};
    strata::error query, inside, session, stream;
    strata::result<void> loop;
    {
        const std::jthread one([&] {
            ++busy;
            query = b.db.try_one<std::int64_t>(endless_query).error();
        });
        const std::jthread two([&] {
            // Many short statements, whose failures the closure ignores but for its end.
            loop = b.db.try_transaction([&](auto& tx) {
                ++busy;
                while (tx.try_execute(add_balance(1, 1))) {
                }
                inside = tx.try_execute(add_balance(1, 1)).error();
            });
        });
        const std::jthread three([&] {
            auto s = b.db.session({.read_only = true});
            ++busy;
            session = s.try_one<std::int64_t>(endless_query).error();
        });
        const std::jthread four([&] {
            auto rows = b.db.rows<std::int64_t>("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"_sql);
            static_cast<void>(rows.next());
            ++busy;
            for (;;) {
                const auto r = rows.try_next();
                if (!r) {
                    stream = r.error();
                    break;
                }
            }
        });
        wait_until([&] { return busy == 4 && b.db.connections().open == 4 && b.db.connections().idle == 0; });
        b.db.close(0s);
    }
    CHECK(query.code() == errc::cancelled);
    CHECK(inside.code() == errc::cancelled);
    REQUIRE(!loop);
    CHECK(loop.error().code() == errc::cancelled);
    CHECK(loop.error().effect() == strata::effect::rolled_back);
    CHECK(session.code() == errc::cancelled);
    CHECK(stream.code() == errc::cancelled);
    CHECK(b.db.connections().open == 0);
    strata::database<plain_stack> again{b.target};
    CHECK(again.one<std::int64_t>("select balance from account"_sql) == 100);
}
