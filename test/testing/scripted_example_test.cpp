// How to test your own code without a database: an example to copy from.
//
// The code under test is `transfer`, an ordinary function over any database. The tests give it a stack whose driver is
// `strata::scripted` in the place of `strata::sqlite` and say what statements are answered with. Nothing is opened and
// nothing waits, but all layers of the stack do what they do in production: here, the retry.
#include <support/catch.hpp>

#include <strata/strata.hpp>
#include <strata/testing/scripted.hpp>
#include <strata/testing/simulated_world.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <algorithm>
#include <stdexcept>

using namespace std::chrono_literals;
using namespace strata::literals;

// ------------------------------------------------------------------------------------------- the code under test

struct account {
    std::int64_t id;
    std::string owner;
    std::int64_t balance;
};
BOOST_HANA_ADAPT_STRUCT(account, id, owner, balance);

namespace {

constexpr auto find = "select id, owner, balance from account where id = :id"_sql.named("find");
constexpr auto add = "update account set balance = balance + :amount where id = :id"_sql.named("add");

enum class transferred { yes, no_such_account, not_enough };

/// Moves money; never leaves half a transfer behind.
template <class Database>
transferred transfer(Database& db, std::int64_t from, std::int64_t to, std::int64_t amount) {
    return db.transaction([&](auto& tx) {
        const auto payer = tx.template maybe_one<account>(find("id"_arg = from));
        if (!payer) return transferred::no_such_account;
        if (payer->balance < amount) return transferred::not_enough;
        tx.execute(add("amount"_arg = -amount, "id"_arg = from));
        if (tx.execute(add("amount"_arg = +amount, "id"_arg = to)).affected == 0) throw std::runtime_error("the receiver has gone");
        return transferred::yes;
    });
}

using journal = std::vector<std::string>;
using bank = strata::stack<strata::retry<>, strata::pool<>, strata::scripted>;

}  // namespace

// ------------------------------------------------------------------------------------------------------ its tests

TEST_CASE("a transfer takes from one account and gives to the other, in one transaction", "[example]") {
    strata::script script;
    script.on(find).returns(account{1, "ada", 100});
    script.on(add).affected(1);
    strata::database<bank> db{strata::scripted_options{script}};

    CHECK(transfer(db, 1, 2, 30) == transferred::yes);
    CHECK(script.journal() == journal{"begin immediate", "find [1]", "add [-30, 1]", "add [30, 2]", "commit"});
}

TEST_CASE("nothing is changed when there is not enough", "[example]") {
    strata::script script;
    script.on(find).returns(account{1, "ada", 10});
    strata::database<bank> db{strata::scripted_options{script}};

    CHECK(transfer(db, 1, 2, 30) == transferred::not_enough);
    CHECK(script.journal() == journal{"begin immediate", "find [1]", "commit"});
}

TEST_CASE("nor when nobody is there", "[example]") {
    strata::script script;
    script.on(find).rows({});
    strata::database<bank> db{strata::scripted_options{script}};

    CHECK(transfer(db, 1, 2, 30) == transferred::no_such_account);
}

TEST_CASE("a receiver who has gone rolls the transfer back", "[example]") {
    strata::script script;
    script.on(find).returns(account{1, "ada", 100});
    script.on(add).affected(1).affected(0);  // answers are given in order, the last one for ever
    strata::database<bank> db{strata::scripted_options{script}};

    CHECK_THROWS_AS(transfer(db, 1, 2, 30), std::runtime_error);
    CHECK(script.journal().back() == "rollback");
}

TEST_CASE("a transfer that lost a conflict is made again from the beginning", "[example]") {
    strata::script script;
    script.on(find).returns(account{1, "ada", 100});
    script.on(add).affected(1);
    script.on(add).fails(strata::errc::busy_snapshot).times(1);  // the newest answer counts, and then the one before
    // In a simulated world the pause of the retry takes no time.
    strata::simulated_world world;
    strata::database<bank, strata::simulated_world> db{world, strata::scripted_options{script}};

    CHECK(transfer(db, 1, 2, 30) == transferred::yes);
    CHECK(script.journal() == journal{"begin immediate", "find [1]", "add [-30, 1]", "rollback",  //
                                      "begin immediate", "find [1]", "add [-30, 1]", "add [30, 2]", "commit"});
}

TEST_CASE("when the answer to COMMIT is lost, the caller learns that nobody knows", "[example]") {
    strata::script script;
    script.on(find).returns(account{1, "ada", 100});
    script.on(add).affected(1);
    script.on_commit().fails(strata::errc::connection_lost, strata::effect::unknown);
    strata::database<bank> db{strata::scripted_options{script}};

    try {
        transfer(db, 1, 2, 30);
        FAIL("it was acknowledged");
    } catch (const strata::failure& f) {
        CHECK(f.code() == strata::errc::connection_lost);
        CHECK(f.error().effect() == strata::effect::unknown);
    }
    const journal all = script.journal();
    CHECK(std::count(all.begin(), all.end(), "commit") == 1);  // and it is not made again
}

TEST_CASE("a database that does not answer is not waited for longer than the deadline", "[example]") {
    strata::script script;
    script.on(find).hangs();
    strata::simulated_world world;
    strata::database<bank, strata::simulated_world> db{world, strata::scripted_options{script}};

    const auto r = db.try_one<account>(find("id"_arg = 1), {.deadline = 30s});
    CHECK(r.error().code() == strata::errc::timeout);
    CHECK(world.elapsed() == strata::duration{30s});  // of the simulation: the test itself took no time
}
