// The cache and the fallback under calls: what a call asks for, which calls are the same, and where nothing is cached.
#include <support/catch.hpp>

#include <strata/policy/cache.hpp>
#include <strata/policy/fallback.hpp>
#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_database.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <thread>

using namespace std::chrono_literals;
using namespace strata::literals;
using strata::errc;
using task = strata::simulated_task<>;

namespace {

struct account {
    std::int64_t id = 0;
    std::string owner;
};

using bank = strata::stack<strata::metrics<>, strata::fallback<>, strata::cache<>, strata::total_timeout, strata::retry<>, strata::pool<>,
                           strata::scripted>;
using cache = strata::cache<>;
using fallback = strata::fallback<>;

constexpr auto get = "select x from t where id = :id"_sql.named("get");
constexpr auto other = "select y from t where id = :id"_sql.named("other");
constexpr auto all = "select id, owner from account"_sql.named("all");
constexpr auto now = "select now()"_sql.idempotent().named("now");

struct fixture {
    explicit fixture(strata::cache_options o = {.jitter = 0}, strata::fallback_options instead = {})
        : db(world, strata::scripted_options{script}, strata::retry_options{.max_attempts = 1}, o, instead) {
        script.on(get).takes(5ms).returns(7);
        script.on(other).returns(8);
        script.on(now).returns(9);
        script.on(all).columns({"id", "owner"}).rows({{1, "ada"}, {2, "a name that is too long to lie within a string"}});
    }
    [[nodiscard]] std::size_t asked() const { return script.calls().size(); }
    [[nodiscard]] auto counts() { return db.policy<cache>().snapshot(); }
    [[nodiscard]] auto used() { return db.policy<fallback>().snapshot().used; }

    strata::script script;
    strata::simulated_world world;
    strata::database<bank, strata::simulated_world> db;
};

}  // namespace

BOOST_HANA_ADAPT_STRUCT(account, id, owner);

TEST_CASE("a call is answered by the cache where it asks for it", "[cache]") {
    fixture f;
    CHECK(f.db.one<int>(cached(get(1))) == 7);
    CHECK(f.db.one<int>(cached(get(1))) == 7);
    CHECK(f.db.try_one<int>(cached(get(1))).value() == 7);
    CHECK(f.asked() == 1);
    CHECK(f.db.one<int>(get(1)) == 7);
    CHECK(f.asked() == 2);
    CHECK(f.counts().hits == 2);
    CHECK(f.counts().misses == 1);
    CHECK(f.db.policy<strata::metrics<>>().snapshot().operations[0][0] == 4);  // what was answered counts too

    const auto rows = f.db.all<account>(cached(all));
    const auto again = f.db.all<account>(cached(all));
    REQUIRE(again.size() == 2);
    CHECK(again[1].id == 2);
    CHECK(again[1].owner == rows[1].owner);
    CHECK(f.db.maybe_one<int>(cached(now)) == 9);
    CHECK(f.db.maybe_one<int>(cached(now)) == 9);
    CHECK(f.asked() == 4);
}

TEST_CASE("calls are the same by statement, arguments, type of the result and what they ask for", "[cache]") {
    fixture f;
    std::size_t before = 0;
    // Each is asked for twice: the first time it is new, the second time it is not.
    const auto is_one_more = [&](auto&& call) {
        call();
        const bool is_new = f.asked() == before + 1;
        call();
        const bool is_kept = f.asked() == before + 1;
        before = f.asked();
        return is_new && is_kept;
    };
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(2))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(other(1))); }));
    CHECK(is_one_more([&] { f.db.one<std::int64_t>(cached(get(1))); }));
    CHECK(is_one_more([&] { f.db.maybe_one<int>(cached(get(1))); }));
    CHECK(is_one_more([&] { f.db.all<int>(cached(get(1))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(true))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1.0))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get("1"))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(std::optional<int>{}))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(strata::blob{std::byte{'1'}}))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get("id"_arg.as("text") = "1"))); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1), {.ttl = 1h})); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1), {.tags = {"a"}})); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1), {.tags = {"b"}})); }));
    CHECK(is_one_more([&] { f.db.one<int>(cached(get(1), {.tags = {"a", "b"}})); }));
    const int one = 1;
    f.db.one<int>(cached(get("id"_arg = one)));  // by name, by reference
    CHECK(f.asked() == before);
    CHECK(f.counts().entries == before);
}

TEST_CASE("statements made at run time are cached where they are reads that may be repeated", "[cache]") {
    fixture f;
    const auto make = [](std::string_view text) { return strata::statement{text}; };
    const std::string text = "select x from t where id = :id";
    CHECK(f.db.one<int>(cached(make(text).set("id"_arg = 1))) == 7);
    CHECK(f.db.one<int>(cached(make(text).set("id"_arg = 1))) == 7);
    CHECK(f.asked() == 1);
    CHECK(f.db.one<int>(cached(make(text).set("id"_arg = 2))) == 7);
    CHECK(f.asked() == 2);
    f.script.on("update t set x = 1 returning x").returns(1);
    for (int i = 0; i < 2; ++i) CHECK(f.db.one<int>(cached(make("update t set x = 1 returning x"))) == 1);
    CHECK(f.asked() == 4);
    f.script.on("select random()").returns(1);
    for (int i = 0; i < 2; ++i) CHECK(f.db.one<int>(cached(make("select random()"))) == 1);
    CHECK(f.asked() == 6);
    for (int i = 0; i < 2; ++i) CHECK(f.db.one<int>(cached(make("select random()").set_idempotent())) == 1);
    CHECK(f.asked() == 7);
    const auto wrong = f.db.try_one<int>(cached(make("select ' ")));
    CHECK(wrong.error().code() == errc::invalid_statement);
}

TEST_CASE("a call whose argument cannot be written is not looked up", "[cache]") {
    fixture f;
    const std::uint64_t big = ~std::uint64_t{0};
    for (int i = 0; i < 2; ++i) CHECK_FALSE(f.db.try_one<int>(cached(get(big))).has_value());
    CHECK(f.counts().misses + f.counts().hits == 0);
}

TEST_CASE("in transactions, sessions and behind any_session the database is asked", "[cache]") {
    fixture f;
    CHECK(f.db.one<int>(cached(get(1))) == 7);
    std::size_t before = f.asked();
    f.db.transaction([&](auto& tx) {
        CHECK(tx.template one<int>(cached(get(1))) == 7);
        tx.transaction([&](auto& inner) { CHECK(inner.template one<int>(cached(get(1))) == 7); });
    });
    CHECK(f.asked() == before + 6);  // begin, savepoint, release, commit
    before = f.asked();
    auto session = f.db.session();
    CHECK(session.one<int>(cached(get(1))) == 7);
    strata::any_session any{f.db};
    CHECK(any.one<int>(cached(get(1))) == 7);
    CHECK(f.asked() == before + 2);
    CHECK(f.counts().hits == 0);
    CHECK(f.counts().misses == 1);
}

TEST_CASE("clients that miss together ask once, and each has a deadline of its own", "[cache]") {
    fixture f;
    strata::simulated_database<bank> db{f.db};
    int sum = 0, late = 0;
    for (int i = 0; i < 10; ++i) f.world.spawn("client", [&]() -> task { sum += co_await db.one<int>(cached(get(1))); });
    f.world.spawn("hurried", [&]() -> task {
        const auto r = co_await db.try_one<int>(cached(get(1)), {.deadline = 2ms});
        late += r.has_error() && r.error().code() == errc::timeout ? 1 : 0;
    });
    auto cancelled = f.world.spawn("cancelled", [&]() -> task {
        const auto r = co_await db.try_one<int>(cached(get(1)));
        late += r.has_error() && r.error().code() == errc::cancelled ? 1 : 0;
    });
    f.world.spawn("canceller", [&]() -> task {
        co_await f.world.sleep(1ms);
        cancelled.cancel();
    });
    f.world.run();
    CHECK(sum == 70);
    CHECK(late == 2);
    CHECK(f.asked() == 1);
    CHECK(f.counts().joined == 9);
}

TEST_CASE("the turn passes on when the one that fetches is cancelled, destroyed or fails", "[cache]") {
    const int how = GENERATE(0, 1, 2);
    fixture f;
    strata::simulated_database<bank> db{f.db};
    if (how == 2) f.script.on(get).takes(3ms).fails(errc::io_error).times(1);
    int sum = 0;
    auto leader = f.world.spawn("leader", [&]() -> task { static_cast<void>(co_await db.try_one<int>(cached(get(1)))); });
    for (int i = 0; i < 5; ++i) f.world.spawn("client", [&]() -> task { sum += co_await db.one<int>(cached(get(1))); });
    f.world.spawn("fate", [&]() -> task {
        co_await f.world.sleep(3ms);
        if (how == 0) leader.cancel();
        if (how == 1) leader.destroy();
    });
    f.world.run();
    CHECK(sum == 35);
    CHECK(f.asked() == 2);
    CHECK(f.counts().joined == 4);
    CHECK(f.world.elapsed() == strata::duration{8ms});
}

TEST_CASE("invalidated by its tag, expired, or standing in for a failure", "[cache]") {
    fixture f{{.jitter = 0, .stale_for = 1h}};
    const auto read = [&] { return f.db.try_one<int>(cached(get(1), {.ttl = 10s, .tags = {"t"}})); };
    CHECK(read().value() == 7);
    f.script.on(get).returns(8);
    CHECK(read().value() == 7);
    CHECK(f.db.policy<cache>().invalidate("t") == 1);
    CHECK(read().value() == 8);
    f.script.on(get).fails(errc::connection_lost);
    f.world.run_for(10s);
    CHECK(read().value() == 8);
    CHECK(f.counts().stale == 1);
    f.script.on(get).fails(errc::syntax_error);
    CHECK(read().error().code() == errc::syntax_error);
}

TEST_CASE("a failure is answered by what the call says instead", "[fallback]") {
    STATIC_REQUIRE(fallback::place == strata::place::fallback);
    fixture f;
    CHECK(f.db.one<int>(or_else(get(1), 3)) == 7);
    CHECK(f.used() == 0);
    f.script.on(get).fails(errc::connection_lost);
    f.script.on(all).fails(errc::cannot_connect);
    CHECK(f.db.one<int>(or_else(get(1), 3)) == 3);
    CHECK(f.db.try_one<int>(or_else(get(1), [] { return 4; })).value() == 4);
    CHECK(f.db.maybe_one<int>(or_else(get(1), std::nullopt)) == std::nullopt);
    CHECK(f.db.maybe_one<int>(or_else(get(1), 5)) == 5);
    const std::vector<account> instead{{3, "eve"}};
    CHECK(f.db.all<account>(or_else(all, instead)).at(0).owner == "eve");
    std::string why;
    CHECK(f.db.one<std::string>(or_else(get(1), [&](const strata::error& e) {
        why = to_string(e.code());
        return "text";
    })) == "text");
    CHECK(why == "connection_lost");
    CHECK(f.used() == 6);
    const auto seen = f.db.policy<strata::metrics<>>().snapshot();  // stands outside, and sees successes
    CHECK(seen.operations[0][0] == 7);
    CHECK(f.db.try_one<int>(get(1)).error().code() == errc::connection_lost);  // did not ask
    CHECK(f.used() == 6);
}

TEST_CASE("a fallback that fails itself says so, and may ask another database", "[fallback]") {
    fixture f, replica;
    f.script.on(get).fails(errc::connection_lost);
    const auto ask = [&](const strata::error&) { return replica.db.one<int>(get(1)); };
    const auto try_ask = [&] { return replica.db.try_one<int>(get(1)); };
    CHECK(f.db.one<int>(or_else(get(1), ask)) == 7);
    CHECK(f.db.one<int>(or_else(get(1), try_ask)) == 7);
    replica.script.on(get).fails(errc::io_error);
    CHECK(f.db.try_one<int>(or_else(get(1), ask)).error().code() == errc::io_error);
    CHECK(f.db.try_one<int>(or_else(get(1), try_ask)).error().code() == errc::io_error);
    CHECK_THROWS_AS(f.db.one<int>(or_else(get(1), try_ask)), strata::failure);
    CHECK_THROWS_AS(f.db.try_one<int>(or_else(get(1), []() -> int { throw std::runtime_error("mine"); })), std::runtime_error);
    CHECK(f.used() == 6);
}

TEST_CASE("only what the database could not be had for is answered", "[fallback]") {
    fixture f;
    const auto is_answered = [&](errc code) {
        f.script.on(get).fails(code);
        const auto before = f.db.policy<fallback>().snapshot();
        const auto r = f.db.try_one<int>(or_else(get(1), 3));
        const auto after = f.db.policy<fallback>().snapshot();
        const bool answered = r.has_value();
        CHECK((answered ? *r == 3 : r.error().code() == code));
        CHECK(after.used == before.used + (answered ? 1 : 0));
        CHECK(after.passed_on == before.passed_on + (answered ? 0 : 1));
        return answered;
    };
    for (const errc code : {errc::connection_lost, errc::cannot_connect, errc::timeout, errc::busy, errc::serialization_failure,
                            errc::circuit_open, errc::bulkhead_full, errc::rate_limited, errc::pool_exhausted, errc::pool_unreachable})
        CHECK(is_answered(code));
    for (const errc code :
         {errc::no_rows, errc::too_many_rows, errc::unique_violation, errc::syntax_error, errc::type_mismatch, errc::permission_denied,
          errc::access_denied, errc::cancelled, errc::shutting_down, errc::corrupt, errc::user_exception, errc::unknown})
        CHECK_FALSE(is_answered(code));
    f.script.on(get).returns(std::nullopt);
    CHECK(f.db.try_one<int>(or_else(get(1), 3)).error().code() == errc::null_value);
    f.script.on(get).columns({"x"}).rows({});
    CHECK(f.db.try_one<int>(or_else(get(1), 3)).error().code() == errc::no_rows);
    CHECK(f.db.try_one<int>(or_else(get(1), 3), {.deadline = -1ms}).value() == 3);  // out of time
}

TEST_CASE("the user's word on what is answered, but not on writes, cancels and exceptions", "[fallback]") {
    static errc asked_about = errc::ok;
    fixture f{{}, {.when = [](const strata::error& e, bool by_table) noexcept {
                  asked_about = e.code();
                  return e.code() == errc::no_rows || (by_table && e.code() != errc::busy);
              }}};
    const auto is_answered = [&](errc code) {
        asked_about = errc::ok;
        f.script.on(get).fails(code);
        return f.db.try_one<int>(or_else(get(1), 3)).has_value();
    };
    CHECK(is_answered(errc::no_rows));
    CHECK(asked_about == errc::no_rows);
    CHECK(is_answered(errc::connection_lost));
    CHECK_FALSE(is_answered(errc::busy));
    CHECK_FALSE(is_answered(errc::cancelled));
    CHECK(asked_about == errc::ok);
    CHECK_FALSE(is_answered(errc::user_exception));
    CHECK(asked_about == errc::ok);
    // known at run time only
    const strata::statement write{"update t set x = 1 returning x"};
    f.script.on("update t set x = 1 returning x").fails(errc::connection_lost, strata::effect::unknown);
    const auto r = f.db.try_one<int>(or_else(write, 3));
    CHECK(r.error().code() == errc::connection_lost);
    CHECK(r.error().effect() == strata::effect::unknown);
    CHECK(asked_about == errc::ok);
    f.script.on("update t set x = 1 returning x").fails(errc::connection_lost, strata::effect::none);
    CHECK(f.db.try_one<int>(or_else(write, 3)).error().code() == errc::connection_lost);  // a value would say that it was done
    CHECK(asked_about == errc::ok);
}

TEST_CASE("an old result goes before a fallback, and a fallback is not kept", "[cache][fallback]") {
    fixture f{{.jitter = 0, .stale_for = 1min}};
    const auto read = [&] { return f.db.one<int>(or_else(cached(get(1)), 3)); };
    const auto twin = [&] { return f.db.one<int>(cached(or_else(get(1), 3))); };
    CHECK(read() == 7);
    CHECK(twin() == 7);
    CHECK(f.asked() == 1);
    f.script.on(get).fails(errc::connection_lost);
    f.world.run_for(10s);
    CHECK(read() == 7);
    CHECK(f.used() == 0);
    f.world.run_for(1min);
    CHECK(read() == 3);
    CHECK(twin() == 3);
    CHECK(f.used() == 2);
    f.script.on(get).returns(8);
    CHECK(read() == 8);
}

TEST_CASE("simulated clients are answered too", "[fallback]") {
    fixture f;
    f.script.on(get).fails(errc::connection_lost);
    strata::simulated_database<bank> db{f.db};
    int sum = 0;
    f.world.spawn("client", [&]() -> task {
        sum += co_await db.one<int>(or_else(get(1), 3));
        sum += co_await db.one<int>(or_else(cached(get(1)), [](const strata::error&) { return 4; }));
        const auto r = co_await db.try_one<int>(or_else(get(1), []() -> strata::result<int> { return strata::error{errc::busy}; }));
        sum += r.has_error() ? 10 : 0;
    });
    f.world.run();
    CHECK(sum == 17);
}

TEST_CASE("threads that miss together ask once", "[cache][threads]") {
    strata::script script;
    script.on(get).takes(20ms).returns(7);
    strata::database<bank> db{strata::scripted_options{script}, strata::pool_options{.max_size = 8}};
    std::atomic<int> sum{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i) threads.emplace_back([&] { sum += db.one<int>(cached(get(1))); });
    for (std::thread& t : threads) t.join();
    CHECK(sum == 56);
    CHECK(script.calls().size() == 1);
    CHECK(db.policy<cache>().snapshot().joined + db.policy<cache>().snapshot().hits == 7);
}

TEST_CASE("no row, and a row that holds NULL, are not taken for each other", "[cache]") {
    fixture f;
    f.script.on(get).columns({"x"}).rows({});
    CHECK_FALSE(f.db.maybe_one<int>(cached(get(1))).has_value());
    CHECK(f.db.try_one<std::optional<int>>(cached(get(1))).error().code() == errc::no_rows);
    fixture g;
    g.script.on(get).columns({"x"}).rows({{nullptr}});
    CHECK_FALSE(g.db.one<std::optional<int>>(cached(get(1))).has_value());
    CHECK(g.db.try_maybe_one<int>(cached(get(1))).error().code() == errc::null_value);
}

TEST_CASE("an empty tag hides none behind it", "[cache]") {
    fixture f;
    const std::string tenant;
    CHECK(f.db.one<int>(cached(get(1), {.tags = {tenant, "accounts"}})) == 7);
    CHECK(f.db.policy<cache>().invalidate("accounts") == 1);
    CHECK(f.db.policy<cache>().invalidate("") == 0);
}

TEST_CASE("the failure of a query that may have written is not replaced", "[fallback]") {
    constexpr auto pay = "select transfer_money(:a)"_sql.named("pay");
    fixture f;
    f.script.on(pay).fails(errc::connection_lost, strata::effect::unknown);
    CHECK(f.db.try_one<int>(or_else(pay(5), 0)).error().code() == errc::connection_lost);
    CHECK(f.used() == 0);
    f.script.on(pay).fails(errc::busy);  // nothing happened
    CHECK(f.db.one<int>(or_else(pay(5), 0)) == 0);
}
