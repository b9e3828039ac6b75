// The asynchronous half: it sees `any_async_session` and nothing of stack or driver.
#include <support/any_session_library.hpp>

#include <strata/async/any_session.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <stdexcept>

#if defined(STRATA_DATABASE_HPP) || defined(STRATA_STACK_HPP) || defined(STRATA_DRIVER_SQLITE_DRIVER_HPP)
#error "code that uses any_async_session must not see stack or driver"
#endif

BOOST_HANA_ADAPT_STRUCT(apart::person, id, name, nick, age);

using namespace strata::literals;

namespace apart {
namespace {

constexpr auto insert_person = "insert into person (id, name, nick, age) values (:id, :name, :nick, :age)"_sql;
constexpr auto grow = "update person set age = age + :years where id = :id"_sql;

}  // namespace

awaited<void> async_add(strata::any_async_session& s, person who) { co_await s.async_execute(strata::bind_members(insert_person, who)); }

awaited<std::optional<person>> async_find(strata::any_async_session& s, std::int64_t id) {
    auto found = co_await s.async_maybe_one<person>("select id, name, nick, age from person where id = :id"_sql(id));
    co_return found;
}

awaited<strata::errc> async_move_years(strata::any_async_session& s, int years) {
    auto r = co_await s.async_try_transaction([&](strata::any_async_session& tx) -> awaited<strata::result<void>> {
        co_await tx.async_execute(grow(-years, 1));
        if (years > 100) co_return strata::error{strata::errc::user_error, "too many", strata::phase::execute};
        co_await tx.async_transaction([&](strata::any_async_session& inner) -> awaited<void> {
            co_await inner.async_execute(grow(years, 2));
        });
        co_return strata::result<void>{};
    });
    co_return r ? strata::errc::ok : r.error().code();
}

awaited<void> async_throw_inside(strata::any_async_session& s) {
    co_await s.async_transaction([](strata::any_async_session& tx) -> awaited<void> {
        co_await tx.async_execute(grow(1000, 1));
        throw std::domain_error("inside");
    });
}

awaited<std::int64_t> async_remove_all(strata::any_async_session& s) {
    auto done = co_await s.async_execute("delete from person"_sql);
    co_return done.affected;
}

}  // namespace apart
