// What the tests of the PostgreSQL driver share: the server that the run started, and a schema for each test.
#ifndef STRATA_TEST_DRIVER_POSTGRES_FIXTURE_HPP
#define STRATA_TEST_DRIVER_POSTGRES_FIXTURE_HPP

#include <strata/driver/postgres.hpp>
#include <strata/sql/statement.hpp>
#include <strata/strata.hpp>

#include <boost/hana/adapt_struct.hpp>
#include <support/catch.hpp>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include <unistd.h>

/// Built with AddressSanitizer or ThreadSanitizer, which clang tells in a way of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STRATA_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STRATA_TEST_SANITIZED 1
#endif
#endif
#ifndef STRATA_TEST_SANITIZED
#define STRATA_TEST_SANITIZED 0
#endif

namespace strata_test {

using namespace strata::literals;
using namespace std::chrono_literals;
using strata::errc;

struct account {
    std::int64_t id = 0;
    std::string owner;
    std::int64_t balance = 0;
};

/// `postgresql://...` of the server under test.
inline std::string server_url() {
    const char* const url = std::getenv("STRATA_TEST_POSTGRES");
    if (url == nullptr) throw std::runtime_error("set STRATA_TEST_POSTGRES to the URL of a server, or run the tests by test/run.sh");
    return url;
}

/// No caller holds a connection. The pool's own tasks may be opening one meanwhile, for one that was lost, so that
/// `idle == open` would be a race with them.
inline bool all_returned(const strata::pool_snapshot& p) { return p.idle + p.opening == p.open; }

/// A setting of a connection string, as libpq understands it.
inline std::string setting_of(const std::string& url, std::string_view keyword) {
    strata::detail::postgres_target target;
    if (const strata::error e = target.read({.connection = url})) throw std::runtime_error(e.to_string());
    return std::string{target.value(keyword)};
}

/// The same server and database at other addresses: `hosts` and `ports` are lists, as libpq takes them.
inline strata::postgres_options at(const std::string& url, const std::string& hosts, const std::string& ports,
                                   const std::string& more = "") {
    std::string text = "host=" + hosts + " port=" + ports + " " + more;
    for (const char* const keyword : {"user", "password", "dbname"}) {
        const std::string value = setting_of(url, keyword);
        if (!value.empty()) text.append(" ").append(keyword).append("='").append(value).append("'");
    }
    return {.connection = text};
}

using plain_stack = strata::stack<strata::pool<>, strata::postgres>;

/// A schema of its own, dropped at the end, and databases whose connections see it first.
class server {
public:
    server() : name_("strata_test_" + std::to_string(::getpid()) + "_" + std::to_string(++count_)), admin_(in_schema("public"), one()) {
        admin_.execute(strata::statement{"create schema " + name_});
    }
    server(const server&) = delete;
    server& operator=(const server&) = delete;
    ~server() { static_cast<void>(admin_.try_execute(strata::statement{"drop schema " + name_ + " cascade"})); }

    [[nodiscard]] const std::string& schema() const noexcept { return name_; }
    [[nodiscard]] strata::postgres_options options() const { return in_schema(name_); }
    /// Another connection, which sees and does what it likes.
    [[nodiscard]] strata::database<plain_stack>& admin() noexcept { return admin_; }

    static strata::pool_options one() { return {.min_size = 1, .max_size = 2}; }

private:
    [[nodiscard]] static strata::postgres_options in_schema(const std::string& name) {
        const std::string url = server_url();
        return {.connection = url + (url.find('?') == url.npos ? "?" : "&") + "options=-csearch_path%3D" + name};
    }

    static inline std::atomic<int> count_{0};
    std::string name_;
    strata::database<plain_stack> admin_;
};

/// The bank's table with accounts 1 .. n of 100 each.
template <class Stack = plain_stack>
struct bank {
    server in;
    strata::database<Stack> db;

    explicit bank(int accounts = 0, int connections = 4, strata::postgres_options (*change)(strata::postgres_options) = nullptr)
        : db(change != nullptr ? change(in.options()) : in.options(),
             strata::pool_options{.min_size = 1, .max_size = static_cast<std::size_t>(connections)}) {
        db.execute(
            "create table account (id bigint primary key, owner text not null, balance bigint not null check (balance >= -1000))"_sql());
        db.execute("insert into account select i, 'owner-' || i, 100 from generate_series(1, :n) i"_sql(accounts));
    }
    std::int64_t balance_of(std::int64_t id) { return db.template one<std::int64_t>("select balance from account where id = :id"_sql(id)); }
};

inline constexpr auto insert_account = "insert into account values (:id, :owner, :balance)"_sql;
inline constexpr auto add_balance = "update account set balance = balance + :amount where id = :id"_sql;

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::account, id, owner, balance);

#endif
