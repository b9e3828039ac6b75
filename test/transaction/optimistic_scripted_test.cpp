// Optimistic locking over a database that answers as told, in a world whose time is its own: which statements it sends and when, what
// the layers above see of it, and what becomes of failures in the middle.
#include "optimistic_fixture.hpp"

#include <strata/policy/bulkhead.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_world.hpp>

using namespace strata_test;
using strata::effect;
using strata::write_status;

namespace {

using table = strata::detail::versioned_table<item, strata::by_version_column, strata::dialect::sqlite>;
using stack =
    strata::stack<strata::optimistic_locking<>, strata::metrics<>, strata::retry<>, strata::bulkhead<>, strata::pool<>, strata::scripted>;
using journal = std::vector<std::string>;

struct scripted_store {
    strata::script script;
    strata::simulated_world world{7};
    strata::database<stack, strata::simulated_world> db;

    explicit scripted_store(const strata::optimistic_locking_options& o = {.max_attempts = 4, .base = 1s, .cap = 3s})
        : db(world, strata::scripted_options{script}, o, strata::bulkhead_options{.max_concurrent = 1}) {}

    /// What was asked, as `u`, `d`, `f` for update, delete, find, and others as they are.
    [[nodiscard]] std::string asked() const {
        std::string all;
        for (const strata::scripted_call& c : script.calls())
            all += c.text == table::update_text() || c.text == table::update_text<false>() ? "u"
                   : c.text == table::remove_text()                                        ? "d"
                   : c.text == table::find_text()                                          ? "f"
                                                                                           : "<" + c.text + ">";
        return all;
    }
    [[nodiscard]] std::uint64_t operations() { return db.policy<strata::metrics<>>().snapshot().total(); }
};

const strata::recompute more{[](item& i) { ++i.amount; }};

}  // namespace

TEST_CASE("one statement checks and writes, and a second is asked only after a conflict", "[optimistic]") {
    scripted_store s;
    s.script.on(table::update_text()).affected(1);
    const item mine{7, "nail", 90, 3};
    CHECK(s.db.update_versioned(mine).version == 4);
    CHECK(s.asked() == "u");
    REQUIRE(s.script.calls()[0].arguments.size() == 4);
    CHECK(s.script.journal()[0] == std::string{table::update_text()} + " ['nail', 90, 7, 3]");
    s.script.on(table::update_text()).rows({});
    s.script.on(table::find_text()).returns(item{7, "screw", 100, 9});
    s.script.forget_calls();
    const auto done = s.db.update_versioned(mine);
    CHECK(done.status == write_status::conflict);
    CHECK(**done.row == item{7, "screw", 100, 9});
    CHECK(s.asked() == "uf");
    s.script.on(table::find_text()).rows({});
    CHECK(s.db.update_versioned(mine).status == write_status::not_found);
    s.script.on(table::update_text<false>()).rows({});
    s.script.forget_calls();
    CHECK(s.db.update_versioned(mine, strata::last_writer_wins{}).status == write_status::not_found);
    CHECK(s.asked() == "u");
    CHECK(s.world.elapsed() == 0s);
    CHECK(s.operations() == 4);
}

TEST_CASE("between tries time passes, with jitter and within its bounds, in one operation", "[optimistic]") {
    int longest = 0;
    strata::duration sum{};
    for (int seed = 0; seed < 200; ++seed) {
        strata::script script;
        strata::simulated_world world{static_cast<std::uint64_t>(seed)};
        strata::database<stack, strata::simulated_world> db{world, strata::scripted_options{script},
                                                            strata::bulkhead_options{.max_concurrent = 1},
                                                            strata::optimistic_locking_options{.max_attempts = 4, .base = 1s, .cap = 3s}};
        script.on(table::update_text()).rows({});
        script.on(table::find_text()).returns(item{7, "nail", 1, 1});
        int calls = 0;
        const auto done = db.update_versioned<item>(7, strata::recompute{[&](item&) { ++calls; }});
        CHECK(done.status == write_status::exhausted);
        CHECK(done.attempts == 4);
        CHECK(calls == 4);
        CHECK(done.row);
        REQUIRE(script.calls().size() == 9);  // the first read, then each try and the read after it
        const strata::duration took = world.elapsed();
        CHECK(took < 1s + 2s + 3s);  // none after the last
        sum += took;
        longest += took > 3s ? 1 : 0;
        CHECK(db.policy<strata::metrics<>>().snapshot().total() == 1);
        CHECK(db.connections().idle == db.connections().open);
    }
    CHECK(longest > 20);
    CHECK(sum > 200 * 2500ms);
    CHECK(sum < 200 * 3500ms);
}

TEST_CASE("the deadline ends the pause between tries", "[optimistic]") {
    scripted_store s{{.max_attempts = 1000, .base = 1h, .cap = 1h}};
    s.script.on(table::update_text()).rows({});
    s.script.on(table::find_text()).returns(item{7, "nail", 1, 1});
    const auto done = s.db.try_update_versioned<item>(7, more, {.deadline = 10s});
    REQUIRE(done.has_error());
    CHECK(done.error().code() == errc::timeout);
    CHECK(done.error().effect() == effect::none);
    CHECK(s.world.elapsed() == 10s);
    CHECK(s.db.connections().idle == 1);
}

TEST_CASE("a failure in the middle tells the effect of its own statement", "[optimistic]") {
    scripted_store s;
    const item mine{7, "nail", 90, 3};
    // The write may have happened: not repeated.
    s.script.on(table::update_text()).fails(errc::connection_lost, effect::unknown);
    auto done = s.db.try_update_versioned(mine);
    REQUIRE(done.has_error());
    CHECK(done.error().effect() == effect::unknown);
    CHECK(s.asked() == "u");
    CHECK(s.db.try_update_versioned(mine, {.idempotent = true}).has_error());
    CHECK(s.asked() == "uuuu");  // repeated, since the caller said so
    // It has not: the stack's retry begins the whole call anew, and the outcome counts its own tries.
    s.script.forget_calls();
    s.script.on(table::update_text()).rows({});
    s.script.on(table::find_text()).fails(errc::connection_lost).times(1).returns(item{7, "screw", 1, 4});
    s.script.on(table::find_text()).fails(errc::busy).times(1);
    done = s.db.try_update_versioned(mine);
    REQUIRE(done);
    CHECK(done->status == write_status::conflict);
    CHECK(done->attempts == 1);
    CHECK(s.asked() == "ufufuf");
    CHECK(s.operations() == 3);
}

TEST_CASE("a batch whose connection is lost tells what was written", "[optimistic]") {
    scripted_store s;
    const std::vector<item> rows{{1, "a", 1, 1}, {2, "b", 1, 1}, {3, "c", 1, 1}, {4, "d", 1, 1}};
    s.script.on(table::update_text()).affected(1).fails(errc::check_violation).fails(errc::connection_lost);
    const auto each = s.db.update_each_versioned(rows);
    CHECK(s.asked() == "uuu");  // not repeated: the first is written
    REQUIRE(each.size() == 4);
    CHECK(each[0]->version == 2);
    CHECK(each[1].error().code() == errc::check_violation);
    CHECK(each[2].error().code() == errc::connection_lost);
    CHECK(each[2].error().effect() == effect::none);  // of this row
    CHECK(each[3].error().code() == errc::not_run);
    // Nothing is written yet: repeated from the start.
    s.script.forget_calls();
    s.script.on(table::update_text()).fails(errc::connection_lost).times(1).affected(1);
    for (const auto& one : s.db.update_each_versioned(rows)) CHECK(one->version == 2);
    CHECK(s.asked() == "uuuuu");

    s.script.forget_calls();
    s.script.on(table::update_text()).affected(1).rows({});
    s.script.on(table::find_text()).returns(item{2, "b", 7, 7});
    const auto all = s.db.update_all_versioned(rows);
    CHECK(all.failed == 1u);
    CHECK(s.asked() == "<begin immediate>uuf<rollback>");
    s.script.forget_calls();
    s.script.on(table::update_text()).affected(1).fails(errc::deadlock, effect::rolled_back).times(1);
    s.script.on_commit().fails(errc::connection_lost, effect::unknown);
    s.script.on(table::update_text()).affected(1);
    const auto lost = s.db.try_update_all_versioned(rows);
    REQUIRE(lost.has_error());
    CHECK(lost.error().effect() == effect::unknown);
    // The rollback fails: an error, since the connection must not be used any more.
    s.script.on(table::update_text()).rows({});
    s.script.on_rollback().fails(errc::io_error);
    const auto stuck = s.db.try_update_all_versioned(rows);
    REQUIRE(stuck.has_error());
    CHECK(stuck.error().code() == errc::connection_lost);
    CHECK(s.db.connections().open == 0);
    // With the connection gone there is nothing to roll back.
    s.script.on_rollback().fails(errc::connection_lost);
    CHECK(s.db.update_all_versioned(rows).failed == 0u);
    CHECK(s.db.connections().open == s.db.connections().idle);
}

TEST_CASE("a strategy that would go on from what it wrote itself is not taken for idempotent", "[optimistic]") {
    scripted_store s;
    s.script.on_any().fails(errc::connection_lost, effect::unknown);
    const strata::versioned<item> mine{item{7, "nail", 90, 3}, 3};
    const std::vector<strata::versioned<item>> rows{mine};
    const strata::call_options promised{.idempotent = true};
    const auto refuses = [&](const auto& done) {
        REQUIRE(done.has_error());
        CHECK(done.error().code() == errc::invalid_argument);
        CHECK(done.error().effect() == effect::none);
        CHECK_THAT(done.error().to_string(), contains_text("leave call_options::idempotent out"));
        CHECK(s.asked().empty());
    };
    const auto repeats = [&](const auto& strategy) {
        s.script.forget_calls();
        CHECK(s.db.try_update_versioned(mine, strategy, promised).error().code() == errc::connection_lost);
        CHECK(s.asked() == "uuu");
        s.script.forget_calls();
    };
    const strata::merge adding{strata::otherwise(strata::take_ours), strata::field<"amount">(strata::add_numbers)};
    const strata::merge appending{strata::field<"name">(strata::append_lists)};
    const strata::merge own{strata::field<"amount">([](std::int64_t b, std::int64_t o, std::int64_t t) { return b + o + t; })};
    refuses(s.db.try_update_versioned<item>(7, more, promised));
    refuses(s.db.try_update_versioned(mine, more, promised));
    refuses(s.db.try_update_versioned(mine, adding, promised));
    refuses(s.db.try_update_versioned(mine, appending, promised));
    refuses(s.db.try_update_versioned(mine, own, promised));
    refuses(s.db.update_each_versioned(rows, adding, promised).at(0));
    repeats(strata::fail_fast{});
    repeats(strata::merge{});
    repeats(strata::merge{strata::field<"name">(strata::take_theirs), strata::otherwise(strata::take_ours)});
    s.script.on_any().affected(1);
    CHECK(s.db.try_update_versioned(mine, adding).has_value());  // without the promise
    s.script.forget_calls();
    const auto all = s.db.try_update_all_versioned(rows, more, promised);
    REQUIRE(all.has_error());
    CHECK(all.error().code() == errc::invalid_argument);
    CHECK(s.asked() == "<begin immediate><rollback>");
}

TEST_CASE("a batch pauses between its tries too", "[optimistic]") {
    scripted_store s;
    const std::vector<strata::versioned<item>> rows{{item{1, "a", 1, 1}, 1}, {item{2, "b", 1, 1}, 1}};
    s.script.on(table::update_text()).rows({}).rows({}).affected(1);
    s.script.on(table::find_text()).returns(item{1, "a", 1, 5});
    const auto all = s.db.update_all_versioned(rows, more);
    REQUIRE(all);
    CHECK(all.rows[0].attempts == 3);
    CHECK(all.rows[1].attempts == 1);
    CHECK(s.asked() == "<begin immediate>ufufuu<commit>");
    CHECK(s.world.elapsed() > 0s);
    CHECK(s.world.elapsed() < 3s);
}

TEST_CASE("inside a transaction a versioned call asks only the layers that stand there", "[optimistic]") {
    scripted_store s;
    s.script.on(table::update_text()).rows({}).affected(1);
    s.script.on(table::find_text()).returns(item{7, "nail", 1, 1});
    s.db.transaction([&](auto& tx) { CHECK(tx.template update_versioned<item>(7, more).attempts == 2); });  // the bulkhead has one place
    CHECK(s.asked() == "<begin immediate>fufu<commit>");
    CHECK(s.operations() == 1);
}
