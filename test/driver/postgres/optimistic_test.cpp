// Optimistic locking on a server: the version in a column, by xmin and by a hash of the row.
#include "fixture.hpp"

#include <strata/optimistic_locking.hpp>

namespace strata_test {

struct stock {
    std::int64_t id = 0;
    std::string name;
    std::int64_t amount = 0;
    std::int32_t version = 0;

    friend bool operator==(const stock&, const stock&) = default;
};
struct plain_stock {
    std::int64_t id = 0;
    std::string name;
    std::int64_t amount = 0;

    friend bool operator==(const plain_stock&, const plain_stock&) = default;
};

}  // namespace strata_test

BOOST_HANA_ADAPT_STRUCT(strata_test::stock, id, name, amount, version);
BOOST_HANA_ADAPT_STRUCT(strata_test::plain_stock, id, name, amount);

template <>
struct strata::mapping<strata_test::stock> {
    static constexpr std::string_view table = "the \"Stock\"";
    static constexpr std::string_view key = "select";
    static constexpr std::string_view version = "Version";
    static constexpr strata::renamed columns[] = {{.member = "id", .column = "select"}, {.member = "version", .column = "Version"}};
};
template <>
struct strata::mapping<strata_test::plain_stock> {
    static constexpr std::string_view table = "the \"Stock\"";
    static constexpr std::string_view key = "select";
    static constexpr strata::renamed columns[] = {{.member = "id", .column = "select"}};
};

namespace {

using namespace strata_test;
using strata::write_status;

template <class Way>
using stack_of = strata::stack<strata::optimistic_locking<Way>, strata::pool<>, strata::postgres>;

inline constexpr auto create_stock =
    R"(create table "the ""Stock""" ("select" bigint primary key, name text not null, amount bigint not null,
                                     "Version" int not null default 1))"_sql;

/// A row type with the way its version is told.
template <class Row, class Way>
struct kind {
    using row = Row;
    using way = Way;
};
using by_column = kind<stock, strata::by_version_column>;
using by_place = kind<plain_stock, strata::by_xmin>;
using by_hash = kind<plain_stock, strata::by_row_hash>;

template <class Kind>
struct shop {
    using row = typename Kind::row;
    server in;
    strata::database<stack_of<typename Kind::way>> db;

    explicit shop(const strata::optimistic_locking_options& o = {}, std::size_t connections = 8)
        : db(in.options(), strata::pool_options{.min_size = 1, .max_size = connections}, o) {
        db.execute(create_stock);
    }
    [[nodiscard]] auto counts() { return db.template policy<strata::optimistic_locking<typename Kind::way>>().snapshot(); }
    /// Somebody else, who changes the row and counts its version up.
    void elsewhere(std::int64_t id) {
        in.admin().execute(strata::statement{"update " + in.schema() +
                                             R"(."the ""Stock""" set amount = amount + 1000, "Version" = "Version" + 1 where "select" = )" +
                                             std::to_string(id)});
    }
};

template <class Row>
Row row_of(std::int64_t id, std::string name, std::int64_t amount) {
    Row r{};
    r.id = id;
    r.name = std::move(name);
    r.amount = amount;
    return r;
}

}  // namespace

TEMPLATE_TEST_CASE("each kind of version tells a row that was changed", "[postgres][optimistic]", by_column, by_place, by_hash) {
    using row = typename TestType::row;
    shop<TestType> s;
    CHECK_FALSE(s.db.template find_versioned<row>(7));
    auto mine = s.db.insert_versioned(row_of<row>(7, "nail", 100));
    auto found = s.db.template find_versioned<row>(7);
    REQUIRE(found);
    CHECK(found->version() == mine.version());

    mine->amount = 90;
    auto done = s.db.update_versioned(mine);
    REQUIRE(done.status == write_status::updated);
    CHECK(done.version != mine.version());
    mine.written(done.version);
    auto late = s.db.update_versioned(*found);  // as it was before
    CHECK(late.status == write_status::conflict);
    REQUIRE(late.row);
    CHECK((*late.row)->amount == 90);
    CHECK(late.row->version() == mine.version());

    s.elsewhere(7);
    mine->amount = 80;
    CHECK(s.db.update_versioned(mine).status == write_status::conflict);
    CHECK(s.db.remove_versioned(mine).status == write_status::conflict);
    CHECK(s.db.template find_versioned<row>(7)->base().amount == 1090);
    done = s.db.update_versioned(mine, strata::last_writer_wins{});
    REQUIRE(done.status == write_status::updated);
    mine.written(done.version);
    CHECK(s.db.template find_versioned<row>(7)->version() == mine.version());
    CHECK(s.db.remove_versioned(mine).status == write_status::removed);
    CHECK(s.db.remove_versioned(mine).status == write_status::not_found);
    CHECK(s.db.update_versioned(mine).status == write_status::not_found);
    CHECK(s.db.update_versioned(mine, strata::last_writer_wins{}).status == write_status::not_found);
}

TEMPLATE_TEST_CASE("a transaction's own writes are told apart too", "[postgres][optimistic]", by_column, by_place, by_hash) {
    using row = typename TestType::row;
    shop<TestType> s;
    s.db.insert_versioned(row_of<row>(1, "nail", 100));
    s.db.transaction([](auto& tx) {
        auto mine = *tx.template find_versioned<row>(1);
        mine->amount = 90;
        auto done = tx.update_versioned(mine);
        REQUIRE(done);
        const auto before = mine;
        mine.written(done.version);
        mine->amount = 80;
        done = tx.update_versioned(mine);
        REQUIRE(done);
        CHECK(tx.update_versioned(before).status == write_status::conflict);
        CHECK(tx.update_versioned(mine).status == write_status::conflict);
        mine.written(done.version);
        tx.transaction([&](auto& inner) {
            mine->amount = 70;
            const auto again = inner.update_versioned(mine);
            REQUIRE(again);
            CHECK(inner.update_versioned(mine).status == write_status::conflict);
        });
    });
    CHECK(s.db.template find_versioned<row>(1)->base().amount == 70);
}

TEMPLATE_TEST_CASE("no increment of several clients is lost", "[postgres][optimistic]", by_column, by_place, by_hash) {
    using row = typename TestType::row;
    constexpr int clients = 8;
    const int each = std::is_same_v<TestType, by_column> ? strata_test::count(250, 10'000) : strata_test::count(50, 1'000);
    shop<TestType> s{strata::optimistic_locking_options{.max_attempts = 1'000'000}};
    s.db.insert_versioned(row_of<row>(1, "counter", 0));
    std::vector<std::thread> threads;
    std::atomic<int> updated{0};
    for (int i = 0; i < clients; ++i)
        threads.emplace_back([&] {
            for (int n = 0; n < each; ++n)
                if (s.db.template update_versioned<row>(1, strata::recompute{[](row& r) { ++r.amount; }})) ++updated;
        });
    for (std::thread& t : threads) t.join();
    CHECK(updated == clients * each);
    CHECK(s.db.template find_versioned<row>(1)->base().amount == clients * each);
    const strata::conflict_snapshot c = s.counts();
    CHECK(c.operations == static_cast<std::uint64_t>(clients * each));
    CHECK(c.conflicts == c.retries);
    WARN("conflicts " << c.conflicts << ", attempts on an average " << c.average_attempts());
    REQUIRE(c.hot_keys.size() == (c.conflicts > 0 ? 1u : 0u));
}

TEST_CASE("a conflict under a snapshot is the transaction's, and repeats its closure", "[postgres][optimistic]") {
    using stack = strata::stack<strata::optimistic_locking<>, strata::retry<>, strata::pool<>, strata::postgres>;
    shop<by_column> s;
    strata::database<stack> db{s.in.options(), strata::pool_options{.min_size = 1, .max_size = 2}};
    db.insert_versioned(stock{1, "nail", 100, 0});
    int runs = 0;
    db.transaction(
        [&](auto& tx) {
            auto row = *tx.template find_versioned<stock>(1);
            if (++runs == 1) s.elsewhere(1);
            row->amount += 1;
            const auto done = tx.update_versioned(row);
            CHECK(done.version == 3);
        },
        {.isolation = strata::isolation::repeatable_read});
    CHECK(runs == 2);
    CHECK(db.find_versioned<stock>(1)->base() == stock{1, "nail", 1101, 3});
    // Where each statement sees what is committed, it is the row's own.
    db.transaction([&](auto& tx) {
        auto row = *tx.template find_versioned<stock>(1);
        s.elsewhere(1);
        row->amount += 1;
        CHECK(tx.update_versioned(row).status == write_status::conflict);
        CHECK(tx.update_versioned(row, strata::merge{strata::field<"amount">(strata::add_numbers)}));
    });
    CHECK(db.find_versioned<stock>(1)->base() == stock{1, "nail", 2102, 5});
}

TEST_CASE("batches of versioned rows on a server", "[postgres][optimistic]") {
    shop<by_column> s;
    auto rows = s.db.insert_all_versioned(std::vector<stock>{{1, "a", 1, 0}, {2, "b", 1, 0}, {3, "c", 1, 0}});
    for (auto& r : rows) r->amount = 2;
    s.elsewhere(2);
    const auto all = s.db.update_all_versioned(rows);
    CHECK(all.failed == 1u);
    CHECK(s.db.find_versioned<stock>(1)->version() == 1);
    s.db.execute(R"(alter table "the ""Stock""" add check (amount <> 7))"_sql);
    const auto each = s.db.update_each_versioned(rows, strata::recompute{[](stock& r) { r.amount = r.id == 1 ? 7 : 3; }});
    CHECK(each[0].error().code() == errc::check_violation);
    CHECK(each[1]->attempts == 2);
    CHECK(each[2]->version == 2);
    CHECK_THROWS_AS(s.db.transaction([&](auto& tx) {
        CHECK_FALSE(tx.remove_all_versioned(rows));
        CHECK(tx.update_all_versioned(rows, strata::last_writer_wins{}));
        // After an error the server runs nothing more of the transaction.
        auto broken = tx.update_each_versioned(rows, strata::recompute{[](stock& r) { r.amount = 7; }});
        CHECK(broken[0].error().code() == errc::check_violation);
        CHECK(broken[1].has_error());
        CHECK(tx.try_update_versioned(rows[0]).has_error());
        throw 7;
    }),
                    int);
    CHECK(s.db.find_versioned<stock>(1)->version() == 1);
}

TEST_CASE("a trigger that keeps a row as it is looks like a conflict", "[postgres][optimistic]") {
    shop<by_column> s{strata::optimistic_locking_options{.max_attempts = 3, .base = {}, .cap = {}}};
    s.db.insert_versioned(stock{1, "nail", 100, 0});
    s.db.execute("create function keep() returns trigger language plpgsql as $$ begin return null; end $$"_sql);
    s.db.execute(R"(create trigger keep before update on "the ""Stock""" for each row execute function keep())"_sql);
    const auto done = s.db.update_versioned(stock{1, "nail", 90, 1});
    CHECK(done.status == write_status::conflict);
    CHECK(done.row->version() == 1);
    CHECK(s.db.update_versioned<stock>(1, strata::recompute{[](stock& r) { ++r.amount; }}).status == write_status::exhausted);
}
