// What the tests of the faces share: stacks over an SQLite file of their own, an adapted struct and short words.
#ifndef STRATA_TEST_FACE_FIXTURE_HPP
#define STRATA_TEST_FACE_FIXTURE_HPP

#include <driver/sqlite/fixture.hpp>

#include <strata/driver/sqlite.hpp>
#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>
#include <strata/testing/chaos.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <atomic>
#include <thread>

namespace strata_test {

using namespace strata::literals;
using namespace std::chrono_literals;
using strata::errc;

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;

    friend bool operator==(const account&, const account&) = default;
};

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::account, id, owner, balance);

namespace strata_test {

using plain_stack = strata::stack<strata::pool<>, strata::sqlite>;
using retrying_stack = strata::stack<strata::metrics<>, strata::retry<>, strata::pool<>, strata::sqlite>;
using full_stack = strata::stack<strata::metrics<>, strata::total_timeout, strata::retry<>, strata::circuit_breaker<>,
                                 strata::attempt_timeout, strata::chaos, strata::pool<>, strata::sqlite>;

inline constexpr auto create_account =
    "create table account (id integer primary key, owner text not null unique, balance integer not null)"_sql;
inline constexpr auto insert_account = "insert into account (id, owner, balance) values (:id, :owner, :balance)"_sql;
inline constexpr auto find_account = "select id, owner, balance from account where id = :id"_sql;
inline constexpr auto add_balance = "update account set balance = balance + :amount where id = :id"_sql;
inline constexpr auto count_accounts = "select count(*) from account"_sql;
inline constexpr auto all_accounts = "select id, owner, balance from account order by id"_sql;
/// A statement that SQLite works on until it is stopped.
inline constexpr auto endless_query =
    "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"_sql;

/// A folder and a file in it, which outlive the databases opened on it.
struct file_of_its_own {
    temp_folder folder;
    strata::sqlite_options target{.path = folder.file("bank.db"), .synchronous = strata::sqlite_synchronous::off};

    [[nodiscard]] strata::sqlite_options impatient() const {
        strata::sqlite_options o = target;
        o.busy_timeout = {};
        return o;
    }
};

/// A database on a new file with the table `account` in it.
template <class Stack = plain_stack>
struct bank : file_of_its_own {
    strata::database<Stack> db;

    template <class... Options>
    explicit bank(const Options&... options) : db(target, options...) {
        db.execute(create_account);
    }

    void fill(std::int64_t n) {
        db.transaction([&](auto& tx) {
            for (std::int64_t i = 1; i <= n; ++i) tx.execute(insert_account(i, "owner " + std::to_string(i), i * 100));
        });
    }
    [[nodiscard]] std::int64_t count() { return db.template one<std::int64_t>(count_accounts); }
    [[nodiscard]] std::int64_t balance_of(std::int64_t id) {
        return db.template one<std::int64_t>("select balance from account where id = :id"_sql("id"_arg = id));
    }
};

/// A handle of SQLite's own on the same file: what another process would be.
class stranger {
public:
    explicit stranger(const std::string& path) {
        REQUIRE(::sqlite3_open(path.c_str(), &handle_) == SQLITE_OK);
        ::sqlite3_busy_timeout(handle_, 5000);
    }
    stranger(const stranger&) = delete;
    stranger& operator=(const stranger&) = delete;
    ~stranger() { ::sqlite3_close(handle_); }

    void run(const char* sql) {
        INFO(sql);
        REQUIRE(::sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr) == SQLITE_OK);
    }

private:
    ::sqlite3* handle_ = nullptr;
};

/// The connection is outside of a transaction, and no statement on it is under way.
inline void check_clean(::sqlite3* handle) {
    CHECK(::sqlite3_get_autocommit(handle) != 0);
    for (::sqlite3_stmt* s = ::sqlite3_next_stmt(handle, nullptr); s != nullptr; s = ::sqlite3_next_stmt(handle, s)) {
        INFO(::sqlite3_sql(s));
        CHECK(::sqlite3_stmt_busy(s) == 0);
    }
}

template <class Condition>
void wait_until(Condition&& holds) {
    while (!holds()) std::this_thread::yield();
}

/// Every connection is back and the next caller gets the ones used last clean.
template <class Stack>
void check_at_rest(strata::database<Stack>& db) {
    wait_until([&] { return db.connections().opening == 0; });  // one may be on its way for somebody who has gone
    const strata::pool_snapshot s = db.connections();
    CHECK(s.open == s.idle);
    CHECK(s.waiting == 0);
    auto writer = db.session();
    check_clean(writer.native_handle());
    auto reader = std::optional<decltype(db.session())>{};
    if (s.open > 1) check_clean(reader.emplace(db.session({.read_only = true})).native_handle());
}

/// The error that the call throws.
template <class Call>
strata::error failure_of(Call&& call) {
    try {
        static_cast<void>(call());
    } catch (const strata::failure& f) {
        return f.error();
    }
    FAIL("the call did not fail");
    return {};
}

}  // namespace strata_test

/// A result in a failed check: its error, whatever its value is.
template <class T>
struct Catch::StringMaker<strata::result<T>> {
    static std::string convert(const strata::result<T>& r) { return r ? "a value" : r.error().to_string(); }
};
template <>
struct Catch::StringMaker<strata_test::account> {
    static std::string convert(const strata_test::account& a) {
        return "{" + std::to_string(a.id) + ", " + a.owner + ", " + std::to_string(a.balance) + "}";
    }
};

#endif
