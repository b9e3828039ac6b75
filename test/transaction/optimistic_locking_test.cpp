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
