// Shared connections and the pool beside them: what ends the one ends the other, and neither outlives its process.
#include "pipelined_fixture.hpp"

#include <optional>
#include <set>
#include <thread>

using namespace strata_test;

namespace {

using db1 = strata::database<shared_stack<1>>;
using db2 = strata::database<shared_stack<2>>;

}  // namespace

TEST_CASE("the server's farewell to one connection is heard by all, shared or not", "[postgres][pipelined][fault]") {
    server in;
    db2 db{in.options(), strata::pipelined_options{.slow = {}}, strata::pool_options{.min_size = 2, .max_size = 2}};
    db.execute("create view farewell as select pg_terminate_backend(pg_backend_pid()) as told"_sql());
    const auto backends_now = [&](const auto& of) {
        std::set<int> all;
        for (int i = 0; i < 3; ++i) all.insert(db.one<int>(of()));
        return all;
    };
    const auto differ = [](const std::set<int>& a, const std::set<int>& b) {
        for (const int pid : a)
            if (b.contains(pid)) return false;
        return true;
    };
    for (const bool to_shared : {true, false}) {
        const std::set<int> shared = backends_now(shared_backend), exclusive = backends_now(exclusive_backend);
        if (to_shared)
            CHECK(db.try_one<bool>("select told from farewell"_sql()).has_error());
        else
            CHECK(db.try_one<bool>("select pg_terminate_backend(pg_backend_pid())"_sql()).has_error());
        INFO((to_shared ? "to a shared one" : "to another"));
        CHECK(differ(shared, backends_now(shared_backend)));
        CHECK(differ(exclusive, backends_now(exclusive_backend)));
    }
}

TEST_CASE("who is closed lets nobody in, while shared statements come to their end", "[postgres][pipelined][lifetime]") {
    bank<> b{9};
    db1 db{b.in.options(), strata::pipelined_options{.slow = {}}, server::one()};
    static_cast<void>(db.one<int>(shared_backend()));
    std::optional holder{b.db.begin()};
    holder->execute(add_balance(0, 1));
    std::thread waits([&] { static_cast<void>(db.try_execute(add_balance(1, 1))); });
    while (db.source().shared().load() == 0) std::this_thread::yield();
    std::thread closer([&] { db.close(20s); });
    while (!db.try_one<int>(shared_backend(), {.deadline = 5s}).has_error()) std::this_thread::yield();
    const auto r = db.try_one<int>(exclusive_backend(), {.deadline = 5s});
    CHECK(r.has_error());
    if (!r) CHECK(r.error().code() == errc::shutting_down);
    holder->rollback();
    waits.join();
    closer.join();
    CHECK(b.balance_of(1) == 101);
}

TEST_CASE("a refusal says whether too many wait, or the connection was not there", "[postgres][pipelined]") {
    server in;
    db1 db{in.options(), strata::pipelined_options{.max_waiting = 1}, strata::pool_options{.min_size = 1, .max_size = 2, .max_wait = 1s}};
    db.source().suspend();
    strata::error waited;
    std::thread waits([&] { waited = db.try_one<int>(shared_backend()).error(); });
    while (db.source().shared().load() == 0) std::this_thread::yield();
    const strata::error refused = db.try_one<int>(shared_backend()).error();
    waits.join();
    CHECK(refused.code() == errc::pool_exhausted);
    CHECK_THAT(refused.message(), contains_text("max_waiting"));
    CHECK(waited.code() == errc::pool_exhausted);
    CHECK_THAT(waited.message(), contains_text("not there in time"));
    db.source().resume();
    CHECK(db.one<int>(shared_backend()) != 0);
}
