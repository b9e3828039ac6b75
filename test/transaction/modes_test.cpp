// How transactions begin and what a stack says of them: options, defaults, modes, and what is made of conflicts. No database.
#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/transaction/modes.hpp>

#include <support/catch.hpp>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

using namespace strata::literals;
using strata::effect;
using strata::errc;

namespace {

using lines = std::vector<std::string>;

template <class... Layers>
using postgres_like = strata::database<strata::stack<Layers..., strata::single, strata::scripted_postgres>>;
template <class... Layers>
using sqlite_like = strata::database<strata::stack<Layers..., strata::single, strata::scripted>>;

constexpr auto put = "insert into t values (1)"_sql.named("put");
constexpr auto get = "select 1"_sql.named("get");
constexpr auto vacuum = "vacuum"_sql.named("vacuum");

const strata::retry_options at_once{.max_attempts = 5, .base = {}, .cap = {}};

strata::script answering() {
    strata::script s;
    s.on_any().rows({{1}});
    return s;
}
const auto nothing = [](auto&) {};

}  // namespace

TEST_CASE("what a transaction asks for is in its BEGIN, and nothing else", "[transaction][modes]") {
    auto script = answering();
    postgres_like<> db{strata::scripted_options{script}};
    using strata::isolation;
    db.transaction(nothing);
    db.transaction(nothing, {.read_only = true});
    db.transaction(nothing, {.isolation = isolation::read_committed});
    db.transaction(nothing, {.read_only = true, .isolation = isolation::serializable, .deferrable = true});
    db.begin({.isolation = isolation::repeatable_read}).commit();
    db.execute_many("insert into t values (:n)"_sql, std::vector<int>{1});
    std::vector<std::string> begins;
    for (const auto& line : script.journal())
        if (line.starts_with("begin")) begins.push_back(line);
    CHECK(begins == lines{"begin immediate", "begin deferred", "begin immediate read_committed", "begin deferred serializable deferrable",
                          "begin immediate repeatable_read", "begin immediate"});
}

TEST_CASE("options that contradict each other are refused before anything is sent", "[transaction][modes]") {
    auto script = answering();
    postgres_like<> db{strata::scripted_options{script}};
    int ran = 0;
    const auto body = [&](auto&) { ++ran; };
    for (const bool reads : {false, true})
        for (const auto level : {strata::isolation::read_committed, strata::isolation::repeatable_read, strata::isolation::serializable}) {
            if (reads && level == strata::isolation::serializable) continue;
            const auto r = db.try_transaction(body, {.read_only = reads, .isolation = level, .deferrable = true});
            CHECK(r.error().code() == errc::invalid_argument);
            CHECK(db.try_begin({.read_only = reads, .isolation = level, .deferrable = true}).error().code() == errc::invalid_argument);
        }
    CHECK(db.try_transaction(body, {.escalation = {.from = 1}}).error().code() == errc::invalid_argument);
    CHECK(ran == 0);
    CHECK(script.journal().empty());
}

TEST_CASE("a stack's defaults hold where a transaction does not say otherwise", "[transaction][modes]") {
    auto script = answering();
    postgres_like<strata::transactions<strata::manual>> db{
        strata::scripted_options{script},
        strata::transactions_options{.isolation = strata::isolation::serializable, .deferrable = true, .resolve_commit = true}};
    db.transaction(nothing);
    db.transaction(nothing, {.isolation = strata::isolation::read_committed, .resolve_commit = false});
    db.transaction(nothing, {.read_only = true});
    db.transaction(nothing, {.read_only = true, .deferrable = false});
    db.execute_many(put, std::vector<std::tuple<>>{{}});
    db.execute(put);
    CHECK(script.journal() == lines{"begin immediate serializable", "pg_current_xact_id", "commit",  //
                                    "begin immediate read_committed", "commit",                      //
                                    "begin deferred serializable deferrable", "commit",              //
                                    "begin deferred serializable", "commit",                         //
                                    "begin immediate serializable", "put", "pg_current_xact_id", "commit", "put"});
}

TEST_CASE("automatic: each statement that reads or writes has a transaction of its own", "[transaction][modes]") {
    auto script = answering();
    postgres_like<strata::transactions<strata::automatic>, strata::retry<>> db{
        strata::scripted_options{script}, at_once, strata::transactions_options{.isolation = strata::isolation::repeatable_read}};
    db.execute(put);
    CHECK(db.one<int>(get) == 1);
    db.execute(vacuum);
    db.transaction([](auto& tx) { tx.execute(put); });
    CHECK(script.journal() == lines{"begin immediate repeatable_read", "put", "commit",           //
                                    "begin deferred repeatable_read", "get", "commit", "vacuum",  //
                                    "begin immediate repeatable_read", "put", "commit"});

    // A write whose connection is lost before COMMIT was rolled back, and is repeated though it is not idempotent.
    script.on(put).fails(errc::connection_lost, effect::rolled_back).times(1);
    CHECK(db.try_execute(put));
    // One that is refused is rolled back, and says so.
    script.on(put).fails(errc::unique_violation).times(1);
    const auto refused = db.try_execute(put);
    CHECK(refused.error().code() == errc::unique_violation);
    CHECK(refused.error().effect() == effect::rolled_back);
    CHECK(script.journal().back() == "rollback");
    // A COMMIT without an answer is not.
    script.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
    CHECK(db.try_execute(put).error().effect() == effect::unknown);
    // A pinned session is in the user's hands.
    auto s = db.session();
    const std::size_t before = script.journal().size();
    s.execute(put);
    CHECK(script.journal().size() == before + 1);
}

TEST_CASE("none: statements stand for themselves", "[transaction][modes]") {
    auto script = answering();
    postgres_like<strata::transactions<strata::none>> db{strata::scripted_options{script}};
    db.execute(put);
    CHECK(script.journal() == lines{"put"});
    // Where the session's type is forgotten, only the call can tell.
    const auto refuses = [](strata::any_session erased) {
        erased.execute(put);
        CHECK(erased.try_transaction([](strata::any_session&) {}).error().code() == errc::unsupported);
    };
    refuses(db);
    auto pinned = db.session();
    refuses(pinned);
    CHECK(script.journal() == lines{"put", "put", "put"});
}

TEST_CASE("from an attempt on a transaction escalates, and gives its lock back whatever happens", "[transaction][modes]") {
    auto script = answering();
    postgres_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
    const strata::transaction_options<strata::scripted_postgres> o{
        .isolation = strata::isolation::read_committed,
        .escalation = {.from = 3, .isolation = strata::isolation::serializable, .lock = -7}};
    script.on(put).fails(errc::serialization_failure).times(3);
    db.transaction([](auto& tx) { tx.execute(put); }, o);
    CHECK(script.journal() == lines{"begin immediate read_committed", "put", "rollback",                        //
                                    "begin immediate read_committed", "put", "rollback",                        //
                                    "lock -7", "begin immediate serializable", "put", "rollback", "unlock -7",  //
                                    "lock -7", "begin immediate serializable", "put", "commit", "unlock -7"});

    // Also when BEGIN or COMMIT fails. Nothing is weakened by escalating.
    for (const bool at_begin : {true, false}) {
        CAPTURE(at_begin);
        auto other = answering();
        postgres_like<strata::retry<>> another{strata::scripted_options{other}, at_once};
        const auto r = another.try_transaction(
            [&](auto& tx) {
                if (tx.attempt() > 1) return;
                if (at_begin)
                    other.on_begin().fails(errc::permission_denied);
                else
                    other.on_commit().fails(errc::foreign_key_violation);
                strata::throw_failure(strata::error{errc::deadlock, strata::phase::execute});
            },
            {.isolation = strata::isolation::serializable,
             .escalation = {.from = 2, .isolation = strata::isolation::read_committed, .lock = 1}});
        CHECK(r.error().code() == (at_begin ? errc::permission_denied : errc::foreign_key_violation));
        const auto j = other.journal();
        CHECK(j.back() == "unlock 1");
        CHECK(std::count(j.begin(), j.end(), "begin immediate serializable") == 2);
    }
}

TEST_CASE("an SQLite transaction that was deferred escalates to the write lock", "[transaction][modes]") {
    auto script = answering();
    sqlite_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
    script.on(put).fails(errc::busy_snapshot).times(1);
    db.transaction([](auto& tx) { tx.execute(put); }, {.locking = strata::scripted_locking::deferred, .escalation = {.from = 2}});
    CHECK(script.journal() == lines{"begin deferred", "put", "rollback", "begin immediate", "put", "commit"});
    script.forget_calls();  // what asked for more keeps it
    script.on(put).fails(errc::busy).times(1);
    db.transaction([](auto& tx) { tx.execute(put); }, {.locking = strata::scripted_locking::exclusive, .escalation = {.from = 2}});
    CHECK(script.journal() == lines{"begin exclusive", "put", "rollback", "begin exclusive", "put", "commit"});
}

TEST_CASE("a conflict dooms the whole transaction, whatever the closure makes of it", "[transaction][conflict]") {
    for (const errc code : {errc::serialization_failure, errc::deadlock, errc::busy_snapshot, errc::connection_lost}) {
        CAPTURE(strata::to_string(code));
        const effect did = code == errc::connection_lost ? effect::rolled_back : effect::none;
        // Swallowed as a statement, in a savepoint's closure, and as the savepoint's failure.
        for (int how = 0; how < 4; ++how) {
            CAPTURE(how);
            auto script = answering();
            postgres_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
            script.on(put).fails(code, did).times(1);
            unsigned attempts = 0;
            db.transaction([&](auto& tx) {
                attempts = tx.attempt();
                const auto fails = [&](auto& inner) { inner.execute(put); };
                const auto swallows = [&](auto& inner) { static_cast<void>(inner.try_execute(put)); };
                const auto returns = [&](auto& inner) -> strata::result<strata::execution> { return inner.try_execute(put); };
                switch (how) {
                    case 0:
                        return swallows(tx);
                    case 1:
                        return static_cast<void>(tx.try_transaction(fails));
                    case 2:
                        return static_cast<void>(tx.try_transaction(swallows));
                    default:
                        return static_cast<void>(tx.try_transaction(returns));
                }
            });
            CHECK(attempts == 2);
            const auto j = script.journal();
            CHECK(std::count(j.begin(), j.end(), "commit") == 1);
        }
        // What the closure throws goes out as it is; by hand, it is the commit that tells.
        auto script = answering();
        postgres_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
        script.on(put).fails(code, did).times(2);
        CHECK_THROWS_AS(db.transaction([](auto& tx) {
            if (!tx.try_execute(put)) throw std::domain_error("mine");
        }),
                        std::domain_error);
        auto held = db.begin();
        CHECK(!held.try_execute(put));
        const auto end = held.try_commit();
        CHECK(end.error().code() == code);
        CHECK(end.error().effect() == effect::rolled_back);
    }
    // Other failures of a savepoint leave the transaction as it is.
    auto script = answering();
    postgres_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
    script.on(put).fails(errc::unique_violation).times(1);
    db.transaction([&](auto& tx) {
        CHECK(tx.attempt() == 1);
        CHECK(!tx.try_transaction([](auto& inner) { inner.execute(put); }));
    });
}

TEST_CASE("a COMMIT without an answer is looked up by the transaction's id", "[transaction][resolve]") {
    const auto ask = [](const strata::script& script, auto&& body, bool resolve = true) {
        postgres_like<strata::retry<>> db{strata::scripted_options{script}, at_once};
        return db.try_transaction(body, {.resolve_commit = resolve});
    };
    const auto lost_commit = [] {
        auto script = answering();
        script.on("pg_current_xact_id").rows({{"4711"}});
        script.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
        return script;
    };
    int runs = 0;
    const auto body = [&](auto& tx) {
        ++runs;
        tx.execute(put);
        return runs;
    };

    SECTION("it was committed") {
        auto script = lost_commit();
        script.on("pg_xact_status").rows({{"committed"}});
        CHECK(ask(script, body).value() == 1);
        CHECK(script.journal() == lines{"begin immediate", "put", "pg_current_xact_id", "commit", "pg_xact_status ['4711']"});
    }
    SECTION("it was rolled back: the whole is repeated") {
        auto script = lost_commit();
        script.on("pg_xact_status").rows({{"aborted"}});
        CHECK(ask(script, body).value() == 2);
    }
    SECTION("it was rolled back, and must not run twice") {
        auto script = lost_commit();
        script.on("pg_xact_status").rows({{"aborted"}});
        const auto r = ask(script, strata::once(body));
        CHECK(r.error().code() == errc::connection_lost);
        CHECK(r.error().effect() == effect::rolled_back);
        CHECK(r.error().phase() == strata::phase::commit);
        CHECK(r.error().texts().detail.find("4711") != std::string::npos);
        CHECK(runs == 1);
    }
    SECTION("nobody knows") {
        auto script = lost_commit();
        SECTION("nobody answers") {
            script.on("pg_xact_status").fails(errc::cannot_connect, effect::none, "no route");
        }
        SECTION("it is going on") {
            script.on("pg_xact_status").rows({{"in progress"}});
        }
        const auto r = ask(script, body);
        CHECK(r.error().effect() == effect::unknown);
        CHECK(r.error().texts().detail.find("transaction 4711: ") == 0);
        CHECK(r.error().texts().hint.find("pg_xact_status('4711')") != std::string::npos);
        CHECK(runs == 1);
    }
    SECTION("it had no id: nothing is asked, and nothing guessed") {
        auto script = answering();
        script.on("pg_current_xact_id").rows({{nullptr}});
        script.on_commit().fails(errc::connection_lost, effect::unknown).times(1);
        const auto r = ask(script, body);
        CHECK(r.error().effect() == effect::unknown);
        CHECK(script.journal().back() == "commit");
    }
    SECTION("the connection is lost while the id is asked for: COMMIT was not sent") {
        auto script = answering();
        script.on("pg_current_xact_id").fails(errc::connection_lost).times(1);
        CHECK(ask(script, body).value() == 2);
        script.on("pg_current_xact_id").fails(errc::connection_lost).times(1);
        const auto r = ask(script, strata::once(body));
        CHECK(r.error().code() == errc::connection_lost);
        CHECK(r.error().effect() == effect::rolled_back);
    }
    SECTION("COMMIT is answered by an error") {
        auto script = answering();
        script.on_commit().fails(errc::serialization_failure).times(1);
        CHECK(ask(script, body).value() == 2);
    }
    SECTION("not asked for") {
        auto script = lost_commit();
        const auto r = ask(script, body, false);
        CHECK(r.error().effect() == effect::unknown);
        CHECK(script.journal() == lines{"begin immediate", "put", "commit"});
    }
    SECTION("in the user's hands") {
        auto script = lost_commit();
        script.on("pg_xact_status").rows({{"committed"}});
        postgres_like<> db{strata::scripted_options{script}};
        auto tx = db.begin({.resolve_commit = true});
        tx.execute(put);
        CHECK(tx.try_commit());
        CHECK(db.one<int>(get) == 1);  // on a new connection
        CHECK(script.calls().back().connection == 2);
    }
}
