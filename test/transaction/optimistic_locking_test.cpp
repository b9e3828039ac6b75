// Versioned rows on SQLite: what each call writes and says, alone and inside transactions and sessions.
#include "optimistic_fixture.hpp"

using namespace strata_test;
using strata::write_status;

namespace {

using store_stack = strata::stack<strata::optimistic_locking<>, strata::pool<>, strata::sqlite>;

template <class Stack = store_stack>
struct store : file_of_its_own {
    strata::database<Stack> db;

    template <class... Options>
    explicit store(const Options&... options) : db(target, options...) {
        db.execute(create_items);
        db.execute(create_plain);
        db.execute(create_place);
    }
};

}  // namespace

TEST_CASE("a row is inserted, found, updated and removed with its version", "[optimistic]") {
    store<> s;
    CHECK_FALSE(s.db.find_versioned<item>(7));
    const auto inserted = s.db.insert_versioned(item{7, "nail", 100, 55});
    CHECK(inserted.version() == 1);
    CHECK(*inserted == item{7, "nail", 100, 1});
    auto row = s.db.find_versioned<item>(7);
    REQUIRE(row);
    CHECK(**row == item{7, "nail", 100, 1});
    (*row)->amount = 90;
    auto done = s.db.update_versioned(*row);
    CHECK(done);
    CHECK(done.status == write_status::updated);
    CHECK(done.version == 2);
}
TEST_CASE("b", "[optimistic]") {
    store<> s;
    std::vector<item> rows;
    for (int i = 0; i < 5; ++i) rows.push_back({i, "x", 1, 0});
    auto in = s.db.insert_all_versioned(rows);
    REQUIRE(in.size() == 5);
    auto each = s.db.insert_each_versioned(rows);
    REQUIRE(each.size() == 5);
    CHECK(each[0].error().code() == errc::unique_violation);
    for (auto& r : in) r->amount = 2;
    s.db.execute(R"(update "the ""Items""" set "Version" = 5 where "select" = 3)"_sql);
    auto all = s.db.update_all_versioned(in);
    CHECK(!all);
    CHECK(all.failed == 3u);
    CHECK(all.rows[3].status == write_status::conflict);
    CHECK(all.rows[2].status == write_status::not_written);
    CHECK(s.db.one<std::int64_t>(R"(select sum(amount) from "the ""Items""")"_sql) == 5);
    auto parts = s.db.update_each_versioned(in, strata::recompute{[](item& i) { i.amount = 7; }});
    CHECK(s.db.one<std::int64_t>(R"(select sum(amount) from "the ""Items""")"_sql) == 35);
    auto gone = s.db.remove_each_versioned(in);
    CHECK(gone[2]->status == write_status::conflict);
}
