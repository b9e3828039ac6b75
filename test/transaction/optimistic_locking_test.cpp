// Versioned rows on SQLite: what each call writes and says, alone, inside transactions and sessions, and in batches.
#include "optimistic_fixture.hpp"

#include <thread>

using namespace strata_test;
using strata::write_status;

namespace optimistic_locking_test {
/// A temporary table of the same name hides it.
struct hidden {
    std::int64_t id = 0;
    std::int64_t amount = 0;
    std::int64_t version = 0;
};
}  // namespace optimistic_locking_test
BOOST_HANA_ADAPT_STRUCT(optimistic_locking_test::hidden, id, amount, version);
template <>
struct strata::mapping<optimistic_locking_test::hidden> {
    static constexpr std::string_view schema = "main";
    static constexpr std::string_view table = "hidden";
    static constexpr std::string_view key = "id";
    static constexpr std::string_view version = "version";
};

namespace {

using store_stack = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;
using hashed_stack = strata::stack<strata::optimistic_locking<strata::by_row_hash>, strata::pool<>, strata::sqlite>;

inline constexpr auto touch = R"(update "the ""Items""" set amount = amount + 1000, "Version" = "Version" + 1 where "select" = :id)"_sql;
inline constexpr auto sum_of_items = R"(select coalesce(sum(amount), 0) from "the ""Items""")"_sql;

template <class Stack = store_stack>
struct store : file_of_its_own {
    strata::database<Stack> db;

    template <class... Options>
    explicit store(const Options&... options) : db(target, options...) {
        db.execute(create_items);
        db.execute(create_plain);
        db.execute(create_place);
    }
    [[nodiscard]] std::int64_t sum() { return db.template one<std::int64_t>(sum_of_items); }
    [[nodiscard]] item read(std::int64_t id) { return **db.template find_versioned<item>(id); }
    [[nodiscard]] std::vector<strata::versioned<item>> fill(std::int64_t n) {
        std::vector<item> rows;
        for (std::int64_t i = 1; i <= n; ++i) rows.push_back({i, "item " + std::to_string(i), 1, 0});
        return db.insert_all_versioned(rows);
    }
};

}  // namespace

TEST_CASE("the statements check in the statement that writes, and quote every name", "[optimistic]") {
    using items = strata::detail::versioned_table<item, strata::by_version_column, strata::dialect::sqlite>;
    const std::string t = R"("the ""Items""")";
    CHECK(items::find_text() == "select " + t + R"(."select" as "select", )" + t + R"(."name" as "name", )" + t +
                                    R"(."amount" as "amount", )" + t + R"(."Version" as "Version" from )" + t + " where " + t +
                                    R"(."select" = :k0)");
    CHECK(items::update_text() == "update " + t + R"( set "name" = :s0, "amount" = :s1, "Version" = )" + t + R"(."Version" + 1 where )" +
                                      t + R"(."select" = :k0 and )" + t + R"(."Version" = :v)");
    CHECK(items::remove_text() == "delete from " + t + " where " + t + R"(."select" = :k0 and )" + t + R"(."Version" = :v)");
    CHECK(items::update_text<false>().ends_with(R"( returning "the ""Items"""."Version")"));
    using places = strata::detail::versioned_table<place, strata::by_version_column, strata::dialect::postgres>;
    CHECK(places::insert_text() ==
          R"(insert into "place" ("house", "room", "guest", "turn") values (:i0, :i1, :i2, 1) returning )"
          R"("place"."house" as "house", "place"."room" as "room", "place"."guest" as "guest", "place"."turn" as "turn")");
    CHECK(places::update_text<false>() == R"(update "place" set "guest" = :s0, "turn" = "place"."turn" + 1 where "place"."room" = :k0 and )"
                                          R"("place"."house" = :k1 returning "place"."turn")");
}

TEST_CASE("a row is inserted, found, updated and removed with its version", "[optimistic]") {
    store<> s;
    CHECK_FALSE(s.db.find_versioned<item>(7));
    const auto inserted = s.db.insert_versioned(item{7, "nail", 100, 55});
    CHECK(inserted.version() == 1);
    CHECK(*inserted == item{7, "nail", 100, 1});
    CHECK(inserted.base() == *inserted);
    const auto twice = s.db.try_insert_versioned(item{7, "nail", 100, 55});
    REQUIRE(twice.has_error());
    CHECK(twice.error().code() == errc::unique_violation);

    auto row = *s.db.find_versioned<item>(7);
    row->amount = 90;
    auto done = s.db.update_versioned(row);
    CHECK(done);
    CHECK(done.status == write_status::updated);
    CHECK(done.version == 2);
    CHECK(done.attempts == 1);
    row.written(done.version);
    CHECK(*row == item{7, "nail", 90, 2});
    CHECK(row.base() == *row);
    row->name = "screw";
    CHECK(s.db.update_versioned(row).version == 3);
    CHECK(s.read(7) == item{7, "screw", 90, 3});

    const auto gone = s.db.remove_versioned(*s.db.find_versioned<item>(7));
    CHECK(gone);
    CHECK(gone.status == write_status::removed);
    CHECK(s.db.find_versioned<item>(7) == std::nullopt);
    check_at_rest(s.db);
}

TEST_CASE("a row that another has changed or removed is not written", "[optimistic]") {
    store<> s;
    auto row = s.db.insert_versioned(item{7, "nail", 100, 0});
    s.db.execute(touch(7));
    row->name = "screw";
    const auto done = s.db.update_versioned(row);
    CHECK_FALSE(done);
    CHECK(done.status == write_status::conflict);
    REQUIRE(done.row);
    CHECK(**done.row == item{7, "nail", 1100, 2});
    CHECK(done.row->version() == 2);
    CHECK(s.db.remove_versioned(row).status == write_status::conflict);
    CHECK(s.read(7) == item{7, "nail", 1100, 2});
    REQUIRE(s.db.remove_versioned(*done.row));
    CHECK(s.db.update_versioned(row).status == write_status::not_found);
    CHECK(s.db.remove_versioned(row).status == write_status::not_found);
    // One of the same key that is new is another row.
    s.db.insert_versioned(item{7, "nail", 1, 0});
    CHECK(s.db.update_versioned(*done.row).status == write_status::conflict);
    check_at_rest(s.db);
}

TEST_CASE("a caller may hold the version in the row, or beside row or key", "[optimistic]") {
    store<> s;
    s.db.insert_versioned(item{7, "nail", 100, 0});
    CHECK(s.db.update_versioned(item{7, "nail", 90, 1}).version == 2);
    CHECK(s.db.update_versioned(item{7, "nail", 80, 1}).status == write_status::conflict);
    CHECK(s.db.update_versioned(item{7, "nail", 80, 99}, strata::expect_version{2}).version == 3);
    CHECK(s.db.update_versioned(item{7, "nail", 70, 3}, strata::expect_version{2}).status == write_status::conflict);
    CHECK(s.read(7) == item{7, "nail", 80, 3});
    CHECK(s.db.remove_versioned<item>(7, strata::expect_version{2}).status == write_status::conflict);
    CHECK(s.db.remove_versioned<item>(7, strata::expect_version{3}).status == write_status::removed);
    CHECK(s.db.remove_versioned(item{7, "", 0, 3}).status == write_status::not_found);
}

TEST_CASE("the last writer wins only where that is said", "[optimistic]") {
    store<> s;
    auto row = s.db.insert_versioned(item{7, "nail", 100, 0});
    s.db.execute(touch(7));
    row->name = "screw";
    const auto done = s.db.update_versioned(row, strata::last_writer_wins{});
    CHECK(done.status == write_status::updated);
    CHECK(done.version == 3);
    CHECK(s.read(7) == item{7, "screw", 100, 3});
    CHECK(s.db.remove_versioned(row, strata::last_writer_wins{}).status == write_status::removed);
    CHECK(s.db.update_versioned(row, strata::last_writer_wins{}).status == write_status::not_found);
}

TEST_CASE("recompute runs on the fresh row", "[optimistic]") {
    store<> s;
    strata::recompute add{[](item& i) { i.amount += 5; }};
    CHECK(s.db.update_versioned<item>(7, add).status == write_status::not_found);
    const auto row = s.db.insert_versioned(item{7, "nail", 100, 0});
    auto done = s.db.update_versioned<item>(7, add);
    CHECK(done.status == write_status::updated);
    REQUIRE(done.row);
    CHECK(**done.row == item{7, "nail", 105, 2});
    // From a row that is stale: the first try is on it, the second on what is there.
    int calls = 0;
    done = s.db.update_versioned(row, strata::recompute{[&calls](item& i) mutable { i.amount += ++calls; }});
    CHECK(calls == 2);
    CHECK(done.attempts == 2);
    CHECK(s.read(7) == item{7, "nail", 107, 3});
    // What the caller did to the row is no part of it, whether or not somebody else was faster.
    auto edited = *s.db.find_versioned<item>(7);
    edited->name = "edited";
    done = s.db.update_versioned(edited, add);
    CHECK(done.attempts == 1);
    CHECK(s.read(7) == item{7, "nail", 112, 4});
    CHECK(s.db.update_versioned(edited, add).attempts == 2);
    CHECK(s.read(7) == item{7, "nail", 117, 5});
    s.db.execute("update \"the \"\"Items\"\"\" set amount = 107 where \"select\" = 7"_sql);
    // What it throws comes out, and nothing is written.
    const auto bad = strata::recompute{[](item& i) {
        i.amount = 0;
        throw std::domain_error("no");
    }};
    CHECK_THROWS_AS(s.db.update_versioned<item>(7, bad), std::domain_error);
    CHECK_THROWS_AS(s.db.try_update_versioned(row, bad), std::domain_error);
    CHECK(s.read(7) == item{7, "nail", 107, 5});
    check_at_rest(s.db);
}

TEST_CASE("merge puts both sides together or names the fields", "[optimistic]") {
    store<> s;
    auto row = s.db.insert_versioned(item{7, "nail", 100, 0});
    s.db.execute(touch(7));
    row->name = "screw";
    auto done = s.db.update_versioned(row, strata::merge{});  // different fields
    CHECK(done.status == write_status::updated);
    CHECK(**done.row == item{7, "screw", 1100, 3});
    row->amount = 90;
    done = s.db.update_versioned(row, strata::merge{});
    CHECK(done.status == write_status::merge_conflict);
    CHECK(done.fields == std::vector<std::string_view>{"amount"});
    REQUIRE(done.row);
    CHECK(**done.row == item{7, "screw", 1100, 3});
    CHECK(s.read(7) == item{7, "screw", 1100, 3});
    done = s.db.update_versioned(row, strata::merge{strata::field<"amount">(strata::add_numbers)});
    CHECK(s.read(7) == item{7, "screw", 1090, 4});
    done = s.db.update_versioned(row, strata::merge{strata::field<"amount">([](auto& base, auto& ours, auto& theirs) {
                                     CHECK(base == 100);
                                     CHECK(ours == 90);
                                     CHECK(theirs == 1090);
                                     return 5;
                                 })});
    CHECK(s.read(7) == item{7, "screw", 5, 5});
    CHECK_THROWS_AS(
        s.db.update_versioned(
            row, strata::merge{strata::otherwise([](auto&, auto& ours, auto&) -> std::remove_cvref_t<decltype(ours)> { throw 7; })}),
        int);
    CHECK(s.read(7) == item{7, "screw", 5, 5});
    check_at_rest(s.db);
}

TEST_CASE("keys of several columns are given in the order of the mapping", "[optimistic]") {
    store<> s;
    s.db.insert_versioned(place{"mill", 3, std::nullopt, 0});
    s.db.insert_versioned(place{"mill", 4, "Ada", 0});
    auto row = s.db.find_versioned<place>(std::tuple{3, "mill"});
    REQUIRE(row);
    CHECK(**row == place{"mill", 3, std::nullopt, 1});
    CHECK_FALSE(s.db.find_versioned<place>(std::tuple{3, "barn"}));
    (*row)->guest = "Bob";
    CHECK(s.db.update_versioned(*row).version == 2);
    CHECK(s.db.update_versioned<place>(std::pair{4, std::string{"mill"}}, strata::recompute{[](place& p) { p.guest.reset(); }}));
    CHECK(**s.db.find_versioned<place>(std::tuple{4, "mill"}) == place{"mill", 4, std::nullopt, 2});
    CHECK(**s.db.find_versioned<place>(std::tuple{3, "mill"}) == place{"mill", 3, "Bob", 2});
    CHECK(s.db.remove_versioned<place>(std::tuple{4, "mill"}, strata::expect_version{1}).status == write_status::conflict);
    const auto latest = s.db.policy<strata::optimistic_locking<>>().snapshot();
    REQUIRE(latest.history.size() == 1);
    CHECK(latest.history[0].key == "4, mill");
    CHECK(latest.history[0].table == "place");
}

TEST_CASE("a changed key is refused, for the row would be another", "[optimistic]") {
    store<> s;
    s.db.insert_versioned(item{8, "other", 1, 0});
    auto row = s.db.insert_versioned(item{7, "nail", 100, 0});
    row->id = 8;
    for (const auto& done :
         {s.db.try_update_versioned(row), s.db.try_update_versioned(row, strata::last_writer_wins{}), s.db.try_remove_versioned(row)}) {
        REQUIRE(done.has_error());
        CHECK(done.error().code() == errc::invalid_argument);
        CHECK(done.error().effect() == strata::effect::none);
    }
    CHECK(s.read(8) == item{8, "other", 1, 1});
    CHECK(s.read(7) == item{7, "nail", 100, 1});
}

TEST_CASE("without a version column any change of the row is seen", "[optimistic]") {
    store<hashed_stack> s;
    using namespace std::string_literals;
    auto row = s.db.insert_versioned(plain_item{7, "na\0il"s, 100});
    CHECK(s.db.find_versioned<plain_item>(7)->version() == row.version());
    s.db.execute("update plain set name = :n where id = 7"_sql("na\0ils"s));  // differs after the NUL
    CHECK(s.db.update_versioned(row).status == write_status::conflict);
    s.db.execute("update plain set name = :n where id = 7"_sql("na\0il"s));
    row->amount = 90;
    auto done = s.db.update_versioned(row);
    REQUIRE(done);
    row.written(done.version);
    CHECK(s.db.find_versioned<plain_item>(7)->version() == row.version());
    s.db.execute("update plain set amount = 91 where id = 7"_sql);
    CHECK(s.db.update_versioned(row).status == write_status::conflict);
    CHECK(s.db.update_versioned(*row, strata::expect_version{row.version()}).status == write_status::conflict);
    done = s.db.update_versioned(row, strata::merge{});
    CHECK(done.status == write_status::updated);
    CHECK((*done.row)->amount == 91);
    CHECK(s.db.update_versioned<plain_item>(7, strata::recompute{[](plain_item& i) { i.name = "a|b'c"; }}));
    CHECK((*s.db.find_versioned<plain_item>(7))->name == "a|b'c");
    // A mapping that names a version column goes before the stack's way.
    CHECK(s.db.insert_versioned(item{1, "x", 1, 0}).version() == 1);
}

TEST_CASE("a table is that of the mapping's schema", "[optimistic]") {
    using optimistic_locking_test::hidden;
    store<> s;
    auto session = s.db.session();
    session.execute("create table hidden (id bigint primary key, amount bigint, version bigint)"_sql);
    session.execute("create temp table hidden (other bigint)"_sql);
    auto row = session.insert_versioned(hidden{1, 5, 0});
    row->amount = 6;
    CHECK(session.update_versioned(row).version == 2);
    CHECK(session.update_versioned<hidden>(1, strata::recompute{[](hidden& a) { ++a.amount; }}));
    CHECK(session.update_versioned(row, strata::last_writer_wins{}).version == 4);
    CHECK((*session.find_versioned<hidden>(1))->amount == 6);
    CHECK(session.remove_versioned<hidden>(1, strata::expect_version{4}));
    CHECK_FALSE(session.find_versioned<hidden>(1));
}

TEST_CASE("inside a transaction a versioned write is part of it", "[optimistic]") {
    store<> s;
    static_cast<void>(s.fill(3));
    CHECK_THROWS_AS(s.db.transaction([](auto& tx) {
        REQUIRE(tx.template update_versioned<item>(1, strata::recompute{[](item& i) { i.amount = 50; }}));
        REQUIRE((*tx.template find_versioned<item>(1))->amount == 50);
        throw std::runtime_error("no");
    }),
                    std::runtime_error);
    CHECK(s.sum() == 3);
    s.db.transaction([&](auto& tx) {
        auto row = *tx.template find_versioned<item>(1);
        row->amount = 10;
        REQUIRE(tx.update_versioned(row));
        CHECK(tx.update_versioned(row).status == write_status::conflict);  // its own write is one too
        CHECK_THROWS_AS(tx.transaction([](auto& inner) {
            REQUIRE(inner.template update_versioned<item>(2, strata::recompute{[](item& i) { i.amount = 50; }}));
            throw 7;
        }),
                        int);
        REQUIRE(tx.remove_versioned(*tx.template find_versioned<item>(3)));
    });
    CHECK(s.sum() == 11);
    {
        auto tx = s.db.begin();
        REQUIRE(tx.template update_versioned<item>(2, strata::recompute{[](item& i) { i.amount = 5; }}));
    }
    CHECK(s.sum() == 11);
    auto tx = s.db.begin();
    REQUIRE(tx.template update_versioned<item>(2, strata::recompute{[](item& i) { i.amount = 5; }}));
    tx.commit();
    CHECK(s.sum() == 15);
    CHECK(tx.try_update_versioned(s.read(2)).error().code() == errc::misuse);
    auto session = s.db.session();
    REQUIRE(session.template update_versioned<item>(2, strata::recompute{[](item& i) { i.amount = 6; }}));
    session = s.db.session({.read_only = true});
    CHECK(session.template find_versioned<item>(2)->base().amount == 6);
}

TEST_CASE("a batch is written whole or not at all", "[optimistic]") {
    store<> s;
    auto rows = s.fill(5);
    for (auto& r : rows) r->amount = 2;
    s.db.execute(touch(4));
    auto all = s.db.update_all_versioned(rows);
    CHECK_FALSE(all);
    CHECK(all.failed == 3u);
    REQUIRE(all.rows.size() == 5);
    for (std::size_t i = 0; i < 5; ++i) CHECK(all.rows[i].status == (i == 3 ? write_status::conflict : write_status::not_written));
    CHECK((*all.rows[3].row)->amount == 1001);
    CHECK(s.sum() == 1005);
    check_at_rest(s.db);

    // Inside a transaction it is rolled back to where it began.
    s.db.transaction([&](auto& tx) {
        tx.execute(touch(5));
        CHECK_FALSE(tx.update_all_versioned(rows));
        CHECK(tx.template one<std::int64_t>(sum_of_items) == 2005);
        CHECK(tx.update_all_versioned(rows, strata::merge{strata::field<"amount">(strata::add_numbers)}));
    });
    CHECK(s.sum() == 2010);
    rows = {};
    CHECK(s.db.update_all_versioned(rows));
}

TEST_CASE("a batch of rows by themselves tells of each", "[optimistic]") {
    store<> s;
    auto rows = s.fill(5);
    const strata::recompute odd{[](item& i) {
        if (i.id == 2) throw std::domain_error("not two");
        i.amount = 7;
    }};
    s.db.execute(touch(4));
    REQUIRE(s.db.remove_versioned(rows[4]));
    const auto each = s.db.update_each_versioned(rows, odd);
    REQUIRE(each.size() == 5);
    CHECK(each[0]->status == write_status::updated);
    REQUIRE(each[1].has_error());
    CHECK(each[1].error().code() == errc::user_exception);
    CHECK(each[1].error().texts().message == "not two");
    CHECK(each[2]->status == write_status::updated);
    CHECK(each[3]->attempts == 2);
    CHECK(each[4]->status == write_status::not_found);
    CHECK(s.sum() == 7 + 1 + 7 + 7);

    std::vector<item> more{{1, "one", 1, 0}, {6, "six", 1, 0}};
    const auto inserted = s.db.insert_each_versioned(more);
    CHECK(inserted[0].error().code() == errc::unique_violation);
    CHECK(inserted[1]->version() == 1);
    const auto whole = s.db.try_insert_all_versioned(std::vector<item>{{8, "eight", 1, 0}, {1, "one", 1, 0}});
    REQUIRE(whole.has_error());
    CHECK(whole.error().code() == errc::unique_violation);
    CHECK(whole.error().effect() == strata::effect::rolled_back);
    CHECK_THAT(whole.error().texts().detail, contains_text("element 1 of the batch"));
    CHECK_FALSE(s.db.find_versioned<item>(8));

    const auto gone = s.db.remove_each_versioned(rows);
    CHECK(gone[0]->status == write_status::conflict);
    CHECK(gone[1]->status == write_status::removed);
    CHECK(s.db.remove_all_versioned(std::vector{s.read(1), s.read(6)}));
    CHECK(s.sum() == 14);
    CHECK_THROWS_AS(s.db.update_all_versioned(std::vector{s.read(3), s.read(4)}, strata::recompute{[](item& i) {
                                                  i.amount = 0;
                                                  if (i.id == 4) throw 7;
                                              }}),
                    int);
    CHECK(s.sum() == 14);
    check_at_rest(s.db);
}

TEST_CASE("conflicts are counted, with the keys that are fought over", "[optimistic]") {
    using policy = strata::optimistic_locking<>;
    store<> s{strata::optimistic_locking_options{.max_attempts = 3, .base = {}, .cap = {}, .hot_keys = 2, .history = 4}};
    const auto rows = s.fill(3);
    CHECK(s.db.policy<policy>().snapshot().operations == 0);
    CHECK(s.db.policy<policy>().snapshot().average_attempts() == 0.0);
    for (const std::int64_t id : {1, 2, 3}) s.db.execute(touch(id));
    const auto conflict = [&](std::size_t i) { REQUIRE(s.db.update_versioned(rows[i]).status == write_status::conflict); };
    conflict(0);
    conflict(0);
    conflict(1);
    conflict(2);  // takes the place and the count of the least
    const auto before = strata::steady_now();
    REQUIRE(s.db.update_versioned(rows[0], strata::recompute{[](item&) {}}));
    strata::conflict_snapshot c = s.db.policy<policy>().snapshot();
    CHECK(c.operations == 5);
    CHECK(c.attempts == 6);
    CHECK(c.conflicts == 5);
    CHECK(c.retries == 1);
    CHECK(c.average_attempts() == Approx(1.2));
    REQUIRE(c.hot_keys.size() == 2);
    CHECK(c.hot_keys[0].key == "1");
    CHECK(c.hot_keys[0].table == "the \"Items\"");
    CHECK(c.hot_keys[0].conflicts == 3);
    CHECK(c.hot_keys[0].over == 0);
    CHECK(c.hot_keys[1].key == "3");
    CHECK(c.hot_keys[1].conflicts == 2);
    CHECK(c.hot_keys[1].over == 1);
    REQUIRE(c.history.size() == 4);
    std::vector<std::string> keys;
    for (const auto& r : c.history) keys.push_back(r.key);
    CHECK(keys == std::vector<std::string>{"1", "2", "3", "1"});
    CHECK(c.history[3].when >= before);
    CHECK(c.history[3].attempt == 1);

    auto mine = rows[1];
    mine->amount = 5;
    CHECK(s.db.update_versioned(mine, strata::merge{}).status == write_status::merge_conflict);
    // Somebody who is always faster: the function itself changes the row.
    strata::database<store_stack> other{s.target};
    const auto never_last = s.db.update_versioned<item>(3, strata::recompute{[&](item& i) {
                                                            ++i.amount;
                                                            other.execute(touch(3));
                                                        }});
    CHECK(never_last.status == write_status::exhausted);
    CHECK(never_last.attempts == 3);
    CHECK(never_last.row->version() == 5);
    c = s.db.policy<policy>().snapshot();
    CHECK(c.merge_conflicts == 1);
    CHECK(c.exhausted == 1);
    CHECK(c.retries == 3);
    CHECK(c.conflicts == 9);
}

TEST_CASE("options of optimistic locking that make no sense are refused", "[optimistic]") {
    using options = strata::optimistic_locking_options;
    const auto refused = [](const options& o) { return o.validate().code() == errc::invalid_argument; };
    CHECK_FALSE(refused({}));
    CHECK(refused({.max_attempts = 0}));
    CHECK(refused({.max_attempts = 1'000'001}));
    CHECK(refused({.base = -1ns}));
    CHECK(refused({.base = 2ms, .cap = 1ms}));
    CHECK(refused({.cap = 2h}));
    CHECK(refused({.hot_keys = 5000}));
    CHECK(refused({.history = 70'000}));
    CHECK_THROWS_AS(store<>{options{.max_attempts = 0}}, strata::failure);
}

TEST_CASE("no increment of several clients of one file is lost", "[optimistic]") {
    // Each client is a database of its own, as another process would be: inside one, the writers of a pool go one after the other.
    using stack = strata::stack<strata::optimistic_locking<>, strata::retry<>, strata::pool<>, strata::sqlite>;
    constexpr int clients = 8;
    constexpr int each = 10'000;
    store<stack> s;
    s.db.insert_versioned(item{1, "counter", 0, 0});
    std::vector<std::thread> threads;
    std::atomic<std::int64_t> updated{0};
    std::atomic<std::uint64_t> conflicts{0};
    for (int i = 0; i < clients; ++i)
        threads.emplace_back([&] {
            strata::database<stack> db{s.target, strata::optimistic_locking_options{.max_attempts = 1'000'000},
                                       strata::retry_options{.max_attempts = 1000, .budget = 0}};
            for (int n = 0; n < each; ++n)
                if (db.update_versioned<item>(1, strata::recompute{[](item& counter) { ++counter.amount; }})) ++updated;
            conflicts += db.policy<strata::optimistic_locking<>>().snapshot().conflicts;
        });
    for (std::thread& t : threads) t.join();
    CHECK(updated == std::int64_t{clients} * each);
    CHECK(s.sum() == std::int64_t{clients} * each);
    CHECK(s.db.find_versioned<item>(1)->version() == clients * each + 1);
    CHECK(conflicts > 0u);
}

TEST_CASE("a version that cannot be counted up and a key that is not unique are errors", "[optimistic]") {
    store<> s;
    const auto full = s.db.try_update_versioned(item{1, "a", 1, std::numeric_limits<std::int64_t>::max()});
    REQUIRE(full.has_error());
    CHECK(full.error().code() == errc::out_of_range);
    CHECK(full.error().effect() == strata::effect::none);
    s.db.execute("drop table place"_sql);
    s.db.execute("create table place (house text, room int, guest text, turn int)"_sql);
    s.db.execute("insert into place values ('mill', 3, null, 1), ('mill', 3, 'Ada', 1)"_sql);
    const auto both = s.db.try_update_versioned(place{"mill", 3, "Bob", 1});
    REQUIRE(both.has_error());
    CHECK(both.error().code() == errc::too_many_rows);
    CHECK(both.error().effect() == strata::effect::applied);
    CHECK(s.db.try_find_versioned<place>(std::tuple{3, "mill"}).error().code() == errc::too_many_rows);
    CHECK(s.db.try_update_all_versioned(std::vector{place{"mill", 3, "Cid", 2}}).error().effect() == strata::effect::rolled_back);
    CHECK(s.db.one<std::int64_t>("select count(*) from place where guest = 'Bob'"_sql) == 2);
    check_at_rest(s.db);
}
