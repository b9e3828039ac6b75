// Transactions of the blocking face: closures, handles, savepoints, repetition, and connections that come back clean.
#include <face/fixture.hpp>

#include <boost/system/result.hpp>

#include <system_error>

using namespace strata_test;

namespace {

using tx_type = strata::database<plain_stack>::transaction_type;

/// A function that takes a transaction by its nameable type.
std::int64_t pay(tx_type& tx, std::int64_t from, std::int64_t to, std::int64_t amount) {
    tx.execute(add_balance(-amount, from));
    tx.execute(add_balance(amount, to));
    return tx.one<std::int64_t>("select balance from account where id = :id"_sql(to));
}

}  // namespace

TEST_CASE("a closure's value comes out after the commit", "[face][transaction]") {
    bank<> b;
    b.fill(2);
    CHECK(b.db.transaction([](auto& tx) { return pay(tx, 1, 2, 30); }) == 230);
    CHECK(b.balance_of(1) == 70);
    static_assert(std::is_void_v<decltype(b.db.transaction([](auto&) {}))>);
    b.db.transaction([](tx_type& tx) { tx.execute(add_balance(1, 1)); });
    CHECK(b.balance_of(1) == 71);
    // What can only be moved comes out too, and a reference comes out as a value.
    const std::unique_ptr<int> moved = b.db.transaction([](auto&) { return std::make_unique<int>(7); });
    CHECK(*moved == 7);
    const std::string text = "long enough not to lie in the object itself";
    CHECK(b.db.transaction([&](auto&) -> const std::string& { return text; }) == text);
    const auto tried = b.db.try_transaction([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); });
    REQUIRE(tried);
    CHECK(*tried == 2);
    const strata::result<void> nothing = b.db.try_transaction([](auto&) {});
    CHECK(nothing);
    check_at_rest(b.db);
}

TEST_CASE("an exception rolls back and comes out as it is", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    const auto failing = [](auto& tx) {
        tx.execute(add_balance(1000, 1));
        throw std::domain_error("no");
    };
    CHECK_THROWS_AS(b.db.transaction(failing), std::domain_error);
    CHECK_THROWS_AS(b.db.try_transaction(failing), std::domain_error);
    CHECK_THROWS_AS(b.db.transaction([](auto& tx) -> int {
        tx.execute(add_balance(1000, 1));
        throw 7;
    }),
                    int);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);

    // Ours is an error that knows what became of the transaction.
    const strata::error e = failure_of([&] {
        b.db.transaction([](auto& tx) {
            tx.execute(add_balance(1000, 1));
            tx.execute(insert_account(1, "twice", 0));
        });
        return 0;
    });
    CHECK(e.code() == errc::unique_violation);
    CHECK(e.effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("a result that holds an error rolls back and comes out", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    const auto refuse = [](auto& tx) -> strata::result<int> {
        tx.execute(add_balance(1000, 1));
        return strata::error{errc::user_error, "too much", strata::phase::execute};
    };
    const strata::result<int> thrown_form = b.db.transaction(refuse);
    REQUIRE(!thrown_form);
    CHECK(thrown_form.error().message() == "too much");
    CHECK(thrown_form.error().effect() == strata::effect::rolled_back);
    const strata::result<int> tried = b.db.try_transaction(refuse);  // not a result in a result
    REQUIRE(!tried);
    CHECK(tried.error().message() == "too much");
    CHECK(tried.error().effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 100);

    // So does a result of somebody else's.
    using other = boost::system::result<int, std::error_code>;
    const other foreign = b.db.transaction([](auto& tx) -> other {
        tx.execute(add_balance(1000, 1));
        return std::make_error_code(std::errc::invalid_argument);
    });
    CHECK(foreign.error() == std::make_error_code(std::errc::invalid_argument));
    CHECK(b.balance_of(1) == 100);

    const strata::result<int> good = b.db.transaction([](auto& tx) -> strata::result<int> {
        tx.execute(add_balance(1, 1));
        return 3;
    });
    REQUIRE(good);
    CHECK(*good == 3);
    CHECK(b.balance_of(1) == 101);
    // An error of the database, returned instead of thrown.
    const auto r = b.db.try_transaction([](auto& tx) { return tx.try_execute(insert_account(1, "twice", 0)); });
    CHECK(r.error().code() == errc::unique_violation);
    CHECK(r.error().effect() == strata::effect::rolled_back);
    check_at_rest(b.db);
}

TEST_CASE("a failure inside a savepoint leaves the transaction usable", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    b.db.transaction([](auto& tx) {
        tx.execute(add_balance(1, 1));
        CHECK(tx.transaction([](auto& inner) {
            inner.execute(add_balance(10, 1));
            return inner.template one<std::int64_t>("select balance from account"_sql);
        }) == 111);
        CHECK_THROWS_AS(tx.transaction([](auto& inner) {
            inner.execute(add_balance(1000, 1));
            throw std::domain_error("inner");
        }),
                        std::domain_error);
        const auto refused = tx.transaction([](auto& inner) -> strata::result<int> {
            inner.execute(add_balance(2000, 1));
            return strata::error{errc::user_error, strata::phase::execute};
        });
        CHECK(refused.error().code() == errc::user_error);
        CHECK(failure_of([&] { return tx.transaction([](auto& inner) { return inner.execute(insert_account(1, "twice", 1)); }); }).code() ==
              errc::unique_violation);
        // Three deep: the middle one fails and takes the innermost with it.
        try {
            tx.transaction([](auto& middle) {
                middle.execute(add_balance(100, 1));
                middle.transaction([](auto& innermost) { innermost.execute(add_balance(200, 1)); });
                CHECK(middle.template one<std::int64_t>("select balance from account"_sql) == 411);
                throw std::domain_error("middle");
            });
        } catch (const std::domain_error&) {
        }
        CHECK(tx.template one<std::int64_t>("select balance from account"_sql) == 111);
        tx.execute(add_balance(3, 1));
    });
    CHECK(b.balance_of(1) == 114);
    check_at_rest(b.db);
}

TEST_CASE("when the database rolls back by itself, no later statement slips out of the transaction", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    constexpr auto insert_or_rollback = "insert or rollback into account (id, owner, balance) values (:id, :owner, :balance)"_sql;
    const strata::error e = failure_of([&] {
        b.db.transaction([&](auto& tx) {
            tx.execute(add_balance(1000, 1));
            CHECK(tx.try_execute(insert_or_rollback(1, "twice", 0)).error().code() == errc::unique_violation);
            CHECK(tx.try_execute(insert_account(5, "Eve", 1)).error().code() == errc::transaction_aborted);
            CHECK(tx.template try_one<std::int64_t>(count_accounts).error().code() == errc::transaction_aborted);
            CHECK(failure_of([&] {
                      auto rows = tx.template rows<account>(all_accounts);
                      return rows.next() != nullptr;
                  }).code() == errc::transaction_aborted);
            CHECK(failure_of([&] {
                      tx.transaction([](auto&) { FAIL("a savepoint outside of a transaction"); });
                      return 0;
                  }).code() == errc::transaction_aborted);
        });
        return 0;
    });
    CHECK(e.code() == errc::commit_rolled_back);
    CHECK(e.effect() == strata::effect::rolled_back);
    CHECK(b.count() == 1);
    CHECK(b.balance_of(1) == 100);

    // The same inside a savepoint.
    CHECK(b.db.try_transaction([&](auto& tx) {
                  tx.execute(add_balance(1000, 1));
                  CHECK(failure_of([&] {
                            return tx.transaction([&](auto& inner) { return inner.execute(insert_or_rollback(1, "twice", 0)); });
                        }).code() == errc::unique_violation);
                  CHECK(tx.try_execute(insert_account(5, "Eve", 1)).error().code() == errc::transaction_aborted);
              })
              .error()
              .code() == errc::commit_rolled_back);
    CHECK(b.count() == 1);
    auto tx = b.db.begin();
    CHECK(tx.try_execute(insert_or_rollback(1, "twice", 0)).error().code() == errc::unique_violation);
    CHECK(tx.try_execute(insert_account(5, "Eve", 1)).error().code() == errc::transaction_aborted);
    CHECK(tx.try_commit().error().code() == errc::commit_rolled_back);
    CHECK(b.count() == 1);
    check_at_rest(b.db);
}

TEST_CASE("a statement sees what its transaction has done, others do not", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    b.db.transaction([&](auto& tx) {
        tx.execute(insert_account(2, "Bob", 2));
        CHECK(tx.template one<std::int64_t>(count_accounts) == 2);
        CHECK(b.count() == 1);  // a reader of the pool, which does not wait for the writer
        CHECK(tx.attempt() == 1);
        CHECK(::sqlite3_get_autocommit(tx.native_handle()) == 0);
    });
    CHECK(b.count() == 2);
}

TEST_CASE("a transaction that is held by hand: commit, rollback, drop, move", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    {
        auto tx = b.db.begin();
        tx.execute(add_balance(1, 1));
        tx.commit();
        CHECK(b.balance_of(1) == 101);
        CHECK(failure_of([&] { return tx.execute(add_balance(1, 1)); }).code() == errc::misuse);
        CHECK(tx.try_execute(add_balance(1, 1)).error().code() == errc::misuse);
        CHECK(failure_of([&] {
                  tx.commit();
                  return 0;
              }).code() == errc::misuse);
        CHECK(tx.try_commit().error().code() == errc::misuse);
        tx.rollback();  // of nothing
        CHECK(failure_of([&] {
                  tx.transaction([](auto&) {});
                  return 0;
              }).code() == errc::misuse);
    }
    {
        auto tx = b.db.begin();
        tx.execute(add_balance(1000, 1));
        tx.rollback();
        check_at_rest(b.db);
        CHECK(b.balance_of(1) == 101);
    }
    {
        auto tx = b.db.begin();
        tx.execute(add_balance(1000, 1));
    }
    check_at_rest(b.db);
    CHECK(b.balance_of(1) == 101);
    {
        auto tx = b.db.begin();
        tx.execute(add_balance(1, 1));
        auto moved = std::move(tx);
        CHECK(failure_of([&] { return tx.execute(add_balance(1, 1)); }).code() == errc::misuse);
        moved.transaction([](tx_type& inner) { inner.execute(add_balance(1, 1)); });
        CHECK_THROWS_AS(moved.transaction([](tx_type& inner) {
            inner.execute(add_balance(1000, 1));
            throw std::domain_error("inner");
        }),
                        std::domain_error);
        CHECK(pay(moved.handle(), 1, 1, 5) == 103);
        REQUIRE(moved.try_commit());
    }
    CHECK(b.balance_of(1) == 103);
    {
        strata::database<plain_stack>::owned_transaction_type tx = b.db.begin({.read_only = true});
        auto other = b.db.begin();
        other.execute(add_balance(1000, 1));
        tx = std::move(other);  // now it is `other` that will roll back the reading one, and `tx` the writing one
        CHECK(tx.one<std::int64_t>("select balance from account"_sql) == 1103);
    }
    check_at_rest(b.db);
    CHECK(b.balance_of(1) == 103);
}

TEST_CASE("a transaction in hand keeps its runtime alive", "[face][transaction]") {
    file_of_its_own f;
    auto db = std::make_unique<strata::database<plain_stack>>(f.target);
    db->execute(create_account);
    auto tx = db->begin();
    tx.execute(insert_account(1, "Ada", 1));
    auto session = db->session({.read_only = true});
    db.reset();
    CHECK(session.one<std::int64_t>(count_accounts) == 0);
    tx.commit();
    CHECK(session.one<std::int64_t>(count_accounts) == 1);
}

TEST_CASE("a reading transaction runs on a reader and refuses a write", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    const auto writing = b.db.begin();  // the writer is away
    CHECK(b.db.transaction([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); }, {.read_only = true}) == 1);
    const auto r = b.db.try_transaction([](auto& tx) { tx.execute(add_balance(1, 1)); }, {.read_only = true});
    REQUIRE(!r);
    CHECK(r.error().code() == errc::read_only);
    auto tx = b.db.begin({.read_only = true});
    CHECK(tx.try_execute(add_balance(1, 1)).error().code() == errc::read_only);
    CHECK(tx.one<std::int64_t>(count_accounts) == 1);
}

TEST_CASE("the locking mode says when the lock is taken", "[face][transaction]") {
    file_of_its_own f;
    strata::database<plain_stack> db{f.impatient()};
    db.execute(create_account);
    stranger other{f.target.path};

    other.run("begin immediate");
    CHECK(db.try_transaction([](auto&) {}).error().code() == errc::busy);  // immediate, for it may write
    CHECK(db.try_transaction([](auto&) {}, {.locking = strata::sqlite_locking::exclusive}).error().code() == errc::busy);
    CHECK(db.try_transaction([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); },
                             {.locking = strata::sqlite_locking::deferred})
              .value() == 0);
    CHECK(db.try_transaction([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); }, {.read_only = true}).value() == 0);
    other.run("commit");

    // A deferred one that has read what another changed meanwhile cannot write any more.
    const auto stale = db.try_transaction(
        [&](auto& tx) {
            static_cast<void>(tx.template one<std::int64_t>(count_accounts));
            other.run("insert into account values (9, 'Zoe', 9)");
            tx.execute(insert_account(1, "Ada", 1));
        },
        {.locking = strata::sqlite_locking::deferred});
    REQUIRE(!stale);
    CHECK(stale.error().code() == errc::busy_snapshot);
    CHECK(stale.error().effect() == strata::effect::rolled_back);
    check_at_rest(db);
}

TEST_CASE("a conflict repeats the closure as a whole", "[face][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 5, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};

    int calls = 0;
    const auto meddle = [&](auto& tx) {
        ++calls;
        CHECK(tx.attempt() == static_cast<unsigned>(calls));
        const auto n = tx.template one<std::int64_t>(count_accounts);
        if (calls < 3) {
            const std::string sql = "insert into account values (" + std::to_string(100 + calls) + ", 'x" + std::to_string(calls) + "', 0)";
            other.run(sql.c_str());
        }
        tx.execute(insert_account(1, "Ada", n));
        return n;
    };
    CHECK(db.transaction(meddle, {.locking = strata::sqlite_locking::deferred}) == 2);
    CHECK(calls == 3);
    CHECK(db.one<std::int64_t>("select balance from account where id = 1"_sql) == 2);
    CHECK(db.policy<strata::metrics<>>().snapshot().retries == 2);

    // A conflict that reaches the closure as a value is one too, if it is passed on.
    calls = 0;
    db.execute("delete from account"_sql);
    const auto passed_on = db.try_transaction(
        [&](auto& tx) -> strata::result<void> {
            ++calls;
            static_cast<void>(tx.template one<std::int64_t>(count_accounts));
            if (calls == 1) other.run("insert into account values (200, 'y', 0)");
            if (auto r = tx.try_execute(insert_account(1, "Ada", 1)); !r) return r.error();
            return {};
        },
        {.locking = strata::sqlite_locking::deferred});
    CHECK(passed_on);
    CHECK(calls == 2);

    // An exception of the closure's own is never repeated.
    calls = 0;
    CHECK_THROWS_AS(db.transaction([&](auto&) {
        ++calls;
        throw std::domain_error("mine");
    }),
                    std::domain_error);
    CHECK(calls == 1);
    check_at_rest(db);
}

TEST_CASE("a transaction whose BEGIN meets a lock is repeated without running the closure", "[face][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 3, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};
    other.run("begin immediate");
    int calls = 0;
    const auto r = db.try_transaction([&](auto&) { ++calls; });
    CHECK(r.error().code() == errc::busy);
    CHECK(r.error().attempts() == 3);
    CHECK(calls == 0);
    CHECK(failure_of([&] { return db.begin(); }).code() == errc::busy);
    other.run("rollback");
    db.transaction([&](auto&) { ++calls; });
    CHECK(calls == 1);
    check_at_rest(db);
}

TEST_CASE("a closure marked once never runs twice, whatever the conflict", "[face][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 5, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};
    int calls = 0;
    const auto meddle = [&](auto& tx) {
        ++calls;
        static_cast<void>(tx.template one<std::int64_t>(count_accounts));
        const std::string sql = "insert into account values (" + std::to_string(calls) + ", 'x" + std::to_string(calls) + "', 0)";
        other.run(sql.c_str());
        tx.execute(insert_account(1000, "Ada", 1));
    };
    CHECK(failure_of([&] {
              db.transaction(strata::once(meddle), {.locking = strata::sqlite_locking::deferred});
              return 0;
          }).code() == errc::busy_snapshot);
    CHECK(calls == 1);
    auto kept = strata::once(meddle);
    CHECK(db.try_transaction(kept, {.locking = strata::sqlite_locking::deferred}).error().code() == errc::busy_snapshot);
    CHECK(calls == 2);
    const auto unchanging = strata::once(meddle);
    CHECK(db.try_transaction(unchanging, {.locking = strata::sqlite_locking::deferred}).error().code() == errc::busy_snapshot);
    CHECK(calls == 3);
    // Its BEGIN may be.
    CHECK(db.try_transaction(strata::once([](auto& tx) { return tx.template one<std::int64_t>(count_accounts); })).value() == 3);
    {
        auto s = db.session();
        CHECK(failure_of([&] {
                  s.transaction(strata::once(meddle), {.locking = strata::sqlite_locking::deferred});
                  return 0;
              }).code() == errc::busy_snapshot);
        CHECK(calls == 4);
    }
    // Erasing the session's type does not make it repeatable. It begins immediate, so the conflict is made up.
    strata::any_session erased{db};
    int erased_calls = 0;
    CHECK(failure_of([&] {
              erased.transaction(strata::once([&](strata::any_session&) {
                  ++erased_calls;
                  strata::throw_failure(strata::error{errc::busy_snapshot, strata::phase::execute});
              }));
              return 0;
          }).code() == errc::busy_snapshot);
    CHECK(erased_calls == 1);
    check_at_rest(db);
}

TEST_CASE("a held transaction is not repeated", "[face][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 5, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};
    auto tx = db.begin({.locking = strata::sqlite_locking::deferred});
    static_cast<void>(tx.one<std::int64_t>(count_accounts));
    other.run("insert into account values (1, 'x', 0)");
    CHECK(tx.try_execute(insert_account(2, "Ada", 1)).error().code() == errc::busy_snapshot);
    tx.rollback();
    CHECK(db.policy<strata::metrics<>>().snapshot().retries == 0);
    check_at_rest(db);
}

TEST_CASE("the deadline of a transaction bounds its statements and its commit", "[face][transaction]") {
    bank<> b;
    b.fill(1);
    const auto slow = b.db.try_transaction(
        [](auto& tx) {
            tx.execute(add_balance(1000, 1));
            return tx.template one<std::int64_t>(endless_query);
        },
        {.deadline = 20ms});
    REQUIRE(!slow);
    CHECK(slow.error().code() == errc::timeout);
    CHECK(slow.error().effect() == strata::effect::rolled_back);

    // The closure's own code is not interrupted, but its work is not committed either.
    const auto late = b.db.try_transaction(
        [](auto& tx) {
            tx.execute(add_balance(1000, 1));
            const auto end = strata::clock::now() + 20ms;
            while (strata::clock::now() < end) {
            }
        },
        {.deadline = 10ms});
    REQUIRE(!late);
    CHECK(late.error().code() == errc::timeout);
    CHECK(late.error().effect() == strata::effect::rolled_back);
    CHECK(b.balance_of(1) == 100);

    // A statement's own deadline ends the statement, not the transaction.
    b.db.transaction([](auto& tx) {
        tx.execute(add_balance(1, 1));
        CHECK(tx.template try_one<std::int64_t>(endless_query, {.deadline = 5ms}).error().code() == errc::timeout);
        tx.execute(add_balance(1, 1));
    });
    CHECK(b.balance_of(1) == 102);
    auto tx = b.db.begin({.deadline = 5ms});
    CHECK(tx.try_one<std::int64_t>(endless_query).error().code() == errc::timeout);
    CHECK(tx.try_commit().error().code() == errc::timeout);
    check_at_rest(b.db);
}

TEST_CASE("a commit that fails rolls back and says so", "[face][transaction]") {
    bank<> b;
    b.db.execute("create table child (parent integer references account (id) deferrable initially deferred)"_sql);
    const auto r = b.db.try_transaction([](auto& tx) { tx.execute("insert into child values (99)"_sql); });
    REQUIRE(!r);
    CHECK(r.error().code() == errc::foreign_key_violation);
    CHECK(r.error().phase() == strata::phase::commit);
    CHECK(r.error().effect() == strata::effect::rolled_back);
    CHECK(b.db.one<std::int64_t>("select count(*) from child"_sql) == 0);
    auto tx = b.db.begin();
    tx.execute("insert into child values (99)"_sql);
    CHECK(tx.try_commit().error().code() == errc::foreign_key_violation);
    CHECK(b.db.one<std::int64_t>("select count(*) from child"_sql) == 0);
    check_at_rest(b.db);
}

TEST_CASE("a session is not closed within its own transaction", "[face][transaction]") {
    bank<> b;
    auto s = b.db.session();
    s.transaction([&](auto& tx) {
        const auto closed = s.try_close();
        REQUIRE(closed.has_error());
        CHECK(closed.error().code() == strata::errc::misuse);
        CHECK(tx.template one<int>("select 1"_sql) == 1);
    });
    CHECK(s.try_close().has_value());
}

TEST_CASE("a transaction on a session runs on its very connection", "[face][transaction]") {
    bank<> b;
    auto s = b.db.session();
    s.execute("create temp table scratch (n integer)"_sql);
    CHECK(s.transaction([](auto& tx) {
        tx.execute("insert into scratch values (1)"_sql);
        return tx.transaction([](auto& inner) { return inner.template one<int>("select count(*) from scratch"_sql); });
    }) == 1);
    CHECK_THROWS_AS(s.transaction([](auto& tx) {
        tx.execute("insert into scratch values (2)"_sql);
        throw std::domain_error("no");
    }),
                    std::domain_error);
    CHECK(s.one<int>("select count(*) from scratch"_sql) == 1);
    const auto r =
        s.try_transaction([](auto& tx) -> strata::result<int> { return tx.template try_one<int>("select count(*) from scratch"_sql); });
    CHECK(r.value() == 1);
}

namespace {

/// As std::expected is: no has_error().
struct expected_int {
    int number = 0;
    bool good = true;
    [[nodiscard]] bool has_value() const { return good; }
    [[nodiscard]] std::string error() const { return "no"; }
};

}  // namespace

TEST_CASE("an std::expected that holds an error rolls back", "[face][transaction]") {
    bank<> b;
    const auto r = b.db.transaction([](auto& tx) {
        tx.execute(insert_account(1, "first", 1));
        return expected_int{.good = false};
    });
    CHECK(!r.has_value());
    CHECK(b.count() == 0);
    CHECK(b.db.transaction([](auto& tx) {
        tx.execute(insert_account(1, "first", 1));
        return expected_int{7};
    }).number == 7);
    CHECK(b.count() == 1);
}

TEST_CASE("a savepoint that failed says that it was rolled back", "[face][transaction]") {
    bank<> b;
    b.db.transaction([](auto& tx) {
        const auto returned = tx.try_transaction([](auto& inner) -> strata::result<int> {
            inner.execute(insert_account(1, "first", 1));
            return strata::error{errc::user_error, "no"};
        });
        CHECK(returned.error().effect() == strata::effect::rolled_back);
        const auto thrown = tx.try_transaction([](auto& inner) {
            inner.execute(insert_account(1, "first", 1));
            inner.execute(insert_account(1, "twice", 1));
        });
        CHECK(thrown.error().code() == errc::unique_violation);
        CHECK(thrown.error().effect() == strata::effect::rolled_back);
    });
    CHECK(b.count() == 0);
}

TEST_CASE("a busy snapshot that a savepoint swallows repeats the whole; an escalated attempt keeps others out", "[face][transaction]") {
    file_of_its_own f;
    strata::database<retrying_stack> db{f.impatient(), strata::retry_options{.max_attempts = 5, .base = {}, .cap = {}}};
    db.execute(create_account);
    stranger other{f.target.path};
    strata::database<plain_stack> third{f.impatient()};
    unsigned attempts = 0;
    db.transaction(
        [&](auto& tx) {
            attempts = tx.attempt();
            const auto n = tx.template one<std::int64_t>(count_accounts);
            if (attempts < 3) {
                const std::string sql = "insert into account values (" + std::to_string(attempts) + ", 'x" + std::to_string(n) + "', 0)";
                other.run(sql.c_str());
            } else {
                CHECK(third.try_execute(insert_account(99, "late", 0)).error().code() == errc::busy);
            }
            static_cast<void>(tx.try_transaction([](auto& inner) { inner.execute(insert_account(10, "Ada", 1)); }));
        },
        {.isolation = strata::isolation::serializable, .locking = strata::sqlite_locking::deferred, .escalation = {.from = 3}});
    CHECK(attempts == 3);
    CHECK(db.one<std::int64_t>(count_accounts) == 3);
    check_at_rest(db);
}
