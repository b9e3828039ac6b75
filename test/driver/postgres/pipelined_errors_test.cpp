// Among statements that share connections one that fails is alone in that: everybody else has his own right result, each write is
// committed once or not at all, and what a call is told is what it would be told on a connection of its own.
#include "pipelined_fixture.hpp"

#include <strata/async.hpp>

#include <boost/asio/io_context.hpp>

#include <algorithm>
#include <map>
#include <random>

using namespace strata_test;
namespace asio = boost::asio;

namespace {

struct thrower {};

/// What a statement of a batch does. Those before `writes` read.
enum class act : std::uint8_t {
    row,
    rows,
    nothing,
    text,
    literal,  // these are well
    by_zero,
    bad_text,
    no_table,
    null,
    range,
    mismatch,
    no_rows,
    many_rows,
    throws,
    zero_byte,
    argument_throws,
    raised_unique,
    raised_check,
    raised_null,
    raised_key,
    raised_serialization,
    raised_deadlock,
    raised_cancel,
    raised_marked,
    writes,
    insert = writes,
    insert_returning,
    unique,
    check,
    not_null,
    key,
    deferred,
    write_by_zero,
    write_bad_text,
    write_no_table,
    write_range,
    write_throws,
    write_zero_byte,
    write_argument_throws,
    write_serialization,
    write_cancel,
    count
};
constexpr unsigned acts = static_cast<unsigned>(act::count);
constexpr bool writes(act a) {
    return a >= act::writes;
}
constexpr bool fails(act a) {
    return (a >= act::by_zero && a < act::writes) || a >= act::unique;
}

constexpr errc expected(act a) {
    switch (a) {
        case act::raised_unique:
        case act::unique:
            return errc::unique_violation;
        case act::raised_check:
        case act::check:
            return errc::check_violation;
        case act::raised_null:
        case act::not_null:
            return errc::not_null_violation;
        case act::raised_key:
        case act::deferred:
        case act::key:
            return errc::foreign_key_violation;
        case act::raised_serialization:
        case act::raised_marked:
        case act::write_serialization:
            return errc::serialization_failure;
        case act::raised_deadlock:
            return errc::deadlock;
        case act::no_table:
        case act::write_no_table:
            return errc::undefined_object;
        case act::null:
            return errc::null_value;
        case act::range:
        case act::write_range:
            return errc::out_of_range;
        case act::mismatch:
            return errc::type_mismatch;
        case act::no_rows:
            return errc::no_rows;
        case act::many_rows:
            return errc::too_many_rows;
        default:
            return errc::ok;  // see the plain connection
    }
}

template <class T>
std::string shown(const T& value) {
    if constexpr (std::is_arithmetic_v<T>)
        return std::to_string(value);
    else if constexpr (std::is_same_v<T, std::string>)
        return value;
    else if constexpr (std::is_same_v<T, strata::execution>)
        return "changed " + std::to_string(value.affected);
    else if constexpr (std::is_same_v<T, account>)
        return value.owner + " has " + std::to_string(value.balance);
    else if constexpr (requires { value.has_value(); })
        return value ? shown(*value) : "none";
    else if constexpr (requires { value.size(); }) {
        std::string s = std::to_string(value.size()) + " rows";
        for (const auto& v : value) s += " " + shown(v);
        return s;
    } else
        return "a thrower";
}

/// Sends a statement by one of the faces, and says how it ended.
template <class Db>
struct over_threads {
    Db& db;
    template <class Call>
    static void note(ending& e, Call&& call) {
        try {
            e.value = shown(call());
        } catch (...) {
            e.fail(std::current_exception());
        }
        ++e.times;
    }
    template <class T>
    void one(const auto& s, ending& e) {
        note(e, [&] { return db.template one<T>(s); });
    }
    template <class T>
    void maybe_one(const auto& s, ending& e) {
        note(e, [&] { return db.template maybe_one<T>(s); });
    }
    template <class T>
    void all(const auto& s, ending& e) {
        note(e, [&] { return db.template all<T>(s); });
    }
    void execute(const auto& s, ending& e) {
        note(e, [&] { return db.execute(s); });
    }
};
template <class Adb>
struct over_loop {
    Adb& db;
    static auto note(ending& e) {
        return [&e](std::exception_ptr thrown, auto value) {
            ++e.times;
            if (thrown)
                e.fail(thrown);
            else
                e.value = shown(value);
        };
    }
    template <class T>
    void one(const auto& s, ending& e) {
        db.template async_one<T>(s, note(e));
    }
    template <class T>
    void maybe_one(const auto& s, ending& e) {
        db.template async_maybe_one<T>(s, note(e));
    }
    template <class T>
    void all(const auto& s, ending& e) {
        db.template async_all<T>(s, note(e));
    }
    void execute(const auto& s, ending& e) { db.async_execute(s, note(e)); }
};

/// `n` is the number of the call, by which its write is found again.
template <class Face>
void send(Face f, act a, std::int64_t n, ending& e) {
    const auto number = "n"_arg = n;
    const std::string zero_byte("a\0b", 3);
    switch (a) {
        case act::row:
            return f.template one<account>("select id, owner, balance from account where id = :n"_sql("n"_arg = 1 + n % 50), e);
        case act::rows:
            return f.template all<std::int64_t>("select i from generate_series(:n::int8, :n + :more) i"_sql(number, "more"_arg = n % 7), e);
        case act::nothing:
            return f.template maybe_one<std::int64_t>("select id from account where id = 0 - :n"_sql(number), e);
        case act::text:
            return f.template one<std::string>("select :t::text"_sql("t"_arg = "text " + std::to_string(n)), e);
        case act::literal:
            return f.template one<std::int64_t>("select :n::int8 * 2"_sql(n), e);
        case act::by_zero:
            return f.template one<std::int64_t>("select 1 / (:n::int8 - :n)"_sql(number), e);
        case act::bad_text:
            return f.template one<std::int64_t>("select (:t::text)::int8"_sql("t"_arg = "no number"), e);
        case act::no_table:
            return f.template one<std::int64_t>("select id from there_is_no_such_table"_sql(), e);
        case act::null:
            return f.template one<std::int64_t>("select nullif(:n::int8, :n)"_sql(number), e);
        case act::range:
            return f.template one<std::int32_t>("select :n::int8 + 5000000000"_sql(number), e);
        case act::mismatch:
            return f.template one<std::int64_t>("select 'x' || :n::int8"_sql(number), e);
        case act::no_rows:
            return f.template one<std::int64_t>("select id from account where id = 0 - :n"_sql(number), e);
        case act::many_rows:
            return f.template one<std::int64_t>("select id from account where id <> :n"_sql(number), e);
        case act::throws:
            return f.template one<thrower>("select :n::int8"_sql(number), e);
        case act::zero_byte:
            return f.template one<std::string>("select :t::text"_sql("t"_arg = zero_byte), e);
        case act::argument_throws:
            return f.template one<std::int64_t>("select :n::int8"_sql(thrower{}), e);
        case act::raised_unique:
            return f.template one<std::int64_t>("select x from fail_23505"_sql(), e);
        case act::raised_check:
            return f.template one<std::int64_t>("select x from fail_23514"_sql(), e);
        case act::raised_null:
            return f.template one<std::int64_t>("select x from fail_23502"_sql(), e);
        case act::raised_key:
            return f.template one<std::int64_t>("select x from fail_23503"_sql(), e);
        case act::raised_deadlock:
            return f.template one<std::int64_t>("select x from fail_40p01"_sql(), e);
        case act::raised_cancel:
            return f.template one<std::int64_t>("select x from fail_57014"_sql(), e);
        case act::raised_serialization:
            return f.template one<std::int64_t>("select x from fail_40001"_sql(), e);
        case act::raised_marked:  // said to be idempotent: it does not share a Sync
            return f.template one<std::int64_t>("select fail('40001')"_sql.idempotent()(), e);
        case act::insert:
            return f.execute("insert into log values (:n)"_sql(number), e);
        case act::insert_returning:
            return f.template one<std::int64_t>("insert into log values (:n) returning n * 2"_sql(number), e);
        case act::unique:
            return f.execute("with l as (insert into log values (:n)) insert into strict values (1, 1)"_sql(number), e);
        case act::check:
            return f.execute("with l as (insert into log values (:n)) insert into strict values (:n + 10, -1)"_sql(number), e);
        case act::not_null:
            return f.execute("with l as (insert into log values (:n)) insert into strict values (:n + 10, null)"_sql(number), e);
        case act::key:
            return f.execute("with l as (insert into log values (:n)) insert into child values (0)"_sql(number), e);
        case act::deferred:
            return f.execute("with l as (insert into log values (:n)) insert into late_child values (0)"_sql(number), e);
        case act::write_by_zero:
            return f.execute("insert into log select :n / (:n::int8 - :n)"_sql(number), e);
        case act::write_bad_text:
            return f.execute(
                "insert into log select :n from (select (:t::text)::int8 as i) s where i <> 0"_sql(number, "t"_arg = "no number"), e);
        case act::write_no_table:
            return f.execute("insert into there_is_no_such_table values (:n)"_sql(number), e);
        case act::write_range:
            return f.template one<std::int32_t>("insert into log values (:n) returning 5000000000"_sql(number), e);
        case act::write_throws:
            return f.template one<thrower>("insert into log values (:n) returning n"_sql(number), e);
        case act::write_zero_byte:
            return f.execute("insert into log select :n where :t::text <> ''"_sql(number, "t"_arg = zero_byte), e);
        case act::write_argument_throws:
            return f.execute("insert into log values (:n)"_sql(thrower{}), e);
        case act::write_serialization:
        case act::write_cancel:
            return f.execute(
                "insert into log select :n + fail(:code)"_sql(number, "code"_arg = std::string{a == act::write_cancel ? "57014" : "40001"}),
                e);
        case act::count:
            break;
    }
}

struct world {
    server in;
    strata::database<plain_stack> plain{in.options(), server::one()};
    std::int64_t next = 1;

    world() {
        for (const char* const text :
             {"create table account (id bigint primary key, owner text not null, balance bigint not null)",
              "insert into account select i, 'owner-' || i, i * 7 from generate_series(1, 50) i", "create table log (n bigint)",
              "create table strict (id bigint primary key, amount bigint not null check (amount >= 0))", "insert into strict values (1, 1)",
              "create table child (id bigint references strict)",
              "create table late_child (id bigint references strict deferrable initially deferred)",
              "create function fail(code text) returns int8 language plpgsql as $$ begin raise exception 'failed' using errcode = code; "
              "end $$"})
            plain.execute(strata::statement{text});
        // A read that calls a function of which nothing is known would not share: so it is behind a view.
        for (const std::string code : {"23505", "23514", "23502", "23503", "40P01", "57014", "40001"})
            plain.execute(strata::statement{"create view fail_" + code + " as select fail('" + code + "') as x"});
        plain.execute("create view sleeping as select pg_sleep(20)::text as s"_sql());
    }
    /// Of all calls, each of which left its number or not: how often.
    std::map<std::int64_t, int> logged() {
        std::map<std::int64_t, int> found;
        for (const std::int64_t n : plain.all<std::int64_t>("delete from log returning n"_sql())) ++found[n];
        return found;
    }
    /// What must come of it: as on a connection of its own. And whether its write stays.
    std::pair<ending, bool> model(act a, std::int64_t n) {
        ending e;
        send(over_threads<decltype(plain)>{plain}, a, n, e);
        return {e, !logged().empty()};
    }
};

template <class Db>
struct sharing {
    world& w;
    Db db;
    asio::io_context io{};
    decltype(db.async(io.get_executor())) adb = db.async(io.get_executor());

    sharing(world& of, const strata::pipelined_options& o)
        : w(of), db(of.in.options(), o, strata::pool_options{.min_size = 1, .max_size = 2}) {}

    /// All leave together.
    bool batch(const std::vector<act>& what) {
        std::vector<ending> got(what.size());
        const std::int64_t first = w.next;
        w.next += static_cast<std::int64_t>(what.size());
        for (std::size_t i = 0; i < what.size(); ++i)
            send(over_loop<decltype(adb)>{adb}, what[i], first + static_cast<std::int64_t>(i), got[i]);
        io.run();
        io.restart();
        std::map<std::int64_t, int> logged = w.logged();
        bool right = true;
        for (std::size_t i = 0; i < what.size(); ++i) {
            const std::int64_t n = first + static_cast<std::int64_t>(i);
            auto [want, stays] = w.model(what[i], n);
            if (got[i] == want && logged[n] == (stays ? 1 : 0)) continue;
            right = false;
            UNSCOPED_INFO("number " << i << " of " << what.size() << ", act " << static_cast<int>(what[i]) << ": " << got[i] << " where "
                                    << want << " is right; its write is there " << logged[n] << " times, and must " << stays);
        }
        return right;
    }
    void check_nothing_lost() {
        const strata::pool_snapshot s = db.source().shared_snapshot();
        CHECK(s.lost == 0);
        CHECK(s.opened == 1);
        CHECK(db.connections().lost == 0);
    }
};

using db1 = strata::database<shared_stack<1>>;

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

TEST_CASE("what a plain connection says of each failure", "[postgres][pipelined]") {
    world w;
    for (unsigned i = 0; i < acts; ++i) {
        const act a = static_cast<act>(i);
        const auto [e, stays] = w.model(a, w.next++);
        INFO("act " << i << ": " << e);
        CHECK(e.times == 1);
        CHECK((e.code != errc::ok || !e.thrown.empty()) == fails(a));
        if (expected(a) != errc::ok) CHECK(e.code == expected(a));
        CHECK(stays == (a == act::insert || a == act::insert_returning || a == act::write_range || a == act::write_throws));
        if (!writes(a)) CHECK(e.did != strata::effect::applied);
        if (a == act::write_range) CHECK(e.did == strata::effect::applied);
    }
}

TEST_CASE("each failure at each place among reads that leave together", "[postgres][pipelined]") {
    world w;
    sharing<db1> s{w, {}};
    constexpr act well[] = {act::row, act::literal, act::text, act::rows, act::nothing};
    for (unsigned i = 0; i < acts; ++i) {
        if (!fails(static_cast<act>(i))) continue;
        for (std::size_t at = 0; at < 7; ++at) {
            std::vector<act> what;
            for (std::size_t k = 0; k < 7; ++k) what.push_back(k == at ? static_cast<act>(i) : well[k % 5]);
            REQUIRE(s.batch(what));
            what.insert(what.begin() + 2, act::insert);  // with writes among them
            what.insert(what.begin() + 5, act::insert_returning);
            REQUIRE(s.batch(what));
        }
    }
    s.check_nothing_lost();
}

TEST_CASE("batches of whatever comes", "[postgres][pipelined]") {
    world w;
    const strata::pipelined_options how[] = {
        {}, {.max_sharing = 1}, {.max_sharing = 3}, {.max_in_flight = 1}, {.max_in_flight = 5, .max_sharing = 4}, {.max_bytes = 20}};
    for (const strata::pipelined_options& o : how) {
        sharing<db1> s{w, o};
        for (unsigned seed = 1; seed <= count(12u, 300u); ++seed) {
            std::minstd_rand random(seed);
            std::vector<act> what(1 + random() % 40);
            const auto failing = random() % 60;
            for (act& a : what) {
                do a = static_cast<act>(random() % acts);
                while (fails(a) && random() % 100 >= failing);
            }
            INFO("seed " << seed << ", sharing " << o.max_sharing << ", in flight " << o.max_in_flight);
            REQUIRE(s.batch(what));
        }
        s.check_nothing_lost();
    }
}

TEST_CASE("a statement that the server ends in time fails alone", "[postgres][pipelined]") {
    world w;
    strata::postgres_options slow = w.in.options();
    slow.connection += "%20-cstatement_timeout%3D60";
    db1 db{slow, strata::pipelined_options{.slow = strata::duration::zero()}, strata::pool_options{.min_size = 1, .max_size = 2}};
    asio::io_context io;
    auto adb = db.async(io.get_executor());
    for (std::size_t at = 0; at < 6; ++at) {
        std::vector<ending> got(6);
        for (std::size_t i = 0; i < 6; ++i) {
            if (i == at)
                adb.async_one<std::string>("select s from sleeping"_sql(), over_loop<decltype(adb)>::note(got[i]));
            else
                send(over_loop<decltype(adb)>{adb}, i == 4 ? act::insert : act::literal, static_cast<std::int64_t>(i), got[i]);
        }
        io.run();
        io.restart();
        for (std::size_t i = 0; i < 6; ++i) {
            INFO("it is " << at << ", this one " << i << ": " << got[i]);
            CHECK(got[i].times == 1);
            if (i == at)
                CHECK(got[i].sqlstate == "57014");
            else
                CHECK(got[i].value == (i == 4 ? "changed 1" : std::to_string(2 * i)));
        }
        CHECK(w.logged().size() == (at == 4 ? 0 : 1));
    }
    CHECK(db.source().shared_snapshot().lost == 0);
}

TEST_CASE("threads share, and one that fails is alone in that", "[postgres][pipelined][threads]") {
    world w;
    db1 db{w.in.options(), strata::pool_options{.min_size = 1, .max_size = 2}};
    constexpr int threads = 8;
    const int rounds = count(150, 3000);
    struct call {
        act what;
        std::int64_t n;
        ending got;
    };
    std::vector<std::vector<call>> made(threads);
    std::vector<std::thread> crowd;
    for (int t = 0; t < threads; ++t)
        crowd.emplace_back([&, t] {
            std::minstd_rand random(static_cast<unsigned>(t + 1));
            for (int i = 0; i < rounds; ++i) {
                call c{act::row, 1 + t * 1'000'000 + i, {}};
                do c.what = static_cast<act>(random() % acts);
                while (fails(c.what) && random() % 3 != 0);
                send(over_threads<db1>{db}, c.what, c.n, c.got);
                made[static_cast<std::size_t>(t)].push_back(c);
            }
        });
    for (std::thread& t : crowd) t.join();
    std::map<std::int64_t, int> logged = w.logged();
    int wrong = 0;
    for (const auto& of_thread : made)
        for (const call& c : of_thread) {
            const auto [want, stays] = w.model(c.what, c.n);
            if (c.got == want && logged[c.n] == (stays ? 1 : 0)) continue;
            if (++wrong < 5) UNSCOPED_INFO("act " << static_cast<int>(c.what) << ": " << c.got << " where " << want << " is right");
        }
    CHECK(wrong == 0);
    CHECK(db.source().shared_snapshot().lost == 0);
    CHECK(db.source().shared_snapshot().opened == 1);
}
