// The blocking face on SQLite files: every form of a call with its options, and where a statement may run.
#include <face/fixture.hpp>

#include <array>
#include <deque>

using namespace strata_test;

namespace {

/// Throws while it is written, or read: a user's codec may do so.
struct thrower {};

/// Counts its living objects, and throws at the third that is read.
struct counted {
    counted() { ++alive; }
    counted(const counted&) { ++alive; }
    counted& operator=(const counted&) = default;
    ~counted() { --alive; }
    inline static int alive = 0;
    inline static int reads = 0;
};

}  // namespace

template <>
struct strata::codec<thrower> {
    static constexpr std::string_view name = "thrower";
    template <strata::column_reader R>
    static strata::errc read(const R&, thrower&) {
        throw std::runtime_error("read");
    }
    template <strata::parameter_writer W>
    static strata::errc write(W&, const thrower&) {
        throw std::runtime_error("write");
    }
};

template <>
struct strata::codec<counted> {
    static constexpr std::string_view name = "counted";
    template <strata::column_reader R>
    static strata::errc read(const R&, counted&) {
        if (++counted::reads == 3) throw std::runtime_error("read");
        return strata::errc::ok;
    }
};

TEST_CASE("execute tells changed rows and the last id", "[face]") {
    bank<> b;
    const strata::execution first = b.db.execute(insert_account(7, "Ada", 100));
    CHECK(first.affected == 1);
    CHECK(first.last_id == 7);
    b.db.execute(insert_account("id"_arg = 8, "owner"_arg = "Bob", "balance"_arg = 50));
    const strata::execution both = b.db.execute("update account set balance = balance + 1"_sql);
    CHECK(both.affected == 2);
    CHECK(both.last_id == 0);

    const auto again = b.db.try_execute(insert_account(7, "Eve", 0));
    REQUIRE(!again);
    CHECK(again.error().code() == errc::unique_violation);
    CHECK(again.error().effect() != strata::effect::applied);
    CHECK(failure_of([&] { return b.db.execute(insert_account(7, "Eve", 0)); }).code() == errc::unique_violation);
    const auto fine = b.db.try_execute(insert_account(9, "Eve", 0));
    REQUIRE(fine);
    CHECK(fine->last_id == 9);
    check_at_rest(b.db);
}

TEST_CASE("one wants exactly one row", "[face]") {
    bank<> b;
    b.fill(3);
    CHECK(b.db.one<account>(find_account("id"_arg = 2)) == account{2, "owner 2", 200});
    CHECK(b.db.one<std::int64_t>(count_accounts) == 3);
    CHECK(b.db.one<std::tuple<std::int64_t, std::string>>("select id, owner from account where id = 1"_sql) ==
          std::tuple<std::int64_t, std::string>{1, "owner 1"});

    CHECK(failure_of([&] { return b.db.one<account>(find_account(99)); }).code() == errc::no_rows);
    CHECK(failure_of([&] { return b.db.one<account>(all_accounts); }).code() == errc::too_many_rows);
    CHECK(b.db.try_one<account>(find_account(99)).error().code() == errc::no_rows);
    CHECK(b.db.try_one<account>(all_accounts).error().code() == errc::too_many_rows);
    const auto found = b.db.try_one<account>(find_account(3));
    REQUIRE(found);
    CHECK(found->owner == "owner 3");
    check_at_rest(b.db);
}

TEST_CASE("maybe_one wants at most one row", "[face]") {
    bank<> b;
    b.fill(2);
    CHECK(b.db.maybe_one<account>(find_account(2)) == account{2, "owner 2", 200});
    CHECK(b.db.maybe_one<account>(find_account(99)) == std::nullopt);
    CHECK(failure_of([&] { return b.db.maybe_one<account>(all_accounts); }).code() == errc::too_many_rows);

    const auto none = b.db.try_maybe_one<account>(find_account(99));
    REQUIRE(none);
    CHECK_FALSE(none->has_value());
    CHECK(b.db.try_maybe_one<account>(all_accounts).error().code() == errc::too_many_rows);
    // A NULL that is there is not a row that is missing.
    const auto null = b.db.maybe_one<std::optional<int>>("select null"_sql);
    REQUIRE(null);
    CHECK_FALSE(null->has_value());
    check_at_rest(b.db);
}

TEST_CASE("all takes every row", "[face]") {
    bank<> b;
    CHECK(b.db.all<account>(all_accounts).empty());
    b.fill(1000);
    const std::vector<account> rows = b.db.all<account>(all_accounts);
    REQUIRE(rows.size() == 1000);
    CHECK(rows[999] == account{1000, "owner 1000", 100'000});
    const auto balances = b.db.try_all<std::int64_t>("select balance from account where id < :id order by id"_sql(4));
    REQUIRE(balances);
    CHECK(*balances == std::vector<std::int64_t>{100, 200, 300});
    CHECK(b.db.all<bool>("select id > 999 from account where id >= 999"_sql) == std::vector<bool>{false, true});
    CHECK(b.db.try_all<int>("select owner from account"_sql).error().code() == errc::type_mismatch);
    check_at_rest(b.db);
}

TEST_CASE("a call's own deadline ends a long statement and leaves the connection usable", "[face]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    const auto slow = b.db.try_one<std::int64_t>(endless_query, {.deadline = 20ms});
    REQUIRE(!slow);
    CHECK(slow.error().code() == errc::timeout);
    CHECK(failure_of([&] { return b.db.one<std::int64_t>(endless_query, {.deadline = 1ms}); }).code() == errc::timeout);
    CHECK(b.db.try_execute(endless_query, {.deadline = 1ms}).error().code() == errc::timeout);
    CHECK(b.db.try_all<std::int64_t>(endless_query, {.deadline = 1ms}).error().code() == errc::timeout);
    CHECK(b.db.try_maybe_one<std::int64_t>(endless_query, {.deadline = 1ms}).error().code() == errc::timeout);
    CHECK(b.count() == 0);
    CHECK(b.db.connections().opened == 1);
    check_at_rest(b.db);
}

namespace {

struct seen_operation {
    std::string name, statement, tags;
    strata::operation_kind kind{};
    bool idempotent = false, reads_only = false, bounded = false;
};
/// Remembers what the last operation said of itself.
struct eavesdropper {
    static constexpr auto place = strata::place::observe;
    static constexpr bool inside_transaction = true;
    static inline seen_operation last;
    static inline std::vector<strata::operation_kind> kinds;

    void admit(auto& op, strata::no_frame&) {
        std::string tags;
        for (const strata::tag& t : op.tags) tags.append(t.key).append("=").append(t.value).append(";");
        last = {std::string{op.name}, std::string{op.statement},   tags, op.kind(), op.idempotent(),
                op.reads_only,        op.deadline != strata::never};
        kinds.push_back(op.kind());
    }
};
using observed_stack = strata::stack<eavesdropper, strata::pool<>, strata::sqlite>;

}  // namespace

TEST_CASE("layers see name, text, tags, kind, idempotence and deadline of a call", "[face]") {
    bank<observed_stack> b;
    const std::array<strata::tag, 2> tags{{{"tenant", "7"}, {"route", "/pay"}}};
    auto& seen = eavesdropper::last;

    b.db.execute(insert_account(1, "Ada", 1), {.deadline = 10s, .tags = tags, .idempotent = true});
    CHECK(seen.statement == "insert into account (id, owner, balance) values (:id, :owner, :balance)");
    CHECK(seen.tags == "tenant=7;route=/pay;");
    CHECK(seen.kind == strata::operation_kind::write);
    CHECK(seen.idempotent);
    CHECK(seen.bounded);
    CHECK_FALSE(seen.reads_only);
    CHECK(seen.name.empty());

    b.db.execute(add_balance.named("pay")(1, 1));
    CHECK(seen.name == "pay");
    CHECK_FALSE(seen.idempotent);
    CHECK_FALSE(seen.bounded);
    CHECK(seen.tags.empty());

    static_cast<void>(b.db.one<account>(find_account.named("find")(1)));
    CHECK(seen.kind == strata::operation_kind::read);
    CHECK(seen.name == "find");
    CHECK(seen.idempotent);
    CHECK(seen.reads_only);

    strata::statement q{"update account set balance = 0 where id = :id"};
    q.set("id"_arg = 1).named("reset");
    b.db.execute(q);
    CHECK(seen.kind == strata::operation_kind::write);
    CHECK(seen.name == "reset");
    CHECK_FALSE(seen.idempotent);
    CHECK_FALSE(seen.reads_only);

    eavesdropper::kinds.clear();
    b.db.transaction([&](auto& tx) { tx.execute(add_balance(1, 1), {.tags = tags}); }, {.deadline = 10s, .name = "move"});
    CHECK(eavesdropper::kinds == std::vector{strata::operation_kind::transaction, strata::operation_kind::write});
    CHECK(seen.tags == "tenant=7;route=/pay;");
    CHECK(seen.bounded);  // by the transaction
    {
        auto s = b.db.session({.tags = tags, .name = "pinned"});
    }
    CHECK(seen.kind == strata::operation_kind::pinned_session);
    CHECK(seen.name == "pinned");
    {
        auto tx = b.db.begin({.name = "by hand"});
    }
    CHECK(seen.kind == strata::operation_kind::transaction);
    CHECK(seen.name == "by hand");
    eavesdropper::kinds.clear();
    eavesdropper::last = {};
}

TEST_CASE("a statement made at run time goes through every form", "[face]") {
    bank<> b;
    b.fill(4);
    strata::statement find{"select id, owner, balance from account where id = :id"};
    find.set("id"_arg = 3);
    CHECK(b.db.one<account>(find).owner == "owner 3");
    CHECK(b.db.maybe_one<account>(find).has_value());
    CHECK(b.db.all<account>(find).size() == 1);
    CHECK(b.db.try_one<account>(find).value().id == 3);
    CHECK(b.db.try_maybe_one<account>(find).value().has_value());
    CHECK(b.db.try_all<account>(find).value().size() == 1);
    int streamed = 0;
    for (const account& a : b.db.rows<account>(find)) streamed += static_cast<int>(a.id);
    CHECK(streamed == 3);

    strata::statement change{"update account set balance = 0"};
    const std::vector<std::int64_t> ids{1, 2, 4};
    change += " where id in (:ids...)";
    change.set("ids"_arg = ids);
    CHECK(b.db.execute(change).affected == 3);
    CHECK(b.db.try_execute(change).value().affected == 3);
    b.db.transaction([&](auto& tx) {
        CHECK(tx.execute(change).affected == 3);
        CHECK(tx.template one<account>(find).balance == 300);
        tx.transaction([&](auto& inner) { CHECK(inner.template all<account>(find).size() == 1); });
    });
    CHECK(b.db.session().one<account>(find).balance == 300);
    auto tx = b.db.begin();
    CHECK(tx.execute(change).affected == 3);
    tx.commit();
}

TEST_CASE("a run-time statement that is wrong, or in the wrong place, is an error and touches no connection", "[face]") {
    bank<observed_stack> b;
    eavesdropper::kinds.clear();

    const strata::statement broken{"select 'no end"};
    CHECK(b.db.try_one<int>(broken).error().code() == errc::invalid_statement);
    CHECK(failure_of([&] { return b.db.one<int>(broken); }).texts().position >= 0);
    CHECK(failure_of([&] { return b.db.rows<int>(broken); }).code() == errc::invalid_statement);

    const strata::statement unset{"select :id"};
    CHECK(b.db.try_one<int>(unset).error().code() == errc::invalid_statement);

    const strata::statement foreign{"select $$text$$"};
    CHECK(b.db.try_one<std::string>(foreign).error().code() == errc::invalid_statement);

    for (const char* text : {"begin", "commit", "rollback", "savepoint a", "release a", "begin; delete from account; commit"}) {
        INFO(text);
        CHECK(b.db.try_execute(strata::statement{text}).error().code() == errc::misuse);
    }
    const auto pragma = b.db.try_execute(strata::statement{"pragma cache_size = 10"});
    CHECK(pragma.error().code() == errc::misuse);
    CHECK_THAT(pragma.error().texts().hint, contains_text("db.session()"));
    CHECK(eavesdropper::kinds.empty());

    b.db.transaction([&](auto& tx) {
        CHECK(tx.try_execute(strata::statement{"commit"}).error().code() == errc::misuse);
        CHECK(tx.try_execute(strata::statement{"savepoint a"}).error().code() == errc::misuse);
        CHECK(tx.try_execute(strata::statement{"delete from account; commit"}).error().code() == errc::misuse);
        CHECK(tx.try_execute(strata::statement{"pragma user_version"}));
    });
    auto s = b.db.session();
    CHECK(s.try_execute(strata::statement{"begin"}));
    CHECK(s.try_execute(strata::statement{"commit"}));
    CHECK(s.try_execute(strata::statement{"pragma cache_size = 10"}));
    eavesdropper::kinds.clear();
}

TEST_CASE("an exception of a user's codec comes out, and the lease goes back", "[face]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    b.fill(1);
    CHECK_THROWS_WITH(b.db.execute("update account set balance = :x"_sql(thrower{})), "write");
    CHECK_THROWS_WITH(b.db.try_execute("update account set balance = :x"_sql(thrower{})), "write");
    CHECK_THROWS_WITH(b.db.one<thrower>(count_accounts), "read");
    CHECK_THROWS_WITH(b.db.try_all<thrower>(count_accounts), "read");
    CHECK_THROWS_WITH(b.db.rows<thrower>(count_accounts).next(), "read");
    CHECK_THROWS_WITH(b.db.rows<thrower>(count_accounts).try_next(), "read");
    check_at_rest(b.db);
    CHECK_THROWS_WITH(b.db.transaction([](auto& tx) { tx.execute("update account set balance = :x"_sql(thrower{})); }), "write");
    check_at_rest(b.db);
    {
        auto s = b.db.session();
        CHECK_THROWS_WITH(s.one<thrower>(count_accounts), "read");
        CHECK(s.one<std::int64_t>(count_accounts) == 1);
    }
    CHECK(b.balance_of(1) == 100);
    check_at_rest(b.db);
}

TEST_CASE("what a try_ call has read before an exception or an error is destroyed, once", "[face]") {
    bank<> b;
    b.fill(4);
    CHECK_THROWS_WITH(b.db.try_all<counted>("select id from account"_sql), "read");
    CHECK(counted::reads == 3);
    CHECK(counted::alive == 0);
    {
        const auto two = b.db.try_one<counted>("select id from account limit 2"_sql);
        REQUIRE(!two);
        CHECK(two.error().code() == strata::errc::too_many_rows);
        CHECK(counted::alive == 0);
        const auto all = b.db.try_all<counted>("select id from account"_sql);
        REQUIRE(all);
        CHECK(counted::alive == static_cast<int>(all->size()));
    }
    CHECK(counted::alive == 0);
}

TEST_CASE("execute_many takes tuples, adapted structs and single values", "[face]") {
    bank<> b;
    const std::vector<std::tuple<int, std::string, int>> tuples{{1, "Ada", 10}, {2, "Bob", 20}};
    const strata::execution first = b.db.execute_many(insert_account, tuples);
    CHECK(first.affected == 2);
    CHECK(first.last_id == 2);
    const std::deque<account> structs{{3, "Eve", 30}, {4, "Dan", 40}, {5, "Zoe", 50}};
    CHECK(b.db.execute_many(insert_account, structs).affected == 3);
    CHECK(b.db.one<account>(find_account(5)) == account{5, "Zoe", 50});
    const std::array<int, 3> ids{1, 3, 99};
    CHECK(b.db.execute_many("delete from account where id = :id"_sql, ids).affected == 2);
    CHECK(b.db.execute_many("delete from account where id = :id"_sql, std::vector<int>{}).affected == 0);
    const std::vector<std::pair<int, int>> pairs{{5, 2}, {7, 4}};
    CHECK(b.db.execute_many(add_balance, pairs).affected == 2);
    CHECK(b.balance_of(4) == 47);
    CHECK(b.count() == 3);
    const std::vector<bool> flags{true, false};
    CHECK(b.db.execute_many("update account set balance = :on where id = 2"_sql, flags).affected == 2);
    CHECK(b.balance_of(2) == 0);
    check_at_rest(b.db);
}

TEST_CASE("execute_many does all or nothing and names the element that fails", "[face]") {
    bank<> b;
    const std::vector<account> twice{{1, "Ada", 10}, {2, "Bob", 20}, {1, "Eve", 30}};
    const strata::error e = failure_of([&] { return b.db.execute_many(insert_account, twice); });
    CHECK(e.code() == errc::unique_violation);
    CHECK(e.effect() == strata::effect::rolled_back);
    CHECK_THAT(e.to_string(), contains_text("element 2"));
    CHECK(b.count() == 0);

    // Inside a transaction it is a savepoint: what was done before it stays.
    b.db.transaction([&](auto& tx) {
        tx.execute(insert_account(7, "Zoe", 1));
        CHECK(failure_of([&] { return tx.execute_many(insert_account, twice); }).code() == errc::unique_violation);
        CHECK(tx.template one<std::int64_t>(count_accounts) == 1);
    });
    CHECK(b.count() == 1);
    {
        auto s = b.db.session();
        CHECK(failure_of([&] { return s.execute_many(insert_account, twice); }).code() == errc::unique_violation);
        CHECK(s.one<std::int64_t>(count_accounts) == 1);
    }
    auto tx = b.db.begin({.locking = strata::sqlite_locking::deferred});
    CHECK(failure_of([&] { return tx.execute_many(insert_account, twice); }).code() == errc::unique_violation);
}

TEST_CASE("execute_many has a form that does not throw", "[face]") {
    bank<> b;
    const std::vector<account> fine{{1, "Ada", 10}, {2, "Bob", 20}};
    const auto done = b.db.try_execute_many(insert_account, fine);
    REQUIRE(done);
    CHECK(done->affected == 2);
    const auto failed = b.db.try_execute_many(insert_account, fine);
    REQUIRE(!failed);
    CHECK(failed.error().code() == errc::unique_violation);
    CHECK_THAT(failed.error().to_string(), contains_text("element 0"));
    b.db.transaction([&](auto& tx) { CHECK(tx.try_execute_many(insert_account, fine).error().code() == errc::unique_violation); });
    CHECK(b.count() == 2);
}
TEST_CASE("a pinned session keeps its connection: temporary tables, settings, transactions by hand", "[face]") {
    bank<> b;
    auto s = b.db.session();
    s.execute("create temp table scratch (n integer)"_sql);
    s.execute("insert into scratch values (1), (2)"_sql);
    CHECK(s.one<int>("select count(*) from scratch"_sql) == 2);
    s.execute("pragma user_version = 7"_sql);
    s.execute("begin"_sql);
    s.execute(insert_account(1, "Ada", 1));
    CHECK(::sqlite3_get_autocommit(s.native_handle()) == 0);
    s.execute("rollback"_sql);
    CHECK(s.one<std::int64_t>(count_accounts) == 0);
    CHECK(s.transaction([](auto& tx) {
        tx.execute(insert_account(2, "Bob", 2));
        return tx.template one<std::int64_t>(count_accounts);
    }) == 1);

    // Moving it keeps the connection; an empty one says so.
    auto moved = std::move(s);
    CHECK(moved.one<int>("select count(*) from scratch"_sql) == 2);
    CHECK(failure_of([&] { return s.one<int>("select 1"_sql); }).code() == errc::misuse);
    CHECK(failure_of([&] { return s.native_handle(); }).code() == errc::misuse);
}

TEST_CASE("a session that is dropped inside a transaction is rolled back", "[face]") {
    bank<> b;
    {
        auto s = b.db.session();
        s.execute("begin immediate"_sql);
        s.execute(insert_account(1, "Ada", 1));
    }
    CHECK(b.count() == 0);
    check_at_rest(b.db);
    {
        auto first = b.db.session();
        auto reader = b.db.session({.read_only = true});
        CHECK(reader.try_execute(insert_account(1, "Ada", 1)).error().code() == errc::read_only);
        first.execute(insert_account(1, "Ada", 1));
        CHECK(reader.one<std::int64_t>(count_accounts) == 1);
    }
    check_at_rest(b.db);
}

TEST_CASE("a single connection serves all, one after the other", "[face]") {
    file_of_its_own f;
    strata::database<strata::stack<strata::single, strata::sqlite>> memory{strata::sqlite_options{.path = ":memory:"}};
    memory.execute(create_account);
    memory.execute(insert_account(1, "Ada", 1));
    CHECK(memory.one<std::int64_t>(count_accounts) == 1);
    {
        auto s = memory.session();
        CHECK(s.one<std::int64_t>(count_accounts) == 1);
    }
    CHECK(memory.transaction([](auto& tx) { return tx.execute(insert_account(2, "Bob", 1)).affected; }) == 1);
    CHECK(memory.connections().open == 1);
}

TEST_CASE("options that make no sense, and a file that cannot be opened, are refused at construction", "[face]") {
    file_of_its_own f;
    using plain = strata::database<plain_stack>;
    CHECK(failure_of([&] { return std::make_unique<plain>(f.target, strata::pool_options{.min_size = 3, .max_size = 2}); }).code() ==
          errc::invalid_argument);
    CHECK(failure_of([&] { return std::make_unique<plain>(strata::sqlite_options{.path = ":memory:"}); }).code() == errc::invalid_argument);
    CHECK(failure_of([&] { return std::make_unique<plain>(); }).code() == errc::invalid_argument);
    CHECK(failure_of([&] { return std::make_unique<plain>(strata::sqlite_options{.path = f.folder.file("missing/bank.db")}); }).code() ==
          errc::cannot_connect);
    CHECK(failure_of([&] {
              return std::make_unique<strata::database<retrying_stack>>(f.target, strata::retry_options{.max_attempts = 0});
          }).code() == errc::invalid_argument);
}

TEST_CASE("a database may begin without connections and opens them when they are needed", "[face]") {
    file_of_its_own f;
    strata::database<plain_stack> db{f.target, strata::pool_options{.min_size = 0, .max_size = 3}};
    CHECK(db.connections().open == 0);
    db.execute(create_account);
    CHECK(db.connections().open == 1);
    CHECK(db.one<std::int64_t>(count_accounts) == 0);
    CHECK(db.connections().open == 2);  // a reader

    strata::database<plain_stack> nowhere{strata::sqlite_options{.path = f.folder.file("missing/bank.db")},
                                          strata::pool_options{.min_size = 0}};
    CHECK(nowhere.try_one<std::int64_t>(count_accounts).error().code() == errc::cannot_connect);
    CHECK(nowhere.connections().open == 0);
    const auto unreachable = [](const strata::error& e) {  // of an attempt, or while the next one is awaited
        return (e.code() == errc::cannot_connect || e.code() == errc::pool_unreachable) &&
               e.message().find("unable to open") != std::string::npos;
    };
    CHECK(unreachable(failure_of([&] { return nowhere.begin(); })));
    CHECK(unreachable(nowhere.try_begin().error()));
    CHECK(unreachable(nowhere.try_session().error()));
    CHECK(unreachable(failure_of([&] { return nowhere.rows<account>(all_accounts).next(); })));
}

TEST_CASE("many threads share one database", "[face]") {
    bank<> b{strata::pool_options{.max_size = 4}};
    b.fill(8);
    constexpr int threads = 6, rounds = 50;
    std::vector<std::thread> crowd;
    std::atomic<int> failures{0};
    for (int t = 0; t < threads; ++t) {
        crowd.emplace_back([&, t] {
            for (int i = 0; i < rounds; ++i) {
                const auto from = 1 + (t + i) % 8, to = 1 + (t + 3 * i + 1) % 8;
                const auto r = b.db.try_transaction([&](auto& tx) {
                    tx.execute(add_balance(-1, from));
                    tx.execute(add_balance(+1, to));
                });
                if (!r || !b.db.try_one<account>(find_account(from))) ++failures;
            }
        });
    }
    for (std::thread& t : crowd) t.join();
    CHECK(failures == 0);
    CHECK(b.db.one<std::int64_t>("select sum(balance) from account"_sql) == 3600);
    CHECK(b.db.connections().opened <= 4);
    check_at_rest(b.db);
}

TEST_CASE("a deadline and close also end a wait for a lock while a connection is being opened", "[face]") {
    file_of_its_own f;
    strata::sqlite_options patient = f.target;
    patient.busy_timeout = 60s;
    patient.journal = strata::sqlite_journal::rollback;
    strata::database<strata::stack<strata::single, strata::sqlite>> holder{patient};
    holder.execute(create_account);
    auto lock = holder.begin({.locking = strata::sqlite_locking::exclusive});

    strata::database<plain_stack> db{patient, strata::pool_options{.min_size = 0, .max_size = 2}};
    CHECK(db.try_one<std::int64_t>(count_accounts, {.deadline = 20ms}).error().code() == errc::timeout);

    std::atomic<bool> ended{false};
    std::thread caller([&] {
        CHECK(db.try_one<std::int64_t>(count_accounts).error().code() == errc::shutting_down);
        ended = true;
    });
    while (db.connections().waiting == 0) std::this_thread::yield();
    db.close(1ms);
    caller.join();
    CHECK(ended);
}

TEST_CASE("a deadline that has passed before the call is over at once", "[face]") {
    bank<> b;
    CHECK(b.db.try_one<std::int64_t>(endless_query, {.deadline = -1ms}).error().code() == errc::timeout);
    const auto insert = [](auto& tx) { tx.execute(insert_account(1, "late", 1)); };
    CHECK(b.db.try_transaction(insert, {.deadline = -1ms}).error().code() == errc::timeout);
    CHECK(b.count() == 0);
}

TEST_CASE("a session whose connection its user has closed goes back without harm", "[face]") {
    bank<> b;
    {
        auto s = b.db.session();
        s.connection().close();
    }
    CHECK(b.count() == 0);
}
