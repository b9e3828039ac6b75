// The table of statement names: bounded, without a lock, one line a name.
#include <strata/observe/statement_table.hpp>

#include <support/catch.hpp>

#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

using strata::duration;
using strata::statement_counters;
using strata::statement_table;

TEST_CASE("a name has one line, whatever its address", "[statement_table]") {
    statement_table t;
    const std::string copy = "find_account";
    statement_counters& a = t.find("find_account");
    CHECK(&a == &t.find(copy));
    CHECK(&a != &t.find("find_accounts"));
    CHECK(&a != &t.find("find_accoun"));
    CHECK(&t.find("") == &t.find(std::string_view{}));
    CHECK(a.name() == "find_account");
    a.record(duration{100}, true);
    a.record(duration{100}, false);
    CHECK(a.latency().snapshot().count() == 2);
    CHECK(a.failures() == 1);
}

TEST_CASE("names alike in length, beginning and end are told apart", "[statement_table]") {
    statement_table t;
    std::set<statement_counters*> lines;
    std::vector<std::string> names;
    for (char c = 'a'; c <= 'z'; ++c)
        for (const std::size_t at : {0u, 3u, 7u, 8u, 12u, 16u}) {
            std::string name(17, '_');
            name[at] = c;
            names.push_back(std::move(name));
        }
    for (const std::string& n : names) lines.insert(&t.find(n));
    CHECK(lines.size() == names.size());
    for (const std::string& n : names) CHECK(t.find(n).name() == n);
}

TEST_CASE("long names are cut", "[statement_table]") {
    statement_table t;
    const std::string common(statement_counters::longest_name, 'x');
    CHECK(t.find(common + "a").name() == common);
    CHECK(&t.find(common + "a") == &t.find(common + "b"));
    CHECK(&t.find(common) != &t.find(common.substr(1)));
}

TEST_CASE("names beyond the capacity share the line of the others", "[statement_table]") {
    statement_table t;
    for (std::size_t i = 0; i < statement_table::capacity; ++i) {
        statement_counters& line = t.find("name" + std::to_string(i));
        REQUIRE(&line != &t.others());
        line.record(duration{1}, true);
    }
    for (int i = 0; i < 1'000; ++i) {
        statement_counters& line = t.find("more" + std::to_string(i));
        REQUIRE(&line == &t.others());
        line.record(duration{1}, true);
    }
    CHECK(t.others().latency().snapshot().count() == 1'000);
    std::set<std::string> seen;
    t.for_each([&](const statement_counters& c) {
        seen.insert(std::string{c.name()});
        CHECK(c.latency().snapshot().count() == 1);
    });
    CHECK(seen.size() == statement_table::capacity);
    CHECK(&t.find("name17") != &t.others());  // the old ones stay
}

TEST_CASE("threads that meet a new name at once agree on its line", "[statement_table][threads]") {
    const int rounds = strata_test::count(20, 500);
    for (int r = 0; r < rounds; ++r) {
        const auto t = std::make_unique<statement_table>();
        std::vector<std::thread> all;
        for (int k = 0; k < 3; ++k)
            all.emplace_back([&t] {
                for (int i = 0; i < 300; ++i) t->find("name" + std::to_string(i)).record(duration{1}, true);
            });
        for (std::thread& x : all) x.join();
        std::set<std::string> names;
        std::uint64_t sum = t->others().latency().snapshot().count();
        t->for_each([&](const statement_counters& c) {
            REQUIRE(names.insert(std::string{c.name()}).second);
            sum += c.latency().snapshot().count();
        });
        REQUIRE(names.size() == statement_table::capacity);
        REQUIRE(sum == 900);
    }
}
