// Streams of the blocking face: rows one after the other, and a connection that always comes back.
#include <face/fixture.hpp>

#include <ranges>

using namespace strata_test;

namespace {

inline constexpr auto one_to_n = "with recursive n(i) as (select 1 union all select i + 1 from n where i < :n) select i from n"_sql;

}  // namespace

TEST_CASE("rows come one after the other, in order, and the connection goes back at the end", "[face][stream]") {
    bank<> b;
    b.fill(100);
    std::vector<account> seen;
    auto stream = b.db.rows<account>(all_accounts);
    CHECK(b.db.connections().idle == b.db.connections().open);  // nothing has been leased yet
    for (const account& a : stream) {
        if (seen.empty()) CHECK(b.db.connections().idle + 1 == b.db.connections().open);
        seen.push_back(a);
    }
    CHECK(seen == b.db.all<account>(all_accounts));
    check_at_rest(b.db);
    CHECK(stream.next() == nullptr);
    CHECK(stream.try_next().value() == nullptr);

    std::int64_t sum = 0;
    for (const auto& [id, owner] : b.db.rows<std::tuple<std::int64_t, std::string>>("select id, owner from account"_sql)) {
        sum += id;
        CHECK_FALSE(owner.empty());
    }
    CHECK(sum == 5050);
    for ([[maybe_unused]] const int none : b.db.rows<int>("select 1 where 0"_sql)) FAIL("a row out of nowhere");
    auto range = b.db.rows<int>(one_to_n("n"_arg = 5));
    static_assert(std::ranges::input_range<decltype(range)>);
    check_at_rest(b.db);
}

TEST_CASE("a stream keeps its own arguments", "[face][stream]") {
    bank<> b;
    b.fill(3);
    auto make = [&] {
        std::string owner = "owner with a name too long for the small buffer";
        b.db.execute("update account set owner = :owner where id = 2"_sql(owner));
        const std::int64_t id = 2;
        return b.db.rows<account>("select id, owner, balance from account where owner = :owner and id = :id"_sql(owner, id));
    };
    auto stream = make();
    const account* const a = stream.next();
    REQUIRE(a != nullptr);
    CHECK(a->id == 2);
    CHECK(stream.next() == nullptr);
    auto from_c = [&] {
        char text[] = "owner 3";
        return b.db.rows<account>("select id, owner, balance from account where owner = :owner"_sql(text));
    }();
    REQUIRE(from_c.next() != nullptr);
}

TEST_CASE("a stream that is dropped midway gives its connection back", "[face][stream]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    {
        auto stream = b.db.rows<std::int64_t>(one_to_n(1'000'000));
        REQUIRE(stream.next() != nullptr);
        CHECK(*stream.next() == 2);
        CHECK(b.db.connections().idle == 0);
    }
    check_at_rest(b.db);
    for (const std::int64_t i : b.db.rows<std::int64_t>(one_to_n(1'000'000)))
        if (i == 3) break;
    check_at_rest(b.db);
    CHECK_THROWS_WITH(
        [&] {
            for (const std::int64_t i : b.db.rows<std::int64_t>(one_to_n(1'000'000)))
                if (i == 3) throw std::runtime_error("enough");
        }(),
        "enough");
    check_at_rest(b.db);
    {
        auto stream = b.db.rows<std::int64_t>(one_to_n(10));
        REQUIRE(stream.next() != nullptr);
        auto moved = std::move(stream);
        CHECK(*moved.next() == 2);
        CHECK(stream.next() == nullptr);
        moved = b.db.rows<std::int64_t>(one_to_n(1));  // the connection of the first goes back before the second needs one
        CHECK(*moved.next() == 1);
    }
    check_at_rest(b.db);
}

TEST_CASE("views into a row live until the next row", "[face][stream]") {
    bank<> b;
    b.fill(3);
    std::string all;
    for (const std::string_view owner : b.db.rows<std::string_view>("select owner from account order by id"_sql))
        all.append(owner).append(";");
    CHECK(all == "owner 1;owner 2;owner 3;");
    for (const auto& [id, owner] : b.db.rows<std::tuple<int, std::string_view>>("select id, owner from account where id = 2"_sql)) {
        CHECK(id == 2);
        CHECK(owner == "owner 2");
    }
}

TEST_CASE("an error midway ends a stream and gives the connection back", "[face][stream]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    // The third row does not fit.
    constexpr auto mixed = "select 1 union all select 2 union all select 'three' union all select 4"_sql;
    auto stream = b.db.rows<int>(mixed);
    CHECK(*stream.next() == 1);
    CHECK(*stream.next() == 2);
    CHECK(failure_of([&] { return stream.next(); }).code() == errc::type_mismatch);
    CHECK(stream.next() == nullptr);
    check_at_rest(b.db);

    auto quiet = b.db.rows<int>(mixed);
    int rows = 0;
    strata::error last;
    for (;;) {
        const auto r = quiet.try_next();
        if (!r) {
            last = r.error();
            break;
        }
        REQUIRE(*r != nullptr);
        ++rows;
    }
    CHECK(rows == 2);
    CHECK(last.code() == errc::type_mismatch);
    CHECK(last.phase() == strata::phase::result);
    check_at_rest(b.db);

    CHECK(failure_of([&] { return b.db.rows<int>("select x from nowhere"_sql).next(); }).code() == errc::undefined_object);
    CHECK(failure_of([&] { return b.db.rows<account>("select id from account"_sql).next(); }).code() == errc::missing_column);
    check_at_rest(b.db);
}

TEST_CASE("a deadline ends a stream midway", "[face][stream]") {
    bank<> b{strata::pool_options{.max_size = 1}};
    auto stream =
        b.db.rows<std::int64_t>("with recursive n(i) as (select 1 union all select i + 1 from n) select i from n"_sql, {.deadline = 10ms});
    strata::error e;
    for (;;) {
        const auto r = stream.try_next();
        if (!r) {
            e = r.error();
            break;
        }
    }
    CHECK(e.code() == errc::timeout);
    check_at_rest(b.db);
}

TEST_CASE("a stream outlives its database", "[face][stream]") {
    auto b = std::make_unique<bank<>>();
    b->fill(10);
    const file_of_its_own keep;  // the folder of the bank goes with it; an open file does not mind
    auto stream = b->db.rows<account>(all_accounts);
    REQUIRE(stream.next() != nullptr);
    b.reset();
    int rest = 0;
    while (stream.next() != nullptr) ++rest;
    CHECK(rest == 9);
}

TEST_CASE("a stream inside a transaction sees what the transaction has done", "[face][stream]") {
    bank<> b;
    b.fill(2);
    b.db.transaction([&](auto& tx) {
        tx.execute(insert_account(3, "Zoe", 1));
        std::int64_t sum = 0;
        for (const account& a : tx.template rows<account>(all_accounts)) {
            sum += a.id;
            tx.execute(add_balance(1, a.id));  // other statements may run between two rows
        }
        CHECK(sum == 6);
        auto dropped = tx.template rows<account>(all_accounts);
        CHECK(dropped.next() != nullptr);
    });
    CHECK(b.balance_of(3) == 2);
    auto s = b.db.session();
    auto rows = s.rows<account>(all_accounts);
    CHECK(rows.next()->balance == 101);
    CHECK(s.one<std::int64_t>(count_accounts) == 3);
}

TEST_CASE("a stream of a write has written what it has returned", "[face][stream]") {
    bank<> b;
    b.fill(3);
    std::vector<std::int64_t> changed;
    for (const std::int64_t id : b.db.rows<std::int64_t>("update account set balance = 0 returning id"_sql)) changed.push_back(id);
    CHECK(changed.size() == 3);
    {
        auto dropped = b.db.rows<std::int64_t>("update account set balance = 7 returning id"_sql);
        REQUIRE(dropped.next() != nullptr);
    }
    check_at_rest(b.db);
    CHECK(b.balance_of(3) == 7);
}
