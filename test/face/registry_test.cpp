// Databases that are shared by those who ask with equal options.
#include <support/catch.hpp>

#include <strata/database_registry.hpp>
#include <strata/driver/sqlite.hpp>
#include <strata/strata.hpp>

#include <thread>
#include <vector>

using namespace std::chrono_literals;
using namespace strata::literals;

namespace {

using bank = strata::stack<strata::metrics<>, strata::retry<>, strata::circuit_breaker<>, strata::pool<>, strata::sqlite>;

const strata::sqlite_options memory{.path = "file:/registry?vfs=memdb"};

}  // namespace

TEST_CASE("equal options share a database, in whatever order they are given, and with defaults left out", "[registry]") {
    strata::database_registry<bank> registry;
    const auto one = registry.open(memory, strata::pool_options{.max_size = 4});
    CHECK(registry.open(strata::pool_options{.max_size = 4}, memory) == one);
    CHECK(registry.open(memory, strata::pool_options{.max_size = 4}, strata::retry_options{}) == one);
    CHECK(registry.size() == 1);
    CHECK(registry.open(memory, strata::pool_options{.max_size = 5}) != one);
    CHECK(registry.open(memory, strata::pool_options{.max_size = 4}, strata::retry_options{.max_attempts = 9}) != one);
    strata::sqlite_options other = memory;
    other.busy_timeout = 1ms;
    CHECK(registry.open(other, strata::pool_options{.max_size = 4}) != one);
    CHECK(registry.size() == 1);  // those are gone again
    one->execute("create table t (id int)"_sql);
    CHECK(one->connections().opened >= 1);
}

TEST_CASE("a function among the options is equal only to its copies", "[registry]") {
    strata::database_registry<bank> registry;
    const auto leak = [](const strata::pool_leak&) {};
    const strata::pool_options o{.max_size = 2, .leak_threshold = 1s, .on_leak = leak};
    strata::pool_options p = o;
    p.on_leak = leak;
    const auto one = registry.open(strata::sqlite_options{.path = "file:/registry2?vfs=memdb"}, strata::pool_options{.max_size = 2});
    CHECK(strata::pool_options{o} == o);
    CHECK_FALSE(p == o);
    CHECK_FALSE(strata::shared_function<int()>{});
    CHECK(strata::shared_function<int()>{} == nullptr);
    CHECK(strata::shared_function<int(int)>{[](int i) { return i + 1; }}(1) == 2);
}

TEST_CASE("threads that ask at once get one database, and the last who lets go ends it", "[registry]") {
    strata::database_registry<bank> registry;
    for (int round = 0; round < 20; ++round) {
        std::vector<std::shared_ptr<strata::database<bank>>> all(6);
        std::vector<std::thread> threads;
        for (auto& mine : all) threads.emplace_back([&] { mine = registry.open(memory); });
        for (std::thread& t : threads) t.join();
        for (const auto& mine : all) CHECK(mine == all.front());
        CHECK(registry.size() == 1);
        std::weak_ptr<strata::database<bank>> left = all.front();
        all.clear();
        CHECK(left.expired());
        CHECK(registry.size() == 0);
    }
}

TEST_CASE("options that make no sense leave the registry as it was", "[registry]") {
    strata::database_registry<bank> registry;
    CHECK_THROWS_AS(registry.open(memory, strata::pool_options{.max_size = 0}), strata::failure);
    CHECK(registry.size() == 0);
}

TEST_CASE("a database that was closed is not handed out again", "[registry]") {
    strata::database_registry<bank> registry;
    const auto one = registry.open(memory);
    one->close();
    const auto another = registry.open(memory);
    CHECK(another != one);
    CHECK_FALSE(another->try_execute("create table if not exists t (id int)"_sql).has_error());
}
