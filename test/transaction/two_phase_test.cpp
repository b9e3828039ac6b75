// Distributed transactions on scripted databases and SQLite files: what is said to each database, in which order, and what comes out.
#include "failing_syncs.hpp"

#include <face/fixture.hpp>

#include <strata/distributed_transaction.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/transaction/modes.hpp>

#include <filesystem>

using namespace strata_test;
using strata::effect;
using strata::two_phase_step;

namespace {

using scripted_database = strata::database<strata::stack<strata::metrics<>, strata::retry<>, strata::pool<>, strata::scripted_postgres>>;
using file_database = strata::database<plain_stack>;
using lines = std::vector<std::string>;

constexpr auto pay = "update account set balance = balance - 1"_sql.named("pay");
constexpr auto look = "select balance from account"_sql.named("look");

/// A server that prepares, and remembers what it was told.
struct fake_server {
    strata::script script;
    std::optional<scripted_database> opened;

    const std::int64_t identity;

    explicit fake_server(std::int64_t who, std::int64_t most = 10) : identity(who) {
        script.on("strata two-phase identity").rows({{most, identity, 5}});
        script.on("strata two-phase transaction id").rows({{identity * 100, identity, 5}});
        script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows({});
        script.on("strata two-phase outcome").rows({{"committed"}});
        script.on(pay).affected(1);
        script.on(look).rows({{7}});
        opened.emplace(strata::scripted_options{script}, strata::pool_options{.min_size = 0, .max_size = 2});
    }
    [[nodiscard]] scripted_database& db() { return *opened; }
    void wrote_nothing() { script.on("strata two-phase transaction id").rows({{nullptr, identity, 5}}); }
    /// The address leads to another server, where everything else is the same.
    void is_another(std::int64_t who) {
        script.on("strata two-phase identity").rows({{10, who, 5}});
        script.on("strata two-phase transaction id").rows({{identity * 100, who, 5}});
    }
    /// What was said since the last time, without what is asked; ids are cut down to number and branch.
    [[nodiscard]] lines said() {
        lines all;
        for (std::string line : script.journal()) {
            if (line.find("strata two-phase") == 0) continue;
            const std::size_t begin = line.find('\''), id = line.find(':', line.find(':', line.find(':') + 1) + 1);
            if (begin != line.npos && id != line.npos) line = line.substr(0, begin) + line.substr(id + 1, line.rfind('\'') - id - 1);
            all.push_back(line);
        }
        script.forget_calls();
        return all;
    }
};

struct two_servers {
    temp_folder folder;
    fake_server one{1}, two{2};
    std::vector<strata::heuristic_outcome> told;
    std::function<void(two_phase_step, std::size_t, bool)> on_step;
    strata::transaction_coordinator coordinator{{.name = "test",
                                                 .log = folder.file("log"),
                                                 .on_heuristic = [this](const auto& h) { told.push_back(h); },
                                                 .on_step =
                                                     [this](two_phase_step s, std::size_t i, bool d) {
                                                         if (on_step) on_step(s, i, d);
                                                     }}};
    strata::distributed_transaction<scripted_database, scripted_database> t{coordinator, one.db(), two.db()};

    two_servers() { forget(); }
    void forget() {
        one.script.forget_calls();
        two.script.forget_calls();
    }
    strata::error transfer(const strata::distributed_transaction_options& o = {}) {
        const auto r = t.try_run([](auto& a, auto& b) { a.execute(pay()), b.execute(pay()); }, o);
        return r ? strata::error{} : r.error();
    }
    void check_at_rest() {
        const auto one_at_rest = one.db().connections(), two_at_rest = two.db().connections();
        CHECK(one_at_rest.idle + one_at_rest.opening == one_at_rest.open);
        CHECK(two_at_rest.idle + two_at_rest.opening == two_at_rest.open);
    }
};

std::string id_of(two_servers& s, const std::string& rest) {
    return s.coordinator.prefix() + rest;
}

}  // namespace

TEST_CASE("each database is prepared before the first is committed", "[two_phase]") {
    two_servers s;
    lines order;
    std::size_t decisions = 0;
    s.on_step = [&](two_phase_step step, std::size_t i, bool done) {
        if (done && (step == two_phase_step::prepare || step == two_phase_step::commit_prepared))
            order.push_back(std::string{to_string(step)} + std::to_string(i));
        if (step == two_phase_step::commit_prepared && !done) decisions += s.coordinator.log().decisions().size();
        if (step == two_phase_step::decide && !done) CHECK(s.coordinator.log().decisions().empty());
        CHECK(s.coordinator.pending().empty());  // on its way is not pending
    };
    CHECK(!s.transfer());
    CHECK(order == lines{"prepare0", "prepare1", "commit_prepared0", "commit_prepared1"});
    CHECK(decisions == 2);
    CHECK(s.one.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.0", "commit prepared 1.1.0"});
    CHECK(s.two.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.1", "commit prepared 1.1.1"});
    CHECK(s.coordinator.log().decisions().empty());
    CHECK(!s.transfer());
    CHECK(s.one.said()[2] == "prepare transaction 1.2.0");
    s.check_at_rest();
}

TEST_CASE("what was decided names the databases and their transactions", "[two_phase]") {
    two_servers s;
    strata::decision seen;
    s.on_step = [&](two_phase_step step, std::size_t, bool done) {
        if (step == two_phase_step::decide && done) seen = s.coordinator.log().decisions().at(0);
    };
    CHECK(!s.transfer());
    CHECK(seen == strata::decision{{1, 1}, {{0, {1, 5}, 100}, {1, {2, 5}, 200}}});
}

TEST_CASE("a database that wrote nothing is committed first, and prepares nothing", "[two_phase]") {
    two_servers s;
    s.two.wrote_nothing();
    CHECK(!s.transfer());
    CHECK(s.one.said() == lines{"begin immediate", "pay", "commit"});
    CHECK(s.two.said() == lines{"begin immediate", "pay", "commit"});
    s.one.wrote_nothing();
    CHECK(!s.transfer());
    CHECK(s.one.said().back() == "commit");
    s.check_at_rest();
}

TEST_CASE("the COMMIT of a single writer is looked up where its stack says so", "[two_phase]") {
    using stack = strata::stack<strata::transactions<strata::manual>, strata::pool<>, strata::scripted_postgres>;
    const temp_folder folder;
    fake_server one{1}, two{2};
    for (fake_server* s : {&one, &two}) s->script.on("pg_current_xact_id").rows({{"100"}});
    strata::database<stack> first{strata::scripted_options{one.script}, strata::transactions_options{.resolve_commit = true}};
    strata::database<stack> second{strata::scripted_options{two.script}, strata::transactions_options{.resolve_commit = true}};
    strata::transaction_coordinator coordinator{{.name = "test", .log = folder.file("log")}};
    strata::distributed_transaction t{coordinator, first, second};
    two.wrote_nothing();
    for (const std::string status : {"committed", "aborted", "in progress"}) {
        CAPTURE(status);
        one.script.on("pg_xact_status").rows({{status}});
        one.script.on_commit().fails(errc::outcome_unknown, effect::unknown).times(1);
        one.script.forget_calls();
        two.script.forget_calls();
        const auto r = t.try_run([](auto& a, auto& b) { a.execute(pay()), b.template one<int>(look()); });
        if (status == "committed") {
            CHECK(r.has_value());
        } else {
            REQUIRE(!r);
            CHECK(r.error().effect() == (status == "aborted" ? effect::rolled_back : effect::unknown));
        }
        for (const std::string& line : two.script.journal()) CHECK(line.find("pg_current_xact_id") == line.npos);  // it only read
    }
}

TEST_CASE("what fails before the decision is rolled back everywhere", "[two_phase]") {
    two_servers s;
    SECTION("the second database cannot begin") {
        s.two.script.on_begin().fails(errc::too_big);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::too_big);
        CHECK(e.effect() == effect::none);
        CHECK(s.one.said() == lines{"begin immediate", "rollback"});
    }
    SECTION("a statement") {
        s.two.script.on(pay).fails(errc::check_violation);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::check_violation);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
        CHECK(s.two.said() == lines{"begin immediate", "pay", "rollback"});
    }
    SECTION("the question whether it has written") {
        s.two.script.on("strata two-phase transaction id").fails(errc::transaction_aborted);
        CHECK(s.transfer().effect() == effect::rolled_back);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
        CHECK(s.two.said() == lines{"begin immediate", "pay", "rollback"});
    }
    SECTION("to prepare the second") {
        s.two.script.on_prepare().fails(errc::serialization_failure, effect::rolled_back);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::serialization_failure);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.0", "rollback prepared 1.1.0"});
        CHECK(s.two.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.1"});
    }
    SECTION("the connection, while the second is prepared") {
        s.two.script.on_prepare().fails(errc::connection_lost).times(1);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::connection_lost);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.two.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.1", "rollback prepared 1.1.1"});
        CHECK(e.texts().detail.empty());
    }
    SECTION("the connection, and none is to be had any more") {
        s.two.script.on_prepare().fails(errc::connection_lost);
        s.two.script.on_connect().fails(errc::permission_denied);
        s.one.script.on_rollback_prepared().fails(errc::connection_lost).times(1);
        const strata::error e = s.transfer({.finish_within = 20ms});
        CHECK(e.effect() == effect::rolled_back);
        CHECK_THAT(e.texts().detail, contains_text("recover()"));
        CHECK(s.one.said().back() == "rollback prepared 1.1.0");
    }
    SECTION("a plain commit of what was only read") {
        s.two.wrote_nothing();
        s.two.script.on_commit().fails(errc::serialization_failure);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::serialization_failure);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
    }
    SECTION("the log") {
        s.on_step = [&](two_phase_step step, std::size_t, bool done) {
            if (step == two_phase_step::decide && !done) failing_syncs = 1;
        };
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::io_error);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.one.said().back() == "rollback prepared 1.1.0");
        CHECK(s.two.said().back() == "rollback prepared 1.1.1");
        s.on_step = nullptr;
        CHECK(!s.transfer());
    }
    SECTION("the closure") {
        CHECK_THROWS_AS(s.t.run([](auto& a, auto&) {
            a.execute(pay());
            throw std::domain_error("no");
        }),
                        std::domain_error);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
        CHECK(s.two.said() == lines{"begin immediate", "rollback"});
    }
    CHECK(s.coordinator.log().decisions().empty());
    CHECK(s.told.empty());
    s.check_at_rest();
}

TEST_CASE("a log that fails while it decides leaves the branches to recovery", "[two_phase]") {
    two_servers s;
    s.on_step = [&](two_phase_step step, std::size_t, bool done) {
        if (step == two_phase_step::decide && !done) failing_syncs = 2;
    };
    const strata::error e = s.transfer();
    failing_syncs = 0;
    CHECK(e.code() == errc::outcome_unknown);
    CHECK(e.effect() == effect::unknown);
    CHECK_THAT(e.texts().hint, contains_text("recover()"));
    CHECK(s.one.said().back() == "prepare transaction 1.1.0");
    CHECK(s.two.said().back() == "prepare transaction 1.1.1");
    s.check_at_rest();

    // From here on nothing is begun, and nothing is ended on a guess.
    const strata::error next = s.transfer();
    CHECK(next.code() == errc::io_error);
    CHECK(next.effect() == effect::none);
    s.one.script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows({{id_of(s, "1.1.0"), "owner", 1}});
    const strata::recovery_report r = s.t.recover();
    CHECK_FALSE(r.complete());
    CHECK(s.one.said().empty());
    CHECK(s.two.said().empty());
}

TEST_CASE("a decision is synced once, before the first branch is committed", "[two_phase]") {
    two_servers s;
    int before = 0, after = 0;
    s.on_step = [&](two_phase_step step, std::size_t i, bool done) {
        if (step == two_phase_step::prepare && !done && i == 0) before = syncs;
        if (step == two_phase_step::commit_prepared && !done && i == 0) after = syncs;
    };
    CHECK(!s.transfer());
    CHECK(after == before + 1);
    CHECK(!s.transfer());
    CHECK(syncs == after);
}

TEST_CASE("a deadline ends a distributed transaction up to the decision", "[two_phase]") {
    two_servers s;
    s.two.script.on(pay).takes(10s).affected(1);
    strata::error e = s.transfer({.deadline = 20ms});
    CHECK(e.code() == errc::timeout);
    CHECK(e.effect() == effect::rolled_back);
    CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
    CHECK(s.two.said().back() == "rollback");
    s.two.script.on(pay).affected(1);
    const auto late = s.t.try_run(
        [](auto& a, auto& b) {
            a.execute(pay()), b.execute(pay());
            std::this_thread::sleep_for(30ms);
        },
        {.deadline = 20ms});
    REQUIRE(!late);
    CHECK(late.error().code() == errc::timeout);
    CHECK(late.error().effect() == effect::rolled_back);
    CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
    s.forget();
    s.on_step = [&](two_phase_step step, std::size_t i, bool done) {
        if (step == two_phase_step::prepare && i == 1 && !done) std::this_thread::sleep_for(150ms);
    };
    e = s.transfer({.deadline = 100ms});
    CHECK(e.code() == errc::timeout);
    CHECK(e.effect() == effect::rolled_back);
    CHECK(s.one.said().back().starts_with("rollback prepared"));
    CHECK(s.two.said().back() == "rollback");
    s.check_at_rest();
}

TEST_CASE("after the decision nothing is called a failure", "[two_phase]") {
    two_servers s;
    SECTION("another connection completes it") {
        s.two.script.on_commit_prepared().fails(errc::connection_lost).times(1);
        CHECK(!s.transfer());
        CHECK(s.two.said() ==
              lines{"begin immediate", "pay", "prepare transaction 1.1.1", "commit prepared 1.1.1", "commit prepared 1.1.1"});
        CHECK(s.coordinator.pending().empty());
    }
    SECTION("no other connection is to be had: recovery completes it") {
        s.one.script.on_commit_prepared().fails(errc::connection_lost).times(2);
        const strata::error e = s.transfer({.finish_within = 20ms});
        CHECK(e.code() == errc::commit_pending);
        CHECK(e.effect() == effect::applied);
        CHECK_THAT(e.texts().hint, contains_text("recover()"));
        CHECK_THAT(e.texts().detail, contains_text("the transaction is committed"));
        CHECK(s.two.said().back() == "commit prepared 1.1.1");  // the others do not wait
        REQUIRE(s.coordinator.pending().size() == 1);
        s.forget();
        s.one.script.on_commit_prepared().fails(errc::connection_lost).times(1);
        strata::recovery_report r = s.t.recover();
        CHECK(r.remaining == 1);
        CHECK(r.committed == 1);  // the other's, once more
        CHECK_FALSE(r.complete());
        r = s.t.recover();
        CHECK(r.complete());
        CHECK(r.committed == 2);
        CHECK(s.coordinator.pending().empty());
        CHECK(s.t.recover().committed == 0);
    }
    SECTION("another connection is waited for as long as is said, and tried once") {
        s.one.script.on_commit_prepared().fails(errc::connection_lost).times(2);
        const auto began = strata::clock::now();
        CHECK(s.transfer({.finish_within = 1h}).code() == errc::commit_pending);
        CHECK(strata::clock::now() - began < 60s);
        const lines said = s.one.said();
        CHECK(std::count(said.begin(), said.end(), "commit prepared 1.1.0") == 2);
        using session = decltype(s.one.db().session());
        std::vector<session> all;
        strata::time_point waits;
        s.on_step = [&](two_phase_step step, std::size_t, bool done) {
            if (step != two_phase_step::complete || done) return;
            all.push_back(s.one.db().session());
            all.push_back(s.one.db().session());
            waits = strata::clock::now();
        };
        s.one.script.on_commit_prepared().fails(errc::connection_lost).times(1);
        CHECK(s.transfer({.finish_within = 50ms}).code() == errc::commit_pending);
        CHECK(strata::clock::now() - waits >= 50ms);
        CHECK(strata::clock::now() - waits < 4s);
        all.clear();
        CHECK(s.t.recover().complete());
    }
    SECTION("somebody has rolled it back by hand") {
        s.two.script.on_commit_prepared().fails(errc::undefined_object);
        s.two.script.on("strata two-phase outcome").rows({{"aborted"}});
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::heuristic_outcome);
        CHECK(e.effect() == effect::applied);
        REQUIRE(s.told.size() == 1);
        CHECK(s.told[0] == strata::heuristic_outcome{{1, 1}, {1, {2, 5}, 200}, false});
        CHECK(s.coordinator.heuristics() == s.told);
        CHECK(s.coordinator.pending().empty());
    }
    SECTION("somebody has committed it by hand, or so long ago that nobody knows") {
        s.one.script.on_commit_prepared().fails(errc::undefined_object);
        s.two.script.on_commit_prepared().fails(errc::undefined_object);
        s.two.script.on("strata two-phase outcome").rows({{nullptr}});
        CHECK(!s.transfer());
        CHECK(s.told.empty());
    }
    SECTION("it is being ended just now") {
        s.two.script.on_commit_prepared().fails(errc::undefined_object);
        s.two.script.on("strata two-phase outcome").rows({{"in progress"}});
        CHECK(s.transfer().code() == errc::commit_pending);
        CHECK(s.t.recover().remaining == 1);
    }
    s.check_at_rest();
}

TEST_CASE("what another database behind the address says of a branch is not believed", "[two_phase]") {
    two_servers s;
    SECTION("a transaction that began there is not prepared") {
        s.two.is_another(9);
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::cannot_connect);
        CHECK(e.effect() == effect::rolled_back);
        CHECK(s.one.said() == lines{"begin immediate", "pay", "rollback"});
        CHECK(s.two.said() == lines{"begin immediate", "pay", "rollback"});
    }
    SECTION("the second phase leaves it to recovery, which waits for the right one") {
        s.two.script.on_commit_prepared().fails(errc::connection_lost).times(1).fails(errc::undefined_object);
        s.on_step = [&](two_phase_step step, std::size_t, bool done) {
            if (step == two_phase_step::complete && !done) s.two.is_another(9);
        };
        const strata::error e = s.transfer();
        CHECK(e.code() == errc::commit_pending);
        REQUIRE(s.coordinator.pending().size() == 1);
        s.two.script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows({{id_of(s, "1.1.1"), "me", 0}});
        s.forget();
        strata::recovery_report r = s.t.recover();
        CHECK(r.committed == 1);  // the other's, once more
        CHECK(r.remaining == 1);
        REQUIRE(!r.errors.empty());
        CHECK(r.errors[0].code() == errc::cannot_connect);
        CHECK_THAT(r.errors[0].message(), contains_text("another database"));
        CHECK(s.two.said().empty());
        CHECK(s.coordinator.pending().size() == 1);
        s.two.is_another(2);
        s.two.script.on_commit_prepared().affected(0);
        r = s.t.recover();
        CHECK(r.complete());
        CHECK(r.committed == 2);
    }
    s.check_at_rest();
}

TEST_CASE("somebody commits by hand what is rolled back", "[two_phase]") {
    two_servers s;
    s.two.script.on_prepare().fails(errc::connection_lost);
    s.two.script.on_rollback_prepared().fails(errc::undefined_object);
    const strata::error e = s.transfer();
    CHECK(e.code() == errc::heuristic_outcome);
    REQUIRE(s.told.size() == 1);
    CHECK(s.told[0].committed);
    CHECK(s.told[0].branch.branch == 1);
}

TEST_CASE("who is told of a heuristic outcome may throw: what is decided is done and told all the same", "[two_phase]") {
    const temp_folder folder;
    fake_server one{1}, two{2}, three{3};
    int told = 0;
    strata::transaction_coordinator coordinator{{.name = "test", .log = folder.file("log"), .on_heuristic = [&](const auto&) {
                                                     if (++told == 1) throw 5;
                                                 }}};
    strata::distributed_transaction t{coordinator, one.db(), two.db(), three.db()};
    three.script.on_commit_prepared().fails(errc::connection_lost).times(1);
    one.script.on_commit_prepared().fails(errc::undefined_object);
    one.script.on("strata two-phase outcome").rows({{"aborted"}});
    one.script.forget_calls(), three.script.forget_calls();
    const auto r = t.try_run([](auto& a, auto& b, auto& c) { a.execute(pay()), b.execute(pay()), c.execute(pay()); });
    CHECK(told == 1);
    REQUIRE(!r);
    CHECK(r.error().code() == errc::heuristic_outcome);
    CHECK(r.error().effect() == effect::applied);
    CHECK(three.said().back() == "commit prepared 1.1.2");
    CHECK(coordinator.heuristics().size() == 1);
    CHECK(coordinator.log().decisions().empty());
}

TEST_CASE("recovery rolls back what was not decided, and nothing that is not its own", "[two_phase]") {
    two_servers s;
    const auto listed = [&](const lines& ids) {
        strata::scripted_rows rows;
        for (const std::string& id : ids) rows.push_back({id, "owner", 5'000'000});
        s.one.script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows(rows);
    };
    SECTION("of this opening and of earlier ones") {
        listed({id_of(s, "1.7.0"), id_of(s, "0.3.1")});
        const strata::recovery_report r = s.t.recover();
        CHECK(r.complete());
        CHECK(r.rolled_back == 2);
        CHECK(s.one.said() == lines{"rollback prepared 1.7.0", "rollback prepared 0.3.1"});
        CHECK(s.two.said().empty());
    }
    SECTION("of later openings: this is an old log") {
        listed({id_of(s, "2.1.0")});
        const strata::recovery_report r = s.t.recover();
        CHECK(r.remaining == 1);
        REQUIRE(r.errors.size() == 1);
        CHECK(r.errors[0].code() == errc::corrupt);
        CHECK_THAT(r.errors[0].message(), contains_text("old copy"));
        CHECK(s.one.said().empty());
    }
    SECTION("whose decision stands in a file that is not here") {
        listed({id_of(s, "1.1.0:00000000000000ff")});
        CHECK(s.t.recover().remaining == 1);
        CHECK(s.one.said().empty());
    }
    SECTION("what looks like its own") {
        listed({id_of(s, "1.1.0x"), id_of(s, "1.01.0"), id_of(s, ""), "strata:test:1.1.0", "other"});
        CHECK(s.t.recover().complete());
        CHECK(s.one.said().empty());
        using kind = strata::in_doubt_transaction::kind;
        const auto seen = s.t.in_doubt();
        REQUIRE(seen.size() == 5);
        CHECK(seen[0].what == kind::other_coordinator);
        CHECK(seen[4].what == kind::foreign);
        CHECK(seen[4].age == 5s);
        CHECK(seen[4].owner == "owner");
        CHECK(seen[4].database == 0);
    }
    SECTION("what is on its way") {
        strata::recovery_report r;
        s.on_step = [&](two_phase_step step, std::size_t, bool done) {
            if (step != two_phase_step::decide) return;
            listed({id_of(s, "1.1.0"), id_of(s, "0.1.0")});
            r = s.t.recover();
            CHECK(r.complete());
            CHECK(r.rolled_back == 1);
            CHECK(s.t.in_doubt()[0].what == strata::in_doubt_transaction::kind::in_flight);
            CHECK(s.t.in_doubt()[1].what == strata::in_doubt_transaction::kind::awaits_recovery);
            static_cast<void>(done);
        };
        CHECK(!s.transfer());
        CHECK(s.one.said() == lines{"begin immediate", "pay", "prepare transaction 1.1.0", "rollback prepared 0.1.0",
                                    "rollback prepared 0.1.0", "commit prepared 1.1.0"});
    }
    SECTION("a database that cannot be reached is told, and the others are served") {
        s.two.script.on("strata two-phase in doubt").fails(errc::permission_denied);
        listed({id_of(s, "1.7.0")});
        const strata::recovery_report r = s.t.recover();
        CHECK(r.rolled_back == 1);
        REQUIRE(r.errors.size() == 1);
        CHECK(r.errors[0].code() == errc::permission_denied);
        CHECK_FALSE(r.complete());
    }
    s.check_at_rest();
}

TEST_CASE("a coordinator that comes back carries its decisions out", "[two_phase]") {
    const temp_folder folder;
    fake_server one{1}, two{2};
    const auto coordinator = [&] { return strata::coordinator_options{.name = "test", .log = folder.file("log")}; };
    {
        strata::transaction_coordinator first{coordinator()};
        REQUIRE(!first.log().decide({{1, 9}, {{0, {1, 5}, 11}, {1, {2, 5}, 22}, {2, {3, 5}, 33}}}));
    }
    strata::transaction_coordinator second{coordinator()};
    const std::string id = second.prefix() + "1.9.1";
    two.script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows({{id, "owner", 1}});
    {
        strata::distributed_transaction t{second, one.db(), two.db()};
        one.script.forget_calls();
        two.script.forget_calls();
        const strata::recovery_report r = t.recover();
        CHECK(r.committed == 2);
        CHECK(r.remaining == 1);  // in a third database, which is not here
        CHECK(r.errors.empty());
        CHECK(two.said() == lines{"commit prepared 1.9.1"});
        CHECK(one.said() == lines{"commit prepared 1.9.0"});
        CHECK(second.pending().size() == 1);
    }
    fake_server three{3};
    strata::distributed_transaction all{second, one.db(), two.db(), three.db()};
    one.script.on_commit_prepared().fails(errc::undefined_object);
    CHECK(all.recover().complete());
    CHECK(second.pending().empty());
}

TEST_CASE("a coordinator's options are checked", "[two_phase]") {
    const temp_folder folder;
    const auto code = [&](const std::string& name, const std::string& log) {
        try {
            const strata::transaction_coordinator c{{.name = name, .log = log}};
            return errc::ok;
        } catch (const strata::failure& f) {
            return f.code();
        }
    };
    CHECK(code("", folder.file("a")) == errc::invalid_argument);
    CHECK(code("a:b", folder.file("a")) == errc::invalid_argument);
    CHECK(code("it's", folder.file("a")) == errc::invalid_argument);
    CHECK(code(std::string(65, 'a'), folder.file("a")) == errc::invalid_argument);
    CHECK(code("a", "") == errc::invalid_argument);
    CHECK(code(std::string(64, 'a'), folder.file("a")) == errc::ok);
    CHECK(code("A-b_c.9", folder.file("b")) == errc::ok);

    const strata::transaction_coordinator c{{.name = "test", .log = folder.file("c")}};
    fake_server none{1, 0};
    const strata::error e = failure_of([&] {
        strata::distributed_transaction t{const_cast<strata::transaction_coordinator&>(c), none.db()};
        return 0;
    });
    CHECK(e.code() == errc::unsupported);
    CHECK_THAT(e.texts().hint, contains_text("max_prepared_transactions"));
}

namespace {

/// A server and an SQLite file.
struct server_and_file {
    temp_folder folder;
    fake_server server{1};
    file_database file{strata::sqlite_options{.path = folder.file("bank.db")}};
    std::function<void(two_phase_step, bool)> on_step;
    strata::transaction_coordinator coordinator{
        {.name = "test", .log = folder.file("log"), .on_step = [this](two_phase_step s, std::size_t, bool d) {
             if (on_step) on_step(s, d);
         }}};
    std::optional<strata::distributed_transaction<scripted_database, file_database>> t;

    server_and_file() {
        file.execute("create table account (balance integer not null check (balance >= 0))"_sql());
        file.execute("insert into account values (100)"_sql());
        t.emplace(coordinator, server.db(), file);
        server.script.forget_calls();
    }
    strata::error transfer(std::int64_t amount = 1) {
        const auto r = t->try_run(
            [&](auto& a, auto& b) {
                a.execute(pay());
                b.execute("update account set balance = balance - :amount"_sql(amount));
            },
            {.finish_within = 20ms});
        return r ? strata::error{} : r.error();
    }
    [[nodiscard]] std::int64_t balance() { return file.one<std::int64_t>("select balance from account"_sql()); }
    [[nodiscard]] std::int64_t decisions() {
        return file.one<std::int64_t>("select count(*) from strata_decision where id like 'strata:%'"_sql());
    }
    /// The branch's id, as the server was told it.
    [[nodiscard]] std::string listed() {
        for (const std::string& line : server.script.journal())
            if (line.starts_with("prepare")) return line.substr(line.find('\'') + 1, line.rfind('\'') - line.find('\'') - 1);
        return {};
    }
    void lists(const std::string& id) {
        server.script.on("strata two-phase in doubt").columns({"gid", "owner", "age"}).rows({{id, "o", 1}});
    }
};

}  // namespace

TEST_CASE("an SQLite file commits last, and so decides", "[two_phase]") {
    server_and_file s;
    std::int64_t noted = -1, balance = -1;
    s.on_step = [&](two_phase_step step, bool done) {
        if (step == two_phase_step::commit && !done && noted < 0)
            CHECK(s.server.script.journal().back().starts_with("prepare transaction"));
        if (step == two_phase_step::commit_prepared && !done) noted = s.decisions(), balance = s.balance();
        CHECK(s.coordinator.log().decisions().empty());  // the log has no part in it
    };
    CHECK(!s.transfer());
    CHECK(noted == 1);
    CHECK(balance == 99);
    CHECK(s.decisions() == 1);
    CHECK(!s.transfer());
    CHECK(s.decisions() == 1);  // with the next one, the one before is forgotten
    CHECK(s.t->recover().complete());
    CHECK(s.decisions() == 0);

    // It alone has written: there is nothing to decide.
    s.server.wrote_nothing();
    CHECK(!s.transfer());
    CHECK(s.decisions() == 0);
    CHECK(s.balance() == 97);
}

TEST_CASE("an SQLite file that refuses rolls the servers back", "[two_phase]") {
    server_and_file s;
    CHECK(s.transfer(1000).effect() == effect::rolled_back);  // by its check
    CHECK(s.server.said().back() == "rollback");
    s.file.execute("create table owner (id integer primary key)"_sql());
    s.file.execute("create table owned (id integer references owner deferrable initially deferred)"_sql());
    const auto r = s.t->try_run([](auto& a, auto& b) {  // only its COMMIT finds it out
        a.execute(pay());
        b.execute("insert into owned values (7)"_sql());
    });
    REQUIRE(!r);
    CHECK(r.error().code() == errc::foreign_key_violation);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(s.server.said().back().starts_with("rollback prepared"));
    CHECK(s.decisions() == 0);
    CHECK(s.t->recover().complete());
}

TEST_CASE("a crash around the last resource's commit: the file says which way the branches go", "[two_phase]") {
    server_and_file s;
    SECTION("it was committed") {
        s.server.script.on_commit_prepared().fails(errc::connection_lost).times(2);
        CHECK(s.transfer().code() == errc::commit_pending);
        const std::string id = s.listed();
        CHECK(id.starts_with(s.coordinator.prefix()));
        s.lists(id);
        s.server.script.forget_calls();

        // Without the file nobody may decide.
        strata::distributed_transaction without{s.coordinator, s.server.db()};
        s.server.script.forget_calls();
        CHECK(without.recover().remaining == 1);
        CHECK(s.server.said().empty());

        const strata::recovery_report r = s.t->recover();
        CHECK(r.complete());
        CHECK(r.committed == 1);
        CHECK(s.server.said()[0].starts_with("commit prepared 1.1.0:"));
        CHECK(s.decisions() == 0);
    }
    SECTION("it was not") {
        s.server.script.on_prepare().fails(errc::connection_lost);
        s.server.script.on_connect().fails(errc::permission_denied);
        CHECK(s.transfer().effect() == effect::rolled_back);
        s.server.script.on_connect().returns(0);
        s.lists(s.listed());
        s.server.script.forget_calls();
        const strata::recovery_report r = s.t->recover();
        CHECK(r.complete());
        CHECK(r.rolled_back == 1);
        CHECK(s.server.said()[0].starts_with("rollback prepared 1.1.0:"));
    }
    CHECK(s.balance() + s.decisions() >= 99);
}

TEST_CASE("an SQLite database that does not sync cannot decide for others", "[two_phase]") {
    const temp_folder folder;
    fake_server server{1};
    strata::transaction_coordinator coordinator{{.name = "test", .log = folder.file("log")}};
    const auto open = [&](const strata::sqlite_options& o) {
        file_database file{o};
        return failure_of([&] {
            strata::distributed_transaction t{coordinator, server.db(), file};
            return 0;
        });
    };
    const strata::error e = open({.path = folder.file("a.db"), .synchronous = strata::sqlite_synchronous::normal});
    CHECK(e.code() == errc::unsupported);
    CHECK_THAT(e.texts().hint, contains_text("synchronous"));
    CHECK(open({.path = folder.file("b.db"), .synchronous = strata::sqlite_synchronous::off}).code() == errc::unsupported);
    CHECK(open({.path = "file:/two-phase?vfs=memdb"}).code() == errc::unsupported);
    // Its commit is the journal's unlinking, which a power cut may take back.
    CHECK(open({.path = folder.file("c.db"), .journal = strata::sqlite_journal::rollback}).code() == errc::unsupported);
    file_database careful{strata::sqlite_options{
        .path = folder.file("d.db"), .journal = strata::sqlite_journal::rollback, .pragmas = {"pragma synchronous = extra"}}};
    const strata::distributed_transaction t{coordinator, server.db(), careful};
}

TEST_CASE("hooks of a distributed transaction follow what became of the whole", "[two_phase]") {
    two_servers s;
    int committed = 0, rolled_back = 0;
    const auto run = [&](bool fail) {
        const auto r = s.t.try_run([&](auto& a, auto& b) -> strata::result<void> {
            for (auto* tx : {&a, &b}) {
                tx->on_commit([&] { ++committed; });
                tx->on_rollback([&] { ++rolled_back; });
                tx->execute(pay());
            }
            if (fail) return strata::error{errc::user_error, strata::phase::execute};
            return {};
        });
        return r ? strata::error{} : r.error();
    };
    CHECK(!run(false));
    CHECK(committed == 2);
    CHECK(run(true));
    CHECK(rolled_back == 2);
    s.two.script.on_prepare().fails(errc::serialization_failure, effect::rolled_back).times(1);
    CHECK(run(false));
    CHECK(rolled_back == 4);
    s.two.script.on_commit_prepared().fails(errc::connection_lost).times(2);
    CHECK(run(false).code() == errc::commit_pending);
    CHECK(committed == 4);  // it is committed
    CHECK(rolled_back == 4);
    failing_syncs = 2;
    CHECK(run(false).code() == errc::outcome_unknown);
    failing_syncs = 0;
    CHECK(committed == 4);
    CHECK(rolled_back == 4);
}

TEST_CASE("a distributed transaction is as isolated as it was asked to be, and a swallowed conflict dooms it", "[two_phase]") {
    two_servers s;
    CHECK(!s.transfer({.isolation = strata::isolation::serializable}));
    CHECK(s.one.said().at(0) == "begin immediate serializable");
    CHECK(s.two.said().at(0) == "begin immediate serializable");
    s.two.script.on(pay).fails(errc::serialization_failure);
    const auto r = s.t.try_run([](auto& a, auto& b) {
        a.execute(pay());
        static_cast<void>(b.try_execute(pay()));
    });
    REQUIRE(!r);
    CHECK(r.error().code() == errc::serialization_failure);
    CHECK(r.error().effect() == effect::rolled_back);
    CHECK(s.one.said().back() == "rollback");
    CHECK(s.two.said().back() == "rollback");
}

TEST_CASE("transactions of several threads, and recovery beside them", "[two_phase]") {
    two_servers s;
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int n = 0; n < 3; ++n)
        threads.emplace_back([&] {
            for (int i = 0; i < 30; ++i) good += s.transfer() ? 0 : 1;
        });
    std::atomic<bool> stop{false};
    std::thread recovering([&] {
        while (!stop) static_cast<void>(s.t.recover());
    });
    for (std::thread& t : threads) t.join();
    stop = true;
    recovering.join();
    CHECK(good == 90);
    CHECK(s.coordinator.pending().empty());
    for (fake_server* f : {&s.one, &s.two})
        for (const std::string& line : f->said()) REQUIRE_FALSE(line.starts_with("rollback prepared"));
}
