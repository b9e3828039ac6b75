// What the tests of shared connections have in common: a database that shares, and how a call ended.
#ifndef STRATA_TEST_DRIVER_POSTGRES_PIPELINED_FIXTURE_HPP
#define STRATA_TEST_DRIVER_POSTGRES_PIPELINED_FIXTURE_HPP

#include "fixture.hpp"

#include <strata/source/pipelined.hpp>

#include <exception>
#include <ostream>

namespace strata_test {

template <std::size_t Shared, class... Layers>
using shared_stack = strata::stack<Layers..., strata::pipelined<Shared, strata::pool<>>, strata::postgres>;

/// How a call ended.
struct ending {
    int times = 0;  // that it was told
    std::string value;
    errc code = errc::ok;
    strata::effect did = strata::effect::none;
    strata::phase came_to = strata::phase::admission;
    std::string sqlstate;
    std::string thrown;  // by the user's code

    friend bool operator==(const ending&, const ending&) = default;
    friend std::ostream& operator<<(std::ostream& out, const ending& e) {
        return out << "{" << e.times << " times, '" << e.value << "', " << to_string(e.code) << " " << e.sqlstate << " in "
                   << to_string(e.came_to) << ", effect " << to_string(e.did) << ", thrown '" << e.thrown << "'}";
    }

    void fail(const strata::error& e) {
        code = e.code();
        did = e.effect();
        came_to = e.phase();
        if (e.has_texts()) sqlstate = e.texts().native_code;
    }
    void fail(const std::exception_ptr& p) {
        try {
            std::rethrow_exception(p);
        } catch (const strata::failure& f) {
            fail(f.error());
        } catch (const std::exception& e) {
            thrown = e.what();
        }
    }
};

/// Connections of this process and name, as the server sees them.
inline std::int64_t backends(strata::database<plain_stack>& admin, const std::string& name) {
    strata::statement s{"select count(*) from pg_stat_activity where application_name = :name"};
    s.set("name"_arg = name);
    return admin.one<std::int64_t>(s);
}

/// A transaction of the server's has one of these to itself. A function in the text would keep it from sharing: it is behind a view.
inline constexpr auto view_of_transactions =
    "create view own_transaction as select virtualtransaction as name from pg_locks where pid = pg_backend_pid() and locktype = "
    "'virtualxid'"_sql;
inline constexpr auto transaction_name = "select name from own_transaction"_sql;
inline constexpr auto shared_backend = "select pg_backend_pid()"_sql.idempotent();
inline constexpr auto exclusive_backend = "select pg_backend_pid()"_sql;

}  // namespace strata_test

#endif
