// The blocking half: it sees `any_session` and nothing of stack, driver or Asio.
#include <support/any_session_library.hpp>

#include <strata/any_session.hpp>
#include <strata/sql/statement.hpp>

#include <boost/hana/adapt_struct.hpp>

#include <stdexcept>

#if defined(STRATA_DATABASE_HPP) || defined(STRATA_STACK_HPP) || defined(STRATA_DRIVER_SQLITE_DRIVER_HPP) || \
    defined(BOOST_ASIO_DETAIL_CONFIG_HPP)
#error "code that uses any_session must not see stack, driver or Asio"
#endif

BOOST_HANA_ADAPT_STRUCT(apart::person, id, name, nick, age);

using namespace strata::literals;

namespace apart {
namespace {

constexpr auto insert_person = "insert into person (id, name, nick, age) values (:id, :name, :nick, :age)"_sql;
constexpr auto find_person = "select id, name, nick, age from person where id = :id"_sql;
constexpr auto grow = "update person set age = age + :years where id = :id"_sql;

}  // namespace

std::int64_t add(strata::any_session& s, const person& who) {
    return s.execute(insert_person("id"_arg = who.id, "name"_arg = who.name, "nick"_arg = who.nick, "age"_arg = who.age)).last_id;
}

strata::result<std::int64_t> try_add(strata::any_session& s, const person& who) {
    auto r = s.try_execute(strata::bind_members(insert_person, who));
    if (!r) return r.error();
    return r->last_id;
}

std::int64_t add_all(strata::any_session& s, const std::vector<person>& people) { return s.execute_many(insert_person, people).affected; }

person load(strata::any_session& s, std::int64_t id) { return s.one<person>(find_person(id)); }

std::optional<person> find(strata::any_session& s, std::int64_t id) { return s.maybe_one<person>(find_person(id)); }

std::vector<std::string> names_of(strata::any_session& s, const std::vector<std::int64_t>& ids) {
    strata::statement q{"select name from person where id in (:ids...) order by id"};
    q.set("ids"_arg = ids);
    return s.all<std::string>(q);
}

int total_age(strata::any_session& s) {
    int sum = 0;
    for (const person& p : s.rows<person>("select id, name, nick, age from person where age >= :least"_sql(0))) sum += p.age;
    return sum;
}

std::string first_name(strata::any_session& s) {
    std::string first;
    for (const auto& [name, id] : s.rows<std::tuple<std::string_view, int>>("select name, id from person order by id"_sql)) {
        first = name;
        break;
    }
    return first;
}

int wide(strata::any_session& s) { return s.one<int>("select :a + :b + :c + :d + :e + :f + :g + :h + :i"_sql(1, 2, 3, 4, 5, 6, 7, 8, 9)); }

std::int64_t remove_all(strata::any_session& s) { return s.execute("delete from person"_sql).affected; }

strata::errc move_years(strata::any_session& s, int years) {
    const auto r = s.try_transaction([&](strata::any_session& tx) -> strata::result<void> {
        if (years > 100) {
            tx.execute(grow(years, 1));
            return strata::error{strata::errc::user_error, "too many", strata::phase::execute};
        }
        tx.execute(grow(-years, 1));
        tx.execute(grow(years, 2));
        static_cast<void>(tx.one<person>(find_person(2)));
        return {};
    });
    return r ? strata::errc::ok : r.error().code();
}

void throw_inside(strata::any_session& s) {
    s.transaction([](strata::any_session& tx) {
        tx.execute(grow(1000, 1));
        throw std::domain_error("inside");
    });
}

int with_savepoint(strata::any_session& s) {
    return s.transaction([](strata::any_session& tx) {
        add(tx, {3, "Eve", std::nullopt, 1});
        try {
            tx.transaction([](strata::any_session& inner) {
                add(inner, {4, "Dan", std::nullopt, 1});
                throw std::domain_error("inner");
            });
        } catch (const std::domain_error&) {
        }
        return tx.one<int>("select count(*) from person"_sql);
    });
}

}  // namespace apart
