// The checker of histories: it finds what was planted, of the right kind, and nothing in what is right.
#include <support/catch.hpp>
#include <support/history.hpp>

#include <random>
#include <set>

using namespace strata_test;

namespace {

using kinds = std::set<std::string_view>;

kinds found_in(const list_history& h) {
    kinds all;
    for (const anomaly_found& f : check_history(h).found) all.insert(to_string(f.kind));
    return all;
}

list_transaction committed(std::vector<list_step> steps) {
    return {fate::committed, std::move(steps)};
}
list_transaction aborted(std::vector<list_step> steps) {
    return {fate::aborted, std::move(steps)};
}
list_transaction unknown(std::vector<list_step> steps) {
    return {fate::unknown, std::move(steps)};
}

}  // namespace

TEST_CASE("histories that are right are clean", "[history]") {
    CHECK(found_in({}).empty());
    CHECK(found_in({committed({reads(1, {})}), committed({appends(1, 1), reads(1, {1}), appends(1, 2)}), committed({reads(1, {1, 2})})})
              .empty());
    // one after the other over two lists, told in any order
    CHECK(found_in({committed({reads(2, {7}), appends(1, 2)}), committed({reads(1, {1}), appends(2, 7)}), committed({appends(1, 1)}),
                    committed({reads(1, {1, 2}), reads(2, {7})})})
              .empty());
    CHECK(found_in({aborted({appends(1, 1), reads(1, {1})}), committed({reads(1, {})})}).empty());
    CHECK(found_in({aborted({reads(1, {9})})}).empty());  // nobody answers for what a rolled back transaction saw
}

TEST_CASE("reads that cannot be", "[history]") {
    CHECK(found_in({committed({reads(1, {9})})}) == kinds{"invented"});
    CHECK(found_in({committed({appends(1, 1)}), committed({reads(1, {1, 1})})}).count("repeated") == 1);
    CHECK(found_in({committed({appends(1, 1)}), committed({appends(1, 2)}), committed({reads(1, {1})}), committed({reads(1, {2})}),
                    committed({reads(1, {1, 2})})}) == kinds{"diverging"});
    CHECK(found_in({committed({appends(1, 1), reads(1, {})})}).count("lost") == 1);
    CHECK(found_in({committed({appends(1, 1), appends(1, 2), reads(1, {2})})}).count("lost") == 1);
}

TEST_CASE("G1a: an aborted transaction was read", "[history]") {
    CHECK(found_in({aborted({appends(1, 1)}), committed({reads(1, {1})})}) == kinds{"G1a"});
    CHECK(found_in({committed({appends(1, 1)}), aborted({appends(1, 2)}), committed({appends(1, 3)}), committed({reads(1, {1, 2, 3})})}) ==
          kinds{"G1a"});
}

TEST_CASE("G1b: a transaction was read half-way", "[history]") {
    CHECK(found_in({committed({appends(1, 1), appends(1, 2)}), committed({reads(1, {1})}), committed({reads(1, {1, 2})})}).count("G1b") ==
          1);
    CHECK(found_in({committed({appends(1, 1), reads(1, {1}), appends(1, 2)}), committed({reads(1, {1, 2})})}).empty());  // its own
}

TEST_CASE("G0: writes in a circle", "[history]") {
    CHECK(found_in({committed({appends(1, 1), appends(2, 1)}), committed({appends(1, 2), appends(2, 2)}),
                    committed({reads(1, {1, 2}), reads(2, {2, 1})})}) == kinds{"G0"});
}

TEST_CASE("G1c: information in a circle", "[history]") {
    CHECK(found_in({committed({appends(1, 1), reads(2, {1})}), committed({appends(2, 1), reads(1, {1})})}) == kinds{"G1c"});
    CHECK(found_in({committed({appends(1, 1), reads(2, {1})}), committed({appends(1, 2), appends(2, 1)}), committed({reads(1, {1, 2})})}) ==
          kinds{"G1c"});
}

TEST_CASE("G-single: a circle with one anti-dependency", "[history]") {
    // read skew: one list before, the other one after
    CHECK(found_in({committed({appends(1, 1), appends(2, 1)}), committed({reads(1, {}), reads(2, {1})}), committed({reads(1, {1})})}) ==
          kinds{"G-single"});
    // a lost update: both read the same, both append
    CHECK(found_in({committed({reads(1, {}), appends(1, 1)}), committed({reads(1, {}), appends(1, 2)}), committed({reads(1, {1, 2})})}) ==
          kinds{"G-single"});
}

TEST_CASE("G2: a circle with more anti-dependencies", "[history]") {
    // write skew
    CHECK(found_in({committed({reads(1, {}), appends(2, 1)}), committed({reads(2, {}), appends(1, 1)}),
                    committed({reads(1, {1}), reads(2, {1})})}) == kinds{"G2"});
    // of three
    CHECK(found_in({committed({reads(1, {}), appends(2, 1)}), committed({reads(2, {}), appends(3, 1)}),
                    committed({reads(3, {}), appends(1, 1)}), committed({reads(1, {1}), reads(2, {1}), reads(3, {1})})}) == kinds{"G2"});
    // two reports that disagree on what came first
    CHECK(found_in({committed({appends(1, 1)}), committed({appends(2, 1)}), committed({reads(1, {1}), reads(2, {})}),
                    committed({reads(1, {}), reads(2, {1})})}) == kinds{"G2"});
}

TEST_CASE("what was committed and read by nobody is missing in the end", "[history]") {
    // Both write the list as they read it with their value behind it; or a commit is told that was none.
    const list_history lost{committed({reads(1, {}), appends(1, 1)}), committed({reads(1, {}), appends(1, 2)}), committed({reads(1, {2})})};
    CHECK(check_history(lost).found.empty());  // the last might have read before the first wrote
    const auto report = check_ended_history(lost);
    REQUIRE(report.found.size() == 1);
    CHECK(report.found[0].kind == anomaly::vanished);
    CHECK(report.found[0].where == "value 1 of list 1 by T0");
    CHECK(check_ended_history({unknown({appends(1, 1)}), aborted({appends(1, 2)}), committed({appends(1, 3), appends(2, 1)}),
                               committed({reads(1, {3}), reads(2, {1})})})
              .found.empty());
}

TEST_CASE("an unknown outcome is what others saw of it", "[history]") {
    const auto seen = check_history({unknown({appends(1, 1)}), committed({reads(1, {1})})});
    CHECK(seen.found.empty());
    CHECK(seen.resolved == 1);
    CHECK(seen.committed == 2);
    const auto unseen = check_history({unknown({appends(1, 1), reads(2, {99})}), committed({reads(1, {})})});
    CHECK(unseen.found.empty());
    CHECK(unseen.resolved == 0);
    // seen by one that was seen: its read counts
    CHECK(found_in({unknown({appends(1, 1)}), unknown({reads(1, {1}), reads(2, {9}), appends(3, 1)}), committed({reads(3, {1})})}) ==
          kinds{"invented"});
    CHECK(found_in({unknown({reads(1, {}), appends(2, 1)}), committed({reads(2, {}), appends(1, 1)}),
                    committed({reads(1, {1}), reads(2, {1})})}) == kinds{"G2"});
}

TEST_CASE("what runs one after the other is clean, and a swap of two versions is not", "[history]") {
    std::mt19937 random{7};
    for (int round = 0; round < count(20, 500); ++round) {
        std::map<int, std::vector<std::int64_t>> lists;
        list_history h;
        std::int64_t next = 0;
        for (int t = 0; t < 60; ++t) {
            const auto before = lists;
            list_transaction now{static_cast<fate>(random() % 8 == 0 ? 1 : random() % 8 == 0 ? 2 : 0), {}};
            for (unsigned s = 1 + random() % 4; s > 0; --s) {
                const int list = static_cast<int>(random() % 4);
                if (random() % 2 == 0) {
                    lists[list].push_back(++next);
                    now.steps.push_back(appends(list, next));
                } else {
                    now.steps.push_back(reads(list, lists[list]));
                }
            }
            if (now.ended == fate::aborted || (now.ended == fate::unknown && random() % 2 == 0)) lists = before;
            h.push_back(std::move(now));
        }
        list_transaction all;
        for (auto& [list, values] : lists) all.steps.push_back(reads(list, values));
        h.push_back(all);
        CHECK(check_ended_history(h).found.empty());
        std::vector<list_transaction> shuffled = h;
        std::shuffle(shuffled.begin(), shuffled.end(), random);
        CAPTURE(check_history(shuffled).to_string());
        CHECK(check_history(shuffled).found.empty());

        for (list_step& s : h.back().steps) {
            if (s.read.size() < 2) continue;
            std::swap(s.read.front(), s.read.back());
            s.read.push_back(s.read.front());  // the longest, and wrong
            CHECK_FALSE(check_history(h).found.empty());
            break;
        }
    }
}
